"""Parts of cards (virtual functions, mediated devices), and what a card is known for."""

from __future__ import annotations

from console.domain.preflight.case import Case, Finding, Findings, told

RESET_TROUBLE = (
    ("1002", 0x6860, 0x687F, "Vega 10 cards do not reset: after its guest stops, the host must be rebooted"),
    ("1002", 0x66A0, 0x66AF, "Vega 20 cards do not reset: after its guest stops, the host must be rebooted"),
    ("1002", 0x7310, 0x731F, "Navi 10 cards often fail to reset: a second start of the guest may hang"),
    ("10de", 0x2C05, 0x2C05, "the RTX 5070 Ti is known to stay dead after its guest stops, until the host is rebooted"),
    ("1002", 0x74A1, 0x74A1, "an MI300X does not reset by itself"),
)
"""Vendor, first and last device, what is known: the vendor-reset project's list and open issues of the drivers."""


def virtual_function(case: Case) -> Finding:
    """A virtual function is there, and comes back after a reboot."""
    say = Findings("sr-iov", "virtual functions")
    first = case.first
    if first is None or first.physical is None:
        return say.ok("It is no virtual function.")
    parent = next((f for f in case.hardware.functions if f.address == first.physical), None)
    if parent is None or first.address not in parent.virtual:
        return say.block(
            f"Its card no longer lists {first.address} among its virtual functions.",
            told(first),
            remedy="Set their number in the host's Nix configuration; choose the device anew.",
        )
    evidence = (
        f"{parent.address}: sriov_numvfs = {parent.sriov_active} of {parent.sriov_total}",
        f"[sriov] in hosts/{case.host}.toml: {case.sriov.get(parent.address, 'nothing')}",
    )
    number, kept = parent.virtual.index(first.address) + 1, case.sriov.get(parent.address, 0)
    if kept < number:
        left = "is one" if kept == 1 else f"are {kept or 'none'}"
        return say.warn(
            f"It is function {number} of {parent.sriov_active} of {parent.title}: from the next boot of {case.host} on "
            f"there {left}.",
            *evidence,
            remedy=f"Make them at boot: qd gpu vfs {case.host}/{parent.address} {parent.sriov_active}, then deploy.",
        )
    return say.ok(f"Function {number} of {parent.sriov_active} of {parent.title}.", *evidence)


def mediated(case: Case) -> Finding:
    """The card can make one more device of the wanted kind."""
    say = Findings("mdev", "mediated device")
    wanted = case.device.mdev
    if not wanted:
        return say.ok("It is no mediated device.")
    kinds = {kind.id: kind for function in case.slot for kind in function.mdev_types}
    exists = any(case.device.mdev_uuid in function.mdevs for function in case.slot)
    evidence = tuple(f"{kind.id} {kind.name}: {kind.available} free" for kind in kinds.values())
    if exists and case.device.mdev_uuid:
        return say.ok("It has been made already.", f"mdev {case.device.mdev_uuid}")
    if wanted not in kinds:
        return say.block(
            f"{case.title} makes no {wanted}.",
            *evidence,
            remedy="Choose one of the kinds that it makes." if kinds else "Load the vendor's driver on the host.",
        )
    if kinds[wanted].available == 0:
        return say.block(
            f"{case.title} has no {kinds[wanted].name or wanted} left.", *evidence,
            remedy="Take one from another guest and reboot the host, or choose another card.",
        )  # fmt: skip
    free = f"{kinds[wanted].available} of {kinds[wanted].name or wanted} are free"
    return say.ok(f"{free}; it is made at the host's boot once its configuration is deployed.", *evidence)


def vgpu(case: Case) -> Finding:
    """NVIDIA's driver can give this virtual function the wanted type now."""
    say = Findings("vgpu", "NVIDIA vGPU")
    first, wanted = case.first, case.device.vgpu
    if wanted is None:
        typed = [f for f in case.functions if f.vgpu_types is not None and f.physical]
        if typed and typed[0].driver == "nvidia":
            return say.block(
                "It is a vGPU function: it stays on NVIDIA's driver and needs a type.",
                *(f"{kind.id} {kind.name}" for kind in typed[0].vgpu_types or ()),
                remedy="Choose one of its types (vgpu = NUMBER).",
            )
        return say.ok("It is no vGPU.")
    if first is None or first.vgpu_types is None:
        return say.block(
            f"{case.title} takes no vGPU type.", remedy="Load NVIDIA's vGPU driver on the host (17 or later)."
        )
    evidence = tuple(f"{kind.id} {kind.name}" for kind in first.vgpu_types)
    if first.vgpu_current == wanted:
        return say.ok("It has that type already.", f"current_vgpu_type = {wanted}")
    if first.vgpu_current:
        return say.block(
            f"It has another type ({first.vgpu_current}): somebody uses it.",
            f"current_vgpu_type = {first.vgpu_current}",
            remedy="Choose another virtual function.",
        )
    if all(kind.id != wanted for kind in first.vgpu_types):
        return say.block(
            f"Type {wanted} cannot be made there now: what else runs on the card decides that.", *evidence,
            remedy="Choose one of the types that are left, or another card.",
        )  # fmt: skip
    return say.ok(f"Type {wanted} can be made there now.", *evidence)


def reset(case: Case) -> Finding:
    """The card can be reset between two guests."""
    say = Findings("reset", "reset")
    for function in case.functions:
        for vendor, low, high, trouble in RESET_TROUBLE:
            if function.vendor_id == vendor and low <= int(function.device_id, 16) <= high:
                return say.warn(
                    f"{trouble[0].upper()}{trouble[1:]}.", told(function),
                    remedy="Keep the guest running, or plan a reboot of the host after it stops.",
                )  # fmt: skip
    unable = [function for function in case.functions if function.reset_methods == ()]
    if unable and len(unable) == len(case.functions):
        return say.warn(
            "The kernel knows no way to reset it: a second start may find it as the first guest left it.",
            f"{unable[0].address}: reset_method is empty",
            remedy="Try two starts in a row before you rely on it.",
        )
    if all(function.reset_methods is None for function in case.functions):
        return say.unknown("The kernel does not tell how it can be reset.")
    methods = {method for function in case.functions for method in function.reset_methods or ()}
    return say.ok(f"It can be reset ({', '.join(sorted(methods))}).")


def d3cold(case: Case) -> Finding:
    """The card is not put to sleep so deep that it does not wake."""
    say = Findings("d3cold", "deep sleep")
    asleep = [f for f in case.functions if f.d3cold_allowed and f.is_accelerator]
    if not asleep:
        return say.ok("It is kept awake, or never sleeps that deep.")
    return say.warn(
        "It may be put to sleep (D3cold) while nobody has it; some cards do not wake from that.",
        f"{asleep[0].address}: d3cold_allowed = 1",
        remedy="Mark it for guests in the host's Nix configuration, which keeps it awake.",
    )


def staying(case: Case) -> Finding:
    """What a guest with a device cannot do is said before it is made."""
    say = Findings("migration", "migration and snapshots")
    return say.ok("Said up front: the guest cannot be migrated while it runs, nor saved, nor snapshotted with memory.")
