"""Carrying a job out: the inventory first, then each guest's steps in order, hosts beside one another; each event is
written into the job's journal before the next one happens.

A guest's steps succeed together or are taken back in reverse order; other guests go on, unless so many have failed
that the plan says to stop: then those not begun are left alone and named. When a plan's own change
(a create, an edit) could not be applied, the inventory is put back as well, unless its host went away meanwhile:
then the guest stays wanted, and what stands half-made is named. A job that is asked to end does so between two steps.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.domain.errors import FleetError, HostUnreachable, NotKnownDone
from console.domain.job import JobState
from console.domain.model import GuestKey
from console.domain.observed import GuestState, HostObservation
from console.domain.plan import InventoryChange, Outcome, Plan, Step, StepState
from console.domain.verbs import Start
from console.drivers.base import HardwareReader, Hypervisors, Repository
from console.services import recheck
from console.services.journal import JobCancelledError, Journal, host_locks, operator, shared_folder

UNDO_TIMEOUT_S = 30.0
RETRY_SHUTDOWN_S = 15.0
"""A guest that is still booting ignores the power button: it is pressed again after this time."""
LOOK_S = 0.3
"""So often a step that waits looks whether the job was asked to end."""

if TYPE_CHECKING:
    from console.services.change import Committed

log = logging.getLogger(__name__)

Unit = GuestKey | None
Done = dict[Unit, list[tuple[int, Step]]]


@dataclass(slots=True)
class _Record:
    """What happened so far, gathered over all hosts. cancelled: the job was asked to end, and something was left."""

    stop_after: int | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)
    not_begun: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreachable: bool = False
    cancelled: bool = False

    @property
    def stopped(self) -> bool:
        """True once no other guest is to be begun."""
        return self.stop_after is not None and len(self.failures) >= self.stop_after


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a job works with. folder: the inventory. settle_s: how long a device is waited for between two looks."""

    folder: Path
    repository: Repository
    hypervisors: Hypervisors
    hardware: HardwareReader
    settle_s: float = 1.0


async def carry_out(plan: Plan, journal: Journal, place: Workplace) -> None:
    """Carry a plan out. True afterwards: its journal says how it ended, whatever happened."""
    try:
        outcome, state = await _locked(plan, journal, place)
    except JobCancelledError as error:
        outcome = Outcome(ok=False, sentence=f"{plan.title}: cancelled.", left=(error.detail,))
        _end(journal, outcome, JobState.CANCELLED)
    except FleetError as error:
        refuse(plan.title, journal, error)
    except Exception as error:
        log.exception("Job %s failed in a way that nobody foresaw.", journal.job)
        why = f"This is a defect of Quarterdeck ({type(error).__name__}): its log has the details."
        outcome = Outcome(ok=False, sentence=f"{plan.title}: failed.", failures=((plan.title, why),))
        _end(journal, outcome, JobState.FAILED)
    else:
        _end(journal, outcome, state)


def refuse(title: str, journal: Journal, error: FleetError) -> None:
    """Write that a job ended before it changed anything, and why."""
    why = " ".join(part for part in (error.title, error.detail) if part)
    outcome = Outcome(ok=False, sentence=f"{title}: refused.", failures=((title, why),))
    _end(journal, outcome, JobState.FAILED, refused=(error.title, error.detail, error.hint))


def _end(journal: Journal, outcome: Outcome, state: JobState, **facts: Any) -> None:
    outcome = replace(outcome, job=journal.job, left=(*outcome.left, *journal.faults))
    journal.write("end", state=state, outcome=asdict(outcome), **facts)


