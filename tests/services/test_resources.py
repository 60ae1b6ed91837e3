"""Devices by the name of a resource: one that is free is picked, with reasons, written down, and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.model import Device, Guest, GuestKey
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode
from console.domain.standing import Standing
from console.domain.verbs import Define, Start
from console.services.wishes import PowerAction
from tests.fakes import pci_card
from tests.services.world import A4000, CARDS, NEW, RTX, WEB, World, wish
from tests.sysfs import HOST, Pci, Tree, rtx

SECOND = "0000:66:00"
RESOURCES = """
[resources.rtx3080]
id = "10de:2206"

[resources.desk]
addresses = { vhost-a = ["65:00", "b3:00"] }
"""
UNPICKED = '\n[guests.web.devices.gpu0]\nresource = "rtx3080"   # whichever\n'

PENDING = """
[guests.db]
vcpus = 1
memory = "1 GiB"

[guests.db.devices.gpu0]
resource = "rtx3080"
"""

PARTED = PENDING.replace('resource = "rtx3080"', 'pci = "66:00"\nfunctions = ["10de:1bb3"]\nmdev = "nvidia-63"\n')


def twin(slot: str = SECOND) -> tuple[object, ...]:
    return pci_card(slot, ["10de:2206", "10de:1aef"], ["0x030000", "0x040300"], product="GeForce RTX 3080", group=29)


async def named(world: World, text: str = RESOURCES) -> None:
    """Write resources into fleet.toml, and have the console read it."""
    with (world.folder / "fleet.toml").open("a") as file:
        file.write(text)
    await world.session.reread()
    await world.see()


async def by_hand(world: World, text: str = UNPICKED) -> None:
    with (world.folder / "hosts/vhost-a.toml").open("a") as file:
        file.write(text)
    await world.session.reread()
    assert world.session.store.faults == ()


def guest(world: World, name: str = "new") -> Guest:
    return world.session.store.fleet.hosts["vhost-a"].guests[name]


def text_of(world: World) -> str:
    return (world.folder / "hosts/vhost-a.toml").read_text()


async def test_what_is_free_is_picked_and_written_beside_the_wish(world: World) -> None:
    await named(world)
    assert (await world.create(gpu="rtx3080", start=True)).ok
    assert guest(world).devices == {
        "gpu0": Device(
            name="gpu0",
            pci=RTX,
            functions=("10de:2206", "10de:1aef"),
            function_numbers=(0, 1),
            gpu=True,
            resource="rtx3080",
        )
    }
    assert 'resource = "rtx3080"' in text_of(world) and f'pci = "{RTX}"' in text_of(world)
    assert world.session.store.guest(NEW).standing is Standing.IN_SYNC


async def test_the_plan_says_which_and_why_not_another(world: World) -> None:
    world.host.pci = (*CARDS, *twin())
    await named(world)
    plan = world.session.plan_create(wish(gpu="rtx3080"), start=False)
    (said,) = [warning for warning in plan.warnings if warning.startswith("gpu0: rtx3080 is ")]
    assert f"NVIDIA Corporation GeForce RTX 3080 at {RTX}" in said and f"{SECOND}: would do as well" in said
    assert (await world.apply(plan)).ok
    plan = world.session.plan_create(wish(name="other", gpu="rtx3080"), start=False)
    (said,) = [warning for warning in plan.warnings if warning.startswith("gpu0: rtx3080 is ")]
    assert f"at {SECOND}" in said and f"{RTX}: {RTX}.0 belongs to vhost-a/new (off)" in said


async def test_nothing_free_is_said_of_each(world: World) -> None:
    await named(world)
    assert (await world.create(gpu="rtx3080")).ok
    problems = world.session.guest_problems(wish(name="thief", gpu="rtx3080"))
    assert "No rtx3080 is free on vhost-a." in problems["gpu"]
    assert f"{RTX}: {RTX}.0 belongs to vhost-a/new (off)" in problems["gpu"]


async def test_a_resource_may_be_a_list_of_places(world: World) -> None:
    await named(world)
    assert (await world.create(name="one", gpu="desk")).ok
    assert (await world.create(name="two", gpu="desk")).ok
    assert [guest(world, name).devices["gpu0"].pci for name in ("one", "two")] == [RTX, A4000]
    said = world.session.guest_problems(wish(host="vhost-b", gpu="desk"))["gpu"]
    assert "No desk is free on vhost-b." in said and "vhost-b has none." in said


async def test_the_subsystem_is_known_once_the_kernel_was_asked(world: World, tmp_path: Path) -> None:
    await named(world, '\n[resources.strix]\nid = "10de:2206"\nsubsystem = "1043:87ac"\n')
    assert "its kernel was not asked" in world.session.guest_problems(wish(gpu="strix"))["gpu"]
    mine = [replace(function, subsystem="1043:87ac") for function in rtx("b3", 30)]
    world.hardware.told["vhost-a"] = Tree(tmp_path / "root", [*HOST, *rtx("65", 28), *mine]).read()
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    assert (await world.create(gpu="strix")).ok
    assert guest(world).devices["gpu0"].pci == "0000:b3:00"


async def test_the_card_with_the_fewest_warnings_is_picked(world: World, tmp_path: Path) -> None:
    quiet = rtx("66", 29, files={"d3cold_allowed": "0"})
    world.hardware.told["vhost-a"] = Tree(tmp_path / "root", [*HOST, *rtx("65", 28), *quiet]).read()
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    await named(world)
    assert (await world.create(gpu="rtx3080")).ok
    assert guest(world).devices["gpu0"].pci == "0000:66:00"


async def test_virtual_functions_are_picked_one_by_one(world: World, tmp_path: Path) -> None:
    card = Pci(
        address="0000:3b:00.0", id="8086:1572", kind=0x020000, driver="i40e", group=21,
        virtual=("0000:3b:02.0", "0000:3b:02.1"), files={"sriov_totalvfs": "64", "sriov_numvfs": "2"},
    )  # fmt: skip
    parts = [
        Pci(address=f"0000:3b:02.{n}", id="8086:154c", kind=0x020000, group=50 + n, physical=card.address)
        for n in range(2)
    ]
    world.hardware.told["vhost-a"] = Tree(tmp_path / "root", [*HOST, card, *parts]).read()
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    await named(world, '\n[resources.port]\nid = "8086:154c"\n')
    for name in ("one", "two"):
        assert (await world.create(name=name, gpu="port")).ok
    found = [guest(world, name).devices["gpu0"] for name in ("one", "two")]
    assert [(each.pci, each.function_numbers, each.virtual_of) for each in found] == [
        ("0000:3b:02", (0,), "0000:3b:00.0"),
        ("0000:3b:02", (1,), "0000:3b:00.0"),
    ]
    assert "No port is free" in world.session.guest_problems(wish(name="three", gpu="port"))["gpu"]
    lost, also = world.session.plan_fleet(host="vhost-a").warnings
    assert lost.startswith(
        "vhost-a/one: It is function 1 of 2 of X710: from the next boot of vhost-a on there are none."
    )
    await by_hand(world, '\n[sriov]\n"0000:3b:00.0" = 1\n')
    assert [also.replace("are none", "is one")] == list(world.session.plan_fleet(host="vhost-a").warnings)


async def test_a_card_that_its_host_keeps_is_no_guest_s(world: World) -> None:
    world.host.pci = (*CARDS, *twin())  # type: ignore[assignment]
    await named(world)
    file = world.folder / "hosts/vhost-a.toml"
    file.write_text(file.read_text() + '\n[own.gpu0]\npci = "65:00"\ncontainers = true\n')
    await world.session.reread()
    problem = world.session.guest_problems(wish(gpu=RTX))["gpu"]
    assert "kept by vhost-a for itself (own.gpu0, for containers)" in problem
    plan = world.session.plan_create(wish(gpu="rtx3080"), start=False)
    assert any(f"vhost-a keeps {RTX}.0 for itself (own.gpu0, for containers)" in each for each in plan.warnings)
    assert (await world.apply(plan)).ok
    assert guest(world).devices["gpu0"].pci == SECOND
    (card,) = (card for card in world.session.devices.accelerators("vhost-a") if card.slot == RTX)
    assert card.kept == "kept (own.gpu0, for containers)" and not card.is_free


async def test_what_the_host_has_to_do_first_is_said(world: World, tmp_path: Path) -> None:
    await named(world)
    world.hardware.told["vhost-a"] = Tree(tmp_path / "root", [*HOST, *rtx("65", 28, driver="nouveau")]).read()
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    said = " ".join(world.session.plan_create(wish(gpu=RTX), start=False).warnings)
    assert (
        f"gpu0: {RTX} is on nouveau, snd_hda_intel now." in said and "needs a deploy and a reboot of the host" in said
    )
    world.hardware.told["vhost-a"] = Tree(tmp_path / "held", [*HOST, *rtx("65", 28)]).read()
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    plan = world.session.plan_create(wish(gpu=RTX), start=False)
    assert "reboot of the host" not in " ".join(plan.warnings)
    assert (await world.apply(plan)).ok
    await by_hand(world, PARTED)
    said = " ".join(world.session.plan_fleet(guest=GuestKey("vhost-a", "db")).warnings)
    assert "the nvidia-63 of 0000:66:00 is not there yet: deploy vhost-a first" in said


async def test_a_wish_by_hand_is_answered_by_the_plan(world: World) -> None:
    assert (await world.apply(world.session.plan_fleet())).ok
    await named(world)
    await by_hand(world)
    assert world.session.store.guest(WEB).standing is Standing.CHANGED
    plan = world.session.plan_fleet()
    assert plan.change is not None and plan.change.summary.startswith("Pick devices for vhost-a/web")
    assert [type(step.verb) for step in plan.steps] == [Define]
    assert (await world.apply(plan)).ok
    assert guest(world, "web").devices["gpu0"].pci == RTX
    assert '[guests.web.devices.gpu0]\nresource = "rtx3080"   # whichever\n' in text_of(world)
    assert world.session.plan_fleet().is_empty


async def test_a_pending_guest_gets_its_device_when_it_is_started(world: World) -> None:
    await named(world)
    await by_hand(world, PENDING)
    plan = world.session.plan_power([GuestKey("vhost-a", "db")], PowerAction.START)
    assert plan.refusals == () and plan.change is not None
    assert (await world.apply(plan)).ok
    assert world.host.named("db").state is GuestState.RUNNING
    assert guest(world, "db").devices["gpu0"].pci == RTX


async def test_what_cannot_be_picked_is_refused_and_nothing_is_defined(world: World) -> None:
    await named(world)
    await by_hand(world)
    world.host.pci = ()
    await world.see()
    plan = world.session.plan_fleet()
    assert not plan.steps
    assert "vhost-a/web: No rtx3080 can be picked on vhost-a. Its devices are not known" in plan.refusals[0]
    with pytest.raises(FleetError, match="web was not changed"):
        world.session.plan_edit(WEB, replace(world.session.wish_of(WEB), vcpus="1"), ApplyMode.NEXT_BOOT)


async def test_a_card_that_moved_is_found_again_at_the_start(world: World) -> None:
    await named(world)
    assert (await world.create(gpu="rtx3080")).ok
    others = tuple(each for each in CARDS if each.slot != RTX)
    world.host.pci = (*others, *twin())  # type: ignore[assignment]
    await world.see()
    plan = world.session.plan_power([NEW], PowerAction.START)
    assert any(f"the hardware changed: it was at {RTX}" in warning for warning in plan.warnings)
    assert [type(step.verb) for step in plan.steps] == [Define, Start]
    assert (await world.apply(plan)).ok
    assert guest(world).devices["gpu0"].pci == SECOND
    assert world.session.store.guest(NEW).seen.pci == (f"{SECOND}.0", f"{SECOND}.1")  # type: ignore[union-attr]


async def test_a_card_that_is_gone_stops_the_start(world: World) -> None:
    await named(world)
    assert (await world.create(gpu="rtx3080")).ok
    world.host.pci = tuple(each for each in CARDS if each.slot != RTX)
    await world.see()
    plan = world.session.plan_power([NEW], PowerAction.START)
    assert not plan.steps and plan.change is None
    assert "The hardware changed, and no other rtx3080 is free on vhost-a." in plan.refusals[0]


async def test_a_card_that_was_asked_for_by_its_place_is_told_where_it_went(world: World) -> None:
    assert (await world.create(gpu=RTX)).ok
    world.host.pci = (*(each for each in CARDS if each.slot != RTX), *twin())  # type: ignore[assignment]
    await world.see()
    (said,) = world.session.plan_power([NEW], PowerAction.START).refusals
    assert f"the hardware changed: {RTX} on vhost-a holds nothing" in said
    assert f"the same card is at {SECOND} now: choose it there" in said


async def test_an_edit_that_leaves_the_resource_leaves_the_card(world: World) -> None:
    await named(world)
    assert (await world.create(gpu="rtx3080")).ok
    assert world.session.wish_of(NEW).gpu == "rtx3080"
    same = world.session.plan_edit(NEW, world.session.wish_of(NEW), ApplyMode.NEXT_BOOT)
    assert same.is_empty


async def test_a_name_that_is_no_resource_is_refused(world: World) -> None:
    await named(world)
    problems = world.session.guest_problems(wish(gpu="rtx4090"))
    assert "Known resources: desk, rtx3080" in problems["gpu"]
    with pytest.raises(FleetError):
        world.session.plan_create(wish(gpu="rtx4090"), start=False)
