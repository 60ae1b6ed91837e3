"""What the lab can do to its hosts: cables cut, power lost, daemons killed; and that it mends all of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import libvirt
import pytest

from console.domain.model import GuestKey, Host, Ssh
from console.domain.observed import DownReason, HostState
from console.domain.ssh_key import fingerprint
from console.domain.standing import Standing
from console.domain.verbs import Define, Verb
from console.drivers.base import HostTarget
from console.drivers.git import Git
from console.drivers.libvirt.client import LibvirtClient
from console.drivers.ssh import OfferedHostKeys, ssh_options, wrapped_uri
from console.inventory.files import read_inventory
from console.services.session import Session
from console.services.wishes import BootChoice, GuestWish
from tests.drivers.world import World, until
from tests.fakes import FakeHardware, FakeRunner, FakeWatch
from tests.lab.guests import LAB_COMMAND, Lab, booted_line, eventually, kernel_boot, lab_command, started
from tests.pty.place import end, libvirt_processes

pytestmark = pytest.mark.lab

SILENCE_S = 2
"""An answer that is late by this much is taken for none: here it takes 1 ms."""


@pytest.fixture(scope="module")
def own(can_run_labs: None) -> Iterator[Lab]:
    """A lab of this module's own, since its hosts die."""
    folder = Path(tempfile.mkdtemp(prefix="qdlab-", dir="/tmp"))
    try:
        lab_command("up", folder)
        yield Lab.of(folder)
    finally:
        lab_command("down", folder, "--purge")


@pytest.fixture
def whole(own: Lab) -> Iterator[Lab]:
    """The lab, all of it up before the test, and again afterwards, without guests."""
    lab_command("up", own.dir)
    yield own
    lab_command("up", own.dir)
    for uri in own.uris.values():
        connection = libvirt.open(uri)
        for domain in connection.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        connection.close()


@pytest.fixture
async def world(own: Lab) -> AsyncIterator[World]:
    world = World(own.dir / "driver")
    try:
        yield world
    finally:
        await world.close()


def place_of(lab: Lab, name: str) -> tuple[str, int]:
    parts = urlsplit(lab.ssh_uris[name])
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def banner(way: socket.socket, timeout_s: float) -> bytes:
    way.settimeout(timeout_s)
    return way.recv(4)


def inventory_of(lab: Lab, name: str) -> tuple[Host, Ssh]:
    fleet = read_inventory(lab.inventory).fleet
    return fleet.hosts[name], fleet.ssh


def over_ssh(lab: Lab, name: str, folder: Path) -> str:
    """The libvirt URI with which the console itself goes to this host."""
    return wrapped_uri(*inventory_of(lab, name), folder)


def over_patient_ssh(lab: Lab, name: str, folder: Path) -> str:
    """The same, but for an ssh that waits for its peer for ever."""
    uri = over_ssh(lab, name, folder)
    wrapper = folder / f"{name}.ssh"
    impatient = wrapper.read_text()
    assert "ServerAliveInterval=5" in impatient
    wrapper.write_text(impatient.replace("ServerAliveInterval=5", "ServerAliveInterval=0"))
    return uri


def states(lab: Lab) -> list[str]:
    """What `status` says of each host, whatever its exit status is."""
    done = subprocess.run([LAB_COMMAND, "status", "--dir", lab.dir], capture_output=True, text=True, check=False)
    lines = [line.partition(" (process ")[0] for line in done.stdout.splitlines()]
    assert (done.returncode == 0) == all(line.endswith(" is up") for line in lines)
    return lines


