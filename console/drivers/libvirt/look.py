"""Looking at a host's guests: first at what libvirt itself knows, then at figures, for which it asks each QEMU."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from console.drivers.libvirt import facts
from console.drivers.libvirt.failures import Overdue
from console.drivers.libvirt.guests import BATCH, Definition, Listing, read_definitions, read_figures, read_listing
from console.drivers.libvirt.herd import Herd, NodeStats
from console.drivers.libvirt.link import Link
from console.drivers.libvirt.stats import Stats
from console.drivers.libvirt.testfile import Kept

READ_S = 15.0
"""Deadline of what libvirt itself knows."""

FIGURES_S = 10.0
"""Deadline of figures. More than the 8 s after which a host that is silent altogether is known to be."""

HUNG_LIMIT = 4
"""While so many guests do not answer, nobody is asked for figures: each that hangs anew holds one of libvirtd's 20
workers for as long as it hangs."""


def back_off_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: 1, 2, 4, 8, 16, then 30 s, a fifth more or less."""
    return min(30.0, 2.0 ** min(failures - 1, 5)) * random.uniform(0.8, 1.2)


class Looks:
    """Keeps `herd` true by one look after another."""

    def __init__(self, herd: Herd, now: Callable[[], datetime]) -> None:
        self._herd = herd
        self._now = now
        self._reading = asyncio.Lock()
        self._dirty: set[str] = set()
        self._hangs = 0
        self._rest_until_s = 0.0

    @property
    def dirty(self) -> bool:
        """True when the host told of a guest that was not looked at since."""
        return bool(self._dirty)

    def touch(self, uuid: str) -> None:
        """The host told of a change of this guest."""
        self._dirty.add(uuid)

    def hang(self) -> None:
        """A guest was waited for in vain: the next look finds out whose, and they are asked for less and less often."""
        self._hangs += 1
        self._rest_until_s = time.monotonic() + back_off_s(self._hangs)
        self._herd.doubt_all()

    async def guests(self, link: Link, kept: Kept | None, *, again: frozenset[str] | None, marks: bool) -> None:
        """Look at the guests, waiting for none. Raises LinkLost or libvirt's error.

        kept: what the test driver passes over in its file. again: definitions to read although nothing told of a
        change (None: all). marks: as of read_listing.
        """
        async with self._reading:
            dirty = frozenset(self._dirty)
            self._dirty.clear()
            known = {} if again is None else self._herd.marks()
            due = dirty | (again or frozenset())
            look = partial(read_listing, known=known, dirty=due, marks=marks, doubtful=self._herd.doubtful)
            try:
                listing: Listing = await link.call(look, READ_S)
                definitions: dict[str, Definition] = {}
                for start in range(0, len(listing.left), BATCH):
                    rest = partial(read_definitions, uuids=listing.left[start : start + BATCH])
                    definitions |= await link.call(rest, READ_S)
            except BaseException:
                self._dirty |= dirty
                raise
            if kept is not None:
                listing, definitions = kept.listing(listing), kept.definitions(definitions)
            self._herd.learn(listing, definitions)

    async def figures(self, link: Link) -> bool:
        """Read figures where they are due; False where they were not. Raises LinkLost, Overdue when a QEMU hangs."""
        async with self._reading:
            # The test driver's figures are made up.
            if link.driver == facts.TEST or not self._herd.due(time.monotonic()):
                return False
            full = self._herd.full_due
            ask = time.monotonic() >= self._rest_until_s and self._herd.hung < HUNG_LIMIT

            def read(conn: Any) -> tuple[Mapping[str, Stats], NodeStats, float]:
                node = NodeStats.read(conn)
                return read_figures(conn, full=full) if ask else {}, node, time.monotonic()

            figures, node, clock_s = await link.call(read, FIGURES_S, Overdue)
            if ask:
                self._hangs = 0
            self._herd.measure(figures, node, clock_s=clock_s, at=self._now(), full=full)
            return True
