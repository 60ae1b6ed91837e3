"""A guest of the inventory as libvirt's domain XML: the same guest gives the same text, byte for byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache

from console.domain.errors import FleetError
from console.domain.model import Accel, Device, Disk, Display, Firmware, Fleet, Guest, Host, Kernel, Nic
from console.domain.shape import METADATA_NS
from console.domain.shape_devices import AGENT_CHANNEL

SPARE_PORTS = 8
"""PCIe root ports kept free: each disk or card that is plugged into a running guest takes one."""

PORT_STEP = 16
"""Ports come in steps of this, so that one disk more seldom moves a passed-through device to another bus."""

FIXED_ON_PORTS = 4
"""What every guest has behind a port: USB, virtio-serial, balloon, rng."""

SERIAL_LIMIT = 20
"""virtio-blk hands the guest at most this many bytes of a serial (VIRTIO_BLK_ID_BYTES)."""

CARRIED = re.compile("[\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*\\Z")
"""What XML 1.0 carries unharmed; it cannot hold control characters, and turns a carriage return into a newline."""

DOMAIN_TYPES = {Accel.KVM: "kvm", Accel.TCG: "qemu", Accel.TEST: "test", None: "kvm"}

TCG_CPU = "Nehalem"
"""The oldest model with x86-64-v2, which distributions begin to demand; QEMU emulates all of it."""

ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
ATTRIBUTE_ESCAPES = (*ESCAPES, ('"', "&quot;"), ("\n", "&#10;"), ("\t", "&#09;"))
PLAIN = re.compile(r"[A-Za-z0-9 _./:,@+-]*\Z")
"""What stands in XML as it is; most of what an inventory holds."""


def domain_xml(fleet: Fleet, host: Host, guest: Guest) -> str:
    """Return the domain XML of a guest on its home host, with our metadata: inventory id and digest.

    Nothing is asked of the host. Raises FleetError where the guest cannot be said in XML: a control character,
    a pool that the fleet does not have, a passed-through slot whose functions are not known.
    """
    # The mark is the last thing in the domain: the digest is of the same text without it.
    text = "\n".join(_domain(fleet, host, guest))
    text += f'\n  <metadata>\n    <qd:guest inventory="{_attribute("inventory", fleet.id)}"'
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
        raise _refused(guest, f"Its disk {disk.name} is in the pool {disk.pool}, which fleet.toml does not have.")
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
    yield f"  <name>{_content('name', guest.name)}</name>"
    yield f"  <uuid>{_content('uuid', guest.uuid)}</uuid>"
    if guest.description:
        yield f"  <description>{_content('description', guest.description)}</description>"
    yield f'  <memory unit="KiB">{guest.memory_kib}</memory>'
    yield f'  <currentMemory unit="KiB">{guest.memory_kib}</currentMemory>'
    yield f'  <vcpu placement="static">{guest.vcpus}</vcpu>'
    yield from _system(guest)
    yield FEATURES
    yield _cpu(host)
    yield LIFE
    yield "  <devices>\n    " + "\n".join(_devices(fleet, guest)).replace("\n", "\n    ")
    yield "  </devices>"


FEATURES = """\
  <features>
    <acpi />
    <apic />
  </features>"""

LIFE = """\
  <clock offset="utc" />
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>"""


def _system(guest: Guest) -> Iterator[str]:
    uefi = guest.firmware is Firmware.UEFI
    yield '  <os firmware="efi">' if uefi else "  <os>"
    yield f'    <type arch="x86_64" machine="{_attribute("machine", guest.machine)}">hvm</type>'
    if uefi:
        # Else libvirt may choose the firmware with enrolled keys, which starts no unsigned kernel.
        yield "    <firmware>"
        yield '      <feature enabled="no" name="secure-boot" />'
        yield "    </firmware>"
    kernel = guest.kernel or Kernel(path="")
    for tag, text in (("kernel", kernel.path), ("initrd", kernel.initrd), ("cmdline", kernel.cmdline)):
        if text:
            yield f"    <{tag}>{_content(tag, text)}</{tag}>"
    yield "  </os>"


def _cpu(host: Host) -> str:
    if host.accel is not Accel.TCG:
        return '  <cpu mode="host-passthrough" />'
    return f'  <cpu mode="custom" match="exact">\n    <model fallback="allow">{TCG_CPU}</model>\n  </cpu>'


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
        yield from _slot(guest, device, ports + number)
    # A passed-through device pins the guest's whole memory: there is nothing for a balloon to take.
    if guest.devices:
        yield '<memballoon model="none" />'
    else:
        yield from ('<memballoon model="virtio">', '  <stats period="5" />', "</memballoon>")
    yield from ('<rng model="virtio">', '  <backend model="random">/dev/urandom</backend>', "</rng>")


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
    known = {f"disk:{name}" for name in guest.disks} | {f"nic:{name}" for name in guest.nics}
    for entry in guest.boot:
        if entry not in known:
            raise _refused(guest, f"It is to boot from {entry}, which it does not have.")
    return {entry: place for place, entry in enumerate(dict.fromkeys(guest.boot), 1)}


def _disk(fleet: Fleet, guest: Guest, disk: Disk, order: int | None = None) -> Iterator[str]:
    if not re.fullmatch("sd[a-z]" if disk.is_cdrom else "[sv]d[a-z]", disk.target):
        wanted = '"sda" to "sdz"' if disk.is_cdrom else '"vda" to "vdz"'
        raise _refused(guest, f"Its disk {disk.name} has the target {disk.target!r}; it can be {wanted}.")
    yield f'<disk type="file" device="{"cdrom" if disk.is_cdrom else "disk"}">'
    yield f'  <driver name="qemu" type={DRIVERS[disk.is_cdrom]} />'
    yield f'  <source file="{_attribute("source file", disk_source(fleet, guest, disk))}" />'
    yield f'  <target dev="{disk.target}" bus="{"sata" if disk.target.startswith("sd") else "virtio"}" />'
    yield "  <readonly />" if disk.is_cdrom else f"  <serial>{_content('serial', _serial(disk.name))}</serial>"
    yield from _boot_and_alias(order, f"ua-disk-{_alias(disk.name)}")
    yield "</disk>"


DRIVERS = {True: '"raw"', False: '"qcow2" discard="unmap"'}


def _nic(nic: Nic, order: int | None = None) -> Iterator[str]:
    yield '<interface type="network">'
    yield f'  <mac address="{_attribute("mac address", nic.mac)}" />'
    yield f'  <source network="{_attribute("source network", nic.network)}" />'
    yield '  <model type="virtio" />'
    yield from _boot_and_alias(order, f"ua-nic-{_alias(nic.name)}")
    yield "</interface>"


def _boot_and_alias(order: int | None, alias: str) -> Iterator[str]:
    if order is not None:
        yield f'  <boot order="{order}" />'
    yield f'  <alias name="{_attribute("alias name", alias)}" />'


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


def _slot(guest: Guest, device: Device, bus: int) -> Iterator[str]:
    """Yield a host's slot as one slot of the guest: function for function, beginning with function 0."""
    numbers = sorted(device.function_numbers) or list(range(len(device.functions)))
    if not numbers:
        raise _refused(
            guest,
            f"The functions of its device {device.name} at {device.pci} are not known.",
            'Write the ids of all functions of the slot, such as functions = ["10de:2206", "10de:1aef"].',
        )
    domain, host_bus, host_slot = (_attribute("address", part) for part in device.pci.split(":"))
    for number in numbers:
        # A guest looks for the other functions only where there is a function 0 that says so.
        several = ' multifunction="on"' if number == numbers[0] and len(numbers) > 1 else ""
        place = f'domain="0x{domain}" bus="0x{host_bus}" slot="0x{host_slot}" function="0x{number:x}"'
        seat = f'domain="0x0000" bus="0x{bus:02x}" slot="0x00" function="0x{number - numbers[0]:x}"'
        yield '<hostdev mode="subsystem" type="pci" managed="yes">'
        yield "  <source>"
        yield f"    <address {place} />"
        yield "  </source>"
        yield f'  <alias name="{_attribute("alias name", f"ua-dev-{_alias(device.name)}-{number}")}" />'
        yield f'  <address type="pci" {seat}{several} />'
        yield "</hostdev>"


def _serial(name: str) -> str:
    """Return a disk's name as its serial; a long one is cut and told apart by a digest of the whole."""
    if len(name) <= SERIAL_LIMIT:
        return name
    return f"{name[: SERIAL_LIMIT - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _alias(name: str) -> str:
    """Return a name in the letters that libvirt keeps in an alias (no dot), different for different names."""
    return name.replace("_", "__").replace(".", "_-")


def _attribute(key: str, text: str) -> str:
    return text if PLAIN.match(text) else _escaped(key, text, ATTRIBUTE_ESCAPES)


def _content(key: str, text: str) -> str:
    return text if PLAIN.match(text) else _escaped(key, text, ESCAPES)


def _escaped(key: str, text: str, escapes: Iterable[tuple[str, str]]) -> str:
    if not CARRIED.match(text):
        raise FleetError(
            "This cannot be written as domain XML.",
            f"{key} has a control character: {text[:60]!r}.",
            "Take the character out.",
        )
    for character, escape in escapes:
        text = text.replace(character, escape)
    return text


def _refused(guest: Guest, detail: str, hint: str = "") -> FleetError:
    return FleetError(f"{guest.name} cannot be defined.", detail, hint)
