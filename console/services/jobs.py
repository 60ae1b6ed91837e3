"""Jobs as their journals tell of them. Anybody may have written a journal: what makes no sense there is said to be
unknown, and never believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from console.domain.errors import FleetError
from console.domain.job import Job, JobState, JobStep
from console.domain.plan import Outcome, Plan, StepState
from console.domain.values import shown
from console.domain.verbs import AttachDevice, DetachDevice, Reboot, Reset
from console.services.journal import KEPT, SHARED, SUFFIX, is_held, journal_names
from console.services.plan_json import plan_from_json

MAX_BYTES = 64 * 1024 * 1024
"""A journal of 10,000 guests has about 10 MB."""

LINES = 60
FOLLOW_S = 0.03
"""So often a journal that is followed is looked at."""
SETTLED_NS = 1_000_000_000
ONCE = (Reboot, Reset, AttachDevice, DetachDevice)
"""What is not to be done again as long as nobody knows whether it was done."""


class Line(msgspec.Struct, frozen=True):
    """One event of a journal; see console.services.apply for what is written when."""

    at: datetime
    event: str
    index: int = 0
    state: str = ""
    why: str = ""
    unreachable: bool = False
    text: str = ""
    by: str = ""
    commit: str | None = None
    outcome: Outcome | None = None
    refused: tuple[str, str, str] | None = None


class _Head(msgspec.Struct, frozen=True):
    at: datetime
    version: int
    operator: str
    plan: msgspec.Raw


HEAD = msgspec.json.Decoder(_Head)
LINE = msgspec.json.Decoder(Line)


class Record:
    """What a journal has told so far: fed with its bytes as they come.

    plan: None as long as the first line is not there. bad: why it cannot be used, "" while it can.
    """

    def __init__(self, job: str, *, keep: int | None = LINES) -> None:
        self.job_id = job
        self.plan: Plan | None = None
        self.bad = ""
        self.steps: list[JobStep] = []
        self.owner = os.geteuid()
        """Who wrote the journal."""
        self.unsure: set[int] = set()
        """Steps of which nobody knows whether they were done."""
        self.change_state = StepState.WAITING
        self.end: Line | None = None
        self._operator = ""
        self._at = datetime.fromtimestamp(0, UTC)
        self.lines: deque[str] = deque(maxlen=keep)
        """What is for people to read, the last `keep` of it."""
        self._cancelling = False
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take in what was appended to the journal; yield each event that is understood."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for text in lines:
            if self.bad:
                return
            try:
                if self.plan is None:
                    self._begin(text)
                    continue
                line = LINE.decode(text)
                self._take(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError, FleetError) as error:
                self.bad = f"Its journal makes no sense: {shown(str(error), 200)[1:-1]}"
            else:
                yield line

    def _begin(self, text: bytes) -> None:
        head = HEAD.decode(text)
        if head.version != 1:
            raise ValueError("it was written by another version of Quarterdeck")
        self._at, self._operator = _aware(head.at), head.operator
        plan = plan_from_json(head.plan)
        self.steps = [JobStep(host=step.host, sentence=step.sentence, guest=step.guest) for step in plan.steps]
        self.plan = plan

    def _take(self, line: Line) -> None:
        at = _aware(line.at)
        where, what = "", line.text
        match line.event:
            case "step":
                if not 0 <= line.index < len(self.steps):
                    raise ValueError(f"there is no step {line.index}")
                state, old = StepState(line.state), self.steps[line.index]
                self.steps[line.index] = replace(old, state=state, detail=line.why, at=at)
                unsure = state is StepState.RUNNING or (state is StepState.FAILED and line.unreachable)
                (self.unsure.add if unsure else self.unsure.discard)(line.index)
                where, what = old.host, f"{old.sentence}: {state.value}"
            case "change":
                self.change_state = StepState(line.state)
                what = f"{self.plan.change.summary if self.plan and self.plan.change else ''}: {line.state}"
            case "cancel":
                self._cancelling = True
                what = f"{line.by} asks it to end"
            case "end":
                JobState(line.state)
                self.end = line
                what = line.outcome.sentence if line.outcome else line.state
        if what:
            why = f" ({' '.join(line.why.split())})" if line.why else ""
            self.lines.append("  ".join(part for part in (f"{at:%H:%M:%S}", where, what + why) if part))

    @property
    def title(self) -> str:
        """What the job is called."""
        return self.plan.title if self.plan is not None else "?"

    def rest(self) -> list[int]:
        """Return the steps that are to be done yet, or again, as far as the journal knows."""
        steps = self.plan.steps if self.plan is not None else ()
        return [
            place
            for place, step in enumerate(self.steps)
            if step.state is not StepState.DONE and not (place in self.unsure and isinstance(steps[place].verb, ONCE))
        ]

    def job(self, *, held: bool, cancelling: bool) -> Job:
        """Return the job. held: somebody holds the journal's lock. cancelling: it was asked to end."""
        if self.bad or (self.plan is None and not held):
            state = JobState.UNKNOWN
        elif self.end is not None:
            state = JobState(self.end.state)
        elif held:
            state = JobState.CANCELLING if cancelling or self._cancelling else JobState.RUNNING
        else:
            state = JobState.INTERRUPTED
        change = self.plan.change if self.plan is not None else None
        rest = 0
        if state in (JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED):
            rest = len(self.rest()) or int(change is not None and self.change_state is not StepState.DONE)
        lines = (*self.lines, self.bad) if self.bad else tuple(self.lines)
        return Job(
            id=self.job_id,
            title=self.title,
            operator=self._operator,
            at=self._at,
            state=state,
            steps=tuple(self.steps),
            change=change.summary if change is not None else "",
            change_state=self.change_state,
            ended_at=self.end.at if self.end is not None else None,
            lines=lines,
            rest=rest,
            outcome=self.end.outcome if self.end is not None else None,
            taken_back=change is not None and change.taken_back,
            rest_of=self.plan.rest_of if self.plan is not None else "",
        )


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at.astimezone(UTC)


