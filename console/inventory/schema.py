"""The inventory's TOML as pydantic models: the edge where files enter. `host_of` and `fleet_of` give the domain."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from console.domain import model, values
from console.inventory.device_schema import DeviceTable, OwnTable, ResourceTable, UsbTable, device_of
from console.inventory.kinds import (
    Address,
    Bridge,
    CpuList,
    ExtraXml,
    HostPath,
    Ip,
    Line,
    Mac,
    Name,
    PciFunction,
    PciId,
    PciSlot,
    Sha256,
    SizeKib,
    SshKey,
    StableDisk,
    Subnet,
    Table,
    Uri,
    Url,
    Uuid,
    sentence,
)


class SourceTable(Table):
    """Where a disk's content comes from: exactly one of image, iso, empty."""

    image: Line | None = None
    """A volume of the disk's pool that fills the disk."""
    mode: Literal["copy", "overlay"] = "overlay"
    """How the image is used: an overlay backed by it, or a full copy."""
    iso: Line | None = None
    """A CD image: a volume of the pool, or an absolute path on the host. The disk is a CD then."""
    empty: bool = False
    """The disk begins empty."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image is not None) + (self.iso is not None) + self.empty != 1:
            raise PydanticCustomError(
                "value", 'needs exactly one of image = "VOLUME", iso = "VOLUME or /path" or empty = true'
            )
        for parse, text in ((values.parse_volume, self.image), (values.parse_volume_or_path, self.iso)):
            if text is not None:
                sentence(parse)(text)
        return self

    def value(self) -> model.Source:
        """Return the domain's form."""
        if self.iso is not None:
            return model.Source(kind=model.SourceKind.ISO, value=self.iso)
        if self.image is not None:
            return model.Source(kind=model.SourceKind.IMAGE, value=self.image, mode=model.ImageMode(self.mode))
        return model.Source()


class DiskTable(Table):
    """[guests.NAME.disks.NAME]"""

    size: SizeKib | None = None
    """How large the disk is; a CD has none."""
    pool: Name = "default"
    """The storage pool that holds it."""
    target: Annotated[str, Field(pattern=r"^(vd|sd)[a-z]$")] | None = None
    """What the guest's bus calls it; chosen when left out."""
    source: SourceTable = Field(default_factory=lambda: SourceTable(empty=True))
    """What it is filled with when it is created; empty when left out."""

    @model_validator(mode="after")
    def _size(self) -> Self:
        if self.source.iso is None and self.size is None:
            raise PydanticCustomError("value", 'size is missing. Write size = "80 GiB"')
        if self.source.iso is not None and self.size is not None:
            raise PydanticCustomError("value", "a CD (source.iso) has no size of its own: take the size out")
        return self


class NicTable(Table):
    """[guests.NAME.nics.NAME]"""

    network: Name
    """A network of fleet.toml, or one that the host has."""
    mac: Mac | None = None
    """Its MAC address; derived from the names when left out, so that it never changes."""
    address: Address | None = None
    """The address that the guest has or is to have there; set inside NixOS guests alone."""
    default_route: bool = True
    """Whether a NixOS guest with an address leaves by this network's gateway: by one of its cards alone."""


class KernelTable(Table):
    """[guests.NAME.kernel]: direct kernel boot from files on the host."""

    path: HostPath
    """The kernel, a file on the host."""
    initrd: HostPath | None = None
    """The initial RAM disk, a file on the host."""
    cmdline: Line = ""
    """The kernel's command line."""


