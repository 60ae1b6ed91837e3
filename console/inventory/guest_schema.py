"""Guests in the inventory's TOML, with their disks and network cards, and what is derived where a hand left it out."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from console.domain import model, values
from console.inventory.device_schema import DeviceTable, UsbTable, device_of
from console.inventory.kinds import (
    Address,
    CpuList,
    ExtraXml,
    HostPath,
    Line,
    Mac,
    Name,
    SizeKib,
    Table,
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
    labels: list[Name] = Field(default_factory=list)
    """Words to filter by."""
    boot: list[Annotated[str, Field(pattern=r"^(disk|nic|device|usb):.+$")]] | None = None
    """What to boot from, in order: disk:NAME, nic:NAME, device:NAME, usb:NAME; the disks when left out."""
    kernel: KernelTable | None = None
    """Boot this kernel directly."""
    disks: dict[Name, DiskTable] = Field(default_factory=dict)
    """Its disks and CDs, by name."""
    nics: dict[Name, NicTable] = Field(default_factory=dict)
    """Its network cards, by name."""
    devices: dict[Name, DeviceTable] = Field(default_factory=dict)
    """What of the host is passed through, by name."""
    usb: dict[Name, UsbTable] = Field(default_factory=dict)
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


def guest_of(identity: str, name: str, table: GuestTable) -> model.Guest:
    """Return one guest. identity: of what is derived of it, the same at every read."""
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


def derived_mac(seed: str) -> str:
    """Return the MAC address (in QEMU's range) that a network card of this identity has."""
    tail = hashlib.sha256(seed.encode()).hexdigest()
    return f"52:54:00:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"


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