async def _locked(plan: Plan, journal: Journal, place: Workplace) -> tuple[Outcome, JobState]:
    async with host_locks(
        shared_folder(place.folder, "locks"),
        (step.host for step in plan.steps),
        f"{operator()}: {plan.title}",
        waiting=lambda other: journal.write("waiting", text=other),
        give_up=lambda: journal.cancelled,
    ):
        committed = await _change(plan.change, place, journal)
        record = _Record(plan.stop_after)
        by_host: dict[str, list[tuple[int, Step]]] = {}
        for index, step in enumerate(plan.steps):
            by_host.setdefault(step.host, []).append((index, step))
        done: list[Done] = [{} for _ in by_host]
        await asyncio.gather(
            *(_host(steps, place, journal, record, made) for steps, made in zip(by_host.values(), done, strict=True))
        )
        if committed and plan.change and plan.change.taken_back and not record.unreachable:
            if record.cancelled:
                for made in done:
                    for steps in reversed(made.values()):
                        await _undo(steps, place, journal, record)
            if record.cancelled or record.failures:
                await _take_back(plan.change, committed, place, journal, record)
        outcome = _outcome(plan, record)
        if committed:
            warning = (committed.warning,) if committed.warning else ()
            outcome = replace(outcome, commit=committed.commit, left=(*outcome.left, *warning))
        state = JobState.CANCELLED if record.cancelled else JobState.DONE if outcome.ok else JobState.FAILED
        return outcome, state


async def _change(change: InventoryChange | None, place: Workplace, journal: Journal) -> Committed | None:
    if change is None:
        return None
    # 0.15 s of imports, for what most jobs do not do.
    from console.services.change import commit_change

    journal.write("change", state=StepState.RUNNING)
    try:
        committed = await commit_change(place.folder, change, place.repository)
    except FleetError as error:
        journal.write("change", state=StepState.FAILED, why=str(error))
        raise
    journal.write("change", state=StepState.DONE, commit=committed.commit, files=committed.files)
    return committed


async def _take_back(
    change: InventoryChange, committed: Committed, place: Workplace, journal: Journal, record: _Record
) -> None:
    from console.services.change import take_back

    # From here on nobody can rely on the change being there.
    journal.write("change", state=StepState.UNDONE, text="begun")
    try:
        back = await take_back(place.folder, change, committed, place.repository)
    except FleetError as error:
        why = " ".join(part for part in (error.title, error.detail) if part)
        record.left.append(f"{change.summary} stays in the inventory: {why}")
        journal.write("change", state=StepState.DONE, why=why)
        return
    exact = back.written == {name: (now, old) for name, (old, now) in committed.written.items()}
    record.undone.append("the inventory is as it was" if exact else f"{change.summary}: taken back in the inventory")
    if back.warning:
        record.left.append(back.warning)
    journal.write("change", state=StepState.UNDONE, commit=back.commit, files=back.files)


async def _host(steps: list[tuple[int, Step]], place: Workplace, journal: Journal, record: _Record, done: Done) -> None:
    failed: set[Unit] = set()
    begun: set[Unit] = set()

    def write(index: int, state: StepState, **facts: Any) -> None:
        journal.write("step", index=index, state=state, **facts)

    for index, step in steps:
        unit = step.guest
        if unit not in failed and journal.cancelled:
            record.cancelled = True
        if record.stopped and unit not in begun and unit not in failed:
            failed.add(unit)
            record.not_begun.append(str(unit or step.host))
        begun.add(unit)
        if unit in failed or record.cancelled:
            write(index, StepState.SKIPPED)
            continue
        write(index, StepState.RUNNING)
        try:
            finished = await _step(step, place, journal)
        except FleetError as error:
            failed.add(unit)
            record.failures.append((f"{step.sentence} on {step.host}", str(error)))
            lost = isinstance(error, NotKnownDone)
            record.unreachable |= isinstance(error, HostUnreachable)
            if lost:
                record.left.append(f"{step.sentence} on {step.host}: it is not known whether this was done")
            write(index, StepState.FAILED, why=str(error), unreachable=lost)
            await _undo(done.pop(unit, []), place, journal, record)
        else:
            if finished:
                done.setdefault(unit, []).append((index, step))
                write(index, StepState.DONE)
                again = any(
                    isinstance(later.verb, Start) and later.guest == unit
                    for place_of, later in steps
                    if place_of > index
                )
                if recheck.is_looked_at(step) and not again:
                    record.notes += await recheck.look(step, place)
            else:
                record.cancelled = True
                record.left.append(f"{step.sentence} on {step.host}: asked for, and not waited for")
                write(index, StepState.SKIPPED, why="asked for, and not waited for")


