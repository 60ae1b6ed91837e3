"""The libvirt process on a real libvirtd: figures that are true, verbs, trials of KVM, a daemon that dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import libvirt
import pytest

from console.domain.errors import FleetError, NotKnownDone
from console.domain.model import Accel
from console.domain.observed import AddressSource, GuestObservation, GuestState, HostObservation, HostState
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Resume,
    SetAutostart,
    SetMemory,
    Start,
    Suspend,
    Undefine,
)
from console.drivers.base import HostTarget
from console.drivers.libvirt.client import LibvirtClient
from tests.drivers.world import World, guest, until
from tests.lab.guests import Lab, booted_line, domain_xml, kernel_boot, lab_command

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Reach:
    """A client that observes the lab's host under the name "lab"."""

    client: LibvirtClient
    lab: Lab

    async def host(self) -> HostObservation:
        host = await self.client.observe("lab", timeout_s=20)
        assert host.state is HostState.UP, host.error
        return host

    async def when(self, fits: Callable[[HostObservation], bool], timeout_s: float = 60) -> HostObservation:
        return (await until(self.client, lambda seen: fits(seen["lab"]), timeout_s))["lab"]

    async def daemon(self) -> str:
        """The libvirtd's process id, inside."""
        return (await asyncio.to_thread(lab_command, "exec", self.lab.dir, "lab-a", "pidof", "libvirtd")).strip()

    async def define(self, name: str, number: int, *words: str) -> str:
        """The uuid of a new domain that boots the lab's kernel with these words."""
        identity = str(uuid.uuid4())
        xml = domain_xml(
            name,
            mac=f"52:54:00:78:00:{number:02x}",
            log=self.lab.dir / f"{name}.log",
            os=kernel_boot(self.lab, " ".join(words)),
        )
        xml = xml.replace("</name>", f"</name><uuid>{identity}</uuid>")
        await self.client.call("lab", Define(xml=xml), timeout_s=20)
        return identity


@pytest.fixture
async def world(lab: Lab) -> AsyncIterator[World]:
    world = World(lab.dir / "driver")
    try:
        yield world
    finally:
        await world.close()


@pytest.fixture
async def reach(lab: Lab, world: World) -> Reach:
    client = world.client()
    await client.set_targets((HostTarget(name="lab", uri=lab.uri),))
    await client.focus("lab")
    reach = Reach(client, lab)
    await reach.when(lambda host: host.state is HostState.UP)
    return reach


async def test_facts(reach: Reach, connection: libvirt.virConnect) -> None:
    facts = (await reach.host()).facts
    assert facts is not None
    info = connection.getInfo()
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    assert (facts.driver, facts.hostname) == ("QEMU", connection.getHostname())
    assert (facts.cpus, facts.memory_kib) == (info[2], memory["total"])
    assert facts.accel is Accel.TCG
    assert facts.accel_note
    assert facts.hypervisor_version is not None
    assert facts.uefi is True
    (pool,) = facts.pools
    assert {volume.name: volume.format for volume in pool.volumes}.items() >= {
        "tiny.iso": "iso", "tiny.qcow2": "qcow2",
    }.items()  # fmt: skip
    assert [(network.name, network.active) for network in facts.networks] == [("lan", True)]
    assert len(facts.pci) == len(connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV))
    sample = (await reach.when(lambda host: bool(host.sample and host.sample.cpu_percent is not None))).sample
    assert sample is not None
    assert 0 < (sample.memory_used_kib or 0) < (facts.memory_kib or 0)


