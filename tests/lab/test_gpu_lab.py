"""Devices passed through for real: a host with an IOMMU, whose guests run under its KVM and get its devices.

What it cannot show: NVIDIA's cards, devices that do not reset, option ROMs, large memory regions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from console.domain.errors import FleetError
from console.domain.model import Accel
from console.domain.verbs import Start
from console.drivers.base import HostTarget
from console.drivers.libvirt.client import LibvirtClient
from tests.lab.guests import LAB_COMMAND, eventually
from tests.lab.serial import read_until
from tests.nix.test_library import evaluated, of
from tests.pty.place import end, libvirt_processes

pytestmark = [pytest.mark.lab, pytest.mark.slow]

DISPLAY, SECOND_DISPLAY, NVME = "0000:01:00", "0000:02:00", "0000:03:00"
CARD, VIRTUAL = "0000:04:00.0", "0000:04:10"
"""The network card, and the slot of its first virtual functions, 0 and 2."""
DRIVERS = {f"{DISPLAY}.0": "bochs-drm", f"{DISPLAY}.1": "snd_hda_intel", f"{NVME}.0": "nvme"}
MARKER = "quarterdeck marker on the disk"
END = "quarterdeck guest booted: devices end"


def gpu(action: str, folder: Path, *words: str, status: int = 0) -> str:
    """What `demo/lab gpu ACTION` prints."""
    call = [LAB_COMMAND, "gpu", action, "--dir", folder, *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == status, f"demo/lab gpu {action}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class GpuHost:
    """The GPU host, up, and `qd` on its inventory. paths: as `demo/lab gpu paths` tells them."""

    folder: Path
    paths: Mapping[str, str]
    environment: Mapping[str, str]

    def qd(self, *arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "console", "--inventory", self.paths["inventory"], *arguments]
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, check=False)
        assert done.returncode == status, f"qd {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def inside(self, command: str) -> str:
        return gpu("exec", self.folder, "sh", "-c", command)

    def driver(self, address: str) -> str:
        """The driver that a function has on the host."""
        return self.inside(f"basename $(readlink /sys/bus/pci/devices/{address}/driver)").strip()

    def drivers(self) -> dict[str, str]:
        """Those of each function of DRIVERS."""
        links = " ".join(f"/sys/bus/pci/devices/{address}/driver" for address in DRIVERS)
        found = self.inside(f"readlink {links}").splitlines()
        return {address: link.rpartition("/")[2] for address, link in zip(DRIVERS, found, strict=True)}

    def create(self, name: str, *more: str, status: int = 0) -> str:
        boot = ["--kernel", self.paths["kernel"], "--initrd", self.paths["initrd"], "--cmdline", self.paths["cmdline"]]
        size = ["--vcpus", "1", "--memory", "192MiB", "--network", "none"]
        return self.qd("guest", "create", name, "--host", "gpu-a", *size, *boot, *more, status=status)

    def identity(self, address: str) -> str:
        """The vendor and device id of a function."""
        vendor, device = self.inside(f"cd /sys/bus/pci/devices/{address} && cat vendor device").split()
        return f"{vendor[2:]}:{device[2:]}"

    @property
    def uri(self) -> str:
        """Its libvirtd for the test's own use, through ssh with the pinned key."""
        options = f"-i {self.paths['identity']} -o IdentitiesOnly=yes -o UserKnownHostsFile={self.paths['known_hosts']}"
        command = self.folder / "ssh.sh"
        command.write_text(f'#!/bin/sh\nexec ssh -F none -o BatchMode=yes {options} "$@"\n')
        command.chmod(0o755)
        return f"{self.paths['uri']}?command={command}"

    def refusal(self, guest: str) -> FleetError:
        """What the libvirt driver says of a start that the preflight was not asked about."""
        return asyncio.run(self._refusal(guest))

    async def _refusal(self, guest: str) -> FleetError:
        client = LibvirtClient(self.folder.parent / "below", "")
        try:
            await client.set_targets((HostTarget(name="gpu-a", uri=self.uri, accel=Accel.KVM),))
            seen = await client.observe("gpu-a", timeout_s=60)
            (uuid,) = (each.uuid for each in seen.guests if each.name == guest)
            with pytest.raises(FleetError) as refused:
                await client.call("gpu-a", Start(uuid=uuid), timeout_s=240)
            return refused.value
        finally:
            await client.close()

    @property
    def file(self) -> Path:
        """Its file in the inventory."""
        return Path(self.paths["inventory"], "hosts/gpu-a.toml")

    def add_device(self, guest: str, name: str, slot: str, *functions: str, more: str = "") -> None:
        """Write a device of a guest into the inventory, as an editor would."""
        device = f'[guests.{guest}.devices.{name}]\npci = "{slot}"\nfunctions = {json.dumps(functions)}\n'
        self.file.write_text(f"{self.file.read_text()}\n{device}{more}\n")

    def part_cards(self, status: int = 0) -> str:
        """What the host's own service says, which at each boot of NixOS parts the cards as the inventory has it."""
        if shutil.which("nix-instantiate") is None:
            pytest.skip("nix-instantiate is missing: install nix-bin")
        self.qd("generate")
        service = f"{of('gpu-a')}.settings.systemd.services.fleet-parts"
        script = evaluated(f"{service}.script", Path(self.paths["inventory"]))
        return gpu("exec", self.folder, "bash", "-ec", f"exec 2>&1\n{script}", status=status)

    def parts_free(self, slot: str) -> dict[str, int]:
        """How many mediated devices of each type a card could still make."""
        first, *_ = json.loads(self.qd("gpu", "show", f"gpu-a/{slot}", "--json"))["functions"]
        return {kind["id"]: kind["available"] for kind in first["mdev_types"]}


