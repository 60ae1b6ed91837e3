"""The dashboard as lines: a function of what is known, the size of the terminal and the time. Pure.

From above: name and clock, the totals in large digits where there is room, the problems, bars for each host.
What does not fit is shown in turn, page by page, at a steady pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from console.domain.standing import HostView
from screens.board_hosts import Grid, grids, heading, host_lines
from screens.figures import NOT_REPORTED, percent, size
from screens.large import large, large_rows, large_width
from screens.lines import hanging
from screens.problems import Problem, waited_for
from screens.totals import Totals, totals_line
from screens.widgets import Line, Span, line_width

TURN_S = 10
"""How long a page stays."""

LEAST_WIDTH, LEAST_HEIGHT = 60, 15

WRAPPED = 3
"""Lines of one problem at most."""

SCALES = ((4, 80), (2, 40), (1, 30))
"""Scale of the large digits, and the height from which on they leave enough room for the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the dashboard knows: the fleet, its problems (worst first, notes last) and the time."""

    name: str
    totals: Totals
    hosts: Sequence[HostView]
    problems: Sequence[Problem]
    now: datetime

    @property
    def serious(self) -> list[Problem]:
        """The problems that are more than notes."""
        return [problem for problem in self.problems if problem.style != "quiet"]


def board(shown: Shown, width: int, height: int) -> list[Line]:
    """Return exactly `height` lines for a terminal of this size."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        text = f"The dashboard needs at least {LEAST_WIDTH} x {LEAST_HEIGHT}; this terminal has {width} x {height}."
        return _filled(hanging([], text, "", width), height)
    inner = width - 2
    lines = [_header(shown, inner), *_totals(shown, inner, height), ()]
    left = height - len(lines)
    texts = [_wrapped(problem, shown.now, inner) for problem in shown.problems]
    wanted = 1 + sum(map(len, texts))
    # The room for a few problems is kept free, so that the hosts stay where they are when one comes.
    kept = max(3, height // 8)
    hosts_least = grids(inner)[-1].needed(len(shown.hosts)) + 2
    given = max(kept, min(wanted, max(left // 2, left - hosts_least)))
    lines += _problems(shown, texts, inner, given)
    lines += _hosts(shown, inner, left - given)
    return _filled([[(" ", ""), *line] if line else () for line in lines], height)


def page_of(pages: int, now: datetime) -> int:
    """Return which page is shown, from 0: all dashboards turn together, every TURN_S seconds."""
    return int(now.timestamp()) // TURN_S % pages


def _filled(lines: Sequence[Line], height: int) -> list[Line]:
    return [*lines[:height], *[()] * (height - len(lines))]


def _header(shown: Shown, width: int) -> Line:
    left = [(shown.name, "title"), ("  read-only", "accent"), ("  q leaves", "quiet")]
    return _apart(left, [(f"{shown.now.astimezone():%H:%M:%S}", "strong")], width)


def _apart(left: Line, right: Line, width: int) -> Line:
    return [*left, (" " * max(2, width - line_width(left) - line_width(right)), ""), *right]


def _page(page: int, pages: int) -> Line:
    return [(f"page {page + 1} of {pages}", "accent")] if pages > 1 else ()


# The totals


def _totals(shown: Shown, width: int, height: int) -> list[Line]:
    tiles = _tiles(shown)
    for scale, least in SCALES:
        if height < least:
            continue
        for some in (tiles, tiles[:5], tiles[:4]):
            widths = [max(large_width(number, scale), len(label)) for number, label, _ in some]
            gap = (width - sum(widths)) // (len(some) - 1)
            if gap >= 2 + 2 * scale:
                return [(), *_large(some, widths, min(gap, 4 + 4 * scale), scale)]
    # Without the fleet's name and the gap after it.
    return [totals_line("", shown.totals, width, read_only=False)[2:]]


def _tiles(shown: Shown) -> list[tuple[str, str, str]]:
    """Return (number, label, style), most important first."""
    totals, serious = shown.totals, shown.serious
    waiting = waited_for(shown.hosts)
    cpu = percent(totals.cpu_busy / totals.cpus) if totals.cpus else NOT_REPORTED
    memory, label = NOT_REPORTED, "memory"
    if totals.memory_kib:
        memory = percent(100 * totals.memory_used_kib / totals.memory_kib)
        label = f"memory, {size(totals.memory_used_kib * 1024)} of {size(totals.memory_kib * 1024)}"
    calm = "quiet" if waiting else "good"
    return [
        (
            str(len(serious)),
            "problem" if len(serious) == 1 else "problems",
            serious[0].style if serious else calm,
        ),
        (f"{totals.up}/{totals.hosts}", "hosts up", "warn" if totals.up + waiting < totals.hosts else ""),
        (f"{totals.on}/{totals.guests}", "guests on", ""),
        (cpu, "cpu", "quiet" if cpu == NOT_REPORTED else ""),
        (memory, label, "quiet" if memory == NOT_REPORTED else ""),
        *([(f"{totals.cards_taken}/{totals.cards}", "gpus taken", "")] if totals.cards else []),
    ]


def _large(tiles: Sequence[tuple[str, str, str]], widths: Sequence[int], gap: int, scale: int) -> list[Line]:
    lines: list[list[Span]] = [[] for _ in range(large_rows(scale) + 1)]
    for (number, label, style), width in zip(tiles, widths, strict=True):
        for line, row in zip(lines, large(number, scale), strict=False):
            line += [(" " * gap if line else "", ""), (row.ljust(width), style)]
        lines[-1] += [(" " * gap if lines[-1] else "", ""), (label.ljust(width), "quiet")]
    return list(lines)


# The problems


def _wrapped(problem: Problem, now: datetime, width: int) -> list[Line]:
    style = {"bad": "strong", "quiet": "quiet"}.get(problem.style, "")
    lines = hanging([(f"{problem.mark} ", problem.style)], problem.sentence(now), style, width)
    if len(lines) > WRAPPED:
        *most, (text, last) = lines[WRAPPED - 1]
        lines[WRAPPED - 1 :] = [[*most, (f"{text[: width - 4]} …", last)]]
    return lines


def _problems(shown: Shown, texts: Sequence[list[Line]], width: int, height: int) -> list[Line]:
    """Return `height` lines: what there is in one line, then the problems of the page."""
    pages: list[list[list[Line]]] = [[]]
    for text in texts:
        if pages[-1] and len(text) + sum(map(len, pages[-1])) > height - 1:
            pages.append([])
        pages[-1].append(text)
    page = page_of(len(pages), shown.now)
    lines = [_apart(_standing(shown), _page(page, len(pages)), width), *chain.from_iterable(pages[page])]
    return _filled(lines, height)


def _standing(shown: Shown) -> Line:
    number, waiting = len(shown.serious), waited_for(shown.hosts)
    if number:
        return [(f"{number} problem{'' if number == 1 else 's'}", shown.serious[0].style)]
    if waiting:
        return [(f"↻ waiting for {waiting} of {len(shown.hosts)} hosts", "quiet")]
    return [("✔ all well", "good")] if shown.hosts else [("No hosts yet.", "quiet")]


# The hosts


def _hosts(shown: Shown, width: int, height: int) -> list[Line]:
    """Return lines that fit into `height`: page, heading, and each host as large as the page allows."""
    if not shown.hosts or height < 3:
        return []
    room = height - 2
    possible = grids(width)
    grid: Grid = next((grid for grid in possible if grid.needed(len(shown.hosts)) <= room), possible[-1])
    each = grid.capacity(room)
    pages = -(-len(shown.hosts) // each)
    page = page_of(pages, shown.now)
    some = list(islice(shown.hosts, page * each, (page + 1) * each))
    # What the widths follow from is looked at in all hosts: columns stay where they are when the page turns.
    head = heading(shown.hosts, grid)
    return [_apart((), _page(page, pages), width), head, *host_lines(some, shown.hosts, grid, shown.now)]
