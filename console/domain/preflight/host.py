"""What the host or another guest would lose."""

from __future__ import annotations

from console.domain.hardware import DISPLAY_CLASS
from console.domain.preflight.case import Case, Finding, Findings, is_held_for_guests, told

STUBBORN = frozenset({"nvidia", "amdgpu", "nouveau", "radeon", "i915", "xe"})
"""Drivers whose detach while somebody uses the card can hang and cannot be killed."""

EARLY = "Mark it for guests in the host's Nix configuration, so that vfio-pci takes it at boot; that needs a reboot."


def binding(case: Case) -> Finding:
    """The device can be taken from the driver that it has."""
    say = Findings("binding", "driver of the host")
    if not case.functions:
        return say.unknown("The device is not there.")
    evidence = tuple(told(function) for function in case.functions)
    if case.is_part:
        return say.ok("It stays with its driver, which makes the part.", *evidence)
    bound = [f for f in case.functions if f.driver and not is_held_for_guests(f)]
    if case.running or not bound:
        return say.ok("No driver of the host holds it.", *evidence)
    used = [f for f in bound if f.users]
    if used and used[0].driver in STUBBORN:
        users = used[0].users or ()
        names = ", ".join(f"{user.process or 'a process'} ({user.pid})" for user in users[:3])
        return say.block(
            f"{used[0].driver} has it, and {names} uses it: detaching it now can hang the host.",
            *evidence,
            *(f"{user.process} ({user.pid}) holds {user.path}" for user in users[:8]),
            remedy=f"End these processes first. Better: {EARLY[0].lower()}{EARLY[1:]}",
        )
    stubborn = [function for function in bound if function.driver in STUBBORN]
    if stubborn:
        known = "nobody uses it now" if stubborn[0].users is not None else "who uses it is not known"
        return say.warn(
            f"{stubborn[0].driver} has it ({known}): it is taken away when the guest starts.",
            *evidence,
            remedy=EARLY,
        )
    return say.ok(f"{bound[0].driver} gives it up when the guest starts, and gets it back.", *evidence)


def in_use(case: Case) -> Finding:
    """No other guest has it."""
    say = Findings("in-use", "other guests")
    if case.device.mdev:
        return say.ok("A mediated device is the guest's own.")
    kept = next((f for f in case.functions if f.address in case.kept), None)
    if kept is not None and not case.is_part:
        return say.block(
            f"{case.host} keeps {kept.address} for itself ({case.kept[kept.address]}): no guest gets it.",
            told(kept),
            remedy=f"Choose another device, or give it back: qd gpu release {case.host}/{kept.slot}.",
        )
    mine = next((f for f in case.functions if f.address in case.owners), None)
    if mine is not None:
        owner = case.owners[mine.address]
        guest = owner.partition(" ")[0]
        return say.block(
            f"{mine.address} belongs to {owner}.",
            f"{mine.address} in {guest}",
            remedy=f"Choose another device, or take it from {guest} first.",
        )
    shared = [other for other in case.companions if other.address in case.owners]
    if shared:
        owner = case.owners[shared[0].address]
        return say.block(
            f"{shared[0].address} of its IOMMU group belongs to {owner}.",
            told(shared[0]),
            remedy="One group can serve one guest only. Choose another device.",
        )
    holders = [user for f in case.functions for user in f.users or () if user.path.startswith("/dev/vfio/")]
    if holders and not case.running:
        return say.block(
            f"{holders[0].process or 'A process'} ({holders[0].pid}) on {case.host} has it, and is no guest we know.",
            *(f"{user.process} ({user.pid}) holds {user.path}" for user in holders),
            remedy=f"Look at that process on {case.host}; end it, or choose another device.",
        )
    if any(function.users is None for function in case.functions):
        return say.ok("No guest that is known has it.", "who holds it on the host is told to root alone")
    return say.ok("No guest has it.")


def boot_gpu(case: Case) -> Finding:
    """The host keeps a screen."""
    say = Findings("boot-gpu", "the host's own screen")
    boot = [function for function in case.functions if function.boot_vga]
    if not boot:
        return say.ok("The host's screen is another card." if case.is_display else "It draws no screen.")
    others = [
        f for f in case.hardware.functions
        if f.base_class == DISPLAY_CLASS and f.slot != case.device.pci and not is_held_for_guests(f)
    ]  # fmt: skip
    evidence = ["boot_vga = 1", told(boot[0])]
    if case.hardware.framebuffer:
        evidence.append(f"/proc/fb: {case.hardware.framebuffer}")
    if is_held_for_guests(boot[0]):
        return say.warn(
            "It is the card the machine boots on: the host has no screen after its boot loader.", *evidence,
            remedy=f"Keep another way in: SSH, or a serial console. {_other_card(len(others))}",
        )  # fmt: skip
    return say.block(
        f"{case.host} draws its own screen on it: the screen, and a dashboard there, would go dark.", *evidence,
        remedy=f"{_other_card(len(others))} If the host needs none: {EARLY[0].lower()}{EARLY[1:]}",
    )  # fmt: skip


def _other_card(others: int) -> str:
    return "Make another card the primary one in the firmware setup." if others else "Fit a second card for the host."


def critical(case: Case) -> Finding:
    """The host does not hang on it."""
    say = Findings("critical", "what the host needs")
    touched = [*case.functions, *case.companions]
    for function in touched:
        if function.carries:
            return say.block(
                f"{function.title} at {function.address} carries {function.carries[0]}: {case.host} would be lost.",
                *(f"{function.address} carries {what}" for function in touched for what in function.carries),
                remedy="Choose another device.",
            )
    if any(function.disks for function in touched) and not case.hardware.root_known:
        disks = ", ".join(disk for function in touched for disk in function.disks)
        return say.warn(
            f"Disks hang on it ({disks}), and which disks {case.host} runs from could not be found out.",
            *(told(function) for function in touched if function.disks),
            remedy="Make sure that none of them holds the host's system or its pools.",
        )
    return say.ok("Neither the host's disks nor its network hang on it.")


def whole_card(case: Case) -> Finding:
    """No part of it is in use as a virtual function or a mediated device."""
    say = Findings("whole-card", "parts of the card")
    if case.is_part:
        return say.ok("A part of it is asked for, not the whole.")
    for function in case.functions:
        parts = (*function.virtual, *function.mdevs)
        if function.sriov_active or function.mdevs:
            none = "take them out of the guests that have them, and reboot the host"
            if function.sriov_active:
                none = f"have none: qd gpu vfs {case.host}/{function.address} 0, then deploy the host and reboot it"
            return say.block(
                f"With the whole card {_parts(len(parts) or function.sriov_active)} of it would be gone.",
                *parts[:8],
                remedy=f"Give a guest one of the parts, or {none}.",
            )
    return say.ok("It is not split into parts.")


def _parts(number: int) -> str:
    return "1 part" if number == 1 else f"{number} parts"
