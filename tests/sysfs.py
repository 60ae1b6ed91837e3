"""Trees of /sys and /proc as kernels make them, for hosts that nobody has at hand; read by the real script."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from console.domain.hardware import HostHardware
from console.drivers.sysfs.parse import parse_hardware

SCRIPT = Path(__file__).parent.parent / "console/drivers/sysfs/read.sh"
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, kw_only=True)
class Pci:
    """One function of a tree. behind: the bridge above it. bars: sizes in bytes. files: further files by path."""

    address: str
    id: str
    kind: int
    subsystem: str = "0000:0000"
    driver: str = ""
    group: int | None = None
    behind: str = ""
    node: int = -1
    cpus: str = "0-7"
    bars: tuple[int, ...] = ()
    resets: str = "flr bus"
    boot_vga: int | None = None
    rom: bool = False
    net: str = ""
    disk: str = ""
    drm: str = ""
    files: dict[str, str] = field(default_factory=dict)
    virtual: tuple[str, ...] = ()
    physical: str = ""


class Tree:
    """A root with sys and proc below `folder`; `read` runs the real script on it."""

    def __init__(self, folder: Path, devices: list[Pci], *, cpu: str = "GenuineIntel", iommu: bool = True) -> None:
        self.root = folder
        self.environment = {"PATH": os.environ["PATH"], "SYSROOT": str(folder)}
        (folder / "sys/bus/pci/devices").mkdir(parents=True)
        self.write("proc/self/mountinfo", "")
        self.write("proc/sys/kernel/osrelease", "6.12.8\n")
        self.write("proc/cmdline", "init=/nix/store/x-nixos/init intel_iommu=on\n")
        self.write("proc/cpuinfo", f"vendor_id\t: {cpu}\naddress sizes\t: 46 bits physical, 48 bits virtual\n")
        self.memory(100 * GIB)
        self.write("proc/interrupts", "           CPU0\n 1:  9  IR-IO-APIC    1-edge  i8042\n")
        for device in devices:
            self._add(device, iommu)

    def write(self, path: str, text: str) -> None:
        """The file is there."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def link(self, path: str, target: str) -> None:
        """A relative link is there, as the kernel makes them."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(self.root / target, place.parent))

    def memory(self, available_bytes: int) -> None:
        """So much memory is free."""
        self.write("proc/meminfo", f"MemTotal: 201326592 kB\nMemAvailable: {available_bytes // 1024} kB\n")

    def node(self, number: int, cpus: str, *, hugepages: tuple[int, int] = (0, 0)) -> None:
        """There is a NUMA node with so many huge pages of 1 GiB (all, free)."""
        base = f"sys/devices/system/node/node{number}"
        self.write(f"{base}/cpulist", f"{cpus}\n")
        self.write(f"{base}/meminfo", f"Node {number} MemTotal:       100663296 kB\n")
        for name, count in zip(("nr_hugepages", "free_hugepages"), hugepages, strict=True):
            self.write(f"{base}/hugepages/hugepages-1048576kB/{name}", f"{count}\n")

    def mount(self, place: str, disk: str, number: str) -> None:
        """A file system on a disk of the tree is mounted there."""
        path = self.root / "proc/self/mountinfo"
        path.write_text(path.read_text() + f"30 1 {number} / {place} rw - ext4 /dev/{disk} rw\n")

    def process(self, pid: int, name: str, *files: str) -> None:
        """A process holds these device files."""
        self.write(f"proc/{pid}/comm", f"{name}\n")
        (self.root / f"proc/{pid}/fd").mkdir()
        for number, file in enumerate(files):
            (self.root / f"proc/{pid}/fd/{number}").symlink_to(file)

    def reached_through(self, interface: str) -> None:
        """The SSH connection comes in there."""
        tool = self.root / "bin/ip"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho '192.0.2.9 dev {interface} src 192.0.2.1 uid 0'\n")
        tool.chmod(0o755)
        self.environment |= {"SSH_CONNECTION": "192.0.2.9 40000 192.0.2.1 22"}
        self.environment["PATH"] = f"{tool.parent}:{self.environment['PATH']}"

    def read(self) -> HostHardware:
        """Return what the script and the parser make of the tree."""
        said = subprocess.run(["sh", SCRIPT], env=self.environment, capture_output=True, text=True, check=True)
        assert said.stderr == ""
        return parse_hardware(said.stdout, NOW)

    def _add(self, device: Pci, iommu: bool) -> None:
        above = f"{device.behind}/" if device.behind else ""
        place = f"sys/devices/pci0000:00/{above}{device.address}"
        vendor, product = device.id.split(":")
        sub_vendor, sub_product = device.subsystem.split(":")
        files = {
            "vendor": f"0x{vendor}",
            "device": f"0x{product}",
            "subsystem_vendor": f"0x{sub_vendor}",
            "subsystem_device": f"0x{sub_product}",
            "class": f"0x{device.kind:06x}",
            "numa_node": str(device.node),
            "local_cpulist": device.cpus,
            "d3cold_allowed": "1",
            "driver_override": "(null)",
            "reset_method": device.resets,
            "resource": "\n".join(self._regions(device.bars)),
            **({} if device.boot_vga is None else {"boot_vga": str(device.boot_vga)}),
            **({"rom": ""} if device.rom else {}),
            **device.files,
        }
        for name, text in files.items():
            self.write(f"{place}/{name}", f"{text}\n")
        self.link(f"sys/bus/pci/devices/{device.address}", place)
        if device.driver:
            self.link(f"{place}/driver", f"sys/bus/pci/drivers/{device.driver}")
        if iommu and device.group is not None:
            self.link(f"{place}/iommu_group", f"sys/kernel/iommu_groups/{device.group}")
            self.link(f"sys/kernel/iommu_groups/{device.group}/devices/{device.address}", place)
        for number, other in enumerate(device.virtual):
            self.link(f"{place}/virtfn{number}", f"sys/devices/pci0000:00/{above}{other}")
        if device.physical:
            self.link(f"{place}/physfn", f"sys/devices/pci0000:00/{above}{device.physical}")
        if device.net:
            self._of_class("net", device.net, f"{place}/net/{device.net}")
        if device.drm:
            self._of_class("drm", device.drm, f"{place}/drm/{device.drm}")
        if device.disk:
            self._of_class("block", device.disk, f"{place}/nvme/nvme0/{device.disk}", dev="259:0")
            part = f"{device.disk}p2"
            self._of_class("block", part, f"{place}/nvme/nvme0/{device.disk}/{part}", dev="259:2")

    def _of_class(self, kind: str, name: str, place: str, **files: str) -> None:
        (self.root / place).mkdir(parents=True)
        for file, text in files.items():
            self.write(f"{place}/{file}", f"{text}\n")
        self.link(f"sys/class/{kind}/{name}", place)

    @staticmethod
    def _regions(bars: tuple[int, ...]) -> list[str]:
        lines, start = [], 0x380000000000
        for size in bars:
            lines.append(f"0x{start:016x} 0x{start + size - 1:016x} 0x000000000014220c" if size else "0x0 0x0 0x0")
            start += max(size, GIB)
        return lines + ["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * (7 - len(bars))


BRIDGE = Pci(address="0000:00:01.0", id="8086:1901", kind=0x060400, group=1, driver="pcieport")


def rtx(bus: str, group: int, driver: str = "vfio-pci", **more: object) -> list[Pci]:
    """An RTX 3080 with its audio function, in a group of its own. more: what is other with its display function."""
    card = Pci(
        address=f"0000:{bus}:00.0",
        id="10de:2206",
        kind=0x030000,
        subsystem="10de:1467",
        driver=driver,
        group=group,
        behind=BRIDGE.address,
        bars=(16 * MIB, 256 * MIB, 0, 32 * MIB),
        boot_vga=0,
        rom=True,
        drm="card1" if driver == "nvidia" else "",
    )
    audio = Pci(
        address=f"0000:{bus}:00.1",
        id="10de:1aef",
        kind=0x040300,
        subsystem="10de:1467",
        driver="vfio-pci" if driver == "vfio-pci" else "snd_hda_intel",
        group=group,
        behind=BRIDGE.address,
        bars=(16 * 1024,),
    )
    return [replace(card, **more), audio]  # type: ignore[arg-type]


SCREEN = Pci(address="0000:03:00.0", id="1a03:2000", kind=0x030000, driver="ast", group=9, boot_vga=1)
NIC = Pci(address="0000:04:00.0", id="8086:1521", kind=0x020000, driver="igb", group=10, net="eno1")
DISK = Pci(address="0000:05:00.0", id="144d:a808", kind=0x010802, driver="nvme", group=11, disk="nvme0n1")
HOST = [BRIDGE, SCREEN, NIC, DISK]
"""What a server has besides its cards."""
