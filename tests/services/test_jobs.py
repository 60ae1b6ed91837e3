"""Jobs: what their journals tell, cancelling, and the rest of those that did not end well."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.domain.clock import utc_now
from console.domain.errors import FleetError
from console.domain.job import Job, JobState
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode, Plan, Step, StepState
from console.domain.verbs import Define, DeleteVolume, ForceOff, Start
from console.services import journal as journals
from console.services.jobs import Jobs, Record
from console.services.journal import begin_journal, operator
from console.services.plan_json import plan_to_json
from console.services.wishes import PowerAction
from tests.fakes import NOW
from tests.services.test_apply import events, jobs_of
from tests.services.world import NEW, WEB, World, open_world, wish

STEP = Step(host="vhost-a", guest=WEB, sentence="start web", verb=Start(uuid="03dd873c-3bb7-4a79-b514-052cbd8e0b3f"))


async def newest(world: World) -> Job:
    await world.session.read_jobs()
    return world.session.store.jobs[0]


async def begun(world: World, plan: Plan) -> asyncio.Task[object]:
    """A job that stands in its first verb until the gate is opened."""
    world.fake.gate.clear()
    world.fake.started.clear()
    running = asyncio.create_task(world.session.apply(plan, world.progress.append))
    await world.fake.started.wait()
    return running


async def cut(world: World, keep: Callable[[str], bool], plan: Plan) -> Job:
    """Apply a plan; then have its journal end where its process would have been killed."""
    await world.apply(plan)
    return await shortened(world, world.progress[-1].job, keep)


async def shortened(world: World, job: str, keep: Callable[[str], bool]) -> Job:
    path = jobs_of(world) / f"{job}.jsonl"
    lines = [line for line in path.read_text().splitlines() if keep(events([json.loads(line)])[0])]
    path.unlink()
    await world.session.read_jobs()
    path.write_text("\n".join(lines) + "\n")
    return await newest(world)


# What a journal tells.


async def test_a_job_is_known_with_its_steps_its_operator_and_its_end(world: World) -> None:
    outcome = await world.create(start=True)
    job = await newest(world)
    assert (job.id, job.title, job.state, job.operator) == (
        outcome.job,
        "Create new on vhost-a",
        JobState.DONE,
        operator(),
    )
    assert job.outcome == replace(outcome, job=job.id) and job.ended_at == NOW and job.hosts == ("vhost-a",)
    assert [step.state for step in job.steps] == [StepState.DONE] * 3 and job.rest == 0
    assert (job.change, job.change_state, job.taken_back) == ("Create vhost-a/new", StepState.DONE, True)
    assert (
        job.lines[0] == "12:00:00  Create vhost-a/new: running" and "12:00:00  vhost-a  define new: done" in job.lines
    )


async def test_the_same_jobs_again_are_no_change(world: World) -> None:
    await world.create()
    await world.session.read_jobs()
    revision = world.session.store.revision
    await world.session.read_jobs()
    assert world.session.store.revision == revision


async def test_a_job_is_running_as_long_as_its_lock_is_held_and_interrupted_after_that(world: World) -> None:
    path, descriptor = begin_journal(world.folder, Plan(title="Start web", steps=(STEP,)), utc_now)
    assert (await newest(world)).state is JobState.RUNNING
    os.close(descriptor)
    job = await newest(world)
    assert (job.id, job.state, job.rest, job.outcome) == (path.stem, JobState.INTERRUPTED, 1, None)


def test_journals_are_as_open_as_the_folder_and_never_in_git(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    inventory.chmod(0o2770)
    umask = os.umask(0o077)
    try:
        path, descriptor = begin_journal(inventory, Plan(title="x", steps=(STEP,)), utc_now)
    finally:
        os.umask(umask)
    os.close(descriptor)
    assert (inventory / ".quarterdeck/.gitignore").read_text() == "*\n"
    assert path.parent.stat().st_mode & 0o7777 == 0o2770
    assert path.stat().st_mode & 0o777 == 0o640, "a record that its operator alone writes"


def test_old_journals_are_removed_and_running_ones_never(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    inventory = tmp_path / "inventory"
    _, first = begin_journal(inventory, Plan(title="x", steps=(STEP,)), lambda: NOW.replace(year=2020))
    folder = inventory / ".quarterdeck/jobs"
    for number in range(journals.KEPT + 20):
        (folder / f"20260101T000000-{number:06x}.jsonl").write_text("")
    (folder / "20250101T000000-000000.jsonl").write_text("")
    (folder / "notes.txt").write_text("")
    _, last = begin_journal(inventory, Plan(title="y", steps=(STEP,)), lambda: NOW.replace(year=2026, month=2))
    names = {path.name[:4] for path in folder.iterdir()}
    assert len(list(folder.glob("2026*.jsonl"))) == journals.KEPT and names == {"2020", "2026", "note"}
    os.close(first)
    os.close(last)


HOSTILE = [
    b"",
    b"\n",
    b"not json\n",
    b"{}\n",
    b"\xff\xfe\x00\n",
    b'{"at": "now", "event": "job"}\n',
    b"[" * 100_000 + b"\n",
    b'{"at": "2026-05-17T12:00:00+00:00", "version": 1, "operator": "a", "plan": {"title": 1}}\n',
    b'{"at": "2026-05-17T12:00:00", "version": 1, "operator": "a", "plan": PLAN}\n',
    b'{"at": "2026-05-17T12:00:00Z", "version": 2, "operator": "a", "plan": PLAN}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": "step", "index": 9, "state": "done"}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": "step", "index": -1, "state": "done"}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": "step", "index": 0, "state": "eaten"}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": "end", "state": "eaten"}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": "end", "state": "done", "outcome": 1}\n',
    b'HEAD\n{"at": "2026-05-17T12:00:00Z", "event": []}\n',
]


def filled(text: bytes) -> bytes:
    plan = plan_to_json(Plan(title="x", steps=(STEP,)))
    head = b'{"at": "2026-05-17T12:00:00Z", "version": 1, "operator": "a", "plan": ' + plan + b"}"
    return text.replace(b"HEAD", head).replace(b"PLAN", plan)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_journal_that_makes_no_sense_is_unknown(tmp_path: Path, text: bytes) -> None:
    folder = tmp_path / ".quarterdeck/jobs"
    folder.mkdir(parents=True)
    (folder / "20260517T120000-abcdef.jsonl").write_bytes(filled(text))
    (job,) = Jobs(tmp_path).read()
    assert job.state is JobState.UNKNOWN and job.rest == 0


def test_what_is_no_file_or_may_not_be_read_is_unknown_and_links_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / ".quarterdeck/jobs"
    folder.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text("root:x:0\n")
    (folder / "20260517T120000-000001.jsonl").symlink_to(secret)
    (folder / "20260517T120000-000002.jsonl").mkdir()
    os.mkfifo(folder / "20260517T120000-000003.jsonl")
    (folder / "else.jsonl").write_text("x")
    jobs = Jobs(tmp_path).read()
    assert [job.state for job in jobs] == [JobState.UNKNOWN] * 3
    assert not any("root" in line for job in jobs for line in job.lines)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=60) | st.sampled_from([filled(text) for text in HOSTILE]), max_size=6))
def test_no_journal_whatsoever_is_an_exception(pieces: list[bytes]) -> None:
    record = Record("x")
    for piece in pieces:
        list(record.feed(piece))
    for held in (True, False):
        assert isinstance(record.job(held=held, cancelling=False), Job)


async def test_a_line_that_is_not_complete_yet_is_waited_for(world: World) -> None:
    _, descriptor = begin_journal(world.folder, Plan(title="Start web", steps=(STEP,)), utc_now)
    assert (await newest(world)).steps[0].state is StepState.WAITING
    line = json.dumps({"at": NOW.isoformat(), "event": "step", "index": 0, "state": "running"}).encode()
    os.write(descriptor, line[:20])
    assert (await newest(world)).steps[0].state is StepState.WAITING
    os.write(descriptor, line[20:] + b"\n")
    assert (await newest(world)).steps[0].state is StepState.RUNNING
    os.close(descriptor)


# Cancelling.


async def test_a_create_that_is_cancelled_is_taken_back_after_the_step_that_runs(world: World) -> None:
    files, listings = world.files(), world.listings()
    running = await begun(world, world.session.plan_create(wish(), start=True))
    job = await newest(world)
    await world.session.cancel_job(job.id)
    assert (await newest(world)).state is JobState.CANCELLING
    world.fake.gate.set()
    outcome = await running
    job = await newest(world)
    assert job.state is JobState.CANCELLED and not outcome.ok  # type: ignore[attr-defined]
    assert [step.state for step in job.steps] == [StepState.UNDONE, StepState.SKIPPED, StepState.SKIPPED]
    assert job.change_state is StepState.UNDONE and f"{operator()} asks it to end" in "\n".join(job.lines)
    assert (world.files(), world.listings()) == (files, listings)
    assert list(jobs_of(world).glob("*.cancel")) == []


async def test_what_stays_of_a_cancelled_power_action_stays_and_the_rest_is_done_by_a_retry(world: World) -> None:
    for name in ("b", "c"):
        await world.create(name=name)
    keys = [GuestKey("vhost-a", name) for name in ("b", "c")]
    running = await begun(world, world.session.plan_power(keys, PowerAction.START))
    await world.session.cancel_job((await newest(world)).id)
    world.fake.gate.set()
    await running
    job = await newest(world)
    assert (job.state, job.rest) == (JobState.CANCELLED, 1)
    assert [step.state for step in job.steps] == [StepState.DONE, StepState.SKIPPED]
    await world.see()
    rest = world.session.plan_rest(job.id)
    assert [step.sentence for step in rest.steps] == ["start c"] and rest.title == "Rest of: Start 2 guests"
    assert (await world.apply(rest)).ok
    old = world.session.store.job(job.id)
    assert old is not None and old.rest == 0, "its rest was done"
    with pytest.raises(FleetError, match="has ended already"):
        await world.session.cancel_job(job.id)


async def test_a_guest_that_is_waited_for_is_left_at_once(world: World) -> None:
    world.host.deaf.add("web")
    running = asyncio.create_task(world.session.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN)))
    await world.fake.started.wait()
    await world.session.cancel_job((await newest(world)).id)
    async with asyncio.timeout(10):
        outcome = await running
    assert outcome.left == ("shut web down on vhost-a: asked for, and not waited for",)
    assert (await newest(world)).state is JobState.CANCELLED


async def test_a_job_that_waits_for_its_host_can_be_cancelled(world: World) -> None:
    first = await begun(world, world.session.plan_power([WEB], PowerAction.SUSPEND))
    files = world.files()
    second = asyncio.create_task(world.session.apply(world.session.plan_create(wish(), start=False)))
    async with asyncio.timeout(10):
        while not any("busy with another job" in line for line in (await newest(world)).lines):
            pass
    assert f"{operator()}: Suspend vhost-a/web" in "\n".join((await newest(world)).lines)
    await world.session.cancel_job((await newest(world)).id)
    assert not (await second).ok and world.files() == files
    world.fake.gate.set()
    await first


# The rest.


async def test_a_create_that_failed_and_was_taken_back_is_done_again_as_a_whole(world: World) -> None:
    world.fake.fail_at = {2}
    assert not (await world.create(start=True)).ok
    world.fake.fail_at = ()
    job = await newest(world)
    assert (job.state, job.rest) == (JobState.FAILED, 3)
    rest = world.session.plan_rest(job.id)
    assert rest.change and rest.rest_of == job.id
    assert (await world.apply(rest)).ok
    assert world.session.store.guest(NEW).state is GuestState.RUNNING
    assert (await newest(world)).rest_of == job.id


@pytest.mark.parametrize("last", range(3))
@pytest.mark.parametrize("state", ["running", "done"])
async def test_a_create_that_was_killed_at_a_step_goes_on_there(world: World, last: int, state: str) -> None:
    """The host is as it is; the journal ends at that line."""
    plan = world.session.plan_create(wish(), start=True)
    world.fake.lost_at = len(world.fake.verbs) + last + (1 if state == "running" else 2)
    seen: list[str] = []

    def keep(event: str) -> bool:
        if f"step {last} {state}" in seen:
            return False
        seen.append(event)
        return True

    job = await cut(world, keep, plan)
    world.fake.lost_at, world.host.up = None, True
    await world.see()
    assert job.state is JobState.INTERRUPTED
    done = len(world.fake.done)
    rest = world.session.plan_rest(job.id)
    outcome = await world.apply(rest)
    assert outcome.ok, outcome
    assert world.session.store.guest(NEW).state is GuestState.RUNNING
    assert world.session.plan_fleet().is_empty
    verbs = [repr(verb) for _, verb in world.fake.done[done:]]
    assert len(verbs) == len(set(verbs))


async def test_what_the_host_shows_as_done_is_not_done_again(world: World) -> None:
    job = await cut(
        world, lambda event: not event.startswith(("step", "end")), world.session.plan_create(wish(), start=True)
    )
    assert (job.state, job.rest) == (JobState.INTERRUPTED, 3)
    rest = world.session.plan_rest(job.id)
    assert rest.is_empty and not rest.refusals


async def test_a_definition_is_that_of_the_inventory_now(world: World) -> None:
    job = await cut(
        world, lambda event: not event.startswith(("step", "end")), world.session.plan_create(wish(), start=False)
    )
    world.edit("hosts/vhost-a.toml", 'vcpus = 2\nmemory = "2 GiB"', 'vcpus = 3\nmemory = "2 GiB"')
    await world.session.reread()
    rest = world.session.plan_rest(job.id)
    (step,) = rest.steps
    assert isinstance(step.verb, Define) and ">3</vcpu>" in step.verb.xml


async def test_a_reboot_is_not_repeated_as_long_as_nobody_knows(world: World) -> None:
    plan = world.session.plan_power([WEB], PowerAction.REBOOT)
    job = await cut(world, lambda event: event in ("job", "step 0 running"), plan)
    assert (job.state, job.rest) == (JobState.INTERRUPTED, 0)
    world.fake.fail_at = {len(world.fake.verbs) + 1}
    await world.apply(plan)
    refused = await newest(world)
    assert (refused.state, refused.rest) == (JobState.FAILED, 1), "what the host refused was not done"
    assert [step.sentence for step in world.session.plan_rest(refused.id).steps] == ["reboot web"]


async def test_a_shutdown_that_failed_comes_before_the_start_that_follows(world: World) -> None:
    world.host.deaf.add("web")
    after = replace(world.session.wish_of(WEB), vcpus="3")
    plan = world.session.plan_edit(WEB, after, ApplyMode.RESTART)
    plan = replace(plan, steps=tuple(replace(step, wait_s=min(step.wait_s, 0.1)) for step in plan.steps))
    assert not (await world.apply(plan)).ok
    world.host.deaf.clear()
    job = await newest(world)
    rest = world.session.plan_rest(job.id)
    assert [step.sentence for step in rest.steps] == ["define web anew", "shut web down", "start web"]
    assert (await world.apply(rest)).ok
    assert world.session.store.guest(WEB).state is GuestState.RUNNING


async def test_a_removal_goes_on_where_it_was_killed(world: World) -> None:
    await world.apply(world.session.plan_power([WEB], PowerAction.FORCE_OFF))
    plan = world.session.plan_remove(WEB, delete_disks=frozenset({"boot"}))
    world.fake.lost_at = len(world.fake.verbs) + len(plan.steps)
    job = await cut(world, lambda event: not event.startswith("end") and "failed" not in event, plan)
    world.fake.lost_at, world.host.up = None, True
    await world.see()
    rest = world.session.plan_rest(job.id)
    assert [type(step.verb) for step in rest.steps] == [DeleteVolume] and rest.change is None
    assert (await world.apply(rest)).ok
    assert "web-boot.qcow2" not in world.host.pools["default"]


async def test_a_host_that_is_down_keeps_its_part_of_the_rest(world: World) -> None:
    world.fake.fail_at = {len(world.fake.verbs) + 1}
    await world.apply(world.session.plan_power([WEB], PowerAction.SUSPEND))
    world.host.up = False
    await world.see()
    rest = world.session.plan_rest((await newest(world)).id)
    assert rest.steps == () and rest.refusals == ("suspend web on vhost-a: the host is not up.",)


async def test_a_job_that_still_runs_has_no_rest(world: World) -> None:
    running = await begun(world, world.session.plan_power([WEB], PowerAction.SUSPEND))
    with pytest.raises(FleetError, match="still runs"):
        world.session.plan_rest((await newest(world)).id)
    world.fake.gate.set()
    await running
    assert world.session.plan_rest((await newest(world)).id).is_empty
    with pytest.raises(FleetError, match="There is no job"):
        world.session.plan_rest("nothing")


@pytest.mark.parametrize(
    ("verb", "why"),
    [
        (ForceOff(uuid="1ef07ff9-0368-40d8-92d6-1e34bd95551f"), "another domain than that of web"),
        (DeleteVolume(pool="default", name="debian-13.qcow2"), "is not one of web"),
        (DeleteVolume(pool="default", name="web2-boot.qcow2"), "is not one of web"),
    ],
)
async def test_a_journal_does_nothing_to_what_is_not_the_inventorys(world: World, verb: object, why: str) -> None:
    step = replace(STEP, verb=verb)
    _, descriptor = begin_journal(world.folder, Plan(title="x", steps=(step,)), utc_now)
    os.close(descriptor)
    rest = world.session.plan_rest((await newest(world)).id)
    assert rest.steps == () and why in rest.refusals[0]


async def test_another_operators_journal_never_says_with_which_xml(world: World) -> None:
    xml = world.host.named("web").xml
    step = replace(STEP, sentence="define web", verb=Define(xml=xml.replace("web", "evil")), undo=Define(xml="<evil/>"))
    path, descriptor = begin_journal(world.folder, Plan(title="x", steps=(step,)), utc_now)
    os.close(descriptor)
    os.chown(path, 4242, -1)
    world.host.named("web").xml = xml.replace("<vcpu>2", "<vcpu>1").replace('digest="', 'digest="0')
    await world.see()
    (step,) = world.session.plan_rest((await newest(world)).id).steps
    assert isinstance(step.verb, Define) and step.verb.xml == xml and step.undo is None


async def test_two_operators_see_each_others_jobs(world: World) -> None:
    other = open_world(world.folder, [world.host], world.folder.parent / "elsewhere")
    running = await begun(world, world.session.plan_create(wish(), start=False))
    seen = await newest(other)
    assert (seen.title, seen.state) == ("Create new on vhost-a", JobState.RUNNING)
    await other.session.cancel_job(seen.id)
    world.fake.gate.set()
    await running
    assert (await newest(other)).state is JobState.CANCELLED
    await other.session.close()
