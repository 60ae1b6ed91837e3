"""The fleet's devices: what the hosts' kernels say of them, who has them, what a guest with one would run into."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from console.domain.errors import FleetError
from console.domain.hardware import VFIO_DRIVERS, HostHardware, PciFunction, SeenByGuest, Use
from console.domain.model import Device, Firmware, Guest, GuestKey, Host
from console.domain.observed import GuestState, HostState
from console.domain.preflight import Finding, blocks, preflight, state
from console.domain.preflight.case import bytes_shown
from console.domain.standing import HostView
from console.drivers.base import HardwareReader, Hypervisors
from console.inventory.store import Store
from console.services.hardware import case_of, hardware_of, kept_for, owners_of
from console.services.passthrough import CONSOLE_CHIPS

ANY_GUEST = Guest(name="", uuid="", vcpus=1, memory_kib=1, firmware=Firmware.UEFI)
"""Who asks about a device alone: a guest without a UUID, of which there is none."""

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Kernels that are asked beside one another: each is an ssh process of about 10 MB here."""


class CardState(StrEnum):
    """Whose a card is. NEEDED: the host cannot do without it. DRIVEN: a driver of the host has it."""

    FREE = "free"
    TAKEN = "taken"
    KEPT = "kept"
    SCREEN = "screen"
    NEEDED = "needed"
    DRIVEN = "driven"

    @property
    def glyph(self) -> str:
        """Its sign before the words."""
        return {CardState.FREE: "○", CardState.TAKEN: "◆", CardState.DRIVEN: "●"}.get(self, "–")