def ssh(lab: Lab, host: Host, settings: Ssh, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"{host.name} {host.ssh_host_key}\n")
    address, port = place_of(lab, host.name)
    words = ["ssh", *ssh_options(host, settings, known_hosts), "-p", str(port), "-l", "root", address, *command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_ssh_leads_to_each_host_with_its_pinned_key_alone(whole: Lab, tmp_path: Path) -> None:
    for name in whole.hosts:
        host, settings = inventory_of(whole, name)
        assert ssh(whole, host, settings, tmp_path, "hostname").stdout == f"{name}\n"
        other = next(key for neighbour, key in whole.host_keys.items() if neighbour != name)
        refused = ssh(whole, replace(host, ssh_host_key=other), settings, tmp_path, "hostname")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert "Host key verification failed" in refused.stderr
        stranger = tmp_path / f"stranger-{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
        refused = ssh(whole, host, replace(settings, identity=str(stranger)), tmp_path, "hostname")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert "Permission denied" in refused.stderr


def test_the_hosts_root_is_not_the_machine_s(whole: Lab, tmp_path: Path) -> None:
    """What is logged in there reads and writes nothing of the real root's home, logs or accounts."""
    host, settings = inventory_of(whole, "lab-a")
    home = ssh(whole, host, settings, tmp_path, "cd; pwd; cat /etc/shadow; ls /var/log")
    assert home.stdout.splitlines() == ["/run/root", "root:*:19000:0:99999:7:::", "host.log", "libvirt", "sshd.log"]


async def test_the_console_s_libvirt_tells_a_wrong_key(whole: Lab, world: World) -> None:
    host, settings = inventory_of(whole, "lab-a")
    wrong = replace(host, ssh_host_key=whole.host_keys["lab-b"])
    client = world.client()
    await client.set_targets((HostTarget(name="lab-a", uri=wrapped_uri(wrong, settings, world.folder / "ssh")),))
    seen = (await until(client, lambda seen: seen["lab-a"].state is HostState.DOWN, 30))["lab-a"]
    assert seen.reason is DownReason.HOST_KEY


def test_in_a_partition_nothing_is_answered_until_it_heals(whole: Lab, tmp_path: Path) -> None:
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(over_patient_ssh(whole, "lab-a", tmp_path / "ssh"))
    neighbour = libvirt.open(over_ssh(whole, "lab-b", tmp_path / "ssh"))
    with ThreadPoolExecutor(1) as thread:
        assert connection.getHostname() == "lab-a"
        lab_command("partition", whole.dir, "lab-a")
        try:
            assert states(whole) == ["lab-a is partitioned", "lab-b is up"]
            asked = thread.submit(connection.getHostname)
            with pytest.raises(TimeoutError):
                asked.result(SILENCE_S)
            with socket.create_connection(place_of(whole, "lab-a"), 5) as way:
                with pytest.raises(TimeoutError):
                    banner(way, SILENCE_S)
                assert neighbour.getHostname() == "lab-b"
                inside = [LAB_COMMAND, "exec", "--dir", whole.dir, "lab-a", "busybox", "ping", "-c", "1", "-W", "1"]
                for address in ("lab-b", "10.77.0.12"):
                    assert subprocess.run([*inside, address], capture_output=True, check=False).returncode != 0

                lab_command("heal", whole.dir, "lab-a")
                assert asked.result(60) == "lab-a"
                assert banner(way, 60) == b"SSH-"
        finally:
            lab_command("heal", whole.dir, "lab-a")  # else the thread would never end
    assert states(whole) == ["lab-a is up", "lab-b is up"]
    # The first packets may be lost: the neighbour's address, given up in the partition, is asked for again.
    pings = (subprocess.run([*inside, "lab-b"], capture_output=True, check=False).returncode for _ in range(30))
    assert any(status == 0 for status in pings)
    connection.close()
    neighbour.close()


async def test_the_console_s_libvirt_meets_a_partition(whole: Lab, world: World) -> None:
    client = world.client()
    uris = {name: over_ssh(whole, name, world.folder / "ssh") for name in whole.hosts}
    await client.set_targets(tuple(HostTarget(name=name, uri=uri) for name, uri in uris.items()))
    await until(client, lambda seen: all(seen[n].state is HostState.UP for n in whole.hosts if n in seen), 30)
    await client.observe("lab-b", timeout_s=20)
    lab_command("partition", whole.dir, "lab-a")
    cut = await until(client, lambda seen: seen["lab-a"].state is HostState.DOWN, 40)
    assert cut["lab-a"].reason is DownReason.SILENT
    assert (await client.observe("lab-b", timeout_s=20)).state is HostState.UP
    lab_command("heal", whole.dir, "lab-a")
    await until(client, lambda seen: seen["lab-a"].state is HostState.UP, 60)


def test_power_that_is_lost_says_no_goodbye_and_comes_back(whole: Lab) -> None:
    connection = libvirt.open(whole.uris["lab-b"])
    domain, log = started(whole, connection, "lost", kernel_boot(whole, "qd.name=lost"), 1)
    booted_line(log)
    with socket.create_connection(place_of(whole, "lab-b"), 5) as way:
        assert banner(way, 10) == b"SSH-"
        way.recv(1000)
        lab_command("kill", whole.dir, "lab-b")
        assert states(whole) == ["lab-a is up", "lab-b is down"]
        with pytest.raises(TimeoutError):
            banner(way, SILENCE_S)
        with socket.create_connection(place_of(whole, "lab-b"), 5) as late, pytest.raises(TimeoutError):
            banner(late, SILENCE_S)
        refused = [LAB_COMMAND, "kill", "--dir", whole.dir, "lab-b"]
        again = subprocess.run(refused, capture_output=True, text=True, check=False)
        assert (again.returncode, again.stderr) == (1, "demo/lab: lab-b is down. Run: demo/lab start lab-b\n")
    with pytest.raises(libvirt.libvirtError):
        domain.info()
    connection.close()

    assert "lab-b is up" in lab_command("start", whole.dir, "lab-b")
    assert "already up" in lab_command("start", whole.dir, "lab-b")
    with socket.create_connection(place_of(whole, "lab-b"), 5) as way:
        assert banner(way, 10) == b"SSH-"
    connection = libvirt.open(whole.uris["lab-b"])
    assert [(found.name(), found.isActive()) for found in connection.listAllDomains()] == [("lost", 0)]
    connection.close()


def test_a_new_daemon_finds_the_guests_of_the_old_one(whole: Lab) -> None:
    connection = libvirt.open(whole.uri)
    domain, log = started(whole, connection, "survivor", kernel_boot(whole, "qd.name=survivor"), 2)
    booted_line(log)
    identity = domain.UUIDString()
    connection.close()
    before = pids(whole)
    assert "new libvirtd" in lab_command("restart-daemon", whole.dir, "lab-a")
    after = pids(whole)
    assert after["qemu-system-x86_64"] == before["qemu-system-x86_64"] != ""
    assert after["libvirtd"] != before["libvirtd"]
    connection = libvirt.open(whole.uri)
    assert connection.lookupByUUIDString(identity).isActive()
    assert connection.networkLookupByName("lan").isActive()
    connection.close()


def pids(lab: Lab) -> dict[str, str]:
    return {name: lab_command("exec", lab.dir, "lab-a", "pidof", name) for name in ("libvirtd", "qemu-system-x86_64")}


def test_up_mends_what_is_down_and_nothing_else(whole: Lab) -> None:
    connection = libvirt.open(whole.uri)
    domain, _ = started(whole, connection, "untouched", kernel_boot(whole, "qd.name=untouched"), 3)
    first = pids(whole)
    lab_command("partition", whole.dir, "lab-a")
    os.kill(json.loads((whole.dir / "lab-b/process.json").read_text())["pid"], 9)
    eventually(lambda: states(whole) == ["lab-a is partitioned", "lab-b is down"], "the death is noticed", 20)
    said = lab_command("up", whole.dir)
    assert "lab-b started, lab-a reconnected" in said
    assert states(whole) == ["lab-a is up", "lab-b is up"]

    switch = json.loads((whole.dir / "switch/process.json").read_text())["pid"]
    os.kill(switch, 9)
    eventually(lambda: states(whole)[0] == "lab-a is up, but the switch is down", "the switch is missed", 20)
    assert "lab-a reconnected, lab-b reconnected" in lab_command("up", whole.dir)
    assert Lab.of(whole.dir) == whole, "the ports are those that the inventory names"
    lab_command("exec", whole.dir, "lab-a", "busybox", "ping", "-c", "1", "-w", "10", "10.77.0.12")

    assert pids(whole) == first
    assert domain.isActive()
    connection.close()


def test_the_hosts_share_a_network_and_lease_to_their_own_guests(whole: Lab) -> None:
    connection = libvirt.open(whole.uris["lab-b"])
    _, log = started(whole, connection, "far", kernel_boot(whole, "qd.name=far"), 4)
    address = booted_line(log).partition(" address ")[2].partition("/")[0]
    assert 150 <= int(address.rpartition(".")[2]) <= 199
    connection.close()
    lab_command("exec", whole.dir, "lab-a", "busybox", "ping", "-c", "1", "-w", "10", address)
    # Asked from lab-b's own bridge, where its own dnsmasq does not hear it, only lab-a could answer.
    ask = ["busybox", "udhcpc", "-i", "br0", "-f", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true"]
    command = [LAB_COMMAND, "exec", "--dir", whole.dir, "lab-b", *ask]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no lease" in asked.stderr
    assert asked.returncode == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("partition", "lab-z"), "no host 'lab-z'"),
        (("heal", "lab-a", "--dir", "/tmp/qd-no-such-lab"), "There is no lab in /tmp/qd-no-such-lab. Run: demo/lab up"),
    ],
)
def test_what_cannot_be_done_is_said(can_run_labs: None, words: tuple[str, ...], reason: str) -> None:
    refused = subprocess.run([LAB_COMMAND, *words], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "Traceback" not in refused.stderr


class Cutting:
    """The libvirt process as it is, but that a host's cable is cut just before the first domain is defined."""

    def __init__(self, lab: Lab, client: LibvirtClient) -> None:
        self._lab = lab
        self._client = client
        self.cut = False

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        if isinstance(verb, Define) and not self.cut:
            self.cut = True
            await asyncio.to_thread(lab_command, "partition", self._lab.dir, host)
        await self._client.call(host, verb, timeout_s=timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.fixture
async def session(whole: Lab) -> AsyncIterator[Session]:
    """The console's own session on a copy of the lab's inventory, over SSH, with every host up."""
    folder = Path(tempfile.mkdtemp(prefix="qdp-", dir="/tmp"))
    shutil.copytree(whole.inventory, folder / "inventory")
    client = Cutting(whole, LibvirtClient(folder / "r", str(folder / "inventory")))
    opened = Session(
        folder=folder / "inventory",
        state=folder / "STATE_HOME",
        hypervisors=client,
        repository=Git(),
        host_keys=OfferedHostKeys(),
        watch=FakeWatch(),
        targets=lambda fleet: tuple(
            HostTarget(name=host.name, uri=wrapped_uri(host, fleet.ssh, folder / "ssh"), accel=host.accel)
            for host in fleet.hosts.values()
        ),
        hardware=FakeHardware(),
        fingerprint=fingerprint,
        runner=FakeRunner(client, Git(), FakeHardware()),
    )
    await opened.start(follow=False)
    try:
        await opened.observe(whole.hosts, timeout_s=30)
        yield opened
    finally:
        lab_command("heal", whole.dir, "lab-a")
        await opened.close()
        for number in libvirt_processes(folder):
            end(number)
        shutil.rmtree(folder)


async def test_a_link_that_goes_down_in_a_create_leaves_the_guest_wanted_and_an_apply_finishes_it(
    whole: Lab, session: Session
) -> None:
    """The volume is made, then the cable is cut: nothing is done twice, and nothing is lost."""
    wish = GuestWish(
        host="lab-a",
        name="torn",
        vcpus="1",
        memory="128 MiB",
        disk="64 MiB",
        boot=BootChoice.KERNEL,
        kernel=str(whole.kernel),
        initrd=str(whole.initrd),
        cmdline=whole.cmdline,
    )
    outcome = await session.apply(session.plan_create(wish, start=False))
    assert not outcome.ok
    key = GuestKey("lab-a", "torn")
    connection = libvirt.open(whole.uri)  # past the partition
    assert connection.listAllDomains() == []
    assert session.store.observed("lab-a").state is HostState.DOWN
    wanted = [view.key for view in session.store.host("lab-a").guests]

    await asyncio.to_thread(lab_command, "heal", whole.dir, "lab-a")
    assert await session.store.wait_until(lambda store: store.observed("lab-a").state is HostState.UP, 60)
    if key not in wanted:  # it was taken back: then it can be said again
        assert not outcome.left, "what was taken back left something"
        outcome = await session.apply(session.plan_create(wish, start=False))
    else:
        assert session.store.guest(key).standing is Standing.PENDING
        outcome = await session.apply(session.plan_fleet(guest=key))
    assert outcome.ok, outcome
    assert [domain.name() for domain in connection.listAllDomains()] == ["torn"]
    pool = connection.storagePoolLookupByName("default")
    pool.refresh()
    assert [name for name in pool.listVolumes() if name.startswith("torn")] == ["torn-boot.qcow2"]
    assert session.plan_fleet(guest=key).is_empty, "nothing is left to do"
    pool.storageVolLookupByName("torn-boot.qcow2").delete()
    connection.close()
