"""Reading and writing the inventory: every mistake is named with its place, and nothing else is touched."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError, InventoryError
from console.domain.model import Disk, Fleet, Guest, Host, Nic, Pool
from console.inventory.files import changed_texts, read_inventory, write_files

FLEET = """\
version = 1
name = "cellar"

[networks.lan]
bridge = "br0"        # the switch in rack 1
subnet = "10.0.0.0/24"
gateway = "10.0.0.1"

[pools.default]
path = "/var/lib/libvirt/images"
"""

HOST = """\
# The first one we bought.
mac = "52:54:00:10:00:0a"   # left port
address = "10.0.0.11/24"

# Trains the models.
[guests.trainer]
vcpus = 8       # half of the socket
memory = "32 GiB"

[guests.trainer.disks.boot]
size = "80 GiB"
source = { image = "debian-13.qcow2", mode = "overlay" }   # rebuilt monthly

[guests.trainer.nics.lan]
network = "lan"
address = "10.0.0.51/24"

# Serves the shop.
[guests.web]
vcpus = 1
memory = "1 GiB"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "hosts/vhost-a.toml").write_text(HOST)
    return tmp_path


def guest(name: str = "new", **facts: object) -> Guest:
    base = Guest(
        name=name,
        uuid="6d1a6a3e-3a0e-4cc1-9d0e-0a0a0a0a0a0a",
        vcpus=2,
        memory_kib=1024**2,
        disks={"boot": Disk(name="boot", size_kib=1024**2, pool="default", target="vda")},
        nics={"lan": Nic(name="lan", network="lan", mac="52:54:00:00:00:09")},
        boot=("disk:boot",),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def with_guests(fleet: Fleet, *guests: Guest, without: tuple[str, ...] = ()) -> Fleet:
    host = fleet.hosts["vhost-a"]
    kept = {name: old for name, old in host.guests.items() if name not in without}
    return replace(fleet, hosts={"vhost-a": replace(host, guests=kept | {new.name: new for new in guests})})


def test_what_is_left_out_is_derived_and_stays_the_same(folder: Path) -> None:
    first, second = (read_inventory(folder).fleet.hosts["vhost-a"] for _ in range(2))
    assert first == second
    assert first.uri == "qemu+ssh://root@10.0.0.11/system"
    trainer = first.guests["trainer"]
    assert trainer.disks["boot"].target == "vda"
    assert trainer.boot == ("disk:boot",)
    assert trainer.memory_kib == 32 * 1024**2
    assert trainer.nics["lan"].mac.startswith("52:54:00:")


def test_adding_a_guest_only_appends(folder: Path) -> None:
    inventory = read_inventory(folder)
    changes = changed_texts(inventory, with_guests(inventory.fleet, guest()))
    assert list(changes) == ["hosts/vhost-a.toml"]
    text = changes["hosts/vhost-a.toml"]
    assert text is not None and text.startswith(HOST)
    write_files(folder, changes)
    assert read_inventory(folder).fleet.hosts["vhost-a"].guests["new"] == guest()


def test_an_edit_keeps_comments_and_order_and_freezes_identity(folder: Path) -> None:
    inventory = read_inventory(folder)
    old = inventory.fleet.hosts["vhost-a"].guests["trainer"]
    text = changed_texts(inventory, with_guests(inventory.fleet, replace(old, vcpus=4)))["hosts/vhost-a.toml"]
    assert text is not None
    assert "vcpus = 4       # half of the socket" in text
    added = [line for line in text.splitlines() if line and line not in HOST.splitlines()]
    assert sorted(line.partition(" ")[0] for line in added) == ["mac", "target", "uuid", "vcpus"]
    assert all(line in text for line in HOST.splitlines() if "vcpus = 8" not in line)
    # "Serves the shop" still stands directly above its own guest.
    assert "# Serves the shop.\n[guests.web]" in text


def test_removing_a_guest_takes_its_own_comment_along_and_no_other(folder: Path) -> None:
    inventory = read_inventory(folder)
    text = changed_texts(inventory, with_guests(inventory.fleet, without=("trainer",)))["hosts/vhost-a.toml"]
    assert text is not None
    assert "Trains the models" not in text and "trainer" not in text
    assert "# The first one we bought." in text
    assert "# Serves the shop.\n[guests.web]" in text
    last = changed_texts(inventory, with_guests(inventory.fleet, without=("web",)))["hosts/vhost-a.toml"]
    assert last is not None and "Serves" not in last and "Trains the models" in last


def test_a_host_file_is_made_and_deleted(folder: Path) -> None:
    inventory = read_inventory(folder)
    new = Host(name="b.1", mac="52:54:00:10:00:0b", address="10.0.0.12/24", uri="qemu+ssh://root@10.0.0.12/system")
    after = replace(inventory.fleet, hosts={**inventory.fleet.hosts, "b.1": new})
    write_files(folder, changed_texts(inventory, after))
    again = read_inventory(folder)
    assert again.fleet == after
    write_files(folder, changed_texts(again, inventory.fleet))
    assert not (folder / "hosts/b.1.toml").exists()


def test_fleet_level_edits_keep_comments(folder: Path) -> None:
    inventory = read_inventory(folder)
    pools = {**inventory.fleet.pools, "fast": Pool(name="fast", path="/srv/fast")}
    text = changed_texts(inventory, replace(inventory.fleet, pools=pools))["fleet.toml"]
    assert text is not None and "# the switch in rack 1" in text and "[pools.fast]" in text


def test_writing_keeps_mode_and_leaves_no_temporary_file(folder: Path) -> None:
    path = folder / "hosts/vhost-a.toml"
    path.chmod(0o640)
    write_files(folder, {"hosts/vhost-a.toml": HOST + "\n"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [path.name for path in (folder / "hosts").iterdir()] == ["vhost-a.toml"]


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    with pytest.raises(FleetError, match=r"blocked/x\.toml was not written"):
        (folder / "blocked").write_text("a file where a folder should be")
        write_files(folder, {"blocked/x.toml": "a = 1"})
    assert (folder / "blocked").read_text() == "a file where a folder should be"


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "words"),
    [
        ("hosts/vhost-a.toml", 'memory = "32 GiB"', 'memory = "7 Gb."', 8, ['"7 Gb." is not a size', "7 GiB"]),
        ("hosts/vhost-a.toml", "vcpus = 8", 'vcpus = "8"', 7, ["guests.trainer.vcpus", "whole number"]),
        ("hosts/vhost-a.toml", "vcpus = 8", "vcpu = 8", 7, ["guests.trainer.vcpu", "not a key"]),
        ("hosts/vhost-a.toml", 'network = "lan"', 'network = "wan"', 15, ['"wan" is not a network', "Known: lan"]),
        ("hosts/vhost-a.toml", '"10.0.0.51/24"', '"10.9.0.51/24"', 16, ["not inside 10.0.0.0/24"]),
        ("hosts/vhost-a.toml", '"10.0.0.51/24"', '"10.0.0.11/24"', 16, ["already belongs to vhost-a"]),
        ("hosts/vhost-a.toml", "52:54:00:10:00:0a", "52:54:00:10:00", 2, ["is not a MAC address"]),
        ("hosts/vhost-a.toml", "52:54:00:10:00:0a", "53:54:00:10:00:0a", 2, ["multicast"]),
        ("hosts/vhost-a.toml", "[guests.web]", '[guests."we b"]', 19, ['"we b" is not a name']),
        ("hosts/vhost-a.toml", "[guests.web]", '[guests."${x}"]', 19, ['"${x}" is not a name']),
        ("hosts/vhost-a.toml", 'memory = "1 GiB"', "memory = ", 21, ["this is not TOML"]),
        ("fleet.toml", 'gateway = "10.0.0.1"', 'gateway = "10.1.0.1"', 7, ["not inside"]),
        ("fleet.toml", 'path = "/var', 'path = "../var', 10, ["not an absolute path"]),
        ("fleet.toml", "version = 1", "version = 2", 1, ["newer than this Quarterdeck reads"]),
    ],
)
def test_every_mistake_is_named_with_file_line_and_way_out(
    folder: Path, file: str, old: str, new: str, line: int, words: list[str]
) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InventoryError) as caught:
        read_inventory(folder).require_sound()
    said = str(caught.value)
    assert f"{file} line {line}:" in said
    for word in words:
        assert word in said


