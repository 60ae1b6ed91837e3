"""Reading the domains of a host: the list and its counters often, definitions only when they changed.

The list and the definitions are libvirt's own knowledge. Most counters it asks each guest's QEMU for, without a
deadline of its own: one QEMU that hangs holds up the counters of all, which is why they are asked for apart.

The functions here run on a connection's thread and return plain values: no libvirt object leaves them, because
dropping the last one may close a connection and so block whoever drops it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree.ElementTree import Element

import libvirt

from console.domain.errors import FleetError
from console.domain.observed import AddressSource, GuestAddress, GuestState
from console.domain.shape import identity_of, pci_of, shape_of
from console.drivers.libvirt.markup import BadXml, clean, number, parse

log = logging.getLogger(__name__)

PROBE_PREFIX = "quarterdeck-probe-"
"""Domains of this name are our own trials (trial.py) and are no guests."""

BATCH = 50
"""Definitions read in one go: with 20 ms to the host about 2 s."""

AGENT_CHANNEL = "org.qemu.guest_agent.0"

STATES = {
    libvirt.VIR_DOMAIN_RUNNING: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: GuestState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: GuestState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: GuestState.OFF,
    libvirt.VIR_DOMAIN_CRASHED: GuestState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: GuestState.SUSPENDED,
}

HANGS_MS = 5000
"""A QEMU that has owed libvirt an answer for this long does not answer: it needs milliseconds when it is well."""

NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
"""A guest that something else waits for, a long job or a QEMU that hangs, is passed over."""

FAST = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
FULL = FAST | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a domain's XML says."""

    vcpus: int | None = None
    memory_kib: int | None = None
    shape: dict[str, str] = field(default_factory=dict)
    active_shape: dict[str, str] | None = None
    inventory_id: str | None = None
    digest: str | None = None
    pci: tuple[str, ...] = ()
    leases: bool = False
    agent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One domain as listed. definition: None when it was not read again. run: the number of the running domain."""

    uuid: str
    name: str
    run: int
    state: GuestState
    answers: bool = True
    definition: Definition | None = None

    @property
    def mark(self) -> tuple[str, int, bool]:
        """What makes the definition worth reading again when it differs."""
        return (self.name, self.run, self.state in (GuestState.OFF, GuestState.CRASHED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All domains of a host. autostart, persistent: uuids, None when not read. left: whose definition is due."""

    rows: tuple[Row, ...]
    autostart: frozenset[str] | None
    persistent: frozenset[str] | None
    left: tuple[str, ...]


def read_listing(
    conn: Any,
    known: Mapping[str, tuple[str, int, bool]],
    dirty: frozenset[str],
    *,
    marks: bool,
    doubtful: frozenset[str] | None = frozenset(),
) -> Listing:
    """List the domains and read up to BATCH new, changed or `dirty` definitions; no QEMU is waited for.

    known: the mark of each domain whose definition is known. marks: which start with their host and which are
    persistent too (also read when anything is new or dirty). doubtful: of whom it is to be found out whether they
    answer (None: of all).
    """
    rows = []
    left = []
    budget = BATCH
    for dom, stats in conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, NOWAIT):
        name = clean(dom.name(), 200)
        if name.startswith(PROBE_PREFIX):
            continue
        uuid = dom.UUIDString()
        state = STATES.get(stats.get("state.state"), GuestState.UNKNOWN)
        run = dom.ID()
        answers = run < 0 or (doubtful is not None and uuid not in doubtful) or _answers(dom)
        row = Row(uuid=uuid, name=name, run=run, state=state, answers=answers)
        if uuid in dirty or known.get(uuid) != row.mark:
            marks = True
            if budget:
                budget -= 1
                row = replace(row, definition=_define(dom, active=run >= 0))
            else:
                left.append(uuid)
        rows.append(row)
    return Listing(
        rows=tuple(rows),
        autostart=_uuids(conn, libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART) if marks else None,
        persistent=_uuids(conn, libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT) if marks else None,
        left=tuple(left),
    )


