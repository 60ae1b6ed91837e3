"""The drivers' Protocols in memory."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from console.domain.errors import FleetError, HostUnreachable, NotKnownDone
from console.domain.hardware import HostHardware, SeenByGuest, Use
from console.domain.model import Accel, Host, Ssh
from console.domain.observed import (
    DownReason,
    GuestObservation,
    GuestState,
    HostFacts,
    HostNetwork,
    HostObservation,
    HostState,
    PciDevice,
    StoragePool,
    Volume,
)
from console.domain.plan import Plan
from console.domain.record import Commit, RepositoryState
from console.domain.shape import identity_of, pci_of, shape_of
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Reboot,
    Reset,
    Resume,
    SetAutostart,
    SetMemory,
    Shutdown,
    Start,
    Suspend,
    Undefine,
    Verb,
)
from console.drivers.base import HardwareReader, HostTarget, Hypervisors, Repository
from console.services.apply import Workplace, carry_out
from console.services.jobs import recorded
from console.services.journal import Journal

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
"""When everything in memory happens."""

GIB = 1024**3


@dataclass(slots=True)
class FakeGuest:
    """One domain. xml: its persistent definition; active_xml: the one it runs with, None when it is off."""

    xml: str
    state: GuestState = GuestState.OFF
    active_xml: str | None = None
    autostart: bool = False

    @property
    def uuid(self) -> str:
        return ElementTree.fromstring(self.xml).findtext("uuid") or ""

    @property
    def name(self) -> str:
        return ElementTree.fromstring(self.xml).findtext("name") or ""

    def observation(self) -> GuestObservation:
        inventory_id, digest = identity_of(self.xml)
        root = ElementTree.fromstring(self.xml)
        return GuestObservation(
            uuid=self.uuid,
            name=self.name,
            state=self.state,
            autostart=self.autostart,
            vcpus=int(root.findtext("vcpu") or 1),
            memory_kib=int(root.findtext("memory") or 0),
            shape=shape_of(self.xml),
            active_shape=shape_of(self.active_xml) if self.active_xml is not None else None,
            inventory_id=inventory_id,
            digest=digest,
            pci=pci_of(self.xml),
        )


@dataclass(slots=True)
class FakeHost:
    """One hypervisor. pools: name -> volume name -> capacity in bytes; paths: where the pools lie.

    deaf: guests that ignore the power button.
    """

    name: str
    up: bool = True
    seen: bool = False
    accel: Accel | None = Accel.KVM
    uefi: bool | None = True
    cpus: int | None = 16
    memory_kib: int | None = 192 * 1024**2
    pci: tuple[PciDevice, ...] = ()
    paths: dict[str, str] = field(default_factory=lambda: {"default": "/var/lib/libvirt/images"})
    pools: dict[str, dict[str, int]] = field(default_factory=lambda: {"default": {"debian-13.qcow2": 3 * GIB}})
    networks: tuple[HostNetwork, ...] = (HostNetwork(name="lan", active=True, bridge="br0"),)
    guests: dict[str, FakeGuest] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)

    def named(self, name: str) -> FakeGuest:
        return next(guest for guest in self.guests.values() if guest.name == name)

    def listings(self) -> object:
        """Everything that a verb can change, for comparing before with after."""
        guests = {u: (g.name, g.xml, g.state, g.autostart, g.active_xml) for u, g in sorted(self.guests.items())}
        return guests, {pool: dict(sorted(volumes.items())) for pool, volumes in sorted(self.pools.items())}

    def observation(self) -> HostObservation:
        if self.up:
            self.seen = True
        elif not self.seen:
            return HostObservation(
                name=self.name, state=HostState.DOWN, reason=DownReason.SILENT, error=f"{self.name} does not answer."
            )
        return HostObservation(
            name=self.name,
            state=HostState.UP if self.up else HostState.DOWN,
            reason=DownReason.NONE if self.up else DownReason.SILENT,
            error="" if self.up else f"{self.name} does not answer.",
            seen_at=NOW,
            facts=self._facts(),
            guests=tuple(guest.observation() for guest in self.guests.values()),
        )

    def _facts(self) -> HostFacts:
        return HostFacts(
            hostname=self.name,
            driver="QEMU",
            libvirt_version="9.0.0",
            cpu_model="Intel Xeon Gold 6130",
            cpus=self.cpus,
            memory_kib=self.memory_kib,
            accel=self.accel,
            uefi=self.uefi,
            pci=self.pci,
            pools=tuple(
                StoragePool(
                    name=name,
                    active=True,
                    path=self.paths.get(name),
                    capacity_bytes=1000 * GIB,
                    available_bytes=500 * GIB,
                    volumes=tuple(
                        Volume(
                            name=volume,
                            path=f"{self.paths.get(name)}/{volume}",
                            capacity_bytes=size,
                            allocation_bytes=0,
                        )
                        for volume, size in volumes.items()
                    ),
                )
                for name, volumes in self.pools.items()
            ),
            networks=self.networks,
        )

    def carry_out(self, verb: Verb) -> None:
        """Change what the verb says, or raise FleetError as libvirt would."""
        match verb:
            case Define(xml=xml):
                new = FakeGuest(xml)
                if any(old.name == new.name and uuid != new.uuid for uuid, old in self.guests.items()):
                    raise FleetError(f"{new.name} was not defined.", "Another domain has this name.")
                old = self.guests.setdefault(new.uuid, new)
                old.xml = xml
            case CreateVolume(pool=pool, name=name, capacity_bytes=size):
                volumes = self._pool(pool)
                source = verb.backing or verb.copy_of
                if name in volumes:
                    raise FleetError(f"volume {name} was not created", f"It exists already in pool {pool}.")
                if source is not None and source not in volumes:
                    raise FleetError(f"volume {name} was not created", f"Pool {pool} has no volume {source}.")
                volumes[name] = size
            case DeleteVolume(pool=pool, name=name):
                if self._pool(pool).pop(name, None) is None:
                    raise FleetError(f"volume {name} was not deleted", "There is none of this name.")
            case _:
                guest = self.guests.get(verb.uuid)
                if guest is None:
                    raise FleetError(f"domain {verb.uuid} was not changed", "There is no such domain.")
                self._change(guest, verb)

    def _pool(self, name: str) -> dict[str, int]:
        if name not in self.pools:
            raise FleetError(f"There is no pool {name}.")
        return self.pools[name]

    def _change(self, guest: FakeGuest, verb: Verb) -> None:
        on = guest.active_xml is not None

        def need(wanted: bool) -> None:
            if on is not wanted:
                raise FleetError(f"{guest.name} was not changed", f"It is {'running' if on else 'not running'}.")

        match verb:
            case Undefine(uuid=uuid):
                need(False)
                del self.guests[uuid]
            case Start():
                need(False)
                guest.state, guest.active_xml = GuestState.RUNNING, guest.xml
            case Shutdown():
                need(True)
                if guest.name not in self.deaf:
                    guest.state, guest.active_xml = GuestState.OFF, None
            case ForceOff():
                guest.state, guest.active_xml = GuestState.OFF, None
            case Reboot() | Reset() | SetMemory() | AttachDevice() | DetachDevice():
                need(True)
            case Suspend():
                need(True)
                guest.state = GuestState.PAUSED
            case Resume():
                need(True)
                guest.state = GuestState.RUNNING
            case SetAutostart(on=autostart):
                guest.autostart = autostart


class FakeHypervisors:
    """Implements `Hypervisors` in memory.

    verbs: every verb that was asked for, in order, with its host, failed ones too; done: those that succeeded.
    fail_at: numbers of the verbs (from 1, over all hosts) that are refused.
    lost_at: from this verb on its host does not answer any more. gate: while it is clear, verbs wait for it.
    """

    def __init__(self, *hosts: FakeHost) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.targets: tuple[HostTarget, ...] | None = None
        self.focused: str | None = None
        self.closed = False
        self.verbs: list[tuple[str, Verb]] = []
        self.done: list[tuple[str, Verb]] = []
        self.fail_at: Collection[int] = ()
        self.lost_at: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.told: dict[str, dict[str, SeenByGuest]] = {}
        """What guests say of functions of their hosts."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.started = asyncio.Event()
        """Set when a verb has been asked for."""
        self._changed: dict[int, asyncio.Event] = {}
        self._numbers = itertools.count()

    async def set_targets(self, targets: tuple[HostTarget, ...]) -> None:
        self.targets = targets
        self.touch()

    async def observe(self, host: str, *, timeout_s: float) -> HostObservation:
        if host not in self.hosts:
            return HostObservation(name=host, state=HostState.DOWN, reason=DownReason.REFUSED, error="Nobody answers.")
        return self.hosts[host].observation()

    async def updates(self) -> AsyncIterator[Mapping[str, HostObservation]]:
        number, event = next(self._numbers), asyncio.Event()
        self._changed[number] = event
        try:
            while True:
                yield {name: host.observation() for name, host in self.hosts.items()}
                await event.wait()
                event.clear()
        finally:
            del self._changed[number]

    async def ask_guests(
        self, host: str, functions: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, SeenByGuest]:
        """Return what the test said of them; a host of which it said nothing is down."""
        self.asked.append((host, dict(functions)))
        if host not in self.told:
            raise HostUnreachable(f"The guests of {host} were not asked.", f"{host} is down.", "")
        return {function: seen for function, seen in self.told[host].items() if function in functions}

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        self.verbs.append((host, verb))
        number = len(self.verbs)
        self.started.set()
        await self.gate.wait()
        target = self.hosts.get(host)
        if target is not None and self.lost_at is not None and number >= self.lost_at:
            was_up, target.up = target.up, False
            self.touch()
            if was_up:
                raise NotKnownDone(f"{host} was lost.", "", "Is it switched on?")
        if target is None or not target.up:
            raise HostUnreachable(f"{host} does not answer.", "", "Is it switched on?")
        if number in self.fail_at:
            raise FleetError(f"verb {number} was refused", "It was told to.")
        target.carry_out(verb)
        self.done.append((host, verb))
        self.touch()

    async def focus(self, host: str | None) -> None:
        self.focused = host

    async def write_calls(self) -> Mapping[str, int]:
        return {name: sum(host == name for host, _ in self.done) for name in self.hosts}

    async def close(self) -> None:
        self.closed = True

    def touch(self) -> None:
        """Have whoever listens hear of the hosts as they are now."""
        for event in self._changed.values():
            event.set()


