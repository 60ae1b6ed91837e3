"""Rules that hold over the whole inventory: what no single value can know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from console.domain.hardware import cpu_numbers
from console.domain.model import Device, Firmware, Fleet, Guest, Host, Kind, Profile
from console.domain.preflight.names import RULE_NAMES
from console.domain.values import format_size_kib, is_inside

HUGE_PAGES_KIB = (2 * 1024, 1024 * 1024)
"""The sizes of huge pages that x86 has."""

NO_RESOURCES = frozenset({"any", "none"})
"""What is said of a GPU that is wished for, and so cannot be a resource's name."""

INSTALLER = "installer"
"""The netboot entry that every fleet has: it installs NixOS on the host's disk."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that does not hold. host: None for fleet.toml. path: the key inside that file."""

    host: str | None
    path: tuple[str, ...]
    message: str


def breaches(fleet: Fleet) -> list[Breach]:
    """Return everything that is wrong with the inventory as a whole, in the order of hosts and guests."""
    hosts = (breach for host in fleet.hosts.values() for breach in host_breaches(fleet, host))
    return [*fleet_breaches(fleet), *hosts]


def fleet_breaches(fleet: Fleet) -> Iterator[Breach]:
    """Yield what is wrong with fleet.toml, and what its hosts may not have in common."""
    yield from _networks(fleet)
    yield from _netboot(fleet)
    yield from _resources(fleet)
    yield from _unique(fleet)


def _networks(fleet: Fleet) -> Iterator[Breach]:
    for net in fleet.networks.values():
        if net.gateway and net.subnet and not is_inside(net.gateway, net.subnet):
            yield Breach(None, ("networks", net.name, "gateway"), f"{net.gateway} is not inside {net.subnet}.")


def _netboot(fleet: Fleet) -> Iterator[Breach]:
    server, network = fleet.netboot.server, fleet.netboot.network
    if server is not None and server not in fleet.hosts:
        yield Breach(None, ("netboot", "server"), f'"{server}" is not a host. Write the name of a file in hosts/.')
    if network is not None and network not in fleet.networks:
        yield Breach(None, ("netboot", "network"), _unknown("network", network, fleet.networks))


def _resources(fleet: Fleet) -> Iterator[Breach]:
    for resource in fleet.resources.values():
        path = ("resources", resource.name)
        if resource.name in NO_RESOURCES:
            yield Breach(
                None, path, f'"{resource.name}" means something else where a GPU is chosen. Choose another name.'
            )
        for host in resource.addresses:
            if host not in fleet.hosts:
                yield Breach(None, (*path, "addresses"), f'"{host}" is not a host. Write the name of a file in hosts/.')


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
    # All is well nearly always, and that is told in a tenth of the time that finding the culprit takes.
    hosts = fleet.hosts.values()
    guests = [guest for host in hosts for guest in host.guests.values()]
    nics = [nic for guest in guests for nic in guest.nics.values()]
    for values in (
        [*fleet.hosts, *(guest.name for guest in guests if guest.kind is Kind.NIXOS)],
        [*(host.mac for host in hosts), *(nic.mac for nic in nics)],
        [host.address.partition("/")[0] for host in hosts] + [n.address.partition("/")[0] for n in nics if n.address],
        [guest.uuid for guest in guests],
    ):
        if len(set(values)) != len(values):
            break
    else:
        return
    first: dict[tuple[str, str], str] = {}
    for kind, value, owner, host, path in _identities(fleet):
        if (kind, value) in first:
            other = first[kind, value]
            yield Breach(
                host, path, f"the {kind} {value} already belongs to {other}. Each must be the only one in the fleet."
            )
        first.setdefault((kind, value), owner)


def host_breaches(fleet: Fleet, host: Host) -> Iterator[Breach]:
    """Yield what is wrong with one host and its guests by themselves. Of the fleet only its head is used."""
    yield from _host_itself(fleet, host)
    owners: dict[str, str] = {}
    kept = {device.pci: device.name for device in host.own.values()}
    if len(kept) != len(host.own):
        twice = next(each for each in host.own.values() if kept[each.pci] != each.name)
        yield Breach(host.name, ("own", twice.name, "pci"), f"{twice.pci} is own.{kept[twice.pci]} already.")
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
        for usb in guest.usb.values():
            holder = owners.setdefault(f"usb {usb.id}", f"{guest.name}/{usb.name}")
            if holder != f"{guest.name}/{usb.name}":
                yield Breach(
                    host.name,
                    (*path, "usb", usb.name, "id"),
                    f"{usb.id} already belongs to {host.name}/{holder}. A device has one owner.",
                )
        claimed = Counter(claim for device in guest.devices.values() for claim in _claims(device))
        for device in guest.devices.values():
            place = (*path, "devices", device.name)
            if why := _unreported(host, device):
                yield Breach(host.name, (*place, "pci"), why)
            if (own := kept.get(device.pci)) is not None and not device.is_part and not device.virtual_of:
                yield Breach(
                    host.name,
                    (*place, "pci"),
                    f"{host.name} keeps {device.pci} for itself (own.{own}). Take it out there, or choose another.",
                )
            for claim in _claims(device):
                holder = owners.setdefault(claim, guest.name)
                if holder != guest.name or claimed[claim] > 1:
                    yield Breach(
                        host.name,
                        (*place, "mdev_uuid" if device.mdev else "pci"),
                        f"{claim} already belongs to {host.name}/{holder}. A device has one owner.",
                    )


def _claims(device: Device) -> list[str]:
    """Return what a device is the only one to have: a slot whole, or what is a device of its own in it."""
    if not device.is_picked:
        return []
    if device.mdev:
        return [device.mdev_uuid]
    if device.virtual_of:
        return [f"{device.pci}.{number}" for number in device.function_numbers]
    return [device.pci]


