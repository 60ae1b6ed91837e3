"""The columns of the fleet list: how wide each is in a given width, and what a row says in them. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from console.domain.observed import AddressSource, GuestSample
from console.domain.standing import GuestView, HostView
from console.inventory.index import Row
from console.inventory.ranking import Column, Order
from screens.figures import NOT_REPORTED, kib, percent, rate, size, sparkline
from screens.states import guest_mark, guest_state, host_state
from screens.widgets import Line, Span, fit, line_width, text_safe

NAME, STATE, CPU, SPARK, FIGURE, ADDRESS = 20, 13, 4, 4, 5, 9
"""The least widths; numbers have 5 cells ("1.2M", "1023M")."""

LONGEST_NAME, LONGEST_SPARK, LONGEST_ADDRESS, MEMORY_OF, LABELS = 44, 30, 39, 11, 20
MARKS = 3
DISPLAY_CLASS = "0x03"


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths in cells, 0 for a column that is not shown. memory: wide enough for "1.1G/8G" when above 5."""

    name: int
    state: int
    cpu: int
    spark: int
    memory: int
    disk: int
    net: int
    address: int
    labels: int = 0

    def has(self, column: Column) -> bool:
        """Return whether a column is shown at this width."""
        return bool(getattr(self, column.value))


def columns_for(width: int, longest_address: int = ADDRESS) -> Columns:
    """Return the columns for a width. longest_address: of the addresses in the list, so that none is cut in vain.

    In a narrow list disk, net and the sparkline give way, in this order; in a wide one the name grows first,
    then the sparkline, then memory shows its total and labels appear.
    """
    address = max(ADDRESS, min(longest_address, 15))
    spark = disk = net = 1
    # One cell at the left, gaps of one, two before the address.
    fixed = 1 + 1 + STATE + 1 + CPU + 1 + FIGURE + 2 + address
    optional = {"spark": SPARK + 1, "disk": FIGURE + 1, "net": FIGURE + 1}
    if width - fixed - sum(optional.values()) < NAME:
        disk = 0
    if width - fixed - optional["spark"] - optional["net"] * net - optional["disk"] * disk < NAME:
        net = 0
    if width - fixed - optional["spark"] - optional["net"] * net < NAME:
        spark = 0
    used = optional["spark"] * spark + optional["disk"] * disk + optional["net"] * net
    left = max(0, width - fixed - used - NAME)
    name, left = _grow(NAME, 26, left)
    bars, left = _grow(SPARK, 10, left) if spark else (0, left)
    memory = FIGURE
    if left >= MEMORY_OF - FIGURE:
        memory, left = MEMORY_OF, left - (MEMORY_OF - FIGURE)
    address, left = _grow(address, min(longest_address, LONGEST_ADDRESS), left)
    name, left = _grow(name, 32, left)
    labels = 0
    if left >= LABELS + 2:
        labels, left = LABELS, left - LABELS - 2
    bars, left = _grow(bars, LONGEST_SPARK, left) if spark else (0, left)
    name, left = _grow(name, LONGEST_NAME, left)
    return Columns(name, STATE, CPU, bars, memory, FIGURE * disk, FIGURE * net, address, labels)


def _grow(now: int, most: int, left: int) -> tuple[int, int]:
    more = max(0, min(most - now, left))
    return now + more, left - more


def heading(columns: Columns, order: Order | None = None) -> Line:
    """Return the line above the list; the column that it is sorted by has a mark."""
    line: list[Span] = []

    def add(word: str, width: int, column: Column | None = None, *, right: bool = False) -> None:
        here = order is not None and order.column is column
        mark = ("▾" if order.descending else "▴") if here and order is not None else ""
        line.extend([(" ", ""), (fit(word + mark, width, right=right), "accent" if here else "quiet")])

    add("NAME", columns.name, Column.NAME)
    add("STATE", columns.state, Column.STATE)
    add("CPU", columns.cpu, Column.CPU, right=True)
    if columns.spark:
        add("", columns.spark)
    add("MEM", columns.memory, Column.MEMORY, right=True)
    if columns.disk:
        add("DISK", columns.disk, Column.DISK, right=True)
    if columns.net:
        add("NET", columns.net, Column.NET, right=True)
    line.append((" ", ""))
    add("ADDRESS", columns.address, Column.ADDRESS)
    if columns.labels:
        line.append((" ", ""))
        add("LABELS", columns.labels)
    return line


def row_line(row: Row, columns: Columns, now: datetime, marked: Container[object] = frozenset()) -> Line:
    """Return a row of the list. marked: the guests that are; a folded host shows it for those it hides."""
    if row.guest is None:
        hidden = row.folded and any(guest.key in marked for guest in row.host.guests)
        return [_mark(hidden), *_host_line(row, columns, now)]
    return [_mark(row.guest.key in marked), *_guest_line(row, row.guest, columns, now)]


def _mark(marked: bool) -> Span:
    return ("▌", "accent") if marked else (" ", "")


def address_of(guest: GuestView) -> tuple[str, AddressSource] | None:
    """Return a guest's first address without its prefix length, and who knows it."""
    for entry in guest.addresses:
        return entry.address.partition("/")[0], entry.source
    return None


