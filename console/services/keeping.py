"""Plans for what a host does with its own devices: keep one for itself, give it back, part a card into functions.

All of it is the inventory's alone: the host follows when its configuration is deployed, and where drivers or parts
change, when it boots after that.
"""

from __future__ import annotations

import re
from dataclasses import replace

from console.domain import values
from console.domain.errors import FleetError
from console.domain.hardware import VFIO_DRIVERS, HostHardware, PciFunction
from console.domain.model import Host, OwnDevice
from console.domain.move import inventory_change
from console.domain.plan import Danger, Plan
from console.domain.standing import GuestView, HostView
from console.inventory.store import Store
from console.services.fields import Fields
from console.services.wishes import KeepWish

NVIDIA = "10de"

COUNT = re.compile(r"[0-9]{1,5}\Z")


def own_at(host: Host, slot: str) -> OwnDevice | None:
    """Return what a host keeps of a slot for itself, None when it does not."""
    return next((device for device in host.own.values() if device.pci == slot), None)


def wish_to_keep(host: Host, slot: str, functions: tuple[PciFunction, ...]) -> KeepWish:
    """Return what a form begins with: as it is kept now, else a free name, and for containers if it is a GPU."""
    if (own := own_at(host, slot)) is not None:
        return KeepWish(host=host.name, slot=slot, name=own.name, containers=own.containers)
    gpu = any(function.is_accelerator for function in functions)
    return KeepWish(host=host.name, slot=slot, name=_free_name(host, gpu=gpu), containers=gpu)


def keep_problems(view: HostView, hardware: HostHardware | None, wish: KeepWish) -> dict[str, str]:
    """Return field -> sentence for what keeps the host from keeping it; "slot" is of the device itself."""
    return _kept(view, hardware, wish)[1]


def plan_keep(store: Store, hardware: HostHardware | None, wish: KeepWish) -> Plan:
    """Return the plan that keeps a slot for its host, or keeps it under another name or for another use.

    Raises FleetError for a device that is not there, that a guest has or is to have, and for a name that is taken.
    """
    view = store.host(wish.host)
    own, problems = _kept(view, hardware, wish)
    if problems:
        raise FleetError(
            f"{_title(hardware, wish.slot)} of {wish.host} was not kept for the host.",
            "\n".join(problems.values()),
            "Nothing was changed.",
        )
    host, before = view.wanted, own_at(view.wanted, wish.slot)
    title = f"Keep {wish.slot} for {host.name}"
    if own == before:
        return Plan(title=title)
    others = {name: each for name, each in host.own.items() if each.pci != wish.slot}
    after = replace(host, own={**others, own.name: own})
    return _plan(store, title, after, _kept_notes(host, own, hardware))


def plan_give_back(store: Store, hardware: HostHardware | None, host: str, slot: str) -> Plan:
    """Return the plan after which guests can get a slot that its host kept. Raises FleetError where it keeps none."""
    view = store.host(host)
    own = own_at(view.wanted, slot)
    if own is None:
        kept = ", ".join(f"{each.pci} (own.{each.name})" for each in view.wanted.own.values()) or "none"
        raise FleetError(f"{host} does not keep {slot} for itself.", f"It keeps {kept}.", "Nothing was changed.")
    after = replace(view.wanted, own={name: each for name, each in view.wanted.own.items() if each != own})
    users = dict.fromkeys(
        user.process or str(user.pid)
        for function in (hardware.slot(slot) if hardware is not None else ())
        for user in function.users or ()
    )
    notes = [f"{_title(hardware, slot)} can be given to guests from now on."]
    if users:
        notes.append(f"{', '.join(users)} of {host} works on it now: no guest gets it before that has ended.")
    if own.containers and _is_nvidia(own):
        notes.append(f"Containers of {host} have it until the configuration is deployed.")
    else:
        notes.append(f"The configuration of {host} says so at its next deployment.")
    return _plan(store, f"Give {slot} of {host} back", after, notes)