class GuestTable(Table):
    """[guests.NAME]"""

    uuid: Uuid | None = None
    """Who the guest is; derived from the names when left out."""
    kind: Literal["plain", "nixos"] = "plain"
    """A plain domain, or a NixOS machine of the flake."""
    vcpus: Annotated[int, Field(ge=1, le=1024)]
    """How many virtual CPUs."""
    memory: SizeKib
    """How much memory."""
    machine: Literal["q35"] = "q35"
    """The virtual mainboard."""
    firmware: Literal["bios", "uefi"] = "bios"
    """What it starts with."""
    display: Literal["none", "vnc"] = "none"
    """Where its emulated screen goes."""
    autostart: bool = False
    """It starts with its host."""
    description: Line = ""
    """A line for people."""
    labels: list[Name] = []
    """Words to filter by."""
    boot: list[Annotated[str, Field(pattern=r"^(disk|nic|device|usb):.+$")]] | None = None
    """What to boot from, in order: disk:NAME, nic:NAME, device:NAME, usb:NAME; the disks when left out."""
    kernel: KernelTable | None = None
    """Boot this kernel directly."""
    disks: dict[Name, DiskTable] = {}
    """Its disks and CDs, by name."""
    nics: dict[Name, NicTable] = {}
    """Its network cards, by name."""
    devices: dict[Name, DeviceTable] = {}
    """What of the host is passed through, by name."""
    usb: dict[Name, UsbTable] = {}
    """The host's USB devices that are passed through, by name."""
    profile: Literal["generic", "windows"] = "generic"
    """What its hardware is made for; "windows": TPM, Secure Boot and Hyper-V's interfaces, with UEFI."""
    hugepages: SizeKib | None = None
    """The size of the huge pages that its memory is made of: "2 MiB" or "1 GiB"; ordinary pages when left out."""
    cpus: CpuList = ""
    """The host's CPUs that its vCPUs are pinned to, one each: "16-23"."""
    numa: Annotated[int, Field(ge=0, le=1023)] | None = None
    """The host's NUMA node that its memory must be from."""
    hide_kvm: bool = False
    """It is not told that it is a guest: for NVIDIA's drivers before 465."""
    extra_xml: ExtraXml = ""
    """More elements for <devices> of its domain XML, as libvirt writes them."""
    state_version: Line | None = None
    """The NixOS release it was installed with (NixOS guests); never changed afterwards."""
    netboot: Name | None = None
    """What it boots from the network: an entry of [netboot.entries]."""


class HardwareTable(Table):
    """[hardware]"""

    cpu: Line | None = None
    """The CPU's model."""
    memory: SizeKib | None = None
    """How much memory it has."""
    pci: dict[PciSlot, list[PciId]] | None = None
    """Its PCI slots with the ids of their functions; what is passed through must be among them. Left out: unchecked."""


class HostTable(Table):
    """hosts/NAME.toml"""

    mac: Mac
    """The MAC address of its first network card."""
    address: Address
    """Its address on the management network."""
    uri: Uri | None = None
    """libvirt's URI; qemu+ssh://root@ADDRESS/system when left out."""
    ssh_host_key: SshKey | None = None
    """The host key that SSH must find. Without it an SSH host is never contacted."""
    accel: Literal["kvm", "tcg", "test"] | None = None
    """How it runs guests; found by trying, then kept."""
    labels: list[Name] = []
    """Words to filter by, and to give access by."""
    state_version: Line | None = None
    """The NixOS release it was installed with; never changed afterwards."""
    system: Literal["x86_64-linux", "aarch64-linux"] = "x86_64-linux"
    """What its own programs are built for, in Nix's words."""
    disk: StableDisk | None = None
    """The disk that NixOS is installed on, wiped then: /dev/disk/by-id/... Left out: file systems written by hand."""
    uplinks: dict[Name, Mac] = {}
    """Which card carries a network, by its MAC address; its first card where a network is not named here."""
    own: dict[Name, OwnTable] = {}
    """Devices that it keeps for itself, by name."""
    sriov: dict[PciFunction, Annotated[int, Field(ge=1, le=65535)]] = {}
    """How many virtual functions its cards have, from each boot on."""
    netboot: Name | None = None
    """What it boots from the network: "installer", which wipes its disk, or an entry of [netboot.entries]."""
    hardware: HardwareTable = Field(default_factory=HardwareTable)
    """What it was seen to be made of, when its first guest was made."""
    guests: dict[Name, GuestTable] = {}
    """The guests whose home it is, by name."""


class NetworkTable(Table):
    """[networks.NAME]"""

    bridge: Bridge
    """The bridge on each host."""
    subnet: Subnet | None = None
    """Its addresses."""
    gateway: Ip | None = None
    """The router."""
    dns: list[Ip] = []
    """Name servers."""
    vlan: Annotated[int, Field(ge=1, le=4094)] | None = None
    """The VLAN's number."""


