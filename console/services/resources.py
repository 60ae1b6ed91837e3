"""Devices by the name of a resource: which card of a host answers a wish, and why that one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from console.domain.errors import FleetError
from console.domain.hardware import HostHardware, PciFunction
from console.domain.model import Device, Guest, Resource
from console.domain.preflight import blocks, preflight, warnings
from console.domain.standing import HostView
from console.inventory.store import Store
from console.services.hardware import case_of, hardware_of
from console.services.passthrough import device_choices

HardwareOf = Callable[[str], HostHardware | None]
"""Gives what is known of a host's devices."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One device of a host that is what a resource names. why_not: why the guest cannot have it, "" when it can."""

    device: Device
    title: str
    warnings: int
    why_not: str


@dataclass(frozen=True, slots=True)
class Picked:
    """A guest whose wishes for resources are answered. notes: which device each got, and why not another."""

    guest: Guest
    notes: tuple[str, ...] = ()


def known_hardware(store: Store, host: HostView, hardware: HardwareOf | None) -> HostHardware | None:
    """Return what is known of a host's devices: by `hardware`, or from libvirt alone."""
    return hardware(host.name) if hardware else hardware_of(host.seen.facts, None, store.clock())


def picked(resources: Mapping[str, Resource], view: HostView, hardware: HostHardware | None, guest: Guest) -> Picked:
    """Return the guest with a device of its host for each resource that it wishes for.

    What was picked before stays, as long as the same hardware is there; else it is found again, or another is picked.
    Raises FleetError, naming each device that is none, when there is nothing to pick.
    """
    notes: list[str] = []
    for device in guest.devices.values():
        resource = resources.get(device.resource)
        if resource is None or (device.pci and (hardware is None or is_there(hardware, device))):
            continue
        if hardware is None:
            raise FleetError(
                f"No {resource.name} can be picked on {view.name}.",
                "Its devices are not known: it has not reported any.",
                "Try again when the host is up.",
            )
        chosen, note = _pick(resource, view, hardware, guest, device)
        notes.append(note)
        guest = replace(guest, devices={**guest.devices, device.name: chosen})
    return Picked(guest, tuple(notes))


def is_there(hardware: HostHardware, device: Device) -> bool:
    """Return whether a device's place holds what it held when it was picked."""
    chosen = device.function_numbers
    here = tuple(f.pci_id for f in hardware.slot(device.pci) if (f.number in chosen if chosen else not f.is_bridge))
    return here == device.functions


def answers(
    resource: Resource, view: HostView, hardware: HostHardware, guest: Guest, device: Device
) -> tuple[Answer, ...]:
    """Return every device of the host that is what the resource names, judged by the preflight, by address.

    device: the wish, with the place that it has now, if any: that one is not taken by the guest itself.
    """
    return tuple(_judged(view, hardware, guest, device, functions) for functions in _matches(resource, view, hardware))


def wishes(guest: Guest) -> bool:
    """Return whether a guest has a device by the name of a resource."""
    return any(device.resource for device in guest.devices.values())


def reasons(
    resources: Mapping[str, Resource], view: HostView, hardware: HostHardware | None, guest: Guest, old: Guest | None
) -> tuple[str, ...]:
    """Return why each device that a resource was answered with is this one; only of what `old` has not got."""
    before = old.devices if old is not None else {}
    told = []
    for device in guest.devices.values():
        resource = resources.get(device.resource)
        was = before.get(device.name)
        new = was is None or (was.resource, _place(was)) != (device.resource, _place(device))
        if resource is not None and hardware is not None and device.is_picked and new:
            told.append(_reason(answers(resource, view, hardware, guest, device), device, was))
    return tuple(told)


def _pick(
    resource: Resource, view: HostView, hardware: HostHardware, guest: Guest, device: Device
) -> tuple[Device, str]:
    found = answers(resource, view, hardware, guest, device)
    free = [answer for answer in found if not answer.why_not]
    if not free:
        what = "The hardware changed, and no other" if device.is_picked else "No"
        taken = "; ".join(f"{_place(answer.device)}: {answer.why_not}" for answer in found)
        unknown = resource.subsystem and not hardware.whole
        raise FleetError(
            f"{what} {resource.name} is free on {view.name}.",
            taken or f"{view.name} has none" + (", as far as is known: its kernel was not asked." if unknown else "."),
            f"Choose another host, or see: qd gpu list --host {view.name}",
        )
    chosen = min(free, key=lambda answer: answer.warnings).device
    return chosen, _reason(found, chosen, device)


def _reason(found: Iterable[Answer], chosen: Device, before: Device | None) -> str:
    """Return a sentence: what was picked, where it was before, what speaks against the others."""
    title = next((answer.title for answer in found if _place(answer.device) == _place(chosen)), "")
    moved = before is not None and before.is_picked and before.resource == chosen.resource
    why = [f"the hardware changed: it was at {_place(before)}"] if moved and before is not None else []
    for answer in found:
        if _place(answer.device) != _place(chosen):
            why.append(f"{_place(answer.device)}: {answer.why_not or 'would do as well'}")
    because = f" ({'; '.join(why)})" if why else ""
    return f"{chosen.name}: {chosen.resource} is {title} at {_place(chosen)}{because}."


def _place(device: Device) -> str:
    alone = device.virtual_of or device.is_part
    return f"{device.pci}.{device.function_numbers[0]}" if alone and device.function_numbers else device.pci


def _matches(resource: Resource, view: HostView, hardware: HostHardware) -> Iterator[tuple[PciFunction, ...]]:
    """Yield the functions of each device that the resource names: of a slot together, a virtual function alone."""
    places = resource.addresses.get(view.name, ())
    seen: set[str] = set()
    for function in sorted(hardware.functions, key=lambda each: each.address):
        if function.is_bridge or (function.physical is None and function.slot in seen):
            continue
        if function.physical is None:
            seen.add(function.slot)
            whole = tuple(f for f in hardware.slot(function.slot) if not f.is_bridge and f.physical is None)
        else:
            whole = (function,)
        first = whole[0]
        named = first.pci_id == resource.id and resource.subsystem in ("", first.subsystem)
        if named or first.address in places or (first.slot in places and first.physical is None):
            yield whole


def _judged(
    view: HostView, hardware: HostHardware, guest: Guest, device: Device, functions: tuple[PciFunction, ...]
) -> Answer:
    first = functions[0]
    part = device.is_part
    chosen = replace(
        device,
        pci=first.slot,
        functions=(first.pci_id,) if part else tuple(function.pci_id for function in functions),
        function_numbers=(first.number,) if part else tuple(function.number for function in functions),
        gpu=device.gpu or any(function.is_accelerator for function in functions),
        virtual_of=first.physical or "",
    )
    mine = {**guest.devices, device.name: chosen}
    twin = next((other for name, other in guest.devices.items() if name != device.name and _same(other, chosen)), None)
    if twin is not None:
        return Answer(chosen, first.title, 0, f"it is {twin.name} of this guest")
    found = preflight(case_of(view, hardware, replace(guest, devices=mine), chosen))
    wrong = blocks(found)
    why = wrong[0].sentence if wrong else ""
    if not why and not hardware.whole and not part and first.physical is None:
        choices = device_choices(view, except_for=guest.name)
        why = next((choice.refusal for choice in choices if choice.slot == first.slot), "")
    return Answer(chosen, first.title, len(warnings(found)), why.rstrip("."))


def _same(one: Device, other: Device) -> bool:
    if one.mdev and other.mdev:
        return False
    return one.pci == other.pci and bool({*one.function_numbers} & {*other.function_numbers})
