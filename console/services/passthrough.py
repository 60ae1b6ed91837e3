"""Which cards a host has, who owns them, and why one cannot be chosen."""

from __future__ import annotations

from collections import defaultdict

from console.domain.errors import FleetError
from console.domain.model import Accel, Device, Guest, GuestKey, Host
from console.domain.observed import HostObservation, PciDevice
from console.domain.standing import HostView
from console.services.hardware import kept_for
from console.services.wishes import GpuChoice

GPU_CLASSES = ("0x03", "0x12")
"""Displays and processing accelerators."""
BRIDGE_CLASS = "0x06"
CONSOLE_CHIPS = frozenset({"1a03", "102b"})
"""Vendors of the display chips of servers' management controllers (ASPEED, Matrox): the host's own screen."""


def gpu_choices(view: HostView) -> tuple[GpuChoice, ...]:
    """Return the host's display cards by slot, from its last known facts; empty when it never reported."""
    return tuple(choice for choice in device_choices(view) if _is_gpu(view.seen, choice.slot))


def device_choices(view: HostView, *, except_for: str | None = None) -> tuple[GpuChoice, ...]:
    """Return every PCI slot that is no bridge. except_for: the guest whose own devices count as free."""
    owners = slot_owners(view, except_for=except_for)
    slots = _slots(view.seen)
    choices = []
    for slot in sorted(slots):
        functions = slots[slot]
        if all((function.class_code or "").startswith(BRIDGE_CLASS) for function in functions):
            continue
        first = functions[0]
        owner = owners.get(slot)
        own = next((each for each in view.wanted.own.values() if each.pci == slot), None)
        refusal = f"kept by {view.name} for itself ({kept_for(own)})" if own is not None else ""
        choices.append(
            GpuChoice(
                slot=slot,
                title=" ".join(part for part in (first.vendor, first.product) if part) or first.pci_id,
                functions=tuple(function.pci_id for function in functions),
                function_numbers=tuple(function.function for function in functions),
                iommu_group=first.iommu_group,
                numa_node=first.numa_node,
                driver=first.driver or _unbound(view.seen),
                owner=owner.partition(" ")[0] if owner else None,
                refusal=f"taken by {owner}" if owner else refusal or _refusal(view.seen, slot, functions),
            )
        )
    return tuple(choices)


def slot_owners(view: HostView, *, except_for: str | None = None) -> dict[str, str]:
    """Return slot -> "host/guest (state)" for every slot that a wanted or an observed guest has.

    The inventory counts as much as libvirt does: a guest that is off or pending owns its card too.
    """
    owners: dict[str, str] = {}
    for guest in view.guests:
        if guest.key.guest == except_for:
            continue
        state = guest.state.value if guest.seen is not None else "pending"
        slots = {device.pci for device in guest.wanted.devices.values() if device.is_picked} if guest.wanted else set()
        slots |= {function.rpartition(".")[0] for function in guest.seen.pci} if guest.seen else set()
        for slot in slots:
            owners.setdefault(slot, f"{guest.key} ({state})")
    return owners


def choose_gpu(view: HostView, wanted: str, *, except_for: str | None = None) -> GpuChoice:
    """Return the slot that "any" or an address picks. Raises FleetError with the owner or the reason."""
    choices = device_choices(view, except_for=except_for)
    if not choices:
        raise FleetError(
            f"The devices of {view.name} are not known.",
            "They are read from the host, and it has not reported any.",
            "Choose a GPU when the host is up and has passed-through devices.",
        )
    if wanted == "any":
        cards = [choice for choice in choices if _is_gpu(view.seen, choice.slot)]
        for choice in cards:
            if not choice.refusal:
                return choice
        taken = "; ".join(f"{choice.title} at {choice.slot} is {choice.refusal}" for choice in cards)
        raise FleetError(
            f"No GPU is free on {view.name}.", taken + "." if taken else "It has none.", "Choose another host."
        )
    for choice in choices:
        if choice.slot == wanted:
            if choice.refusal:
                raise FleetError(
                    f"{choice.title} at {choice.slot} on {view.name} is {choice.refusal}.",
                    "",
                    "Choose another device, or stop and edit that guest first."
                    if choice.owner
                    else "Choose another device.",
                )
            return choice
    known = ", ".join(choice.slot for choice in choices if _is_gpu(view.seen, choice.slot)) or "none"
    raise FleetError(f"{view.name} has no device at {wanted}.", f"Its GPUs: {known}.", "Write one of those, or any.")