def test_all_mistakes_of_all_files_are_found_at_once(folder: Path) -> None:
    (folder / "hosts/vhost-b.toml").write_text('mac = "52:54:00:10:00:0a"\naddress = "10.0.0.999/24"\n')
    (folder / "hosts/vhost-c.toml").write_text('mac = "x"\n')
    inventory = read_inventory(folder)
    assert len(inventory.faults) == 3
    assert list(inventory.fleet.hosts) == ["vhost-a"]


def test_a_duplicate_mac_names_both_owners(folder: Path) -> None:
    (folder / "hosts/vhost-b.toml").write_text('mac = "52:54:00:10:00:0a"\naddress = "10.0.0.12/24"\n')
    (fault,) = read_inventory(folder).faults
    assert str(fault).startswith(
        "hosts/vhost-b.toml line 1: mac: the MAC address 52:54:00:10:00:0a already belongs to vhost-a"
    )


def test_one_device_has_one_owner(folder: Path) -> None:
    device = '\n[guests.{}.devices.gpu0]\npci = "65:00.0"\nfunctions = ["10de:2206"]\n'
    path = folder / "hosts/vhost-a.toml"
    path.write_text(HOST + device.format("web") + device.format("trainer"))
    (fault,) = read_inventory(folder).faults
    assert "0000:65:00 already belongs to vhost-a/trainer" in str(fault)


def test_a_missing_inventory_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FleetError) as caught:
        read_inventory(tmp_path)
    assert "qd init" in caught.value.hint


def test_hostile_text_reaches_the_sentence_escaped(folder: Path) -> None:
    path = folder / "hosts/vhost-a.toml"
    path.write_text(HOST.replace('"32 GiB"', '"\\u001b[31m' + "9" * 300 + '"'))
    (fault,) = read_inventory(folder).faults
    assert "\x1b" not in str(fault) and len(str(fault)) < 250


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://root@h/system?no_verify=1",
        "qemu+ssh://root@h/system?command=/bin/sh",
        "esx://h",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu+ssh://u:secret@h/system",
    ],
)
def test_a_uri_that_would_weaken_ssh_is_refused(folder: Path, uri: str) -> None:
    path = folder / "hosts/vhost-a.toml"
    path.write_text(HOST.replace('address = "10.0.0.11/24"', f'address = "10.0.0.11/24"\nuri = "{uri}"', 1))
    (fault,) = read_inventory(folder).faults
    assert "hosts/vhost-a.toml line 4: uri:" in str(fault)
