"""The history screen on a real repository, its undo, and the picture key."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.drivers.git import Git
from screens.changes import ChangesScreen
from screens.diff import DiffScreen
from screens.plan import PlanScreen
from tests.screens.world import World, console, console_of, make_world, settled, text, until


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HOME", str(tmp_path))
    git = Git()
    made = make_world(tmp_path, git)
    folder = made.session.folder
    await git.init(folder)
    await git.commit(folder, ["fleet.toml", "hosts"], "Begin")
    return made


async def test_history_diff_and_undo(world: World) -> None:
    session = world.session
    async with console(world) as pilot:
        plan = session.plan_set_host("vhost-b", {"labels": "desk"})
        assert (await session.apply(plan)).ok
        await settled(pilot)
        await pilot.press("H")
        await until(pilot, lambda: "Set host vhost-b: labels" in text(pilot))
        assert "Begin" in text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DiffScreen))
        assert "diff --git a/generated" in text(pilot)
        await pilot.press("escape", "u")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        await until(pilot, lambda: "hosts/vhost-b.toml" in text(pilot))
        assert "Undo: Set host vhost-b: labels" in text(pilot)
        assert session.store.fleet.hosts["vhost-b"].labels == ("desk",)
        assert (await session.apply(session.plan_undo(await session.last_change()))).ok
        assert session.store.fleet.hosts["vhost-b"].labels == ("rack-1",)


async def test_what_was_read_for_a_screen_that_was_left_is_for_nobody(world: World) -> None:
    async with console(world, 160, 48) as pilot:
        await pilot.press("H")
        await until(pilot, lambda: "Begin" in text(pilot))
        history = pilot.app.screen
        assert isinstance(history, ChangesScreen)
        await pilot.press("escape")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        plan = pilot.app.screen
        assert isinstance(plan, PlanScreen)
        await pilot.press("escape")
        await settled(pilot)
        history.show_commits()
        plan.show_plan()
        assert "vhost-a" in text(pilot)


async def test_what_cannot_be_undone_is_said(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("H")
        await until(pilot, lambda: "Begin" in text(pilot))
        assert "undo the last" not in text(pilot), "a key that can only be refused"
        await pilot.press("u")
        await until(pilot, lambda: "There is nothing to undo" in text(pilot))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, ChangesScreen))


async def test_a_picture_is_a_new_file_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    monkeypatch.chdir(place)
    async with console(world) as pilot:
        for number in (1, 2):
            await pilot.press("P")
            await until(pilot, lambda number=number: len(list(place.iterdir())) == number)  # type: ignore[misc]
        first, second = sorted(place.iterdir(), key=lambda path: len(path.name))
        assert second.stem == f"{first.stem}-2"
        assert first.read_text().startswith("<svg")
        await until(pilot, lambda: str(second.name) in console_of(pilot).session.store.messages[-1][1])