async def test_a_guest_lives_and_its_figures_are_its_own(reach: Reach, connection: libvirt.virConnect) -> None:
    """One guest burns CPU, its neighbour idles; both get leases; memory and network are reported."""
    busy, calm = await reach.define("busy", 1, "qd.burn=1"), await reach.define("calm", 2)
    for number in (busy, calm):
        await reach.client.call("lab", Start(uuid=number), timeout_s=30)
    for name in ("busy", "calm"):
        await asyncio.to_thread(booted_line, reach.lab.dir / f"{name}.log")

    def told(host: HostObservation) -> bool:
        one, two = guest(host, "busy"), guest(host, "calm")
        return bool(
            one.sample
            and two.sample
            and (one.sample.cpu_percent or 0) > 80
            and (two.sample.cpu_percent if two.sample.cpu_percent is not None else 100) < 40
            and two.sample.memory_used_kib
            and two.sample.net_rx_bps is not None
            and one.addresses
            and two.addresses
        )

    host = await reach.when(told)
    assert {a.source for g in host.guests for a in g.addresses} == {AddressSource.LEASE}
    calm_memory = guest(host, "calm").sample.memory_used_kib  # type: ignore[union-attr]
    assert 0 < (calm_memory or 0) < 128 * 1024
    assert len(guest(host, "busy").cpu_history) >= 3

    await reach.client.call("lab", SetMemory(uuid=calm, memory_kib=98304), timeout_s=20)
    await reach.client.call("lab", Suspend(uuid=calm), timeout_s=20)
    assert guest(await reach.host(), "calm").state is GuestState.PAUSED
    await reach.client.call("lab", Resume(uuid=calm), timeout_s=20)
    await reach.client.call("lab", SetAutostart(uuid=calm, on=True), timeout_s=20)
    assert guest(await reach.host(), "calm").autostart is True
    with pytest.raises(FleetError, match="busy was not undefined"):
        await reach.client.call("lab", Undefine(uuid=busy), timeout_s=20)
    for number in (busy, calm):
        await reach.client.call("lab", ForceOff(uuid=number), timeout_s=20)
    off = guest(await reach.host(), "busy")
    assert (off.state, off.sample, off.cpu_history, off.addresses) == (GuestState.OFF, None, (), ())
    for number in (busy, calm):
        await reach.client.call("lab", Undefine(uuid=number), timeout_s=20)
    assert (await reach.host()).guests == ()


async def test_volumes_and_live_devices(reach: Reach, connection: libvirt.virConnect) -> None:
    gib = 1 << 30
    for verb in (
        CreateVolume(pool="default", name="over.qcow2", capacity_bytes=gib, backing="tiny.qcow2"),
        CreateVolume(pool="default", name="copy.qcow2", capacity_bytes=gib, copy_of="tiny.qcow2"),
        CreateVolume(pool="default", name="raw.img", capacity_bytes=gib, format="raw"),
    ):
        await reach.client.call("lab", verb, timeout_s=60)
    facts = (await reach.host()).facts
    assert facts is not None
    volumes = {volume.name: volume for volume in facts.pools[0].volumes}
    made = [volumes[name] for name in ("over.qcow2", "copy.qcow2", "raw.img")]
    assert [volume.format for volume in made] == ["qcow2", "qcow2", "raw"]
    assert {volume.capacity_bytes for volume in made} == {gib}
    assert volumes["raw.img"].allocation_bytes < gib // 2  # sparse
    over = connection.storageVolLookupByPath(volumes["over.qcow2"].path).XMLDesc()
    assert "<path>" + str(reach.lab.pool_path / "tiny.qcow2") in over
    assert "<format type='qcow2'/>" in over.split("<backingStore>")[1]

    number = await reach.define("plug", 3)
    await reach.client.call("lab", Start(uuid=number), timeout_s=30)
    await asyncio.to_thread(booted_line, reach.lab.dir / "plug.log")
    disk = (
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{volumes['over.qcow2'].path}'/><target dev='vdb' bus='virtio'/></disk>"
    )
    await reach.client.call("lab", AttachDevice(uuid=number, xml=disk), timeout_s=20)
    plugged = guest(await reach.host(), "plug")
    assert plugged.active_shape is not None
    assert "disk vdb" in plugged.active_shape
    assert "disk vdb" not in plugged.shape
    await reach.client.call("lab", DetachDevice(uuid=number, xml=disk), timeout_s=20)
    await reach.when(lambda host: "disk vdb" not in (guest(host, "plug").active_shape or {}))
    await reach.client.call("lab", DeleteVolume(pool="default", name="over.qcow2"), timeout_s=20)
    with pytest.raises(FleetError, match=r"volume over\.qcow2 was not deleted"):
        await reach.client.call("lab", DeleteVolume(pool="default", name="over.qcow2"), timeout_s=20)


