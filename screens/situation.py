"""Where the operator is, and what makes sense there: an action asks it before it is offered. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.domain.job import Job, JobState
from console.domain.observed import HostState
from console.domain.standing import GuestView, HostView, Standing
from console.services.power import FROM
from console.services.wishes import PowerAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where the operator is: the host and guest that an action would be for, None where there is none.

    changes: guests that differ from the inventory or are not made yet. marked: how many guests are marked: what is
    done to guests is done to them then, and marked_can is what at least one of them can be told. narrowed: there is a
    filter to end; sorted: there is an order to leave. jobs: how many run. job: the one under the cursor; following:
    the cursor stays on the newest one; opened: it is shown alone. card: there is one under the cursor; card_free: a
    guest could get it; card_own: its host keeps it for itself; card_taken: a guest has it; card_parts: it can have
    virtual functions. card_runs: a guest runs with one of the list.
    """

    read_only: bool = False
    hosts: int = 0
    changes: int = 0
    host: HostView | None = None
    guest: GuestView | None = None
    marked: int = 0
    marked_can: frozenset[PowerAction] = frozenset()
    narrowed: bool = False
    sorted: bool = False
    jobs: int = 0
    job: Job | None = None
    following: bool = False
    opened: bool = False
    card: bool = False
    card_free: bool = False
    card_runs: bool = False
    card_own: bool = False
    card_taken: bool = False
    card_parts: bool = False


Available = Callable[[Situation], bool]


def managed(now: Situation) -> bool:
    """Return True on a guest of the inventory."""
    return now.guest is not None and now.guest.wanted is not None


def can_power(power: PowerAction, host: HostView, guest: GuestView) -> bool:
    """Return whether a power action makes sense for a guest now."""
    if guest.wanted is None or host.seen.state is not HostState.UP:
        return False
    if guest.standing is Standing.PENDING:
        return power is PowerAction.START
    return guest.state in FROM[power]


def can(power: PowerAction) -> Available:
    """Return whether a power action makes sense for the marked guests, else for the one under the cursor."""

    def available(now: Situation) -> bool:
        if now.marked:
            return power in now.marked_can
        return now.guest is not None and now.host is not None and can_power(power, now.host, now.guest)

    return available


def one(now: Situation) -> bool:
    """Return True on a guest of the inventory; what cannot be done to several is not offered while some are marked."""
    return managed(now) and not now.marked


def editable(now: Situation) -> bool:
    """Return True on a guest of the inventory and on a host; only one is edited at a time."""
    return one(now) or (now.guest is None and now.host is not None and not now.marked)


def can_cancel(now: Situation) -> bool:
    """Return True on a job that runs and was not asked to end yet."""
    return now.job is not None and now.job.state is JobState.RUNNING


def has_rest(now: Situation) -> bool:
    """Return True on a job that ended and left something to do."""
    return now.job is not None and now.job.state.ended and now.job.rest > 0


def has_devices(now: Situation) -> bool:
    """Return True on a guest of the inventory with passed-through devices."""
    return now.guest is not None and now.guest.wanted is not None and bool(now.guest.wanted.devices)
