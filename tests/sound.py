"""Fleets that keep every rule of the inventory, made from the awkward ones of tests/strategies.py."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from console.domain.model import Device, Fleet, Guest, Host, ImageMode, Network, SourceKind
from tests.strategies import fleets

OVERLAY = ImageMode.OVERLAY
MOST_KIB = 10**12 - 1
"""A size has at most 12 digits: 931 TiB."""


def sound_fleets() -> st.SearchStrategy[Fleet]:
    """Fleets without a breach: names, MACs, addresses, slots and volumes have one owner."""
    return fleets().map(_mended)


def _mended(fleet: Fleet) -> Fleet:
    hosts: dict[str, Host] = {}
    machines = set(fleet.hosts)
    for number, (name, host) in enumerate(sorted(fleet.hosts.items())):
        guests: dict[str, Guest] = {}
        slots = {device.pci for device in host.own.values()}
        for place, guest in enumerate(host.guests.values()):
            if guest.name in machines:
                continue
            machines.add(guest.name)
            guests[guest.name] = _guest(guest, f"{number:02x}:{place:02x}", slots)
        # A default is not written, so that it cannot be told from its absence; it is read back as what it was.
        hosts[name] = replace(
            host,
            mac=f"52:54:01:00:00:{number:02x}",
            address=f"10.0.1.{number + 1}/24",
            guests=guests,
            hardware=replace(
                host.hardware,
                cpu=host.hardware.cpu or None,
                memory_kib=min(host.hardware.memory_kib, MOST_KIB) if host.hardware.memory_kib else None,
            ),
        )
    networks = {name: replace(net, gateway=net.gateway if net.subnet else None) for name, net in fleet.networks.items()}
    return replace(fleet, hosts=hosts, networks=networks or {"default": Network(name="default", bridge="br0")})


def _guest(guest: Guest, tail: str, slots: set[str]) -> Guest:
    devices: dict[str, Device] = {}
    for device in guest.devices.values():
        if device.pci not in slots:
            slots.add(device.pci)
            devices[device.name] = device
    usb = {name: each for name, each in guest.usb.items() if each.id not in slots}
    slots |= {each.id for each in usb.values()}
    nics = {
        name: replace(nic, mac=f"52:54:02:{tail}:{place:02x}", address=None)
        for place, (name, nic) in enumerate(guest.nics.items())
    }
    # What has no image has no mode either: it is not written, and read back as the default.
    disks = {
        name: replace(
            disk,
            size_kib=min(disk.size_kib, MOST_KIB),
            source=disk.source if disk.source.kind is SourceKind.IMAGE else replace(disk.source, mode=OVERLAY),
        )
        for name, disk in guest.disks.items()
    }
    uuid = f"{guest.uuid[:-4]}{tail.replace(':', '')}"
    gone = {f"device:{name}" for name in guest.devices.keys() - devices.keys()}
    gone |= {f"usb:{name}" for name in guest.usb.keys() - usb.keys()}
    boot = tuple(entry for entry in guest.boot if entry not in gone)
    return replace(guest, uuid=uuid, disks=disks, devices=devices, usb=usb, nics=nics, boot=boot)
