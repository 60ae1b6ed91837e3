"""Whether the guest is made for the device: firmware, memory, processors."""

from __future__ import annotations

from console.domain.hardware import cpu_list, cpu_numbers
from console.domain.model import Firmware
from console.domain.preflight.case import Case, Finding, Findings, bytes_shown, told

GIB_KIB = 1024 * 1024
RESERVE_KIB = 2 * GIB_KIB
"""What the host keeps for itself, or a quarter of what it has free if that is less."""

LARGE_BAR_BYTES = 16 * 1024**3
"""From here on mapping a device's memory takes an old host kernel minutes at each start."""

SMALL_WINDOW_BYTES = 64 * 1024**3
"""OVMF's window above 4 GiB before it follows the guest's physical address width (edk2 of 2023)."""


def machine(case: Case) -> Finding:
    """The guest has PCI Express."""
    say = Findings("machine", "machine type")
    kind = case.guest.machine
    if "q35" in kind:
        return say.ok("The guest's machine has PCI Express (q35).", f"machine = {kind}")
    return say.block(
        f"The guest's machine is {kind}: it has no PCI Express.", f"machine = {kind}", remedy='Set machine = "q35".'
    )


def firmware(case: Case) -> Finding:
    """A card that draws meets the firmware that its ROM is for."""
    say = Findings("firmware", "firmware")
    if case.guest.firmware is Firmware.UEFI:
        return say.ok("The guest boots by UEFI.", "firmware = uefi")
    if not case.is_display:
        return say.ok("The device needs no firmware of its own.", f"firmware = {case.guest.firmware.value}")
    return say.warn(
        "The guest boots by BIOS: today's cards start by UEFI only, and large memory regions find no room.",
        f"firmware = {case.guest.firmware.value}",
        remedy='Set firmware = "uefi".',
    )


def rom(case: Case) -> Finding:
    """The card's option ROM can be read, or is not needed."""
    say = Findings("rom", "option ROM")
    if not case.is_display:
        return say.ok("It needs no option ROM.")
    wanted = case.device.rom
    if wanted == "off":
        return say.ok("The guest does not see its ROM: it draws once its driver is there.", "rom = off")
    if wanted:
        return say.unknown(
            f"QEMU on {case.host} must be able to read {wanted}.",
            f"rom = {wanted}",
            remedy=f'Have the file on {case.host}, from this very card; or set rom = "off".',
        )
    boot = next((function for function in case.functions if function.boot_vga), None)
    if boot is not None:
        return say.warn(
            "The machine boots on it: its ROM was used up by the host's firmware and may not start again.",
            "boot_vga = 1",
            remedy='Give its ROM as a file (rom = "/path/on/the/host"), or hide it (rom = "off").',
        )
    if case.first is not None and case.first.has_rom is False:
        return say.warn(
            "It shows no ROM: the guest draws nothing before its driver is there.", told(case.first),
            remedy='Say so (rom = "off"), or give its ROM as a file (rom = "/path/on/the/host").',
        )  # fmt: skip
    return say.ok("Its own ROM is used.")


def hidden(case: Case) -> Finding:
    """KVM is hidden only from drivers that need it."""
    say = Findings("hidden-kvm", "hidden KVM")
    nvidia = any(function.vendor_id == "10de" for function in case.functions)
    if not case.guest.hide_kvm:
        return say.ok("KVM is not hidden: NVIDIA's drivers need that no longer since 465." if nvidia else "Not needed.")
    if nvidia:
        return say.ok("KVM is hidden, for an NVIDIA driver before 465.", "hide_kvm = true")
    return say.warn(
        "KVM is hidden for nothing: only old NVIDIA drivers need it, and the guest's clock gets worse.",
        "hide_kvm = true",
        remedy="Set hide_kvm = false.",
    )


def window(case: Case) -> Finding:
    """The device's memory regions find room in the guest."""
    say = Findings("bar-window", "memory regions")
    total = sum(function.memory_bytes for function in case.functions)
    evidence = tuple(
        f"{function.address} region {bar.index}: {bytes_shown(bar.size_bytes)}"
        for function in case.functions
        for bar in function.bars
        if bar.size_bytes >= 1024**2
    )
    bits = case.hardware.physical_bits
    if bits is not None and total * 4 > 1 << bits:
        return say.block(
            f"Its memory regions ({bytes_shown(total)}) do not fit into the guest's {bits} address bits.",
            *evidence,
            remedy="Make its regions smaller in the host's firmware setup (resizable BAR off).",
        )
    if total >= SMALL_WINDOW_BYTES:
        return say.warn(
            f"Its memory regions are {bytes_shown(total)}: older UEFI firmware of guests has 64 GiB of room.",
            *evidence,
            remedy="Have a current QEMU and OVMF on the host.",
        )
    if total >= LARGE_BAR_BYTES:
        return say.warn(
            f"Its memory regions are {bytes_shown(total)}: on older kernels each start takes minutes.",
            *evidence,
            f"kernel {case.hardware.kernel}",
            remedy="Have a current kernel on the host; huge pages help as well.",
        )
    return say.ok(f"Its memory regions ({bytes_shown(total)}) find room.", *evidence)


