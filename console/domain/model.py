"""What the operator wants: the inventory as frozen values. Names, MACs and addresses are canonical here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

V = TypeVar("V")

INVENTORY_VERSION = 1
"""The newest inventory format this code reads and the one it writes."""

EMPTY: Mapping[str, object] = MappingProxyType({})


class Kind(StrEnum):
    """What a guest is: a plain domain, or a machine of the flake."""

    PLAIN = "plain"
    NIXOS = "nixos"


class Firmware(StrEnum):
    """What the guest's virtual mainboard starts with."""

    BIOS = "bios"
    UEFI = "uefi"


class Display(StrEnum):
    """Where the guest's emulated screen goes."""

    NONE = "none"
    VNC = "vnc"


class Profile(StrEnum):
    """What a guest's virtual hardware is made for. WINDOWS: TPM, Secure Boot, Hyper-V's own interfaces, one socket."""

    GENERIC = "generic"
    WINDOWS = "windows"


class Accel(StrEnum):
    """How a host runs guests: in hardware, in software, or not at all (libvirt's test driver)."""

    KVM = "kvm"
    TCG = "tcg"
    TEST = "test"


class SourceKind(StrEnum):
    """What a disk is filled with when it is created."""

    EMPTY = "empty"
    IMAGE = "image"
    ISO = "iso"