def longest_address(host: HostView) -> int:
    """Return the cells that the addresses of a host and its guests need."""
    found = [len(host.wanted.address.partition("/")[0])]
    found += [len(text_safe(known[0])) for guest in host.guests if (known := address_of(guest))]
    return max(found)


def has_gpu(host: HostView, guest: GuestView) -> bool:
    """Return True for a guest with a passed-through display card, wanted or seen."""
    if guest.wanted is not None and any(device.gpu for device in guest.wanted.devices.values()):
        return True
    if guest.seen is None or not guest.seen.pci or host.seen.facts is None:
        return False
    taken = set(guest.seen.pci)
    return any(
        device.address in taken and (device.class_code or "").startswith(DISPLAY_CLASS)
        for device in host.seen.facts.pci
    )


def _host_line(row: Row, columns: Columns, now: datetime) -> Line:
    host = row.host
    stale = host.stale_since is not None
    sample = host.seen.sample
    facts = host.seen.facts
    used = sample.memory_used_kib if sample else None
    name: list[Span] = [("▸ " if row.folded else "▾ ", "quiet"), (host.name, "strong")]
    words = f"{row.hidden} folded" if row.folded and row.hidden else " ".join(host.wanted.labels)
    room = columns.name - line_width(name)
    if words and len(words) + 2 <= room:
        name.append((f"  {words}", "quiet"))
    state, style = host_state(host, now)
    line = [
        *_cut(name, columns.name),
        (" ", ""),
        (fit(state, columns.state), style),
        *_figures(
            columns,
            stale,
            sample.cpu_percent if sample else None,
            host.seen.cpu_history,
            used,
            facts.memory_kib if facts else None,
            sample.disk_bps if sample else None,
            sample.net_bps if sample else None,
        ),
        ("  " + fit(host.wanted.address.partition("/")[0], columns.address), "quiet"),
    ]
    if columns.labels:
        line.append(("  " + fit(" ".join(host.wanted.labels), columns.labels), "quiet"))
    return line


def _guest_line(row: Row, guest: GuestView, columns: Columns, now: datetime) -> Line:
    host = row.host
    stale = guest.stale_since is not None
    seen = guest.seen
    sample = (seen.sample if seen else None) or GuestSample(at=now)
    state, style = guest_state(guest, now)
    quiet = "quiet" if stale or seen is None else ""
    known = address_of(guest)
    line: list[Span] = [
        *_guest_name(row, guest, columns.name - MARKS, quiet),
        (" ", ""),
        ("◆" if has_gpu(host, guest) else " ", "accent"),
        guest_mark(guest),
        (" ", ""),
        (fit(state, columns.state), style),
        *_figures(
            columns,
            stale,
            sample.cpu_percent,
            seen.cpu_history if seen else (),
            sample.memory_used_kib,
            seen.memory_kib if seen else guest.wanted.memory_kib if guest.wanted else None,
            rate(sample.disk_read_bps, sample.disk_write_bps),
            rate(sample.net_rx_bps, sample.net_tx_bps),
        ),
        (
            "  " + fit(known[0] if known else NOT_REPORTED, columns.address),
            "quiet" if stale or known is None or known[1] is AddressSource.INVENTORY else "",
        ),
    ]
    if columns.labels:
        line.append(("  " + fit(" ".join(guest.wanted.labels if guest.wanted else ()), columns.labels), "quiet"))
    return line


def _guest_name(row: Row, guest: GuestView, width: int, style: str) -> list[Span]:
    name = guest.key.guest
    if not row.flat:
        return _cut([("   ", ""), (text_safe(name), style)], width)
    # Hosts below one another, as far as names are short.
    spans: list[Span] = [(fit(name, max(line_width([(name, "")]), width * 3 // 5)), style)]
    # Where it lives gives way before what it is called.
    if (room := width - line_width(spans) - 2) >= 4:
        spans.append((f"  {fit(row.host.name, room)}", "quiet"))
    return _cut(spans, width)


def _figures(
    columns: Columns,
    stale: bool,
    cpu: float | None,
    history: tuple[float | None, ...],
    used_kib: float | None,
    total_kib: float | None,
    disk_bps: float | None,
    net_bps: float | None,
) -> list[Span]:
    spans = [_figure(percent(cpu), columns.cpu, stale)]
    if columns.spark:
        bars = "" if stale else sparkline(history, columns.spark)
        spans.append((f" {bars:{columns.spark}}", "bars"))
    memory = kib(used_kib)
    if columns.memory > FIGURE and total_kib is not None:
        memory = f"{memory}/{kib(total_kib)}"
    spans.append(_figure(memory, columns.memory, stale or used_kib is None))
    if columns.disk:
        spans.append(_figure(size(disk_bps), columns.disk, stale))
    if columns.net:
        spans.append(_figure(size(net_bps), columns.net, stale))
    return spans


def _figure(text: str, width: int, stale: bool) -> Span:
    return " " + fit(text, width, right=True), "quiet" if stale or text == NOT_REPORTED else ""


def _cut(name: list[Span], width: int) -> list[Span]:
    """Return spans in exactly `width` cells; the last one is cut or followed by blanks."""
    used = line_width(name)
    if used <= width:
        return [*name, (" " * (width - used), "")]
    text, style = name[-1]
    return [*name[:-1], (fit(text, width - line_width(name[:-1])), style)]
