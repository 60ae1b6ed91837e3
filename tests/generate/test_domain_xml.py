"""Domain XML: valid by libvirt's schema, accepted by its test driver, and the same facts come back."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.domain.errors import FleetError
from console.domain.model import (
    Accel,
    Device,
    Disk,
    Display,
    Firmware,
    Fleet,
    Guest,
    Host,
    ImageMode,
    Kernel,
    Kind,
    Nic,
    Pool,
    Profile,
    Source,
    SourceKind,
    Usb,
)
from console.domain.shape import Effect, effect_of, identity_of, pci_of, shape_difference, shape_of
from console.generate.domain_xml import digest_of, disk_xml, domain_xml, nic_xml, volume_name
from tests.strategies import guests

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
FLEET = Fleet(
    name="cellar", id="0f0e0d0c-0000-4000-8000-000000000001", pools={"default": Pool(name="default", path="/srv/vm")}
)
SYSTEM = Disk(name="system", size_kib=2**20, pool="default", target="vda")
GPU = Device(name="gpu0", pci="0000:65:00", functions=("10de:2206", "10de:1aef"), function_numbers=(0, 1), gpu=True)
LAN = Nic(name="lan", network="default", mac="52:54:00:20:00:01")
GUEST = Guest(
    name="web",
    uuid="0f0e0d0c-0000-4000-8000-000000000002",
    vcpus=2,
    memory_kib=2**20,
    disks={"system": SYSTEM},
    nics={"lan": LAN},
    boot=("nic:lan", "disk:system"),
)
SOURCES = (
    None,
    Source(),
    Source(kind=SourceKind.IMAGE, value="debian.qcow2", mode=ImageMode.COPY),
    Source(kind=SourceKind.IMAGE, value="debian.qcow2", mode=ImageMode.OVERLAY),
    Source(kind=SourceKind.ISO, value="debian.iso"),
    Source(kind=SourceKind.ISO, value="/srv/iso/a b.iso"),
)


def host(accel: Accel | None = Accel.TEST) -> Host:
    return Host(name="vhost-a", mac="52:54:00:10:00:0a", address="10.0.0.11/24", uri="", accel=accel)


def xml_of(guest: Guest, accel: Accel | None = Accel.TEST) -> str:
    return domain_xml(FLEET, host(accel), guest)


def every_shape() -> Iterator[tuple[Accel | None, Guest]]:
    """The product of all that the model can choose between."""
    for accel, firmware, display, kind, source, kernel, functions, nics in product(
        (None, *Accel), Firmware, Display, Kind, SOURCES, (False, True), (0, 1, 8), (0, 2)
    ):
        cdrom = source is not None and source.kind is SourceKind.ISO
        disk = source and replace(SYSTEM, target="sda" if cdrom else "vda", source=source)
        gpu = replace(GPU, functions=("10de:2206",) * functions, function_numbers=tuple(range(functions)))
        yield (
            accel,
            replace(
                GUEST,
                firmware=firmware,
                display=display,
                kind=kind,
                kernel=Kernel(path="/srv/vmlinuz", initrd="/srv/initrd", cmdline="a=b") if kernel else None,
                devices={"gpu0": gpu} if functions else {},
                disks={"system": disk} if disk else {},
                nics={f"n{n}": replace(LAN, name=f"n{n}", mac=f"52:54:00:20:00:0{n}") for n in range(nics)},
                boot=(("nic:n1",) if nics else ()) + (("disk:system",) if disk else ()),
            ),
        )


WHOLE = replace(GPU, rom="/srv/rom/ga102.rom", accepted=("reset",))
HIDDEN = replace(GPU, rom="off")
FUNCTION = replace(GPU, pci="0000:3b:10", functions=("8086:154c",), function_numbers=(3,), virtual_of="0000:3b:00.0")
VGPU = replace(FUNCTION, functions=("10de:26b9",), vgpu=1147)
MDEV = replace(
    GPU,
    functions=("10de:1bb3",),
    function_numbers=(0,),
    mdev="nvidia-63",
    mdev_uuid="0f0e0d0c-0000-4000-8000-00000000000a",
)
USB = Usb(name="stick", id="046d:c52b")
WATCHDOG = '<watchdog model="i6300esb" action="reset"/>'


def every_machine() -> Iterator[tuple[Accel | None, Guest]]:
    """The product of all that a guest with devices can choose between."""
    for accel, firmware, profile, device, usb, pages, cpus, numa, hidden, extra in product(
        (None, *Accel),
        Firmware,
        Profile,
        (None, WHOLE, HIDDEN, FUNCTION, VGPU, MDEV),
        (None, USB),
        (0, 1024 * 1024),
        ("", "16,18"),
        (None, 1),
        (False, True),
        ("", WATCHDOG),
    ):
        boot = [f"device:{device.name}"] if device and not device.mdev else []
        yield (
            accel,
            replace(
                GUEST,
                firmware=firmware,
                profile=profile,
                devices={device.name: device} if device else {},
                usb={usb.name: usb} if usb else {},
                hugepages_kib=pages,
                cpus=cpus,
                numa=numa,
                hide_kvm=hidden,
                extra_xml=extra,
                boot=(*boot, *(f"usb:{each.name}" for each in (usb,) if each), *GUEST.boot),
            ),
        )


@pytest.fixture(scope="module")
def driver() -> Iterator[libvirt.virConnect]:
    """libvirt's test driver. Its default connection is shared in the process, so each test clears up."""
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