def read_figures(conn: Any, *, full: bool) -> dict[str, Mapping[str, object]]:
    """Return each domain's counters by its uuid; waits for as long as any QEMU keeps libvirt waiting.

    full: the slow groups of counters too.
    """
    return {dom.UUIDString(): stats for dom, stats in conn.getAllDomainStats(FULL if full else FAST, NOWAIT)}


def passed_over(stats: Mapping[str, object]) -> bool:
    """Return True when these full counters lack what libvirt asks QEMU for, whatever the guest is made of."""
    return "balloon.rss" not in stats


def _answers(dom: Any) -> bool:
    """Return False for a domain whose QEMU keeps libvirt waiting; True where the host cannot tell, or it is gone."""
    try:
        state, _detail, since_ms = dom.controlInfo()
    except libvirt.libvirtError as error:
        log.debug("%s: %s", clean(dom.name()), clean(str(error)))
        return True
    return not (state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED and since_ms >= HANGS_MS)


def read_definitions(conn: Any, uuids: Iterable[str]) -> dict[str, Definition]:
    """Return the definitions of these domains; one that is gone is left out."""
    found = {}
    for uuid in uuids:
        try:
            dom = conn.lookupByUUIDString(uuid)
            definition = _define(dom, active=dom.ID() >= 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            continue
        if definition is not None:
            found[uuid] = definition
    return found


def _uuids(conn: Any, flag: int) -> frozenset[str]:
    return frozenset(dom.UUIDString() for dom in conn.listAllDomains(flag))


def _define(dom: Any, *, active: bool) -> Definition | None:
    """Return what the domain's XML says; None when it went meanwhile or cannot be read (the log says why)."""
    try:
        next_boot = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        now = dom.XMLDesc(0) if active else None
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return None
    try:
        return definition_of(next_boot, now)
    except (BadXml, FleetError) as error:
        log.warning("domain %s: %s", clean(dom.name()), clean(str(error)))
        return Definition()


def definition_of(next_boot: str, now: str | None) -> Definition:
    """Return what a domain's persistent and active XML say. Raises BadXml or FleetError."""
    root = parse(next_boot)
    running = parse(now) if now is not None else None
    current = running if running is not None else root
    vcpu = current.find("vcpu")
    inventory_id, digest = identity_of(next_boot)
    return Definition(
        vcpus=None if vcpu is None else number(vcpu.get("current") or vcpu.text),
        memory_kib=_kib(current.find("memory")),
        shape=shape_of(next_boot),
        active_shape=None if now is None else shape_of(now),
        inventory_id=inventory_id,
        digest=digest,
        pci=pci_of(next_boot),
        leases=running is not None and running.find("devices/interface[@type='network']") is not None,
        agent=running is not None
        and any(
            target.get("name") == AGENT_CHANNEL and target.get("state") == "connected"
            for target in running.findall("devices/channel/target")
        ),
    )


def _kib(element: Element | None) -> int | None:
    """Return a memory element in KiB; libvirt always writes this unit."""
    if element is None or element.get("unit", "KiB") != "KiB":
        return None
    return number(element.text)


def read_addresses(conn: Any, uuids: Iterable[str], source: AddressSource) -> dict[str, tuple[GuestAddress, ...]]:
    """Return what leases or agents know of these running guests' addresses; a guest that refuses has none.

    Loopback and link-local addresses are left out: nobody reaches a guest by them.
    """
    number_of = {
        AddressSource.LEASE: libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        AddressSource.AGENT: libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
    }[source]
    found = {}
    for uuid in uuids:
        try:
            cards = conn.lookupByUUIDString(uuid).interfaceAddresses(number_of, 0)
        except libvirt.libvirtError as error:
            if not conn.isAlive():
                raise
            log.debug("addresses of %s: %s", uuid, clean(str(error)))
            continue
        addresses = []
        for card in cards.values():
            for entry in card.get("addrs") or ():
                address = clean(str(entry.get("addr", "")), 64)
                if address and not address.startswith(("127.", "169.254.", "fe80:")) and address != "::1":
                    addresses.append(GuestAddress(address=address, source=source))
        found[uuid] = tuple(addresses)
    return found