def parts_place(view: HostView, hardware: HostHardware | None, place: str) -> str:
    """Return the function that a slot or a function means where virtual functions are told of.

    place: as values.parse_pci_place returns it. Of a slot it is the one function that can have any.
    """
    if "." in place:
        return place
    able = [f.address for f in hardware.slot(place) if f.sriov_total] if hardware is not None else []
    able += [each for each in view.wanted.sriov if each.startswith(f"{place}.") and each not in able]
    if len(able) == 1:
        return able[0]
    if able:
        raise FleetError(
            f"{place} of {view.name} has several functions that can have virtual ones.",
            f"They are {', '.join(able)}.",
            "Name one of them.",
        )
    return f"{place}.0"


def parts_problem(view: HostView, hardware: HostHardware | None, function: str, count: str) -> str:
    """Return why a function cannot have so many virtual functions from the next boot on, "" when it can."""
    if not COUNT.match(count.strip()):
        return f"{values.shown(count)} is no number of virtual functions. Write 0 for none."
    if hardware is None or not hardware.whole:
        return f"The kernel of {view.name} was not asked: what {function} can have, and who has it, is not known."
    wanted, found = int(count), _function(hardware, function)
    if wanted > view.wanted.sriov.get(function, 0):
        if found is None:
            return f"{view.name} has no {function}."
        if found.physical is not None:
            return f"{function} is itself a virtual function, of {found.physical}."
        if not found.sriov_total:
            return f"{found.title} at {function} can have no virtual functions: it has no SR-IOV."
        if wanted > found.sriov_total:
            return f"{found.title} at {function} can have at most {found.sriov_total} virtual functions."
        if (holder := _holder(view, hardware, found.slot)) is not None:
            return f"It belongs to {holder} itself, and cannot be parted."
    now = found.sriov_active if found is not None else 0
    return _loss(view, found, function, wanted) if wanted < max(now, view.wanted.sriov.get(function, 0)) else ""


def plan_parts(store: Store, hardware: HostHardware | None, host: str, function: str, count: str) -> Plan:
    """Return the plan that gives a function so many virtual functions at each boot; 0: none any more.

    Raises FleetError for more than it can have, and for fewer than guests have.
    """
    view = store.host(host)
    found = _function(hardware, function)
    what = f"{found.title} at {function}" if found is not None else function
    if why := parts_problem(view, hardware, function, count):
        raise FleetError(f"The virtual functions of {what} on {host} stay as they are.", why, "Nothing was changed.")
    wanted, sriov = int(count), dict(view.wanted.sriov)
    title = f"{wanted or 'No'} virtual function{'' if wanted == 1 else 's'} of {function} of {host}"
    if wanted == sriov.get(function, 0):
        return Plan(title=title)
    sriov.pop(function, None)
    after = replace(view.wanted, sriov={**sriov, function: wanted} if wanted else sriov)
    now = f"It has {found.sriov_active or 'none'} now. " if found is not None else ""
    notes = [f"{now}Deploy {host}, then reboot it: the number is set at boot alone, never while guests may have some."]
    if found is not None and found.sriov_active == wanted:
        notes = [f"It has {wanted or 'none'} now, and after each boot once {host} is deployed."]
    return _plan(store, title, after, notes)


def _plan(store: Store, title: str, after: Host, notes: list[str]) -> Plan:
    fleet = replace(store.fleet, hosts={**store.fleet.hosts, after.name: after})
    return Plan(
        title=title,
        change=inventory_change(title, store.fleet, fleet),
        warnings=tuple(notes),
        danger=Danger.CONFIRM,
        confirm_word=after.name,
    )


def _kept(view: HostView, hardware: HostHardware | None, wish: KeepWish) -> tuple[OwnDevice, dict[str, str]]:
    fields, host = Fields(), view.wanted
    before = own_at(host, wish.slot)
    here = tuple(f for f in hardware.slot(wish.slot) if f.physical is None) if hardware is not None else ()
    ids = tuple(function.pci_id for function in here) or (before.functions if before is not None else ())
    if not ids and before is None:
        ids = (host.hardware.pci or {}).get(wish.slot, ())
        known = hardware is not None or host.hardware.pci is not None
        if not ids:
            nothing = f"{host.name} has no device at {wish.slot}."
            fields.blame("slot", nothing if known else f"The devices of {host.name} are not known. Is it up?")
    if here and all(function.is_bridge for function in here):
        fields.blame("slot", f"{here[0].title} at {wish.slot} is a bridge: no guest gets it anyway.")
    if (holder := _holder(view, hardware, wish.slot)) is not None:
        fields.blame("slot", f"It belongs to {holder}. Take it from the guest first.")
    typed = wish.name.strip() or (before.name if before is not None else _free_name(host, gpu=_is_gpu(here)))
    name = fields.parse("name", typed, values.parse_name, typed)
    taken = host.own.get(name)
    if taken is not None and taken.pci != wish.slot:
        fields.blame("name", f"own.{name} of {host.name} is {taken.pci} already. Choose another name.")
    containers = wish.containers if wish.containers is not None else before is not None and before.containers
    return OwnDevice(name=name, pci=wish.slot, functions=ids, containers=containers), fields.problems


