"""Terminals of any size: a sentence where a screen has no room, and what was there before once there is room again."""

from __future__ import annotations

import importlib
import pkgutil
import random
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.events import Key, Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen

import screens
from screens.sized import SizedScreen
from screens.too_small import TooSmall
from tests.screens.world import World, console, make_world, shown, text, until

PLACES = {
    "fleet": [],
    "filter": ["slash", *"web"],
    "guest": ["down", "enter"],
    "host": ["enter"],
    "form": ["c", *"trainer-2", "tab", *"4"],
    "list": ["c", "tab", "tab", "tab", "tab", "space", *"ue"],
    "command": ["colon", *"start"],
    "question": ["down", "x"],
    "plan": ["p"],
    "remove": ["down", "down", "down", "D", "x", *"boo"],
    "history": ["H"],
    "help": ["question_mark"],
    "cards": ["g"],
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def sized(pilot: Pilot[None], width: int, height: int) -> str:
    await pilot.resize_terminal(width, height)
    await pilot.pause()
    await pilot.pause()
    return text(pilot)


@pytest.mark.parametrize("place", PLACES)
async def test_what_was_there_is_there_again_when_there_is_room(world: World, place: str) -> None:
    async with console(world) as pilot:
        await pilot.press(*PLACES[place])
        await pilot.pause()
        screen, focused, before = pilot.app.screen, pilot.app.focused, text(pilot)
        for width, height in ((40, 10), (1, 1), (59, 24), (80, 14)):
            small = await sized(pilot, width, height)
            assert isinstance(pilot.app.screen, TooSmall)
            if width >= 40:
                words = " ".join(small.split())
                assert f"at least 60 x 15, this one has {width} x {height}." in words
        # Nothing happens that cannot be seen.
        await pilot.press("x", "D", "enter", "escape", "q", "y")
        after = await sized(pilot, 80, 24)
        assert pilot.app.screen is screen and pilot.app.focused is focused
        assert after == before
        assert pilot.app.is_running


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("width", "height"), [(60, 15), (300, 100)])
async def test_it_is_whole_at_the_least_size_and_at_a_large_one(
    world: World, place: str, width: int, height: int
) -> None:
    async with console(world, width, height) as pilot:
        await pilot.press(*PLACES[place])
        await pilot.pause()
        lines = text(pilot).splitlines()
        assert all(cell_len(line) <= width for line in lines)
        assert lines[-1].strip() or place in {"command", "question"}, "the keys stand in the last line"


async def test_a_storm_of_sizes_leaves_everything_as_it_was(world: World) -> None:
    sizes = random.Random(7)
    async with console(world) as pilot:
        await pilot.press("c", *"trainer-2", "tab", *"4")
        await shown(pilot)
        before = text(pilot)
        for _ in range(60):
            # Not waited for: sizes come faster than they can be painted.
            size = Size(sizes.randint(1, 320), sizes.randint(1, 120))
            pilot.app.post_message(Resize(size, size))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: text(pilot) == before)


async def test_two_sizes_under_way_come_to_rest(world: World) -> None:
    """A screen tells itself of each size that it was laid out for: each must not undo the other for ever."""
    async with console(world) as pilot:
        screen = pilot.app.screen
        for size in (Size(100, 30), Size(90, 28)):
            screen.post_message(Resize(size, size))
            screen.post_message(Key("f12", None))  # else one size takes the place of the other
        await until(pilot, lambda: screen.size == Size(80, 24) and screen.message_queue_size == 0)


def test_every_screen_keeps_to_the_terminals_size() -> None:
    for module in pkgutil.iter_modules(screens.__path__):
        for found in vars(importlib.import_module(f"screens.{module.name}")).values():
            if isinstance(found, type) and issubclass(found, Screen) and found.__module__.startswith("screens."):
                assert issubclass(found, SizedScreen), found
