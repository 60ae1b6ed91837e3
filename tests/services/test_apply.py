"""Applying plans: journal, locks, several hosts, interruptions; and that no plan ever touches what is unmanaged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from console.domain.clock import utc_now
from console.domain.errors import FleetError
from console.domain.job import JobState
from console.domain.model import Fleet, Guest, GuestKey
from console.domain.observed import GuestState, HostObservation
from console.domain.plan import ApplyMode, Plan, Step, StepState
from console.domain.standing import Standing
from console.domain.verbs import CreateVolume, Define, DeleteVolume
from console.generate.domain_xml import domain_xml
from console.inventory.files import Inventory
from console.inventory.store import Store
from console.services.definitions import definition
from console.services.edit import plan_edit
from console.services.journal import Journal, host_locks
from console.services.plan import plan_fleet, plan_remove
from console.services.power import plan_autostart, plan_power
from console.services.wishes import PowerAction
from tests.fakes import FakeGuest, FakeHost
from tests.services.test_passthrough import STRANGER
from tests.services.world import NEW, WEB, World, wish
from tests.sound import sound_fleets


def jobs_of(world: World) -> Path:
    return world.folder / ".quarterdeck/jobs"


def events(lines: list[dict[str, object]]) -> list[str]:
    return [" ".join(str(line[key]) for key in ("event", "index", "state") if key in line) for line in lines]


def journal(world: World, job: str) -> list[dict[str, object]]:
    path = jobs_of(world) / f"{job}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_journal_has_a_line_for_each_event_in_order(world: World) -> None:
    outcome = await world.create(start=True)
    lines = journal(world, outcome.job)
    steps = [f"step {index} {state}" for index in range(3) for state in ("running", "done")]
    assert events(lines) == ["job", "change running", "change done", *steps, "end done"]
    plan: dict[str, object] = lines[0]["plan"]  # type: ignore[assignment]
    assert plan["title"] == "Create new on vhost-a" and len(plan["steps"]) == 3  # type: ignore[arg-type]
    assert lines[2]["commit"] == outcome.commit and "hosts/vhost-a.toml" in lines[2]["files"]  # type: ignore[operator]
    assert all(str(line["at"]).endswith("+00:00") for line in lines)
    assert "@" in str(lines[0]["operator"])


async def test_the_journal_tells_failure_and_undo(world: World) -> None:
    world.fake.fail_at = {2}
    outcome = await world.create()
    lines = journal(world, outcome.job)
    assert events(lines)[3:] == [
        *("step 0 running", "step 0 done", "step 1 running", "step 1 failed", "step 0 undone"),
        *("change undone", "change undone", "end failed"),
    ]
    end: dict[str, object] = lines[-1]["outcome"]  # type: ignore[assignment]
    assert end["ok"] is False and end["undone"] == list(outcome.undone)


async def test_a_change_that_the_inventory_refuses_is_in_the_journal_too(world: World) -> None:
    plan = world.session.plan_autostart([WEB], True)
    world.edit("hosts/vhost-a.toml", "vcpus = 2", "vcpus = ")
    with pytest.raises(FleetError):
        await world.apply(plan)
    assert events(journal(world, world.progress[-1].job))[-2:] == ["change failed", "end failed"]
    job = world.session.store.job(world.progress[-1].job)
    assert job is not None and (job.state, job.change_state) == (JobState.FAILED, StepState.FAILED)


async def test_a_journal_that_cannot_be_begun_stops_everything(world: World) -> None:
    folder = jobs_of(world)
    folder.rename(world.folder.parent / "moved")
    folder.write_text("a file in the way")
    files = world.files()
    with pytest.raises(FleetError) as caught:
        await world.create()
    assert "journal" in caught.value.title and str(folder) in caught.value.detail
    assert world.files() == files and world.fake.verbs == []


async def test_journals_that_are_moved_away_do_not_stop_a_job_halfway(world: World) -> None:
    world.fake.gate.clear()
    running = asyncio.create_task(world.create())
    await world.fake.started.wait()
    jobs_of(world).rename(world.folder.parent / "moved")
    world.fake.gate.set()
    outcome = await running
    assert outcome.ok and world.session.store.guest(NEW).standing is Standing.IN_SYNC


def test_a_full_disk_is_told_once_and_leaves_no_half_line(tmp_path: Path) -> None:
    full = Journal(tmp_path / "x.jsonl", os.open("/dev/full", os.O_RDWR), utc_now)
    full.write("step", index=0)
    full.write("step", index=1)
    assert len(full.faults) == 1 and "not complete: No space left on device" in full.faults[0]
    full.close()


async def test_two_jobs_on_one_host_come_one_after_the_other(world: World) -> None:
    world.fake.gate.clear()
    plans = [world.session.plan_create(wish(name=name), start=False) for name in ("one", "two")]
    running = [asyncio.create_task(world.apply(plan)) for plan in plans]
    await world.fake.started.wait()
    assert len(world.fake.verbs) == 1
    world.fake.gate.set()
    outcomes = await asyncio.gather(*running)
    assert all(outcome.ok for outcome in outcomes)
    names = [
        verb.name.partition("-")[0] if isinstance(verb, CreateVolume) else name_of(verb) for _, verb in world.fake.verbs
    ]
    assert names in (["one", "one", "two", "two"], ["two", "two", "one", "one"])


async def test_jobs_on_different_hosts_run_beside_each_other(world: World) -> None:
    world.fake.gate.clear()
    plans = [world.session.plan_create(wish(name="x", host=host), start=False) for host in ("vhost-a", "vhost-b")]
    running = [asyncio.create_task(world.apply(plan)) for plan in plans]
    async with asyncio.timeout(10):
        while len(world.fake.verbs) < 2:
            world.fake.started.clear()
            await world.fake.started.wait()
    assert {host for host, _ in world.fake.verbs} == {"vhost-a", "vhost-b"}
    world.fake.gate.set()
    assert all(outcome.ok for outcome in await asyncio.gather(*running))


async def test_a_host_that_stays_busy_is_refused_with_the_other_jobs_name(tmp_path: Path) -> None:
    async with host_locks(tmp_path, ["b", "a"], "Create x on a"):
        async with host_locks(tmp_path, ["c"], "other", wait_s=0):
            pass
        with pytest.raises(FleetError) as caught:
            async with host_locks(tmp_path, ["c", "a"], "Apply the fleet", wait_s=0):
                raise AssertionError("two jobs on one host")
        assert caught.value.title == "a is busy with another job."
        assert "Create x on a" in caught.value.detail and "Try again" in caught.value.hint
    async with host_locks(tmp_path, ["a", "b", "c"], "later", wait_s=0):
        pass


async def test_one_host_that_fails_does_not_stop_another(world: World) -> None:
    for host in ("vhost-a", "vhost-b"):
        world.fake.hosts[host].up = False
    await world.see()
    for host in ("vhost-a", "vhost-b"):
        await world.create(host=host)
    for host in ("vhost-a", "vhost-b"):
        world.fake.hosts[host].up = True
    await world.see()
    world.fake.hosts["vhost-a"].pools["default"].pop("debian-13.qcow2")
    outcome = await world.apply(world.session.plan_fleet())
    assert not outcome.ok and "1 failed" in outcome.sentence
    ((what, why),) = outcome.failures
    assert "on vhost-a" in what and "no volume debian-13.qcow2" in why
    assert world.session.store.guest(GuestKey("vhost-b", "new")).standing is Standing.IN_SYNC
    assert world.session.store.guest(NEW).standing is Standing.PENDING


async def test_who_stops_waiting_leaves_the_job_running(world: World) -> None:
    world.fake.gate.clear()
    running = asyncio.create_task(world.create())
    await world.fake.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    job = world.session.store.jobs[0]
    assert (job.title, job.state, job.rest) == ("Create new on vhost-a", JobState.RUNNING, 0)
    world.fake.gate.set()
    await asyncio.gather(*world.runner.tasks)
    await world.session.read_jobs()
    assert world.session.store.jobs[0].state is JobState.DONE
    await world.session.reread()
    await world.see()
    assert world.session.store.guest(NEW).standing is Standing.IN_SYNC


async def test_a_job_that_nobody_can_carry_out_is_refused_and_says_so(world: World) -> None:
    files = world.files()
    world.runner.refusal = FleetError("The job was not begun.", "No process can be started.")
    with pytest.raises(FleetError, match="was not begun"):
        await world.create()
    await world.session.read_jobs()
    job = world.session.store.jobs[0]
    assert job.state is JobState.FAILED and job.outcome and "No process" in job.outcome.failures[0][1]
    assert world.files() == files


async def test_refusals_alone_are_a_failure(world: World) -> None:
    outcome = await world.apply(world.session.plan_power([WEB], PowerAction.RESUME))
    assert outcome.ok and "nothing to do" in outcome.sentence
    world.host.named("web").state = GuestState.CRASHED
    await world.see()
    outcome = await world.apply(world.session.plan_power([WEB], PowerAction.RESUME))
    assert not outcome.ok and outcome.failures and "refused" in outcome.sentence


async def test_a_pending_guest_does_not_take_an_unmanaged_ones_name(world: World) -> None:
    world.host.up = False
    await world.see()
    await world.create()
    stranger = FakeGuest(STRANGER.replace("<name>stranger", "<name>new"))
    world.host.guests[stranger.uuid] = stranger
    world.host.up = True
    await world.see()
    plan = world.session.plan_fleet()
    assert plan.steps == () and "unmanaged domain on vhost-a has this name" in plan.refusals[0]
    assert not (await world.apply(plan)).ok
    assert world.host.guests[stranger.uuid].xml == stranger.xml


def name_of(verb: object) -> str:
    assert isinstance(verb, Define)
    return ElementTree.fromstring(verb.xml).findtext("name") or ""


# No plan touches what is unmanaged.

STANDS_FOR_IT = Guest(name="stranger", uuid="1ef07ff9-0368-40d8-92d6-1e34bd95551f", vcpus=1, memory_kib=1024)


@st.composite
def occupied_fleets(draw: st.DrawFn) -> tuple[Fleet, dict[str, HostObservation], set[str]]:
    """A fleet, what its hosts report, and the uuids of the domains there that are not the inventory's."""
    fleet = draw(sound_fleets())
    seen: dict[str, HostObservation] = {}
    strangers: set[str] = set()
    for host in fleet.hosts.values():
        fake = FakeHost(name=host.name, up=draw(st.integers(0, 4)) > 0, seen=True)
        for guest in host.guests.values():
            how = draw(st.sampled_from(["absent", "same", "changed", "stranger"]))
            known = replace(guest, vcpus=guest.vcpus + 1) if how == "changed" else guest
            if how == "stranger":
                # Somebody made a domain of this name by hand: it is not this guest.
                known = replace(guest, uuid=str(draw(st.uuids())))
                strangers.add(known.uuid)
            if how != "absent":
                put(draw, fake, domain_xml(fleet, host, known))
        uuid = str(draw(st.uuids()))
        strangers.add(uuid)
        put(draw, fake, STRANGER.replace("1ef07ff9-0368-40d8-92d6-1e34bd95551f", uuid))
        seen[host.name] = fake.observation()
    return fleet, seen, strangers


