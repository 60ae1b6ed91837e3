"""The lab itself: real guests boot in it, are measured and stopped, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import libvirt
import pexpect
import pytest

from console.inventory.files import read_inventory
from tests.lab.guests import (
    BOOTED,
    LAB_COMMAND,
    Lab,
    booted_line,
    cdrom,
    domain_xml,
    eventually,
    kernel_boot,
    lab_command,
    overlay_disk,
    started,
)

pytestmark = pytest.mark.lab

SPACES = ("net", "mnt", "pid", "uts", "ipc")


def test_a_guest_boots_gets_an_address_and_stops_when_asked(lab: Lab, connection: libvirt.virConnect) -> None:
    xml = domain_xml(
        "hello",
        mac="52:54:00:77:00:01",
        log=lab.dir / "hello.log",
        os=kernel_boot(lab, "qd.name=hello"),
    )
    domain = connection.defineXML(xml)
    virsh = f"virsh --connect {lab.uri} start hello --console"
    with pexpect.spawn(virsh, encoding="utf-8", codec_errors="replace", timeout=60) as console:
        console.logfile_read = sys.stdout
        console.expect(rf"{BOOTED}hello address ([0-9.]+)/24 uuid {domain.UUIDString()} ")
        address = console.match[1]
        console.sendline("echo answer $((6 * 7))")
        console.expect("answer 42")

        # The guest has its address a moment before the host has written its lease down.
        leases = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
        (leased,) = eventually(lambda: domain.interfaceAddresses(leases) or None, "the lease").values()
        assert [entry["addr"] for entry in leased["addrs"]] == [address]
        memory = eventually(lambda: _if_has(domain.memoryStats(), "available"), "balloon statistics")
        assert 64 * 1024 < memory["available"] < 128 * 1024

        domain.shutdown()
        console.expect("power button, switching off")
    eventually(lambda: not domain.isActive(), "the guest is off", 20)


def _if_has(stats: dict[str, int], key: str) -> dict[str, int] | None:
    return stats if key in stats else None


def test_a_fixed_address_is_taken(lab: Lab, connection: libvirt.virConnect) -> None:
    _, log = started(lab, connection, "fixed", kernel_boot(lab, "qd.name=fixed qd.ip=10.77.0.51/24"), 2)
    assert booted_line(log).startswith("fixed address 10.77.0.51/24 ")
    ping = subprocess.run(
        [*_in_lab(lab), "busybox", "ping", "-c", "1", "-w", "10", "10.77.0.51"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert ping.returncode == 0, ping.stdout


def _in_lab(lab: Lab) -> list[str]:
    return [str(LAB_COMMAND), "exec", "--dir", str(lab.dir), "lab-a"]


def test_a_burning_guest_is_seen_and_its_neighbour_is_not(lab: Lab, connection: libvirt.virConnect) -> None:
    logs = [
        started(lab, connection, "burner", kernel_boot(lab, "qd.name=burner qd.burn=1"), 3)[1],
        started(lab, connection, "idler", kernel_boot(lab, "qd.name=idler"), 4)[1],
    ]
    for log in logs:
        booted_line(log)

    before, since = _cpu_time_ns(connection), time.monotonic()

    def apart() -> tuple[float, float] | None:
        nonlocal before, since
        if (span_s := time.monotonic() - since) < 1:
            return None
        now = _cpu_time_ns(connection)
        busy, idle = ((now[name] - before[name]) / 1e7 / span_s for name in ("burner", "idler"))
        print(f"burner {busy:.0f} %, idler {idle:.0f} %")
        before, since = now, time.monotonic()
        return (busy, idle) if busy > 80 and idle < 20 else None

    eventually(apart, "one guest burns a CPU and the other does not", 30)


def _cpu_time_ns(connection: libvirt.virConnect) -> dict[str, int]:
    stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_CPU_TOTAL)
    return {domain.name(): facts["cpu.time"] for domain, facts in stats}


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
@pytest.mark.parametrize("medium", ["disk", "cdrom"])
def test_the_images_boot_by_themselves(lab: Lab, connection: libvirt.virConnect, medium: str, uefi: bool) -> None:
    name = f"{medium}-{'uefi' if uefi else 'bios'}"
    disk = overlay_disk(lab, connection, f"{name}.qcow2") if medium == "disk" else cdrom(lab)
    boot = "<boot dev='hd'/>" if medium == "disk" else "<boot dev='cdrom'/>"
    domain, log = started(lab, connection, name, boot, 5 + uefi, disk=disk, uefi=uefi)
    assert f" uuid {domain.UUIDString()} " in booted_line(log)


def test_the_inventory_is_valid_committed_and_kept(lab: Lab) -> None:
    fleet = read_inventory(lab.inventory).fleet
    assert fleet.name == "lab"
    assert {name: (host.uri, host.ssh_host_key) for name, host in fleet.hosts.items()} == {
        name: (lab.ssh_uris[name], lab.host_keys[name]) for name in ("lab-a", "lab-b")
    }
    assert (fleet.ssh.identity, fleet.ssh.agent) == (str(lab.identity), False)
    assert fleet.pools["default"].path == str(lab.pool_path)
    git = ["git", "-C", str(lab.inventory)]
    assert subprocess.check_output([*git, "status", "--porcelain"]) == b""
    assert subprocess.check_output([*git, "rev-list", "--count", "HEAD"]) == b"1\n"

    ours = lab.inventory / "hosts/lab-a.toml"
    original = ours.read_text()
    ours.write_text(f"# mine\n{original}")
    assert "already up" in lab_command("up", lab.dir)
    assert ours.read_text() == f"# mine\n{original}"
    ours.write_text(original)


def test_a_second_lab_lives_beside_the_first_and_leaves_nothing(lab: Lab) -> None:
    interfaces = _interfaces()
    folder = Path(tempfile.mkdtemp(prefix="qdlab-", dir="/tmp"))
    try:
        lab_command("up", folder)
        second = Lab.of(folder)
        spaces = [space for process in _processes_1(folder) for space in _spaces_of(str(process))]
        assert len(set(spaces)) == 2 * len(SPACES)
        assert not set(spaces) & set(_spaces_of("self"))
        switch = json.loads((folder / "switch/process.json").read_text())["pid"]
        spaces.append(Path(f"/proc/{switch}/ns/net").readlink())
        assert spaces[-1] not in [*spaces[:-1], Path("/proc/self/ns/net").readlink()]

        connection = libvirt.open(second.uri)
        started(second, connection, "hello", kernel_boot(second, "qd.name=hello"), 1)
        connection.close()
        # The switch; per host unshare (which waits outside), process 1, libvirtd, sshd, two of dnsmasq; one QEMU
        assert len(_processes_in(spaces)) >= 12
        assert _interfaces() == interfaces
    finally:
        lab_command("down", folder, "--purge")

    assert _processes_in(spaces) == []
    assert not folder.exists()
    assert _interfaces() == interfaces
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    for uri in second.ssh_uris.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(uri).port or 0), 5)
    assert "lab-a is up" in lab_command("status", lab.dir)


def _interfaces() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


def _processes_1(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\(process (\d+)\)", lab_command("status", folder))]


def _spaces_of(process: str) -> list[Path]:
    """The namespaces of a process: `net:[4026532295]` and so on. OSError when it has ended."""
    return [Path(f"/proc/{process}/ns/{space}").readlink() for space in SPACES]


def _processes_in(spaces: list[Path]) -> list[str]:
    """The processes that live in one of these namespaces; a namespace without one, or a mount, is gone."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if set(spaces) & set(_spaces_of(process.name)):
                found.append(process.name)
    return found


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("/tmp/" + "long" * 30, "too long for a unix socket"), ("/tmp/qd lab", "no folder for a lab"),
     ("/etc", "holds something that is not a lab")],
)  # fmt: skip
def test_a_folder_that_cannot_be_a_lab_is_refused(can_run_labs: None, folder: str, reason: str) -> None:
    refused = subprocess.run([LAB_COMMAND, "up", "--dir", folder], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "Traceback" not in refused.stderr
