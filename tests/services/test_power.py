"""Switching guests: what each action does in each state, and that doing it twice does nothing."""

from __future__ import annotations

import pytest

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import Danger
from console.domain.standing import Standing
from console.domain.verbs import Define, ForceOff, Reboot, Reset, Resume, SetAutostart, Shutdown, Start, Suspend, Verb
from console.services.wishes import PowerAction
from tests.fakes import FakeGuest
from tests.services.test_passthrough import STRANGER
from tests.services.world import NEW, WEB, World

VERBS: dict[PowerAction, type[Verb]] = {
    PowerAction.START: Start,
    PowerAction.SHUTDOWN: Shutdown,
    PowerAction.FORCE_OFF: ForceOff,
    PowerAction.REBOOT: Reboot,
    PowerAction.RESET: Reset,
    PowerAction.SUSPEND: Suspend,
    PowerAction.RESUME: Resume,
}

# d: it is done, -: nothing is left to do, r: refused with the reason.
TABLE = {
    #                         start, shutdown, force-off, reboot, reset, suspend, resume
    GuestState.RUNNING:       "- d d d d d -",
    GuestState.OFF:           "d - - r r r r",
    GuestState.PAUSED:        "r r d r d - d",
    GuestState.SHUTTING_DOWN: "r d d r d r r",
    GuestState.CRASHED:       "d r d r r r r",
    GuestState.SUSPENDED:     "r r d r d r r",
    GuestState.UNKNOWN:       "r r d r r r r",
}  # fmt: skip


@pytest.mark.parametrize("state", TABLE, ids=lambda state: state.value)
async def test_each_action_in_each_state(world: World, state: GuestState) -> None:
    guest = world.host.named("web")
    for action, expected in zip(PowerAction, TABLE[state].split(), strict=True):
        guest.state = state
        guest.active_xml = None if state in (GuestState.OFF, GuestState.CRASHED) else guest.xml
        await world.see()
        plan = world.session.plan_power([WEB], action)
        found = "r" if plan.refusals else "d" if plan.steps else "-"
        assert found == expected, (state, action)
        if found == "d":
            (step,) = plan.steps
            assert isinstance(step.verb, VERBS[action])
        if found == "r":
            (said,) = plan.refusals
            assert said.startswith(f"vhost-a/web is {state.value}.")
            assert not (await world.apply(plan)).ok


async def test_doing_it_twice_does_nothing(world: World) -> None:
    for action in (PowerAction.SHUTDOWN, PowerAction.START, PowerAction.SUSPEND, PowerAction.RESUME):
        outcome = await world.apply(world.session.plan_power([WEB], action))
        assert outcome.ok, outcome
        again = world.session.plan_power([WEB], action)
        assert again.is_empty and not again.refusals
        outcome = await world.apply(again)
        assert outcome.ok and "nothing to do" in outcome.sentence


async def test_one_name_given_twice_is_one_guest(world: World) -> None:
    plan = world.session.plan_power([WEB, WEB], PowerAction.REBOOT)
    assert len(plan.steps) == 1 and plan.title == "Reboot vhost-a/web"


async def test_a_shutdown_waits_until_the_guest_is_off(world: World) -> None:
    (step,) = world.session.plan_power([WEB], PowerAction.SHUTDOWN).steps
    assert step.wait_for is GuestState.OFF and step.wait_s >= 60
    assert (await world.apply(world.session.plan_power([WEB], PowerAction.SHUTDOWN))).ok
    assert world.session.store.guest(WEB).state is GuestState.OFF


async def test_a_guest_that_goes_off_by_itself_meanwhile_counts_as_shut_down(world: World) -> None:
    plan = world.session.plan_power([WEB], PowerAction.SHUTDOWN)
    guest = world.host.named("web")
    guest.state, guest.active_xml = GuestState.OFF, None
    outcome = await world.apply(plan)
    assert outcome.ok, outcome


async def test_pending_guests_are_made_first(world: World) -> None:
    world.host.up = False
    await world.see()
    await world.create(autostart=True)
    world.host.up = True
    await world.see()
    plan = world.session.plan_power([NEW], PowerAction.START)
    assert [type(step.verb).__name__ for step in plan.steps] == ["CreateVolume", "Define", "SetAutostart", "Start"]
    assert (await world.apply(plan)).ok
    view = world.session.store.guest(NEW)
    assert (view.state, view.standing) == (GuestState.RUNNING, Standing.IN_SYNC)


async def test_a_pending_guest_that_cannot_be_made_leaves_nothing(world: World) -> None:
    world.host.up = False
    await world.see()
    await world.create()
    world.host.up = True
    await world.see()
    before = world.listings()
    world.fake.fail_at = {2}
    outcome = await world.apply(world.session.plan_power([NEW], PowerAction.START))
    assert not outcome.ok and outcome.undone
    assert world.listings() == before


@pytest.mark.parametrize("action", [action for action in PowerAction if action is not PowerAction.START])
async def test_a_pending_guest_can_only_be_started(world: World, action: PowerAction) -> None:
    world.host.up = False
    await world.see()
    await world.create()
    world.host.up = True
    await world.see()
    (said,) = world.session.plan_power([NEW], action).refusals
    assert "vhost-a/new is pending" in said and "tart" in said


async def test_several_guests_are_switched_and_those_that_cannot_are_named(world: World) -> None:
    await world.create()
    await world.create(name="third")
    third = GuestKey("vhost-a", "third")
    paused = world.host.named("third")
    await world.apply(world.session.plan_power([third], PowerAction.START))
    paused.state = GuestState.PAUSED
    await world.see()
    plan = world.session.plan_power([WEB, NEW, third], PowerAction.START)
    assert plan.title == "Start 1 of 3 guests" and plan.warnings == ("Already running: vhost-a/web",)
    assert [step.guest for step in plan.steps] == [NEW]
    assert plan.refusals == ("vhost-a/third is paused. start needs it crashed or off. Resume it instead.",)
    outcome = await world.apply(plan)
    assert not outcome.ok and "in part" in outcome.sentence
    assert world.session.store.guest(NEW).state is GuestState.RUNNING