class PoolTable(Table):
    """[pools.NAME]"""

    path: HostPath
    """The folder of volumes on each host."""


class UserTable(Table):
    """[users.NAME]"""

    keys: list[SshKey] = []
    """Public SSH keys."""
    role: Literal["operator", "viewer"] = "viewer"
    """What the user may do."""
    labels: list[Name] = []
    """On which hosts; all when empty."""


class NetbootEntryTable(Table):
    """[netboot.entries.NAME]"""

    kernel: Url
    """Where the kernel is fetched from."""
    kernel_hash: Sha256
    """Its hash, as `nix hash file` prints it."""
    initrd: Url | None = None
    """Where the initial RAM disk is fetched from."""
    initrd_hash: Sha256 | None = None
    """Its hash."""
    cmdline: Line = ""
    """The kernel's command line."""

    @model_validator(mode="after")
    def _hash(self) -> Self:
        if (self.initrd is None) != (self.initrd_hash is None):
            raise PydanticCustomError("value", "initrd and initrd_hash go together: give both, or neither")
        return self


class NetbootTable(Table):
    """[netboot]"""

    server: Name | None = None
    """The host that answers machines that boot from the network; nobody when left out."""
    network: Name | None = None
    """The network that it serves; that of its own address when left out."""
    entries: dict[Name, NetbootEntryTable] = {}
    """What machines can boot besides the installer, by name."""


class SshTable(Table):
    """[ssh]"""

    identity: Line | None = None
    """The private key's file; ~ is your home."""
    agent: bool = True
    """Keys of your SSH agent may be used."""
    jump: Annotated[str, BeforeValidator(sentence(values.parse_jump))] | None = None
    """The host to go through; its key must be in your own known_hosts."""


class DefaultsTable(Table):
    """[defaults]"""

    state_version: Line = "25.11"
    """Copied into each new machine once."""


class FleetTable(Table):
    """fleet.toml"""

    version: int
    """The format of these files: 1. A newer one is refused."""
    name: Name
    """The fleet's name."""
    id: Uuid | None = None
    """Marks the domains that belong to this inventory; derived from the name when left out."""
    defaults: DefaultsTable = Field(default_factory=DefaultsTable)
    """What new machines begin with."""
    ssh: SshTable = Field(default_factory=SshTable)
    """How hosts are reached over SSH."""
    networks: dict[Name, NetworkTable] = {}
    """The networks that guests attach to, by name."""
    pools: dict[Name, PoolTable] = {}
    """Storage pools, by name."""
    resources: dict[Name, ResourceTable] = {}
    """Names for devices of hosts that do as well as one another."""
    users: dict[Name, UserTable] = {}
    """People with access, by name."""
    netboot: NetbootTable = Field(default_factory=NetbootTable)
    """Booting machines from the network."""


def fleet_of(table: FleetTable) -> model.Fleet:
    """Return the fleet without its hosts. A missing id is derived from the name, so that it never changes."""
    return model.Fleet(
        name=table.name,
        id=table.id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"quarterdeck:{table.name}")),
        state_version=table.defaults.state_version,
        ssh=model.Ssh(**table.ssh.model_dump()),
        networks={
            name: model.Network(name=name, **(net.model_dump() | {"dns": tuple(net.dns)}))
            for name, net in table.networks.items()
        },
        pools={name: model.Pool(name=name, path=pool.path) for name, pool in table.pools.items()},
        resources={
            name: model.Resource(
                name=name,
                id=resource.id or "",
                subsystem=resource.subsystem or "",
                addresses={host: tuple(places) for host, places in resource.addresses.items()},
            )
            for name, resource in table.resources.items()
        },
        users={
            name: model.User(name=name, keys=tuple(user.keys), role=user.role, labels=tuple(user.labels))
            for name, user in table.users.items()
        },
        netboot=model.Netboot(
            server=table.netboot.server,
            network=table.netboot.network,
            entries={
                name: model.NetbootEntry(name=name, **entry.model_dump())
                for name, entry in table.netboot.entries.items()
            },
        ),
    )


