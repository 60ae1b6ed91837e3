"""The preflight where it counts: beside the field, in the plan's warnings, and once more before a start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.hardware import DeviceUser, HostHardware, Use
from console.domain.model import GuestKey, Host, Ssh
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode
from console.domain.preflight import Verdict
from console.domain.verbs import Start
from console.services.devices import use_words
from console.services.wishes import PowerAction
from tests.fakes import FakeHardware
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
    assert outcome.ok and world.hardware.asked == ["vhost-a", "vhost-a"], "before the job, and in it"
    assert "vhost-a" in world.session.devices.errors


def on(hardware: HostHardware, driver: str, **facts: object) -> HostHardware:
    """The same host with all of the card on one driver. facts: of each of its functions."""
    return replace(
        hardware,
        functions=tuple(
            replace(function, driver=driver, **facts) if function.slot == RTX else function  # type: ignore[arg-type]
            for function in hardware.functions
        ),
    )


class Turns(FakeHardware):
    """Tells one thing after the other, and the last one for ever."""

    def __init__(self, *said: HostHardware) -> None:
        super().__init__()
        self.said = list(said)

    async def read(self, host: Host, ssh: Ssh, *, timeout_s: float) -> HostHardware:
        self.told[host.name] = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        return await super().read(host, ssh, timeout_s=timeout_s)


async def test_the_job_itself_checks_right_before_the_start(world: World, hardware: HostHardware) -> None:
    """What was true when the plan was applied is no longer true when its turn has come."""
    world.hardware.told["vhost-a"] = hardware
    await world.create(gpu=RTX)
    world.fake.verbs.clear()
    world.runner.hardware = Turns(held(hardware))
    outcome = await world.apply(world.session.plan_power([NEW], PowerAction.START))
    ((what, why),) = outcome.failures
    assert what == "start new on vhost-a"
    assert why.startswith("vhost-a/new was not started: nvidia has it, and ollama (700) uses it")
    assert world.fake.verbs == [], "libvirt was not asked"


async def test_a_create_that_the_job_refuses_to_start_is_taken_back(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    world.runner.hardware = Turns(replace(hardware, iommu=False))
    before = world.files(), world.listings()
    outcome = await world.create(gpu=RTX, start=True)
    assert not outcome.ok and any("The IOMMU of vhost-a is off" in why for _, why in outcome.failures)
    assert (world.files(), world.listings()) == before


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (lambda card: on(card, "nvidia"), "The host has it: nvidia."),
        (lambda card: on(card, ""), "It has no driver: nobody uses it."),
        (lambda card: on(card, "vfio-pci"), "It is still on vfio-pci, and neither the kernel's command line nor"),
        (lambda card: on(card, "vfio-pci", driver_override="vfio-pci"), "kept for guests on vfio-pci, by a driver"),
        (
            lambda card: replace(on(card, "vfio-pci"), cmdline="quiet vfio-pci.ids=10de:2206,10de:1AEF"),
            "kept for guests on vfio-pci, by the kernel's command line.",
        ),
        (
            lambda card: on(card, "vfio-pci", users=(DeviceUser(pid=9, process="qemu", path="/dev/vfio/28"),)),
            "It was not given back: qemu (9) still holds it.",
        ),
        (lambda card: on(card, "nvidia", power="error"), "It does not answer the kernel: it needs a reset."),
        (lambda card: on(card, "amdgpu", vendor_id="1002", device_id="7312"), "The host has it: amdgpu. Navi 10 cards"),
        (lambda card: replace(card, functions=()), "It is not on the bus of vhost-a any more."),
    ],
)
async def test_after_a_stop_it_is_said_where_the_devices_are(
    world: World, hardware: HostHardware, after: Callable[[HostHardware], HostHardware], told: str
) -> None:
    world.hardware.told["vhost-a"] = hardware
    assert (await world.create(gpu=RTX, start=True)).notes == ()
    world.runner.hardware = Turns(after(hardware))
    outcome = await world.apply(world.session.plan_power([NEW], PowerAction.FORCE_OFF))
    assert outcome.ok
    (note,) = outcome.notes
    assert told in note and RTX in note
    assert world.session.store.jobs[0].outcome == outcome, "it stands in the journal"


async def test_a_driver_that_takes_its_time_is_waited_for(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await world.create(gpu=RTX, start=True)
    world.runner.hardware = Turns(on(hardware, "vfio-pci"), on(hardware, "vfio-pci"), on(hardware, "nvidia"))
    outcome = await world.apply(world.session.plan_power([NEW], PowerAction.SHUTDOWN))
    assert outcome.notes[0].endswith("The host has it: nvidia.")
    assert world.runner.hardware.asked == ["vhost-a"] * 3


async def test_a_kernel_that_is_not_heard_after_a_stop_is_said(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await world.create(gpu=RTX, start=True)
    world.runner.hardware = FakeHardware()
    outcome = await world.apply(world.session.plan_power([NEW], PowerAction.FORCE_OFF))
    assert outcome.ok
    assert outcome.notes[0].startswith("Where the devices of vhost-a/new are now is not known: The kernel of vhost-a")


async def test_a_guest_without_devices_is_not_looked_after(world: World) -> None:
    await world.create(name="plain", start=True)
    outcome = await world.apply(world.session.plan_power([GuestKey("vhost-a", "plain")], PowerAction.FORCE_OFF))
    assert outcome.notes == () and world.hardware.asked == []


async def test_what_is_chosen_is_checked_before_the_rest_is_filled_in(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = replace(hardware, iommu=False)
    await read(world)
    (findings,) = world.session.guest_findings(wish(gpu=RTX, name="", memory="")).values()
    assert [finding.rule for finding in findings if finding.verdict is Verdict.BLOCK] == ["iommu"]
    assert world.session.guest_findings(wish(gpu="")) == {}
    assert world.session.guest_findings(wish(gpu=RTX, host="nowhere")) == {}


async def test_each_host_is_heard_of_as_it_has_answered(world: World, hardware: HostHardware) -> None:
    """One that never answers delays nobody, and is said to have been asked in vain."""
    world.hardware.told["vhost-b"] = hardware
    world.hardware.silent["vhost-a"] = asyncio.Event()
    devices = world.session.devices
    reading = asyncio.create_task(devices.read(["vhost-a", "vhost-b"], timeout_s=1))
    assert await world.session.store.wait_until(lambda store: devices.read_at("vhost-b") is not None, 10)
    assert devices.reading == {"vhost-a"}
    assert {card.host for card in devices.accelerators() if card.first.bars} == {"vhost-b"}
    world.hardware.silent["vhost-a"].set()
    await reading
    assert devices.reading == set() and "did not tell" in devices.errors["vhost-a"].title


async def test_how_busy_cards_are_is_asked_after_the_rest(world: World, hardware: HostHardware) -> None:
    """NVIDIA's tool can hang with its card: what the kernel said is known before, and stays known."""
    world.hardware.told["vhost-a"] = on(hardware, "nvidia")
    world.hardware.uses["vhost-a"] = {f"{RTX}.0": Use(busy_percent=87, power_w=249.6)}
    devices = world.session.devices
    await devices.read(["vhost-a"], timeout_s=1)
    (card,) = (each for each in devices.accelerators("vhost-a") if each.slot == RTX)
    assert card.first.use is None, "it is asked where it is shown"
    await devices.read(["vhost-a"], timeout_s=1, use=True)
    (card,) = (each for each in devices.accelerators("vhost-a") if each.slot == RTX)
    assert card.first.use is not None and use_words(card.first.use) == "87% busy, 250 W"
    world.hardware.uses["vhost-a"] = HostUnreachable("vhost-a did not tell its hardware within 1 s.", "", "")
    await devices.read(["vhost-a"], timeout_s=1, use=True)
    (card,) = (each for each in devices.accelerators("vhost-a") if each.slot == RTX)
    assert card.first.use is None and card.first.driver == "nvidia" and "vhost-a" not in devices.errors


