"""What somebody should know of a fleet, worst first: the dashboard's first lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.domain.errors import Fault, FleetError
from console.domain.job import Job, JobState
from console.domain.observed import GuestState, HostState
from console.domain.plan import StepState
from console.domain.standing import GuestView, HostView, Standing
from screens.figures import age, size
from screens.states import REASONS, REFUSALS
from screens.totals import ON

UNHEARD = timedelta(seconds=60)
"""A host that is up is heard of every 15 s: after this long nothing that is shown of it can be trusted."""

FULL = 0.9
"""A storage pool with more than this share taken is told of."""

LATELY = timedelta(days=1)
"""So long a job that did not end well is told of, unless a later one did what it left."""

NAMED = 4
"""Guests that have the same problem and are named; the others are counted."""

RANKS = ("bad", "warn", "accent", "quiet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One sentence with its sign. style: "bad" to act now, "warn", "accent" for what waits, "quiet" for a note.

    since: when it began as far as is known, or when it was (`word`); it stands after `text`, with its age, before
    `more`.
    """

    mark: str
    style: str
    text: str
    since: datetime | None = None
    more: str = ""
    word: str = "since"

    def sentence(self, now: datetime) -> str:
        """Return the sentence as of now; times are local ones."""
        return self.text + ("" if self.since is None else since_words(self.since, now, self.word)) + self.more


def since_words(since: datetime, now: datetime, word: str = "since") -> str:
    """Return " since 11:59 (4m)"; with the day when it is another one."""
    local, today = since.astimezone(), now.astimezone()
    day = "" if local.date() == today.date() else f"{local:%Y-%m-%d} "
    return f" {word} {day}{local:%H:%M} ({age(since, now)})"