def assert_valid(xmls: Iterable[str]) -> None:
    if not (shutil.which("xmllint") and SCHEMA.is_file()):
        pytest.skip(f"xmllint or {SCHEMA} is missing: install libxml2-utils and libvirt-clients")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, xml in enumerate(xmls):
            files.append(Path(folder, f"{number}.xml"))
            files[-1].write_text(xml, encoding="utf-8")
        # What virt-xml-validate does, with one reading of the schema for all.
        done = subprocess.run(
            ["xmllint", "--noout", "--relaxng", SCHEMA, *files], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[:2000]


def assert_kept(driver: libvirt.virConnect, guest: Guest) -> None:
    """The test driver takes the definition, starts it, and reports the same facts, off and running."""
    xml = xml_of(guest)
    domain = driver.defineXML(xml)
    try:
        assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc())) == []
        domain.create()
        assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc())) == []
        assert shape_difference(shape_of(xml), shape_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))) == []
        assert identity_of(domain.XMLDesc()) == identity_of(xml)
        assert pci_of(domain.XMLDesc()) == pci_of(xml)
        domain.destroy()
    finally:
        domain.undefine()


def test_every_shape_is_valid() -> None:
    assert_valid({xml_of(guest, accel) for accel, guest in every_shape()})


def test_every_machine_is_valid() -> None:
    assert_valid({xml_of(guest, accel) for accel, guest in every_machine()})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(guests(), min_size=5, max_size=10))
def test_awkward_guests_are_valid(found: list[Guest]) -> None:
    assert_valid(xml_of(guest) for guest in found)


def test_every_shape_is_kept_by_the_test_driver(driver: libvirt.virConnect) -> None:
    for accel, guest in every_shape():
        if accel is Accel.TEST:
            assert_kept(driver, guest)


def test_every_machine_is_kept_by_the_test_driver(driver: libvirt.virConnect) -> None:
    for number, (accel, guest) in enumerate(every_machine()):
        if accel is Accel.TEST and number % 7 == 0:
            assert_kept(driver, guest)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(guests())
def test_awkward_guests_are_kept_by_the_test_driver(guest: Guest) -> None:
    connection = libvirt.open("test:///default")
    try:
        assert_kept(connection, guest)
    finally:
        connection.close()


def test_the_same_guest_gives_the_same_text_and_its_digest_is_of_the_rest() -> None:
    xml = xml_of(GUEST)
    assert xml == xml_of(replace(GUEST))
    inventory, digest = identity_of(xml)
    assert inventory == FLEET.id
    assert digest == digest_of(xml.replace(f' digest="{digest}"', ""))
    assert identity_of(xml_of(replace(GUEST, vcpus=3)))[1] != digest


def test_boot_order_is_by_device() -> None:
    assert shape_of(xml_of(GUEST))["boot"] == "nic 52:54:00:20:00:01, disk vda"
    assert "boot" not in shape_of(xml_of(replace(GUEST, boot=())))


