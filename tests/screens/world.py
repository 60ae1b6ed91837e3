"""A small fleet in memory with everything that a screen can show, behind a real session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from textual.pilot import Pilot

from console.domain.model import Fleet
from console.domain.observed import (
    AddressSource,
    GuestAddress,
    GuestSample,
    GuestState,
    HostObservation,
    HostSample,
    HostState,
)
from console.drivers.base import Repository
from console.generate.domain_xml import domain_xml
from console.inventory.files import read_inventory
from console.services.session import Session
from screens.app import QuarterdeckApp
from screens.fleet import FleetScreen
from tests.fakes import (
    NOW,
    FakeGuest,
    FakeHardware,
    FakeHost,
    FakeHostKeys,
    FakeHypervisors,
    FakeRepository,
    FakeRunner,
    FakeWatch,
    pci_card,
)

DEADLINE_S = 10.0

FLEET = """
version = 1
name = "cellar"
id = "64e6dadd-df2b-40b0-ae70-9039ed5ff8d0"
[defaults]
state_version = "25.11"
[networks.lan]
bridge = "br0"
subnet = "10.0.0.0/24"
[pools.default]
path = "/var/lib/libvirt/images"
"""

HOST = """
mac = "52:54:00:10:00:{number:02x}"
address = "10.0.0.{number}/24"
uri = "qemu+ssh://root@10.0.0.{number}/system"
accel = "kvm"
labels = {labels}
"""

GUEST = """
[guests.{name}]
uuid = "00000000-0000-4000-8000-0000000000{number:02x}"
kind = "plain"
vcpus = {vcpus}
memory = "{memory} GiB"
machine = "q35"
firmware = "uefi"
autostart = false
labels = {labels}
boot = ["disk:boot"]
[guests.{name}.disks.boot]
size = "40 GiB"
pool = "default"
target = "vda"
source = {{ image = "debian-13.qcow2", mode = "overlay" }}
[guests.{name}.nics.lan]
network = "lan"
mac = "52:54:00:20:00:{number:02x}"
address = "10.0.0.{number}/24"
"""

GPU = """
[guests.{name}.devices.gpu0]
pci = "0000:65:00"
functions = ["10de:2206", "10de:1aef"]
gpu = true
"""

CARD = pci_card(
    "0000:65:00",
    ("10de:2206", "10de:1aef"),
    ("0x030000", "0x040300"),
    product="GA102 [GeForce RTX 3080]",
    group=28,
    numa=1,
)
MIB = 1024.0**2


@dataclass(slots=True)
class LiveHost(FakeHost):
    """A host that also reports figures. seen_at: when it last answered. figures: of its guests, by name."""

    seen_at: datetime = NOW
    cpu: tuple[float | None, ...] = ()
    figures: dict[str, GuestSample] = field(default_factory=dict)
    histories: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)

    def observation(self) -> HostObservation:
        """Dress the plain observation with figures."""
        seen = FakeHost.observation(self)
        if seen.seen_at is None:
            return seen
        guests = tuple(
            replace(
                guest,
                sample=self.figures.get(guest.name) if guest.state is GuestState.RUNNING else None,
                cpu_history=self.histories.get(guest.name, ()) if guest.state is GuestState.RUNNING else (),
                addresses=(GuestAddress(address=self.leases[guest.name], source=AddressSource.LEASE),)
                if guest.name in self.leases
                else (),
            )
            for guest in seen.guests
        )
        sample = None
        if self.cpu:
            sample = HostSample(
                at=NOW,
                cpu_percent=self.cpu[-1],
                memory_used_kib=96 * 1024**2,
                disk_bps=sum(f.disk_read_bps or 0.0 for f in self.figures.values()),
                net_bps=sum(f.net_rx_bps or 0.0 for f in self.figures.values()),
            )
        return replace(seen, guests=guests, seen_at=self.seen_at, sample=sample, cpu_history=self.cpu)


def sample(cpu: float, memory_gib: float, disk: float = 0.0, net: float = 0.0, at: datetime = NOW) -> GuestSample:
    """Return a guest's figures; rates in bytes a second."""
    return GuestSample(
        at=at,
        cpu_percent=cpu,
        memory_used_kib=int(memory_gib * 1024**2),
        disk_read_bps=disk,
        disk_write_bps=0.0,
        net_rx_bps=net,
        net_tx_bps=0.0,
    )


@dataclass(slots=True)
class World:
    """The fleet: its session, its hosts as they are, and a clock that stands still until it is moved."""

    session: Session
    hypervisors: FakeHypervisors
    hardware: FakeHardware
    now: datetime = NOW

    def host(self, name: str) -> LiveHost:
        """Return a host as it is."""
        host = self.hypervisors.hosts[name]
        assert isinstance(host, LiveHost)
        return host

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.now += timedelta(seconds=seconds)


