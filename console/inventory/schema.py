"""The inventory's two kinds of files as pydantic models: the edge where they enter. `host_of` and `fleet_of` give the
domain; what guests are made of is in guest_schema.py and device_schema.py.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from console.domain import model, values
from console.inventory.device_schema import OwnTable, ResourceTable
from console.inventory.guest_schema import GuestTable, guest_of
from console.inventory.kinds import (
    Address,
    Bridge,
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
        guests={key: guest_of(f"{fleet.id}/{name}/{key}", key, guest) for key, guest in table.guests.items()},
    )


def default_uri(address: str) -> str:
    """Return the libvirt URI of a host that says nothing else: root over SSH at its address."""
    ip = address.partition("/")[0]
    return f"qemu+ssh://root@{f'[{ip}]' if ':' in ip else ip}/system"
