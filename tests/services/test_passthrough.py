"""Which card a guest may have, and why not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode
from console.domain.verbs import Define, Start
from console.services.wishes import BootChoice, PowerAction
from tests.fakes import FakeGuest, pci_card, with_functions_swapped
from tests.services.world import A4000, ASPEED, HALF, NEW, RTX, X710, World, wish

STRANGER = """\
<domain type="kvm"><name>stranger</name><uuid>1ef07ff9-0368-40d8-92d6-1e34bd95551f</uuid><memory>1048576</memory>
<os><type arch="x86_64" machine="q35">hvm</type></os><devices><hostdev mode="subsystem" type="pci" managed="yes">
<source><address domain="0x0000" bus="0x65" slot="0x00" function="0x0"/></source></hostdev></devices></domain>
"""


def refusal(world: World, gpu: str, **facts: object) -> str:
    """The sentence that a wish for this card is refused with."""
    problems = world.session.guest_problems(wish(name="thief", gpu=gpu, **facts))
    assert list(problems) == ["gpu"], problems
    with pytest.raises(FleetError) as caught:
        world.session.plan_create(wish(name="thief", gpu=gpu, **facts), start=True)
    assert f"gpu: {problems['gpu']}" in str(caught.value)
    assert caught.value.title == "thief was not created."
    return problems["gpu"]


async def test_a_free_card_is_passed_through_whole(world: World) -> None:
    assert (await world.create(gpu=RTX, start=True)).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    (device,) = guest.devices.values()
    assert (device.pci, device.functions, device.function_numbers, device.gpu) == (
        RTX,
        ("10de:2206", "10de:1aef"),
        (0, 1),
        True,
    )
    xml = world.host.named("new").xml
    assert xml.count("<hostdev") == 2 and 'multifunction="on"' in xml
    assert world.session.store.guest(NEW).seen.pci == (f"{RTX}.0", f"{RTX}.1")  # type: ignore[union-attr]
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert f'pci = "{RTX}"' in text and "functions = [\n" not in text


@pytest.mark.parametrize("spelled", ["65:00", "0000:65:00.0", "65:00.1", " 0000:65:00 "])
async def test_a_slot_may_be_spelled_in_short(world: World, spelled: str) -> None:
    plan = world.session.plan_create(wish(gpu=spelled), start=False)
    assert plan.steps
    assert (await world.apply(plan)).ok
    assert world.session.store.fleet.hosts["vhost-a"].guests["new"].devices["gpu0"].pci == RTX


@pytest.mark.parametrize("state", ["running", "off", "pending"])
async def test_a_card_of_another_guest_is_refused_with_its_owner(world: World, state: str) -> None:
    if state == "pending":
        world.host.up = False
        await world.see()
    await world.create(gpu=RTX, start=state == "running")
    world.host.up = True
    await world.see()
    said = refusal(world, RTX)
    assert "GeForce RTX 3080" in said and RTX in said
    assert f"taken by vhost-a/new ({state})" in said


@pytest.mark.parametrize("running", [True, False])
async def test_a_card_of_an_unmanaged_guest_is_refused_too(world: World, running: bool) -> None:
    stranger = FakeGuest(STRANGER)
    if running:
        stranger.state, stranger.active_xml = GuestState.RUNNING, stranger.xml
    world.host.guests[stranger.uuid] = stranger
    await world.see()
    assert f"taken by vhost-a/stranger ({'running' if running else 'off'})" in refusal(world, RTX)


async def test_any_takes_the_first_free_gpu_and_names_them_all_when_there_is_none(world: World) -> None:
    for number, slot in enumerate((RTX, A4000)):
        await world.create(name=f"new{number}", gpu="any")
        guest = world.session.store.fleet.hosts["vhost-a"].guests[f"new{number}"]
        assert guest.devices["gpu0"].pci == slot
    said = refusal(world, "any")
    assert said.startswith("No GPU is free on vhost-a.")
    for reason in (
        f"at {RTX} is taken by vhost-a/new0",
        f"at {A4000} is taken by vhost-a/new1",
        "the host's screen",
        "shares IOMMU group 1",
    ):
        assert reason in said


async def test_half_an_iommu_group_is_refused(world: World) -> None:
    """The bridge in its group is no obstacle, the disk is: the kernel hands out whole groups."""
    said = refusal(world, HALF)
    assert "Radeon PRO W6600" in said
    assert "shares IOMMU group 1 with 0000:05:00.0 (NVMe 980PRO)" in said


@pytest.mark.parametrize("ids", ["1a03:2000", "102b:0536"])
async def test_the_hosts_own_screen_is_refused(world: World, ids: str) -> None:
    world.host.pci = pci_card(ASPEED, [ids], ["0x030000"], product="BMC")
    await world.see()
    assert "the host's screen" in refusal(world, ASPEED)


async def test_another_device_than_a_gpu_may_be_named(world: World) -> None:
    assert (await world.create(gpu=X710)).ok
    assert not world.session.store.fleet.hosts["vhost-a"].guests["new"].devices["gpu0"].gpu


@pytest.mark.parametrize("gpu", ["0000:99:00", "0000:64:00"])
async def test_what_is_not_there_or_is_a_bridge_is_refused_with_the_choices(world: World, gpu: str) -> None:
    said = refusal(world, gpu)
    assert f"vhost-a has no device at {gpu}" in said and RTX in said and "or any" in said


@pytest.mark.parametrize("gpu", ["rtx", "65", "x" * 300, "any\n", "'; reboot"])
async def test_what_is_no_slot_is_refused(world: World, gpu: str) -> None:
    if gpu.strip() == "any":
        assert world.session.plan_create(wish(gpu=gpu), start=False).steps
    else:
        said = refusal(world, gpu)
        assert "is not a PCI slot" in said and len(said) < 200 and "\n" not in said


async def test_a_host_that_reports_no_devices_gives_none(world: World) -> None:
    world.host.pci = ()
    await world.see()
    assert "The devices of vhost-a are not known" in refusal(world, "any")


async def test_hardware_that_changed_stops_the_start(world: World) -> None:
    await world.create(gpu=RTX)
    with_functions_swapped(world.host, RTX, "10de:2684")
    await world.see()
    plan = world.session.plan_power([NEW], PowerAction.START)
    assert not plan.steps
    (said,) = plan.refusals
    assert "vhost-a/new was not started" in said
    assert f"{RTX} on vhost-a holds 10de:2684, 10de:1aef" in said and "10de:2206, 10de:1aef" in said
    world.host.pci = ()
    await world.see()
    assert world.session.plan_power([NEW], PowerAction.START).steps, (
        "a host that reports no devices at all proves nothing"
    )


async def test_two_creates_for_one_card_at_once_make_one_owner(world: World) -> None:
    plans = [world.session.plan_create(wish(name=name, gpu=RTX), start=True) for name in ("one", "two")]
    results = await asyncio.gather(*(world.apply(plan) for plan in plans), return_exceptions=True)
    refused = [result for result in results if isinstance(result, FleetError)]
    (error,) = refused
    winner, loser = ("one", "two") if "two" in error.title else ("two", "one")
    assert error.title == f"Create vhost-a/{loser}: refused."
    assert f"{RTX} already belongs to vhost-a/{winner}" in error.detail
    assert "Nothing was changed" in error.hint
    assert sum(isinstance(verb, Define) for _, verb in world.fake.verbs) == 1
    assert f"[guests.{loser}]" not in (world.folder / "hosts/vhost-a.toml").read_text()


async def test_a_card_that_an_unmanaged_guest_took_meanwhile_stops_the_start(world: World) -> None:
    """libvirt's test driver does not refuse this, so the plan must."""
    await world.create(gpu=RTX)
    stranger = FakeGuest(STRANGER, state=GuestState.RUNNING, active_xml=STRANGER)
    world.host.guests[stranger.uuid] = stranger
    await world.see()
    plan = world.session.plan_power([NEW], PowerAction.START)
    assert plan.refusals == (f"vhost-a/new was not started: {RTX} on vhost-a is in use by vhost-a/stranger (running).",)
    assert not any(isinstance(step.verb, Start) for step in plan.steps)


