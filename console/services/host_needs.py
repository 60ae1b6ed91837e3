"""What a host's own configuration still has to do for a guest's devices: bind them early, part its cards."""

from __future__ import annotations

from console.domain.hardware import HostHardware
from console.domain.model import Device, Guest, Host
from console.domain.preflight.case import is_held_for_guests


def host_needs(host: Host, hardware: HostHardware | None, guest: Guest, old: Guest | None = None) -> tuple[str, ...]:
    """Return what is to be done on the host for devices that `old` has not got; nothing of what is not known."""
    if hardware is None:
        return ()
    before = old.devices if old is not None else {}
    had = {_what(device) for device in before.values()}
    new = (device for device in guest.devices.values() if device.is_picked and _what(device) not in had)
    return tuple(sentence for device in new if (sentence := _need(host, hardware, device)))


def _what(device: Device) -> tuple[object, ...]:
    return device.pci, device.function_numbers, device.mdev_uuid, device.vgpu


def _need(host: Host, hardware: HostHardware, device: Device) -> str:
    chosen = device.function_numbers
    functions = [f for f in hardware.slot(device.pci) if not chosen or f.number in chosen]
    deploy = f"deploy {host.name} first: its configuration (generated/{host.name}.nix) makes it at each boot"
    if device.mdev:
        made = any(device.mdev_uuid in function.mdevs for function in hardware.slot(device.pci))
        return "" if made else f"{device.name}: the {device.mdev} of {device.pci} is not there yet: {deploy}."
    if device.vgpu is not None:
        typed = any(function.vgpu_current == device.vgpu for function in functions)
        return "" if typed else f"{device.name}: {device.pci} has not got vGPU type {device.vgpu} yet: {deploy}."
    drivers = dict.fromkeys(f.driver for f in functions if f.driver and not is_held_for_guests(f))
    if not drivers or device.virtual_of:
        return ""
    now = ", ".join(str(name) for name in drivers)
    return (
        f"{device.name}: {device.pci} is on {now} now. The configuration of {host.name} keeps it for guests from early "
        "boot on: that needs a deploy and a reboot of the host."
    )
