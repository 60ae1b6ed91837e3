"""Applying a plan: the inventory first, then each guest's steps in order, hosts beside one another.

A guest's steps succeed together or are taken back in reverse order; other guests go on, unless so many have failed
that the plan says to stop: then those not begun are left alone and named. When a plan's own change
(a create, an edit) could not be applied, the inventory is put back as well, unless its host went away meanwhile:
then the guest stays wanted, and what stands half-made is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.domain.errors import FleetError, HostUnreachable
from console.domain.observed import GuestState
from console.domain.plan import InventoryChange, Outcome, Plan, Progress, Step, StepState
from console.drivers.base import Hypervisors, Repository
from console.inventory.store import Store
from console.services.change import Committed, commit_change, take_back
from console.services.journal import Journal, host_locks

Report = Callable[[Progress], None]

UNDO_TIMEOUT_S = 30.0
RETRY_SHUTDOWN_S = 15.0
"""A guest that is still booting ignores the power button: it is pressed again after this time."""


@dataclass(slots=True)
class _Record:
    """What happened so far, gathered over all hosts."""

    stop_after: int | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)
    not_begun: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unreachable: bool = False

    @property
    def stopped(self) -> bool:
        """True once no other guest is to be begun."""
        return self.stop_after is not None and len(self.failures) >= self.stop_after


@dataclass(frozen=True, slots=True)
class Workplace:
    """What an apply works with. state: the folder of journals and locks."""

    folder: Path
    state: Path
    store: Store
    repository: Repository
    hypervisors: Hypervisors


async def apply(plan: Plan, place: Workplace, report: Report) -> Outcome:
    """Carry a plan out; returns how it ended, never raises for a step that failed.

    Raises FleetError, with nothing changed, when the inventory refuses the change or a host is busy.
    """
    if plan.is_empty:
        return _nothing(plan)
    journal = Journal(place.state / "journal", place.store.clock)
    async with host_locks(place.state / "locks", (step.host for step in plan.steps), plan.title):
        journal.write("plan", title=plan.title, steps=[step.sentence for step in plan.steps])
        committed = await _change(plan.change, place, report, journal)
        record = _Record(plan.stop_after)
        by_host: dict[str, list[tuple[int, Step]]] = {}
        for index, step in enumerate(plan.steps):
            by_host.setdefault(step.host, []).append((index, step))
        try:
            await asyncio.gather(*(_host(steps, place, report, journal, record) for steps in by_host.values()))
        except asyncio.CancelledError:
            # What was done stays: nobody is there to wait for an undo, and an apply goes on from here.
            journal.write("interrupted")
            raise
        if record.failures and committed and plan.change and plan.change.taken_back and not record.unreachable:
            await _take_back(plan.change, committed, place, journal, record)
        outcome = _outcome(plan, record, journal.job)
        if committed:
            warning = (committed.warning,) if committed.warning else ()
            outcome = replace(outcome, commit=committed.commit, left=(*outcome.left, *warning))
        journal.write("end", ok=outcome.ok, sentence=outcome.sentence, undone=outcome.undone, left=outcome.left)
        return replace(outcome, left=(*outcome.left, *journal.faults))


async def _change(
    change: InventoryChange | None, place: Workplace, report: Report, journal: Journal
) -> Committed | None:
    if change is None:
        return None
    report(Progress(index=-1, sentence=change.summary, state=StepState.RUNNING))
    try:
        committed = await commit_change(place.folder, change, place.repository)
    except FleetError as error:
        report(Progress(index=-1, sentence=change.summary, state=StepState.FAILED, detail=str(error)))
        journal.write("refused", change=change.summary, why=str(error))
        raise
    place.store.set_inventory(committed.inventory)
    journal.write("inventory", change=change.summary, commit=committed.commit, files=committed.files)
    report(Progress(index=-1, sentence=change.summary, state=StepState.DONE, detail=committed.commit or ""))
    return committed


async def _take_back(
    change: InventoryChange, committed: Committed, place: Workplace, journal: Journal, record: _Record
) -> None:
    try:
        back = await take_back(place.folder, change, committed, place.repository)
    except FleetError as error:
        why = " ".join(part for part in (error.title, error.detail) if part)
        record.left.append(f"{change.summary} stays in the inventory: {why}")
        journal.write("undo failed", change=change.summary, why=str(error))
        return
    place.store.set_inventory(back.inventory)
    exact = back.written == {name: (now, old) for name, (old, now) in committed.written.items()}
    record.undone.append("the inventory is as it was" if exact else f"{change.summary}: taken back in the inventory")
    if back.warning:
        record.left.append(back.warning)
    journal.write("undone", change=change.summary, commit=back.commit, files=back.files)


async def _host(
    steps: list[tuple[int, Step]], place: Workplace, report: Report, journal: Journal, record: _Record
) -> None:
    failed: set[object] = set()
    begun: set[object] = set()
    done: dict[object, list[tuple[int, Step]]] = {}
    for index, step in steps:
        unit = step.guest
        if record.stopped and unit not in begun and unit not in failed:
            failed.add(unit)
            record.not_begun.append(str(unit or step.host))
            journal.write("not begun", host=step.host, step=step.sentence)
        begun.add(unit)
        if unit in failed:
            report(Progress(index=index, sentence=step.sentence, state=StepState.SKIPPED))
            continue
        report(Progress(index=index, sentence=step.sentence, state=StepState.RUNNING))
        journal.write("start", host=step.host, step=step.sentence)
        try:
            await _step(step, place)
        except FleetError as error:
            failed.add(unit)
            record.failures.append((f"{step.sentence} on {step.host}", str(error)))
            if isinstance(error, HostUnreachable):
                record.unreachable = True
                record.left.append(f"{step.sentence} on {step.host}: it is not known whether this was done")
            journal.write("failed", host=step.host, step=step.sentence, why=str(error))
            report(Progress(index=index, sentence=step.sentence, state=StepState.FAILED, detail=str(error)))
            await _undo(done.get(unit, []), place, report, journal, record)
        else:
            done.setdefault(unit, []).append((index, step))
            journal.write("done", host=step.host, step=step.sentence)
            report(Progress(index=index, sentence=step.sentence, state=StepState.DONE))


async def _step(step: Step, place: Workplace) -> None:
    if step.wait_for is None or step.guest is None:
        await place.hypervisors.call(step.host, step.verb, timeout_s=step.timeout_s)
        return
    key, wanted = step.guest, step.wait_for
    if await _asked(step, wanted, place):
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + step.wait_s
    while (remaining := deadline - loop.time()) > 0:
        if await place.store.wait_until(
            lambda store: store.guest(key).state is wanted, min(remaining, RETRY_SHUTDOWN_S)
        ):
            return
        if await _asked(step, wanted, place):
            return
    raise FleetError(
        f"{key} is not {wanted.value} after {step.wait_s:.0f} s.",
        "It was asked, but it does not answer.",
        "Wait and try again, or force it off.",
    )


async def _asked(step: Step, wanted: GuestState, place: Workplace) -> bool:
    """Ask; return True when that was refused only because the guest is there already, by itself."""
    try:
        await place.hypervisors.call(step.host, step.verb, timeout_s=step.timeout_s)
    except HostUnreachable:
        raise
    except FleetError:
        seen = await place.hypervisors.observe(step.host, timeout_s=step.timeout_s)
        place.store.set_observed({step.host: seen})
        if step.guest is None or place.store.guest(step.guest).state is not wanted:
            raise
        return True
    return False


async def _undo(
    done: list[tuple[int, Step]], place: Workplace, report: Report, journal: Journal, record: _Record
) -> None:
    for index, step in reversed(done):
        if step.undo is None:
            record.left.append(f"{step.sentence} on {step.host}: done, and stays")
            continue
        try:
            await place.hypervisors.call(step.host, step.undo, timeout_s=UNDO_TIMEOUT_S)
        except FleetError as error:
            record.left.append(f"{step.sentence} on {step.host}: done, and not taken back ({error.title})")
            journal.write("undo failed", host=step.host, step=step.undo_sentence, why=str(error))
        else:
            record.undone.append(f"{step.undo_sentence} on {step.host}")
            journal.write("undone", host=step.host, step=step.undo_sentence)
            report(Progress(index=index, sentence=step.undo_sentence, state=StepState.UNDONE))


def _nothing(plan: Plan) -> Outcome:
    if plan.refusals:
        return Outcome(
            ok=False,
            sentence=f"{plan.title}: refused.",
            failures=tuple((plan.title, refusal) for refusal in plan.refusals),
            pending=plan.pending,
        )
    return Outcome(ok=True, sentence=f"{plan.title}: nothing to do.", pending=plan.pending)


def _outcome(plan: Plan, record: _Record, job: str) -> Outcome:
    refused = tuple((plan.title, refusal) for refusal in plan.refusals)
    pending = plan.pending
    if plan.change and record.unreachable:
        # What is wanted stays wanted: an apply makes it when the host is back.
        pending = (*pending, *dict.fromkeys(step.guest for step in plan.steps if step.guest is not None))
    waits = f", {pending[0]} is pending until {pending[0].host} is up" if len(pending) == 1 else ""
    waits = waits or (f", {len(pending)} guests are pending until their hosts are up" if pending else "")
    left = list(record.left)
    if record.not_begun:
        names = ", ".join(record.not_begun)
        left.append(f"stopped after {record.stop_after} failures, not touched: {names}")
    if not record.failures:
        sentence = f"{plan.title}: {'done' if not refused else 'done in part'}{waits}."
    else:
        sentence = f"{plan.title}: {'' if plan.change else f'{len(record.failures)} '}failed{waits}."
    return Outcome(
        ok=not record.failures and not refused,
        sentence=sentence,
        failures=(*record.failures, *refused),
        undone=tuple(record.undone),
        left=tuple(left),
        pending=pending,
        job=job,
    )
