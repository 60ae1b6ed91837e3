"""Guests made for Windows: what they are made of, and what keeps it from being installed."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from console.domain.model import Guest, Profile
from console.domain.plan import ApplyMode
from console.services.wishes import BootChoice
from tests.services.world import NEW, World, wish

WINDOWS = {
    "profile": "windows",
    "firmware": "uefi",
    "memory": "8 GiB",
    "display": "vnc",
    "boot": BootChoice.ISO,
    "iso": "install.iso",
}


def guest(world: World) -> Guest:
    return world.session.store.fleet.hosts["vhost-a"].guests["new"]


def cautions(world: World, **facts: object) -> str:
    return " ".join(world.session.guest_warnings(wish(**{**WINDOWS, **facts})))


async def test_it_has_a_tpm_secure_boot_and_the_drivers_cd_of_a_pool(world: World) -> None:
    world.host.pools["fast"]["virtio-win-0.1.266.iso"] = 700
    await world.see()
    assert (await world.create(**WINDOWS)).ok
    made = guest(world)
    assert made.profile is Profile.WINDOWS
    assert [(disk.name, disk.target, disk.source.value, disk.pool) for disk in made.disks.values()] == [
        ("boot", "vda", "", "default"),
        ("install", "sda", "install.iso", "default"),
        ("drivers", "sdb", "virtio-win-0.1.266.iso", "fast"),
    ]
    assert made.boot == ("disk:boot", "disk:install"), "nobody boots from the drivers"
    root = ElementTree.fromstring(world.host.named("new").xml)
    assert root.find("devices/tpm/backend[@type='emulator']") is not None
    assert root.find("os/firmware/feature[@name='secure-boot'][@enabled='yes']") is not None
    assert world.session.wish_of(NEW).iso == "install.iso"
    same = world.session.plan_edit(NEW, world.session.wish_of(NEW), ApplyMode.NEXT_BOOT)
    assert same.is_empty


async def test_what_keeps_windows_from_being_installed_is_said(world: World) -> None:
    assert "vhost-a has a virtio-win ISO: Windows sees neither its disk nor its network" in cautions(world)
    assert "at least 4 GiB" in cautions(world, memory="2 GiB")
    assert "without a display or a GPU" in cautions(world, display="none")
    assert "display or a GPU" not in cautions(world, display="none", gpu="any")
    assert "virtio-win" not in cautions(world, drivers="/srv/iso/virtio-win.iso")
    assert "virtio-win" not in cautions(world, profile="generic")


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"firmware": "bios"}, "firmware", 'write firmware = "uefi"'),
        ({"profile": "dos"}, "profile", "generic or windows"),
        ({"drivers": "lost.iso"}, "drivers", "no pool of vhost-a has a volume lost.iso"),
        ({"drivers": "/a/../b"}, "drivers", "not an absolute path"),
        ({"kind": "nixos"}, "firmware", "a NixOS guest is no Windows"),
    ],
)
async def test_what_does_not_fit_is_refused(world: World, facts: dict[str, object], field: str, words: str) -> None:
    assert words in world.session.guest_problems(wish(**{**WINDOWS, **facts}))[field]


async def test_a_guest_becomes_a_windows_guest_by_an_edit_and_gets_the_cd(world: World) -> None:
    world.host.pools["default"]["virtio-win.iso"] = 700
    assert (await world.create(firmware="uefi")).ok
    edit = replace(world.session.wish_of(NEW), profile="windows")
    assert (await world.apply(world.session.plan_edit(NEW, edit, ApplyMode.NEXT_BOOT))).ok
    assert guest(world).disks["drivers"].source.value == "virtio-win.iso"
    assert guest(world).boot == ("disk:boot",)
    assert 'profile = "windows"' in (world.folder / "hosts/vhost-a.toml").read_text()
