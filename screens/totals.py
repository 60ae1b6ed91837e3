"""The fleet in one line: hosts up, guests on, CPU, memory, cards, changes to apply. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from console.domain.observed import GuestState, HostState
from console.domain.standing import HostView, Standing
from console.services.wishes import GpuChoice
from screens.figures import NOT_REPORTED, percent, size
from screens.widgets import Line, Span, line_width

ON = frozenset({GuestState.RUNNING, GuestState.PAUSED, GuestState.SHUTTING_DOWN, GuestState.SUSPENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over hosts; of CPU and memory over the hosts that are up and report them. changes: guests to apply."""

    hosts: int = 0
    up: int = 0
    guests: int = 0
    on: int = 0
    changes: int = 0
    cards: int = 0
    cards_taken: int = 0
    cpus: int = 0
    cpu_busy: float = 0.0
    memory_kib: int = 0
    memory_used_kib: int = 0


class Tally:
    """Totals of the fleet; only hosts that changed are counted anew. cards: gives the cards of a host."""

    def __init__(self, cards: Callable[[str], tuple[GpuChoice, ...]]) -> None:
        self._cards = cards
        self._known: dict[str, tuple[HostView, Totals, tuple[GpuChoice, ...]]] = {}

    def count(self, views: Iterable[HostView]) -> Totals:
        """Return the totals of these hosts."""
        known = {}
        for view in views:
            entry = self._known.get(view.name)
            if entry is None or entry[0] is not view:
                cards = self._cards(view.name)
                entry = (view, _count(view, cards), cards)
            known[view.name] = entry
        self._known = known
        parts = [totals for _, totals, _ in known.values()]
        return Totals(**{name: sum(getattr(part, name) for part in parts) for name in Totals.__slots__})

    def cards_of(self, host: str) -> tuple[GpuChoice, ...]:
        """Return the cards of a host that was counted."""
        entry = self._known.get(host)
        return () if entry is None else entry[2]


def _count(view: HostView, cards: tuple[GpuChoice, ...]) -> Totals:
    up = view.seen.state is HostState.UP
    facts, sample = view.seen.facts, view.seen.sample
    cpus = facts.cpus or 0 if up and facts is not None and sample and sample.cpu_percent is not None else 0
    memory = facts.memory_kib or 0 if up and facts is not None and sample and sample.memory_used_kib is not None else 0
    return Totals(
        hosts=1,
        up=int(up),
        guests=len(view.guests),
        on=sum(guest.stale_since is None and guest.state in ON for guest in view.guests),
        changes=sum(guest.standing in (Standing.CHANGED, Standing.PENDING) for guest in view.guests),
        # A card that nobody can have (the host's own screen) is none.
        cards=sum(card.owner is not None or not card.refusal for card in cards),
        cards_taken=sum(card.owner is not None for card in cards),
        cpus=cpus,
        cpu_busy=(sample.cpu_percent or 0.0) * cpus if cpus and sample else 0.0,
        memory_kib=memory,
        memory_used_kib=(sample.memory_used_kib or 0) if memory and sample else 0,
    )


def totals_line(name: str, totals: Totals, width: int, *, read_only: bool, marked: int = 0, jobs: int = 0) -> Line:
    """Return the header of the fleet screen; what does not fit is left out. jobs: how many run."""
    cpu = percent(totals.cpu_busy / totals.cpus) if totals.cpus else NOT_REPORTED
    memory = NOT_REPORTED
    if totals.memory_kib:
        used, whole = size(totals.memory_used_kib * 1024), size(totals.memory_kib * 1024)
        memory = f"{used.removesuffix(whole[-1])}/{whole}"
    down = totals.up < totals.hosts
    parts: list[list[Span]] = [
        [(name, "title")],
        [("hosts ", "quiet"), (f"{totals.up}/{totals.hosts} up", "warn" if down else "")],
        [("guests ", "quiet"), (f"{totals.on}/{totals.guests} on", "")],
        [("cpu ", "quiet"), (cpu, "quiet" if cpu == NOT_REPORTED else "")],
        [("mem ", "quiet"), (memory, "quiet" if memory == NOT_REPORTED else "")],
        [("gpu ", "quiet"), (f"{totals.cards_taken}/{totals.cards}", "")] if totals.cards else [],
        [(f"▲ {totals.changes}", "warn")] if totals.changes else [],
        [("read-only", "accent")] if read_only else [],
        [(f"▌{marked} marked", "accent")] if marked else [],
        [(f"↻ {jobs} job{'' if jobs == 1 else 's'}", "accent")] if jobs else [],
    ]
    # What gives way first when it is too narrow.
    for place in (5, 4, 3):
        if _width(parts, "  ") > width:
            parts[place] = []
    gap = "   " if _width(parts, "   ") <= width else "  "
    line: list[Span] = []
    for part in filter(None, parts):
        line += ([(gap, "")] if line else []) + part
    return line


def _width(parts: list[list[Span]], gap: str) -> int:
    shown = [line_width(part) for part in parts if part]
    return sum(shown) + len(gap) * (len(shown) - 1)
