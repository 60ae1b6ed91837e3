"""What libvirt and QEMU say when a guest with devices does not start, in words an operator can act on. Pure.

The wordings are those of libvirt's virpci.c, virhostdev.c and virprocess.c (9.0 to 11) and of QEMU's hw/vfio (7 to 10).
"""

from __future__ import annotations

ADDRESS = r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"

DEVICE_TEXT = (
    # (what is found in the text, what it means, the way out); the first one that is found counts.
    (
        rf"PCI device {ADDRESS} is in use by driver \S+, domain (\S+)",
        r"PCI device \1 is in use by \2.",
        "Shut that guest down, or choose another device.",
    ),
    (
        rf"PCI device {ADDRESS} is in use",
        r"PCI device \1 is in use by somebody on the host that libvirt does not name.",
        "Look there for what holds its IOMMU group (/dev/vfio), and end it, or choose another device.",
    ),
    (
        r"mediated device \S+ is in use by driver \S+, domain (\S+)",
        r"Its mediated device is in use by \1.",
        "Shut that guest down, or give this one a device of its own.",
    ),
    (
        r"mediated device '?(\S+?)'? not found",
        r"Mediated device \1 does not exist on the host.",
        "Have the host make it: apply its Nix configuration, or reboot it when that was done.",
    ),
    (
        rf"vfio {ADDRESS}: .*group (\d+) is not viable|group (\d+) is not viable",
        r"Another device of IOMMU group \2\3 is still on a driver of the host.",
        "A group goes to a guest whole: give the guest all of it, or have vfio-pci hold the rest of it.",
    ),
    (
        rf"Device {ADDRESS} is behind a switch lacking ACS",
        r"PCI device \1 sits behind a switch that lets its neighbours reach it past the IOMMU.",
        "Put the card into another slot, or choose another device.",
    ),
    (
        r"Non-endpoint PCI devices cannot be assigned",
        "What it asks for is a bridge, and belongs to no guest.",
        "Choose the card behind the bridge.",
    ),
    (
        rf"Unmanaged PCI device {ADDRESS} must be manually detached",
        r"PCI device \1 is on a driver of the host, and libvirt was not asked to take it from there.",
        "Mark it for guests in the host's Nix configuration and reboot the host, or free it there by hand.",
    ),
    (
        r"host doesn't support passthrough of host PCI devices|no iommu_group found",
        "The host's IOMMU is off, or the device has no IOMMU group: nothing can be passed through.",
        "Switch VT-d or AMD-Vi on in the firmware setup, and the IOMMU in the host's kernel parameters.",
    ),
    (
        r"failed to set iommu for container: Operation not permitted",
        "The host's kernel refuses: its platform does not remap interrupts, or the device must keep fixed memory.",
        "Look into the host's kernel log (dmesg) for vfio; the preflight's row on interrupt remapping says more.",
    ),
    (
        r"failed to set(?: group)? container: Invalid argument|requires? .*1:1 mapping",
        "The host's kernel does not let go of the device's memory: its firmware asked for a fixed mapping (RMRR).",
        "Look for a firmware update or setting of the host's vendor, or choose another device.",
    ),
    (
        r"(?:failed to |could not |unable to )open '?(/dev/vfio/\w+)'?: (?:Permission denied|Operation not permitted)",
        r"QEMU on the host may not open \1.",
        "Look at the file's owner, and at cgroup_device_acl and the security driver in the host's qemu.conf.",
    ),
    (
        r"(?:failed to |could not |unable to )open '?(/dev/vfio/\w+)'?: Device or resource busy",
        r"Something else on the host still has \1.",
        "Another guest or process has a device of this group: stop it, or wait a moment if it was just stopped.",
    ),
    (
        r"(?:failed to |could not |unable to )open '?(/dev/vfio/\w+)'?: No such file",
        r"\1 is not there: the device is not on vfio-pci.",
        "Load vfio-pci on the host (its Nix configuration does), and start the guest again.",
    ),
    (
        r"cannot limit locked memory",
        "libvirt may not raise the limit of locked memory, which a guest with devices needs for all of its memory.",
        "Connect as root (qemu+ssh://root@...), or raise LimitMEMLOCK of libvirt's service on the host.",
    ),
    (
        r"VFIO_MAP_DMA failed: Cannot allocate memory|vfio_dma_map\(.*\) = -12",
        "The host does not let QEMU lock the guest's memory for its device.",
        "Give the guest less memory, or raise its limit (memtune hard_limit) and LimitMEMLOCK of libvirt's service.",
    ),
    (
        r"vfio_dma_map\(.*\) = -22|VFIO_MAP_DMA(?: failed)?: (?:-22|Invalid argument)",
        "The guest's memory reaches where the host's IOMMU cannot map it for the device.",
        "Give the guest less memory, or look into the host's kernel log (dmesg) for vfio.",
    ),
    (
        r"error getting device from group (\d+)",
        r"The device could not be taken out of IOMMU group \1: it does not answer, or is in use.",
        "Look at its preflight; when it says that the card needs a reset, reboot the host.",
    ),
    (
        rf"Unable to reset PCI device {ADDRESS}",
        r"PCI device \1 cannot be reset without its neighbours.",
        "Give the guest all functions of the card; when they are, reboot the host and try again.",
    ),
    (
        rf"Device {ADDRESS} not found|no node device with matching name",
        "The device is not in the host any more, or is at another place.",
        "Look at the GPU board for where the card is now, and choose it there.",
    ),
    (
        r"An error occurred, but the cause is unknown",
        "libvirt does not say why. Of a guest with devices, one of them is mostly not there.",
        "Look at the guest's preflight; where that is clear, into libvirt's log on the host.",
    ),
    (
        rf"Failed to (?:bind|add) PCI device '?{ADDRESS}'? to|Unable to detect a driver|failed to load .*vfio",
        "The host could not give the device to vfio-pci.",
        "Look into the host's kernel log (dmesg); a driver that does not let go needs a reboot of the host.",
    ),
    (
        r'failed to find romfile "([^"\s]{1,200})"|romfile "([^"\s]{1,200})" (?:is empty|too large)',
        r"The ROM file \1\2 is missing on the host, or is none.",
        'Have the file there, from this very card; or set rom = "off".',
    ),
)