class ImageMode(StrEnum):
    """How a disk uses its image: a full copy, or a qcow2 overlay that is backed by it."""

    COPY = "copy"
    OVERLAY = "overlay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a disk's content comes from.

    value: for an image the volume's name in the disk's pool; for an ISO a volume's name or an absolute path
    on the host; empty for an empty disk.
    """

    kind: SourceKind = SourceKind.EMPTY
    value: str = ""
    mode: ImageMode = ImageMode.OVERLAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One virtual disk, or a CD when its source is an ISO (then size_kib is 0 and nothing is created)."""

    name: str
    size_kib: int
    pool: str
    target: str
    source: Source = field(default_factory=Source)

    @property
    def is_cdrom(self) -> bool:
        """True for a read-only CD."""
        return self.source.kind is SourceKind.ISO


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One virtual network card; address is what the operator says it has ("10.0.0.51/24") or None.

    default_route: a NixOS guest with an address leaves by the gateway of this card's network, if that has one.
    """

    name: str
    network: str
    mac: str
    address: str | None = None
    default_route: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One passed-through PCI slot, all functions together; or one part of a card (a virtual function, a vGPU).

    pci: "0000:65:00"; "" while a resource is wished for and nothing was picked yet. functions: (vendor:device, ...)
    by function, frozen at create, so that a card that was swapped is noticed. function_numbers: the same
    functions' numbers (usually 0, 1, ...). resource: the name of fleet.toml that it was picked for, "" when an
    address was asked for. mdev: the type of a mediated device
    ("nvidia-63"), whose uuid mdev_uuid is; vgpu: NVIDIA's type on a virtual function. rom: "" for the card's own,
    "off", or an absolute path on the host. virtual_of: the function that it is a virtual function of, "" for none.
    accepted: the ids of the preflight's warnings that may stay.
    """

    name: str
    pci: str
    functions: tuple[str, ...] = ()
    function_numbers: tuple[int, ...] = ()
    gpu: bool = False
    resource: str = ""
    mdev: str = ""
    mdev_uuid: str = ""
    vgpu: int | None = None
    rom: str = ""
    virtual_of: str = ""
    accepted: tuple[str, ...] = ()

    @property
    def is_picked(self) -> bool:
        """False while a resource is wished for, and no device of the host was picked for it yet."""
        return bool(self.pci)

    @property
    def is_part(self) -> bool:
        """True for a mediated device or a vGPU: the card itself stays with its own driver."""
        return bool(self.mdev) or self.vgpu is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usb:
    """A USB device of the host that goes to the guest, wherever it is plugged in. id: "046d:c52b"."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Direct kernel boot: absolute paths on the host."""

    path: str
    initrd: str | None = None
    cmdline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One guest as it should be. `boot` holds "disk:NAME", "nic:NAME", "device:NAME", "usb:NAME" in the order to try.

    hugepages_kib: the size of the pages that back its memory, 0 for ordinary ones. cpus: the host's CPUs that its
    vCPUs are pinned to, one each ("16-23"), "" for none. numa: the host's NUMA node that its memory is from, None for
    any. hide_kvm: the guest is not told that it is one. extra_xml: more elements of the domain's <devices>.
    """

    name: str
    uuid: str
    vcpus: int
    memory_kib: int
    kind: Kind = Kind.PLAIN
    machine: str = "q35"
    firmware: Firmware = Firmware.BIOS
    display: Display = Display.NONE
    autostart: bool = False
    description: str = ""
    labels: tuple[str, ...] = ()
    boot: tuple[str, ...] = ()
    kernel: Kernel | None = None
    disks: Mapping[str, Disk] = field(default_factory=dict)
    nics: Mapping[str, Nic] = field(default_factory=dict)
    devices: Mapping[str, Device] = field(default_factory=dict)
    usb: Mapping[str, Usb] = field(default_factory=dict)
    profile: Profile = Profile.GENERIC
    hugepages_kib: int = 0
    cpus: str = ""
    numa: int | None = None
    hide_kvm: bool = False
    extra_xml: str = ""
    state_version: str | None = None
    netboot: str | None = None

    @property
    def is_whole(self) -> bool:
        """True once all that it wishes for by name has been picked: without its card it is not to be defined."""
        return all(device.is_picked for device in self.devices.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a host was seen to be made of, in short; compared on every contact.

    pci: slot -> vendor:device of each function ("0000:65:00" -> ("10de:2206", ...)); None when there is no report.
    """

    cpu: str | None = None
    memory_kib: int | None = None
    pci: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDevice:
    """A slot that its host keeps for itself: no guest gets it. containers: the host's containers may use it, by CDI.

    functions: (vendor:device, ...), as of a guest's device; empty where nobody wrote them down.
    """

    name: str
    pci: str
    functions: tuple[str, ...] = ()
    containers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One hypervisor and the guests whose home it is.

    address: interface address with prefix ("10.0.0.11/24"). uri: libvirt's, never with a query that weakens SSH.
    accel: None until it was found by trying. disk: where NixOS is installed, by a name that stays, never /dev/sda.
    uplinks: network -> MAC address of the card that carries it. netboot: the entry of fleet.toml that it boots.
    own: the devices that it keeps for itself. sriov: function ("0000:3b:00.0") -> how many virtual functions it has.
    """

    name: str
    mac: str
    address: str
    uri: str
    ssh_host_key: str | None = None
    accel: Accel | None = None
    labels: tuple[str, ...] = ()
    hardware: Hardware = field(default_factory=Hardware)
    guests: Mapping[str, Guest] = field(default_factory=dict)
    state_version: str | None = None
    system: str = "x86_64-linux"
    disk: str | None = None
    uplinks: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, OwnDevice] = field(default_factory=dict)
    sriov: Mapping[str, int] = field(default_factory=dict)
    netboot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that guests attach to: a bridge on each host."""

    name: str
    bridge: str
    subnet: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    vlan: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A name for devices that do as well as one another, whichever host they are in.

    id: vendor:device of the first function, "" where they are named by address. subsystem: of the same, "" for any.
    addresses: host -> slots ("0000:65:00") and single functions ("0000:3b:02.1").
    """

    name: str
    id: str = ""
    subsystem: str = ""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A storage pool that exists on each host: a directory of volumes."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person with access; labels limit the hosts (none = all)."""

    name: str
    keys: tuple[str, ...] = ()
    role: str = "viewer"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetbootEntry:
    """Something that machines can boot from the network: kernel and initrd, each a URL with its hash."""

    name: str
    kernel: str
    kernel_hash: str
    initrd: str | None = None
    initrd_hash: str | None = None
    cmdline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Netboot:
    """What answers machines that boot from the network. server: a host, None for nobody. network: None for its own."""

    server: str | None = None
    network: str | None = None
    entries: Mapping[str, NetbootEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How this console reaches hosts over SSH: explicit, never taken from the operator's own ssh_config."""

    identity: str | None = None
    agent: bool = True
    jump: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The whole inventory. `id` marks the domains that belong to it."""

    name: str
    id: str
    state_version: str = "25.11"
    ssh: Ssh = field(default_factory=Ssh)
    networks: Mapping[str, Network] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    netboot: Netboot = field(default_factory=Netboot)
    hosts: Mapping[str, Host] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class GuestKey:
    """The identity of a guest: its home host and its name there."""

    host: str
    guest: str

    def __str__(self) -> str:
        return f"{self.host}/{self.guest}"