def host_of(name: str, table: HostTable, fleet: model.Fleet) -> model.Host:
    """Return one host with its guests.

    What a hand-written guest leaves out (uuid, MACs, targets, boot order) is derived from the fleet's id and the
    names, so that it is the same at every read until it is written into the file.
    """
    return model.Host(
        name=name,
        mac=table.mac,
        address=table.address,
        uri=table.uri or default_uri(table.address),
        ssh_host_key=table.ssh_host_key,
        accel=model.Accel(table.accel) if table.accel else None,
        labels=tuple(table.labels),
        state_version=table.state_version,
        system=table.system,
        disk=table.disk,
        uplinks=table.uplinks,
        own={
            key: model.OwnDevice(
                name=key, pci=device.pci, functions=tuple(device.functions), containers=device.containers
            )
            for key, device in table.own.items()
        },
        sriov=table.sriov,
        netboot=table.netboot,
        hardware=model.Hardware(
            cpu=table.hardware.cpu,
            memory_kib=table.hardware.memory,
            pci={slot: tuple(ids) for slot, ids in pci.items()} if (pci := table.hardware.pci) is not None else None,
        ),
        guests={key: _guest(f"{fleet.id}/{name}/{key}", key, guest) for key, guest in table.guests.items()},
    )


def default_uri(address: str) -> str:
    """Return the libvirt URI of a host that says nothing else: root over SSH at its address."""
    ip = address.partition("/")[0]
    return f"qemu+ssh://root@{f'[{ip}]' if ':' in ip else ip}/system"


def derived_mac(seed: str) -> str:
    """Return the MAC address (in QEMU's range) that a network card of this identity has."""
    tail = hashlib.sha256(seed.encode()).hexdigest()
    return f"52:54:00:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"


def _guest(identity: str, name: str, table: GuestTable) -> model.Guest:
    disks = _disks(table.disks)
    nics = {
        key: model.Nic(
            name=key,
            network=nic.network,
            mac=nic.mac or derived_mac(f"{identity}/{key}"),
            address=nic.address,
            default_route=nic.default_route,
        )
        for key, nic in table.nics.items()
    }
    return model.Guest(
        name=name,
        uuid=table.uuid or str(uuid.uuid5(uuid.NAMESPACE_URL, f"quarterdeck:{identity}")),
        kind=model.Kind(table.kind),
        vcpus=table.vcpus,
        memory_kib=table.memory,
        machine=table.machine,
        firmware=model.Firmware(table.firmware),
        display=model.Display(table.display),
        autostart=table.autostart,
        description=table.description,
        labels=tuple(table.labels),
        boot=tuple(table.boot) if table.boot is not None else tuple(f"disk:{key}" for key in disks),
        kernel=model.Kernel(**table.kernel.model_dump()) if table.kernel else None,
        disks=disks,
        nics=nics,
        devices={key: device_of(f"{identity}/{key}", key, device) for key, device in table.devices.items()},
        usb={key: model.Usb(name=key, id=usb.id) for key, usb in table.usb.items()},
        profile=model.Profile(table.profile),
        hugepages_kib=table.hugepages or 0,
        cpus=table.cpus,
        numa=table.numa,
        hide_kvm=table.hide_kvm,
        extra_xml=table.extra_xml,
        state_version=table.state_version,
        netboot=table.netboot,
    )


def _disks(tables: dict[str, DiskTable]) -> dict[str, model.Disk]:
    taken = {table.target for table in tables.values()}
    free = {
        prefix: iter([t for letter in "abcdefghijklmnopqrstuvwxyz" if (t := prefix + letter) not in taken])
        for prefix in ("vd", "sd")
    }
    disks: dict[str, model.Disk] = {}
    for name, table in tables.items():
        target = table.target or next(free["sd" if table.source.iso is not None else "vd"], "")
        disks[name] = model.Disk(
            name=name, size_kib=table.size or 0, pool=table.pool, target=target, source=table.source.value()
        )
    return disks
