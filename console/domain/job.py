"""A job: a plan that is or was carried out, as its journal tells it. Whoever carries it out, every console sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from console.domain.model import GuestKey
from console.domain.plan import Outcome, StepState


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    CANCELLING = "cancelling"  # asked to end; the step that runs is finished first
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # its process is gone and it never said how it ended
    UNKNOWN = "unknown"  # its journal cannot be read

    @property
    def ended(self) -> bool:
        """True once nothing more happens by itself."""
        return self not in (JobState.RUNNING, JobState.CANCELLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """One step of a job. at: when it came to this state, None while it waits. detail: why it failed."""

    host: str
    sentence: str
    guest: GuestKey | None = None
    state: StepState = StepState.WAITING
    detail: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of one job.

    operator: who began it ("anna@desk"). at: begun; ended_at: None while it runs. change: the summary of the
    inventory's change, "" when there is none; change_state: where that stands. lines: the last lines of its journal
    for people, oldest first ("12:04:31  vhost-a  define trainer: done"). rest: how many steps are left to do or to
    do again, 0 when a retry would do nothing. outcome: how it ended, None until then. taken_back: when it fails or is
    cancelled, what it did is undone, the inventory's change with it; otherwise that stays. rest_of: the job of which
    it does the rest, "" for none.
    """

    id: str
    title: str
    operator: str
    at: datetime
    state: JobState
    steps: tuple[JobStep, ...] = ()
    change: str = ""
    change_state: StepState = StepState.WAITING
    ended_at: datetime | None = None
    lines: tuple[str, ...] = ()
    rest: int = 0
    outcome: Outcome | None = None
    taken_back: bool = False
    rest_of: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it touches, by name, each once."""
        return tuple(sorted({step.host for step in self.steps}))
