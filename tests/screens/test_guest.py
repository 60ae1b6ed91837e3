"""The guest screen, the command bar and the help."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.domain.verbs import Suspend
from screens.command_bar import CommandBar
from screens.guest import GuestScreen
from screens.help import Help
from tests.fakes import NOW
from tests.screens.world import (
    World,
    changed,
    console,
    cursor,
    finished,
    fleet,
    line_of,
    make_world,
    sample,
    shown,
    text,
    until,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def command_bar(pilot: Pilot[None]) -> CommandBar:
    """Return the command bar once it has taken all keys."""
    await until(pilot, lambda: isinstance(pilot.app.screen, CommandBar))
    await pilot.pause()
    assert isinstance(pilot.app.screen, CommandBar)
    return pilot.app.screen


async def test_a_guest_shows_facts_devices_addresses_and_standing(world: World) -> None:
    async with console(world, 160, 40) as pilot:
        await pilot.press("down", "enter")
        await pilot.pause()
        for words in (
            "8 vCPUs",
            "32 GiB, 31G used",
            "40 GiB in default (vda), overlay of debian-13.qcow2",
            "GeForce RTX 3080 at 65:00, 2 functions, group 28, NUMA 1",
            "10.0.0.51  from a DHCP lease",
            "✔ as the inventory wants it",
        ):
            assert words in text(pilot), words


async def test_the_graphs_keep_what_was_heard_before_the_guest_was_opened(world: World) -> None:
    async with console(world) as pilot:
        for second in range(1, 9):
            figures = sample(50, 16, disk=second * 1000.0, at=NOW + timedelta(seconds=second))
            world.host("vhost-a").figures["web-1"] = figures
            await changed(pilot, world)
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        disk = text(pilot).splitlines()[7]
        assert disk.split()[-1] == "7.8k/s"
        assert len(disk.split()[0]) == 9


async def test_a_guest_that_was_never_measured_says_so_once(world: World) -> None:
    world.host("vhost-a").figures.clear()
    async with console(world) as pilot:
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert text(pilot).count("not reported by this host") == 1


async def test_power_keys_work_on_the_open_guest(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "down", "enter", "z")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Suspend]
        assert "◐ paused" in text(pilot).splitlines()[0]


async def test_a_guest_that_is_gone_closes_its_screen(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 9, "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, GuestScreen))
        del world.host("vhost-b").guests["stray"]
        await changed(pilot, world)
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_the_command_bar_goes_to_a_guest_by_name(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("colon", *"new-g", "enter")
        await pilot.pause()
        assert cursor(pilot) == "vhost-b/new-guest"


async def test_the_command_bar_goes_to_a_guest_in_a_folded_host(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("minus", "colon", *"cache", "enter")
        await shown(pilot)
        assert cursor(pilot) == "vhost-c/cache-1"


async def test_the_command_bar_does_something_to_another_guest(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("colon", *"suspend web-1")
        bar = await command_bar(pilot)
        assert [entry.name for entry in bar.found] == ["suspend vhost-a/web-1"]
        await pilot.press("enter")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Suspend]
        assert cursor(pilot) == "vhost-a/web-1"


async def test_the_command_bar_offers_only_what_makes_sense_here(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "colon")
        bar = await command_bar(pilot)
        names = [entry.name for entry in bar.found]
        assert "shut down trainer" in names
        assert "start trainer" not in names
        await pilot.press("down", "down", "up", "escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_a_name_leads_to_the_guest_before_what_could_be_done_to_it(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "colon", *"trainer")
        bar = await command_bar(pilot)
        assert [entry.name for entry in bar.found][:2] == ["vhost-a/trainer", "shut down trainer"]


async def test_the_command_bar_is_the_palette_of_the_guest_screen_too(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "enter", "colon", *"db-2", "enter")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert cursor(pilot) == "vhost-b/db-2"


async def test_help_has_every_key_and_every_sign(world: World) -> None:
    async with console(world, 100, 80) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        for words in ("a     add host", "X     force off", "☾ silent 4m", "It asks first."):
            assert words in text(pilot), words
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_help_of_a_read_only_console_has_no_changing_action(world: World) -> None:
    world.session.read_only = True
    async with console(world, 100, 60) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "force off" not in text(pilot)
        assert line_of(pilot, "filter").split()[0] == "/"