@dataclass(frozen=True, slots=True)
class Told:
    """What a guest said of its card. owner: as of Accelerator, with the guest's state then."""

    owner: str
    at: datetime
    seen: SeenByGuest


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One card of a host. functions: all of its slot. owner: "host/guest (state)", "" when no guest has it.

    others: the endpoints of other slots in its IOMMU groups. own: what its host keeps it for, "" when it does not.
    sriov: function -> how many virtual functions it has at each boot, where the inventory says so. runs: a
    guest of the inventory runs with it; told: what that one said of it.
    """

    host: str
    slot: str
    title: str
    functions: tuple[PciFunction, ...]
    owner: str
    findings: tuple[Finding, ...]
    others: tuple[PciFunction, ...] = ()
    own: str = ""
    sriov: Mapping[str, int] = field(default_factory=dict)
    runs: bool = False
    told: Told | None = None

    @property
    def first(self) -> PciFunction:
        """The function that it is named after."""
        return self.functions[0]

    @property
    def parted(self) -> PciFunction | None:
        """The function that has or can have virtual functions, None when there is none."""
        return next((f for f in self.functions if f.sriov_total or f.address in self.sriov), None)

    @property
    def state(self) -> CardState:
        """Whose it is."""
        return CardState.TAKEN if self.owner else self._standing[0]

    @property
    def words(self) -> str:
        """Its state in a few words: "trainer (running)", "on nvidia, used by ollama", "free"."""
        return self.owner.removeprefix(f"{self.host}/") if self.owner else self._standing[1]

    @property
    def kept(self) -> str:
        """What of the host is in the way of giving it away whole, in a few words; "" when nothing is."""
        state, words = self._standing
        return "" if state is CardState.FREE else words

    @property
    def _standing(self) -> tuple[CardState, str]:
        """What it is to its host, whoever has it."""
        if self.own:
            return CardState.KEPT, f"kept ({self.own})"
        for function in self.functions:
            if function.carries:
                return CardState.NEEDED, f"carries {function.carries[0]}"
            screen = function.vendor_id in CONSOLE_CHIPS if function.boot_vga is None else function.boot_vga
            if screen and function.driver not in VFIO_DRIVERS:
                return CardState.SCREEN, "the host's screen"
            if parts := len(function.mdevs) or function.sriov_active:
                return CardState.NEEDED, f"split into {parts} part{'' if parts == 1 else 's'}"
        for function in self.functions:
            if function.driver and function.driver not in VFIO_DRIVERS and function.is_accelerator:
                users = ", ".join(dict.fromkeys(user.process or str(user.pid) for user in function.users or ()))
                return CardState.DRIVEN, f"on {function.driver}" + (f", used by {users}" if users else "")
        return CardState.FREE, "free"

    @property
    def is_free(self) -> bool:
        """True when a guest could get it: nobody has it, and no check is in the way."""
        return not self.owner and self.state is not CardState.SCREEN and not blocks(self.findings)

    @property
    def parts_free(self) -> int | None:
        """How many more mediated devices of its smallest kind it can make now; None when it makes none."""
        free = [kind.available for f in self.functions for kind in f.mdev_types if kind.available is not None]
        return max(free) if free else None


class Devices:
    """What is known of the fleet's devices, from the last time that each host's kernel was read.

    guests: how guests are asked of their cards; None where nobody may speak to them.
    """

    def __init__(self, store: Store, reader: HardwareReader, guests: Hypervisors | None = None) -> None:
        self._store = store
        self._reader = reader
        self._guests = guests
        self._told: dict[tuple[str, str], Told] = {}
        self._read: dict[str, HostHardware] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._cached: dict[str, tuple[object, tuple[Accelerator, ...]]] = {}
        self._checked: dict[GuestKey, tuple[object, Mapping[str, tuple[Finding, ...]]]] = {}
        self.reading: set[str] = set()
        """The hosts whose kernels are being asked."""
        self.asking: set[str] = set()
        """The hosts whose guests are being asked."""
        self.errors: dict[str, FleetError] = {}
        """Why a host's kernel was not read the last time."""

    async def read(self, names: Iterable[str], *, timeout_s: float, use: bool = False) -> None:
        """Have these hosts' kernels read, beside one another; why one was not is in `errors`.

        use: NVIDIA's tool is asked too how busy its cards are, after the kernel and with as much time again.

        Who follows the store hears of each host as it has answered. A host that is not up is not asked.
        """
        await asyncio.gather(*(self._read_one(name, timeout_s, use) for name in names))

    async def _read_one(self, name: str, timeout_s: float, use: bool) -> None:
        view = self._store.host(name)
        if view.seen.state is not HostState.UP:
            return
        self.reading.add(name)
        try:
            async with self._turns:
                found = await self._reader.read(view.wanted, self._store.fleet.ssh, timeout_s=timeout_s)
        except FleetError as error:
            self.errors[name] = error
            self._read.pop(name, None)  # what was true once must not let a guest start now
        else:
            self.errors.pop(name, None)
            self._read[name] = found
            if use and any(function.driver == "nvidia" for function in found.functions):
                await self._read_use(view.wanted, found, timeout_s)
        finally:
            self.reading.discard(name)
            if name in self._store.fleet.hosts:
                self._cards_of(self._store.host(name))  # here, one host a turn, and not all at once when painted
            self._store.devices_changed()

    async def ask_guests(self, cards: Iterable[Accelerator], *, timeout_s: float) -> None:
        """Have the guests of the inventory that run with these cards asked how much they work, through their agents.

        Raises FleetError where no guest may be spoken to. A guest that does not tell is said so on its card.
        """
        if self._guests is None:
            raise FleetError("No guest was asked.", "A read-only console speaks to no guest.")
        of_host: dict[str, list[Accelerator]] = {}
        for card in cards:
            if card.runs and card.host not in self.asking:
                of_host.setdefault(card.host, []).append(card)
        guests = self._guests
        await asyncio.gather(*(self._ask_host(guests, host, mine, timeout_s) for host, mine in of_host.items()))

    async def _ask_host(self, guests: Hypervisors, host: str, cards: Sequence[Accelerator], timeout_s: float) -> None:
        self.asking.add(host)
        self._store.devices_changed()
        asked = {card.slot: next((f for f in card.functions if f.is_accelerator), card.first) for card in cards}
        functions = {function.address: function.pci_id for function in asked.values()}
        try:
            seen = await guests.ask_guests(host, functions, timeout_s=timeout_s)
        except FleetError as error:
            why = f"{error.title} {error.detail}".strip()
            seen = dict.fromkeys(functions, SeenByGuest(why_not=why.rstrip(".")))
        finally:
            self.asking.discard(host)
        at = self._store.clock()
        for card in cards:
            silent = SeenByGuest(why_not="the guest has it no longer")
            self._told[host, card.slot] = Told(card.owner, at, seen.get(asked[card.slot].address, silent))
        self._store.devices_changed()

    async def _read_use(self, host: Host, read: HostHardware, timeout_s: float) -> None:
        self._store.devices_changed()
        try:
            uses = await self._reader.use(host, self._store.fleet.ssh, timeout_s=timeout_s)
        except FleetError as error:
            log.warning("How busy the cards of %s are is not known: %s %s", host.name, error.title, error.detail)
            return
        functions = tuple(replace(f, use=uses.get(f.address, f.use)) for f in read.functions)
        self._read[host.name] = replace(read, functions=functions)

    def read_at(self, host: str) -> datetime | None:
        """Return when a host's kernel last told its devices, None when it has not."""
        read = self._read.get(host)
        return None if read is None else read.at

    def hardware(self, host: str) -> HostHardware | None:
        """Return what is known of a host's devices, None when it never told any."""
        view = self._store.host(host)
        return hardware_of(view.seen.facts, self._read.get(host), self._store.clock())

    def accelerators(self, host: str | None = None) -> tuple[Accelerator, ...]:
        """Return the cards of one host or of the fleet, by host and slot."""
        views = [self._store.host(host)] if host is not None else self._store.hosts()
        return tuple(card for view in views for card in self._cards_of(view))

    def preflight(self, key: GuestKey) -> Mapping[str, tuple[Finding, ...]]:
        """Return device -> findings for a guest of the inventory. Raises FleetError when nothing is known to check."""
        guest = self._store.guest(key).wanted
        if guest is None:
            raise FleetError(f"{key} is not in the inventory.", "Its devices are not Quarterdeck's to check.")
        basis = self._basis(self._store.host(key.host))
        known = self._checked.get(key)
        if known is None or known[0] != basis:
            findings = {name: self.check(key.host, guest, device) for name, device in guest.devices.items()}
            known = self._checked[key] = (basis, findings)
        return known[1]

    def states(self, key: GuestKey) -> Mapping[str, Finding]:
        """Return device -> where it is now, for a guest of the inventory; nothing for what is not known."""
        view, hardware = self._store.host(key.host), self.hardware(key.host)
        guest = self._store.guest(key).wanted
        if guest is None or hardware is None:
            return {}
        picked = {name: device for name, device in guest.devices.items() if device.is_picked}
        return {name: state(case_of(view, hardware, guest, device)) for name, device in picked.items()}

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

    def _cards_of(self, view: HostView) -> tuple[Accelerator, ...]:
        """Return a host's cards, worked out again only when something changed that they follow from."""
        basis = self._basis(view)
        known = self._cached.get(view.name)
        if known is None or known[0] != basis:
            known = self._cached[view.name] = (basis, tuple(self._cards(view)))
        return known[1]

    def _basis(self, view: HostView) -> object:
        """Return what findings follow from: rules take milliseconds, and a host's figures change every second."""
        guests = tuple(
            (guest.key, guest.wanted, guest.state, guest.seen and (guest.seen.pci, guest.seen.active_shape is None))
            for guest in view.guests
        )
        pci = view.seen.facts.pci if view.seen.facts is not None else ()
        told = tuple((slot, each) for (host, slot), each in self._told.items() if host == view.name)
        return view.wanted, guests, pci, self._read.get(view.name), told

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
            told = self._told.get((view.name, slot))
            holder = next((owners[f.address] for f in functions if f.address in owners), None)
            groups = {function.group for function in functions if function.group is not None}
            own = next((each for each in view.wanted.own.values() if each.pci == slot), None)
            mine = self._wanted(view, holder)
            guest = mine or ANY_GUEST
            device = next((d for d in guest.devices.values() if d.pci == slot), Device(name="", pci=slot))
            cards.append(
                Accelerator(
                    host=view.name,
                    slot=slot,
                    title=functions[0].title,
                    functions=functions,
                    owner=(owner := f"{holder[0]} ({holder[1]})" if holder else ""),
                    runs=mine is not None and holder is not None and holder[1] == GuestState.RUNNING.value,
                    told=told if told is not None and told.owner == owner else None,
                    own=kept_for(own) if own is not None else "",
                    sriov={place: count for place, count in view.wanted.sriov.items() if place.startswith(f"{slot}.")},
                    findings=preflight(case_of(view, hardware, guest, device)),
                    others=tuple(
                        other
                        for other in hardware.functions
                        if other.group in groups and other.slot != slot and not other.is_bridge
                    ),
                )
            )
        return cards

    @staticmethod
    def _wanted(view: HostView, holder: tuple[GuestKey, str] | None) -> Guest | None:
        return view.wanted.guests.get(holder[0].guest) if holder is not None else None