class FakeRunner:
    """Implements `JobRunner` in this process: jobs are tasks, on the hosts and the repository in memory.

    hardware: what its jobs ask of the kernels. refusal: why none can be started. tasks: those that were.
    """

    def __init__(self, hypervisors: Hypervisors, repository: Repository, hardware: HardwareReader) -> None:
        self.hypervisors = hypervisors
        self.repository = repository
        self.hardware = hardware
        self.refusal: FleetError | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, folder: Path, journal: Path, descriptor: int, targets: tuple[HostTarget, ...]) -> None:
        if self.refusal is not None:
            raise self.refusal
        kept = Journal(journal, os.dup(descriptor), lambda: NOW)
        plan = recorded(journal).plan
        assert plan is not None
        self.tasks.append(asyncio.create_task(self._work(plan, kept, folder)))

    async def _work(self, plan: Plan, journal: Journal, folder: Path) -> None:
        try:
            place = Workplace(folder, self.repository, self.hypervisors, self.hardware, settle_s=0.0)
            await carry_out(plan, journal, place)
        finally:
            journal.close()


class FakeRepository:
    """Implements `Repository`: remembers commits. refusal: what a commit fails with. state: how it stands."""

    def __init__(self) -> None:
        self.commits: list[tuple[str, tuple[str, ...]]] = []
        self.refusal: FleetError | None = None
        self.state = RepositoryState()

    async def commit(self, folder: Path, files: Sequence[str], message: str, *, by_hand: bool = False) -> str | None:
        if self.refusal is not None:
            raise self.refusal
        self.commits.append((message, tuple(files)))
        return f"{len(self.commits):07x}"

    async def init(self, folder: Path) -> None:
        """Be one already."""

    async def standing(self, folder: Path) -> RepositoryState:
        return self.state

    async def log(self, folder: Path, limit: int) -> tuple[Commit, ...]:
        newest = reversed(list(enumerate(self.commits, 1)))
        return tuple(
            Commit(id=f"{n:040x}", short=f"{n:07x}", at=NOW, who="Ada", subject=message, ours=True)
            for n, (message, _) in newest
        )[:limit]

    async def commit_named(self, folder: Path, name: str) -> str | None:
        return next((commit.id for commit in await self.log(folder, 9999) if name in (commit.id, commit.short)), None)

    async def diff(self, folder: Path, commit: str) -> str:
        raise FleetError(f"There is no commit {commit}.")

    async def texts(self, folder: Path, commit: str) -> Mapping[str, str]:
        raise FleetError(f"There is no commit {commit}.")