def _kept_notes(host: Host, own: OwnDevice, hardware: HostHardware | None) -> list[str]:
    functions = hardware.slot(own.pci) if hardware is not None else ()
    held = [function for function in functions if function.driver in VFIO_DRIVERS]
    notes = [f"No guest gets {_title(hardware, own.pci)} from now on."]
    if held:
        notes.append(
            f"It is on {held[0].driver} now. Deploy {host.name}, then reboot it: then the host's own driver has it."
        )
    if own.containers and _is_nvidia(own):
        first = not any(each.containers and _is_nvidia(each) for each in host.own.values())
        toolkit = " and brings NVIDIA's driver and container toolkit" if first else ""
        notes.append(f"The next deployment of {host.name} lets its containers name it by CDI{toolkit}.")
    elif own.containers:
        notes.append("Only NVIDIA's cards need a toolkit: containers are given this one by its device files.")
    if len(notes) == 1:
        notes.append(f"The configuration of {host.name} says so at its next deployment; nothing is rebooted.")
    return notes


def _holder(view: HostView, hardware: HostHardware | None, slot: str) -> str | None:
    """Return the guest that has or is to have a slot itself, and not parts of it: "host/guest (state)"."""
    virtual = {f.address for f in hardware.slot(slot) if f.physical is not None} if hardware is not None else set()
    for guest in view.guests:
        devices = guest.wanted.devices.values() if guest.wanted is not None else ()
        seen = guest.seen.pci if guest.seen is not None else ()
        if any(device.pci == slot and not device.is_part and not device.virtual_of for device in devices) or any(
            address.startswith(f"{slot}.") and address not in virtual for address in seen
        ):
            return _named(guest)
    return None


def _loss(view: HostView, found: PciFunction | None, function: str, wanted: int) -> str:
    """Return which guest has a virtual function that is not among the first `wanted`, "" when none has."""
    order = {address: number for number, address in enumerate(found.virtual)} if found is not None else {}
    for guest in view.guests:
        devices = guest.wanted.devices.values() if guest.wanted is not None else ()
        parts = [f"{each.pci}.{n}" for each in devices if each.virtual_of == function for n in each.function_numbers]
        seen = guest.seen.pci if guest.seen is not None else ()
        for address in (*parts, *(each for each in seen if each in order)):
            # One that is not there now may be any of them.
            if order.get(address, wanted) >= wanted:
                return f"{_named(guest)} has {address}, which would be gone. Take it from the guest first."
    return ""


def _named(guest: GuestView) -> str:
    return f"{guest.key} ({guest.state.value if guest.seen is not None else 'pending'})"


def _function(hardware: HostHardware | None, address: str) -> PciFunction | None:
    return next((f for f in hardware.functions if f.address == address), None) if hardware is not None else None


def _title(hardware: HostHardware | None, slot: str) -> str:
    functions = hardware.slot(slot) if hardware is not None else ()
    return f"{functions[0].title} at {slot}" if functions else slot


def _is_nvidia(own: OwnDevice) -> bool:
    return any(each.startswith(f"{NVIDIA}:") for each in own.functions)


def _is_gpu(functions: tuple[PciFunction, ...]) -> bool:
    return any(function.is_accelerator for function in functions)


def _free_name(host: Host, *, gpu: bool) -> str:
    word = "gpu" if gpu else "device"
    return next(name for number in range(len(host.own) + 1) if (name := f"{word}{number}") not in host.own)
