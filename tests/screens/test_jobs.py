"""The jobs: followed live, cancelled, their rest done; seen from the fleet, the host and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from textual.widgets import Input

from console.domain.job import Job, JobState, JobStep
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import StepState
from console.services.wishes import PowerAction
from screens.apply import ApplyScreen
from screens.cancel import CancelJob, meaning
from screens.host import HostScreen
from screens.job_lines import job_detail, job_rows
from screens.jobs import JobsScreen
from screens.plan import PlanScreen
from screens.problems import Problems
from screens.widgets import KeysFooter, Line, text_safe
from tests.fakes import NOW, FakeHardware
from tests.screens.world import (
    DEADLINE_S,
    World,
    console,
    console_of,
    cursor,
    fleet,
    heard,
    line_of,
    make_world,
    settled,
    shown,
    text,
    until,
)

WEB_1, WEB_2 = GuestKey("vhost-a", "web-1"), GuestKey("vhost-a", "web-2")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def job(state: JobState, *steps: StepState, id: str = "20260517T120000-000001", **facts: object) -> Job:
    """Return a job of two minutes ago with steps in these states, each on a guest of its own."""
    made = Job(
        id=id,
        title="Shut down 3 guests",
        operator="anna@desk",
        at=NOW - timedelta(minutes=2),
        state=state,
        steps=tuple(
            JobStep(
                host="vhost-a",
                sentence=f"shut web-{number} down",
                guest=GuestKey("vhost-a", f"web-{number}"),
                state=step,
                detail="It was asked, but it does not answer." if step is StepState.FAILED else "",
                at=NOW - timedelta(seconds=30),
            )
            for number, step in enumerate(steps, 1)
        ),
        ended_at=NOW - timedelta(minutes=1) if state.ended else None,
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def flat(lines: Sequence[Line]) -> list[str]:
    return ["".join(text_safe(part) for part, _ in line).rstrip() for line in lines]


DONE, FAILED, WAITING, RUNNING = StepState.DONE, StepState.FAILED, StepState.WAITING, StepState.RUNNING


# The lines.


def test_a_row_says_state_title_who_when_how_long_and_how_far() -> None:
    mine = job(JobState.RUNNING, DONE, RUNNING, WAITING, operator="me@here")
    rows = flat(job_rows([mine, job(JobState.FAILED, DONE, FAILED)], 0, NOW, "me@here", 78))
    assert rows[0].startswith("▸ ↻ running     Shut down 3 guests")
    assert rows[0].endswith(f"{mine.at.astimezone():%H:%M}  2m  1/3") and "me@here" not in rows[0]
    assert "✖ failed" in rows[1] and "anna@desk" in rows[1] and rows[1].endswith("1m  1/2")
    assert all(len(row) <= 78 for row in rows)


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_a_glyph_and_a_word(state: JobState) -> None:
    (row,) = flat(job_rows([job(state, DONE)], -1, NOW, "", 60))
    assert state.value in row and row.strip()[1] == " "


def test_where_not_all_steps_fit_what_runs_is_shown() -> None:
    many = job(JobState.RUNNING, *[DONE] * 40, RUNNING, *[WAITING] * 40)
    lines = flat(job_detail(many, NOW, 60, 10))
    assert len(lines) <= 10
    assert any("shut web-41 down (30s)" in line for line in lines)
    assert any("steps before" in line for line in lines) and any("steps after" in line for line in lines)
    whole = flat(job_detail(many, NOW, 60))
    assert sum("shut web-" in line for line in whole) == 81


def test_hostile_words_of_a_journal_stay_words() -> None:
    evil = "\x1b[2J[red]x\u202e"
    hostile = job(JobState.FAILED, FAILED, title=evil, operator=evil, lines=(evil,))
    steps = tuple(replace(step, sentence=evil, detail=evil) for step in hostile.steps)
    lines = flat(job_detail(replace(hostile, steps=steps), NOW, 60)) + flat(job_rows([hostile], 0, NOW, "", 60))
    assert all(line.isprintable() for line in lines) and any("\\x1b[2J[red]x" in line for line in lines)


def test_cancelling_says_what_becomes_of_what_is_done() -> None:
    stays = "\n".join(flat(meaning(job(JobState.RUNNING, DONE, RUNNING, WAITING), 70)))
    assert "shut web-2 down on vhost-a: is finished first" in stays
    assert "1 step not begun yet: not done." in stays and "1 step, done: stays as it is." in stays
    back = job(JobState.RUNNING, DONE, RUNNING, change="Create vhost-a/x", taken_back=True)
    assert "the inventory's change and 1 step, done: taken back" in "\n".join(flat(meaning(back, 70)))


def test_jobs_that_did_not_end_well_are_problems_until_they_are_mended() -> None:
    failed = job(JobState.FAILED, DONE, FAILED)

    def told(*jobs: Job, later: timedelta = timedelta()) -> list[str]:
        now = NOW + later
        return [problem.sentence(now) for problem in Problems().of(None, (), (), now, jobs)]

    (sentence,) = told(failed)
    assert sentence.startswith("Shut down 3 guests: failed at ")
    assert sentence.endswith("(1m). It was asked, but it does not answer.")
    assert told(job(JobState.INTERRUPTED, DONE, RUNNING))[0].startswith("Shut down 3 guests: interrupted at ")
    assert told(job(JobState.DONE, DONE), job(JobState.CANCELLED, WAITING), job(JobState.RUNNING, RUNNING)) == []
    assert told(job(JobState.FAILED, DONE)) == [], "only refusals"
    assert told(failed, later=timedelta(days=1)) == []
    assert told(job(JobState.DONE, DONE, DONE, id="2", title="Force off 2 guests"), failed) == [], "the same guests"
    assert told(job(JobState.DONE, id="2", title="The rest", rest_of=failed.id), failed) == []
    assert told(job(JobState.DONE, DONE, id="2", title="Force off web-1"), failed) == [sentence], "another guest"


# The screen.


async def test_without_jobs_it_teaches(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("J")
        await until(pilot, lambda: "No jobs yet." in text(pilot))
        assert "carried out as a job" in text(pilot)
        await pilot.press("enter", "x", "r", "f", "up", "down", "escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_a_job_is_followed_left_running_cancelled_and_its_rest_done(world: World) -> None:
    world.host("vhost-a").deaf.add("web-1")
    async with console(world) as pilot:
        session = world.session
        plan = session.plan_power([WEB_1], PowerAction.SHUTDOWN)
        await pilot.app.push_screen(ApplyScreen(session, plan))
        await until(pilot, lambda: any(job.state is JobState.RUNNING for job in session.store.jobs))
        assert dict(pilot.app.screen.query_one(KeysFooter).keys)["x"] == "cancel"
        await pilot.press("escape")
        await shown(pilot)
        assert "↻ Shut down vhost-a/web-1: goes on. J shows it." in text(pilot)
        assert "↻ 1 job" in line_of(pilot, "cellar")
        await pilot.press("J")
        await until(pilot, lambda: "↻ running" in text(pilot))
        assert "shut web-1 down" in text(pilot) and "0/1" in text(pilot) and "following the newest" in text(pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, CancelJob))
        await pilot.press("enter")
        assert "Press y to cancel it." in text(pilot)
        await pilot.press("y")
        await heard(console_of(pilot), lambda: session.store.jobs[0].state is JobState.CANCELLED)
        await shown(pilot)
        assert "– cancelled" in text(pilot)
        world.host("vhost-a").deaf.clear()
        world.pass_time(1)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        await until(pilot, lambda: "shut web-1 down" in text(pilot))
        assert len(session.store.jobs) == 1, "shown before it runs"
        await pilot.press("enter", "y")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        assert session.store.guest(WEB_1).state is GuestState.OFF
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await shown(pilot)
        assert session.store.jobs[0].state is JobState.DONE and "✔ done" in text(pilot)


async def test_an_apply_is_cancelled_where_it_is_watched(world: World) -> None:
    world.host("vhost-a").deaf.add("web-1")
    async with console(world) as pilot:
        screen = ApplyScreen(world.session, world.session.plan_power([WEB_1], PowerAction.SHUTDOWN))
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: bool(screen.job) and world.session.store.job(screen.job) is not None)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, CancelJob))
        await pilot.press("y")
        await until(pilot, lambda: screen.ended and pilot.app.screen is screen)
        assert "– cancelled" in text(pilot)
        await pilot.press("x")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_from_an_apply_the_jobs_and_back(world: World) -> None:
    world.host("vhost-a").deaf.add("web-1")
    async with console(world) as pilot:
        screen = ApplyScreen(world.session, world.session.plan_power([WEB_1], PowerAction.SHUTDOWN))
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: bool(screen.job))
        await pilot.press("J")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_the_list_keeps_its_job_and_follows_the_newest(world: World) -> None:
    async with console(world, 160, 48) as pilot:
        session = world.session
        for action in (PowerAction.SUSPEND, PowerAction.RESUME):
            assert (await session.apply(session.plan_power([WEB_1], action))).ok
            world.pass_time(1)
        await pilot.press("J")
        await until(pilot, lambda: "Resume vhost-a/web-1" in text(pilot) and "Suspend vhost-a/web-1" in text(pilot))
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen) and screen.cursor == 0
        await pilot.press("down")
        assert screen.job is not None and screen.job.title == "Suspend vhost-a/web-1"
        assert (await session.apply(session.plan_power([WEB_2], PowerAction.START))).ok
        await shown(pilot)
        assert screen.job.title == "Suspend vhost-a/web-1" and screen.cursor == 2
        await pilot.press("f")
        await shown(pilot)
        assert screen.job.title == "Start vhost-a/web-2"
        await pilot.press("enter")
        await shown(pilot)
        assert "Suspend" not in text(pilot) and "Last lines" in text(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))


async def test_a_host_shows_its_jobs(world: World) -> None:
    async with console(world, 100, 40) as pilot:
        session = world.session
        assert (await session.apply(session.plan_power([WEB_2], PowerAction.START))).ok
        await settled(pilot)
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await until(pilot, lambda: "✔ done        Start vhost-a/web-2" in text(pilot))


async def test_the_console_is_left_while_a_job_runs(world: World) -> None:
    world.host("vhost-a").deaf.add("web-1")
    async with console(world) as pilot:
        app = console_of(pilot)
        app.work.begin(world.session.plan_power([WEB_1], PowerAction.SHUTDOWN))
        await heard(app, lambda: any(not job.state.ended for job in world.session.store.jobs))
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
        said = "\n".join(str(part) for part in app._exit_renderables)
        assert "Shut down vhost-a/web-1: goes on without the console. See it with: qd job follow last" in said


async def test_ctrl_c_says_how_to_leave_and_copies_nothing(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("ctrl+c")
        await shown(pilot)
        assert "▲ q leaves the console." in text(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await pilot.press(*"abc", "shift+home", "ctrl+c")
        assert "escape goes back; q then leaves the console." in text(pilot)
        assert pilot.app.clipboard == "" and pilot.app.is_running


async def test_a_guest_is_gone_to_from_the_jobs_of_its_host(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await pilot.press("J")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await pilot.press("colon", *"db-2", "enter")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert cursor(pilot) == "vhost-b/db-2"


async def test_read_only_jobs_are_looked_at(world: World, tmp_path: Path) -> None:
    from console.services.view import View
    from screens.app import QuarterdeckApp
    from tests.fakes import FakeWatch

    await world.session.observe(["vhost-a"], timeout_s=DEADLINE_S)
    await world.session.apply(world.session.plan_power([WEB_2], PowerAction.START))
    view = View(
        world.session.folder, tmp_path / "state", world.hypervisors, FakeWatch(), lambda fleet: (), FakeHardware()
    )
    async with QuarterdeckApp(view).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("J")
        await until(pilot, lambda: "Start vhost-a/web-2" in text(pilot))
        keys = dict(pilot.app.screen.query_one(KeysFooter).keys)
        assert not {"x", "r"} & keys.keys() and "read-only" in text(pilot)
        await pilot.press("x", "r")
        await shown(pilot)
        assert isinstance(pilot.app.screen, JobsScreen)