def put(draw: st.DrawFn, host: FakeHost, xml: str) -> None:
    guest = FakeGuest(xml, state=draw(st.sampled_from(GuestState)), autostart=draw(st.booleans()))
    if guest.state is not GuestState.OFF:
        guest.active_xml = xml
    host.guests[guest.uuid] = guest


def every_plan(store: Store) -> Iterator[Plan]:
    keys = [view.key for host in store.hosts() for view in host.guests]
    yield plan_fleet(store, keys, "everything")
    for action in PowerAction:
        yield plan_power(store, keys, action)
    for key in keys:
        guest = store.guest(key).wanted or STANDS_FOR_IT
        disks = frozenset(name for name, disk in guest.disks.items() if not disk.is_cdrom)
        for attempt in (
            partial(plan_autostart, store, [key], True),
            partial(plan_remove, store, key),
            partial(plan_remove, store, key, delete_disks=disks),
            *(partial(plan_edit, store, key, replace(guest, vcpus=guest.vcpus % 16 + 1), mode) for mode in ApplyMode),
        ):
            with contextlib.suppress(FleetError):
                yield attempt()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(occupied_fleets())
def test_no_step_of_any_plan_concerns_an_unmanaged_guest(
    case: tuple[Fleet, dict[str, HostObservation], set[str]],
) -> None:
    fleet, seen, strangers = case
    store = Store(Inventory(Path("/x"), fleet, (), {}), definition)
    store.set_observed(seen)
    for plan in every_plan(store):
        for step in plan.steps:
            for verb in (step.verb, step.undo):
                check(step, verb, strangers, fleet)


