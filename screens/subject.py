"""One host or guest with all that is shown of it, and the small words that its panes share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.domain.observed import GuestSample
from console.domain.plan import Difference
from console.domain.standing import GuestView, HostView
from console.services.wishes import GpuChoice
from screens.figures import NOT_REPORTED, size
from screens.history import History
from screens.widgets import Line, Span, line_width, wrapped

LABEL = 10
"""Cells of the label column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A host or one of its guests, with all that is shown of it. cards: of its host; differences: of the guest."""

    host: HostView
    guest: GuestView | None = None
    now: datetime
    history: History
    cards: Sequence[GpuChoice] = ()
    differences: Sequence[Difference] = ()


def title_line(name: str, state: Span) -> Line:
    return [(f" {name}", "title"), ("  ", ""), state]


def fact(label: str, value: str, width: int, label_width: int = LABEL) -> list[Line]:
    """Return label and value, the value wrapped below itself."""
    parts = wrapped(value, max(12, width - label_width - 1))
    return [
        [
            (f" {label if place == 0 else '':{label_width - 1}}", "quiet"),
            (part, "quiet" if value == NOT_REPORTED else ""),
        ]
        for place, part in enumerate(parts)
    ]


def joined(parts: Sequence[str], width: int) -> Line:
    """Return as many of these parts as fit into `width` cells, each after two blanks; none is cut."""
    text = ""
    for part in parts:
        if part and line_width([(f"{text}  {part}", "")]) <= width:
            text += f"  {part}"
    return [(text, "")]


def one_line(lines: Sequence[Line], width: int) -> list[Line]:
    """Return a single line that says what these do, an empty one for none."""
    if not lines:
        return [()]
    spans: list[Span] = [(" ", "")]
    for place, line in enumerate(lines):
        (text, style), *rest = line
        spans += [("  ", ""), (text.lstrip(), style), *rest] if place else line
    return [spans]


def block(lines: Sequence[Line], width: int) -> list[Line]:
    """Return lines with a margin; one that is too long goes on below itself, further in."""
    result: list[Line] = []
    for line in lines:
        text = "".join(part for part, _ in line)
        if line_width(line) + 2 <= width:
            result.append([(" ", ""), *line])
            continue
        indent = " " * (1 + len(text) - len(text.lstrip()))
        style = line[-1][1] or line[0][1]
        parts = wrapped(text.lstrip(), max(16, width - len(indent) - 3))
        result += [[(indent if place == 0 else f"{indent}  ", ""), (part, style)] for place, part in enumerate(parts)]
    return result


def short_title(title: str) -> str:
    """Return a card's name as people say it: what stands in brackets ("GeForce RTX 3080"), else all of it."""
    inner = title.rpartition("[")[2].partition("]")[0] if title.rstrip().endswith("]") else ""
    return inner or title


def short_slot(slot: str) -> str:
    """Return a slot without the domain where it is the usual one."""
    return slot.removeprefix("0000:")


def place_words(card: GpuChoice) -> list[str]:
    group = [] if card.iommu_group is None else [f"group {card.iommu_group}"]
    return group + ([] if card.numa_node is None else [f"NUMA {card.numa_node}"])


def per_second(amount: float | None) -> str:
    return NOT_REPORTED if amount is None else f"{size(amount)}/s"


def sample_of(guest: GuestView, now: datetime) -> GuestSample:
    return (guest.seen.sample if guest.seen is not None else None) or GuestSample(at=now)
