"""The fleet's guests in one flat list, by any column. Pure; the order stays as it is until it is asked for again.

Figures change every second: rows that follow them at once cannot be read or aimed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from console.domain.model import GuestKey
from console.domain.observed import GuestSample, GuestState
from console.domain.standing import GuestView, HostView, Standing
from console.inventory.filter import Match
from console.inventory.index import Row, RowKey, natural


class Column(StrEnum):
    """What the list can be sorted by."""

    NAME = "name"
    STATE = "state"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NET = "net"
    ADDRESS = "address"


FIGURES = frozenset({Column.CPU, Column.MEMORY, Column.DISK, Column.NET})

STATES = (
    GuestState.CRASHED,
    GuestState.SHUTTING_DOWN,
    GuestState.PAUSED,
    GuestState.SUSPENDED,
    GuestState.RUNNING,
    GuestState.OFF,
    GuestState.UNKNOWN,
)
"""What needs an eye first; pending guests stand before those that are off."""


@dataclass(frozen=True, slots=True)
class Order:
    """A column and a direction."""

    column: Column
    descending: bool

    @classmethod
    def by(cls, column: Column) -> Order:
        """Return the usual direction: the largest figure first, words from a to z."""
        return cls(column, column in FIGURES)

    @property
    def reversed(self) -> Order:
        """The other direction."""
        return Order(self.column, not self.descending)


class Ranking:
    """Rows by number and by key, as an Index has them; hosts have no rows of their own.

    What has no figure stands last in both directions, and so do old figures of hosts that are not up.
    """

    def __init__(
        self,
        order: Order,
        views: Sequence[HostView] = (),
        match: Match | None = None,
        *,
        _before: Ranking | None = None,
    ) -> None:
        self.order = order
        self._keys: list[GuestKey]
        self._numbers: dict[GuestKey, int]
        self._match = match
        known = _before._hosts if _before is not None else {}
        self._hosts: dict[str, tuple[HostView, dict[GuestKey, Row]]] = {}
        self._rows: dict[GuestKey, Row] = {}
        for view in views:
            entry = known.get(view.name)
            if entry is None or entry[0] is not view:
                found = (guest for guest in view.guests if match is None or match(view, guest))
                entry = (view, {guest.key: Row(view, guest, flat=True) for guest in found})
            self._hosts[view.name] = entry
            self._rows.update(entry[1])
        if _before is None:
            self._keys = _sorted(list(self._rows.values()), order)
        elif _before._numbers.keys() == self._rows.keys():
            self._keys = _before._keys
        else:
            new = [row for key, row in self._rows.items() if key not in _before._numbers]
            self._keys = [key for key in _before._keys if key in self._rows] + _sorted(new, order)
        self._numbers = {key: number for number, key in enumerate(self._keys)}

    def updated(self, views: Sequence[HostView], match: Match | None = None, *, again: bool = False) -> Ranking:
        """Return the rows of these views in the order they had, new ones last; sorted again when asked to.

        Another `match` sorts again as well.
        """
        return Ranking(self.order, views, match, _before=None if again or match is not self._match else self)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Row:
        if not 0 <= number < len(self._keys):
            raise IndexError(number)
        return self._rows[self._keys[number]]

    def __iter__(self) -> Iterator[Row]:
        return (self._rows[key] for key in self._keys)

    def number_of(self, key: RowKey) -> int | None:
        """Return the number of a guest's row, None when it is not shown."""
        return None if isinstance(key, str) else self._numbers.get(key)

    def guests(self) -> Iterator[GuestView]:
        """Yield the guests that match."""
        return (row.guest for row in self if row.guest is not None)


def _sorted(rows: list[Row], order: Order) -> list[GuestKey]:
    keyed = [(row.guest.key, _VALUES[order.column](row.host, row.guest)) for row in rows if row.guest is not None]
    keyed.sort(key=lambda each: (natural(each[0].guest), natural(each[0].host)))
    known = [each for each in keyed if each[1] is not None]
    # Stable in both directions: what is equal stays in the order of names.
    known.sort(key=lambda each: each[1], reverse=order.descending)  # type: ignore[arg-type, return-value]
    return [key for key, _ in known] + [key for key, value in keyed if value is None]


Value = tuple[object, ...] | float | None
Figure = Callable[[GuestSample], float | None]


def _figure(of: Figure) -> Callable[[HostView, GuestView], Value]:
    def value(host: HostView, guest: GuestView) -> Value:
        sample = guest.seen.sample if guest.seen is not None else None
        return None if sample is None or guest.stale_since is not None else of(sample)

    return value


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None and second is None else (first or 0.0) + (second or 0.0)


def _state(host: HostView, guest: GuestView) -> Value:
    if not guest.answers:
        return -1.0
    pending = guest.standing is Standing.PENDING
    return STATES.index(GuestState.OFF) - 0.5 if pending else float(STATES.index(guest.state))


def _address(host: HostView, guest: GuestView) -> Value:
    return natural(guest.addresses[0].address) if guest.addresses else None


_VALUES: dict[Column, Callable[[HostView, GuestView], Value]] = {
    Column.NAME: lambda host, guest: natural(guest.key.guest),
    Column.STATE: _state,
    Column.CPU: _figure(lambda sample: sample.cpu_percent),
    Column.MEMORY: _figure(lambda sample: sample.memory_used_kib),
    Column.DISK: _figure(lambda sample: _sum(sample.disk_read_bps, sample.disk_write_bps)),
    Column.NET: _figure(lambda sample: _sum(sample.net_rx_bps, sample.net_tx_bps)),
    Column.ADDRESS: _address,
}