async def test_changes_from_outside_are_seen_between_ticks(reach: Reach, connection: libvirt.virConnect) -> None:
    await reach.host()
    seen = asyncio.create_task(reach.when(lambda host: any(g.name == "other" for g in host.guests), 10))
    xml = domain_xml("other", mac="52:54:00:78:00:04", log=reach.lab.dir / "other.log", os=kernel_boot(reach.lab, ""))
    domain = connection.defineXML(xml)
    host = await seen
    found: GuestObservation = guest(host, "other")
    assert (found.uuid, found.inventory_id, found.state) == (domain.UUIDString(), None, GuestState.OFF)
    domain.undefine()
    await reach.when(lambda host: not host.guests, 10)


async def test_a_daemon_that_dies_and_comes_back(reach: Reach) -> None:
    """The loss is noticed at once, what was known stays on show, and the host comes back by itself."""
    number = await reach.define("kept", 5)
    await reach.when(lambda host: bool(host.guests))

    pid = await reach.daemon()
    await asyncio.to_thread(lab_command, "exec", reach.lab.dir, "lab-a", "busybox", "kill", "-KILL", pid)
    try:
        down = await reach.when(lambda host: host.state is HostState.DOWN, 10)
        assert [g.uuid for g in down.guests] == [number]
        assert down.facts is not None
        assert down.error
        assert down.seen_at is not None
    finally:
        await asyncio.to_thread(lab_command, "exec", reach.lab.dir, "lab-a", "libvirtd", "-d")
    up = await reach.when(lambda host: host.state is HostState.UP, 45)
    assert [g.uuid for g in up.guests] == [number]
    await reach.client.call("lab", Undefine(uuid=number), timeout_s=20)


async def test_a_daemon_that_stops_answering(reach: Reach) -> None:
    """Keepalive tells a silent daemon from a slow one; what asks meanwhile gets an answer in time."""
    await reach.host()
    pid = await reach.daemon()
    await asyncio.to_thread(lab_command, "exec", reach.lab.dir, "lab-a", "busybox", "kill", "-STOP", pid)
    try:
        seen = await reach.client.observe("lab", timeout_s=1)
        assert seen.state is HostState.DOWN
        await reach.when(lambda host: host.state is HostState.DOWN, 25)
    finally:
        await asyncio.to_thread(lab_command, "exec", reach.lab.dir, "lab-a", "busybox", "kill", "-CONT", pid)
    await reach.when(lambda host: host.state is HostState.UP, 60)