def device_of(choice: GpuChoice, name: str, *, gpu: bool) -> Device:
    """Freeze a chosen slot into the inventory's form."""
    return Device(
        name=name, pci=choice.slot, functions=choice.functions, function_numbers=choice.function_numbers, gpu=gpu
    )


def running_owner(view: HostView, guest: Guest) -> tuple[GuestKey, Device] | None:
    """Return a guest that runs now with a device that `guest` needs, if there is one.

    libvirt's QEMU driver refuses such a start by itself, its test driver does not.
    """
    for other in view.guests:
        if other.seen is None or other.uuid == guest.uuid or other.seen.active_shape is None:
            continue
        for address in other.seen.pci:
            slot, _, number = address.rpartition(".")
            for device in guest.devices.values():
                # Of a slot with virtual functions each is a device of its own.
                alone = device.virtual_of and int(number) not in device.function_numbers
                if device.pci == slot and not device.mdev and not alone:
                    return other.key, device
    return None


def changed_device(host: Host, seen: HostObservation, guest: Guest) -> str:
    """Return a sentence when a slot holds other hardware than was frozen at create, else an empty string."""
    if seen.facts is None or not seen.facts.pci:
        return ""
    slots = _slots(seen)
    for device in guest.devices.values():
        if not device.is_picked:
            continue
        alone = device.function_numbers if device.virtual_of or device.is_part else ()
        here = slots.get(device.pci, ())
        found = tuple(function.pci_id for function in here if not alone or function.function in alone)
        if device.functions and found != device.functions:
            there = ", ".join(found) or "nothing"
            same = [slot for slot, here in slots.items() if tuple(f.pci_id for f in here) == device.functions]
            return (
                f"the hardware changed: {device.pci} on {host.name} holds {there}, "
                f"{guest.name} was made for {', '.join(device.functions)}"
                + (f"; the same card is at {same[0]} now: choose it there" if len(same) == 1 else "")
            )
    return ""


def _slots(seen: HostObservation) -> dict[str, list[PciDevice]]:
    slots: dict[str, list[PciDevice]] = defaultdict(list)
    for function in sorted(seen.facts.pci if seen.facts else (), key=lambda device: device.address):
        slots[function.slot].append(function)
    return slots


def _unbound(seen: HostObservation) -> str | None:
    """Where libvirt names no driver none is bound; its test driver never names one."""
    return None if seen.facts is None or seen.facts.accel is Accel.TEST else ""


def _is_gpu(seen: HostObservation, slot: str) -> bool:
    return any((function.class_code or "").startswith(GPU_CLASSES) for function in _slots(seen).get(slot, ()))


def _refusal(seen: HostObservation, slot: str, functions: list[PciDevice]) -> str:
    if _is_gpu(seen, slot) and functions[0].vendor_id in CONSOLE_CHIPS:
        return "the host's screen"
    # A device of another slot in the same IOMMU group would have to go along: the kernel refuses half a group.
    known = {device.address: device for device in (seen.facts.pci if seen.facts else ())}
    for function in functions:
        for address in function.group_members:
            other = known.get(address)
            if address.rpartition(".")[0] == slot or (other and (other.class_code or "").startswith(BRIDGE_CLASS)):
                continue
            what = f" ({other.product})" if other and other.product else ""
            return f"shares IOMMU group {function.iommu_group} with {address}{what}"
    return ""