def check(step: Step, verb: object, strangers: set[str], fleet: Fleet) -> None:
    if isinstance(verb, Define):
        assert ElementTree.fromstring(verb.xml).findtext("uuid") not in strangers
    elif isinstance(verb, CreateVolume | DeleteVolume):
        assert any(verb.name.startswith(f"{guest}-") for guest in fleet.hosts[step.host].guests)
    elif verb is not None:
        assert verb.uuid not in strangers  # type: ignore[attr-defined]


async def test_after_so_many_failures_no_other_guest_is_begun(world: World) -> None:
    keys = [WEB]
    for name in ("b", "c", "d"):
        await world.create(name=name, start=True)
        keys.append(GuestKey("vhost-a", name))
    first = len(world.fake.verbs) + 1
    world.fake.fail_at = {first, first + 2}
    plan = replace(world.session.plan_power(keys, PowerAction.SUSPEND), stop_after=2)
    outcome = await world.apply(plan)
    assert not outcome.ok and len(outcome.failures) == 2
    assert outcome.left == ("stopped after 2 failures, not touched: vhost-a/d",)
    assert len(world.fake.verbs) == first + 2
    states = [world.session.store.guest(key).state for key in keys]
    assert states == [GuestState.RUNNING, GuestState.PAUSED, GuestState.RUNNING, GuestState.RUNNING]
    assert events(journal(world, outcome.job))[-2:] == ["step 3 skipped", "end failed"]