TRIALS = """
import asyncio, sys, threading
import libvirt
from console.drivers.libvirt import trial
from console.drivers.libvirt.link import Link

libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()

def events():
    while True:
        libvirt.virEventRunDefaultImpl()

threading.Thread(target=events, daemon=True).start()

async def main(uri):
    print(*(await trial.find_accel(uri, []))[::2])
    link = await Link.open(uri, timeout_s=10, stuck=[])
    print((await trial._attempt(link, "qemu"))[0] is not None)
    try:
        await trial._trial(link, "qemu", 0.0)
    except trial.TrialFailed as error:
        print(error)
    await link.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_trials(reach: Reach, connection: libvirt.virConnect) -> None:
    """A trial guest runs through its firmware and is gone; one that is too slow is ended; none is ever a guest."""
    seen: list[str] = []
    watching = asyncio.create_task(reach.when(lambda host: bool(seen.extend(g.name for g in host.guests)), 3600))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", TRIALS, reach.lab.uri], capture_output=True, text=True, check=True
    )
    watching.cancel()
    accel, ran, slow = done.stdout.splitlines()
    assert accel.startswith("tcg ")
    assert ran == "True"
    assert "did not get through its firmware" in slow
    assert seen == []
    assert connection.listAllDomains() == []


async def test_connections_leave_nothing_behind(reach: Reach, world: World) -> None:
    """Reconnecting again and again costs neither descriptors nor threads."""
    await reach.host()
    pid = await world.pid(reach.client)

    def held() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208

    before = held()
    for _ in range(5):
        await reach.client.set_targets(())
        await reach.client.set_targets((HostTarget(name="lab", uri=reach.lab.uri),))
        await reach.host()
    assert await world.pid(reach.client) == pid
    async with asyncio.timeout(10):
        while held() > before:
            await reach.host()


BRIDGE = """#!{python}
import os, select, socket
with socket.socket(socket.AF_UNIX) as peer:
    peer.connect("{socket}")
    pairs = {{0: peer.fileno(), peer.fileno(): 1}}
    while True:
        for source in select.select(list(pairs), [], [])[0]:
            data = os.read(source, 65536)
            if not data:
                raise SystemExit
            while data:
                data = data[os.write(pairs[source], data):]
"""


async def test_through_a_command_as_ssh_is_run(reach: Reach, world: World) -> None:
    """The transport of qemu+ssh with a wrapper, here one that leads straight to the lab's socket."""
    wrapper = world.folder / "ssh"
    wrapper.write_text(BRIDGE.format(python=sys.executable, socket=reach.lab.uri.partition("socket=")[2]))
    wrapper.chmod(0o700)
    uri = f"qemu+ssh://root@192.0.2.1/system?command={wrapper}&no_tty=1"
    await reach.client.set_targets((HostTarget(name="lab", uri=uri),))
    number = await reach.define("over-ssh", 6)
    assert guest(await reach.host(), "over-ssh").state is GuestState.OFF
    await reach.client.call("lab", Undefine(uuid=number), timeout_s=20)


async def test_a_qemu_that_hangs_costs_its_own_guest_alone(reach: Reach, connection: libvirt.virConnect) -> None:
    """Its host stays up throughout, its neighbour's figures go on, and it is itself again once it answers."""
    hung, fine = await reach.define("hung", 1), await reach.define("fine", 2, "qd.burn=1")
    for number in (hung, fine):
        await reach.client.call("lab", Start(uuid=number), timeout_s=30)
    await reach.when(lambda host: all(guest.sample and guest.sample.cpu_percent is not None for guest in host.guests))

    def signal(name: str) -> None:
        script = f"kill -{name} $(cat /run/libvirt/qemu/hung.pid)"
        lab_command("exec", reach.lab.dir, "lab-a", "sh", "-c", script)

    states = []
    try:
        await asyncio.to_thread(signal, "STOP")

        def told(host: HostObservation) -> bool:
            states.append(host.state)
            return not guest(host, "hung").answers and (guest(host, "fine").sample is not None)

        host = await reach.when(told, 90)
        assert set(states) == {HostState.UP}
        assert (guest(host, "hung").state, guest(host, "hung").sample) == (GuestState.RUNNING, None)
        before = guest(host, "fine").sample
        await reach.when(lambda host: guest(host, "fine").sample not in (before, None), 30)
        await reach.client.call("lab", Suspend(uuid=fine), timeout_s=30)
        with pytest.raises(NotKnownDone, match="it is not known whether hung was paused"):
            await reach.client.call("lab", Suspend(uuid=hung), timeout_s=3)
        await reach.client.call("lab", Resume(uuid=fine), timeout_s=30)
    finally:
        await asyncio.to_thread(signal, "CONT")
    await reach.when(lambda host: guest(host, "hung").answers and guest(host, "hung").sample is not None, 60)