async def _step(step: Step, place: Workplace, journal: Journal) -> bool:
    """Carry a step out; return False when the job was asked to end before the guest was as it is to be.

    A guest's devices are checked while this job holds the host: what was true when the plan was made may not be now.
    """
    if recheck.is_checked(step):
        await recheck.check(step, place)
    if step.wait_for is None or step.guest is None:
        await place.hypervisors.call(step.host, step.verb, timeout_s=step.timeout_s)
        return True
    wanted = step.wait_for
    loop = asyncio.get_running_loop()
    deadline = loop.time() + step.wait_s
    while (remaining := deadline - loop.time()) > 0:
        if await _asked(step, wanted, place):
            return True
        match await _reached(step, wanted, min(remaining, RETRY_SHUTDOWN_S), place, journal):
            case True:
                return True
            case False:
                return False
    if await _is_reached(step, wanted, place):
        return True
    raise FleetError(
        f"{step.guest} is not {wanted.value} after {step.wait_s:.0f} s.",
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
        if not await _is_reached(step, wanted, place):
            raise
        return True
    return False


async def _is_reached(step: Step, wanted: GuestState, place: Workplace) -> bool:
    return _state(step, await place.hypervisors.observe(step.host, timeout_s=step.timeout_s)) is wanted


async def _reached(step: Step, wanted: GuestState, within_s: float, place: Workplace, journal: Journal) -> bool | None:
    """Return True once the guest is as wanted, False once the job is to end, None when neither came about."""

    async def seen() -> bool:
        async for hosts in place.hypervisors.updates():
            if step.host in hosts and _state(step, hosts[step.host]) is wanted:
                break
        return True

    watching = asyncio.ensure_future(seen())
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    try:
        while (remaining := deadline - loop.time()) > 0:
            ended, _ = await asyncio.wait([watching], timeout=min(remaining, LOOK_S))
            if ended:
                return await watching
            if journal.cancelled:
                return False
        return None
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _state(step: Step, host: HostObservation) -> GuestState | None:
    uuid = getattr(step.verb, "uuid", None)
    return next((guest.state for guest in host.guests if guest.uuid == uuid), None)


async def _undo(done: list[tuple[int, Step]], place: Workplace, journal: Journal, record: _Record) -> None:
    for index, step in reversed(done):
        if step.undo is None:
            record.left.append(f"{step.sentence} on {step.host}: done, and stays")
            continue
        try:
            await place.hypervisors.call(step.host, step.undo, timeout_s=UNDO_TIMEOUT_S)
        except FleetError as error:
            record.left.append(f"{step.sentence} on {step.host}: done, and not taken back ({error.title})")
            journal.write("note", text=f"{step.undo_sentence}: failed", why=str(error))
        else:
            record.undone.append(f"{step.undo_sentence} on {step.host}")
            journal.write("step", index=index, state=StepState.UNDONE)


def _outcome(plan: Plan, record: _Record) -> Outcome:
    refused = tuple((plan.title, refusal) for refusal in plan.refusals)
    pending = plan.pending
    if plan.change and record.unreachable:
        # What is wanted stays wanted: an apply makes it when the host is back.
        pending = (*pending, *dict.fromkeys(step.guest for step in plan.steps if step.guest is not None))
    waits = f", {pending[0]} is pending: apply again once {pending[0].host} is up" if len(pending) == 1 else ""
    waits = waits or (f", {len(pending)} guests are pending: apply again once their hosts are up" if pending else "")
    left = list(record.left)
    if record.not_begun:
        names = ", ".join(record.not_begun)
        many = f"{record.stop_after} failure{'' if record.stop_after == 1 else 's'}"
        left.append(f"stopped after {many}, not touched: {names}")
    if record.cancelled:
        sentence = f"{plan.title}: cancelled."
    elif not record.failures:
        sentence = f"{plan.title}: {'done' if not refused else 'done in part'}{waits}."
    else:
        sentence = f"{plan.title}: {'' if plan.change else f'{len(record.failures)} '}failed{waits}."
    return Outcome(
        ok=not record.failures and not refused and not record.cancelled,
        sentence=sentence,
        failures=(*record.failures, *refused),
        undone=tuple(record.undone),
        left=tuple(left),
        pending=pending,
        notes=tuple(record.notes),
    )