def resizable(case: Case) -> Finding:
    """No region changes its size between host and guest."""
    say = Findings("resizable-bar", "resizable regions")
    found = [(f, bar) for f in case.functions for bar in f.bars if len(bar.resizable_bytes) > 1]
    if not found:
        return say.ok("No region of it changes its size.")
    function, bar = found[0]
    return say.warn(
        f"Region {bar.index} can be resized: a driver that did so has been seen to hang when the card is given back.",
        f"{function.address} region {bar.index}: {bytes_shown(bar.size_bytes)} now",
        remedy="Bind it early, so that no driver of the host resizes it; or switch resizable BAR off in the firmware.",
    )


def memory(case: Case) -> Finding:
    """All of the guest's memory is free: a device's guest gets it at once, and none of it can be swapped."""
    say = Findings("memory", "memory")
    free, wanted = case.hardware.memory_available_kib, case.guest.memory_kib
    if case.guest.hugepages_kib:
        return say.ok("Its memory comes from huge pages.")
    if case.running:
        return say.ok("It has its memory already.")
    if free is None:
        return say.unknown(f"How much memory {case.host} has free was not reported.")
    if not case.guest.uuid:
        return say.ok(f"{bytes_shown(free * 1024)} are free.", f"MemAvailable: {bytes_shown(free * 1024)}")
    reserve = min(RESERVE_KIB, free // 4)
    evidence = (f"MemAvailable: {bytes_shown(free * 1024)}", f"the guest's memory: {bytes_shown(wanted * 1024)}")
    if free < wanted + reserve:
        return say.block(
            f"All its memory is taken at the start: {bytes_shown(wanted * 1024)}, with {bytes_shown(free * 1024)} free "
            f"of which the host keeps {bytes_shown(reserve * 1024)}.",
            *evidence,
            remedy="Stop another guest, or give this one less memory.",
        )
    return say.ok(f"{bytes_shown(free * 1024)} are free for its {bytes_shown(wanted * 1024)}.", *evidence)


def memory_lock(case: Case) -> Finding:
    """Locking the guest's memory meets no limit."""
    say = Findings("memory-lock", "locked memory")
    return say.ok("The guest is made with locked memory: libvirt sets QEMU no limit for that, whatever its size.")


def balloon(case: Case) -> Finding:
    """Nothing takes memory back from the guest."""
    say = Findings("balloon", "memory balloon")
    return say.ok("The guest is made without a memory balloon: its memory is pinned as long as it runs.")


def hugepages(case: Case) -> Finding:
    """Enough huge pages are free where they are needed."""
    say = Findings("hugepages", "huge pages")
    size = case.guest.hugepages_kib
    if not size:
        return say.ok("It uses ordinary pages.")
    node = case.guest.numa
    if node is None and case.first is not None:
        node = case.first.numa_node
    pools = [pool for pool in case.hardware.hugepages if pool.size_kib == size]
    there = [pool for pool in pools if node is None or pool.node == node]
    needed, free = -(-case.guest.memory_kib // size), sum(pool.free for pool in there)
    evidence = tuple(
        f"node {pool.node}: {pool.free} of {pool.total} free, {bytes_shown(size * 1024)} each" for pool in pools
    )
    if case.running:
        return say.ok("It has its pages already.", *evidence)
    if free >= needed:
        return say.ok(f"{free} huge pages are free for the {needed} that it needs.", *evidence)
    place = f" on node {node}" if node is not None else ""
    return say.block(
        f"It needs {needed} huge pages of {bytes_shown(size * 1024)}, and {free} are free{place}.",
        *evidence,
        remedy=f"Set more of them in {case.host}'s Nix configuration and reboot it, or give the guest less memory.",
    )


def numa(case: Case) -> Finding:
    """The guest runs near the card, on CPUs of its own."""
    say = Findings("numa", "NUMA and pinning")
    first = case.first
    pins = cpu_numbers(case.guest.cpus)
    if taken := {case.pinned[cpu]: cpu for cpu in sorted(pins) if cpu in case.pinned}:
        guest, cpu = next(iter(taken.items()))
        return say.block(
            f"CPU {cpu} of {case.host} is pinned to {guest} already.",
            *(f"{name} has CPU {number}" for name, number in taken.items()),
            remedy="Pin to CPUs that no other guest has.",
        )
    if first is None or first.numa_node is None or len(case.hardware.nodes) < 2:
        return say.ok("The host has one NUMA node." if len(case.hardware.nodes) == 1 else "The card has no NUMA node.")
    near = f"node {first.numa_node} (CPUs {first.cpus})"
    local = cpu_numbers(first.cpus)
    if case.guest.numa not in (None, first.numa_node):
        return say.warn(
            f"The guest's memory is from node {case.guest.numa}, and the card is on {near}.",
            f"numa_node = {first.numa_node}",
            remedy=f"Set numa = {first.numa_node}.",
        )
    if not pins:
        return say.warn(
            f"The guest's CPUs may run far from the card, which is on {near}.",
            f"numa_node = {first.numa_node}",
            f"local_cpulist = {first.cpus}",
            remedy=f'Pin it: cpus = "{_first_free(case, local)}", numa = {first.numa_node}.',
        )
    if not pins <= local:
        return say.warn(
            f"The guest is pinned to CPUs {case.guest.cpus}, and the card is on {near}.",
            f"local_cpulist = {first.cpus}",
            remedy=f'Pin it to CPUs of that node: cpus = "{_first_free(case, local)}".',
        )
    return say.ok(f"The guest is pinned beside the card, on {near}.", f"cpus = {case.guest.cpus}")


def _first_free(case: Case, local: frozenset[int]) -> str:
    free = [cpu for cpu in sorted(local) if cpu not in case.pinned][: case.guest.vcpus]
    return cpu_list(free) or case.guest.cpus
