"""The fleet's devices: what the hosts' kernels say of them, who has them, what a guest with one would run into."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.domain.errors import FleetError
from console.domain.hardware import HostHardware, PciFunction
from console.domain.model import Device, Firmware, Guest, GuestKey
from console.domain.observed import HostState
from console.domain.preflight import Finding, preflight
from console.domain.standing import HostView
from console.drivers.base import HardwareReader
from console.inventory.store import Store
from console.services.hardware import case_of, hardware_of, owners_of

ANY_GUEST = Guest(name="", uuid="", vcpus=1, memory_kib=1, firmware=Firmware.UEFI)
"""Who asks about a device alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One card of a host. functions: all of its slot. owner: "host/guest (state)", "" when it is free."""

    host: str
    slot: str
    title: str
    functions: tuple[PciFunction, ...]
    owner: str
    findings: tuple[Finding, ...]

    @property
    def first(self) -> PciFunction:
        """The function that it is named after."""
        return self.functions[0]


class Devices:
    """What is known of the fleet's devices, from the last time that each host's kernel was read."""

    def __init__(self, store: Store, reader: HardwareReader) -> None:
        self._store = store
        self._reader = reader
        self._read: dict[str, HostHardware] = {}
        self.errors: dict[str, FleetError] = {}
        """Why a host's kernel was not read the last time."""

    async def read(self, names: Iterable[str], *, timeout_s: float) -> None:
        """Have these hosts' kernels read, beside one another; why one was not is in `errors`."""
        await asyncio.gather(*(self._read_one(name, timeout_s) for name in names))

    async def _read_one(self, name: str, timeout_s: float) -> None:
        view = self._store.host(name)
        if view.seen.state is not HostState.UP:
            return
        try:
            found = await self._reader.read(view.wanted, self._store.fleet.ssh, timeout_s=timeout_s)
        except FleetError as error:
            self.errors[name] = error
            self._read.pop(name, None)  # what was true once must not let a guest start now
        else:
            self.errors.pop(name, None)
            self._read[name] = found

    def hardware(self, host: str) -> HostHardware | None:
        """Return what is known of a host's devices, None when it never told any."""
        view = self._store.host(host)
        return hardware_of(view.seen.facts, self._read.get(host), self._store.clock())

    def accelerators(self, host: str | None = None) -> tuple[Accelerator, ...]:
        """Return the cards of one host or of the fleet, by host and slot."""
        views = [self._store.host(host)] if host is not None else self._store.hosts()
        return tuple(card for view in views for card in self._cards(view))

    def preflight(self, key: GuestKey) -> Mapping[str, tuple[Finding, ...]]:
        """Return device -> findings for a guest of the inventory. Raises FleetError when nothing is known to check."""
        guest = self._store.guest(key).wanted
        if guest is None:
            raise FleetError(f"{key} is not in the inventory.", "Its devices are not Quarterdeck's to check.")
        return {name: self.check(key.host, guest, device) for name, device in guest.devices.items()}

    def check(self, host: str, guest: Guest, device: Device) -> tuple[Finding, ...]:
        """Return what a guest would run into with a device. Raises FleetError when nothing is known of the host's."""
        hardware = self.hardware(host)
        if hardware is None:
            error = self.errors.get(host)
            raise FleetError(
                f"The devices of {host} are not known.",
                f"{error.title} {error.detail}".strip() if error else "It has not reported any.",
                "Try again when the host is up.",
            )
        return preflight(case_of(self._store.host(host), hardware, guest, device))

    def _cards(self, view: HostView) -> list[Accelerator]:
        hardware = self.hardware(view.name)
        if hardware is None:
            return []
        owners = owners_of(view, hardware)
        cards = []
        for slot in dict.fromkeys(function.slot for function in hardware.functions if function.is_accelerator):
            functions = tuple(function for function in hardware.slot(slot) if function.physical is None)
            if not functions:
                continue  # virtual functions are told with their card
            holder = next((owners[f.address] for f in functions if f.address in owners), None)
            guest = self._wanted(view, holder) or ANY_GUEST
            device = next((d for d in guest.devices.values() if d.pci == slot), Device(name="", pci=slot))
            cards.append(
                Accelerator(
                    host=view.name,
                    slot=slot,
                    title=functions[0].title,
                    functions=functions,
                    owner=f"{holder[0]} ({holder[1]})" if holder else "",
                    findings=preflight(case_of(view, hardware, guest, device)),
                )
            )
        return cards

    @staticmethod
    def _wanted(view: HostView, holder: tuple[GuestKey, str] | None) -> Guest | None:
        return view.wanted.guests.get(holder[0].guest) if holder is not None else None