def test_text_is_escaped() -> None:
    words = """console=ttyS0 a="b" 'c' <d> & ]]> ${e} é"""
    guest = replace(GUEST, description=words, kernel=Kernel(path="/a<b>&", cmdline=words))
    root = ElementTree.fromstring(xml_of(guest))
    assert (root.findtext("description"), root.findtext("os/cmdline")) == (words, words)
    assert root.findtext("os/kernel") == "/a<b>&"


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x07", "\r", "\ud800", "\uffff"])
def test_what_xml_cannot_carry_is_refused_by_name(character: str) -> None:
    with pytest.raises(FleetError, match="cmdline"):
        xml_of(replace(GUEST, kernel=Kernel(path="/k", cmdline=f"a{character}b")))
    with pytest.raises(FleetError, match="description"):
        xml_of(replace(GUEST, description=character))
    with pytest.raises(FleetError, match="source network"):
        nic_xml(replace(LAN, network=character))


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        (replace(GUEST, boot=("disk:other",)), "disk:other"),
        (replace(GUEST, disks={"system": replace(SYSTEM, pool="fast")}), "pool fast"),
        (replace(GUEST, disks={"system": replace(SYSTEM, target="hda")}), "hda"),
        (replace(GUEST, disks={"system": replace(SYSTEM, target="")}), "system"),
        (replace(GUEST, disks={"system": replace(SYSTEM, source=SOURCES[4] or Source())}), "sda"),
        (replace(GUEST, devices={"gpu0": replace(GPU, functions=(), function_numbers=())}), "0000:65:00"),
    ],
)
def test_what_cannot_be_defined_is_refused_by_name(guest: Guest, words: str) -> None:
    with pytest.raises(FleetError, match=r"^web cannot be defined") as caught:
        xml_of(guest)
    assert words in caught.value.detail


def hostdevs(guest: Guest) -> list[tuple[str, str, str, str]]:
    """(host function, guest bus, guest function, multifunction) of each passed-through function."""
    found = []
    for device in ElementTree.fromstring(xml_of(guest)).iterfind("devices/hostdev"):
        source, place = device.find("source/address"), device.find("address")
        assert source is not None and place is not None
        seat = (place.get(key, "") for key in ("bus", "function", "multifunction"))
        found.append((source.get("function", ""), *seat))
    return found


def test_a_slot_is_one_slot_of_the_guest_behind_a_port_of_its_own() -> None:
    second = replace(GPU, name="gpu1", pci="0000:b3:00", function_numbers=(1, 3))
    found = hostdevs(replace(GUEST, devices={"gpu0": GPU, "gpu1": second}))
    assert found == [
        ("0x0", "0x11", "0x0", "on"),
        ("0x1", "0x11", "0x1", ""),
        # A guest sees nothing of a slot without function 0.
        ("0x1", "0x12", "0x0", "on"),
        ("0x3", "0x12", "0x2", ""),
    ]


def ports(guest: Guest) -> int:
    return xml_of(guest).count('model="pcie-root-port"')


def test_there_are_always_eight_ports_to_spare() -> None:
    for count in (0, 1, 4, 5, 12, 20):
        disks = {f"d{n}": replace(SYSTEM, name=f"d{n}", target=f"vd{chr(97 + n)}") for n in range(count)}
        guest = replace(GUEST, disks=disks, boot=())
        assert ports(guest) - count - len(guest.nics) - 4 >= 8


def test_a_guest_with_a_device_has_no_balloon() -> None:
    assert shape_of(xml_of(GUEST))["balloon"] == "virtio, statistics every 5 s"
    assert shape_of(xml_of(replace(GUEST, devices={"gpu0": GPU})))["balloon"] == "none"


def tree(accel: Accel | None = Accel.KVM, **facts: object) -> ElementTree.Element:
    return ElementTree.fromstring(xml_of(replace(GUEST, **facts), accel))  # type: ignore[arg-type]


def told(element: ElementTree.Element | None) -> list[tuple[str, dict[str, str]]]:
    """Each part of an element with its attributes."""
    assert element is not None
    return [(part.tag, dict(part.attrib)) for part in element.iter()]


