"""Having a job carried out by somebody else, and hearing from its journal how that goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from console.domain.clock import Clock
from console.domain.errors import FleetError
from console.domain.plan import Outcome, Plan, Progress, StepState
from console.drivers.base import HostTarget, JobRunner
from console.services.apply import refuse
from console.services.jobs import FOLLOW_S, Line, Tail
from console.services.journal import Journal, begin_journal

Report = Callable[[Progress], None]
Changed = Callable[[], Coroutine[Any, Any, None]]


async def begin(folder: Path, plan: Plan, runner: JobRunner, targets: tuple[HostTarget, ...], clock: Clock) -> Tail:
    """Have a plan carried out; returns its journal to follow. Raises FleetError when it cannot be begun."""
    work = asyncio.ensure_future(_begin(folder, plan, runner, targets, clock))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # Half begun it would be neither running nor ended.
        await asyncio.wait([work])
        raise


async def _begin(folder: Path, plan: Plan, runner: JobRunner, targets: tuple[HostTarget, ...], clock: Clock) -> Tail:
    path, descriptor = await asyncio.to_thread(begin_journal, folder, plan, clock)
    tail = Tail(path)
    try:
        await runner.start(folder, path, descriptor, targets)
    except FleetError as error:
        refuse(plan.title, Journal(path, descriptor, clock), error)
        tail.close()
        raise
    finally:
        # Whoever carries the job out holds the lock from here on, and alone.
        os.close(descriptor)
    return tail


async def follow(tail: Tail, plan: Plan, report: Report, changed: Changed) -> Outcome:
    """Return how a job ended; who stops following leaves it running. changed: is called when the inventory was.

    Raises FleetError when the job was refused before it changed anything.
    """
    try:
        while True:
            lines, held = await asyncio.to_thread(tail.read)
            for line in lines:
                if line.event == "change" and line.state in (StepState.DONE, StepState.UNDONE):
                    await changed()
                if (progress := _progress(plan, line, tail.record.job_id)) is not None:
                    report(progress)
            if tail.record.end is not None:
                break
            if not held or tail.record.bad:
                return _lost(plan, tail)
            await asyncio.sleep(FOLLOW_S)
    finally:
        tail.close()
    end = tail.record.end
    if end.refused is not None:
        raise FleetError(*end.refused)
    return end.outcome or _lost(plan, tail)


def _progress(plan: Plan, line: Line, job: str) -> Progress | None:
    if line.event == "change" and plan.change is not None and line.state != StepState.UNDONE:
        detail = line.why or line.commit or ""
        return Progress(index=-1, sentence=plan.change.summary, state=StepState(line.state), detail=detail, job=job)
    if line.event == "step":
        state, step = StepState(line.state), plan.steps[line.index]
        sentence = step.undo_sentence if state is StepState.UNDONE else step.sentence
        return Progress(index=line.index, sentence=sentence, state=state, detail=line.why, job=job)
    return None


def _lost(plan: Plan, tail: Tail) -> Outcome:
    job = tail.record.job_id
    why = tail.record.bad or "Its process ended before it could say how the job went."
    hint = f"See what is left with: qd job show {job}, and do it with: qd job retry {job}"
    sentence, failure = f"{plan.title}: interrupted.", (plan.title, f"{why}\n{hint}")
    return Outcome(ok=False, sentence=sentence, failures=(failure,), job=job)