class Tail:
    """A journal that is read as it grows. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path, *, keep: int | None = LINES) -> None:
        self.record = Record(path.name.removesuffix(SUFFIX), keep=keep)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._offset = 0
        self.record.owner = os.fstat(self._descriptor).st_uid

    def read(self) -> tuple[list[Line], bool]:
        """Return what was appended since, and whether the job still runs: what is read without that is all."""
        held = is_held(self._descriptor)
        lines: list[Line] = []
        while data := os.pread(self._descriptor, 1 << 20, self._offset):
            self._offset += len(data)
            if self._offset > MAX_BYTES:
                self.record.bad = f"Its journal is larger than {MAX_BYTES // 1024**2} MiB."
                break
            lines += self.record.feed(data)
        return lines, held

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def recorded(path: Path) -> Record:
    """Return what a journal tells now. Raises FleetError when it cannot be used."""
    try:
        tail = Tail(path)
        try:
            tail.read()
        finally:
            tail.close()
    except OSError as error:
        raise FleetError("The job's journal cannot be read.", f"{error.strerror} ({path}).") from None
    if tail.record.bad or tail.record.plan is None:
        raise FleetError("The job's journal cannot be used.", tail.record.bad or "It is empty.")
    return tail.record


async def lines_of(inventory: Path, job: str) -> AsyncIterator[str]:
    """Yield what a job's journal tells people, as it is written, until the job has ended. Raises FleetError."""
    path = inventory / SHARED / "jobs" / f"{job}{SUFFIX}"
    try:
        tail = Tail(path, keep=None)
    except OSError as error:
        raise FleetError("The job's journal cannot be read.", f"{error.strerror} ({path}).") from None
    try:
        while True:
            _, held = await asyncio.to_thread(tail.read)
            while tail.record.lines:
                yield tail.record.lines.popleft()
            if tail.record.bad or tail.record.end is not None or not held:
                return
            await asyncio.sleep(FOLLOW_S)
    finally:
        tail.close()


class Jobs:
    """The jobs of an inventory, read anew only as far as something was written since."""

    def __init__(self, inventory: Path) -> None:
        self._folder = inventory / SHARED / "jobs"
        self._seen: tuple[int, list[str]] = (-1, [])
        self._running: dict[str, Tail] = {}
        self._jobs: dict[str, Job] = {}
        self._records: dict[str, Record] = {}

    def read(self) -> tuple[Job, ...]:
        """Return all jobs, newest first. Blocks; costs one system call while nothing runs and nothing changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:
            return ()
        if changed != self._seen[0]:
            # What is made in the same moment would not be told from this: then the folder is read once more.
            settled = time.time_ns() - changed > SETTLED_NS
            self._seen = changed if settled else -1, journal_names(self._folder)[:KEPT]
            for name in self._jobs.keys() - set(self._seen[1]):
                self._forget(name)
        for name in self._seen[1]:
            if name not in self._jobs or name in self._running:
                self._read(name)
        retried = {job.rest_of for job in self._jobs.values()}
        jobs = [self._jobs[name] for name in self._seen[1] if name in self._jobs]
        found = [replace(job, rest=0) if job.rest and job.id in retried else job for job in jobs]
        for job in found:
            if not job.rest:
                self._records.pop(f"{job.id}{SUFFIX}", None)
        return tuple(sorted(found, key=lambda job: (job.at, job.id), reverse=True))

    def record(self, job: str) -> Record | None:
        """Return the record of a job that has ended and left something undone, None for any other."""
        return self._records.get(f"{job}{SUFFIX}")

    def close(self) -> None:
        """Let go of the files."""
        for name in list(self._running):
            self._running.pop(name).close()

    def _read(self, name: str) -> None:
        path = self._folder / name
        try:
            tail = self._running.get(name)
            if tail is None:
                tail = self._running[name] = Tail(path)
            _, held = tail.read()
        except OSError as error:
            self._forget(name)
            self._jobs[name] = unreadable(name, error)
            return
        job = tail.record.job(held=held, cancelling=path.with_suffix(".cancel").exists())
        if job != self._jobs.get(name):
            self._jobs[name] = job
        if job.state.ended:
            self._running.pop(name).close()
            self._records[name] = tail.record

    def _forget(self, name: str) -> None:
        self._jobs.pop(name, None)
        self._records.pop(name, None)
        if (tail := self._running.pop(name, None)) is not None:
            tail.close()


def unreadable(name: str, error: OSError) -> Job:
    """Return the job of a journal that cannot be opened."""
    id = name.removesuffix(SUFFIX)
    at = datetime.fromtimestamp(0, UTC)
    with contextlib.suppress(ValueError):
        at = datetime.strptime(id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    why = f"Its journal cannot be read: {error.strerror}."
    return Job(id=id, title="?", operator="", at=at, state=JobState.UNKNOWN, lines=(why,))
