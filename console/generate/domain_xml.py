"""A guest of the inventory as libvirt's domain XML: the same guest gives the same text, byte for byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache

from console.domain.extra_xml import extra_elements
from console.domain.model import Accel, Disk, Display, Fleet, Guest, Host, Nic, Profile
from console.domain.shape import METADATA_NS
from console.domain.shape_devices import AGENT_CHANNEL
from console.generate.hostdev_xml import device_xml, usb_xml
from console.generate.machine_xml import cpu_xml, features_xml, life_xml, memory_xml, system_xml
from console.generate.xml_text import alias_of, attribute, boot_and_alias, content, refused

SPARE_PORTS = 8
"""PCIe root ports kept free: each disk or card that is plugged into a running guest takes one."""

PORT_STEP = 16
"""Ports come in steps of this, so that one disk more seldom moves a passed-through device to another bus."""

FIXED_ON_PORTS = 4
"""What every guest has behind a port: USB, virtio-serial, balloon, rng."""

SERIAL_LIMIT = 20
"""virtio-blk hands the guest at most this many bytes of a serial (VIRTIO_BLK_ID_BYTES)."""

DOMAIN_TYPES = {Accel.KVM: "kvm", Accel.TCG: "qemu", Accel.TEST: "test", None: "kvm"}


def domain_xml(fleet: Fleet, host: Host, guest: Guest) -> str:
    """Return the domain XML of a guest on its home host, with our metadata: inventory id and digest.

    Nothing is asked of the host. Raises FleetError where the guest cannot be said in XML: a control character,
    a pool that the fleet does not have, a passed-through slot whose functions are not known.
    """
    # The mark is the last thing in the domain: the digest is of the same text without it.
    text = "\n".join(_domain(fleet, host, guest))
    text += f'\n  <metadata>\n    <qd:guest inventory="{attribute("inventory", fleet.id)}"'
    if waiting := [device.name for device in guest.devices.values() if not device.is_picked]:
        # What is not picked yet is no part of the definition, but of its digest: an apply is due as soon as it is.
        text += f' waiting="{attribute("waiting", " ".join(waiting))}"'
    end = " />\n  </metadata>\n</domain>\n"
    return f'{text} digest="{digest_of(text + end)}"{end}'


def digest_of(xml: str) -> str:
    """Return the digest of a definition, taken of its text without the digest itself ("sha256-1f0c...")."""
    return f"sha256-{hashlib.sha256(xml.encode()).hexdigest()}"


def volume_name(guest: Guest, disk: Disk) -> str:
    """Return the name of the volume that holds a guest's disk, in the disk's pool."""
    return f"{guest.name}-{disk.name}.qcow2"


def disk_source(fleet: Fleet, guest: Guest, disk: Disk) -> str:
    """Return the path on the host that a disk or CD has its content at."""
    if disk.is_cdrom and disk.source.value.startswith("/"):
        return disk.source.value
    pool = fleet.pools.get(disk.pool)
    if pool is None:
        raise refused(guest, f"Its disk {disk.name} is in the pool {disk.pool}, which fleet.toml does not have.")
    return f"{pool.path.rstrip('/')}/{disk.source.value if disk.is_cdrom else volume_name(guest, disk)}"


def disk_xml(fleet: Fleet, guest: Guest, disk: Disk) -> str:
    """Return the XML of one disk for plugging it into a running guest, or out of it."""
    return "\n".join(_disk(fleet, guest, disk)) + "\n"


def nic_xml(nic: Nic) -> str:
    """Return the XML of one network card for plugging it into a running guest, or out of it."""
    return "\n".join(_nic(nic)) + "\n"


def _domain(fleet: Fleet, host: Host, guest: Guest) -> Iterator[str]:
    """Yield the lines of a domain as far as its metadata. Text, not a tree: that takes a fifth of the time."""
    yield f'<domain xmlns:qd="{METADATA_NS}" type="{DOMAIN_TYPES[host.accel]}">'
    yield f"  <name>{content('name', guest.name)}</name>"
    yield f"  <uuid>{content('uuid', guest.uuid)}</uuid>"
    if guest.description:
        yield f"  <description>{content('description', guest.description)}</description>"
    yield f'  <memory unit="KiB">{guest.memory_kib}</memory>'
    yield f'  <currentMemory unit="KiB">{guest.memory_kib}</currentMemory>'
    yield from memory_xml(guest)
    yield from system_xml(guest)
    yield from features_xml(host, guest)
    yield from cpu_xml(host, guest)
    yield from life_xml(host, guest)
    yield "  <devices>\n    " + "\n".join(_devices(fleet, guest)).replace("\n", "\n    ")
    yield "  </devices>"


def _devices(fleet: Fleet, guest: Guest) -> Iterator[str]:
    order = _boot_order(guest)
    for disk in sorted(guest.disks.values(), key=lambda disk: (disk.target, disk.name)):
        yield from _disk(fleet, guest, disk, order.get(f"disk:{disk.name}"))
    ports = _port_count(guest)
    yield _ports(ports + len(guest.devices))
    yield '<controller type="usb" index="0" model="qemu-xhci" />'
    for nic in guest.nics.values():
        yield from _nic(nic, order.get(f"nic:{nic.name}"))
    yield '<serial type="pty" />'
    yield '<console type="pty" />'
    yield '<channel type="unix">'
    yield f'  <target type="virtio" name="{AGENT_CHANNEL}" />'
    yield "</channel>"
    yield from VNC if guest.display is Display.VNC else ("<video>", '  <model type="none" />', "</video>")
    for number, device in enumerate(guest.devices.values(), 1):
        if not device.is_picked:
            continue
        yield from device_xml(guest, device, ports + number, order.get(f"device:{device.name}"))
    for usb in guest.usb.values():
        yield from usb_xml(usb, order.get(f"usb:{usb.name}"))
    if guest.profile is Profile.WINDOWS:
        yield from TPM
    # A passed-through device pins the guest's whole memory: there is nothing for a balloon to take.
    if guest.devices:
        yield '<memballoon model="none" />'
    else:
        yield from ('<memballoon model="virtio">', '  <stats period="5" />', "</memballoon>")
    yield from ('<rng model="virtio">', '  <backend model="random">/dev/urandom</backend>', "</rng>")
    try:
        yield from extra_elements(guest.extra_xml)
    except ValueError as error:
        raise refused(guest, f"Its extra XML cannot be used: {error}") from None


TPM = ('<tpm model="tpm-crb">', '  <backend type="emulator" version="2.0" />', "</tpm>")

VNC = (
    # A tablet has absolute positions, so that the pointer is where the viewer's is.
    '<input type="tablet" bus="usb" />',
    '<graphics type="vnc" autoport="yes" listen="127.0.0.1">',
    '  <listen type="address" address="127.0.0.1" />',
    "</graphics>",
    "<video>",
    '  <model type="virtio" />',
    "</video>",
)


def _boot_order(guest: Guest) -> dict[str, int]:
    parts = {"disk": guest.disks, "nic": guest.nics, "device": guest.devices, "usb": guest.usb}
    known = {f"{kind}:{name}" for kind, names in parts.items() for name in names}
    for entry in guest.boot:
        if entry not in known:
            raise refused(guest, f"It is to boot from {entry}, which it does not have.")
    return {entry: place for place, entry in enumerate(dict.fromkeys(guest.boot), 1)}


def _disk(fleet: Fleet, guest: Guest, disk: Disk, order: int | None = None) -> Iterator[str]:
    if not re.fullmatch("sd[a-z]" if disk.is_cdrom else "[sv]d[a-z]", disk.target):
        wanted = '"sda" to "sdz"' if disk.is_cdrom else '"vda" to "vdz"'
        raise refused(guest, f"Its disk {disk.name} has the target {disk.target!r}; it can be {wanted}.")
    yield f'<disk type="file" device="{"cdrom" if disk.is_cdrom else "disk"}">'
    yield f'  <driver name="qemu" type={DRIVERS[disk.is_cdrom]} />'
    yield f'  <source file="{attribute("source file", disk_source(fleet, guest, disk))}" />'
    yield f'  <target dev="{disk.target}" bus="{"sata" if disk.target.startswith("sd") else "virtio"}" />'
    yield "  <readonly />" if disk.is_cdrom else f"  <serial>{content('serial', _serial(disk.name))}</serial>"
    yield from boot_and_alias(order, f"ua-disk-{alias_of(disk.name)}")
    yield "</disk>"


DRIVERS = {True: '"raw"', False: '"qcow2" discard="unmap"'}


def _nic(nic: Nic, order: int | None = None) -> Iterator[str]:
    yield '<interface type="network">'
    yield f'  <mac address="{attribute("mac address", nic.mac)}" />'
    yield f'  <source network="{attribute("source network", nic.network)}" />'
    yield '  <model type="virtio" />'
    yield from boot_and_alias(order, f"ua-nic-{alias_of(nic.name)}")
    yield "</interface>"


def spare_port(guest: Guest, place: int) -> int:
    """Return the number of a port that is free while the guest runs; place: 0 for the first device that is plugged.

    They are the last of those that are kept free: what libvirt plugs by itself takes the lowest.
    """
    return _port_count(guest) - place


def _port_count(guest: Guest) -> int:
    """Return the number of ports before those of the passed-through slots.

    Their ports come last: libvirt places all else on the lowest free port, network cards first, so a card keeps
    its bus (and the guest its interface's name) when a disk or a GPU comes or goes.
    """
    plugged = FIXED_ON_PORTS + len(guest.nics) + sum(disk.target.startswith("vd") for disk in guest.disks.values())
    return -(-(plugged + SPARE_PORTS) // PORT_STEP) * PORT_STEP


@cache
def _ports(count: int) -> str:
    """Return the root complex and so many ports."""
    ports = (f'<controller type="pci" index="{n}" model="pcie-root-port" />' for n in range(1, count + 1))
    return "\n".join(('<controller type="pci" index="0" model="pcie-root" />', *ports))


def _serial(name: str) -> str:
    """Return a disk's name as its serial; a long one is cut and told apart by a digest of the whole."""
    if len(name) <= SERIAL_LIMIT:
        return name
    return f"{name[: SERIAL_LIMIT - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
