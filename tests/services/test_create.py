"""Creating a guest: what the plan says, that it is done, and that a failure leaves nothing half-made."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from console.domain.errors import FleetError
from console.domain.model import Accel
from console.domain.observed import GuestState
from console.domain.standing import Standing
from console.domain.verbs import CreateVolume, Define, DeleteVolume, ForceOff, SetAutostart, Start, Undefine
from console.services.wishes import BootChoice
from tests.fakes import GIB, FakeRepository
from tests.services.world import NEW, World, wish


def steps(world: World, *, start: bool = False, **facts: object) -> list[str]:
    plan = world.session.plan_create(wish(**facts), start=start)
    assert all(step.host == "vhost-a" and step.guest == NEW for step in plan.steps)
    return [step.sentence for step in plan.steps]


async def test_an_overlay_of_an_image(world: World) -> None:
    said = steps(world, start=True, autostart=True)
    assert said == [
        "create new-boot.qcow2 in pool default from debian-13.qcow2 (overlay)",
        "define new",
        "start new with its host",
        "start new",
    ]
    (volume, *_) = world.session.plan_create(wish(), start=False).steps
    assert volume.verb == CreateVolume(
        pool="default", name="new-boot.qcow2", capacity_bytes=20 * GIB, backing="debian-13.qcow2"
    )


async def test_a_copy_of_an_image_may_take_long(world: World) -> None:
    (volume, *_) = world.session.plan_create(wish(image_mode="copy"), start=False).steps
    assert isinstance(volume.verb, CreateVolume)
    assert (volume.verb.copy_of, volume.verb.backing) == ("debian-13.qcow2", None)
    assert volume.timeout_s >= 3600
    assert steps(world, image_mode="copy")[0] == "create new-boot.qcow2 in pool default from debian-13.qcow2 (copy)"


@pytest.mark.parametrize(
    ("facts", "boot", "volumes"),
    [
        ({"boot": BootChoice.IMAGE}, ("disk:boot",), 1),
        ({"boot": BootChoice.EMPTY}, ("disk:boot",), 1),
        ({"boot": BootChoice.ISO, "iso": "install.iso"}, ("disk:boot", "disk:install"), 1),
        ({"boot": BootChoice.ISO, "iso": "/srv/iso/x.iso", "disk": ""}, ("disk:install",), 0),
        ({"boot": BootChoice.PXE}, ("nic:lan", "disk:boot"), 1),
        ({"boot": BootChoice.PXE, "disk": ""}, ("nic:lan",), 0),
        ({"boot": BootChoice.KERNEL, "kernel": "/boot/k", "initrd": "/boot/i", "cmdline": "a=b"}, ("disk:boot",), 1),
        ({"boot": BootChoice.KERNEL, "kernel": "/boot/k", "disk": "", "network": "none"}, (), 0),
    ],
)
async def test_every_boot_source_ends_in_a_guest_in_sync(
    world: World, facts: dict[str, object], boot: tuple[str, ...], volumes: int
) -> None:
    outcome = await world.create(start=True, **facts)
    assert outcome.ok, outcome
    view = world.session.store.guest(NEW)
    assert (view.standing, view.state) == (Standing.IN_SYNC, GuestState.RUNNING)
    assert view.wanted is not None and view.wanted.boot == boot
    assert sum(isinstance(verb, CreateVolume) for _, verb in world.fake.done) == volumes
    assert world.session.plan_fleet().is_empty


async def test_an_empty_disk_is_said_aloud(world: World) -> None:
    plan = world.session.plan_create(wish(boot=BootChoice.EMPTY), start=True)
    assert "nothing will boot" in " ".join(plan.warnings)
    assert plan.steps[0].sentence == "create new-boot.qcow2 in pool default, empty"


async def test_a_pool_and_a_network_that_only_the_host_knew_are_written_down(world: World) -> None:
    world.host.networks = (*world.host.networks, replace(world.host.networks[0], name="lab", bridge="br20"))
    await world.see()
    assert (await world.create(pool="fast", network="lab", boot=BootChoice.EMPTY)).ok
    text = (world.folder / "fleet.toml").read_text()
    assert '[pools.fast]\npath = "/srv/fast"' in text and '[networks.lab]\nbridge = "br20"' in text
    assert "# the switch in rack 1" in text and "# marks our domains" in text


async def test_one_commit_with_the_generated_files_and_comments_intact(world: World) -> None:
    before = (world.folder / "hosts/vhost-a.toml").read_text()
    commits = len(world.repository.commits)  # type: ignore[attr-defined]
    outcome = await world.create()
    ((message, files),) = world.repository.commits[commits:]  # type: ignore[attr-defined]
    assert message == "Create vhost-a/new"
    assert set(files) == {"hosts/vhost-a.toml", "generated/vhost-a.nix"}
    assert outcome.commit
    after = (world.folder / "hosts/vhost-a.toml").read_text()
    assert all(line in after.splitlines() for line in before.splitlines())
    assert "[guests.new]" in after


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("known", [True, False])
async def test_made_to_fail_at_each_step_everything_is_as_it_was(world: World, step: int, known: bool) -> None:
    """Not known: the create is also what writes down how the host runs guests, and that is taken back too."""
    if not known:
        world.edit("hosts/vhost-b.toml", 'accel = "kvm"\n', "")
        await world.session.reread()
    plan = world.session.plan_create(wish(host="vhost-b", autostart=True), start=True)
    assert len(plan.steps) == 4
    files, listings = world.files(), world.listings()
    commits = len(world.repository.commits)  # type: ignore[attr-defined]
    world.fake.fail_at = {step}
    outcome = await world.apply(plan)
    assert not outcome.ok
    assert world.listings() == listings
    assert world.files() == files
    assert len(world.repository.commits) - commits in (0, 2)  # type: ignore[attr-defined]
    ((what, why),) = outcome.failures
    assert "on vhost-b" in what and "It was told to." in why
    undone = " · ".join(outcome.undone)
    assert ("delete new-boot.qcow2" in undone) is (step > 1)
    assert ("undefine new" in undone) is (step > 2)
    assert "the inventory is as it was" in undone
    assert outcome.left == ()
    assert "failed" in outcome.sentence
    world.fake.fail_at = ()
    assert (await world.create(host="vhost-b", start=True, autostart=True)).ok


async def test_what_cannot_be_undone_is_named(world: World) -> None:
    world.fake.fail_at = {2, 3}
    outcome = await world.create()
    assert [verb for _, verb in world.fake.verbs][-1] == DeleteVolume(pool="default", name="new-boot.qcow2")
    assert any("new-boot.qcow2" in left and "vhost-a" in left for left in outcome.left)


async def test_a_hand_edit_of_the_new_guest_survives_the_undo(world: World) -> None:
    world.fake.fail_at = {1}
    world.fake.gate.clear()
    running = asyncio.create_task(world.create())
    await world.fake.started.wait()
    world.edit("hosts/vhost-a.toml", 'memory = "2 GiB"', 'memory = "3 GiB"   # by hand')
    world.fake.gate.set()
    outcome = await running
    assert not outcome.ok
    assert "# by hand" in (world.folder / "hosts/vhost-a.toml").read_text()
    assert any("vhost-a/new" in left for left in outcome.left)


async def test_a_hand_edit_elsewhere_survives_the_undo(world: World) -> None:
    world.fake.fail_at = {1}
    world.fake.gate.clear()
    running = asyncio.create_task(world.create())
    await world.fake.started.wait()
    world.edit("hosts/vhost-a.toml", 'memory = "4 GiB"', 'memory = "5 GiB"   # by hand')
    world.edit("fleet.toml", "rack 1", "rack 7")
    world.fake.gate.set()
    outcome = await running
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert "# by hand" in text and "guests.new" not in text
    assert "rack 7" in (world.folder / "fleet.toml").read_text()
    assert "the inventory is as it was" not in outcome.undone
    assert any("inventory" in undone for undone in outcome.undone)
    assert outcome.left == ()


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_host_that_is_lost_in_the_middle_keeps_the_guest_wanted(world: World, step: int) -> None:
    world.fake.lost_at = len(world.fake.verbs) + step
    outcome = await world.create(start=True)
    assert not outcome.ok
    assert "[guests.new]" in (world.folder / "hosts/vhost-a.toml").read_text()
    assert len(outcome.left) >= step - 1
    if step > 1:
        assert any("new-boot.qcow2" in left for left in outcome.left)
    assert outcome.pending == (NEW,)
    said = " ".join([outcome.sentence, *(why for _, why in outcome.failures), *outcome.left])
    assert "pending" in said and "vhost-a" in said
    world.fake.lost_at = None
    world.host.up = True
    await world.see()
    assert (await world.apply(world.session.plan_fleet(guest=NEW))).ok
    assert world.session.store.guest(NEW).standing is Standing.IN_SYNC


async def test_a_host_that_is_down_has_its_guest_written_and_pending(world: World) -> None:
    world.host.up = False
    await world.see()
    plan = world.session.plan_create(wish(), start=True)
    assert plan.steps == () and plan.pending == (NEW,)
    assert any("vhost-a is not up" in warning for warning in plan.warnings)
    assert any("start" in warning for warning in plan.warnings), "that it is not started later either must be said"
    outcome = await world.apply(plan)
    assert outcome.ok and "pending: apply again once vhost-a is up" in outcome.sentence
    assert world.fake.verbs == []
    assert "[guests.new]" in (world.folder / "hosts/vhost-a.toml").read_text()
    world.host.up = True
    await world.see()
    assert world.session.store.guest(NEW).standing is Standing.PENDING
    assert (await world.apply(world.session.plan_fleet())).ok
    assert world.session.store.guest(NEW).standing is Standing.IN_SYNC


async def test_a_host_without_hardware_virtualisation_is_found_out_when_it_answers(world: World) -> None:
    """Written while the host was down, nobody knew how it runs guests; the definition must not say kvm then."""
    world.edit("hosts/vhost-b.toml", 'accel = "kvm"\n', "")
    world.fake.hosts["vhost-b"].up = False
    world.fake.hosts["vhost-b"].accel = Accel.TCG
    await world.session.reread()
    await world.see()
    assert (await world.create(host="vhost-b")).ok
    world.fake.hosts["vhost-b"].up = True
    await world.see()
    assert (await world.apply(world.session.plan_fleet(host="vhost-b"))).ok
    (guest,) = world.fake.hosts["vhost-b"].guests.values()
    assert 'type="qemu"' in guest.xml.splitlines()[0]
    assert 'accel = "tcg"' in (world.folder / "hosts/vhost-b.toml").read_text()
    assert world.session.plan_fleet(host="vhost-b").is_empty


async def test_applying_again_asks_for_nothing(world: World) -> None:
    await world.create(start=True, autostart=True)
    assert await world.verbs_of(world.session.plan_fleet) == []
    assert await world.verbs_of(lambda: world.session.plan_fleet(guest=NEW)) == []
    assert await world.verbs_of(lambda: world.session.plan_fleet(host="vhost-a")) == []


async def test_the_same_name_twice_is_refused(world: World) -> None:
    await world.create()
    with pytest.raises(FleetError) as caught:
        world.session.plan_create(wish(), start=False)
    assert "name: vhost-a already has a guest named new. Choose another name." in str(caught.value)
    assert "new was not created." in str(caught.value)


async def test_two_creates_of_one_name_at_once_make_one_guest(world: World) -> None:
    plans = [world.session.plan_create(wish(), start=False) for _ in range(2)]
    ends = await asyncio.gather(*(world.apply(plan) for plan in plans), return_exceptions=True)
    first, second = sorted(ends, key=lambda end: isinstance(end, FleetError))
    assert not isinstance(first, BaseException) and first.ok
    assert isinstance(second, FleetError) and "vhost-a/new was added since" in str(second)
    assert sum(isinstance(verb, Define) for _, verb in world.fake.verbs) == 1


async def test_two_creates_of_one_address_at_once_are_refused_in_words(world: World) -> None:
    one, two = (world.session.plan_create(wish(name=name, address="10.0.0.77"), start=False) for name in ("one", "two"))
    assert (await world.apply(one)).ok
    files = world.files()
    with pytest.raises(FleetError) as caught:
        await world.apply(two)
    assert "10.0.0.77 already belongs to vhost-a/one" in str(caught.value)
    assert "Create vhost-a/two" in caught.value.title
    assert "Nothing was changed" in caught.value.hint
    assert "Mend" not in str(caught.value), "no file of the operator has a mistake"
    assert world.files() == files


async def test_a_volume_of_that_name_is_never_touched(world: World) -> None:
    world.host.pools["default"]["new-boot.qcow2"] = 5 * GIB
    await world.see()
    with pytest.raises(FleetError) as caught:
        world.session.plan_create(wish(), start=False)
    assert "new-boot.qcow2" in str(caught.value)


async def test_a_volume_that_appeared_meanwhile_is_not_deleted_by_the_undo(world: World) -> None:
    plan = world.session.plan_create(wish(), start=False)
    world.host.pools["default"]["new-boot.qcow2"] = 5 * GIB
    outcome = await world.apply(plan)
    assert not outcome.ok
    assert world.host.pools["default"]["new-boot.qcow2"] == 5 * GIB
    assert not any(isinstance(verb, DeleteVolume) for _, verb in world.fake.verbs)


async def test_every_step_that_makes_something_says_how_it_is_taken_back(world: World) -> None:
    for step in world.session.plan_create(wish(autostart=True), start=True).steps:
        expected = {CreateVolume: DeleteVolume, Define: Undefine, SetAutostart: SetAutostart, Start: ForceOff}
        assert isinstance(step.undo, expected[type(step.verb)])
        assert step.undo_sentence


async def test_a_change_that_git_refuses_is_made_and_said(world: World) -> None:
    assert isinstance(world.repository, FakeRepository)
    world.repository.refusal = FleetError("git commit failed.", "no space left")
    outcome = await world.create()
    assert outcome.ok and outcome.commit is None
    assert any("not committed" in left and "no space left" in left for left in outcome.left)
    assert world.session.store.guest(NEW).standing is Standing.IN_SYNC


async def test_progress_and_journal_tell_every_step(world: World) -> None:
    outcome = await world.create(start=True)
    states = [(p.index, p.state.value) for p in world.progress]
    assert states == [(i, s) for i in (-1, 0, 1, 2) for s in ("running", "done")]
    assert outcome.job
