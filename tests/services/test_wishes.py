"""A guest as a form shows it and takes it back, and what is wrong with what was typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import console
from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.observed import HostNetwork, HostObservation, StoragePool
from console.domain.standing import HostView
from console.inventory.files import read_inventory
from console.inventory.store import Store
from console.services.definitions import definition
from console.services.guests import guest_of, guest_problems, guest_warnings, wish_of
from console.services.wishes import BootChoice, GuestWish
from tests.fakes import FakeHost
from tests.services.world import WEB, World, wish
from tests.sound import sound_fleets

DEMO = Path(console.__file__).parent / "_demo"


def views(fleet: Fleet) -> list[HostView]:
    """Each host as one that never answered, and as one that has none of what its guests use."""
    found = []
    for host in fleet.hosts.values():
        bare = FakeHost(name=host.name, memory_kib=1024, cpus=1, uefi=False, pools={}, networks=(), accel=None)
        for seen in (HostObservation(name=host.name), bare.observation()):
            found.append(HostView(name=host.name, wanted=host, seen=seen, guests=()))
    return found


def check_round_trip(fleet: Fleet) -> None:
    for view in views(fleet):
        for guest in view.wanted.guests.values():
            wished = wish_of(view.name, guest)
            assert guest_problems(fleet, view, wished, guest) == {}
            again = guest_of(fleet, view, wished, editing=guest)
            assert again == guest
            assert [list(getattr(again, part)) for part in ("disks", "nics", "devices")] == [
                list(getattr(guest, part)) for part in ("disks", "nics", "devices")
            ]


def test_an_edit_that_changes_nothing_changes_nothing_in_the_demo() -> None:
    check_round_trip(read_inventory(DEMO).fleet)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(sound_fleets())
def test_an_edit_that_changes_nothing_changes_nothing_whatever_was_written_by_hand(fleet: Fleet) -> None:
    check_round_trip(fleet)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(sound_fleets())
def test_an_edit_of_one_field_changes_that_alone(fleet: Fleet) -> None:
    for view in views(fleet)[::2]:
        for guest in view.wanted.guests.values():
            wished = wish_of(view.name, guest)
            free = replace(guest, vcpus=7, cpus="")
            assert guest_of(fleet, view, replace(wished, vcpus="7", cpus="none"), guest) == free
            assert guest_of(fleet, view, replace(wished, description="new"), guest) == replace(guest, description="new")
            assert guest_of(fleet, view, replace(wished, autostart=not guest.autostart), guest) == replace(
                guest, autostart=not guest.autostart
            )
            without = guest_of(fleet, view, replace(wished, gpu="none"), guest)
            assert len(without.devices) == max(0, len(guest.devices) - 1)
            assert replace(without, devices=guest.devices, boot=guest.boot) == guest


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"name": ""}, "name", "a name is needed"),
        ({"name": "web"}, "name", "already has a guest named web"),
        ({"name": "it's"}, "name", "is not a name"),
        ({"name": 'say "hi"'}, "name", "is not a name"),
        ({"name": "${HOME}"}, "name", "is not a name"),
        ({"name": "a b"}, "name", "is not a name"),
        ({"name": "a\nb"}, "name", '"a\\nb" is not a name'),
        ({"name": "../x"}, "name", "is not a name"),
        ({"name": "-x"}, "name", "beginning with a letter"),
        ({"name": "x" * 300}, "name", "…"),
        ({"vcpus": "0"}, "vcpus", "1 to 1024"),
        ({"vcpus": "many"}, "vcpus", "is not a number of vCPUs"),
        ({"vcpus": "٣"}, "vcpus", "is not a number of vCPUs"),
        ({"vcpus": "1e3"}, "vcpus", "is not a number of vCPUs"),
        ({"vcpus": "9" * 300}, "vcpus", "is not a number of vCPUs"),
        ({"memory": "4"}, "memory", "4 GiB"),
        ({"memory": "-1 GiB"}, "memory", "is not a size"),
        ({"memory": "1 TiB"}, "memory", "vhost-a has only"),
        ({"disk": ""}, "disk", "20 GiB"),
        ({"disk": "1 GiB"}, "disk", "debian-13.qcow2 needs at least 3 GiB"),
        ({"pool": "slow"}, "pool", "It has: default, fast"),
        ({"image": "x.qcow2"}, "image", "pool default of vhost-a has no volume x.qcow2"),
        ({"image": ""}, "image", "is missing"),
        ({"image": "../../etc/shadow"}, "image", "is not a volume's name"),
        ({"image_mode": "link"}, "image_mode", "copy or overlay"),
        ({"boot": BootChoice.ISO}, "iso", "is missing"),
        ({"boot": BootChoice.ISO, "iso": "none.iso"}, "iso", "no pool of vhost-a has a volume none.iso"),
        ({"boot": BootChoice.ISO, "iso": "/a/../b"}, "iso", "is not an absolute path"),
        ({"boot": BootChoice.KERNEL}, "kernel", "is missing"),
        ({"boot": BootChoice.KERNEL, "kernel": "boot/k"}, "kernel", "is not an absolute path"),
        ({"boot": BootChoice.KERNEL, "kernel": "/k", "initrd": "i"}, "initrd", "is not an absolute path"),
        ({"boot": BootChoice.KERNEL, "kernel": "/k", "cmdline": "a\nb"}, "cmdline", "one line"),
        ({"boot": BootChoice.PXE, "network": "none"}, "network", "needs a network"),
        ({"network": "wan"}, "network", "It has: lan"),
        ({"mac": "01:00:5e:00:00:01"}, "mac", "multicast"),
        ({"mac": "52:54:00:20:00:01"}, "mac", "already belongs to vhost-a/web"),
        ({"mac": "52:54:00:10:00:0B"}, "mac", "already belongs to vhost-b"),
        ({"address": "10.0.0.51"}, "address", "already belongs to vhost-a/web"),
        ({"address": "10.0.0.12/24"}, "address", "already belongs to vhost-b"),
        ({"address": "10.0.1.7"}, "address", "is not inside 10.0.0.0/24"),
        ({"address": "10.0.0.1"}, "address", "is the gateway of lan"),
        ({"address": "10.0.0.0"}, "address", "of the network itself"),
        ({"address": "over there"}, "address", "is not an address"),
        ({"firmware": "openbios"}, "firmware", "bios or uefi"),
        ({"display": "hologram"}, "display", "none or vnc"),
        ({"description": "a\nb"}, "description", "one line"),
        ({"description": "x" * 1001}, "description", "1000"),
        ({"host": "vhost-z"}, "host", '"vhost-z"'),
        ({"host": ""}, "host", "choose a host"),
    ],
    ids=lambda value: str(value)[:40].replace("\n", "|") if isinstance(value, dict) else "",
)
async def test_what_is_wrong_is_said_at_its_field(
    world: World, facts: dict[str, object], field: str, words: str
) -> None:
    files = world.files()
    problems = world.session.guest_problems(wish(**facts))
    assert list(problems) == [field], problems
    said = problems[field]
    assert words in said
    assert len(said) < 300 and said.isprintable() and said.endswith(".")
    if field != "host":
        with pytest.raises(FleetError) as caught:
            world.session.plan_create(wish(**facts), start=False)
        assert f"{field}: {said}" in caught.value.detail and "was not created" in caught.value.title
        assert len(caught.value.title) < 120 and caught.value.title.isprintable()
    else:
        with pytest.raises(FleetError):
            world.session.plan_create(wish(**facts), start=False)
    assert world.files() == files and world.fake.verbs == []


async def test_everything_that_is_wrong_is_said_at_once(world: World) -> None:
    bad = wish(name="a b", vcpus="0", memory="x", disk="y", pool="slow", network="wan", gpu="z", firmware="q")
    assert set(world.session.guest_problems(bad)) == {
        "name", "vcpus", "memory", "disk", "pool", "network", "gpu", "firmware",
    }  # fmt: skip


async def test_an_inactive_pool_or_network_is_refused_for_what_is_new_only(world: World) -> None:
    world.host.networks = tuple(HostNetwork(name=n.name, active=False, bridge=n.bridge) for n in world.host.networks)
    seen = world.host.observation()
    assert seen.facts is not None
    pools = tuple(StoragePool(name=pool.name, active=False, path=pool.path) for pool in seen.facts.pools)
    world.session.store.set_observed({"vhost-a": replace(seen, facts=replace(seen.facts, pools=pools))})
    assert set(world.session.guest_problems(wish(network="lan", pool="default"))) == {"network", "pool"}
    kept = replace(world.session.wish_of(WEB), vcpus="3")
    assert world.session.guest_problems(kept, WEB) == {}


async def test_a_guest_without_disks_needs_no_pool(world: World) -> None:
    world.host.pools = {}
    await world.see()
    assert world.session.guest_problems(wish(boot=BootChoice.PXE, disk="")) == {}


async def test_defaults_are_the_hosts_own(world: World) -> None:
    plan = world.session.plan_create(wish(pool="", network=""), start=False)
    assert plan.change is not None
    guest = plan.change.after.hosts["vhost-a"].guests["new"]
    assert guest.disks["boot"].pool == "default" and guest.nics["lan"].network == "lan"
    assert guest.nics["lan"].mac.startswith("52:54:00:")


@pytest.mark.parametrize(
    ("firmware", "memory", "warned"),
    [("uefi", "128 MiB", True), ("uefi", "256 MiB", False), ("bios", "128 MiB", False)],
)
async def test_uefi_needs_memory_to_boot(world: World, firmware: str, memory: str, warned: bool) -> None:
    said = " ".join(world.session.guest_warnings(wish(memory=memory, firmware=firmware)))
    assert ("128 MiB of memory is too little for UEFI" in said) is warned


async def test_warnings_are_whole_sentences_with_both_sides(world: World) -> None:
    world.host.memory_kib, world.host.cpus, world.host.accel = 5 * 1024**2, 1, None
    await world.see()
    world.session.store.set_inventory(world.session.store.inventory)
    said = world.session.guest_warnings(wish(memory="2560 MiB", boot=BootChoice.EMPTY, disk="900 GiB"))
    text = " ".join(said)
    assert "6.5 GiB" in text and "5.0 GiB" in text
    assert "2 vCPUs on a host with 1 CPU" in text
    assert "may grow larger than what is free in pool default" in text
    assert "nothing will boot" in text


def test_a_host_that_never_answered_is_taken_on_trust() -> None:
    fleet = read_inventory(DEMO).fleet
    store = Store(read_inventory(DEMO), definition)
    view = store.host("vhost-d")
    given = GuestWish(host="vhost-d", name="x", vcpus="1", memory="1 GiB", disk="1 GiB", boot=BootChoice.EMPTY)
    guest = guest_of(fleet, view, given)
    assert any("taken on trust" in warning for warning in guest_warnings(view, guest))
    assert guest.disks["boot"].pool == "default" and guest.nics["lan"].network == "lan"
