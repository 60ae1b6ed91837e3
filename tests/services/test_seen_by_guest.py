"""How much a passed-through card works, as the guest that has it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.hardware import SeenByGuest, Use
from console.domain.observed import GuestState
from console.services.devices import Accelerator, Devices, told_words
from console.services.wishes import PowerAction
from tests.services.world import NEW, RTX, World
from tests.sysfs import HOST, Tree, rtx

BUSY = SeenByGuest(driver="amdgpu", use=Use(busy_percent=87, memory_used_bytes=3 << 30, memory_bytes=8 << 30))
DISPLAY = f"{RTX}.0"


@pytest.fixture
async def running(world: World, tmp_path: Path) -> World:
    """A guest runs with the card."""
    world.hardware.told["vhost-a"] = Tree(tmp_path / "root", [*HOST, *rtx("65", 28)]).read()
    await world.create(gpu=RTX, start=True)
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    assert world.session.store.guest(NEW).state is GuestState.RUNNING
    return world


def card(world: World) -> Accelerator:
    return next(each for each in world.session.devices.accelerators("vhost-a") if each.slot == RTX)


async def ask(world: World) -> None:
    await world.session.devices.ask_guests(world.session.devices.accelerators(), timeout_s=1)


async def test_the_guest_is_asked_and_what_it_says_stands_on_its_card(running: World) -> None:
    running.fake.told["vhost-a"] = {DISPLAY: BUSY}
    assert card(running).told is None and running.fake.asked == [], "nobody is asked unasked"
    await ask(running)
    assert running.fake.asked == [("vhost-a", {DISPLAY: "10de:2206"})]
    told = card(running).told
    assert told is not None and told.seen == BUSY
    assert told_words(told) == "amdgpu, 87% busy, 3 GiB of 8 GiB"
    assert running.session.devices.asking == set()


async def test_why_it_does_not_tell_is_said(running: World) -> None:
    running.fake.told["vhost-a"] = {DISPLAY: SeenByGuest(driver="nvidia", why_not="its files tell no figures")}
    await ask(running)
    told = card(running).told
    assert told is not None and told_words(told) == "nvidia, its files tell no figures"
    running.fake.told["vhost-a"] = {}
    await ask(running)
    assert (told := card(running).told) is not None and told_words(told) == "the guest has it no longer"
    running.fake.told.clear()
    await ask(running)
    assert (told := card(running).told) is not None
    assert told_words(told) == "The guests of vhost-a were not asked. vhost-a is down"


async def test_what_a_guest_said_goes_with_it(running: World) -> None:
    running.fake.told["vhost-a"] = {DISPLAY: BUSY}
    await ask(running)
    await running.apply(running.session.plan_power([NEW], PowerAction.FORCE_OFF))
    assert card(running).told is None
    asked = len(running.fake.asked)
    await ask(running)
    assert len(running.fake.asked) == asked, "who does not run is not asked"


async def test_a_read_only_console_speaks_to_no_guest(running: World) -> None:
    devices = Devices(running.session.store, running.hardware)
    with pytest.raises(FleetError, match="No guest was asked"):
        await devices.ask_guests([replace(card(running))], timeout_s=1)
    assert running.fake.asked == []


async def test_a_guest_of_somebody_else_is_not_asked(running: World) -> None:
    """It runs with the card, and is in no inventory."""
    file = running.folder / "hosts/vhost-a.toml"
    text = file.read_text()
    file.write_text(text[: text.index("[guests.new]")])
    await running.session.reread()
    assert card(running).owner == "vhost-a/new (running)" and not card(running).runs
    await ask(running)
    assert running.fake.asked == []
