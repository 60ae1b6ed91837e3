"""Devices of guests in the TOML files: read, refused with a sentence, written with all else left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import InventoryError
from console.domain.model import Fleet, Guest, Profile
from console.inventory.files import Inventory, changed_texts, parse_inventory

FLEET = 'version = 1\nname = "cellar"\n\n[networks.lan]\nbridge = "br0"\n\n[pools.default]\npath = "/srv/vm"\n'
HEAD = 'mac = "52:54:00:10:00:0a"\naddress = "10.0.0.11/24"\n'
CARD = 'pci = "65:00"\nfunctions = ["10de:2206", "10de:1aef"]\n'
PART = 'pci = "3b:00"\nfunctions = ["10de:1bb3"]\n'
VIRTUAL = 'pci = "81:02"\nfunctions = ["8086:154c"]\nvirtual_of = "81:00.0"\n'


def read(host: str, fleet: str = FLEET, folder: Path = Path("/inventory")) -> Inventory:
    return parse_inventory(folder, {"fleet.toml": fleet, "hosts/vhost-a.toml": HEAD + host})


def guest_of(inventory: Inventory, name: str = "trainer") -> Guest:
    inventory.require_sound()
    return inventory.fleet.hosts["vhost-a"].guests[name]


def trainer(own: str = "", **tables: str) -> str:
    """A guest with these keys and tables of its own: devices_gpu0 is [guests.trainer.devices.gpu0]."""
    text = f'\n[guests.trainer]\nvcpus = 8\nmemory = "32 GiB"\n{own}\n'
    return text + "".join(f"[guests.trainer.{key.replace('_', '.')}]\n{body}\n" for key, body in tables.items())


def with_guest(inventory: Inventory, guest: Guest) -> Fleet:
    host = inventory.fleet.hosts["vhost-a"]
    return replace(inventory.fleet, hosts={"vhost-a": replace(host, guests={**host.guests, guest.name: guest})})


def why(host: str, fleet: str = FLEET) -> str:
    return "\n".join(str(fault) for fault in read(host, fleet).faults)


def test_a_guest_says_what_its_memory_and_processors_are() -> None:
    own = 'firmware = "uefi"\nprofile = "windows"\nhugepages = "1 GiB"\ncpus = "16,17,18-23"\nnuma = 1\nhide_kvm = true'
    guest = guest_of(read(trainer(own)))
    assert (guest.profile, guest.hugepages_kib, guest.cpus, guest.numa, guest.hide_kvm) == (
        Profile.WINDOWS,
        1024 * 1024,
        "16-23",
        1,
        True,
    )
    plain = guest_of(read(trainer()))
    assert (plain.profile, plain.hugepages_kib, plain.cpus, plain.numa, plain.hide_kvm, plain.extra_xml) == (
        Profile.GENERIC,
        0,
        "",
        None,
        False,
        "",
    )


def test_a_device_is_a_slot_or_a_part_of_a_card() -> None:
    guest = guest_of(
        read(
            trainer(
                devices_gpu0=CARD + 'rom = "/srv/rom/ga102.rom"\naccepted = ["reset", "acs"]\n',
                devices_vgpu0=PART + 'mdev = "nvidia-63"\n',
                devices_nic0=VIRTUAL + "function_numbers = [3]",
                devices_ada0='pci = "c1:00"\nfunctions = ["10de:26b9"]\nfunction_numbers = [4]\nvgpu = 1147\n',
                usb_stick='id = "046D:C52B"\n',
            )
        )
    )
    assert (guest.devices["gpu0"].rom, guest.devices["gpu0"].accepted) == ("/srv/rom/ga102.rom", ("reset", "acs"))
    assert guest.devices["nic0"].virtual_of == "0000:81:00.0"
    assert guest.devices["ada0"].vgpu == 1147 and guest.devices["ada0"].is_part
    assert guest.usb["stick"].id == "046d:c52b"


def test_a_mediated_device_keeps_the_uuid_that_it_was_first_read_with() -> None:
    text = trainer(devices_vgpu0=PART + 'mdev = "nvidia-63"   # a quarter\n')
    inventory = read(text)
    uuid = guest_of(inventory).devices["vgpu0"].mdev_uuid
    assert uuid == guest_of(read(text)).devices["vgpu0"].mdev_uuid != ""
    written = changed_texts(inventory, with_guest(inventory, replace(guest_of(inventory), vcpus=4)))
    assert f'mdev = "nvidia-63"   # a quarter\nmdev_uuid = "{uuid}"' in (written["hosts/vhost-a.toml"] or "")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (trainer('hugepages = "3 MiB"'), ["hugepages", "3 MiB is no size of huge pages", "2 MiB"]),
        (
            trainer('hugepages = "1 GiB"').replace("32 GiB", "1536 MiB"),
            ["the memory, 1536 MiB, is no multiple of 1 GiB"],
        ),
        (trainer('cpus = "0-3"'), ["cpus", "names 4 of the host's CPUs for 8 vCPUs"]),
        (trainer('cpus = "3-0"'), ['"3-0" is not a list of CPUs', '"16-23"']),
        (trainer('cpus = "0-99999999999"'), ["is not a list of CPUs"]),
        (trainer("numa = -1"), ["numa"]),
        (trainer('profile = "windows"'), ["Secure Boot", 'firmware = "uefi"']),
        (trainer('profile = "bsd"'), ["profile"]),
        (trainer('profile = "windows"\nfirmware = "uefi"\nkind = "nixos"'), ["a NixOS guest is no Windows"]),
        (trainer('extra_xml = "<watchdog>"'), ["extra_xml", "not well-formed"]),
        (trainer('extra_xml = "</devices><os/><devices>"'), ["not well-formed"]),
        (trainer("extra_xml = '<emulator>/tmp/x</emulator>'"), ["<emulator> does not belong here"]),
        (trainer("extra_xml = '<disk/>'"), ["<disk>", "as a disk of the guest"]),
        (trainer("extra_xml = 'watchdog'"), ["text between its elements"]),
        (trainer("extra_xml = '<!DOCTYPE a><sound/>'"), ["not well-formed"]),
        (trainer(devices_gpu0=CARD + 'rom = "ga102.rom"'), ["rom", '"off"', "path of its file"]),
        (trainer(devices_gpu0=CARD + 'rom = "/a/../b"'), ["not an absolute path"]),
        (trainer(devices_gpu0=CARD + 'accepted = ["fire"]'), ["accepted", '"fire" is no check', "reset"]),
        (trainer(devices_gpu0=CARD + 'virtual_of = "65:00"'), ["virtual_of", "3b:00.0"]),
        (trainer(devices_gpu0=CARD + "function_numbers = [1, 1]"), ["a number twice"]),
        (trainer(devices_gpu0=PART + 'mdev = "nvidia-63"\nvgpu = 3'), ["one of them"]),
        (trainer(devices_gpu0=PART + 'mdev = "nvidia/63"'), ["is not a type of mediated devices"]),
        (trainer(devices_gpu0=PART + 'mdev_uuid = "0f0e0d0c-0000-4000-8000-00000000000a"'), ["goes with mdev"]),
        (trainer(devices_gpu0=PART + 'vgpu = 3\nrom = "off"'), ["a part of a card has no ROM"]),
        (trainer(devices_gpu0=CARD + "vgpu = 3"), ["a part is of one function"]),
        (trainer(usb_stick='id = "1-2.3"'), ["is not a USB id", "lsusb"]),
        (trainer(usb_a='id = "046d:c52b"', usb_b='id = "046d:c52b"'), ["already belongs to vhost-a/trainer/a"]),
        (trainer('boot = ["device:gpu1"]', devices_gpu0=CARD), ['"device:gpu1" names no device']),
        (trainer('boot = ["usb:x"]'), ['"usb:x" names no usb']),
        (trainer('boot = ["device:v"]', devices_v=PART + 'mdev = "nvidia-63"'), ["cannot boot from it"]),
    ],
)
def test_what_is_wrong_is_said_at_its_place(host: str, words: list[str]) -> None:
    said = why(host)
    assert "hosts/vhost-a.toml line" in said
    for word in words:
        assert word in said


def test_parts_of_one_card_have_owners_of_their_own() -> None:
    uuid = 'mdev_uuid = "0f0e0d0c-0000-4000-8000-00000000000a"\n'
    assert why(trainer(devices_a=PART + 'mdev = "nvidia-63"', devices_b=PART + 'mdev = "nvidia-63"')) == ""
    assert "already belongs" in why(
        trainer(devices_a=PART + 'mdev = "nvidia-63"\n' + uuid, devices_b=PART + 'mdev = "nvidia-63"\n' + uuid)
    )
    assert why(trainer(devices_a=VIRTUAL, devices_b=VIRTUAL + "function_numbers = [1]\n")) == ""
    assert "0000:81:02.0 already belongs to vhost-a/trainer" in why(trainer(devices_a=VIRTUAL, devices_b=VIRTUAL))


COMMENTED = trainer(
    "cpus = '16-23'   # beside the card\nhugepages = \"1 GiB\"   # 32 are set aside",
    devices_gpu0='# bought in May\npci = "65:00"   # the upper slot\nfunctions = ["10de:2206", "10de:1aef"]\n',
)


def edited(text: str, **facts: object) -> tuple[str, Guest]:
    """The file after its guest was changed, and the guest as it reads then."""
    inventory = read(text)
    after = replace(guest_of(inventory), **facts)  # type: ignore[arg-type]
    written: Mapping[str, str | None] = changed_texts(inventory, with_guest(inventory, after))
    result = written["hosts/vhost-a.toml"] or ""
    return result, guest_of(read(result.removeprefix(HEAD)))


def test_an_edit_keeps_comments_and_order() -> None:
    old = guest_of(read(COMMENTED)).devices["gpu0"]
    text, guest = edited(COMMENTED, numa=1, devices={"gpu0": replace(old, rom="off", accepted=("acs",))})
    assert (guest.numa, guest.devices["gpu0"].rom, guest.devices["gpu0"].accepted) == (1, "off", ("acs",))
    for line in COMMENTED.splitlines():
        assert line in text.splitlines()
    assert text.index("# bought in May") < text.index('rom = "off"') < text.index('accepted = ["acs"]')


def test_what_is_taken_away_is_taken_out_alone() -> None:
    text, guest = edited(COMMENTED, cpus="", hugepages_kib=0)
    assert (guest.cpus, guest.hugepages_kib) == ("", 0)
    assert "beside the card" not in text and "# the upper slot" in text


def test_extra_xml_stays_as_it_was_written() -> None:
    xml = "extra_xml = '''\n<!-- bites -->\n<watchdog model=\"i6300esb\"/>\n'''"
    text, guest = edited(trainer(xml), vcpus=2)
    assert xml in text
    assert guest.extra_xml.startswith("<!-- bites -->")


RESOURCES = FLEET + '\n[resources.rtx3080]\nid = "10DE:2206"   # any of them\n'
BY_PLACE = FLEET + '\n[resources.desk]\naddresses = { vhost-a = ["65:00", "3b:02.1"] }\n'


def test_a_resource_is_an_id_or_a_list_of_places() -> None:
    assert read("", RESOURCES).fleet.resources["rtx3080"].id == "10de:2206"
    assert read("", BY_PLACE).fleet.resources["desk"].addresses == {"vhost-a": ("0000:65:00", "0000:3b:02.1")}


def test_a_wish_for_a_resource_has_no_place_until_one_is_picked() -> None:
    inventory = read(trainer(devices_gpu0='resource = "rtx3080"   # whichever\n'), RESOURCES)
    device = guest_of(inventory).devices["gpu0"]
    assert (device.resource, device.pci, device.is_picked) == ("rtx3080", "", False)
    chosen = replace(device, pci="0000:65:00", functions=("10de:2206",), function_numbers=(0,), gpu=True)
    after = with_guest(inventory, replace(guest_of(inventory), devices={"gpu0": chosen}))
    text = changed_texts(inventory, after)["hosts/vhost-a.toml"] or ""
    assert 'resource = "rtx3080"   # whichever\npci = "0000:65:00"\nfunctions = ["10de:2206"]\ngpu = true' in text


@pytest.mark.parametrize(
    ("host", "fleet", "words"),
    [
        (trainer(devices_gpu0='resource = "rtx"'), RESOURCES, ['"rtx" is not a resource', "Known: rtx3080"]),
        (trainer(devices_gpu0="gpu = true"), RESOURCES, ["needs a place", "or a name"]),
        (trainer(devices_gpu0='resource = "rtx3080"\nfunctions = ["10de:2206"]'), RESOURCES, ["functions go with pci"]),
        ("", FLEET + "[resources.a]\n", ["resources.a", "needs either id"]),
        ("", FLEET + '[resources.a]\nid = "10de:2206"\naddresses = { vhost-a = ["65:00"] }\n', ["and not both"]),
        ("", FLEET + '[resources.a]\nsubsystem = "10de:2206"\naddresses = { vhost-a = ["65:00"] }\n', ["goes with id"]),
        ("", FLEET + '[resources.a]\naddresses = { vhost-x = ["65:00"] }\n', ['"vhost-x" is not a host']),
        ("", FLEET + '[resources.a]\naddresses = { vhost-a = ["65"] }\n', ["is not a PCI slot"]),
        ("", FLEET + '[resources.any]\nid = "10de:2206"\n', ['"any" means something else']),
    ],
)
def test_what_is_wrong_with_a_resource_is_said(host: str, fleet: str, words: list[str]) -> None:
    try:
        said = why(host, fleet)
    except InventoryError as error:
        said = str(error)
    for word in words:
        assert word in said


def test_two_guests_may_wish_for_one_name() -> None:
    wish = 'resource = "rtx3080"'
    assert why(trainer(devices_a=wish, devices_b=wish), RESOURCES) == ""


OWN = '[own.gpu0]\npci = "65:00"   # for the models\nfunctions = ["10de:2206"]\ncontainers = true\n'


def test_a_host_keeps_devices_and_has_virtual_functions() -> None:
    inventory = read('[sriov]\n"3B:00.0" = 8   # as many as there are desks\n\n' + OWN)
    inventory.require_sound()
    host = inventory.fleet.hosts["vhost-a"]
    assert host.sriov == {"0000:3b:00.0": 8}
    assert (host.own["gpu0"].pci, host.own["gpu0"].functions, host.own["gpu0"].containers) == (
        "0000:65:00",
        ("10de:2206",),
        True,
    )
    after = replace(inventory.fleet, hosts={"vhost-a": replace(host, labels=("gpu",))})
    text = changed_texts(inventory, after)["hosts/vhost-a.toml"] or ""
    assert '"3B:00.0" = 8   # as many as there are desks' in text and OWN in text


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (OWN + trainer(devices_gpu0=CARD), ["vhost-a keeps 0000:65:00 for itself (own.gpu0)"]),
        (OWN + OWN.replace("gpu0", "gpu1"), ["0000:65:00 is own.gpu1 already"]),
        ('[sriov]\n"3b:00.0" = 0\n', ["sriov"]),
        ('[sriov]\n"3b:00" = 4\n', ["is not a PCI function"]),
        ('[own.gpu0]\npci = "65"\n', ["is not a PCI slot"]),
    ],
)
def test_what_is_wrong_with_a_host_s_own_devices_is_said(host: str, words: list[str]) -> None:
    said = why(host)
    for word in words:
        assert word in said


def test_parts_of_a_kept_card_may_be_a_guest_s() -> None:
    part = 'pci = "65:00"\nfunctions = ["10de:2206"]\nmdev = "nvidia-63"\n'
    assert why(OWN + trainer(devices_gpu0=part)) == ""
