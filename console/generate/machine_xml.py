"""A guest's processors, memory and firmware as parts of its domain XML."""

from __future__ import annotations

from collections.abc import Iterator

from console.domain.hardware import cpu_numbers
from console.domain.model import Accel, Firmware, Guest, Host, Kernel, Profile
from console.generate.xml_text import attribute, content

TCG_CPU = "Nehalem"
"""The oldest model with x86-64-v2, which distributions begin to demand; QEMU emulates all of it."""

ENLIGHTENMENTS = ("relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "frequencies", "ipi")
"""What of Hyper-V's interfaces KVM offers to Windows, whatever the processor: without it an idle guest is not idle."""

SPINLOCK_RETRIES = 8191
"""How often Windows tries a lock before it tells the hypervisor: the figure of Hyper-V's own specification."""

VENDOR_ID = "quarterdeck"
"""What a guest that is not told of KVM sees as its hypervisor's maker; at most 12 characters."""


def memory_xml(guest: Guest) -> Iterator[str]:
    """Yield what the guest's memory is made of, and where from."""
    # VFIO pins the memory of a guest with a device: what KSM shares or the kernel swaps only makes that fail later.
    pinned = bool(guest.devices)
    if guest.hugepages_kib or pinned:
        yield "  <memoryBacking>"
        if guest.hugepages_kib:
            yield "    <hugepages>"
            yield f'      <page size="{guest.hugepages_kib}" unit="KiB" />'
            yield "    </hugepages>"
        if pinned:
            yield from ("    <nosharepages />", "    <locked />")
        yield "  </memoryBacking>"
    yield f'  <vcpu placement="static">{guest.vcpus}</vcpu>'
    if guest.cpus:
        yield "  <cputune>"
        for vcpu, cpu in enumerate(sorted(cpu_numbers(guest.cpus))):
            yield f'    <vcpupin vcpu="{vcpu}" cpuset="{cpu}" />'
        # QEMU's own threads as well: it is them that touch, and so place, the memory.
        yield f'    <emulatorpin cpuset="{attribute("cpus", guest.cpus)}" />'
        yield "  </cputune>"
    if guest.numa is not None:
        yield "  <numatune>"
        yield f'    <memory mode="strict" nodeset="{guest.numa}" />'
        yield "  </numatune>"


def system_xml(guest: Guest) -> Iterator[str]:
    """Yield the mainboard, its firmware, and the kernel that it starts directly, if any."""
    uefi = guest.firmware is Firmware.UEFI
    yield '  <os firmware="efi">' if uefi else "  <os>"
    yield f'    <type arch="x86_64" machine="{attribute("machine", guest.machine)}">hvm</type>'
    if uefi:
        # Else libvirt may choose the firmware with enrolled keys, which starts no unsigned kernel. For Windows keys are
        # not asked for: QEMU's own firmware, NixOS' too, has none enrolled, and Windows asks for the ability alone.
        secure = "yes" if guest.profile is Profile.WINDOWS else "no"
        yield "    <firmware>"
        yield f'      <feature enabled="{secure}" name="secure-boot" />'
        yield "    </firmware>"
    kernel = guest.kernel or Kernel(path="")
    for tag, text in (("kernel", kernel.path), ("initrd", kernel.initrd), ("cmdline", kernel.cmdline)):
        if text:
            yield f"    <{tag}>{content(tag, text)}</{tag}>"
    yield "  </os>"


def features_xml(host: Host, guest: Guest) -> Iterator[str]:
    """Yield what the guest is told of its hypervisor. Without KVM there is none of it to tell of, or to hide."""
    windows = guest.profile is Profile.WINDOWS and host.accel is not Accel.TCG
    hidden = guest.hide_kvm and host.accel is not Accel.TCG
    yield from ("  <features>", "    <acpi />", "    <apic />")
    if windows or hidden:
        yield '    <hyperv mode="custom">'
        for name in ENLIGHTENMENTS if windows else ():
            retries = f' retries="{SPINLOCK_RETRIES}"' if name == "spinlocks" else ""
            yield f'      <{name} state="on"{retries} />'
        if hidden:
            yield f'      <vendor_id state="on" value="{VENDOR_ID}" />'
        yield "    </hyperv>"
    if hidden:
        yield from ("    <kvm>", '      <hidden state="on" />', "    </kvm>")
    if guest.profile is Profile.WINDOWS:
        # Secure Boot is only safe where the guest's own kernel cannot write the firmware's variables.
        yield '    <smm state="on" />'
    yield "  </features>"


def cpu_xml(host: Host, guest: Guest) -> Iterator[str]:
    """Yield the processor: the host's own, or one that QEMU emulates."""
    parts: list[str] = []
    if host.accel is Accel.TCG:
        start = '  <cpu mode="custom" match="exact">'
        parts.append(f'    <model fallback="allow">{TCG_CPU}</model>')
    else:
        start = '  <cpu mode="host-passthrough">'
        if any(device.gpu for device in guest.devices.values()):
            # UEFI makes the window for memory regions above 4 GiB as large as the address width allows.
            parts.append('    <maxphysaddr mode="passthrough" />')
    if guest.profile is Profile.WINDOWS:
        # Windows for desktops uses two sockets at most, and libvirt makes each vCPU a socket of its own.
        parts.append(f'    <topology sockets="1" dies="1" cores="{guest.vcpus}" threads="1" />')
    if not parts:
        yield start.replace(">", " />")
        return
    yield from (start, *parts, "  </cpu>")


def life_xml(host: Host, guest: Guest) -> Iterator[str]:
    """Yield the clock, and what happens at the end."""
    if guest.profile is Profile.WINDOWS:
        # Windows takes the hardware's clock for local time; ticks that were missed must not be lost.
        yield '  <clock offset="localtime">'
        yield '    <timer name="rtc" tickpolicy="catchup" />'
        yield '    <timer name="pit" tickpolicy="delay" />'
        yield '    <timer name="hpet" present="no" />'
        if host.accel is not Accel.TCG:
            yield '    <timer name="hypervclock" present="yes" />'
        yield "  </clock>"
    else:
        yield '  <clock offset="utc" />'
    yield "  <on_poweroff>destroy</on_poweroff>"
    yield "  <on_reboot>restart</on_reboot>"
    yield "  <on_crash>destroy</on_crash>"