@pytest.fixture(scope="module")
def host(can_run_labs: None) -> Iterator[GpuHost]:
    with powered() as made:
        yield made


@contextlib.contextmanager
def powered(*how: str) -> Iterator[GpuHost]:
    """A GPU host of its own. how: words for `demo/lab gpu up`."""
    built = subprocess.run([LAB_COMMAND, "gpu", "check"], capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(built.stderr.strip())
    folder = Path(tempfile.mkdtemp(prefix="qdgpu-", dir="/tmp"))  # short: sockets are made in it
    environment = dict(os.environ)
    for name in ("STATE_HOME", "RUNTIME_DIR", "CONFIG_HOME"):
        (folder / name).mkdir(mode=0o700)
        environment[f"XDG_{name}"] = str(folder / name)
    lab = folder / "lab"
    try:
        gpu("up", lab, *how)
        paths = dict(line.split(" ", 1) for line in gpu("paths", lab).splitlines())
        made = GpuHost(lab, paths, environment)
        # A host that computes its own processor takes its time for the first answer, and so does its trial guest.
        eventually(lambda: json.loads(made.qd("host", "list", "--json"))[0]["state"] == "up", "it is up", 120)
        yield made
    finally:
        for number in libvirt_processes(folder):
            end(number)
        gpu("down", lab)
        subprocess.run([LAB_COMMAND, "down", "--dir", lab, "--purge"], capture_output=True, check=False)
        shutil.rmtree(folder)


@pytest.fixture
def connection(host: GpuHost) -> Iterator[libvirt.virConnect]:
    opened = libvirt.open(host.uri)
    try:
        yield opened
        for domain in opened.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    finally:
        opened.close()


def test_the_facts_of_a_real_host(host: GpuHost) -> None:
    display, second = json.loads(host.qd("gpu", "list", "--json"))
    assert (display["slot"], second["slot"]) == (DISPLAY, SECOND_DISPLAY)
    assert [function["address"] for function in display["functions"]] == [f"{DISPLAY}.0", f"{DISPLAY}.1"]
    assert len({function["iommu_group"] for function in display["functions"]}) == 1
    assert [function["driver"] for function in display["functions"]] == ["bochs-drm", "snd_hda_intel"]
    assert (second["owner"], display["blocks"], second["blocks"]) == (None, [], [])
    # Found by trying, on a KVM that works; a host that computes its own processor takes its time for that.
    accel = eventually(lambda: json.loads(host.qd("host", "show", "gpu-a", "--json"))["accel"], "it was tried", 180)
    assert accel == "kvm"


def test_a_guest_gets_display_audio_and_disk_and_the_host_gets_them_back(
    host: GpuHost, connection: libvirt.virConnect
) -> None:
    assert host.drivers() == DRIVERS
    host.create("trainer", "--gpu", DISPLAY)
    host.add_device("trainer", "disk0", NVME, host.identity(f"{NVME}.0"))
    host.qd("apply", "trainer")
    host.qd("guest", "start", "trainer")
    assert set(host.drivers().values()) == {"vfio-pci"}
    said = read_until(connection, "trainer", END, timeout_s=240)
    assert "pci 0x1234 0x1111 0x038000 bochs-drm" in said
    assert "pci 0x8086 0x2668 0x040300 snd_hda_intel" in said
    assert f"nvme says {MARKER}" in said, "the disk was read by DMA, through the IOMMU"
    display, _ = json.loads(host.qd("gpu", "list", "--json"))
    assert display["owner"] == "gpu-a/trainer (running)"
    assert "is taken by gpu-a/trainer (running)" in host.create("second", "--gpu", DISPLAY, status=1)
    by_hand = connection.lookupByName("trainer").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    connection.defineXML(re.sub("<uuid>.*</uuid>", "", by_hand.replace("<name>trainer<", "<name>second<")))
    refused = host.refusal("second")
    assert refused.title == "second was not started"
    assert refused.detail.startswith(f"PCI device {DISPLAY}.0 is in use by trainer.")
    assert refused.hint == "Shut that guest down, or choose another device."
    host.qd("guest", "force-off", "trainer")
    assert host.drivers() == DRIVERS
    host.qd("guest", "remove", "trainer")


def test_a_device_comes_to_a_running_guest_and_goes(host: GpuHost, connection: libvirt.virConnect) -> None:
    host.create("plug", "--start")
    read_until(connection, "plug", END, timeout_s=240)
    host.qd("guest", "set", "plug", "--gpu", SECOND_DISPLAY, "--apply", "live")
    assert host.driver(f"{SECOND_DISPLAY}.0") == "vfio-pci"
    read_until(connection, "plug", "pci 0x1234 0x1111", timeout_s=120)
    host.qd("guest", "set", "plug", "--gpu", "none", "--apply", "live")
    eventually(lambda: host.driver(f"{SECOND_DISPLAY}.0") == "bochs-drm", "the host has it back", 60)
    host.qd("guest", "force-off", "plug")
    host.qd("guest", "remove", "plug")


@pytest.mark.nix
def test_a_guest_gets_parts_of_cards(host: GpuHost, connection: libvirt.virConnect) -> None:
    free = {"bochs-drm-large": 4, "bochs-drm-medium": 16, "bochs-drm-small": 64}
    assert host.parts_free(SECOND_DISPLAY) == free
    host.create("parted")
    host.add_device("parted", "part0", SECOND_DISPLAY, "1234:1111", more='mdev = "bochs-drm-small"')
    host.qd("gpu", "vfs", f"gpu-a/{CARD}", "2")
    port = f'function_numbers = [2]\nvirtual_of = "{CARD}"'
    host.add_device("parted", "port0", VIRTUAL, "8086:10ca", more=port)
    host.qd("apply", "parted")
    assert f"{VIRTUAL} on gpu-a holds nothing" in host.qd("guest", "start", "parted", status=1)
    assert host.part_cards() == ""
    assert host.parts_free(SECOND_DISPLAY) == {kind: count - 1 for kind, count in free.items()}
    host.qd("guest", "start", "parted")
    said = read_until(connection, "parted", END, timeout_s=240)
    assert "pci 0x1234 0x1111 0x038000 bochs-drm" in said
    assert "pci 0x8086 0x10ca 0x020000 igbvf" in said
    assert host.driver(f"{SECOND_DISPLAY}.0") == "bochs-drm", "the card stays with the host"
    assert host.driver(f"{VIRTUAL}.2") == "vfio-pci"

    # The kernel would take it from the running guest without a word. Nobody gets there but with an editor.
    assert f"parted (running) has {VIRTUAL}.2, which" in host.qd("gpu", "vfs", f"gpu-a/{CARD}", "1", status=1)
    host.file.write_text(host.file.read_text().replace(f'"{CARD}" = 2', f'"{CARD}" = 1'))
    assert (
        host.part_cards(status=1) == f"fleet: {CARD} has 2 virtual functions and is to have 1: that needs a reboot.\n"
    )
    lost = "from the next boot of gpu-a on there is one"
    assert lost in host.qd("plan", "gpu-a")
    assert lost in (preflight := host.qd("gpu", "preflight", "parted"))
    assert f"{CARD}: sriov_numvfs = 2 of 7" in preflight
    assert host.driver(f"{VIRTUAL}.2") == "vfio-pci"

    host.qd("guest", "force-off", "parted")
    assert host.driver(f"{VIRTUAL}.2") == "igbvf"
    host.inside("echo 1 | tee /sys/bus/mdev/devices/*/remove")  # as the host's next boot would
    assert host.parts_free(SECOND_DISPLAY) == free
    refused = host.refusal("parted")
    assert re.match(r"Mediated device \S+ does not exist on the host.", refused.detail)
    assert refused.hint.startswith("Have the host make it")
    host.qd("guest", "remove", "parted")


@pytest.mark.parametrize(
    ("name", "slot", "first", "then", "way_out"),
    [
        ("gone", "0000:0a:00", "0000:0a:00 on gpu-a holds nothing", "of them is mostly not there", "Look at the guest"),
        ("half", DISPLAY, "the hardware changed", "is still on a driver of the host", "A group goes to a guest whole"),
    ],
)
def test_what_would_fail_is_refused_before_libvirt_is_asked_and_by_libvirt_in_the_end(
    host: GpuHost, name: str, slot: str, first: str, then: str, way_out: str
) -> None:
    host.create(name)
    host.add_device(name, "gpu0", slot, "1234:1111")
    host.qd("apply", name)
    assert first in host.qd("guest", "start", name, status=1)
    refused = host.refusal(name)
    assert refused.title == f"{name} was not started"
    assert then in refused.detail
    assert refused.hint.startswith(way_out)
    assert host.drivers() == DRIVERS, "what libvirt took is given back"
    host.qd("guest", "remove", name)


def test_a_host_without_iommu(can_run_labs: None) -> None:
    with powered("--no-iommu") as host:
        host.file.write_text(f'{host.file.read_text()}\n[guests.bare]\nvcpus = 1\nmemory = "192 MiB"\n')
        host.add_device("bare", "disk0", NVME, host.identity(f"{NVME}.0"))
        host.qd("apply", "bare")
        assert "The IOMMU of gpu-a is off" in host.qd("guest", "start", "bare", status=1)
        refused = host.refusal("bare")
        assert refused.detail.startswith("The host's IOMMU is off")
        assert "IOMMU in the host's kernel parameters" in refused.hint