async def test_one_that_fails_does_not_stop_the_others(world: World) -> None:
    await world.create()
    await world.create(name="third")
    third = GuestKey("vhost-a", "third")
    world.fake.fail_at = {len(world.fake.verbs) + 1}
    outcome = await world.apply(world.session.plan_power([NEW, third], PowerAction.START))
    assert not outcome.ok
    assert len(outcome.failures) == 1 and "start new on vhost-a" in outcome.failures[0][0]
    assert world.session.store.guest(third).state is GuestState.RUNNING


async def test_a_host_that_is_down_is_named(world: World) -> None:
    world.host.up = False
    await world.see()
    (said,) = world.session.plan_power([WEB], PowerAction.REBOOT).refusals
    assert said == "vhost-a is not up. vhost-a does not answer. vhost-a/web was not touched."


@pytest.mark.parametrize("action", PowerAction)
async def test_an_unmanaged_guest_is_never_touched(world: World, action: PowerAction) -> None:
    stranger = FakeGuest(STRANGER)
    world.host.guests[stranger.uuid] = stranger
    await world.see()
    plan = world.session.plan_power([GuestKey("vhost-a", "stranger")], action)
    assert plan.steps == ()
    (said,) = plan.refusals
    assert "unmanaged" in said and stranger.uuid in said and "hosts/vhost-a.toml" in said


async def test_what_hurts_asks_first(world: World) -> None:
    danger = {action: world.session.plan_power([WEB], action).danger for action in PowerAction}
    assert danger[PowerAction.FORCE_OFF] is danger[PowerAction.RESET] is Danger.CONFIRM
    assert danger[PowerAction.SUSPEND] is danger[PowerAction.START] is Danger.NONE
    assert world.session.plan_power([WEB], PowerAction.FORCE_OFF).confirm_word == "web"


async def test_autostart_is_written_down_and_switched(world: World) -> None:
    assert await world.verbs_of(lambda: world.session.plan_autostart([WEB], True)) == [
        SetAutostart(uuid="03dd873c-3bb7-4a79-b514-052cbd8e0b3f", on=True)
    ]
    assert "autostart = true" in (world.folder / "hosts/vhost-a.toml").read_text()
    assert world.session.plan_autostart([WEB], True).is_empty
    assert world.session.store.guest(WEB).standing is Standing.IN_SYNC


async def test_autostart_that_fails_is_taken_back(world: World) -> None:
    files = world.files()
    world.fake.fail_at = {1}
    assert not (await world.apply(world.session.plan_autostart([WEB], True))).ok
    assert world.files() == files


async def test_autostart_of_a_guest_that_left_the_inventory_meanwhile_is_refused(world: World) -> None:
    plan = world.session.plan_autostart([WEB], True)
    (world.folder / "hosts/vhost-a.toml").write_text(
        (world.folder / "hosts/vhost-b.toml").read_text().replace("0b", "0a").replace(".12/", ".11/")
    )
    with pytest.raises(FleetError) as caught:
        await world.apply(plan)
    assert "vhost-a/web" in str(caught.value)
    assert world.fake.verbs == []


async def test_autostart_on_a_host_that_is_down_is_pending(world: World) -> None:
    world.host.up = False
    await world.see()
    plan = world.session.plan_autostart([WEB], True)
    outcome = await world.apply(plan)
    assert outcome.ok and outcome.pending == (WEB,) and world.fake.verbs == []
    world.host.up = True
    await world.see()
    assert [type(v) for v in await world.verbs_of(world.session.plan_fleet)] == [SetAutostart]


async def test_no_plan_defines_what_is_in_sync(world: World) -> None:
    for action in (PowerAction.SHUTDOWN, PowerAction.START):
        assert not any(
            isinstance(verb, Define)
            for verb in await world.verbs_of(lambda a=action: world.session.plan_power([WEB], a))
        )  # type: ignore[misc]


async def test_what_is_done_to_several_asks_and_what_hurts_asks_for_their_number(world: World) -> None:
    await world.create(start=True)
    await world.create(name="third")
    keys = [WEB, NEW, GuestKey("vhost-a", "third")]
    plan = world.session.plan_power(keys, PowerAction.FORCE_OFF)
    assert (plan.danger, plan.confirm_word, len(plan.steps)) == (Danger.TYPE_NAME, "2", 2)
    assert world.session.plan_power(keys, PowerAction.START).danger is Danger.CONFIRM
    assert world.session.plan_power(keys[:2], PowerAction.RESET).confirm_word == "2"


async def test_autostart_of_several_is_one_change_that_stays_where_one_fails(world: World) -> None:
    await world.create()
    stranger = FakeGuest(STRANGER)
    world.host.guests[stranger.uuid] = stranger
    await world.see()
    world.fake.fail_at = {len(world.fake.verbs) + 1}
    plan = world.session.plan_autostart([WEB, NEW, GuestKey("vhost-a", "stranger")], True)
    assert len(plan.refusals) == 1 and "unmanaged" in plan.refusals[0]
    outcome = await world.apply(plan)
    assert not outcome.ok and len(outcome.failures) == 2
    assert (world.folder / "hosts/vhost-a.toml").read_text().count("autostart = true") == 2
    standings = {key: world.session.store.guest(key).standing for key in (WEB, NEW)}
    assert standings == {WEB: Standing.CHANGED, NEW: Standing.IN_SYNC}