def make_world(folder: Path, repository: Repository | None = None) -> World:
    """Return the fleet: vhost-a busy, vhost-b with a changed, a pending and an unmanaged guest, vhost-c silent."""
    inventory = folder / "inventory"
    (inventory / "hosts").mkdir(parents=True)
    (inventory / "fleet.toml").write_text(FLEET)
    vcpus = {"trainer": 8}
    numbers = {
        "vhost-a": (11, ["rack-1", "gpu"], {"trainer": 51, "web-1": 52, "web-2": 53, "web-10": 54}),
        "vhost-b": (12, ["rack-1"], {"db-1": 61, "db-2": 62, "new-guest": 63}),
        "vhost-c": (13, ["desk"], {"cache-1": 71}),
        "vhost-d": (14, [], {"archive": 81}),
    }
    for name, (number, labels, guests) in numbers.items():
        text = HOST.format(number=number, labels=labels)
        for guest, address in guests.items():
            text += GUEST.format(
                name=guest,
                number=address,
                vcpus=vcpus.get(guest, 2),
                memory=32 if guest == "trainer" else 8,
                labels=["shop"] if guest.startswith("web") else [],
            )
            if guest == "trainer":
                text += GPU.format(name=guest)
        (inventory / "hosts" / f"{name}.toml").write_text(text.replace("'", '"'))
    read = read_inventory(inventory)
    read.require_sound()
    hosts = [_live(read.fleet, name) for name in ("vhost-a", "vhost-b", "vhost-c", "vhost-d")]
    hypervisors = FakeHypervisors(*hosts)
    repository, hardware = repository or FakeRepository(), FakeHardware()
    session = Session(
        inventory,
        folder / "state",
        hypervisors,
        repository,
        FakeHostKeys("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA"),
        FakeWatch(),
        lambda fleet: (),
        hardware,
        lambda key: "SHA256:fingerprint",
        FakeRunner(hypervisors, repository, hardware),
    )
    world = World(session, hypervisors, hardware)
    session.store.clock = lambda: world.now
    return world


def _live(fleet: Fleet, name: str) -> LiveHost:
    host = fleet.hosts[name]
    live = LiveHost(name)

    def add(guest: str, state: GuestState = GuestState.RUNNING, edit: Callable[[str], str] = lambda xml: xml) -> None:
        xml = edit(domain_xml(fleet, host, host.guests[guest]))
        live.guests[host.guests[guest].uuid] = FakeGuest(xml, state, xml if state is GuestState.RUNNING else None)

    match name:
        case "vhost-a":
            live.pci = CARD
            live.cpu = (20.0, 25.0, 40.0, 35.0, 31.0)
            add("trainer")
            add("web-1")
            add("web-2", GuestState.OFF)
            add("web-10", GuestState.PAUSED)
            live.figures = {"trainer": sample(87, 31, 0.8 * MIB, 1.9 * MIB), "web-1": sample(4, 1.1, 12288, 184320)}
            live.histories = {"trainer": tuple(range(10, 90, 4)), "web-1": (3, 4, 9, 4, 4)}
            live.leases = {"trainer": "10.0.0.51"}
        case "vhost-b":
            live.cpu = (12.0,) * 5
            add("db-1", edit=lambda xml: xml.replace(">8388608<", ">4194304<"))
            add("db-2", GuestState.OFF)
            live.figures = {"db-1": sample(22, 3.5, 90112, 40960)}
            stray = domain_xml(
                fleet, host, replace(host.guests["db-2"], name="stray", uuid="0" * 8 + "-0000-4000-8000-" + "f" * 12)
            )
            live.guests["stray"] = FakeGuest(stray, GuestState.OFF)
        case "vhost-c":
            add("cache-1")
            live.figures = {"cache-1": sample(3, 2)}
            live.up, live.seen, live.seen_at = False, True, NOW - timedelta(minutes=4)
        case "vhost-d":
            live.up = False
    return live


@asynccontextmanager
async def console(world: World, width: int = 80, height: int = 24) -> AsyncIterator[Pilot[None]]:
    """Run the console on the world; inside, every host has been heard of and shown."""
    app = QuarterdeckApp(world.session)
    app.theme = "dark"
    async with app.run_test(size=(width, height)) as pilot:
        await settled(pilot)
        yield pilot
        # As an operator leaves it: what comes from the hosts from here on is painted nowhere.
        app.exit()


async def settled(pilot: Pilot[None]) -> None:
    """Wait until every host has been heard of and is shown."""
    app = console_of(pilot)
    store = app.session.store
    await heard(app, lambda: all(store.observed(name).state is not HostState.UNKNOWN for name in store.fleet.hosts))
    await shown(pilot)


async def heard(app: QuarterdeckApp, true: Callable[[], bool]) -> None:
    """Wait until something that the store knows is true."""
    assert await app.session.store.wait_until(lambda store: true(), DEADLINE_S)


async def shown(pilot: Pilot[None]) -> None:
    """Have what the store says now on the screen."""
    await pilot.pause()
    console_of(pilot).show_changes()
    await pilot.pause()


async def changed(pilot: Pilot[None], world: World) -> None:
    """Have what the hosts are now heard of and shown."""
    store = world.session.store
    before = store.revision
    world.hypervisors.touch()
    assert await store.wait_until(lambda store: store.revision > before, DEADLINE_S)
    await shown(pilot)


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until something is true of the screens."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await pilot.pause()


async def finished(pilot: Pilot[None]) -> None:
    """Wait until nothing is being carried out."""
    app = console_of(pilot)
    await heard(app, lambda: not app.work.running)
    await shown(pilot)


def console_of(pilot: Pilot[None]) -> QuarterdeckApp:
    """Return the running console."""
    assert isinstance(pilot.app, QuarterdeckApp)
    return pilot.app


def fleet(pilot: Pilot[None]) -> FleetScreen:
    """Return the fleet screen, in front or not."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, FleetScreen))


def cursor(pilot: Pilot[None]) -> str:
    """Return the key of the row under the cursor."""
    row = fleet(pilot).rows.row
    return "" if row is None else str(row.key)


def text(pilot: Pilot[None]) -> str:
    """Return what the terminal shows now."""
    screen = pilot.app.screen
    return "\n".join(strip.text.rstrip() for strip in screen._compositor.render_strips(pilot.app.size))


def line_of(pilot: Pilot[None], word: str) -> str:
    """Return the first line on the terminal that has a word."""
    found = [line for line in text(pilot).splitlines() if word in line]
    assert found, f"{word!r} is not shown:\n{text(pilot)}"
    return found[0]