def matches(card: Accelerator, words: Iterable[str]) -> bool:
    """Return whether every word is found of a card; `!` before one turns it round."""
    drivers = (function.driver or "" for function in card.functions)
    said = " ".join((card.host, card.slot, card.title, *drivers, card.state, card.words, card.owner)).casefold()
    return all((word.lstrip("!") in said) is not word.startswith("!") for word in (w.casefold() for w in words))


def parts_words(function: PciFunction, at_boot: int | None) -> str:
    """Return how many virtual functions there are: "4 of 8, and 8 at each boot"; "" where there can be none."""
    if not function.sriov_total and not at_boot:
        return ""
    later = f", and {at_boot} at each boot" if at_boot else ", and none after a boot" if function.sriov_active else ""
    return f"{function.sriov_active} of {function.sriov_total}{later}"


def told_words(told: Told) -> str:
    """Return what a guest says of its card: "amdgpu, 87% busy, 3 GiB of 8 GiB", or why it does not."""
    seen = told.seen
    says = use_words(seen.use) if seen.use is not None else seen.why_not
    return ", ".join(part for part in (seen.driver, says) if part)


def use_words(use: Use, *, tight: bool = False) -> str:
    """Return how much a card works for its host: "87% busy, 250 W, 65 °C, 3 GiB of 8 GiB"; tight: "87% 250W 65°"."""
    parts = [f"{use.busy_percent}%" + ("" if tight else " busy")] if use.busy_percent is not None else []
    parts += [f"{use.power_w:.0f}" + ("W" if tight else " W")] if use.power_w is not None else []
    parts += [f"{use.temperature_c:.0f}" + ("°" if tight else " °C")] if use.temperature_c is not None else []
    if not tight and use.memory_used_bytes is not None and use.memory_bytes:
        parts.append(f"{bytes_shown(use.memory_used_bytes)} of {bytes_shown(use.memory_bytes)}")
    return " ".join(parts) if tight else ", ".join(parts)