def test_a_rom_is_given_to_the_first_function_and_hidden_from_all() -> None:
    def roms(device: Device) -> list[dict[str, str] | None]:
        found = (each.find("rom") for each in tree(devices={"gpu0": device}).iterfind("devices/hostdev"))
        return [None if rom is None else dict(rom.attrib) for rom in found]

    assert roms(GPU) == [None, None]
    assert roms(WHOLE) == [{"file": "/srv/rom/ga102.rom"}, None]
    assert roms(HIDDEN) == [{"bar": "off"}, {"bar": "off"}]


def test_a_vgpu_stays_with_its_driver_and_a_virtual_function_is_lent_to_the_guest() -> None:
    def managed(device: Device) -> list[str | None]:
        return [each.get("managed") for each in tree(devices={"d": device}).iterfind("devices/hostdev")]

    assert (managed(GPU), managed(FUNCTION), managed(VGPU)) == (["yes", "yes"], ["yes"], ["no"])
    assert hostdevs(replace(GUEST, devices={"vf": FUNCTION})) == [("0x3", "0x11", "0x0", "")]


def test_a_mediated_device_is_known_by_its_uuid() -> None:
    found = tree(devices={"gpu0": MDEV}).find("devices/hostdev")
    assert found is not None
    assert (found.get("type"), found.get("model")) == ("mdev", "vfio-pci")
    assert told(found.find("source"))[1] == ("address", {"uuid": MDEV.mdev_uuid})
    assert pci_of(xml_of(replace(GUEST, devices={"gpu0": MDEV}))) == ()


def test_a_usb_device_is_found_in_any_port_and_may_be_missing() -> None:
    source = tree(usb={"stick": USB}).find("devices/hostdev[@type='usb']/source")
    assert told(source) == [
        ("source", {"startupPolicy": "optional"}),
        ("vendor", {"id": "0x046d"}),
        ("product", {"id": "0xc52b"}),
    ]


def test_what_is_not_picked_yet_is_no_part_of_the_domain_but_of_its_digest() -> None:
    wish = Device(name="a--b", pci="", resource="rtx--3080")
    waiting = xml_of(replace(GUEST, devices={"a--b": wish}))
    assert pci_of(waiting) == () and "<hostdev" not in waiting
    assert_valid([waiting])
    assert identity_of(waiting) != identity_of(xml_of(GUEST))


def test_memory_of_a_guest_with_a_device_is_locked_and_not_shared() -> None:
    def parts(**facts: object) -> list[str]:
        return [each.tag for each in tree(**facts).iterfind("memoryBacking/*")]

    assert parts() == []
    assert parts(devices={"gpu0": GPU}) == ["nosharepages", "locked"]
    assert parts(devices={"gpu0": GPU}, hugepages_kib=2048) == ["hugepages", "nosharepages", "locked"]
    assert told(tree(hugepages_kib=2048).find("memoryBacking/hugepages/page")) == [
        ("page", {"size": "2048", "unit": "KiB"})
    ]


def test_each_vcpu_has_a_cpu_of_its_own_and_the_memory_is_from_its_node() -> None:
    root = tree(cpus="16,18", numa=1)
    pins = [(pin.get("vcpu"), pin.get("cpuset")) for pin in root.iterfind("cputune/*")]
    assert pins == [("0", "16"), ("1", "18"), (None, "16,18")]
    assert told(root.find("numatune/memory")) == [("memory", {"mode": "strict", "nodeset": "1"})]


def test_kvm_is_hidden_with_another_makers_name_where_there_is_kvm() -> None:
    root = tree(hide_kvm=True)
    assert root.find("features/kvm/hidden[@state='on']") is not None
    assert root.find("features/hyperv/vendor_id[@value='quarterdeck']") is not None
    assert tree(Accel.TCG, hide_kvm=True).find("features/kvm") is None


def test_a_gpu_gets_the_hosts_whole_address_width_for_its_memory_regions() -> None:
    assert tree(devices={"gpu0": GPU}).find("cpu/maxphysaddr[@mode='passthrough']") is not None
    assert tree(devices={"nvme": replace(GPU, gpu=False)}).find("cpu/maxphysaddr") is None
    assert tree(Accel.TCG, devices={"gpu0": GPU}).find("cpu/maxphysaddr") is None


