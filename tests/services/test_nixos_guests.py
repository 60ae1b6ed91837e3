"""NixOS guests: machines of the flake, with what is left for Nix to do said aloud."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.domain.model import Kind
from console.domain.plan import ApplyMode
from console.domain.verbs import Start
from console.services.wishes import BootChoice, GuestWish, PowerAction
from tests.services.world import NEW, WEB, World, wish

BASE = "nixos-0abcdefghijk.qcow2"


def nixos(**facts: object) -> GuestWish:
    return wish(**({"kind": "nixos"} | facts))


async def test_a_nixos_guest_is_a_machine_with_a_file_of_its_own(world: World) -> None:
    plan = world.session.plan_create(nixos(address="10.0.0.60/24"), start=True)
    assert any("generated/new.nix" in each and "machines/new.nix" in each for each in plan.warnings)
    assert any("--flake .#new --target-host root@10.0.0.60" in each for each in plan.warnings)
    assert any(isinstance(step.verb, Start) for step in plan.steps)
    assert (await world.apply(plan)).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    assert guest.kind is Kind.NIXOS and guest.state_version == world.session.store.fleet.state_version
    files = world.files()
    assert 'kind = "guest"' in files["generated/new.nix"] and 'machine = "new"' in files["generated/new.nix"]
    await world.verbs_of(lambda: world.session.plan_power([NEW], PowerAction.FORCE_OFF))
    assert (await world.apply(world.session.plan_remove(NEW))).ok
    assert "generated/new.nix" not in world.files()


async def test_one_from_a_base_image_has_its_configuration_disks_and_waits_for_its_host(world: World) -> None:
    world.host.pools["default"][BASE] = 2 * 1024**3
    await world.see()
    plan = world.session.plan_create(nixos(image=BASE), start=True)
    assert not any(isinstance(step.verb, Start) for step in plan.steps)
    assert any("--flake .#vhost-a --target-host root@10.0.0.11" in each for each in plan.warnings)
    assert (await world.apply(plan)).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    assert {disk.source.value for disk in guest.disks.values()} == {
        BASE,
        "/var/lib/fleet/library.iso",
        "/var/lib/fleet/guests/new.iso",
    }
    assert guest.boot == ("disk:boot",)
    assert world.session.wish_of(NEW).boot is BootChoice.IMAGE, "those disks are no CD to install from"


async def test_names_of_machines_are_the_only_ones_in_the_fleet(world: World) -> None:
    assert "a host has this name" in world.session.guest_problems(nixos(name="vhost-b"))["name"]
    assert "name" not in world.session.guest_problems(wish(name="vhost-b"))
    assert (await world.apply(world.session.plan_create(nixos(), start=False))).ok
    problems = world.session.guest_problems(nixos(host="vhost-b"))
    assert "vhost-a/new is a NixOS guest" in problems["name"]


async def test_a_plain_guest_may_become_one(world: World) -> None:
    plan = world.session.plan_edit(WEB, replace(world.session.wish_of(WEB), kind="nixos"), ApplyMode.NEXT_BOOT)
    assert plan.change is not None and any("--flake .#web" in each for each in plan.warnings)
    assert (await world.apply(plan)).ok
    assert "generated/web.nix" in world.files()
    assert world.session.plan_edit(WEB, world.session.wish_of(WEB), ApplyMode.NEXT_BOOT).change is None


@pytest.mark.parametrize("kind", ["NixOS", "", "x"])
def test_another_kind_is_refused(world: World, kind: str) -> None:
    assert "Write plain or nixos" in world.session.guest_problems(wish(kind=kind))["kind"]
