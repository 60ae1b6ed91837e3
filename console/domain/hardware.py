"""What a host's kernel says of its PCI devices and of itself: the facts that a passthrough stands or falls with.

Read on demand and whole, apart from the figures that are polled. None always means "not reported", never "no".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

VFIO_DRIVERS = frozenset({"vfio-pci", "nvgrace_gpu_vfio_pci", "mlx5_vfio_pci"})
"""Drivers that hold a device for guests."""

BRIDGE_CLASS = 0x06
DISPLAY_CLASS = 0x03
ACCELERATOR_CLASS = 0x12
AUDIO_CLASS = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One memory region of a device. resizable_bytes: the sizes it could have, none when it cannot be resized."""

    index: int
    size_bytes: int
    wide: bool = False
    resizable_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MdevType:
    """One kind of mediated device that a card can make. id such as "nvidia-63"."""

    id: str
    name: str = ""
    available: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VgpuType:
    """One NVIDIA vGPU type that a virtual function can take now (kernel 6.8 and later, without mdev)."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUser:
    """A process of the host that holds one of a device's files."""

    pid: int
    process: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much a card works for the host now, as far as its driver tells."""

    busy_percent: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    memory_used_bytes: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenByGuest:
    """What a guest's own agent says of a card that the guest has; it is the guest's word.

    driver: the guest's, "" when it is not told. use: how much the card works, None when no figure is told: why_not says
    then why, as a clause ("no agent answers").
    """

    driver: str = ""
    use: Use | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PciFunction:
    """One PCI function, whole.

    address: "0000:65:00.0". subsystem: "10de:1467", None where it has none. class_code: 24 bits. group: its IOMMU
    group. cpus: the CPUs near it as the kernel lists them ("0-7,16-23"). reset_methods: in the order the kernel
    would try them, empty when it knows none. physical: the function that this one is a virtual function of;
    virtual: its own virtual functions. power: the power state that the kernel tells ("D0", "D3hot", "D3cold",
    "unknown", "error"), "" where it does not. use: how much it works for the host, None where no driver tells.
    users: who holds it now; None when that could not be read (needs root).
    networks, disks: the host's interfaces and block devices behind it. carries: what of the host itself hangs on
    it, as sentences' ends ("the root file system (nvme0n1p2)").
    """

    address: str
    vendor_id: str
    device_id: str
    class_code: int
    subsystem: str | None = None
    vendor: str = ""
    product: str = ""
    driver: str | None = None
    driver_override: str | None = None
    group: int | None = None
    numa_node: int | None = None
    cpus: str = ""
    bars: tuple[Bar, ...] = ()
    reset_methods: tuple[str, ...] | None = None
    boot_vga: bool | None = None
    d3cold_allowed: bool | None = None
    power: str = ""
    use: Use | None = None
    has_rom: bool | None = None
    sriov_total: int = 0
    sriov_active: int = 0
    physical: str | None = None
    virtual: tuple[str, ...] = ()
    mdev_types: tuple[MdevType, ...] = ()
    mdevs: tuple[str, ...] = ()
    vgpu_types: tuple[VgpuType, ...] | None = None
    vgpu_current: int | None = None
    users: tuple[DeviceUser, ...] | None = None
    networks: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()

    @property
    def slot(self) -> str:
        """The slot without the function ("0000:65:00")."""
        return self.address.rpartition(".")[0]

    @property
    def number(self) -> int:
        """The function's number in its slot, 0 to 7."""
        return int(self.address.rpartition(".")[2])

    @property
    def pci_id(self) -> str:
        """vendor:device ("10de:2206")."""
        return f"{self.vendor_id}:{self.device_id}"

    @property
    def base_class(self) -> int:
        """The class without its subclass: 0x03 is a display."""
        return self.class_code >> 16

    @property
    def is_bridge(self) -> bool:
        """True for what other devices hang on; it belongs to no guest."""
        return self.base_class == BRIDGE_CLASS

    @property
    def is_accelerator(self) -> bool:
        """True for displays and processing accelerators."""
        return self.base_class in (DISPLAY_CLASS, ACCELERATOR_CLASS)

    @property
    def title(self) -> str:
        """What people call it: its names, or its id where nobody knows them."""
        return " ".join(part for part in (self.vendor, self.product) if part) or self.pci_id

    @property
    def memory_bytes(self) -> int:
        """The sum of its memory regions."""
        return sum(bar.size_bytes for bar in self.bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """Huge pages of one size on one NUMA node."""

    node: int
    size_kib: int
    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaNode:
    """One NUMA node. cpus: as the kernel lists them ("0-7,16-23")."""

    id: int
    cpus: str
    memory_kib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHardware:
    """What one host's kernel reported at one time.

    iommu: whether it has IOMMU groups. interrupt_remapping: None where the kernel does not tell (AMD). cpu_vendor:
    "GenuineIntel" or "AuthenticAMD". physical_bits: width of physical addresses. framebuffer: what draws the
    host's console before a real driver does ("efifb"), "" when nothing does. root_known: whether what is
    under the root file system was found. whole: False where the kernel was not asked: only libvirt told what it
    knows.
    """

    at: datetime
    functions: tuple[PciFunction, ...] = ()
    iommu: bool | None = None
    interrupt_remapping: bool | None = None
    unsafe_interrupts: bool | None = None
    kernel: str = ""
    cmdline: str = ""
    cpu_vendor: str = ""
    physical_bits: int | None = None
    memory_available_kib: int | None = None
    framebuffer: str = ""
    root_known: bool = False
    whole: bool = True
    nodes: tuple[NumaNode, ...] = ()
    hugepages: tuple[HugePages, ...] = ()

    def slot(self, slot: str) -> tuple[PciFunction, ...]:
        """Return the functions at a slot, by number."""
        start = f"{slot}."
        return tuple(function for function in self.functions if function.address.startswith(start))

    def group(self, number: int) -> tuple[PciFunction, ...]:
        """Return the members of an IOMMU group, by address."""
        return tuple(function for function in self.functions if function.group == number)


def cpu_list(cpus: Iterable[int]) -> str:
    """Return CPUs, ascending, as the kernel lists them ("0-3,8")."""
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1] = [parts[-1][0], cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def cpu_numbers(text: str) -> frozenset[int]:
    """Return the CPUs of a kernel list ("0-3,8"). Raises ValueError for another text."""
    found: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        low, high = int(first), int(last) if dash else int(first)
        if not 0 <= low <= high < 65536:
            raise ValueError(f"{part!r} is no range of CPUs.")
        found.update(range(low, high + 1))
    return frozenset(found)
