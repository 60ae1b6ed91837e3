"""Devices of the host as parts of a guest's domain XML: PCI slots, parts of cards, USB devices."""

from __future__ import annotations

from collections.abc import Iterator

from console.domain.model import Device, Guest, Usb
from console.generate.xml_text import alias_of, attribute, boot_and_alias, refused


def device_xml(guest: Guest, device: Device, bus: int, order: int | None) -> Iterator[str]:
    """Yield the lines of a device, in the guest's slot behind the port of this number. order: its place to boot from.

    Raises FleetError for a slot whose functions are not known.
    """
    return _mdev(device, bus) if device.mdev else _slot(guest, device, bus, order)


def plug_xml(device: Device, bus: int) -> str:
    """Return a device of one function as it is plugged into a running guest, behind the port of this number.

    A port is named since libvirt would look for a slot of old PCI for a device that does not call itself PCI Express.
    """
    (number,) = device.function_numbers or (0,)
    return "\n".join(
        (
            '<hostdev mode="subsystem" type="pci" managed="yes">',
            "  <source>",
            f"    <address {_place(device, number)} />",
            "  </source>",
            *boot_and_alias(None, _alias(device, number)),
            *_rom(device, first=True),
            f'  <address type="pci" domain="0x0000" bus="0x{bus:02x}" slot="0x00" function="0x0" />',
            "</hostdev>",
        )
    )


def usb_xml(usb: Usb, order: int | None) -> Iterator[str]:
    """Yield the lines of a USB device: the one with its ids, in whatever port it is when the guest starts."""
    vendor, product = usb.id.split(":")
    # A guest is to start without a mouse that somebody unplugged, and not to lose its place by it.
    yield '<hostdev mode="subsystem" type="usb" managed="yes">'
    yield '  <source startupPolicy="optional">'
    yield f'    <vendor id="0x{attribute("vendor", vendor)}" />'
    yield f'    <product id="0x{attribute("product", product)}" />'
    yield "  </source>"
    yield from boot_and_alias(order, f"ua-usb-{alias_of(usb.name)}")
    yield "</hostdev>"


def _slot(guest: Guest, device: Device, bus: int, order: int | None) -> Iterator[str]:
    """Yield a host's slot as one slot of the guest: function for function, beginning with function 0."""
    numbers = sorted(device.function_numbers) or list(range(len(device.functions)))
    if not numbers:
        raise refused(
            guest,
            f"The functions of its device {device.name} at {device.pci} are not known.",
            'Write the ids of all functions of the slot, such as functions = ["10de:2206", "10de:1aef"].',
        )
    # A vGPU stays on its vendor's driver: libvirt must not bind it to vfio-pci, nor give it back.
    managed = "no" if device.is_part else "yes"
    for number in numbers:
        first = number == numbers[0]
        # A guest looks for the other functions only where there is a function 0 that says so.
        several = ' multifunction="on"' if first and len(numbers) > 1 else ""
        seat = f'domain="0x0000" bus="0x{bus:02x}" slot="0x00" function="0x{number - numbers[0]:x}"'
        yield f'<hostdev mode="subsystem" type="pci" managed="{managed}">'
        yield "  <source>"
        yield f"    <address {_place(device, number)} />"
        yield "  </source>"
        yield from boot_and_alias(order if first else None, _alias(device, number))
        yield from _rom(device, first)
        yield f'  <address type="pci" {seat}{several} />'
        yield "</hostdev>"


def _place(device: Device, number: int) -> str:
    domain, bus, slot = (attribute("address", part) for part in device.pci.split(":"))
    return f'domain="0x{domain}" bus="0x{bus}" slot="0x{slot}" function="0x{number:x}"'


def _alias(device: Device, number: int) -> str:
    return f"ua-dev-{alias_of(device.name)}-{number}"


def _rom(device: Device, first: bool) -> Iterator[str]:
    if device.rom == "off":
        yield '  <rom bar="off" />'
    elif device.rom and first:
        # The file is of the card's first function: the others (sound, USB) have ROMs of their own, or none.
        yield f'  <rom file="{attribute("rom", device.rom)}" />'


def _mdev(device: Device, bus: int) -> Iterator[str]:
    # display: what newer versions of libvirt write where nothing is said.
    yield '<hostdev mode="subsystem" type="mdev" managed="no" model="vfio-pci" display="off">'
    yield "  <source>"
    yield f'    <address uuid="{attribute("mdev_uuid", device.mdev_uuid)}" />'
    yield "  </source>"
    yield f'  <alias name="{attribute("alias name", f"ua-dev-{alias_of(device.name)}")}" />'
    yield f'  <address type="pci" domain="0x0000" bus="0x{bus:02x}" slot="0x00" function="0x0" />'
    yield "</hostdev>"