class Problems:
    """The fleet's problems; only hosts that changed are looked at anew."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[HostView, tuple[Problem, ...], list[GuestView]]] = {}

    def of(
        self,
        trouble: FleetError | None,
        faults: Iterable[Fault],
        views: Sequence[HostView],
        now: datetime,
        jobs: Sequence[Job] = (),
    ) -> list[Problem]:
        """Return the problems, worst first, then by host; jobs after hosts, notes last.

        trouble: what keeps all hosts from being seen. jobs: newest first.
        """
        known = {}
        found, strays = list(_of_files(trouble, faults)), list[GuestView]()
        for view in views:
            entry = self._known.get(view.name)
            if entry is None or entry[0] is not view:
                entry = (view, tuple(_of_host(view)), _standing(view, Standing.UNMANAGED))
            known[view.name] = entry
            found += entry[1]
            strays += entry[2]
            if unheard(view, now):
                found.append(_problem("✖", "bad", f"{view.name} is up, but nothing was heard of it", view.seen.seen_at))
        self._known = known
        found += _of_jobs(jobs, now)
        if strays:
            found.append(_problem("?", "quiet", f"not in the inventory: {_names(strays)}"))
        return sorted(found, key=lambda problem: RANKS.index(problem.style))


def unheard(view: HostView, now: datetime) -> bool:
    """Return True for a host that is said to be up, but of which nobody has told anything for too long."""
    seen = view.seen
    return seen.state is HostState.UP and seen.seen_at is not None and now - seen.seen_at > UNHEARD


def waited_for(views: Iterable[HostView]) -> int:
    """Return how many hosts have neither answered nor failed to answer yet."""
    return sum(view.seen.state in (HostState.UNKNOWN, HostState.CONNECTING) for view in views)


def _of_jobs(jobs: Sequence[Job], now: datetime) -> Iterator[Problem]:
    """Yield the jobs that did not end well lately; not those whose guests a later job was done with."""
    mended: set[object] = set()
    for job in jobs:
        at = job.ended_at or job.at
        if now - at >= LATELY:
            continue
        if job.state is JobState.DONE:
            mended |= {job.title, job.rest_of, *(step.guest or step.host for step in job.steps)}
        if job.state not in (JobState.FAILED, JobState.INTERRUPTED):
            continue
        left = {step.guest or step.host for step in job.steps if step.state is not StepState.DONE}
        if not left:
            if job.steps and (not job.change or job.change_state is StepState.DONE):
                # All of it was done; what was refused had been told before.
                continue
            left = {job.title}
        if not {job.id, job.title} & mended and not left <= mended:
            yield Problem(
                mark="✖", style="bad", text=f"{job.title}: {job.state.value}", since=at, word="at", more=_why(job)
            )


def _why(job: Job) -> str:
    """Return the first reason of a job that failed, in a line."""
    why = next((step.detail for step in job.steps if step.state is StepState.FAILED and step.detail), "")
    if not why and job.outcome is not None and job.outcome.failures:
        why = job.outcome.failures[0][1]
    return f". {' '.join(why.split())}" if why else ""


def _problem(mark: str, style: str, text: str, since: datetime | None = None, more: str = "") -> Problem:
    return Problem(mark=mark, style=style, text=text, since=since, more=more)


def _of_files(trouble: FleetError | None, faults: Iterable[Fault]) -> Iterator[Problem]:
    if trouble is not None:
        parts = (trouble.title, trouble.detail, trouble.hint)
        yield _problem("✖", "bad", " ".join(" ".join(part.split()) for part in parts if part))
    for fault in faults:
        yield _problem("✖", "bad", f"{fault} The last good version stays in use.")


def _of_host(view: HostView) -> Iterator[Problem]:
    if view.seen.state is HostState.DOWN:
        yield _down(view)
        return
    if view.seen.state is not HostState.UP:
        return
    yield from _of_pools(view)
    for mark, style, words, guests in (
        ("✖", "bad", "crashed", [g for g in view.guests if g.state is GuestState.CRASHED]),
        ("✖", "bad", "not answering: QEMU hangs", [g for g in view.guests if not g.answers]),
        ("▲", "warn", "not as the inventory says", _standing(view, Standing.CHANGED)),
        ("▲", "warn", "running an older definition until restarted", [g for g in view.guests if g.restart_needed]),
        ("◌", "accent", "pending: not made yet", _standing(view, Standing.PENDING)),
    ):
        if guests:
            verb = "" if words == "crashed" else "is " if len(guests) == 1 else "are "
            yield _problem(mark, style, f"{_names(guests)} {verb}{words}")


def _standing(view: HostView, standing: Standing) -> list[GuestView]:
    return [guest for guest in view.guests if guest.standing is standing]


def _names(guests: Sequence[GuestView]) -> str:
    """Return "vhost-a/web, db, vhost-b/web and 3 more": a host is named where it is another one."""
    words, host = [], ""
    for key in (guest.key for guest in guests[:NAMED]):
        words.append(key.guest if key.host == host else str(key))
        host = key.host
    rest = len(guests) - NAMED
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "")


def _down(view: HostView) -> Problem:
    seen = view.seen
    reason = REASONS.get(seen.reason, seen.reason.value)
    words = f"{view.name}: {reason}"
    if seen.reason in REFUSALS:
        why = " ".join(seen.error.split())
        return _problem("✖", "bad", words, seen.seen_at, f". {why}" if why else "")
    if seen.seen_at is None:
        return _problem("◌", "warn", f"{words}, never seen")
    on = sum(guest.state in ON for guest in view.guests)
    last = f", {on} guest{'' if on == 1 else 's'} last seen running" if on else ""
    return _problem("✖", "bad", words, seen.seen_at, last)


def _of_pools(view: HostView) -> Iterator[Problem]:
    for pool in view.seen.facts.pools if view.seen.facts is not None else ():
        if not pool.active or not pool.capacity_bytes or pool.available_bytes is None:
            continue
        taken = 1 - pool.available_bytes / pool.capacity_bytes
        if taken > FULL:
            words = f"{view.name}: pool {pool.name} is {100 * taken:.0f}% full"
            yield _problem("▲", "warn", f"{words}, {size(pool.available_bytes)} left")
