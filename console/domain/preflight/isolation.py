"""Whether a device can be parted from its host and from its neighbours at all."""

from __future__ import annotations

import re

from console.domain.hardware import PciFunction
from console.domain.preflight.case import Case, Finding, Findings, is_held_for_guests, told

OTHER_SLOT = "Put the card into another slot, or choose another device."


def iommu(case: Case) -> Finding:
    """The host translates its devices' memory accesses."""
    say = Findings("iommu", "IOMMU")
    hardware = case.hardware
    if hardware.iommu is None:
        return say.unknown(f"Whether {case.host} has its IOMMU on was not reported.")
    if hardware.iommu:
        return say.ok("The IOMMU is on.", "/sys/kernel/iommu_groups has groups")
    intel = hardware.cpu_vendor == "GenuineIntel"
    firmware = "VT-d" if intel else "AMD-Vi (IOMMU)"
    kernel = " and start the kernel with intel_iommu=on" if intel and "intel_iommu=on" not in hardware.cmdline else ""
    return say.block(
        f"The IOMMU of {case.host} is off: no device can be passed through.",
        "/sys/kernel/iommu_groups is empty",
        remedy=f"Switch {firmware} on in the host's firmware setup{kernel}, then reboot it.",
    )


def interrupt_remapping(case: Case) -> Finding:
    """The host checks the interrupts that a device raises."""
    say = Findings("interrupt-remapping", "interrupt remapping")
    remapping, unsafe = case.hardware.interrupt_remapping, case.hardware.unsafe_interrupts
    if remapping:
        return say.ok("Interrupts are remapped.", "/proc/interrupts names IR- chips")
    if remapping is None:
        return say.unknown(f"Whether {case.host} remaps interrupts was not reported.")
    allowed = ("allow_unsafe_interrupts = Y",) if unsafe else ()
    return say.warn(
        "Interrupts are not remapped: a guest's device could raise any interrupt of the host.",
        "/proc/interrupts names no IR- chip",
        *allowed,
        remedy="Switch interrupt remapping (x2APIC) on in the firmware. Quarterdeck never allows unsafe interrupts.",
    )


def group(case: Case) -> Finding:
    """Everything in the device's IOMMU group can go along."""
    say = Findings("group", "IOMMU group")
    if not case.functions:
        return say.unknown("The device is not there.")
    if case.hardware.iommu and any(function.group is None for function in case.functions):
        alone = next(function for function in case.functions if function.group is None)
        return say.block(
            f"{alone.address} is in no IOMMU group: it cannot be passed through.", told(alone), remedy=OTHER_SLOT
        )
    numbers = sorted({function.group for function in case.functions if function.group is not None})
    evidence = tuple(told(other) for other in case.companions)
    name = f"group {', '.join(map(str, numbers))}"
    held = [other for other in case.companions if other.driver and not is_held_for_guests(other)]
    if held:
        return say.block(
            f"{name.capitalize()} also holds {held[0].title} at {held[0].address}, which the host uses.",
            *evidence,
            remedy=f"Pass it through as well, or take it from its driver. {OTHER_SLOT}",
        )
    if not numbers:
        return say.unknown("The kernel tells no IOMMU group.")
    if evidence:
        return say.ok(f"The others in {name} are held by no driver of the host.", *evidence)
    return say.ok(f"{name.capitalize()} holds this device only.", *(told(function) for function in case.functions))


def acs(case: Case) -> Finding:
    """No unrelated device shares the group."""
    say = Findings("acs", "isolation from neighbours")
    others = case.companions
    if not others:
        return say.ok("No other device can reach it past the IOMMU.")
    return say.warn(
        f"{others[0].title} at {others[0].address} shares its group: the two can reach each other past the IOMMU.",
        *(told(other) for other in others),
        remedy=f"{OTHER_SLOT} An ACS override patch only hides this: the devices stay unparted.",
    )


def functions(case: Case) -> Finding:
    """All functions of the slot go together."""
    say = Findings("functions", "all functions of the slot")
    chosen = {function.address for function in case.functions}
    # A virtual function is a device of its own, in the slot numbers of its card or not.
    left = [f for f in case.slot if f.address not in chosen and not f.is_bridge and not f.physical]
    if any(function.physical for function in case.functions):
        return say.ok("A virtual function stands alone.", *sorted(chosen))
    if not case.functions:
        return say.unknown("The device is not there.")
    if not left:
        return say.ok(f"All {len(case.functions)} functions go together.", *(told(f) for f in case.functions))
    same_group = any(other.group == function.group for other in left for function in case.functions)
    sentence = f"{left[0].title} at {left[0].address} of the same card would stay behind."
    remedy = "Choose the whole slot: take the guest's device out and choose it again."
    evidence = tuple(told(function) for function in left)
    return (say.block if same_group else say.warn)(sentence, *evidence, remedy=remedy)


def drift(case: Case) -> Finding:
    """The slot holds what it held when the guest was made."""
    say = Findings("hardware-changed", "the same hardware")
    wanted = case.device.functions
    found = tuple(function.pci_id for function in case.functions)
    if not case.device.is_picked:
        return say.unknown(f"No {case.device.resource} was picked for it yet: the next plan does that.")
    if not case.slot:
        place = _moved_to(case, wanted)
        return say.block(
            f"The hardware changed: {case.device.pci} on {case.host} is empty.",
            f"wanted {', '.join(wanted) or 'a device'}",
            remedy=f"The same card is at {place} now: choose it there." if place else "Choose another device.",
        )
    if not wanted:
        return say.ok(f"{case.device.pci} holds {', '.join(found)}.", *(told(f) for f in case.functions))
    if found == wanted:
        return say.ok("The slot holds what it held when the guest was made.", f"{', '.join(found)}")
    place = _moved_to(case, wanted)
    return say.block(
        f"The hardware changed: {case.device.pci} on {case.host} holds {', '.join(found) or 'nothing'}.",
        f"wanted {', '.join(wanted)}",
        remedy=f"The same card is at {place} now: choose it there." if place else "Choose the device anew.",
    )


def _moved_to(case: Case, wanted: tuple[str, ...]) -> str:
    slots: dict[str, list[PciFunction]] = {}
    for function in case.hardware.functions:
        slots.setdefault(function.slot, []).append(function)
    places = [slot for slot, here in slots.items() if wanted and tuple(f.pci_id for f in here) == wanted]
    return places[0] if len(places) == 1 and places[0] != case.device.pci else ""


def identical(case: Case) -> Finding:
    """Binding it does not take its twin as well."""
    say = Findings("identical-cards", "identical cards")
    first = case.first
    if first is None:
        return say.unknown("The device is not there.")
    ids = {function.pci_id for function in case.functions}
    twins = [f for f in case.hardware.functions if f.slot != first.slot and f.pci_id in ids and not f.physical]
    if not twins:
        return say.ok("No other device of the host has its id.", *sorted(ids))
    bound = set(
        re.findall(r"[0-9a-f]{4}:[0-9a-f]{4}", "".join(re.findall(r"vfio-pci\.ids=(\S+)", case.hardware.cmdline)))
    )
    evidence = tuple(told(twin) for twin in twins)
    for_host = [twin for twin in twins if twin.address not in case.owners]
    if bound & ids and for_host:
        return say.block(
            f"The host's kernel gives every {first.pci_id} to guests, {for_host[0].address} too.",
            *evidence,
            "vfio-pci.ids= on the kernel's command line",
            remedy="Bind by address: generate the host's configuration and deploy it. It then uses driver_override.",
        )
    return say.ok("Its twin is bound by address, not by id.", *evidence)
