"""Generated domain XML on a real libvirtd: QEMU's driver keeps its facts, and the guest boots from it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import product

import libvirt
import pytest

from console.domain.model import (
    Accel,
    Device,
    Disk,
    Display,
    Firmware,
    Fleet,
    Guest,
    Host,
    Kernel,
    Nic,
    Pool,
    Profile,
    Source,
    Usb,
)
from console.domain.model import SourceKind as From
from console.domain.shape import identity_of, pci_of, shape_difference, shape_of
from console.generate.domain_xml import disk_xml, domain_xml, nic_xml, volume_name
from tests.lab.guests import BOOTED, Lab, eventually
from tests.lab.serial import read_until

pytestmark = pytest.mark.lab

HOST = Host(name="lab-a", mac="52:54:00:10:00:0a", address="10.77.0.11/24", uri="", accel=Accel.TCG)
SYSTEM = Disk(name="system", size_kib=2**20, pool="default", target="vda")
DATA = Disk(name="data.1", size_kib=64, pool="default", target="vdb")
CD = Disk(name="cd", size_kib=0, pool="default", target="sda", source=Source(kind=From.ISO, value="tiny.iso"))
LAN = Nic(name="lan", network="lan", mac="52:54:00:2a:00:01")
SECOND = Nic(name="second", network="lan", mac="52:54:00:2a:00:02")
GPU = Device(name="gpu0", pci="0000:65:00", functions=("10de:2206", "10de:1aef"), function_numbers=(0, 1), gpu=True)
GUEST = Guest(
    name="xml-lab",
    uuid="6d0e2f5c-0000-4000-8000-0000000000aa",
    vcpus=1,
    memory_kib=256 * 1024,
    disks={"cd": CD, "system": SYSTEM},
    nics={"lan": LAN},
    boot=("disk:cd", "nic:lan", "disk:system"),
)


def fleet_of(lab: Lab) -> Fleet:
    return Fleet(
        name="lab",
        id="6d0e2f5c-0000-4000-8000-0000000000ff",
        pools={"default": Pool(name="default", path=str(lab.pool_path))},
    )


def kernel_of(lab: Lab) -> Kernel:
    return Kernel(path=str(lab.kernel), initrd=str(lab.initrd), cmdline=lab.cmdline)


def test_qemu_s_driver_keeps_every_shape(lab: Lab, connection: libvirt.virConnect) -> None:
    for firmware, display, device, kernel, boot in product(
        Firmware, Display, (False, True), (False, True), ((), GUEST.boot)
    ):
        guest = replace(
            GUEST,
            firmware=firmware,
            display=display,
            devices={"gpu0": GPU} if device else {},
            kernel=kernel_of(lab) if kernel else None,
            boot=boot,
            disks={**GUEST.disks, "data.1": DATA},
            description='a "quoted" <guest>',
        )
        xml = domain_xml(fleet_of(lab), HOST, guest)
        domain = connection.defineXML(xml)
        reported = domain.XMLDesc()
        assert shape_difference(shape_of(xml), shape_of(reported)) == []
        assert identity_of(reported) == identity_of(xml)
        assert pci_of(reported) == pci_of(xml)
        # Every alias and port was taken as it is: nothing was given to a controller that libvirt added.
        assert reported.count("pcie-root-port'>") == xml.count('"pcie-root-port"')
        assert all(f"ua-{alias}'" in reported for alias in ("disk-system", "disk-data_-1", "nic-lan"))
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


@pytest.mark.parametrize(
    ("firmware", "display"), [(Firmware.BIOS, Display.VNC), (Firmware.UEFI, Display.NONE)], ids=["bios-vnc", "uefi"]
)
def test_a_guest_boots_and_takes_a_disk_and_a_card(
    lab: Lab, connection: libvirt.virConnect, firmware: Firmware, display: Display
) -> None:
    fleet = fleet_of(lab)
    guest = replace(
        GUEST, firmware=firmware, display=display, kernel=kernel_of(lab), disks={"cd": CD}, boot=("disk:cd",)
    )
    pool = connection.storagePoolLookupByName("default")
    pool.createXML(
        f"<volume><name>{volume_name(guest, DATA)}</name><capacity unit='KiB'>{DATA.size_kib}</capacity>"
        "<target><format type='qcow2'/></target></volume>"
    )
    xml = domain_xml(fleet, HOST, guest)
    domain = connection.defineXML(xml)
    domain.create()
    read_until(connection, guest.name, BOOTED)
    assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc())) == []

    wider = replace(guest, disks={**guest.disks, "data.1": DATA}, nics={**guest.nics, "second": SECOND})
    domain.attachDevice(disk_xml(fleet, wider, DATA))
    domain.attachDevice(nic_xml(SECOND))
    assert shape_difference(shape_of(domain_xml(fleet, HOST, wider)), shape_of(domain.XMLDesc())) == []

    def gone() -> bool:
        """The guest lets go when it likes, so it is asked again."""
        for device in (disk_xml(fleet, wider, DATA), nic_xml(SECOND)):
            # What is gone already, or being let go of, is refused.
            with contextlib.suppress(libvirt.libvirtError):
                domain.detachDevice(device)
        return shape_of(domain.XMLDesc()) == shape_of(xml)

    assert eventually(gone, "the plugged devices to be gone")


PART = replace(
    GPU,
    functions=("10de:1bb3",),
    function_numbers=(0,),
    mdev="nvidia-63",
    mdev_uuid="6d0e2f5c-0000-4000-8000-0000000000cc",
)
VGPU = replace(GPU, functions=("10de:26b9",), function_numbers=(4,), virtual_of="0000:65:00.0", vgpu=1147)
MACHINES: dict[str, dict[str, object]] = {
    "rom": {"devices": {"gpu0": replace(GPU, rom="/srv/rom.bin")}, "boot": ("device:gpu0", "disk:system")},
    "no-rom": {"devices": {"gpu0": replace(GPU, rom="off")}},
    "mdev": {"devices": {"gpu0": PART}},
    "vgpu": {"devices": {"gpu0": VGPU}},
    "usb": {"usb": {"stick": Usb(name="stick", id="046d:c52b")}, "boot": ("usb:stick", "disk:system")},
    "memory": {"hugepages_kib": 2048, "cpus": "0", "numa": 0},
    "windows": {"profile": Profile.WINDOWS, "firmware": Firmware.UEFI, "hide_kvm": True},
    "extra": {"extra_xml": '<watchdog model="i6300esb" action="reset"/>'},
}


@pytest.mark.parametrize("machine", list(MACHINES))
def test_qemu_s_driver_keeps_what_a_guest_with_devices_is(
    lab: Lab, connection: libvirt.virConnect, machine: str
) -> None:
    guest = replace(GUEST, **MACHINES[machine])  # type: ignore[arg-type]
    xml = domain_xml(fleet_of(lab), HOST, guest)
    domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc())) == []
    assert pci_of(domain.XMLDesc()) == pci_of(xml)


@pytest.mark.parametrize(
    "machine",
    [
        {"profile": Profile.WINDOWS, "firmware": Firmware.UEFI, "memory_kib": 512 * 1024},
        {"cpus": "0", "numa": 0, "extra_xml": '<watchdog model="i6300esb" action="reset"/>'},
    ],
    ids=["windows", "pinned"],
)
def test_a_guest_of_that_kind_starts(lab: Lab, connection: libvirt.virConnect, machine: dict[str, object]) -> None:
    """Under TCG, with nothing to boot: QEMU takes it, and the running domain is what was defined."""
    guest = replace(GUEST, disks={"cd": CD}, boot=("disk:cd",), **machine)  # type: ignore[arg-type]
    xml = domain_xml(fleet_of(lab), HOST, guest)
    domain = connection.defineXML(xml)
    domain.create()
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc())) == []
