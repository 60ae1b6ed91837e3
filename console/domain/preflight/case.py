"""What a preflight looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from console.domain.hardware import VFIO_DRIVERS, HostHardware, PciFunction
from console.domain.model import Device, Guest


class Verdict(StrEnum):
    """How much a finding weighs. UNKNOWN: what it depends on was not reported."""

    OK = "ok"
    UNKNOWN = "not known"
    WARNING = "warning"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule says of one device.

    rule: its id, by which a warning is accepted. evidence: the values it was read from. remedy: what to change, and
    where; empty when all is well. accepted: an operator has said in the inventory that this warning may stay.
    """

    rule: str
    concern: str
    verdict: Verdict
    sentence: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One device that one guest wants on one host.

    owners: function -> "host/guest (state)" of all other guests. pinned: host CPU -> guest, of all other guests.
    kept: function -> what for, of what the host keeps for itself. sriov: function -> how many virtual functions the
    host's configuration gives it at each boot. running: the guest runs now, with this device, so that what it has
    taken itself is no obstacle.
    """

    host: str
    hardware: HostHardware
    guest: Guest
    device: Device
    owners: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[int, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    sriov: Mapping[str, int] = field(default_factory=dict)
    running: bool = False

    @property
    def slot(self) -> tuple[PciFunction, ...]:
        """What is at the device's slot now."""
        return self.hardware.slot(self.device.pci)

    @property
    def functions(self) -> tuple[PciFunction, ...]:
        """The functions that the guest would get: those chosen, else all that are no bridge."""
        chosen = self.device.function_numbers
        return tuple(f for f in self.slot if (f.number in chosen if chosen else not f.is_bridge))

    @property
    def first(self) -> PciFunction | None:
        """The function that the device is named after."""
        return self.functions[0] if self.functions else None

    @property
    def is_part(self) -> bool:
        """True for a mediated device or a vGPU: the card itself stays with its driver."""
        return bool(self.device.mdev) or self.device.vgpu is not None

    @property
    def is_display(self) -> bool:
        """True for a card that draws."""
        return any(function.base_class == 0x03 for function in self.functions)

    @property
    def companions(self) -> tuple[PciFunction, ...]:
        """The endpoints of other slots that share an IOMMU group with the device."""
        groups = {function.group for function in self.functions if function.group is not None}
        mine = {function.address for function in self.functions}
        return tuple(
            other
            for other in self.hardware.functions
            if other.group in groups and other.address not in mine and not other.is_bridge
        )

    @property
    def title(self) -> str:
        """What to call the device in a sentence."""
        return f"{self.first.title} at {self.device.pci}" if self.first else self.device.pci


Rule = Callable[[Case], Finding]


@dataclass(frozen=True, slots=True)
class Findings:
    """Makes the findings of one rule."""

    rule: str
    concern: str

    def ok(self, sentence: str, *evidence: str) -> Finding:
        return Finding(rule=self.rule, concern=self.concern, verdict=Verdict.OK, sentence=sentence, evidence=evidence)

    def unknown(self, sentence: str, *evidence: str, remedy: str = "") -> Finding:
        return self._finding(Verdict.UNKNOWN, sentence, evidence, remedy)

    def warn(self, sentence: str, *evidence: str, remedy: str) -> Finding:
        return self._finding(Verdict.WARNING, sentence, evidence, remedy)

    def block(self, sentence: str, *evidence: str, remedy: str) -> Finding:
        return self._finding(Verdict.BLOCK, sentence, evidence, remedy)

    def _finding(self, verdict: Verdict, sentence: str, evidence: tuple[str, ...], remedy: str) -> Finding:
        return Finding(
            rule=self.rule,
            concern=self.concern,
            verdict=verdict,
            sentence=sentence,
            evidence=evidence,
            remedy=remedy,
        )


def is_held_for_guests(function: PciFunction) -> bool:
    """Return whether a driver for guests has the function."""
    return function.driver in VFIO_DRIVERS


def told(function: PciFunction) -> str:
    """Return how a function is named in evidence: address, name, driver."""
    return f"{function.address} {function.title}, {f'on {function.driver}' if function.driver else 'no driver'}"


def bytes_shown(size: int) -> str:
    """Return a size for people, to three digits: "256 MiB", "1.5 GiB"."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
