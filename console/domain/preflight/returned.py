"""Where a device is now, and whether it came back from its guest: what the host's kernel tells, and no guess."""

from __future__ import annotations

from console.domain.hardware import VFIO_DRIVERS
from console.domain.preflight.case import Case, Finding, Findings, Verdict, is_held_for_guests, told
from console.domain.preflight.parts import reset

DEAD = frozenset({"error", "unknown"})
"""Power states of a device that does not answer the kernel."""


def state(case: Case) -> Finding:
    """Return who has the device now: its guest, a driver of the host, vfio-pci for guests or left over, nobody."""
    say = Findings("state", "where it is now")
    functions = case.functions
    if not case.hardware.whole:
        return say.unknown(f"The kernel of {case.host} was not asked.")
    if not functions:
        return say.warn(
            f"It is not on the bus of {case.host} any more.",
            f"/sys/bus/pci/devices has no {case.device.pci}.*",
            remedy=f"Reboot {case.host}; if it does not come back, look at the card and its slot.",
        )
    evidence = tuple(told(function) for function in functions)
    dead = next((function for function in functions if function.power in DEAD), None)
    if dead is not None:
        return say.warn(
            "It does not answer the kernel: it needs a reset.", *evidence,
            f"{dead.address}: power_state = {dead.power}",
            remedy=f"Reboot {case.host}; where that does not help, switch its power off and on.",
        )  # fmt: skip
    if case.running:
        return say.ok("The guest has it.", *evidence)
    holder = next((user for f in functions for user in f.users or () if user.path.startswith("/dev/vfio/")), None)
    if holder is not None:
        name = f"{holder.process or 'a process'} ({holder.pid})"
        return say.warn(
            f"It was not given back: {name} still holds it.", *evidence, f"{name} holds {holder.path}",
            remedy=f"Look at that process on {case.host}: it ends when its guest is off.",
        )  # fmt: skip
    where = _where(say, case, evidence)
    trouble = reset(case)
    if where.verdict is Verdict.OK and trouble.verdict is Verdict.WARNING:
        return say.warn(f"{where.sentence} {trouble.sentence}", *where.evidence, remedy=trouble.remedy)
    return where


def _where(say: Findings, case: Case, evidence: tuple[str, ...]) -> Finding:
    drivers = ", ".join(dict.fromkeys(function.driver for function in case.functions if function.driver))
    stuck = [function for function in case.functions if is_held_for_guests(function)]
    if not drivers:
        return say.ok("It has no driver: nobody uses it.", *evidence)
    if not stuck:
        return say.ok(f"The host has it: {drivers}.", *evidence)
    ids = {word for text in case.hardware.cmdline.split() for word in _ids(text)}
    kept = [f for f in stuck if f.pci_id in ids or f.driver_override in VFIO_DRIVERS]
    if len(kept) == len(stuck):
        how = "the kernel's command line" if kept[0].pci_id in ids else "a driver override"
        return say.ok(f"It is kept for guests on {stuck[0].driver}, by {how}.", *evidence)
    left = next(function for function in stuck if function not in kept)
    return say.warn(
        f"It is still on {left.driver}, and neither the kernel's command line nor a driver override keeps it there.",
        *evidence,
        remedy=f"A guest can have it again. For the host: echo {left.address} > /sys/bus/pci/devices/{left.address}"
        f"/driver/unbind, then echo {left.address} > /sys/bus/pci/drivers_probe.",
    )


def _ids(word: str) -> list[str]:
    """Return the ids of a kernel parameter such as vfio-pci.ids=10de:2206,10de:1aef."""
    name, equals, value = word.partition("=")
    return value.lower().split(",") if equals and name.replace("_", "-") == "vfio-pci.ids" else []
