"""A guest of the inventory as libvirt's domain XML: the same guest gives the same text, byte for byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from xml.etree import ElementTree

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

Element = ElementTree.Element
NONE: Mapping[str, str] = MappingProxyType({})

# The prefix is in the text that the digest is of, so it must not be one that ElementTree numbers.
ElementTree.register_namespace("qd", METADATA_NS)


def domain_xml(fleet: Fleet, host: Host, guest: Guest) -> str:
    """Return the domain XML of a guest on its home host, with our metadata: inventory id and digest.

    Nothing is asked of the host. Raises FleetError where the guest cannot be said in XML: a control character,
    a pool that the fleet does not have, a passed-through slot whose functions are not known.
    """
    domain = _domain(fleet, host, guest)
    mark = _add(_add(domain, "metadata"), f"{{{METADATA_NS}}}guest", {"inventory": fleet.id})
    mark.set("digest", digest_of(_text(domain)))
    return _text(domain)


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
    return _text(_disk(fleet, guest, disk))


def nic_xml(nic: Nic) -> str:
    """Return the XML of one network card for plugging it into a running guest, or out of it."""
    return _text(_nic(nic))


def _domain(fleet: Fleet, host: Host, guest: Guest) -> Element:
    domain = Element("domain", {"type": DOMAIN_TYPES[host.accel]})
    _add(domain, "name", text=guest.name)
    _add(domain, "uuid", text=guest.uuid)
    if guest.description:
        _add(domain, "description", text=guest.description)
    _add(domain, "memory", {"unit": "KiB"}, str(guest.memory_kib))
    _add(domain, "currentMemory", {"unit": "KiB"}, str(guest.memory_kib))
    _add(domain, "vcpu", {"placement": "static"}, str(guest.vcpus))
    _system(domain, guest)
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(features, "apic")
    _cpu(domain, host)
    _add(domain, "clock", {"offset": "utc"})
    _add(domain, "on_poweroff", text="destroy")
    _add(domain, "on_reboot", text="restart")
    _add(domain, "on_crash", text="destroy")
    _devices(_add(domain, "devices"), fleet, guest)
    return domain


def _system(domain: Element, guest: Guest) -> None:
    system = _add(domain, "os", {"firmware": "efi"} if guest.firmware is Firmware.UEFI else NONE)
    _add(system, "type", {"arch": "x86_64", "machine": guest.machine}, "hvm")
    if guest.firmware is Firmware.UEFI:
        # Else libvirt may choose the firmware with enrolled keys, which starts no unsigned kernel.
        _add(_add(system, "firmware"), "feature", {"enabled": "no", "name": "secure-boot"})
    kernel = guest.kernel or Kernel(path="")
    for tag, text in (("kernel", kernel.path), ("initrd", kernel.initrd), ("cmdline", kernel.cmdline)):
        if text:
            _add(system, tag, text=text)


def _cpu(domain: Element, host: Host) -> None:
    if host.accel is Accel.TCG:
        cpu = _add(domain, "cpu", {"mode": "custom", "match": "exact"})
        _add(cpu, "model", {"fallback": "allow"}, TCG_CPU)
    else:
        _add(domain, "cpu", {"mode": "host-passthrough"})


def _devices(devices: Element, fleet: Fleet, guest: Guest) -> None:
    order = _boot_order(guest)
    for disk in sorted(guest.disks.values(), key=lambda disk: (disk.target, disk.name)):
        _disk(fleet, guest, disk, devices, order.get(f"disk:{disk.name}"))
    bus = _ports(devices, guest)
    _add(devices, "controller", {"type": "usb", "index": "0", "model": "qemu-xhci"})
    for nic in guest.nics.values():
        _nic(nic, devices, order.get(f"nic:{nic.name}"))
    _add(devices, "serial", {"type": "pty"})
    _add(devices, "console", {"type": "pty"})
    agent = _add(devices, "channel", {"type": "unix"})
    _add(agent, "target", {"type": "virtio", "name": AGENT_CHANNEL})
    _screen(devices, guest)
    for number, device in enumerate(guest.devices.values()):
        _slot(devices, guest, device, bus + number)
    # A passed-through device pins the guest's whole memory: there is nothing for a balloon to take.
    balloon = _add(devices, "memballoon", {"model": "none" if guest.devices else "virtio"})
    if not guest.devices:
        _add(balloon, "stats", {"period": "5"})
    _add(_add(devices, "rng", {"model": "virtio"}), "backend", {"model": "random"}, "/dev/urandom")


def _boot_order(guest: Guest) -> dict[str, str]:
    known = {f"disk:{name}" for name in guest.disks} | {f"nic:{name}" for name in guest.nics}
    for entry in guest.boot:
        if entry not in known:
            raise _refused(guest, f"It is to boot from {entry}, which it does not have.")
    return {entry: str(place) for place, entry in enumerate(dict.fromkeys(guest.boot), 1)}


def _disk(fleet: Fleet, guest: Guest, disk: Disk, parent: Element | None = None, order: str | None = None) -> Element:
    if not re.fullmatch("sd[a-z]" if disk.is_cdrom else "[sv]d[a-z]", disk.target):
        wanted = '"sda" to "sdz"' if disk.is_cdrom else '"vda" to "vdz"'
        raise _refused(guest, f"Its disk {disk.name} has the target {disk.target!r}; it can be {wanted}.")
    element = _add(parent, "disk", {"type": "file", "device": "cdrom" if disk.is_cdrom else "disk"})
    _add(
        element,
        "driver",
        {"name": "qemu", "type": "raw"} if disk.is_cdrom else {"name": "qemu", "type": "qcow2", "discard": "unmap"},
    )
    _add(element, "source", {"file": disk_source(fleet, guest, disk)})
    _add(element, "target", {"dev": disk.target, "bus": "sata" if disk.target.startswith("sd") else "virtio"})
    if disk.is_cdrom:
        _add(element, "readonly")
    else:
        _add(element, "serial", text=_serial(disk.name))
    _boot_and_alias(element, order, f"ua-disk-{_alias(disk.name)}")
    return element


def _nic(nic: Nic, parent: Element | None = None, order: str | None = None) -> Element:
    element = _add(parent, "interface", {"type": "network"})
    _add(element, "mac", {"address": nic.mac})
    _add(element, "source", {"network": nic.network})
    _add(element, "model", {"type": "virtio"})
    _boot_and_alias(element, order, f"ua-nic-{_alias(nic.name)}")
    return element


def _boot_and_alias(device: Element, order: str | None, alias: str) -> None:
    if order is not None:
        _add(device, "boot", {"order": order})
    _add(device, "alias", {"name": alias})


def _screen(devices: Element, guest: Guest) -> None:
    vnc = guest.display is Display.VNC
    if vnc:
        # A tablet has absolute positions, so that the pointer is where the viewer's is.
        _add(devices, "input", {"type": "tablet", "bus": "usb"})
        graphics = _add(devices, "graphics", {"type": "vnc", "autoport": "yes", "listen": "127.0.0.1"})
        _add(graphics, "listen", {"type": "address", "address": "127.0.0.1"})
    _add(_add(devices, "video"), "model", {"type": "virtio" if vnc else "none"})


def _ports(devices: Element, guest: Guest) -> int:
    """Add the root complex and its ports; return the first bus of the passed-through slots.

    Their ports come last: libvirt places all else on the lowest free port, network cards first, so a card keeps
    its bus (and the guest its interface's name) when a disk or a GPU comes or goes.
    """
    plugged = FIXED_ON_PORTS + len(guest.nics) + sum(disk.target.startswith("vd") for disk in guest.disks.values())
    ports = -(-(plugged + SPARE_PORTS) // PORT_STEP) * PORT_STEP
    _add(devices, "controller", {"type": "pci", "index": "0", "model": "pcie-root"})
    for index in range(1, ports + len(guest.devices) + 1):
        _add(devices, "controller", {"type": "pci", "index": str(index), "model": "pcie-root-port"})
    return ports + 1


def _slot(devices: Element, guest: Guest, device: Device, bus: int) -> None:
    """Add a host's slot as one slot of the guest: function for function, beginning with function 0."""
    numbers = sorted(device.function_numbers) or list(range(len(device.functions)))
    if not numbers:
        raise _refused(
            guest,
            f"The functions of its device {device.name} at {device.pci} are not known.",
            'Write the ids of all functions of the slot, such as functions = ["10de:2206", "10de:1aef"].',
        )
    domain, host_bus, host_slot = device.pci.split(":")
    for number in numbers:
        hostdev = _add(devices, "hostdev", {"mode": "subsystem", "type": "pci", "managed": "yes"})
        place = {"domain": f"0x{domain}", "bus": f"0x{host_bus}", "slot": f"0x{host_slot}", "function": f"0x{number:x}"}
        _add(_add(hostdev, "source"), "address", place)
        _add(hostdev, "alias", {"name": f"ua-dev-{_alias(device.name)}-{number}"})
        seat = {"type": "pci", "domain": "0x0000", "bus": f"0x{bus:02x}", "slot": "0x00"}
        first = number == numbers[0]
        # A guest looks for the other functions only where there is a function 0 that says so.
        several = {"multifunction": "on"} if first and len(numbers) > 1 else {}
        _add(hostdev, "address", {**seat, "function": f"0x{number - numbers[0]:x}", **several})


def _serial(name: str) -> str:
    """Return a disk's name as its serial; a long one is cut and told apart by a digest of the whole."""
    if len(name) <= SERIAL_LIMIT:
        return name
    return f"{name[: SERIAL_LIMIT - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _alias(name: str) -> str:
    """Return a name in the letters that libvirt keeps in an alias (no dot), different for different names."""
    return name.replace("_", "__").replace(".", "_-")


def _add(parent: Element | None, tag: str, attributes: Mapping[str, str] = NONE, text: str | None = None) -> Element:
    element = Element(tag) if parent is None else ElementTree.SubElement(parent, tag)
    for name, value in attributes.items():
        element.set(name, _carried(f"{tag} {name}", value))
    if text is not None:
        element.text = _carried(tag, text)
    return element


def _carried(key: str, text: str) -> str:
    if not CARRIED.match(text):
        raise FleetError(
            "This cannot be written as domain XML.",
            f"{key.rpartition('}')[2]} has a control character: {text[:60]!r}.",
            "Take the character out.",
        )
    return text


def _text(element: Element) -> str:
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode") + "\n"


def _refused(guest: Guest, detail: str, hint: str = "") -> FleetError:
    return FleetError(f"{guest.name} cannot be defined.", detail, hint)
