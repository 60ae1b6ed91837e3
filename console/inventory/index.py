"""The fleet as flat rows: hosts and their guests, sorted, filtered, folded. Pure; the screens and lists draw it.

Rows are not kept one by one: each host is a block, and a row is found by its number or its key in O(log hosts)
plus the guests of one host. After an update only the blocks of changed hosts are made anew (the store hands out
the same HostView as long as nothing of a host changed).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from console.domain.model import GuestKey
from console.domain.standing import GuestView, HostView
from console.inventory.filter import Match

RowKey = str | GuestKey
"""The identity of a row: a host's name, or a guest's key."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list. guest: None for the host's own row. folded: its guests are hidden; hidden: how many.

    flat: it stands in a list without hosts, so it has to say itself where it is.
    """

    host: HostView
    guest: GuestView | None = None
    folded: bool = False
    hidden: int = 0
    flat: bool = False

    @property
    def key(self) -> RowKey:
        """The row's identity."""
        return self.host.name if self.guest is None else self.guest.key


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key in which web-2 stands before web-10."""
    parts = _DIGITS.split(name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


@dataclass(frozen=True, slots=True)
class _Block:
    """One host's rows. guests: those that match, sorted; height: rows it takes, 0 when nothing of it matches."""

    view: HostView
    guests: tuple[GuestView, ...]
    folded: bool
    height: int


class Index:
    """Rows by number and by key. Make a new one with `updated` after each change; it shares what stayed."""

    def __init__(
        self,
        views: Sequence[HostView] = (),
        match: Match | None = None,
        folded: Collection[str] = frozenset(),
        *,
        _before: Index | None = None,
    ) -> None:
        self._match = match
        known = _before._blocks if _before is not None and _before._match is match else {}
        self._blocks: dict[str, _Block] = {}
        for view in sorted(views, key=lambda view: natural(view.name)):
            fold = view.name in folded
            block = known.get(view.name)
            if block is None or block.view is not view or block.folded is not fold:
                block = _block(view, match, fold)
            self._blocks[view.name] = block
        self._shown = [block for block in self._blocks.values() if block.height]
        self._ends = list(accumulate(block.height for block in self._shown))
        self._place = {block.view.name: place for place, block in enumerate(self._shown)}

    def updated(
        self, views: Sequence[HostView], match: Match | None = None, folded: Collection[str] = frozenset()
    ) -> Index:
        """Return the index of these views. Pass the same `match` object to have unchanged hosts taken over."""
        return Index(views, match, folded, _before=self)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Row:
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = bisect_right(self._ends, number)
        block = self._shown[place]
        return _row(block, number - (self._ends[place] - block.height))

    def __iter__(self) -> Iterator[Row]:
        for block in self._shown:
            for offset in range(block.height):
                yield _row(block, offset)

    def number_of(self, key: RowKey) -> int | None:
        """Return the number of a row, None when it is not shown."""
        name = key if isinstance(key, str) else key.host
        place = self._place.get(name)
        if place is None:
            return None
        block = self._shown[place]
        start = self._ends[place] - block.height
        if isinstance(key, str):
            return start
        for offset, guest in enumerate(block.guests[: block.height - 1], start + 1):
            if guest.key == key:
                return offset
        return None

    def guests(self) -> Iterator[GuestView]:
        """Yield the guests that match, folded away or not."""
        for block in self._shown:
            yield from block.guests


def _row(block: _Block, offset: int) -> Row:
    if offset:
        return Row(block.view, block.guests[offset - 1])
    return Row(block.view, None, block.folded, len(block.guests) if block.folded else 0)


def _block(view: HostView, match: Match | None, folded: bool) -> _Block:
    guests = [guest for guest in view.guests if match is None or match(view, guest)]
    guests.sort(key=lambda guest: natural(guest.key.guest))
    shown = bool(guests) or match is None or match(view, None)
    height = 0 if not shown else 1 if folded else 1 + len(guests)
    return _Block(view, tuple(guests), folded, height)
