"""Changing and removing a guest: what reaches it when, and that nobody else's edit is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode, Danger, Plan
from console.domain.standing import Standing
from console.domain.verbs import CreateVolume, Define, DeleteVolume, SetAutostart, SetMemory, Shutdown, Start, Undefine
from console.services.wishes import BootChoice, PowerAction
from tests.fakes import FakeGuest
from tests.services.test_passthrough import STRANGER
from tests.services.world import NEW, RTX, WEB, X710, World, wish


def edit(world: World, mode: ApplyMode = ApplyMode.NEXT_BOOT, key: GuestKey = WEB, **facts: object) -> Plan:
    return world.session.plan_edit(key, replace(world.session.wish_of(key), **facts), mode)  # type: ignore[arg-type]


async def test_at_the_next_boot(world: World) -> None:
    plan = edit(world, memory="8 GiB", vcpus="4")
    assert [(d.fact, d.seen, d.wanted, d.when) for d in plan.differences] == [
        ("vcpus", "2", "4", "next boot"),
        ("memory", "4 GiB", "8 GiB", "next boot"),
    ]
    assert plan.danger is Danger.NONE
    assert (await world.apply(plan)).ok
    assert [type(verb) for _, verb in world.fake.verbs] == [Define]
    view = world.session.store.guest(WEB)
    assert view.restart_needed and view.standing is Standing.IN_SYNC and view.state is GuestState.RUNNING
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert "vcpus = 4       # half of what it had" in text
    assert edit(world, memory="8 GiB").is_empty


async def test_by_a_restart_now(world: World) -> None:
    plan = edit(world, ApplyMode.RESTART, memory="8 GiB")
    assert [type(step.verb) for step in plan.steps] == [Define, Shutdown, Start]
    assert plan.danger is Danger.CONFIRM and plan.confirm_word == "web"
    assert (await world.apply(plan)).ok
    view = world.session.store.guest(WEB)
    assert (view.state, view.restart_needed) == (GuestState.RUNNING, False)


@pytest.mark.parametrize("facts", [{"autostart": True}, {}])
async def test_what_needs_no_restart_restarts_nothing(world: World, facts: dict[str, object]) -> None:
    plan = edit(world, ApplyMode.RESTART, **facts)
    assert not any(isinstance(step.verb, Shutdown | Start) for step in plan.steps)
    assert plan.danger is Danger.NONE


async def test_an_apply_only_defines_anew_so_nothing_of_it_is_live(world: World) -> None:
    world.edit("hosts/vhost-a.toml", 'memory = "4 GiB"', 'memory = "2 GiB"')
    await world.session.reread()
    plan = world.session.plan_fleet()
    assert [step.sentence for step in plan.steps] == ["define web anew"]
    assert [(d.fact, d.when) for d in plan.differences] == [("memory", "next boot")]


async def test_live_what_can_be_live(world: World) -> None:
    plan = edit(world, ApplyMode.LIVE, memory="2 GiB", description="smaller now")
    assert [type(step.verb) for step in plan.steps] == [SetMemory, Define]
    assert (await world.apply(plan)).ok
    nic = edit(world, ApplyMode.LIVE, network="none")
    assert [step.sentence for step in nic.steps] == ["unplug card lan", "define web anew"]


async def test_a_device_of_one_function_comes_live_and_goes(world: World) -> None:
    plan = edit(world, ApplyMode.LIVE, gpu=X710)
    assert not plan.refusals, plan.refusals
    assert [step.sentence for step in plan.steps] == ["plug in device gpu0", "define web anew"]
    assert ("pci 0000:3b:00.0", "live") in [(d.fact, d.when) for d in plan.differences]
    assert (await world.apply(plan)).ok
    plan = edit(world, ApplyMode.LIVE, gpu="none")
    assert [step.sentence for step in plan.steps] == ["unplug device gpu0", "define web anew"]


async def test_a_card_of_several_functions_comes_at_a_start(world: World) -> None:
    (said,) = edit(world, ApplyMode.LIVE, gpu=RTX).refusals
    assert "cannot change" in said and "pci 0000:65:00.0" in said and "several functions" in said


@pytest.mark.parametrize(
    ("facts", "fact"), [({"memory": "8 GiB"}, "memory"), ({"vcpus": "4"}, "vcpus"), ({"firmware": "uefi"}, "firmware")]
)
async def test_live_refuses_what_cannot_be_live_by_name(world: World, facts: dict[str, object], fact: str) -> None:
    plan = edit(world, ApplyMode.LIVE, **facts)
    (said,) = plan.refusals
    assert said.startswith(f"vhost-a/web is running and cannot change {fact}") and "next boot or restart" in said
    assert plan.is_empty and plan.differences
    files = world.files()
    assert not (await world.apply(plan)).ok
    assert world.files() == files and world.fake.verbs == []


async def test_a_guest_that_is_off_is_simply_defined(world: World) -> None:
    await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))
    for mode in ApplyMode:
        plan = edit(world, mode, memory=f"{5 + list(ApplyMode).index(mode)} GiB")
        assert [type(step.verb) for step in plan.steps] == [Define]
        assert (await world.apply(plan)).ok


async def test_an_edit_that_fails_is_taken_back(world: World) -> None:
    files, listings = world.files(), world.listings()
    for step in (1, 2):
        world.fake.fail_at = {len(world.fake.verbs) + step}
        outcome = await world.apply(edit(world, memory="8 GiB", autostart=True))
        assert not outcome.ok and "the inventory is as it was" in outcome.undone
        assert world.files() == files
        assert world.listings() == listings


async def test_a_host_that_is_down_has_the_edit_pending(world: World) -> None:
    world.host.up = False
    await world.see()
    outcome = await world.apply(edit(world, memory="8 GiB"))
    assert outcome.ok and outcome.pending == (WEB,) and world.fake.verbs == []
    world.host.up = True
    await world.see()
    assert world.session.store.guest(WEB).standing is Standing.CHANGED
    assert [type(v) for v in await world.verbs_of(world.session.plan_fleet)] == [Define]
    assert await world.verbs_of(world.session.plan_fleet) == []


async def test_renaming_and_moving_are_refused(world: World) -> None:
    for facts, field in (({"name": "shop"}, "name"), ({"host": "vhost-b"}, "host")):
        with pytest.raises(FleetError) as caught:
            edit(world, **facts)
        assert f"{field}: a guest cannot be" in str(caught.value)
        problems = world.session.guest_problems(replace(world.session.wish_of(WEB), **facts), WEB)
        assert list(problems) == [field]


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"disk": "40 GiB"}, "disk", "20 GiB"),
        ({"disk": ""}, "disk", "stays"),
        ({"pool": "fast"}, "pool", "default"),
        ({"image": "other.qcow2"}, "image", "debian-13.qcow2"),
        ({"image_mode": "overlay"}, "image_mode", "copy"),
    ],
)
async def test_what_an_existing_disk_cannot_do_is_said(
    world: World, facts: dict[str, object], field: str, words: str
) -> None:
    problems = world.session.guest_problems(replace(world.session.wish_of(WEB), **facts), WEB)  # type: ignore[arg-type]
    assert list(problems) == [field] and words in problems[field]


async def test_a_cd_comes_and_goes(world: World) -> None:
    assert (await world.apply(edit(world, boot=BootChoice.ISO, iso="install.iso"))).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["web"]
    assert list(guest.disks) == ["boot", "install"] and guest.boot == ("disk:boot", "disk:install")
    assert (await world.apply(edit(world, iso="/srv/other.iso"))).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["web"]
    assert guest.disks["install"].source.value == "/srv/other.iso" and len(guest.disks) == 2
    assert (await world.apply(edit(world, boot=BootChoice.EMPTY))).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["web"]
    assert list(guest.disks) == ["boot"] and guest.boot == ("disk:boot",)
    assert guest.disks["boot"].source.value == "debian-13.qcow2"


async def test_a_guest_without_a_disk_can_be_given_one(world: World) -> None:
    await world.create(boot=BootChoice.PXE, disk="")
    plan = edit(world, key=NEW, disk="30 GiB")
    assert [type(step.verb) for step in plan.steps] == [CreateVolume, Define]
    assert (await world.apply(plan)).ok
    guest = world.session.store.fleet.hosts["vhost-a"].guests["new"]
    assert guest.boot == ("nic:lan", "disk:boot")


async def test_a_hand_edit_of_another_guest_between_plan_and_apply_is_kept(world: World) -> None:
    await world.create()
    plan = edit(world, memory="8 GiB")
    world.edit("hosts/vhost-a.toml", 'memory = "2 GiB"', 'memory = "3 GiB"   # by hand')
    world.edit("hosts/vhost-a.toml", "# Serves the shop.", "# Serves the shop, and the bakery.")
    assert (await world.apply(plan)).ok
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert 'memory = "3 GiB"   # by hand' in text and "the bakery" in text and 'memory = "8 GiB"' in text


async def test_a_hand_edit_of_the_same_guest_between_plan_and_apply_is_refused_aloud(world: World) -> None:
    plan = edit(world, memory="8 GiB")
    world.edit("hosts/vhost-a.toml", 'memory = "4 GiB"', 'memory = "6 GiB"')
    files = world.files()
    with pytest.raises(FleetError) as caught:
        await world.apply(plan)
    assert "vhost-a/web was changed since" in str(caught.value) and caught.value.hint
    assert world.files() == files and world.fake.verbs == []


async def test_a_file_that_was_broken_between_plan_and_apply_is_left_alone(world: World) -> None:
    plan = edit(world, memory="8 GiB")
    world.edit("hosts/vhost-a.toml", "vcpus = 2", "vcpus = ")
    files = world.files()
    with pytest.raises(FleetError, match="1 mistake"):
        await world.apply(plan)
    assert world.files() == files and world.fake.verbs == []


async def test_removing_keeps_the_disks_and_says_so(world: World) -> None:
    await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))
    plan = world.session.plan_remove(WEB)
    assert [type(step.verb) for step in plan.steps] == [Undefine]
    assert plan.warnings == ("web-boot.qcow2 stays on vhost-a.",)
    assert plan.danger is Danger.CONFIRM
    assert (await world.apply(plan)).ok
    assert "web-boot.qcow2" in world.host.pools["default"]
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert "web" not in text and "Serves" not in text and "# The first one we bought." in text
    assert world.host.guests == {}


async def test_named_disks_are_deleted_after_the_name_was_typed(world: World) -> None:
    await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))
    plan = world.session.plan_remove(WEB, delete_disks=frozenset({"boot"}))
    assert [type(step.verb) for step in plan.steps] == [Undefine, DeleteVolume]
    assert plan.danger is Danger.TYPE_NAME and plan.confirm_word == "web" and plan.warnings == ()
    assert (await world.apply(plan)).ok
    assert "web-boot.qcow2" not in world.host.pools["default"]


async def test_a_removal_that_fails_is_taken_back(world: World) -> None:
    await world.apply(world.session.plan_autostart([WEB], True))
    await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))
    files, listings = world.files(), world.listings()
    steps = len(world.session.plan_remove(WEB, delete_disks=frozenset({"boot"})).steps)
    for step in range(1, steps + 1):
        world.fake.fail_at = {len(world.fake.verbs) + step}
        outcome = await world.apply(world.session.plan_remove(WEB, delete_disks=frozenset({"boot"})))
        assert not outcome.ok
        assert world.files() == files and world.listings() == listings
    world.fake.fail_at = ()
    assert (await world.apply(world.session.plan_remove(WEB, delete_disks=frozenset({"boot"})))).ok


@pytest.mark.parametrize("state", [GuestState.RUNNING, GuestState.PAUSED])
async def test_a_running_guest_is_not_removed(world: World, state: GuestState) -> None:
    world.host.named("web").state = state
    await world.see()
    with pytest.raises(FleetError) as caught:
        world.session.plan_remove(WEB)
    assert str(caught.value).startswith("vhost-a/web was not removed.")
    assert f"It is {state.value}" in caught.value.detail and "force it off" in caught.value.hint


async def test_a_disk_that_it_does_not_have_is_refused(world: World) -> None:
    with pytest.raises(FleetError) as caught:
        world.session.plan_remove(WEB, delete_disks=frozenset({"data"}))
    assert "vhost-a/web has no disk data." in str(caught.value) and "boot" in caught.value.detail


async def test_a_pending_guest_is_only_taken_out_of_the_inventory(world: World) -> None:
    world.host.up = False
    await world.see()
    await world.create()
    with pytest.raises(FleetError, match="was not removed"):
        world.session.plan_remove(NEW, delete_disks=frozenset({"boot"}))
    assert world.session.plan_remove(NEW).steps == ()
    world.host.up = True
    await world.see()
    plan = world.session.plan_remove(NEW, delete_disks=frozenset({"boot"}))
    assert plan.steps == (), "there is no volume yet that could be deleted"
    assert (await world.apply(plan)).ok
    assert "guests.new" not in (world.folder / "hosts/vhost-a.toml").read_text()


async def test_a_host_that_never_answered_may_have_the_disk(world: World) -> None:
    world.fake.hosts["vhost-b"].up = False
    world.fake.hosts["vhost-b"].seen = False
    world.session.store.set_observed({"vhost-b": world.fake.hosts["vhost-b"].observation()})
    await world.create(host="vhost-b")
    with pytest.raises(FleetError, match="was not removed"):
        world.session.plan_remove(GuestKey("vhost-b", "new"), delete_disks=frozenset({"boot"}))


async def test_a_defined_guest_of_a_host_that_is_down_is_not_removed(world: World) -> None:
    world.host.up = False
    await world.see()
    with pytest.raises(FleetError) as caught:
        world.session.plan_remove(WEB)
    assert "vhost-a is not up" in caught.value.detail and "when the host is back" in caught.value.hint


async def test_the_last_guest_and_the_last_host_can_go(world: World) -> None:
    await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))
    with pytest.raises(FleetError, match="vhost-a was not removed"):
        world.session.plan_remove_host("vhost-a")
    await world.apply(world.session.plan_remove(WEB))
    for name in ("vhost-a", "vhost-b"):
        assert (await world.apply(world.session.plan_remove_host(name))).ok
    assert sorted(world.files()) == ["fleet.toml"]
    assert world.session.store.hosts() == []
    assert world.session.plan_fleet().is_empty


async def test_an_unmanaged_guest_is_neither_edited_nor_removed(world: World) -> None:
    stranger = FakeGuest(STRANGER)
    world.host.guests[stranger.uuid] = stranger
    await world.see()
    key = GuestKey("vhost-a", "stranger")
    for attempt in (
        lambda: world.session.wish_of(key),
        lambda: world.session.plan_edit(key, wish(name="stranger"), ApplyMode.LIVE),
        lambda: world.session.plan_remove(key),
        lambda: world.session.plan_autostart([key], True),
        lambda: world.session.plan_fleet(guest=key),
    ):
        with pytest.raises(FleetError, match="unmanaged"):
            attempt()
    assert world.session.plan_fleet().is_empty


async def test_a_restart_of_a_guest_whose_card_was_swapped_is_refused_whole(world: World) -> None:
    from tests.fakes import with_functions_swapped
    from tests.services.world import RTX

    await world.create(gpu=RTX, start=True)
    with_functions_swapped(world.host, RTX, "10de:2684")
    await world.see()
    plan = edit(world, ApplyMode.RESTART, key=NEW, memory="3 GiB")
    assert plan.is_empty and "cannot be started again" in plan.refusals[0]


async def test_two_edits_at_once_of_one_guest_do_not_mix(world: World) -> None:
    plans = [edit(world, memory="8 GiB"), edit(world, vcpus="4")]
    results = await asyncio.gather(*(world.apply(plan) for plan in plans), return_exceptions=True)
    assert sum(isinstance(result, FleetError) for result in results) == 1
    guest = world.session.store.fleet.hosts["vhost-a"].guests["web"]
    assert (guest.memory_kib, guest.vcpus) in ((8 * 1024**2, 2), (4 * 1024**2, 4))
    assert world.session.store.guest(WEB).standing is Standing.IN_SYNC


async def test_an_autostart_that_the_host_lost_is_put_back(world: World) -> None:
    await world.apply(world.session.plan_autostart([WEB], True))
    world.host.named("web").autostart = False
    await world.see()
    assert world.session.store.guest(WEB).standing is Standing.CHANGED
    assert [type(v) for v in await world.verbs_of(world.session.plan_fleet)] == [SetAutostart]


async def test_a_guest_that_cannot_be_defined_is_refused_in_its_plan_alone(world: World) -> None:
    """The files are checked before it comes to this; what slips through must not cost the others theirs."""
    await world.see()
    store = world.session.store
    web = store.fleet.hosts["vhost-a"].guests["web"]
    bad = replace(web, boot=("disk:none",))
    other = replace(web, name="other", uuid="03dd873c-3bb7-4a79-b514-052cbd8e0b40", disks={}, nics={}, boot=())
    host = replace(store.fleet.hosts["vhost-a"], guests={"web": bad, "other": other})
    hosts = {**store.fleet.hosts, "vhost-a": host}
    store.set_inventory(replace(store.inventory, fleet=replace(store.fleet, hosts=hosts)))
    why = "web cannot be defined. It is to boot from disk:none, which it does not have."
    assert store.guest(WEB).fault == why
    plan = world.session.plan_fleet()
    assert plan.refusals == (f"vhost-a/web: {why}",)
    assert [step.guest.guest for step in plan.steps if step.guest] == ["other"]
