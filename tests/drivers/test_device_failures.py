"""What libvirt and QEMU say of devices at a start, in words: their own wordings, of several versions."""

from __future__ import annotations

import pytest

from console.drivers.libvirt.failures import refusal
from tests.drivers.world import error

QEMU = "internal error: qemu unexpectedly closed the monitor: 2024-02-07T09:02:08.234524Z qemu-system-x86_64: "
ARGUMENT = '-device {"driver":"vfio-pci","host":"0000:65:00.0","id":"hostdev0","bus":"pci.4","addr":"0x0"}: '


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Requested operation is not valid: PCI device 0000:65:00.0 is in use",
            "PCI device 0000:65:00.0 is in use by somebody on the host that libvirt does not name.",
        ),
        (
            "Requested operation is not valid: mediated device /sys/bus/mdev/devices/"
            "4b20d080-1b54-4048-85b3-a6a62d165c01 is in use by driver QEMU, domain m1",
            "Its mediated device is in use by m1.",
        ),
        (
            "device not found: mediated device '4b20d080-1b54-4048-85b3-a6a62d165c01' not found",
            "Mediated device 4b20d080-1b54-4048-85b3-a6a62d165c01 does not exist on the host.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: group 28 is not viable\n"
            "Please ensure all devices within the iommu_group are bound to their vfio bus driver.",
            "Another device of IOMMU group 28 is still on a driver of the host.",
        ),
        (
            "internal error: Device 0000:65:00.0 is behind a switch lacking ACS and cannot be assigned",
            "PCI device 0000:65:00.0 sits behind a switch that lets its neighbours reach it past the IOMMU.",
        ),
        (
            "internal error: Non-endpoint PCI devices cannot be assigned to guests",
            "What it asks for is a bridge, and belongs to no guest.",
        ),
        (
            "Requested operation is not valid: Unmanaged PCI device 0000:65:00.0 must be manually detached from the"
            " host",
            "PCI device 0000:65:00.0 is on a driver of the host, and libvirt was not asked to take it from there.",
        ),
        (
            "unsupported configuration: host doesn't support passthrough of host PCI devices",
            "The host's IOMMU is off, or the device has no IOMMU group: nothing can be passed through.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: no iommu_group found: No such file or directory",
            "The host's IOMMU is off, or the device has no IOMMU group: nothing can be passed through.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to setup container for group 12: failed to set iommu for"
            " container: Operation not permitted",
            "The host's kernel refuses: its platform does not remap interrupts, or the device must keep fixed memory.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to setup container for group 13: Failed to set group container:"
            " Invalid argument",
            "The host's kernel does not let go of the device's memory: its firmware asked for a fixed mapping (RMRR).",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to open /dev/vfio/94: Permission denied",
            "QEMU on the host may not open /dev/vfio/94.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: Could not open '/dev/vfio/14': Operation not permitted",
            "QEMU on the host may not open /dev/vfio/14.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: Could not open '/dev/vfio/14': Device or resource busy",
            "Something else on the host still has /dev/vfio/14.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to open /dev/vfio/40: No such file or directory",
            "/dev/vfio/40 is not there: the device is not on vfio-pci.",
        ),
        (
            "internal error: Process exited prior to exec: libvirt:  error : cannot limit locked memory of process 111"
            " to 9007199254740991: Operation not permitted",
            "libvirt may not raise the limit of locked memory, which a guest with devices needs for all of its memory.",
        ),
        (
            f"{QEMU}{ARGUMENT}VFIO_MAP_DMA failed: Cannot allocate memory",
            "The host does not let QEMU lock the guest's memory for its device.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to setup container for group 49: memory listener initialization"
            " failed: Region pc.ram: vfio_dma_map(0x648f08f946c0, 0x0, 0x80000000, 0x715dc0000000) = -12 (Cannot"
            " allocate memory)",
            "The host does not let QEMU lock the guest's memory for its device.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: failed to setup container for group 258: memory listener"
            " initialization failed: Region pc.ram: vfio_dma_map(0x55ba53e7a9d0, 0x100000000, 0xff30000000,"
            " 0x7ed243e00000) = -22 (Invalid argument)",
            "The guest's memory reaches where the host's IOMMU cannot map it for the device.",
        ),
        (
            f"{QEMU}{ARGUMENT}vfio 0000:65:00.0: error getting device from group 24: No such device\nVerify all devices"
            " in group 24 are bound to vfio-<bus> or pci-stub and not already in use",
            "The device could not be taken out of IOMMU group 24: it does not answer, or is in use.",
        ),
        (
            "internal error: Unable to reset PCI device 0000:65:00.0: internal error: Active 0000:65:00.1 devices on"
            " bus with 0000:65:00.0, not doing bus reset",
            "PCI device 0000:65:00.0 cannot be reset without its neighbours.",
        ),
        (
            "Device 0000:65:00.0 not found: could not access /sys/bus/pci/devices/0000:65:00.0/config: No such file or"
            " directory",
            "The device is not in the host any more, or is at another place.",
        ),
        (
            "An error occurred, but the cause is unknown",
            "libvirt does not say why. Of a guest with devices, one of them is mostly not there.",
        ),
        (
            "Failed to bind PCI device '0000:65:00.0' to vfio-pci: No such device",
            "The host could not give the device to vfio-pci.",
        ),
        (
            f'{QEMU}{ARGUMENT}failed to find romfile "/var/lib/roms/3080.rom"',
            "The ROM file /var/lib/roms/3080.rom is missing on the host, or is none.",
        ),
    ],
)
def test_why_a_guest_with_devices_does_not_start(text: str, reason: str) -> None:
    refused = refusal("web was not started", error(1, text))
    first, _, own = refused.detail.partition("\n")
    assert first == reason
    assert own == " ".join(text.split()), "libvirt's own words are kept"
    assert refused.hint.endswith((".", '".'))


def test_the_last_words_of_a_long_text_are_heard() -> None:
    text = f"{QEMU}{ARGUMENT * 20}vfio 0000:65:00.0: group 28 is not viable"
    refused = refusal("web was not started", error(1, text))
    assert refused.detail.startswith("Another device of IOMMU group 28 is still on a driver of the host.")
    assert len(refused.detail) < 1000
