"""The demo fleet: what libvirt's test driver makes of its files, and that they agree with the inventory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

import console
from console.inventory.files import read_inventory
from demo.hardware import MACHINES, OFF, PAUSED, RUNNING
from demo.make_hosts import FLEET, as_it_is, files

HOSTS = sorted(MACHINES)


def inventory(host: str) -> dict[str, Any]:
    return tomllib.loads((FLEET / "hosts" / f"{host}.toml").read_text(encoding="utf-8"))


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """A host's name and a connection to it."""
    connection = libvirt.open(f"test://{FLEET}/test-driver/{request.param}.xml")
    yield request.param, connection
    connection.close()


def pci(connection: Any) -> dict[str, ElementTree.Element]:
    """The PCI node devices of a host by libvirt's name: their <capability>."""
    found = {}
    for device in connection.listAllDevices():
        capability = ElementTree.fromstring(device.XMLDesc()).find("capability[@type='pci']")
        if capability is not None:
            found[device.name()] = capability
    return found


def test_the_files_are_what_the_script_writes() -> None:
    for path, content in files().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name}: run python -m demo.make_hosts"


def test_the_installed_package_carries_the_fleet() -> None:
    assert console.__file__ is not None
    shipped = Path(console.__file__).parent / "_demo"
    assert (shipped / "fleet.toml").is_file()
    assert sorted(path.stem for path in (shipped / "test-driver").iterdir()) == HOSTS


def test_every_uri_is_one_that_the_scratch_copy_can_rewrite() -> None:
    for name in HOSTS:
        assert inventory(name)["uri"] == f"test:///demo/fleet/test-driver/{name}.xml"


def test_guests_have_the_identity_and_the_state_they_should(host: tuple[str, Any]) -> None:
    name, connection = host
    machine, guests = MACHINES[name], inventory(name)["guests"]
    seen = {d.name(): (d.UUIDString(), d.state()[0]) for d in connection.listAllDomains()}
    assert seen == {guest: (guests[guest]["uuid"], state) for guest, state in machine.states.items()} | {
        stray: (table["uuid"], table["state"]) for stray, table in machine.stray.items()
    }
    for domain in connection.listAllDomains():
        if domain.name() in guests:
            macs = [mac.get("address") for mac in ElementTree.fromstring(domain.XMLDesc()).iter("mac")]
            assert macs == [nic["mac"] for nic in guests[domain.name()]["nics"].values()]


def test_the_fleet_is_a_dozen_guests_in_every_state_with_strangers_among_them() -> None:
    states = [s for m in MACHINES.values() for s in [*m.states.values(), *(t["state"] for t in m.stray.values())]]
    assert len(states) == 12
    assert set(states) == {RUNNING, PAUSED, OFF}
    assert any(machine.stray for machine in MACHINES.values())


def test_pools_hold_every_disk_and_networks_every_card(host: tuple[str, Any]) -> None:
    _, connection = host
    paths = {v.path() for p in connection.listAllStoragePools() for v in p.listAllVolumes()}
    assert "/var/lib/libvirt/images/debian-13.qcow2" in paths
    networks = {network.name() for network in connection.listAllNetworks()}
    for domain in connection.listAllDomains():
        tree = ElementTree.fromstring(domain.XMLDesc())
        assert {source.get("file") for source in tree.iterfind(".//disk/source")} <= paths
        assert {source.get("network") for source in tree.iterfind(".//interface/source")} <= networks


def test_passed_through_cards_are_the_ones_in_the_slot(host: tuple[str, Any]) -> None:
    name, connection = host
    devices = pci(connection)
    for guest in inventory(name)["guests"].values():
        for device in guest.get("devices", {}).values():
            for function, ids in enumerate(device["functions"]):
                there = devices[f"pci_{device['pci'].replace(':', '_')}_{function}"]
                found = [there.find(tag).get("id") for tag in ("vendor", "product")]  # type: ignore[union-attr]
                assert found == [f"0x{part}" for part in ids.split(":")]


def test_the_free_rtx_3080_comes_with_its_audio_function_group_and_numa_node() -> None:
    connection = libvirt.open(f"test://{FLEET}/test-driver/vhost-a.xml")
    devices = pci(connection)
    connection.close()
    for function, code in ((0, "0x030000"), (1, "0x040300")):
        card = devices[f"pci_0000_65_00_{function}"]
        group = card.find("iommuGroup")
        numa = card.find("numa")
        assert group is not None and numa is not None
        assert (card.findtext("class"), group.get("number"), numa.get("node")) == (code, "28", "1")
        assert [address.get("function") for address in group] == ["0x0", "0x1"]


def test_the_demo_begins_with_few_differences_that_teach_something() -> None:
    fleet = read_inventory(FLEET).fleet
    for name, machine in MACHINES.items():
        there = as_it_is(machine, fleet, name).guests
        wanted = fleet.hosts[name].guests
        assert {key for key in there.keys() & wanted.keys() if there[key] != wanted[key]} == set(machine.drift)
