"""The host screen on a fleet in memory, by its keys and by what the terminal shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from console.domain.model import Hardware
from console.domain.observed import HostFacts, HostObservation, HostState
from console.services.drift import hardware_drift
from screens.confirm import Confirm
from screens.create_guest import CreateGuest
from screens.edit_host import EditHost
from screens.guest import GuestScreen
from screens.host import HostScreen
from screens.plan import PlanScreen
from tests.fakes import NOW
from tests.inventory.test_filter import view
from tests.screens.world import World, console, cursor, fleet, line_of, make_world, shown, text, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def test_enter_opens_the_host_and_escape_comes_back_to_its_row(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert line_of(pilot, "vhost-a").split()[:3] == ["vhost-a", "●", "up"]
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert cursor(pilot) == "vhost-a"


async def test_it_says_what_is_used_and_given_away_and_who_lives_there(world: World) -> None:
    async with console(world, 160, 48) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert "31% of 16 CPUs" in line_of(pilot, "cpu busy")
        # Paused guests keep what they were given, those that are off do not.
        assert "12 vCPUs of 16 CPUs" in line_of(pilot, "cpu given")
        assert "48G of 192G" in line_of(pilot, "mem given")
        assert "█" in line_of(pilot, "mem used") and "░" in line_of(pilot, "mem used")
        assert "of" in line_of(pilot, "pool default")
        row = line_of(pilot, " trainer")
        assert row.split()[:7] == ["trainer", "●", "running", "8", "32G", "87%", "10.0.0.51"]
        assert "vhost-a/trainer" in line_of(pilot, "GeForce") or "vhost-a/trainer" in text(pilot)
        assert "default" in line_of(pilot, "network ") or "lan" in line_of(pilot, "network ")


async def test_a_silent_host_says_since_when_why_and_when_it_is_tried_again(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 10, "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert "vhost-c seen 4m ago. vhost-c does not answer." in text(pilot)
        seen = world.session.store.observed("vhost-c")
        world.session.store.set_observed({"vhost-c": replace(seen, retry_at=NOW.replace(minute=NOW.minute + 1))})
        await shown(pilot)
        assert "next try in 1m" in text(pilot)
        world.pass_time(120)
        pilot.app.screen.show_ages()  # type: ignore[attr-defined]
        await pilot.pause()
        assert "seen 6m ago" in text(pilot)


async def test_its_keys_create_plan_and_remove(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await pilot.press("D")
        await shown(pilot)
        assert "vhost-a was not removed." in text(pilot)
        assert "It is the home of trainer" in text(pilot)
        await pilot.press("escape", "c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CreateGuest))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        assert "Apply vhost-a" in text(pilot)


async def test_an_empty_host_is_removed_by_its_name_and_the_screen_goes_with_it(world: World) -> None:
    path = world.session.folder / "hosts" / "vhost-d.toml"
    path.write_text(path.read_text().partition("[guests.")[0])
    await world.session.reread()
    async with console(world) as pilot:
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert "No guests yet." in text(pilot)
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press(*"vhost-d", "enter")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert not path.exists()


async def test_a_read_only_console_opens_hosts_and_changes_nothing(world: World) -> None:
    world.session.read_only = True
    async with console(world) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        here = pilot.app.screen
        await pilot.press("c", "D", "p")
        await shown(pilot)
        assert pilot.app.screen is here
        assert "create" not in text(pilot).splitlines()[-1]


@pytest.mark.parametrize("width", [60, 80, 119, 120, 160, 300])
async def test_it_keeps_within_every_width(world: World, width: int) -> None:
    async with console(world, width, 30) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert all(cell_len(line) <= width for line in text(pilot).splitlines())
        assert "mem given" in text(pilot)


async def test_hardware_that_is_not_what_was_noted_is_shown(world: World) -> None:
    path = world.session.folder / "hosts" / "vhost-a.toml"
    head, guests = path.read_text().split("[guests.", 1)
    path.write_text(f'{head}\n[hardware]\ncpu = "Pentium"\nmemory = "384 GiB"\n\n[guests.{guests}')
    await world.session.reread()
    async with console(world) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shown(pilot)
        assert "The hardware is not what the inventory noted:" in text(pilot)
        assert "Pentium →" in text(pilot)
        assert "384 GiB → 192 GiB" in text(pilot)


def test_a_little_less_memory_is_no_drift() -> None:
    host = view("a")
    facts = HostFacts(hostname="a", driver="QEMU", libvirt_version="9", cpu_model="Xeon", memory_kib=1000)
    seen = HostObservation(name="a", state=HostState.UP, facts=facts)

    def drift(cpu: str | None, memory_kib: int | None) -> int:
        wanted = replace(host.wanted, hardware=Hardware(cpu=cpu, memory_kib=memory_kib))
        return len(hardware_drift(replace(host, wanted=wanted, seen=seen)))

    assert drift("Xeon", 1015) == 0
    assert drift(None, None) == 0
    assert drift("Xeon", 1100) == 1
    assert drift("EPYC", 500) == 2
    assert hardware_drift(replace(host, wanted=replace(host.wanted, hardware=Hardware(cpu="EPYC")))) == ()


async def opened_host(pilot: Pilot[None]) -> HostScreen:
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
    await shown(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, HostScreen)
    return screen


@pytest.mark.parametrize("height", [15, 24, 48])
async def test_the_cursor_leads_to_a_guest_and_escape_back_to_it(world: World, height: int) -> None:
    async with console(world, 80, height) as pilot:
        screen = await opened_host(pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, GuestScreen))
        assert "vhost-a/web-2" in text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert screen.chosen == "web-2" and "web-2" in text(pilot)
        await pilot.press(*["down"] * 9)
        assert screen.chosen == "web-10" and "web-10" in text(pilot)
        await pilot.press(*["up"] * 30)
        await shown(pilot)
        assert screen.chosen == "trainer" and "host key" in text(pilot)


async def test_a_command_in_a_guest_opened_from_its_host_leads_back_to_the_fleet(world: World) -> None:
    async with console(world) as pilot:
        await opened_host(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, GuestScreen))
        await pilot.press("colon", *"db-1", "enter")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert cursor(pilot) == "vhost-b/db-1"


async def test_a_host_is_edited_from_its_screen_and_from_the_list(world: World) -> None:
    path = world.session.folder / "hosts" / "vhost-a.toml"
    async with console(world) as pilot:
        await opened_host(pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditHost))
        assert "52:54:00:10:00:0b" in line_of(pilot, "MAC") and "10.0.0.11/24" in line_of(pilot, "address")
        await pilot.press("down", "down", "end", *", new", "down")
        assert "qemu+ssh://root@10.0.0.11/system" in text(pilot)
        await pilot.press("up", "up", "ctrl+u", *"10.0.0.12/24", "tab")
        assert "already belongs to vhost-b" in text(pilot)
        await pilot.press("up", "ctrl+u", *"10.0.0.99/24", "ctrl+s")
        await until(pilot, lambda: "What will happen" in text(pilot))
        assert "10.0.0.99/24" in line_of(pilot, "address") and "rack-1, gpu, new" in line_of(pilot, "labels")
        assert "10.0.0.11" in path.read_text(), "a review changes nothing"
        await pilot.press("enter")
        await until(pilot, lambda: "10.0.0.99/24" in path.read_text())
        assert '"new"' in path.read_text()
        await until(pilot, lambda: "any key" in text(pilot))
        await pilot.press("enter", "escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditHost))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Nothing differs" in text(pilot))
        assert "change it" not in text(pilot)


async def test_a_pinned_key_stays_with_its_host_when_the_address_changes(world: World) -> None:
    world.session.store.inventory.require_sound()
    path = world.session.folder / "hosts" / "vhost-d.toml"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"
    path.write_text(f'ssh_host_key = "{key}"\n{path.read_text()}')
    await world.session.reread()
    async with console(world) as pilot:
        await pilot.press("end", "up", "e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditHost))
        await pilot.press("down", "ctrl+u", *"10.0.0.98/24", "ctrl+s")
        await until(pilot, lambda: "What will happen" in text(pilot))
        form = pilot.app.screen
        assert isinstance(form, EditHost) and form.wish.ssh_host_key == key
        assert "no pinned" not in text(pilot)


@pytest.mark.parametrize("uri", ["", 'uri = "qemu+ssh://root@10.0.0.14/system"', 'uri = "qemu:///system"'])
async def test_a_uri_follows_the_address_unless_it_is_another_one(world: World, uri: str) -> None:
    path = world.session.folder / "hosts" / "vhost-d.toml"
    path.write_text("\n".join(uri if line.startswith("uri") else line for line in path.read_text().splitlines()))
    await world.session.reread()
    plan = world.session.plan_set_host("vhost-d", {"address": "10.0.0.98/24"})
    outcome = await world.session.apply(plan)
    assert outcome.ok
    wanted = "qemu:///system" if "///" in uri else "qemu+ssh://root@10.0.0.98/system"
    assert world.session.store.host("vhost-d").wanted.uri == wanted
    assert "10.0.0.14" not in path.read_text()
