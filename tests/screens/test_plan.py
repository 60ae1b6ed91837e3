"""The plan before it is applied: who is touched, what differs; applied when asked; disks go only by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode, Danger, Difference, Outcome, Plan
from console.domain.verbs import DeleteVolume, Undefine
from screens.apply import ApplyScreen
from screens.confirm import Confirm
from screens.plan import PlanScreen
from screens.plan_lines import differences
from screens.widgets import KeysFooter
from tests.fakes import GIB
from tests.screens.world import DEADLINE_S, World, console, heard, make_world, text


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def opened(pilot: Pilot[None], screen: PlanScreen) -> list[Outcome | None]:
    """Open a plan; the list gets what it is dismissed with."""
    results: list[Outcome | None] = []
    await pilot.app.push_screen(screen, results.append)
    await pilot.app.workers.wait_for_complete(list(screen.workers))
    await pilot.pause()
    return results


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until something is true on the screen."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await pilot.pause()


async def ended(pilot: Pilot[None]) -> None:
    """Wait for the end of an apply."""
    await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)


async def test_the_fleets_plan_is_shown_by_host_and_guest_and_applied(world: World) -> None:
    async with console(world) as pilot:
        results = await opened(pilot, PlanScreen(world.session, world.session.plan_fleet()))
        lines = [line.strip() for line in text(pilot).splitlines()]
        assert lines[0].startswith("Apply the fleet") and "1 host, 2 guests" in lines[0]
        assert lines.index("vhost-b") < lines.index("db-1") < lines.index("new-guest")
        assert any(
            "memory" in line and "4 GiB" in line and "→  8 GiB" in line and "next boot" in line for line in lines
        )
        assert "◌ vhost-d/archive stays pending: vhost-d is not up. Apply again once it is." in lines
        assert "stray" not in text(pilot), "unmanaged guests are never touched"
        await pilot.press("enter")
        await ended(pilot)
        assert "✔ Apply the fleet: done" in text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        again = await opened(pilot, PlanScreen(world.session, world.session.plan_fleet()))
        assert "✔ Nothing to do: all that is up is as the inventory wants it." in text(pilot)
        verbs = len(world.hypervisors.verbs)
        await pilot.press("enter")
        await until(pilot, lambda: bool(again))
        assert again == [None] and len(world.hypervisors.verbs) == verbs


async def test_escape_changes_nothing(world: World) -> None:
    async with console(world) as pilot:
        results = await opened(pilot, PlanScreen(world.session, world.session.plan_fleet()))
        await pilot.press("escape")
        await until(pilot, lambda: bool(results))
        assert results == [None] and not world.hypervisors.verbs


async def test_a_removed_guests_disks_are_kept(world: World) -> None:
    world.host("vhost-a").pools["default"]["web-2-boot.qcow2"] = 40 * GIB
    key = GuestKey("vhost-a", "web-2")
    async with console(world) as pilot:
        results = await opened(pilot, PlanScreen(world.session, world.session.plan_remove(key), removed=key))
        shown = text(pilot)
        assert "boot  40 GiB in pool default" in shown and "web-2-boot.qcow2 stay" in shown
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Confirm)
        await pilot.press("n")
        assert isinstance(pilot.app.screen, PlanScreen) and not world.hypervisors.verbs
        await pilot.press("enter", "y")
        await ended(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        assert [type(verb) for _, verb in world.hypervisors.done] == [Undefine]
        assert "web-2" not in world.session.store.fleet.hosts["vhost-a"].guests
        assert "web-2-boot.qcow2" in world.host("vhost-a").pools["default"]


async def test_disks_are_deleted_when_their_names_are_typed_and_then_the_guests(world: World) -> None:
    world.host("vhost-a").pools["default"]["web-2-boot.qcow2"] = 40 * GIB
    key = GuestKey("vhost-a", "web-2")
    async with console(world) as pilot:
        screen = PlanScreen(world.session, world.session.plan_remove(key), removed=key)
        results = await opened(pilot, screen)
        await pilot.press("x", *"bo")
        assert "is no disk" not in text(pilot), "the beginning of a name"
        await pilot.press("enter")
        assert "bo is no disk of this guest. It has: boot." in text(pilot)
        await pilot.press(*"ot", "enter")
        assert "delete web-2-boot.qcow2 from pool default, with its data" in text(pilot)
        assert screen.plan.danger is Danger.TYPE_NAME
        await pilot.press("enter", *"web", "enter")
        assert "That is not web-2." in text(pilot) and not world.hypervisors.verbs
        await pilot.press(*"-2", "enter")
        await ended(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        assert [type(verb) for _, verb in world.hypervisors.done] == [Undefine, DeleteVolume]
        assert "web-2-boot.qcow2" not in world.host("vhost-a").pools["default"]


async def test_escape_from_the_disks_keeps_them(world: World) -> None:
    world.host("vhost-a").pools["default"]["web-2-boot.qcow2"] = 40 * GIB
    key = GuestKey("vhost-a", "web-2")
    async with console(world) as pilot:
        screen = PlanScreen(world.session, world.session.plan_remove(key), removed=key)
        await opened(pilot, screen)
        await pilot.press("x", *"boot")
        await until(pilot, lambda: len(screen.plan.steps) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.plan.steps) == 1)
        assert pilot.app.screen is screen


async def test_the_undo_of_a_create_offers_no_disks(world: World) -> None:
    """It would have become the plan of a removal, which keeps no record of what it undoes."""
    key = GuestKey("vhost-a", "web-2")
    plan = replace(world.session.plan_remove(key), title="Undo: Create vhost-a/web-2")
    async with console(world) as pilot:
        screen = PlanScreen(world.session, plan)
        await opened(pilot, screen)
        assert "x" not in dict(screen.query_one(KeysFooter).keys) and "delete" not in text(pilot)
        await pilot.press("x", *"boot")
        assert screen.plan.title == "Undo: Create vhost-a/web-2"


async def test_a_removed_host_asks_for_its_name(world: World) -> None:
    (world.session.folder / "hosts/vhost-z.toml").write_text('mac = "52:54:00:10:00:99"\naddress = "10.0.0.99/24"\n')
    async with console(world) as pilot:
        await world.session.reread()
        results = await opened(pilot, PlanScreen(world.session, world.session.plan_remove_host("vhost-z")))
        await pilot.press("enter")
        assert "Type vhost-z to go on:" in text(pilot)
        await pilot.press(*"vhost-z", "enter")
        await ended(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        assert "vhost-z" not in world.session.store.fleet.hosts


async def test_one_failure_is_told_and_the_others_go_on(world: World) -> None:
    world.hypervisors.fail_at = {1}
    async with console(world) as pilot:
        results = await opened(pilot, PlanScreen(world.session, world.session.plan_fleet()))
        await pilot.press("enter")
        await ended(pilot)
        shown = text(pilot)
        assert "✖  vhost-b  define db-1 anew" in shown and "verb 1 was refused" in shown
        assert "✔  vhost-b  define new-guest" in shown and "✖ Apply the fleet: 1 failed" in shown
        await pilot.press("x")
        await until(pilot, lambda: bool(results))
        assert results[0] is not None and not results[0].ok
        await heard(world, lambda: world.session.store.guest(GuestKey("vhost-b", "new-guest")).seen is not None)
        assert world.session.store.guest(GuestKey("vhost-b", "new-guest")).state is GuestState.OFF


async def test_refusals_alone_cannot_be_applied(world: World) -> None:
    async with console(world) as pilot:
        plan = Plan(title="Apply x", refusals=("vhost-a/x: another guest has its card.",))
        results = await opened(pilot, PlanScreen(world.session, plan))
        assert "✖ vhost-a/x: another guest has its card." in text(pilot) and "Nothing can be applied." in text(pilot)
        assert dict(pilot.app.screen.query_one(KeysFooter).keys)["enter"] == "back"
        await pilot.press("enter")
        await until(pilot, lambda: results == [None])


def test_differences_stand_in_columns_and_long_ones_below_each_other() -> None:
    key = GuestKey("vhost-a", "x")
    path = "/var/lib/libvirt/images/a-very-long-name-of-a-volume.qcow2"
    found = [
        Difference(guest=key, fact="vcpus", seen="4", wanted="16", when=ApplyMode.NEXT_BOOT.value),
        Difference(guest=key, fact="disk vda", seen=None, wanted=path),
        Difference(guest=key, fact="memory", seen="8 GiB", wanted="4 GiB", when=ApplyMode.LIVE.value),
    ]
    lines = ["".join(part for part, _ in line).rstrip() for line in differences(found, 76)]
    assert lines == [
        "  vcpus     4      →  16      next boot",
        "  disk vda  —",
        f"          → {path}",
        "  memory    8 GiB  →  4 GiB   live",
    ]
