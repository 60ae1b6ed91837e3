"""qd job ...: what is carried out and was, by whoever; to follow it, end it, and do what it has left."""

from __future__ import annotations

import asyncio
import contextlib
from argparse import Namespace
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from console.cli.output import safe, show_facts, show_json, show_plan, show_table
from console.cli.work import applied, goes_on, run, see, session_of
from console.domain.errors import FleetError
from console.domain.job import Job, JobState
from console.domain.plan import StepState
from console.domain.values import shown
from console.services.view import View
from console.wiring import inventory_folder, open_view

LAST = "last"


@contextlib.asynccontextmanager
async def _jobs(options: Namespace) -> AsyncIterator[View]:
    """Give the inventory with its jobs; no host is contacted for it."""
    view = open_view(inventory_folder(options.inventory))
    try:
        await view.read_jobs()
        yield view
    finally:
        await view.close()


def _chosen(view: View, name: str) -> Job:
    """Return the job that a name means: its id, a part of it that no other has, or "last"."""
    jobs = view.store.jobs
    if name == LAST and jobs:
        return jobs[0]
    found = [job for job in jobs if name and name in job.id]
    if len(found) == 1:
        return found[0]
    if found:
        raise FleetError(f"{shown(name)} may be {len(found)} jobs.", ", ".join(job.id for job in found[:5]))
    raise FleetError(f"There is no job {shown(name)}.", "", "See: qd job list")


def list_jobs(options: Namespace) -> int:
    """qd job list [--json]"""

    async def work() -> int:
        async with _jobs(options) as view:
            jobs, now = view.store.jobs, view.store.clock()
            if options.json:
                show_json([job_json(job) for job in jobs])
            elif jobs:
                show_table(["JOB", "STATE", ">STEPS", "WHEN", ">TOOK", "WHO", "WHAT"], [_row(job, now) for job in jobs])
            else:
                print("No jobs yet.")
            return 0

    return run(work())


def show(options: Namespace) -> int:
    """qd job show JOB [--json]"""

    async def work() -> int:
        async with _jobs(options) as view:
            job = _chosen(view, options.job)
            if options.json:
                show_json(job_json(job))
                return 0
            left = f"{job.rest} step{'s' if job.rest != 1 else ''}; do it with: qd job retry {job.id}"
            show_facts(
                [
                    ("job", job.id),
                    ("what", job.title),
                    ("state", job.state.value),
                    ("who", job.operator),
                    ("when", f"{job.at:%Y-%m-%d %H:%M:%S}Z"),
                    ("took", _took(job, view.store.clock())),
                    ("rest of", job.rest_of),
                    ("change", f"{job.change}: {job.change_state.value}" if job.change else ""),
                    ("left", left if job.rest else ""),
                ]
            )
            for step in job.steps:
                why = f"  ({' '.join(step.detail.split())})" if step.detail else ""
                print(safe(f"  {step.state.value:<8} {step.host}  {step.sentence}{why}"))
            if job.state is JobState.UNKNOWN:
                print(*(safe(line) for line in job.lines), sep="\n")
            _show_end(job)
            return 0

    return run(work())


def follow(options: Namespace) -> int:
    """qd job follow JOB: its lines as they are written, to its end."""

    async def work() -> int:
        async with _jobs(options) as view:
            job = _chosen(view, options.job)
            try:
                async for line in view.job_lines(job.id):
                    print(safe(line), flush=True)
            except asyncio.CancelledError:
                return goes_on(job.id, job.title)
            await view.read_jobs()
            job = view.store.job(job.id) or job
            _show_end(job)
            return 0 if job.state is JobState.DONE else 1

    return run(work())


def cancel(options: Namespace) -> int:
    """qd job cancel JOB"""

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            await session.read_jobs()
            job = _chosen(session, options.job)
            await session.cancel_job(job.id)
            print(safe(f"{job.title}: asked to end. What it is doing now is finished first: qd job follow {job.id}"))
            return 0

    return run(work())


def retry(options: Namespace) -> int:
    """qd job retry JOB [--plan]"""

    async def work() -> int:
        async with session_of(options) as session:
            await session.read_jobs()
            job = _chosen(session, options.job)
            await see(session, [host for host in job.hosts if host in session.store.fleet.hosts])
            plan = session.plan_rest(job.id)
            if options.plan:
                show_plan(await session.preview(plan))
                return 0
            if not plan.is_empty:
                # Refusals and warnings are told with the outcome, on stderr.
                show_plan(replace(plan, refusals=(), warnings=()))
            return await applied(session, plan)

    return run(work())


def job_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON-like data."""
    outcome = job.outcome
    return {
        "job": job.id,
        "title": job.title,
        "operator": job.operator,
        "state": job.state.value,
        "at": job.at.isoformat(),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "change": job.change or None,
        "change_state": job.change_state.value if job.change else None,
        "steps": [
            {
                "host": step.host,
                "guest": str(step.guest) if step.guest else None,
                "step": step.sentence,
                "state": step.state.value,
                "detail": step.detail,
                "at": step.at.isoformat() if step.at else None,
            }
            for step in job.steps
        ],
        "rest": job.rest,
        "rest_of": job.rest_of or None,
        "failures": [{"what": what, "why": why} for what, why in outcome.failures] if outcome else [],
        "left": list(outcome.left) if outcome else [],
        "notes": list(outcome.notes) if outcome else [],
        "lines": list(job.lines),
    }


def _row(job: Job, now: datetime) -> list[str]:
    done = sum(step.state is StepState.DONE for step in job.steps)
    return [
        job.id,
        job.state.value,
        f"{done}/{len(job.steps)}" if job.steps else "—",
        f"{job.at:%Y-%m-%d %H:%M}Z",
        _took(job, now),
        job.operator,
        job.title,
    ]


def _took(job: Job, now: datetime) -> str:
    """Return how long a job took, or has been running: "0:03", "1:02:03"."""
    end = job.ended_at or (None if job.state.ended else now)
    if end is None:
        return "—"
    seconds = max(0, int((end - job.at).total_seconds()))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _show_end(job: Job) -> None:
    if job.outcome is None:
        if job.state is JobState.INTERRUPTED:
            print("Its process ended before it could say how the job went.")
        return
    for what, why in job.outcome.failures:
        print(safe(f"{what}: {' '.join(why.split())}"))
    for undone in job.outcome.undone:
        print(safe(f"undone: {undone}"))
    for left in job.outcome.left:
        print(safe(f"left: {left}"))
    for note in job.outcome.notes:
        print(safe(f"note: {note}"))
    print(safe(job.outcome.sentence))