async def test_the_board_shows_cards_with_group_node_and_owner(world: World) -> None:
    await world.create(gpu=RTX)
    cards = {card.slot: card for card in world.session.gpu_choices("vhost-a")}
    assert set(cards) == {RTX, ASPEED, HALF, A4000}
    assert (cards[RTX].iommu_group, cards[RTX].numa_node, cards[RTX].owner) == (28, 1, "vhost-a/new")
    assert cards[RTX].title == "NVIDIA Corporation GeForce RTX 3080"
    assert cards[A4000].owner is None and cards[A4000].refusal == ""


async def test_a_guest_keeps_its_card_when_it_is_edited(world: World) -> None:
    await world.create(gpu=A4000)
    key = GuestKey("vhost-a", "new")
    kept = world.session.wish_of(key)
    assert kept.gpu == A4000
    assert world.session.guest_problems(kept, key) == {}
    assert world.session.plan_edit(key, replace(kept, gpu="any"), ApplyMode.NEXT_BOOT).is_empty
    assert world.session.plan_edit(key, replace(kept, gpu="none"), ApplyMode.NEXT_BOOT).steps
    moved = world.session.plan_edit(key, replace(kept, gpu=RTX), ApplyMode.NEXT_BOOT)
    assert (await world.apply(moved)).ok
    assert refusal(world, RTX) and world.session.guest_problems(wish(name="other", gpu=A4000)) == {}


async def test_a_guest_that_boots_a_kernel_may_have_a_card_too(world: World) -> None:
    plan = world.session.plan_create(
        wish(boot=BootChoice.KERNEL, kernel="/boot/k", disk="", gpu="any", firmware="uefi"), start=True
    )
    assert (await world.apply(plan)).ok


async def test_a_guest_is_pinned_beside_its_card_and_let_go(world: World) -> None:
    assert (await world.create(gpu=RTX, cpus="9,8", numa="1", hugepages="1GiB")).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    assert (guest.cpus, guest.numa, guest.hugepages_kib) == ("8-9", 1, 1024 * 1024)
    assert "<vcpupin" in world.host.named("new").xml
    edit = replace(world.session.wish_of(NEW), vcpus="4")
    assert "names 2 of the host's CPUs for 4 vCPUs" in world.session.guest_problems(edit, NEW)["vcpus"]
    edit = replace(edit, cpus="none", numa="none", hugepages="none")
    assert (await world.apply(world.session.plan_edit(NEW, edit, ApplyMode.NEXT_BOOT))).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    assert (guest.cpus, guest.numa, guest.hugepages_kib) == ("", None, 0)


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"cpus": "8-"}, "cpus", "is not a list of CPUs"),
        ({"numa": "one"}, "numa", "is not a NUMA node"),
        ({"hugepages": "3 MiB"}, "memory", "3 MiB is no size of huge pages"),
    ],
)
async def test_what_cannot_be_pinned_is_refused(world: World, facts: dict[str, str], field: str, words: str) -> None:
    assert words in world.session.guest_problems(wish(**facts))[field]
