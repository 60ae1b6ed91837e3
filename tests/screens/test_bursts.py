"""Keys that come faster than screens open (a slow line, a paste) land where they belong, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from screens.command_bar import CommandBar
from screens.confirm import Confirm
from screens.create_guest import CreateGuest
from screens.guest import GuestScreen
from screens.plan import PlanScreen
from tests.screens.world import World, console, cursor, fleet, line_of, make_world, shown, text, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Deliver keys at once: nothing in between is waited for."""
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 else key
        pilot.app.post_message(Key(name, key if len(key) == 1 else " " if key == "space" else None))


async def test_the_filter_line_edits_in_order(world: World) -> None:
    async with console(world) as pilot:
        burst(
            pilot, "/", *"wex", "backspace", *"b-1", "left", "backspace", "x", "end", *"!", "ctrl+u", *"db-2", "enter"
        )
        await until(pilot, lambda: fleet(pilot).filter_text == "db-2" and pilot.app.focused is None)
        await shown(pilot)
        assert "db-2" in text(pilot) and "web-1" not in text(pilot)


async def test_a_key_acts_on_the_row_that_the_arrows_before_it_lead_to(world: World) -> None:
    async with console(world) as pilot:
        burst(pilot, "down", "down", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "own vhost-a/web-1" in text(pilot)
        await pilot.press("n")
        burst(pilot, "down", "enter", "escape", "up", "e")
        await until(pilot, lambda: isinstance(pilot.app.screen, CreateGuest))
        assert "Edit vhost-a/web-1" in text(pilot)


async def test_the_command_bar_opens_types_moves_and_chooses(world: World) -> None:
    async with console(world) as pilot:
        burst(pilot, ":", *"xweb", "home", "delete", "end", "-", "1", "enter")
        await until(pilot, lambda: cursor(pilot) == "vhost-a/web-1")
        burst(pilot, ":", *"web-1", "down", "enter")
        await until(pilot, lambda: cursor(pilot) == "vhost-a/web-10")
        burst(pilot, ":", *"db", "escape", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, GuestScreen))
        assert not any(isinstance(screen, CommandBar) for screen in pilot.app.screen_stack)


async def test_the_names_of_disks_and_the_word_of_a_question_are_typed_in_order(world: World) -> None:
    async with console(world) as pilot:
        burst(pilot, *["down"] * 3, "D")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        burst(pilot, "x", *"bood", "backspace", "t", "enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        word = pilot.app.screen.plan.confirm_word
        burst(pilot, *f"{word}x", "backspace", "left", "right", "enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm))


async def test_a_word_typed_before_the_question_is_there_is_not_lost(world: World) -> None:
    path = world.session.folder / "hosts" / "vhost-d.toml"
    path.write_text(path.read_text().partition("[guests.")[0])
    await world.session.reread()
    async with console(world) as pilot:
        await pilot.press("end", "enter")
        await pilot.pause()
        burst(pilot, "D", *"vhost-x", "backspace", "d", "enter")
        await until(pilot, lambda: not path.exists())


async def test_a_letter_is_no_command_of_the_plan_while_a_disk_is_named(world: World) -> None:
    async with console(world) as pilot:
        burst(pilot, *["down"] * 3, "D")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        burst(pilot, "x", *"dxq")
        await until(pilot, lambda: pilot.app.screen.query_one(Input).value == "dxq")
        assert isinstance(pilot.app.screen, PlanScreen)
        assert "dxq is no disk of this guest" in text(pilot) and line_of(pilot, "boot")
