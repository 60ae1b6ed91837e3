"""Rules that hold over the whole inventory: what no single value can know."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from console.domain.model import Fleet, Guest, Host, Kind


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that does not hold. host: None for fleet.toml. path: the key inside that file."""

    host: str | None
    path: tuple[str, ...]
    message: str


def breaches(fleet: Fleet) -> list[Breach]:
    """Return everything that is wrong with the inventory as a whole, in the order of hosts and guests."""
    return [*_networks(fleet), *_unique(fleet), *(b for host in fleet.hosts.values() for b in _host(fleet, host))]


def _networks(fleet: Fleet) -> Iterator[Breach]:
    for net in fleet.networks.values():
        if net.gateway and net.subnet and ipaddress.ip_address(net.gateway) not in ipaddress.ip_network(net.subnet):
            yield Breach(None, ("networks", net.name, "gateway"), f"{net.gateway} is not inside {net.subnet}.")


def _identities(fleet: Fleet) -> Iterator[tuple[str, str, str, str | None, tuple[str, ...]]]:
    """Yield (kind, value, owner, host, path) for everything that must be unique in the fleet."""
    for host in fleet.hosts.values():
        yield "machine name", host.name, host.name, host.name, ()
        yield "MAC address", host.mac, host.name, host.name, ("mac",)
        yield "address", host.address.partition("/")[0], host.name, host.name, ("address",)
        for guest in host.guests.values():
            owner, path = f"{host.name}/{guest.name}", ("guests", guest.name)
            yield "uuid", guest.uuid, owner, host.name, (*path, "uuid")
            if guest.kind is Kind.NIXOS:
                yield "machine name", guest.name, owner, host.name, path
            for nic in guest.nics.values():
                yield "MAC address", nic.mac, owner, host.name, (*path, "nics", nic.name, "mac")
                if nic.address:
                    address = nic.address.partition("/")[0]
                    yield "address", address, owner, host.name, (*path, "nics", nic.name, "address")


def _unique(fleet: Fleet) -> Iterator[Breach]:
    first: dict[tuple[str, str], str] = {}
    for kind, value, owner, host, path in _identities(fleet):
        if (kind, value) in first:
            other = first[kind, value]
            yield Breach(
                host, path, f"the {kind} {value} already belongs to {other}. Each must be the only one in the fleet."
            )
        first.setdefault((kind, value), owner)


def _host(fleet: Fleet, host: Host) -> Iterator[Breach]:
    slots: dict[str, str] = {}
    volumes: dict[tuple[str, str], str] = {}
    for guest in host.guests.values():
        path = ("guests", guest.name)
        for disk in (disk for disk in guest.disks.values() if not disk.is_cdrom):
            # The disk b of web-a and the disk a-b of web would be one volume.
            volume = (disk.pool, f"{guest.name}-{disk.name}")
            owner = volumes.setdefault(volume, f"{guest.name}/{disk.name}")
            if owner != f"{guest.name}/{disk.name}":
                yield Breach(
                    host.name,
                    (*path, "disks", disk.name),
                    f"{disk.name} of {guest.name} and {owner} would share the volume {volume[1]}. Rename one.",
                )
        yield from (Breach(host.name, (*path, *key), why) for key, why in guest_breaches(fleet, guest))
        for device in guest.devices.values():
            owner = slots.setdefault(device.pci, guest.name)
            if owner != guest.name or sum(d.pci == device.pci for d in guest.devices.values()) > 1:
                yield Breach(
                    host.name,
                    (*path, "devices", device.name, "pci"),
                    f"{device.pci} already belongs to {host.name}/{owner}. A device has one owner.",
                )


def guest_breaches(fleet: Fleet, guest: Guest) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (key path inside the guest, sentence) for what is wrong with one guest by itself."""
    targets: dict[str, str] = {}
    for disk in guest.disks.values():
        if disk.pool not in fleet.pools and not disk.source.value.startswith("/"):
            yield ("disks", disk.name, "pool"), _unknown("pool", disk.pool, fleet.pools)
        if disk.is_cdrom and disk.target.startswith("vd"):
            yield ("disks", disk.name, "target"), f'a CD is on SATA: write target = "sd{disk.target[2:]}".'
        if not disk.target:
            yield ("disks", disk.name, "target"), "no target is free: a guest has at most 26 disks of a kind."
        elif disk.target in targets:
            yield ("disks", disk.name, "target"), f"{disk.target} is already the target of {targets[disk.target]}."
        targets.setdefault(disk.target, disk.name)
    for nic in guest.nics.values():
        network = fleet.networks.get(nic.network)
        if network is None:
            yield ("nics", nic.name, "network"), _unknown("network", nic.network, fleet.networks)
        elif nic.address and network.subnet:
            address = ipaddress.ip_interface(nic.address)
            if address.ip not in ipaddress.ip_network(network.subnet):
                yield ("nics", nic.name, "address"), f"{nic.address} is not inside {network.subnet} ({network.name})."
            elif network.gateway == str(address.ip):
                yield ("nics", nic.name, "address"), f"{address.ip} is the gateway of {network.name}."
    for place, entry in enumerate(guest.boot):
        kind, _, name = entry.partition(":")
        if name not in (guest.disks if kind == "disk" else guest.nics):
            yield ("boot",), f'"{entry}" names no {kind} of this guest.'
        elif entry in guest.boot[:place]:
            yield ("boot",), f'"{entry}" stands twice.'


def _unknown(kind: str, name: str, known: object) -> str:
    names = ", ".join(sorted(known)) if isinstance(known, dict) and known else "none yet"
    return f'"{name}" is not a {kind} of fleet.toml. Known: {names}.'