async def test_cards_are_worked_out_again_only_when_what_they_follow_from_changed(
    world: World, hardware: HostHardware
) -> None:
    world.hardware.told["vhost-a"] = hardware
    await read(world)
    before = world.session.devices.accelerators("vhost-a")
    world.fake.touch()
    await world.see()
    again = world.session.devices.accelerators("vhost-a")
    assert all(one is other for one, other in zip(before, again, strict=True))
    await world.create(gpu=RTX)
    (card,) = (each for each in world.session.devices.accelerators("vhost-a") if each.slot == RTX)
    assert card.owner == "vhost-a/new (off)"


async def test_a_warning_that_is_accepted_stands_in_the_inventory(world: World, hardware: HostHardware) -> None:
    world.hardware.told["vhost-a"] = hardware
    await read(world)
    plan = world.session.plan_create(wish(gpu=RTX, accept="d3cold"), start=True)
    assert not any("deep sleep" in warning for warning in plan.warnings)
    assert (await world.apply(plan)).ok
    assert 'accepted = ["d3cold"]' in (world.folder / "hosts/vhost-a.toml").read_text()
    (finding,) = (each for each in world.session.devices.preflight(NEW)["gpu0"] if each.rule == "d3cold")
    assert finding.accepted
    assert "resource" not in " ".join(world.session.guest_warnings(world.session.wish_of(NEW), NEW))
    back = world.session.plan_edit(NEW, replace(world.session.wish_of(NEW), accept="none"), ApplyMode.NEXT_BOOT)
    assert not back.steps and (await world.apply(back)).ok
    assert "accepted" not in (world.folder / "hosts/vhost-a.toml").read_text()


@pytest.mark.parametrize(
    ("accept", "words"),
    [
        ("fire", '"fire" is no check of the preflight. Its checks: hardware-changed, '),
        ("iommu", "The IOMMU of vhost-a is off: no device can be passed through. This blocks: it cannot be accepted."),
        ("boot-gpu", "No device of it is warned of boot-gpu."),
    ],
)
async def test_only_a_warning_can_be_accepted(world: World, hardware: HostHardware, accept: str, words: str) -> None:
    world.hardware.told["vhost-a"] = replace(hardware, iommu=False)
    await read(world)
    with pytest.raises(FleetError) as refused:
        world.session.plan_create(wish(gpu=RTX, accept=accept), start=False)
    assert words in " ".join((refused.value.detail, refused.value.hint))
    assert words in world.session.guest_problems(wish(gpu=RTX, accept=accept))["gpu"]
