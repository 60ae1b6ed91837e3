"""The hosts of the dashboard: each with bars as tall as there is room for, in columns where it is wide. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.domain.observed import HostState
from console.domain.standing import HostView
from screens.figures import NOT_REPORTED, age, percent, size
from screens.large import large, large_rows, large_width
from screens.problems import unheard
from screens.states import host_state
from screens.totals import ON
from screens.widgets import Line, Span, cells, fit, line_width

SIZES = ((10, 2), (7, 2), (5, 1), (4, 1), (3, 1), (2, 1), (1, 1), (1, 0))
"""Rows of a host and blank rows after it, largest first."""

COLUMN = 75
"""Least cells of a column of hosts."""

SCALES = ((4, 10, 280), (2, 5, 200), (1, 3, 130))
"""Scale of the large digits, and the rows and cells of a host from which on there is room for them."""

BETWEEN = 4
"""Cells between columns of hosts, and before a bar."""

NAME = 24
"""Cells of a host's name at most."""

HOT = 90.0
"""Percent from which on a bar catches the eye."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How hosts are laid out: columns side by side and their cells, rows of one host, blank rows after it.

    scale: of the large digits beside the bars; 0 for plain ones.
    """

    columns: int
    width: int
    rows: int
    gap: int
    scale: int

    def needed(self, hosts: int) -> int:
        """Return the rows that so many hosts take."""
        return max(0, -(-hosts // self.columns) * (self.rows + self.gap) - self.gap)

    def capacity(self, height: int) -> int:
        """Return how many hosts fit into so many rows."""
        return self.columns * max(1, (height + self.gap) // (self.rows + self.gap))


def grids(width: int) -> list[Grid]:
    """Return the layouts for a width, the one with the largest hosts first. Hosts of 3 rows have large digits."""
    found = []
    for rows, gap in SIZES:
        for columns in range(1, max(1, width // COLUMN) + 1):
            each = (width - BETWEEN * (columns - 1)) // columns
            scale = next((scale for scale, high, wide in SCALES if rows >= high and each >= wide), 0)
            if scale or rows < 3:
                found.append(Grid(columns, each, rows, gap, scale))
    return found


@dataclass(frozen=True, slots=True)
class Widths:
    """Cells of the parts of a host: its name, each bar, the figure after each, the guests."""

    name: int
    bar: int
    cpu: int
    memory: int
    guests: int


def widths_of(hosts: Sequence[HostView], grid: Grid) -> Widths:
    """Return the widths that suit all these hosts; the bars take what is left."""
    name = min(NAME, max(cells(view.name) for view in hosts)) + 2
    if grid.scale:
        cpu = memory = large_width("100%", grid.scale)
        guests = max(large_width(_guests(view), grid.scale) for view in hosts)
    else:
        cpu, memory = 4, max(len(_memory(view)) for view in hosts)
        guests = max(len("guests on"), *(len(_guests(view)) for view in hosts))
    bar = max(4, (grid.width - name - cpu - memory - guests - 3 * BETWEEN - 2) // 2)
    return Widths(name, bar, cpu, memory, guests)


def heading(hosts: Sequence[HostView], grid: Grid) -> Line:
    """Return the words above the columns; as far as they stand at one place only."""
    if grid.columns > 1:
        return [(f"{len(hosts)} hosts: cpu, memory, guests on", "quiet")]
    widths = widths_of(hosts, grid)
    number = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"
    return [
        (fit(number, widths.name + BETWEEN), "quiet"),
        ("cpu".ljust(widths.bar + 1 + widths.cpu + BETWEEN), "quiet"),
        ("memory".ljust(widths.bar + 1 + widths.memory + BETWEEN), "quiet"),
        ("guests on", "quiet"),
    ]


def host_lines(some: Sequence[HostView], hosts: Sequence[HostView], grid: Grid, now: datetime) -> list[Line]:
    """Return the lines of some of the hosts, from above and then from left to right."""
    widths = widths_of(hosts, grid)
    each = -(-len(some) // grid.columns)
    lines: list[Line] = []
    for place in range(each):
        side: list[list[Span]] = [[] for _ in range(grid.rows)]
        for view in some[place::each]:
            for line, part in zip(side, _host(view, widths, grid, now), strict=True):
                if line:
                    line.append((" " * BETWEEN, ""))
                line += [*part, (" " * max(0, grid.width - line_width(part)), "")]
        lines += [*side, *[()] * grid.gap]
    return lines


def _host(view: HostView, widths: Widths, grid: Grid, now: datetime) -> list[Line]:
    middle = (grid.rows - 1) // 2
    state, style = host_state(view, now)
    late = unheard(view, now)
    if view.seen.state is not HostState.UP or late:
        if late and view.seen.seen_at is not None:
            state, style = f"☾ not heard of {age(view.seen.seen_at, now)}", "bad"
        glyph, _, words = state.partition(" ")
        text = f"{glyph} {words}"
        last = f"{_guests(view)} guests on when last seen" if view.seen.seen_at is not None and view.guests else ""
        name: list[Span] = [(f"{glyph} ", style), (fit(view.name, widths.name - 2), "quiet"), (" " * BETWEEN, "")]
        row: Line = [*name, (text.removeprefix(f"{glyph} "), style), (f"   {last}" if last else "", "quiet")]
        return [row if y == middle else () for y in range(grid.rows)]
    sample = view.seen.sample
    cpu = sample.cpu_percent if sample is not None else None
    cpus = _figures(percent(cpu), grid, widths.cpu)
    memories = _figures(percent(_memory_percent(view)) if grid.scale else _memory(view), grid, widths.memory)
    guests = _figures(_guests(view), grid, widths.guests, right=False)
    lines: list[Line] = []
    for y in range(grid.rows):
        name = (
            [("● ", "good"), (fit(view.name, widths.name - 2), "strong")] if y == middle else [(" " * widths.name, "")]
        )
        lines.append(
            [
                *name,
                (" " * BETWEEN, ""),
                *_bar(cpu, widths.bar, middle=y == middle),
                (f" {cpus[y]}", ""),
                (" " * BETWEEN, ""),
                *_bar(_memory_percent(view), widths.bar, middle=y == middle),
                (f" {memories[y]}", ""),
                (" " * BETWEEN, ""),
                (guests[y], ""),
            ]
        )
    return lines


def _figures(text: str, grid: Grid, width: int, *, right: bool = True) -> list[str]:
    """Return a figure in as many rows as a host has, in the middle of them."""
    rows = large(text, grid.scale) if grid.scale else [text]
    above = (grid.rows - (large_rows(grid.scale) if grid.scale else 1)) // 2
    rows = [*[""] * above, *rows, *[""] * (grid.rows - above - len(rows))]
    if not grid.scale and grid.rows > 1:
        rows = [text, *[""] * (grid.rows - 1)]
    return [row.rjust(width) if right else row.ljust(width) for row in rows]


def _bar(share: float | None, width: int, *, middle: bool) -> list[Span]:
    """Return a bar of a share of 100; where none is reported it says so in the middle row."""
    if share is None:
        return [(fit("not reported", width) if middle else " " * width, "quiet")]
    halves = min(2 * width, max(1, round(share / 100 * 2 * width)))
    taken = "█" * (halves // 2) + "▌" * (halves % 2)
    return [(taken, "warn" if share >= HOT else "bars"), ("░" * (width - len(taken)), "line")]


def _memory_percent(view: HostView) -> float | None:
    sample, facts = view.seen.sample, view.seen.facts
    if sample is None or sample.memory_used_kib is None or facts is None or not facts.memory_kib:
        return None
    return 100 * sample.memory_used_kib / facts.memory_kib


def _memory(view: HostView) -> str:
    sample, facts = view.seen.sample, view.seen.facts
    if sample is None or sample.memory_used_kib is None or facts is None or not facts.memory_kib:
        return NOT_REPORTED
    used, whole = size(sample.memory_used_kib * 1024), size(facts.memory_kib * 1024)
    return f"{used.removesuffix(whole[-1])}/{whole}"


def _guests(view: HostView) -> str:
    return f"{sum(guest.state in ON for guest in view.guests)}/{len(view.guests)}"
