"""What is known of one host's guests: definitions, figures and addresses put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import libvirt

from console.domain.observed import (
    AddressSource,
    GuestAddress,
    GuestObservation,
    GuestSample,
    GuestState,
    HostSample,
)
from console.drivers.libvirt.guests import Definition, Listing, Row, passed_over
from console.drivers.libvirt.stats import Meter, Stats, guest_sample, host_sample

SAMPLE_S = 0.8
"""A guest's CPU time is counted in steps of 10 ms: over less than this a rate would be noise."""

OFF = frozenset({GuestState.OFF, GuestState.CRASHED})


@dataclass(frozen=True, slots=True)
class NodeStats:
    """A host's own counters; None where it reports none."""

    cpu: Mapping[str, int] | None
    memory: Mapping[str, int] | None

    @classmethod
    def read(cls, conn: Any) -> NodeStats:
        """Read both, on the connection's thread."""
        return cls(
            _unless_unknown(lambda: conn.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS, 0)),
            _unless_unknown(lambda: conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)),
        )


def _unless_unknown(read: Any) -> Any:
    try:
        return read()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
        return None


class Herd:
    """The guests of one host. `guests` holds the same object for a guest of which nothing changed."""

    def __init__(self) -> None:
        self.guests: tuple[GuestObservation, ...] = ()
        self.host_sample: HostSample | None = None
        self.host_meter = Meter()
        self._rows: dict[str, Row] = {}
        self._definitions: dict[str, Definition] = {}
        self._meters: dict[str, Meter] = {}
        self._addresses: dict[str, dict[AddressSource, tuple[GuestAddress, ...]]] = {}
        self._autostart: frozenset[str] = frozenset()
        self._persistent: frozenset[str] = frozenset()
        self._doubtful: frozenset[str] | None = frozenset()
        self._sampled_s = 0.0
        self._ticks = 0

    def forget(self) -> None:
        """Counters begin anew (another connection); histories stay."""
        self._rows.clear()
        for meter in (self.host_meter, *self._meters.values()):
            meter.interrupt()

    def marks(self) -> dict[str, tuple[str, int, bool]]:
        """Return the mark of each domain whose definition is known."""
        return {uuid: row.mark for uuid, row in self._rows.items() if uuid in self._definitions}

    @property
    def hung(self) -> int:
        """How many guests do not answer."""
        return sum(not row.answers for row in self._rows.values())

    @property
    def doubtful(self) -> frozenset[str] | None:
        """The guests of which it is to be found out whether they answer; None: all."""
        if self._doubtful is None:
            return None
        return self._doubtful | {uuid for uuid, row in self._rows.items() if not row.answers}

    def doubt_all(self) -> None:
        """Somebody did not answer, and it is not known who."""
        self._doubtful = None

    def due(self, clock_s: float) -> bool:
        """True when figures are due."""
        return clock_s - self._sampled_s >= SAMPLE_S

    @property
    def full_due(self) -> bool:
        """True when the slow counters are due too: with every second sample."""
        return self._ticks % 2 == 0

    def running(self) -> dict[str, tuple[int, Definition]]:
        """Return run number and definition of each running guest."""
        return {
            uuid: (row.run, self._definitions[uuid])
            for uuid, row in self._rows.items()
            if row.run >= 0 and uuid in self._definitions
        }

    def locate(self, source: AddressSource, found: Mapping[str, tuple[GuestAddress, ...]]) -> None:
        """These guests have these addresses, as `source` says."""
        for uuid, addresses in found.items():
            self._addresses.setdefault(uuid, {})[source] = addresses
        self._build()

    def learn(self, listing: Listing, definitions: Mapping[str, Definition]) -> None:
        """Take in one look at the guests."""
        rows = {row.uuid: row for row in listing.rows}
        for row in listing.rows:
            if row.definition is not None:
                self._definitions[row.uuid] = row.definition
            before = self._rows.get(row.uuid)
            if before is not None and before.run != row.run:
                self._addresses.pop(row.uuid, None)
            if row.state in OFF and row.uuid in self._meters:
                self._meters[row.uuid].rest()
        self._definitions.update(definitions)
        for gone in self._definitions.keys() - rows.keys():
            del self._definitions[gone]
            self._meters.pop(gone, None)
            self._addresses.pop(gone, None)
        self._rows = rows
        if listing.autostart is not None:
            self._autostart = listing.autostart
        if listing.persistent is not None:
            self._persistent = listing.persistent
        self._doubtful = frozenset()
        self._build()

    def measure(
        self,
        figures: Mapping[str, Stats],
        node: NodeStats,
        *,
        clock_s: float,
        at: datetime,
        full: bool,
    ) -> None:
        """Take in the host's counters and its guests', those of each by its uuid; who has none has no figures."""
        self._sampled_s = clock_s
        self._ticks += 1
        samples: list[GuestSample] = []
        passed = set()
        for uuid, row in self._rows.items():
            meter = self._meters.setdefault(uuid, Meter())
            if row.state in OFF:
                continue
            stats = figures.get(uuid)
            if stats is not None and full and passed_over(stats):
                passed.add(uuid)
            if stats is None or not row.answers:
                meter.lose()
                continue
            definition = self._definitions.get(uuid)
            vcpus = definition.vcpus if definition else None
            sample = guest_sample(meter, stats, vcpus=vcpus, clock_s=clock_s, at=at, full=full)
            if sample is not None:
                samples.append(sample)
        self._doubtful = frozenset(passed)
        self.host_sample = host_sample(self.host_meter, node.cpu, node.memory, samples, clock_s=clock_s, at=at)
        self._build()

    def _build(self) -> None:
        before = {guest.uuid: guest for guest in self.guests}
        guests = []
        for uuid, row in self._rows.items():
            guest = self._guest(row, self._definitions.get(uuid, Definition()))
            old = before.get(uuid)
            guests.append(old if old == guest and old is not None else guest)
        guests.sort(key=lambda guest: guest.name)
        self.guests = tuple(guests)

    def _guest(self, row: Row, definition: Definition) -> GuestObservation:
        meter = self._meters.get(row.uuid)
        known = self._addresses.get(row.uuid, {})
        addresses = {
            address.address: address
            for source in (AddressSource.AGENT, AddressSource.LEASE)  # a lease is the better witness: it wins
            for address in known.get(source, ())
        }
        return GuestObservation(
            uuid=row.uuid,
            name=row.name,
            state=row.state,
            persistent=row.uuid in self._persistent,
            autostart=row.uuid in self._autostart,
            vcpus=definition.vcpus,
            memory_kib=definition.memory_kib,
            shape=definition.shape,
            active_shape=definition.active_shape if row.state not in OFF else None,
            inventory_id=definition.inventory_id,
            digest=definition.digest,
            pci=definition.pci,
            addresses=tuple(addresses.values()),
            answers=row.answers,
            sample=meter.sample if meter and row.answers else None,
            cpu_history=tuple(meter.history) if meter else (),
        )
