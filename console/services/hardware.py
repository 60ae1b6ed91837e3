"""A host's devices as far as they are known: from its kernel where that was read, else from what libvirt tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from console.domain.hardware import HostHardware, PciFunction, cpu_numbers
from console.domain.model import Device, Guest, GuestKey, Host, OwnDevice
from console.domain.observed import HostFacts, PciDevice
from console.domain.preflight import Case
from console.domain.standing import HostView


def hardware_of(facts: HostFacts | None, read: HostHardware | None, at: datetime) -> HostHardware | None:
    """Return what is known of a host's devices, None when it never reported any.

    The kernel knows more, libvirt knows the names: where both were read they are joined by address.
    """
    told = {device.address: device for device in facts.pci} if facts is not None else {}
    if read is not None:
        functions = tuple(
            replace(function, vendor=told[function.address].vendor, product=told[function.address].product)
            if function.address in told
            else function
            for function in read.functions
        )
        return replace(read, functions=functions)
    if not told:
        return None
    functions = tuple(_function(device) for device in told.values())
    groups = [function.group for function in functions if function.group is not None]
    return HostHardware(at=at, functions=functions, iommu=True if groups else None, whole=False)


def owners_of(view: HostView, hardware: HostHardware) -> dict[str, tuple[GuestKey, str]]:
    """Return function -> (guest, its state) for all that guests of the host have or are to have.

    The inventory counts as much as libvirt does: a guest that is off or pending owns its card too.
    """
    owners: dict[str, tuple[GuestKey, str]] = {}
    for guest in view.guests:
        state = guest.state.value if guest.seen is not None else "pending"
        functions = set(guest.seen.pci) if guest.seen is not None else set()
        for device in guest.wanted.devices.values() if guest.wanted is not None else ():
            if not device.mdev:
                functions |= addresses(device, hardware)
        for address in functions:
            owners.setdefault(address, (guest.key, state))
    return owners


def kept_for(device: OwnDevice) -> str:
    """Return what a host keeps a device for ("own.gpu0, for containers")."""
    return f"own.{device.name}{', for containers' if device.containers else ''}"


def kept_of(host: Host, hardware: HostHardware) -> dict[str, str]:
    """Return function -> what for, of the devices that the host keeps for itself."""
    return {
        function.address: kept_for(device)
        for device in host.own.values()
        for function in hardware.slot(device.pci)
        if function.physical is None
    }


def case_of(view: HostView, hardware: HostHardware, guest: Guest, device: Device) -> Case:
    """Return what the preflight of one device of a guest looks at."""
    mine = next((other for other in view.guests if other.uuid == guest.uuid), None)
    others = {a: owner for a, owner in owners_of(view, hardware).items() if mine is None or owner[0] != mine.key}
    pinned = {
        cpu: str(other.key)
        for other in view.guests
        if other.wanted is not None and other.uuid != guest.uuid
        for cpu in cpu_numbers(other.wanted.cpus)
    }
    seen = mine.seen if mine is not None else None
    return Case(
        host=view.name,
        hardware=hardware,
        guest=guest,
        device=device,
        owners={address: f"{key} ({state})" for address, (key, state) in others.items()},
        pinned=pinned,
        kept=kept_of(view.wanted, hardware),
        sriov=view.wanted.sriov,
        running=seen is not None
        and seen.active_shape is not None
        and any(function.rpartition(".")[0] == device.pci for function in seen.pci),
    )


def addresses(device: Device, hardware: HostHardware) -> set[str]:
    """Return the functions that a device stands for on this host."""
    if not device.is_picked:
        return set()
    if device.function_numbers:
        return {f"{device.pci}.{number}" for number in device.function_numbers}
    return {function.address for function in hardware.slot(device.pci) if not function.is_bridge}


def _function(device: PciDevice) -> PciFunction:
    return PciFunction(
        address=device.address,
        vendor_id=device.vendor_id,
        device_id=device.device_id,
        class_code=int(device.class_code or "0", 16),
        vendor=device.vendor,
        product=device.product,
        driver=device.driver,
        group=device.iommu_group,
        numa_node=device.numa_node,
    )
