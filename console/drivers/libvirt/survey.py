"""Keeping one host's facts true: read when its connection opens, when it tells of a change, and every few minutes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from console.domain.model import Accel
from console.domain.observed import HostFacts
from console.drivers.base import HostTarget
from console.drivers.libvirt import facts
from console.drivers.libvirt.link import Link, Worker
from console.drivers.libvirt.trial import find_accel

log = logging.getLogger(__name__)

PART_S = 60.0
"""Deadline of one part."""

EVERY_S = 300.0
SETTLE_S = 0.2
"""Events come in bursts: one look answers all of them."""

PARTS = frozenset({"host", "device", "pool", "network"})
"""What can be read by itself; all but "host" are kinds of events too."""


class Survey:
    """Reads a host's facts part by part, one call each, so that its guests' figures need not wait for all of them.

    changed: called with the facts, another object only when they differ. stuck: as of Link.open.
    read_only: KVM is not tried, since that starts a guest.
    """

    def __init__(self, changed: Callable[[HostFacts], None], stuck: list[Worker], *, read_only: bool = False) -> None:
        self.facts: HostFacts | None = None
        self.trial_calls = 0
        """Trial guests started to find out about KVM: no operator's writes, so counted apart."""
        self._changed = changed
        self._stuck = stuck
        self._read_only = read_only
        self._found: tuple[Accel, str] | None = None
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._whole = asyncio.Event()

    def touch(self, part: str) -> None:
        """The host told of a change in this part."""
        self._due.add(part)
        self._wake.set()

    async def wait_whole(self) -> None:
        """Return once all parts have been read on this connection, and KVM was tried where that is needed."""
        await self._whole.wait()

    def begin(self) -> None:
        """There is another connection: nothing has been read on it yet."""
        self._whole.clear()

    async def run(self, link: Link, target: Callable[[], HostTarget]) -> None:
        """Keep the facts until cancelled or the connection is lost (then LinkLost)."""
        parts = PARTS
        while True:
            await self.read(link, parts, target())
            await self._try_accel(target())
            self._whole.set()
            try:
                await asyncio.wait_for(self._wake.wait(), EVERY_S)
            except TimeoutError:
                parts = PARTS
            else:
                await asyncio.sleep(SETTLE_S)
                self._wake.clear()
                parts = frozenset(self._due)
            self._due.clear()

    async def read(self, link: Link, parts: frozenset[str], target: HostTarget) -> None:
        """These parts are as the host reports them now. Raises LinkLost or libvirt's error."""
        if self.facts is None or "host" in parts:
            read = await link.call(facts.read_facts, PART_S)
            known = self.facts or read
            read = replace(read, pci=known.pci, pools=known.pools, networks=known.networks)
            self._tell(self._with_accel(read, target))
        # self.facts is looked at after each wait: another reader may have told of something newer meanwhile.
        if "device" in parts:
            pci = await link.call(facts.read_pci, PART_S)
            self._tell(replace(self._known(), pci=pci))
        if "pool" in parts:
            pools = await link.call(facts.read_pools, PART_S)
            self._tell(replace(self._known(), pools=pools))
        if "network" in parts:
            networks = await link.call(facts.read_networks, PART_S)
            self._tell(replace(self._known(), networks=networks))

    def _known(self) -> HostFacts:
        assert self.facts is not None, "read before"
        return self.facts

    def _tell(self, known: HostFacts) -> None:
        if known != self.facts:
            self.facts = known
            self._changed(known)

    def _with_accel(self, known: HostFacts, target: HostTarget) -> HostFacts:
        if known.accel is not None or known.accel_note:
            return known
        if target.accel is not None:
            return replace(known, accel=target.accel, accel_note="as the inventory says")
        if self._found is not None:
            return replace(known, accel=self._found[0], accel_note=self._found[1])
        if self._read_only:
            return replace(known, accel_note="a read-only console does not try KVM")
        return known

    async def _try_accel(self, target: HostTarget) -> None:
        """Find out by trying where nobody knows."""
        known = self.facts
        if known is None or known.accel is not None or known.accel_note:
            return
        accel, note, trials = await find_accel(target.uri, self._stuck)
        self.trial_calls += trials
        log.info("%s: %s after %d trial guests: %s", target.name, accel or "not known", trials, note)
        if accel is not None:
            self._found = (accel, note)
        self._tell(replace(self.facts or known, accel=accel, accel_note=note))
