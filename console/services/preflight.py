"""The preflight where it counts: in the form, in the plan, and once more before a guest with devices is started."""

from __future__ import annotations

from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.model import Guest, GuestKey
from console.domain.plan import Plan
from console.domain.preflight import Finding, blocks, warnings
from console.domain.verbs import Start
from console.inventory.store import Store
from console.services.devices import Devices

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


async def checked(plan: Plan, store: Store, devices: Devices) -> Plan:
    """Return the plan without the starts that the preflight refuses, after the hosts' kernels were read anew.

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