def test_a_windows_guest_has_what_windows_asks_for() -> None:
    root = tree(profile=Profile.WINDOWS, firmware=Firmware.UEFI, vcpus=8)
    features = {each.get("name"): each.get("enabled") for each in root.iterfind("os/firmware/feature")}
    assert features == {"secure-boot": "yes"}
    assert told(root.find("devices/tpm")) == [
        ("tpm", {"model": "tpm-crb"}),
        ("backend", {"type": "emulator", "version": "2.0"}),
    ]
    assert {each.tag for each in root.iterfind("features/hyperv/*")} >= {"relaxed", "vapic", "spinlocks", "stimer"}
    assert root.find("clock[@offset='localtime']/timer[@name='hypervclock']") is not None
    topology = root.find("cpu/topology")
    assert topology is not None
    assert (topology.get("sockets"), topology.get("cores")) == ("1", "8")
    assert tree(Accel.TCG, profile=Profile.WINDOWS, firmware=Firmware.UEFI).find("features/hyperv") is None


def test_extra_xml_stands_in_devices_without_comments() -> None:
    xml = xml_of(replace(GUEST, extra_xml=f"\n  <!-- bites -->\n  {WATCHDOG}\n"))
    assert "bites" not in xml
    assert shape_of(xml)["watchdog"] == "action=reset model=i6300esb"
    assert xml == xml_of(replace(GUEST, extra_xml=WATCHDOG))
    with pytest.raises(FleetError, match="web cannot be defined"):
        xml_of(replace(GUEST, extra_xml="</devices>"))


@pytest.mark.parametrize(
    "facts",
    [
        {"devices": {"gpu0": WHOLE}},
        {"devices": {"gpu0": GPU}, "hugepages_kib": 2048},
        {"devices": {"gpu0": MDEV}},
        {"hugepages_kib": 1024 * 1024},
        {"cpus": "0-1"},
        {"numa": 0},
        {"hide_kvm": True},
        {"profile": Profile.WINDOWS},
        {"usb": {"stick": USB}},
        {"extra_xml": WATCHDOG},
        {"devices": {"gpu0": GPU}, "boot": ("device:gpu0",)},
    ],
)
def test_each_choice_is_seen_as_a_change_that_needs_a_restart(facts: dict[str, object]) -> None:
    before = replace(GUEST, firmware=Firmware.UEFI, boot=())
    changes = shape_difference(shape_of(xml_of(replace(before, **facts))), shape_of(xml_of(before)))  # type: ignore[arg-type]
    assert changes
    assert Effect.NEXT_BOOT in {effect_of(*change) for change in changes}


def test_names_with_dots_and_long_names_stay_apart() -> None:
    """libvirt drops an alias with a dot, and a guest sees 20 bytes of a serial."""
    found = ["a.b", "a_b", "a_-b", "x" * 62 + "1", "x" * 62 + "2"]
    disks = {name: replace(SYSTEM, name=name, target=f"vd{'abcde'[n]}") for n, name in enumerate(found)}
    root = ElementTree.fromstring(xml_of(replace(GUEST, disks=disks, boot=())))
    aliases = {alias.get("name", "") for alias in root.iterfind("devices/disk/alias")}
    serials = {serial.text or "" for serial in root.iterfind("devices/disk/serial")}
    assert len(aliases) == len(serials) == len(found)
    assert not any("." in alias for alias in aliases)
    assert max(map(len, serials)) == 20


def test_a_plugged_device_is_as_in_the_definition_without_its_place_in_the_boot_order() -> None:
    root = ElementTree.fromstring(xml_of(replace(GUEST, boot=())))
    for tag, xml in (("disk", disk_xml(FLEET, GUEST, SYSTEM)), ("interface", nic_xml(LAN))):
        inside = root.find(f"devices/{tag}")
        assert inside is not None
        plugged = ElementTree.canonicalize(xml, strip_text=True)
        assert plugged == ElementTree.canonicalize(ElementTree.tostring(inside), strip_text=True)
    assert f"/srv/vm/{volume_name(GUEST, SYSTEM)}" in disk_xml(FLEET, GUEST, SYSTEM)
