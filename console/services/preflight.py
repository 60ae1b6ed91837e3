"""The preflight where it counts: in the form, in the plan, and once more before a guest with devices is started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.model import Firmware, Fleet, Guest, GuestKey
from console.domain.plan import Plan, Step
from console.domain.preflight import Finding, blocks, warnings
from console.domain.standing import HostView
from console.domain.verbs import ForceOff, Shutdown, Start
from console.inventory.store import Store
from console.services.devices import ANY_GUEST, Devices
from console.services.guests import guest_of
from console.services.passthrough import choose_gpu, device_of
from console.services.wishes import GuestWish

VIRTUAL = "sr-iov"
"""The rule on virtual functions."""

READ_S = 10.0
"""How long a host's kernel may take to tell its devices before what libvirt tells must do."""


def device_findings(devices: Devices, host: str, guest: Guest) -> tuple[Finding, ...]:
    """Return what the guest would run into with all its devices; none when nothing is known of the host's."""
    if devices.hardware(host) is None:
        return ()
    return tuple(f for device in guest.devices.values() for f in devices.check(host, guest, device))


def device_problem(devices: Devices, host: str, guest: Guest) -> str:
    """Return why the guest cannot have its devices, empty when it can."""
    found = blocks(device_findings(devices, host, guest))
    return f"{found[0].sentence} {found[0].remedy}" if found else ""


def device_warnings(devices: Devices, host: str, guest: Guest) -> tuple[str, ...]:
    """Return what is worth a second thought about the guest's devices."""
    return tuple(f"{f.concern}: {f.sentence} {f.remedy}" for f in warnings(device_findings(devices, host, guest)))


def parts_lost(store: Store, devices: Devices, keys: Iterable[GuestKey]) -> tuple[str, ...]:
    """Return which of these guests have a virtual function that is not made again at their host's next boot."""
    told = []
    for key in keys:
        guest = store.guest(key).wanted
        parted = guest is not None and any(device.virtual_of for device in guest.devices.values())
        if parted and devices.hardware(key.host) is not None:
            found = (finding for findings in devices.preflight(key).values() for finding in warnings(findings))
            told += [f"{key}: {f.sentence} {f.remedy}" for f in found if f.rule == VIRTUAL]
    return tuple(told)


def wish_findings(
    fleet: Fleet, devices: Devices, view: HostView, wish: GuestWish, editing: Guest | None
) -> Mapping[str, tuple[Finding, ...]]:
    """Return device -> findings for a guest that is being made or edited; nothing is said before a device is chosen.

    As long as the rest of the wish makes no guest, the device is checked for a guest of which nothing else is known.
    """
    if devices.hardware(view.name) is None:
        return {}
    try:
        guest = guest_of(fleet, view, wish, editing, devices.hardware(view.name))
    except FleetError:
        try:
            choice = choose_gpu(view, wish.gpu, except_for=editing.name if editing is not None else None)
        except FleetError:
            return {}  # no card, or one that cannot be had: that is said beside the field
        uefi = Firmware.UEFI if wish.firmware == Firmware.UEFI else Firmware.BIOS
        guest = replace(ANY_GUEST, firmware=uefi, devices={"gpu0": device_of(choice, "gpu0", gpu=True)})
    return {name: devices.check(view.name, guest, device) for name, device in guest.devices.items()}


async def checked(plan: Plan, store: Store, devices: Devices) -> Plan:
    """Return the plan without the starts that the preflight refuses, after the hosts' kernels were read anew.

    So nothing is begun in vain. The job checks again, right before each start: see console.services.recheck.

    Raises FleetError when nothing would be left, or when the plan makes the very guest that cannot have its device.
    """
    asked = {key: guest for key in _starting(plan) if (guest := _wanted(plan, store, key)) and guest.devices}
    if not asked:
        return plan
    await devices.read(sorted({key.host for key in asked}), timeout_s=READ_S)
    refused = {key: why for key, guest in asked.items() if (why := device_problem(devices, key.host, guest))}
    if not refused:
        return plan
    steps = tuple(step for step in plan.steps if step.guest not in refused)
    sentences = tuple(f"{key} was not started: {why}" for key, why in refused.items())
    if plan.change is not None or not steps:
        raise FleetError(f"{plan.title}: refused.", "\n".join(sentences), "Nothing was changed.")
    return replace(plan, steps=steps, refusals=(*plan.refusals, *sentences))


def marked(plan: Plan, store: Store) -> Plan:
    """Return the plan with the devices in its steps that start or stop a guest which has some."""
    return replace(plan, steps=tuple(_marked(step, plan, store) for step in plan.steps))


def _marked(step: Step, plan: Plan, store: Store) -> Step:
    if step.guest is None or not isinstance(step.verb, Start | Shutdown | ForceOff):
        return step
    host = store.fleet.hosts.get(step.host)
    now = host.guests.get(step.guest.guest) if host is not None else None
    starts = isinstance(step.verb, Start)
    # What is stopped has the devices that it was started with.
    guest = _wanted(plan, store, step.guest) if starts else now
    devices = guest.devices.values() if guest is not None else ()
    # A part of a card (a mediated device, a vGPU) leaves the card where it was.
    slots = [device.pci for device in devices if device.pci and (starts or not (device.mdev or device.vgpu))]
    return replace(step, devices=tuple(dict.fromkeys(slots)))


def _starting(plan: Plan) -> dict[GuestKey, None]:
    return {step.guest: None for step in plan.steps if isinstance(step.verb, Start) and step.guest is not None}


def _wanted(plan: Plan, store: Store, key: GuestKey) -> Guest | None:
    """Return the guest as the plan would have it."""
    fleets = [plan.change.after] if plan.change is not None else []
    for fleet in (*fleets, store.fleet):
        host = fleet.hosts.get(key.host)
        if host is not None and key.guest in host.guests:
            return host.guests[key.guest]
    return None