class FakeHostKeys:
    """Implements `HostKeys`: gives the key it was made with, and remembers who was asked."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.asked: list[str] = []

    async def fetch(self, uri: str, ssh: Ssh, *, timeout_s: float) -> str:
        self.asked.append(uri)
        return self.key


def pci_card(
    slot: str,
    ids: Sequence[str],
    classes: Sequence[str],
    *,
    product: str = "",
    group: int | None = 1,
    members: Sequence[str] | None = None,
    numa: int | None = None,
) -> tuple[PciDevice, ...]:
    """Return the functions of one slot; members: the group's addresses where they are more than the slot's own."""
    addresses = [f"{slot}.{function}" for function in range(len(ids))]
    return tuple(
        PciDevice(
            address=address,
            vendor_id=pci_id.partition(":")[0],
            device_id=pci_id.partition(":")[2],
            vendor="NVIDIA Corporation" if pci_id.startswith("10de") else "",
            product=product if not function else f"{product} audio".strip(),
            class_code=code,
            iommu_group=group,
            group_members=tuple(members if members is not None else addresses),
            numa_node=numa,
        )
        for function, (address, pci_id, code) in enumerate(zip(addresses, ids, classes, strict=True))
    )


def with_functions_swapped(host: FakeHost, slot: str, pci_id: str) -> None:
    """Have function 0 of a slot be another device: somebody swapped the card."""
    vendor, _, device = pci_id.partition(":")
    host.pci = tuple(
        replace(each, vendor_id=vendor, device_id=device) if each.address == f"{slot}.0" else each for each in host.pci
    )


class FakeWatch:
    """Implements `Watch`: a test says when files changed."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def changes(self, folder: Path) -> AsyncIterator[None]:
        """Yield each time the test has set `changed`."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield


class FakeHardware:
    """Implements `HardwareReader`: `told` by host name; other hosts have no kernel to ask.

    silent: hosts that do not answer before their event is set, and then only that it took too long.
    """

    def __init__(self) -> None:
        self.told: dict[str, HostHardware] = {}
        self.silent: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []
        self.uses: dict[str, Mapping[str, Use] | FleetError] = {}

    async def read(self, host: Host, ssh: Ssh, *, timeout_s: float) -> HostHardware:
        """Return what the test said."""
        self.asked.append(host.name)
        if host.name in self.silent:
            await self.silent[host.name].wait()
            raise HostUnreachable(f"{host.name} did not tell its hardware within {timeout_s:g} s.", "", "")
        if host.name not in self.told:
            raise FleetError(f"The kernel of {host.name} cannot be asked for its devices.")
        return self.told[host.name]

    async def use(self, host: Host, ssh: Ssh, *, timeout_s: float) -> Mapping[str, Use]:
        """Return what the test said; a host without an entry has no tool for it."""
        if (said := self.uses.get(host.name)) is None:
            return {}
        if isinstance(said, FleetError):
            raise said
        return said
