"""A plan: what would change, in order, before anything does. Pure data, shown and then applied as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from console.domain.model import Fleet, GuestKey
from console.domain.observed import GuestState
from console.domain.verbs import Verb


class Danger(StrEnum):
    """How much an action can hurt: what the operator is asked before it."""

    NONE = "none"
    CONFIRM = "confirm"
    TYPE_NAME = "type the name"


class ApplyMode(StrEnum):
    """When an edit of a running guest takes effect."""

    LIVE = "live"
    NEXT_BOOT = "next boot"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryChange:
    """A change of what is wanted, as data: see console.domain.move, which makes it and carries it over.

    summary: the commit's subject ("Create vhost-a/trainer"). before, after: the fleets that it leads from and to,
    reduced to what differs; it is made in the fleet as it is then, so that what others change in between stays, or
    the change is refused. taken_back: it is undone when the apply fails; otherwise it stays.
    """

    summary: str
    before: Fleet
    after: Fleet
    taken_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb on one host.

    sentence: what it does, in the imperative ("define trainer"). undo: the verb that takes it back.
    wait_for: the state the guest must reach before the step counts as done, within wait_s seconds.
    devices: the PCI slots that the guest has: checked right before it is started, looked at after it was stopped.
    """

    host: str
    sentence: str
    verb: Verb
    guest: GuestKey | None = None
    undo: Verb | None = None
    undo_sentence: str = ""
    wait_for: GuestState | None = None
    wait_s: float = 0.0
    timeout_s: float = 30.0
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One fact of a guest that would change. when: "live", "next boot", or "" where it does not matter."""

    guest: GuestKey
    fact: str
    seen: str | None
    wanted: str | None
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would happen, to whom, in which order.

    refusals: why parts of it cannot happen (a plan with refusals and no steps does nothing). pending: guests whose
    host is down: wanted, and applied when it is back. files: inventory and generated files that change, with diffs.
    confirm_word: what has to be typed where danger asks for it: a name, or for many guests their number.
    stop_after: after so many failures no other guest is begun, None to go through all.
    rest_of: the job that this is the rest of, "" when it is none.
    """

    title: str
    change: InventoryChange | None = None
    steps: tuple[Step, ...] = ()
    differences: tuple[Difference, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pending: tuple[GuestKey, ...] = ()
    files: tuple[FileDiff, ...] = ()
    danger: Danger = Danger.NONE
    confirm_word: str = ""
    stop_after: int | None = None
    rest_of: str = ""

    @property
    def is_empty(self) -> bool:
        """True when applying would change nothing anywhere."""
        return self.change is None and not self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """One file that a plan changes. summary: "+ [guests.trainer] (17 lines)"; diff: unified, may be empty."""

    name: str
    summary: str
    diff: str


class StepState(StrEnum):
    """Where a step of a running apply stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A step of an apply changed its state. index -1 is the inventory's own commit. job: the id of the job it is of."""

    index: int
    sentence: str
    state: StepState
    detail: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an apply ended.

    sentence: one line for the status bar. failures: (what, why with its way out). undone: what was taken back.
    left: what could not be taken back and stands half-made. notes: what was found afterwards.
    commit: the commit's short id, None without git.
    """

    ok: bool
    sentence: str
    failures: tuple[tuple[str, str], ...] = ()
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    pending: tuple[GuestKey, ...] = field(default=())
    commit: str | None = None
    job: str = ""
    notes: tuple[str, ...] = ()
