"""The preflight where it counts: beside the field, in the plan's warnings, and once more before a start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.hardware import DeviceUser, HostHardware
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.verbs import Start
from console.services.wishes import PowerAction
from tests.services.world import NEW, RTX, World, wish
from tests.sysfs import HOST, Tree, rtx


@pytest.fixture
def hardware(tmp_path: Path) -> HostHardware:
    """What the kernel of vhost-a says: a card ready for guests."""
    return Tree(tmp_path / "root", [*HOST, *rtx("65", 28)]).read()


def held(hardware: HostHardware) -> HostHardware:
    """The same host with the card on NVIDIA's driver, and somebody at work on it."""
    user = DeviceUser(pid=700, process="ollama", path="/dev/nvidia0")
    return replace(
        hardware,
        functions=tuple(
            replace(function, driver="nvidia", users=(user,)) if function.address == f"{RTX}.0" else function
            for function in hardware.functions
        ),
    )


async def read(world: World) -> None:
    await world.session.devices.read(["vhost-a"], timeout_s=1)


async def test_a_block_is_said_beside_the_field(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await read(world)
    assert world.session.guest_problems(wish(gpu=RTX)) == {}
    world.hardware.told["vhost-a"] = replace(hardware, iommu=False)
    await read(world)
    problems = world.session.guest_problems(wish(gpu=RTX))
    assert problems["gpu"].startswith("The IOMMU of vhost-a is off: no device can be passed through. Switch VT-d on")
    assert world.session.guest_problems(wish(gpu="")) == {}


async def test_warnings_stand_in_the_plan(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await read(world)
    plan = world.session.plan_create(wish(gpu=RTX), start=True)
    assert any(warning.startswith("deep sleep: It may be put to sleep (D3cold)") for warning in plan.warnings)
    assert not any("deep sleep" in warning for warning in world.session.plan_create(wish(), start=True).warnings)


async def test_what_changed_since_the_review_stops_the_create(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await read(world)
    plan = world.session.plan_create(wish(gpu=RTX), start=True)
    world.hardware.told["vhost-a"] = held(hardware)
    before = (world.folder / "hosts/vhost-a.toml").read_text()
    with pytest.raises(FleetError) as error:
        await world.apply(plan)
    assert "nvidia has it, and ollama (700) uses it: detaching it now can hang the host." in error.value.detail
    assert (world.folder / "hosts/vhost-a.toml").read_text() == before
    assert world.fake.verbs == []


async def test_each_start_is_checked_again_and_others_go_on(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await world.create(gpu=RTX)
    await world.create(name="plain")
    world.hardware.told["vhost-a"] = held(hardware)
    plan = world.session.plan_power([NEW, GuestKey("vhost-a", "plain")], PowerAction.START)
    outcome = await world.apply(plan)
    assert not outcome.ok
    assert any("vhost-a/new was not started: nvidia has it" in why for _, why in outcome.failures)
    assert world.session.store.guest(GuestKey("vhost-a", "plain")).state is GuestState.RUNNING
    assert world.session.store.guest(NEW).state is GuestState.OFF


async def test_a_guest_without_devices_asks_no_kernel(world: World) -> None:
    await world.create(name="plain")
    await world.apply(world.session.plan_power([GuestKey("vhost-a", "plain")], PowerAction.START))
    assert world.hardware.asked == []
    assert any(isinstance(verb, Start) for _, verb in world.fake.verbs)


async def test_a_kernel_that_cannot_be_asked_leaves_what_libvirt_tells(world: World) -> None:
    plan = world.session.plan_create(wish(gpu=RTX), start=True)
    outcome = await world.apply(plan)
    assert outcome.ok and world.hardware.asked == ["vhost-a"]
    assert "vhost-a" in world.session.devices.errors
