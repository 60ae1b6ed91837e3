"""The rules over a whole inventory: each one broken by itself, and named at its place."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.checks import breaches
from console.domain.model import (
    Device,
    Disk,
    Fleet,
    Guest,
    Hardware,
    Host,
    Kind,
    Netboot,
    Network,
    Nic,
    Pool,
    Source,
    SourceKind,
)
from console.domain.values import is_inside


def disk(name: str = "boot", **facts: object) -> Disk:
    return replace(Disk(name=name, size_kib=1024, pool="default", target="vda"), **facts)  # type: ignore[arg-type]


def guest(name: str, number: int, **facts: object) -> Guest:
    made = Guest(
        name=name,
        uuid=f"00000000-0000-0000-0000-0000000000{number:02d}",
        vcpus=1,
        memory_kib=1024,
        boot=("disk:boot",),
        disks={"boot": disk()},
        nics={
            "lan": Nic(
                name="lan", network="lan", mac=f"52:54:00:20:00:{number:02d}", address=f"10.0.0.{50 + number}/24"
            )
        },
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def fleet(*guests: Guest, other: tuple[Guest, ...] = (), **facts: object) -> Fleet:
    def host(name: str, number: int, own: tuple[Guest, ...]) -> Host:
        return Host(
            name=name,
            mac=f"52:54:00:10:00:{number:02d}",
            address=f"10.0.0.{10 + number}/24",
            uri="test:///x",
            guests={each.name: each for each in own},
        )

    made = Fleet(
        name="cellar",
        id="i",
        networks={"lan": Network(name="lan", bridge="br0", subnet="10.0.0.0/24", gateway="10.0.0.1")},
        pools={"default": Pool(name="default", path="/pool")},
        hosts={"a": host("a", 1, guests), "b": host("b", 2, other)},
    )
    return replace(made, **facts)  # type: ignore[arg-type]


WEB, DB = guest("web", 1), guest("db", 2)
GPU = Device(name="gpu0", pci="0000:65:00", functions=("10de:2206",))


def test_a_sound_fleet_has_no_breach() -> None:
    assert breaches(fleet(WEB, other=(DB,))) == []
    assert breaches(fleet(replace(WEB, devices={"gpu0": GPU}), other=(replace(DB, devices={"gpu0": GPU}),))) == []
    assert breaches(fleet(WEB, other=(replace(DB, name="web"),))) == []


@pytest.mark.parametrize(
    ("broken", "host", "path", "words"),
    [
        (
            fleet(WEB, other=(replace(DB, uuid=WEB.uuid),)),
            "b", ("guests", "db", "uuid"), "already belongs to a/web",
        ),
        (
            fleet(WEB, other=(replace(DB, nics={"x": replace(WEB.nics["lan"], name="x", address=None)}),)),
            "b", ("guests", "db", "nics", "x", "mac"), "already belongs to a/web",
        ),
        (
            fleet(WEB, replace(DB, nics={"lan": replace(DB.nics["lan"], address="10.0.0.51/16")})),
            "a", ("guests", "db", "nics", "lan", "address"), "the address 10.0.0.51 already belongs to a/web",
        ),
        (
            fleet(WEB, replace(DB, nics={"lan": replace(DB.nics["lan"], address="10.0.0.12/24")})),
            "b", ("address",), "already belongs to a/db",
        ),
        (
            fleet(replace(WEB, kind=Kind.NIXOS), other=(replace(DB, name="web", kind=Kind.NIXOS),)),
            "b", ("guests", "web"), "machine name web already belongs to a/web",
        ),
        (
            fleet(WEB, other=(replace(DB, name="a", kind=Kind.NIXOS),)),
            "b", ("guests", "a"), "machine name a already belongs to a",
        ),
        (
            fleet(replace(WEB, devices={"gpu0": GPU}), replace(DB, devices={"gpu0": GPU})),
            "a", ("guests", "db", "devices", "gpu0", "pci"), "0000:65:00 already belongs to a/web",
        ),
        (
            fleet(replace(WEB, disks={"boot": disk(pool="fast")})),
            "a", ("guests", "web", "disks", "boot", "pool"), '"fast" is not a pool of fleet.toml. Known: default.',
        ),
        (
            fleet(replace(WEB, disks={"boot": disk(), "data": disk("data")})),
            "a", ("guests", "web", "disks", "data", "target"), "vda is already the target of boot",
        ),
        (
            fleet(replace(WEB, disks={"boot": disk(target="")})),
            "a", ("guests", "web", "disks", "boot", "target"), "26",
        ),
        (
            fleet(replace(WEB, disks={"boot": disk(source=Source(kind=SourceKind.ISO, value="/x.iso"))})),
            "a", ("guests", "web", "disks", "boot", "target"), '"sda"',
        ),
        (
            fleet(replace(WEB, name="web-a"), replace(DB, name="web", disks={"a-boot": disk("a-boot")}, boot=())),
            "a", ("guests", "web", "disks", "a-boot"), "would share the volume web-a-boot",
        ),
        (
            fleet(replace(WEB, nics={"lan": replace(WEB.nics["lan"], network="wan")})),
            "a", ("guests", "web", "nics", "lan", "network"), '"wan" is not a network of fleet.toml. Known: lan.',
        ),
        (
            fleet(replace(WEB, nics={"lan": replace(WEB.nics["lan"], address="10.0.1.5/24")})),
            "a", ("guests", "web", "nics", "lan", "address"), "is not inside 10.0.0.0/24",
        ),
        (
            fleet(replace(WEB, nics={"lan": replace(WEB.nics["lan"], address="10.0.0.1/24")})),
            "a", ("guests", "web", "nics", "lan", "address"), "is the gateway of lan",
        ),
        (
            fleet(replace(WEB, boot=("disk:data",))),
            "a", ("guests", "web", "boot"), '"disk:data" names no disk of this guest',
        ),
        (
            fleet(replace(WEB, boot=("nic:lan", "disk:boot", "nic:lan"))),
            "a", ("guests", "web", "boot"), '"nic:lan" stands twice',
        ),
        (
            fleet(networks={"lan": Network(name="lan", bridge="br0", subnet="10.0.0.0/24", gateway="10.1.0.1")}),
            None, ("networks", "lan", "gateway"), "10.1.0.1 is not inside 10.0.0.0/24",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_each_rule(broken: Fleet, host: str | None, path: tuple[str, ...], words: str) -> None:
    found = breaches(broken)
    assert [(breach.host, breach.path) for breach in found] == [(host, path)], found
    assert words in found[0].message and found[0].message.endswith(".")


def test_a_fleet_without_pools_says_that_there_are_none() -> None:
    (breach,) = breaches(fleet(WEB, pools={}))
    assert "Known: none yet." in breach.message


def test_one_slot_twice_in_one_guest_is_said_of_both() -> None:
    found = breaches(fleet(replace(WEB, devices={"gpu0": GPU, "gpu1": replace(GPU, name="gpu1")})))
    assert [breach.path[-2] for breach in found] == ["gpu0", "gpu1"]
    assert all("A device has one owner." in breach.message for breach in found)


def of_host(**facts: Any) -> list[tuple[tuple[str, ...], str]]:
    whole = fleet(replace(WEB, devices={"gpu0": GPU}))
    name, host = next(iter(whole.hosts.items()))
    return [
        (breach.path, breach.message)
        for breach in breaches(replace(whole, hosts={**whole.hosts, name: replace(host, **facts)}))
        if breach.host == name
    ]


def test_a_device_is_what_the_hardware_report_has_in_its_slot() -> None:
    assert of_host() == of_host(hardware=Hardware(pci={GPU.pci: GPU.functions})) == []
    [(path, why)] = of_host(hardware=Hardware(pci={"0000:01:00": GPU.functions}))
    assert path[-3:] == ("devices", "gpu0", "pci") and "not in the hardware report" in why
    [(_, why)] = of_host(hardware=Hardware(pci={GPU.pci: ("8086:1234",)}))
    assert "is 8086:1234, not" in why


def test_a_host_that_is_to_be_installed_has_a_disk() -> None:
    [(path, why)] = of_host(netboot="installer")
    assert path == ("netboot",) and "/dev/disk/by-id" in why
    assert of_host(netboot="installer", disk="/dev/disk/by-id/nvme-S1") == []
    [(path, why)] = of_host(netboot="rescue")
    assert path == ("netboot",) and '"rescue" is not a netboot entry' in why


def test_a_machine_has_one_default_gateway() -> None:
    nets = {
        "lan": Network(name="lan", bridge="br0", subnet="10.0.0.0/24", gateway="10.0.0.1"),
        "wide": Network(name="wide", bridge="br1", subnet="10.0.0.0/16", gateway="10.0.0.2"),
    }
    host = Host(name="vhost-a", mac="52:54:00:10:00:0a", address="10.0.0.11/24", uri="test:///x")
    [breach] = breaches(Fleet(name="f", id="i", networks=nets, hosts={"vhost-a": host}))
    assert breach.path == ("address",) and "10.0.0.1 (lan) and 10.0.0.2 (wide)" in breach.message


def test_a_nixos_guest_has_one_default_gateway_of_a_family() -> None:
    nets = {
        "lan": Network(name="lan", bridge="br0", subnet="10.0.0.0/24", gateway="10.0.0.1"),
        "lab": Network(name="lab", bridge="br1", subnet="10.1.0.0/24", gateway="10.1.0.1"),
        "six": Network(name="six", bridge="br2", subnet="fd00::/64", gateway="fd00::1"),
        "deaf": Network(name="deaf", bridge="br3", subnet="10.2.0.0/24"),
    }
    addresses = {"lan": "10.0.0.51/24", "lab": "10.1.0.51/24", "six": "fd00::51/64", "deaf": "10.2.0.51/24"}
    nics = {
        name: Nic(name=name, network=name, mac=f"52:54:00:20:00:{number:02x}", address=address)
        for number, (name, address) in enumerate(addresses.items())
    }
    two = replace(WEB, kind=Kind.NIXOS, nics=nics)
    [breach] = breaches(fleet(two, networks=nets))
    assert (breach.host, breach.path) == ("a", ("guests", "web", "nics", "lab"))
    assert "lan and lab of web" in breach.message and "default_route = false" in breach.message
    assert breaches(fleet(replace(two, kind=Kind.PLAIN), networks=nets)) == []
    for name in ("lan", "lab"):
        one = replace(two, nics={**nics, name: replace(nics[name], default_route=False)})
        assert breaches(fleet(one, networks=nets)) == []
    asks = replace(two, nics={**nics, "lab": replace(nics["lab"], address=None)})
    assert breaches(fleet(asks, networks=nets)) == []


def test_what_netboot_names_is_there() -> None:
    found = breaches(Fleet(name="f", id="i", netboot=Netboot(server="vhost-x", network="lan")))
    assert [breach.path for breach in found] == [("netboot", "server"), ("netboot", "network")]
    assert [path for path, _ in of_host(uplinks={"nowhere": "52:54:00:10:00:0b"})] == [("uplinks", "nowhere")]


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_whether_a_network_holds_an_address(base: IPv4Address, prefix: int, address: IPv4Address) -> None:
    network = ip_network(f"{base}/{prefix}", strict=False)
    assert is_inside(str(address), str(network)) == (address in network)
    assert is_inside(str(base), str(network))