def _host_itself(fleet: Fleet, host: Host) -> Iterator[Breach]:
    if host.netboot == INSTALLER and host.disk is None:
        yield Breach(
            host.name,
            ("netboot",),
            f"{host.name} is to be installed and has no disk for it. Write one by a name that stays: "
            'disk = "/dev/disk/by-id/..." (ls -l /dev/disk/by-id on the machine).',
        )
    elif host.netboot not in (None, INSTALLER, *fleet.netboot.entries):
        yield Breach(host.name, ("netboot",), _unknown("netboot entry", host.netboot, fleet.netboot.entries))
    for network in host.uplinks:
        if network not in fleet.networks:
            yield Breach(host.name, ("uplinks", network), _unknown("network", network, fleet.networks))
    ways_out = [
        name
        for name, network in fleet.networks.items()
        if network.gateway and network.subnet and is_inside(host.address.partition("/")[0], network.subnet)
    ]
    if len(ways_out) > 1:
        gateways = " and ".join(f"{fleet.networks[name].gateway} ({name})" for name in ways_out)
        yield Breach(
            host.name,
            ("address",),
            f"{host.address} is in {len(ways_out)} networks that have a gateway: {gateways}. A machine has one default "
            "gateway: mend the subnets in fleet.toml.",
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
            address = nic.address.partition("/")[0]
            if not is_inside(address, network.subnet):
                yield ("nics", nic.name, "address"), f"{nic.address} is not inside {network.subnet} ({network.name})."
            elif network.gateway == address:
                yield ("nics", nic.name, "address"), f"{address} is the gateway of {network.name}."
    if guest.kind is Kind.NIXOS:
        yield from _ways_out(fleet, guest)
    yield from _machine(fleet, guest)
    if guest.netboot is not None and guest.netboot not in fleet.netboot.entries:
        yield ("netboot",), _unknown("netboot entry", guest.netboot, fleet.netboot.entries)
    for place, entry in enumerate(guest.boot):
        kind, _, name = entry.partition(":")
        there: Collection[str] = {"disk": guest.disks, "nic": guest.nics, "device": guest.devices}.get(kind, guest.usb)
        if name not in there:
            yield ("boot",), f'"{entry}" names no {kind} of this guest.'
        elif kind == "device" and guest.devices[name].mdev:
            yield ("boot",), f'"{entry}" is a mediated device: firmware cannot boot from it.'
        elif entry in guest.boot[:place]:
            yield ("boot",), f'"{entry}" stands twice.'


def _ways_out(fleet: Fleet, guest: Guest) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the cards of a NixOS guest that would be a second way out: which one is taken would be chance."""
    first: dict[bool, str] = {}
    for nic in guest.nics.values():
        network = fleet.networks.get(nic.network)
        if network is None or not (nic.default_route and nic.address and network.gateway):
            continue
        other = first.setdefault(":" in network.gateway, nic.name)
        if other != nic.name:
            yield (
                ("nics", nic.name),
                f"{other} and {nic.name} of {guest.name} both lead to a default gateway: write default_route = false "
                "in all but one.",
            )


def _machine(fleet: Fleet, guest: Guest) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what does not fit together in a guest's processors, memory, firmware and devices."""
    if (count := len(cpu_numbers(guest.cpus))) not in (0, guest.vcpus):
        yield (
            ("cpus",),
            (f"{guest.cpus} names {count} of the host's CPUs for {guest.vcpus} vCPUs. Name one for each."),
        )
    pages = guest.hugepages_kib
    if pages not in (0, *HUGE_PAGES_KIB):
        yield ("hugepages",), f'{format_size_kib(pages)} is no size of huge pages. Write "2 MiB" or "1 GiB".'
    elif pages and guest.memory_kib % pages:
        memory = format_size_kib(guest.memory_kib)
        yield ("hugepages",), f"the memory, {memory}, is no multiple of {format_size_kib(pages)}."
    if guest.profile is Profile.WINDOWS and guest.firmware is not Firmware.UEFI:
        yield ("profile",), 'Windows is started with Secure Boot: write firmware = "uefi".'
    if guest.profile is Profile.WINDOWS and guest.kind is Kind.NIXOS:
        yield ("profile",), 'a NixOS guest is no Windows: take the profile out, or write kind = "plain".'
    for device in guest.devices.values():
        if device.resource and device.resource not in fleet.resources:
            yield ("devices", device.name, "resource"), _unknown("resource", device.resource, fleet.resources)
        for rule in device.accepted:
            if rule not in RULE_NAMES:
                known = ", ".join(RULE_NAMES)
                yield ("devices", device.name, "accepted"), f'"{rule}" is no check of the preflight. Known: {known}.'


def _unreported(host: Host, device: Device) -> str:
    """Return why a device is not what the host's hardware report has in its slot, empty when it is."""
    seen = host.hardware.pci
    # A virtual function is there only while its card has some; of a card that makes parts one function is named.
    if (
        seen is None
        or not device.is_picked
        or device.virtual_of
        or device.is_part
        or seen.get(device.pci) == device.functions
    ):
        return ""
    if device.pci not in seen:
        return (
            f"{device.pci} is not in the hardware report of {host.name}. Correct the slot; or, if the report is old, "
            "[hardware.pci]."
        )
    return (
        f"in the hardware report of {host.name} {device.pci} is {', '.join(seen[device.pci])}, not "
        f"{', '.join(device.functions)}. Correct the functions; or, if the report is old, [hardware.pci]."
    )


def _unknown(kind: str, name: str | None, known: object) -> str:
    names = ", ".join(sorted(known)) if isinstance(known, dict) and known else "none yet"
    return f'"{name}" is not a {kind} of fleet.toml. Known: {names}.'
