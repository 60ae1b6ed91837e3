"""What a job looks at itself, while it holds its host: a guest's devices right before a start and after a stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from console.domain.errors import FleetError
from console.domain.model import Device
from console.domain.plan import Step
from console.domain.verbs import ForceOff, Shutdown, Start

if TYPE_CHECKING:
    # Most jobs have nothing to do with devices, and begin without waiting for all this.
    from console.domain.preflight import Finding
    from console.inventory.store import Store
    from console.services.apply import Workplace
    from console.services.devices import Devices

OBSERVE_S = 10.0

LOOKS = 4
"""So often a device is looked at before it is said that it has not gone back: a driver may take a second or two."""


def is_checked(step: Step) -> bool:
    """Return whether a step starts a guest with devices."""
    return isinstance(step.verb, Start) and bool(step.devices)


def is_looked_at(step: Step) -> bool:
    """Return whether a step switches a guest with devices off."""
    return isinstance(step.verb, Shutdown | ForceOff) and bool(step.devices)


async def check(step: Step, place: Workplace) -> None:
    """Return when a guest may have its devices now. Raises FleetError with what is in the way."""
    from console.services.preflight import device_problem

    assert step.guest is not None
    store, devices = await _seen(step.host, place)
    guest = store.guest(step.guest).wanted
    if guest is not None and (why := device_problem(devices, step.host, guest)):
        raise FleetError(f"{step.guest} was not started: {why}")


async def look(step: Step, place: Workplace) -> tuple[str, ...]:
    """Return where the devices of a guest that was switched off are now, a sentence each; never raises FleetError."""
    from console.domain.preflight import Verdict

    found: list[tuple[str, Finding]] = []
    for attempt in range(LOOKS):
        if attempt:
            await asyncio.sleep(place.settle_s)
        try:
            found = await _states(step, place)
        except FleetError as error:
            why = " ".join(part for part in (error.title, error.detail) if part)
            return (f"Where the devices of {step.guest} are now is not known: {why}",)
        if all(finding.verdict is not Verdict.WARNING for _, finding in found):
            break
    return tuple(" ".join(part for part in (f"{what}:", f.sentence, f.remedy) if part) for what, f in found)


async def _states(step: Step, place: Workplace) -> list[tuple[str, Finding]]:
    from console.domain.preflight import state
    from console.services.devices import ANY_GUEST
    from console.services.hardware import case_of

    store, devices = await _seen(step.host, place)
    hardware = devices.hardware(step.host)
    if hardware is None or not hardware.whole:
        error = devices.errors.get(step.host)
        raise error or FleetError(f"{step.host} told nothing of them.")
    cases = (case_of(store.host(step.host), hardware, ANY_GUEST, Device(name="", pci=slot)) for slot in step.devices)
    return [(case.title, state(replace(case, running=False))) for case in cases]


async def _seen(host: str, place: Workplace) -> tuple[Store, Devices]:
    """Return what the host reports and what its kernel says, both read after this call began."""
    from console.inventory.files import read_inventory
    from console.inventory.store import Store
    from console.services.definitions import definition
    from console.services.devices import Devices
    from console.services.preflight import READ_S

    store = Store(await asyncio.to_thread(read_inventory, place.folder), definition)
    store.set_observed({host: await place.hypervisors.observe(host, timeout_s=OBSERVE_S)})
    devices = Devices(store, place.hardware)
    await devices.read([host], timeout_s=READ_S)
    return store, devices
