"""The guest form: a guest is made and changed by keyboard alone; what is wrong is said, nothing typed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState, HostNetwork
from console.domain.plan import Outcome
from console.domain.standing import Standing
from console.domain.verbs import Define, Shutdown, Start
from screens.apply import ApplyScreen
from screens.choice import Choice
from screens.confirm import Confirm
from screens.create_guest import REVIEW, CreateGuest
from screens.diff import DiffScreen
from screens.widgets import KeysFooter, Notice
from tests.fakes import GIB, pci_card
from tests.screens.world import DEADLINE_S, World, changed, console, heard, line_of, make_world, shown, text

A4000 = pci_card(
    "0000:b3:00",
    ("10de:24b0", "10de:228b"),
    ("0x030000", "0x040300"),
    product="GA104GL [RTX A4000]",
    group=41,
    numa=1,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    world.host("vhost-a").pci += A4000
    pools = world.host("vhost-a").pools
    pools["default"] |= {"nixos.qcow2": 8 * GIB, "windows.iso": 6 * GIB, "trainer-boot.qcow2": 40 * GIB}
    pools["fast"] = {"fedora.qcow2": 5 * GIB}
    world.host("vhost-a").paths["fast"] = "/srv/fast"
    return world


async def opened(pilot: Pilot[None], form: CreateGuest) -> list[Outcome | None]:
    """Open a form; the list gets what it is dismissed with."""
    results: list[Outcome | None] = []
    await pilot.app.push_screen(form, results.append)
    await pilot.pause()
    return results


async def type_text(pilot: Pilot[None], letters: str) -> None:
    """Type letters as fast as they come."""
    for letter in letters:
        key = "space" if letter == " " else letter
        pilot.app.post_message(events.Key(key, letter))
    await pilot.pause()


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until something is true on the screen."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await pilot.pause()


def focused_key(form: CreateGuest) -> str:
    """The key of the field that has the keyboard."""
    field = form.focused_field
    return field.key if field is not None else ""


def keys(pilot: Pilot[None]) -> dict[str, str]:
    """The keys in the footer."""
    return dict(pilot.app.screen.query_one(KeysFooter).keys)


async def fill_in(pilot: Pilot[None], form: CreateGuest, name: str, gpu: str = "") -> None:
    """Fill the form in as far as the review: debian, on a free card if one is named."""
    await type_text(pilot, name)
    await pilot.press("pagedown", "tab", *"debian", "tab", "pagedown")
    if gpu:
        await pilot.press("shift+tab", *gpu, "tab")
    await pilot.press("ctrl+s")
    await until(pilot, lambda: form.page == REVIEW and form.plan is not None)


async def test_a_guest_with_a_card_is_made_and_started(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        results = await opened(pilot, form)
        await fill_in(pilot, form, "thinker", gpu="a4000")
        review = text(pilot)
        assert "RTX A4000 at b3:00, functions .0 .1, group 41, NUMA 1" in review
        assert "hosts/vhost-a.toml" in review and "define thinker" in review and "start thinker" in review
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        shown = text(pilot)
        assert "✔  vhost-a    start thinker" in shown and "any key" in shown
        await pilot.press("x")
        await until(pilot, lambda: bool(results))
        key = GuestKey("vhost-a", "thinker")
        await heard(world, lambda: world.session.store.guest(key).state is GuestState.RUNNING)
        outcome = results[0]
        assert outcome is not None and outcome.ok
        assert world.session.store.guest(key).standing is Standing.IN_SYNC
        assert any("thinker" in message for _, message in world.session.store.messages)
        written = (world.session.folder / "hosts/vhost-a.toml").read_text()
        assert 'pci = "0000:b3:00"' in written and 'image = "debian-13.qcow2"' in written


async def test_a_card_is_asked_for_by_the_name_of_a_resource(world: World) -> None:
    with (world.session.folder / "fleet.toml").open("a") as file:
        file.write('\n[resources.small]\nid = "10de:24b0"\n')
    await world.session.reread()
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await fill_in(pilot, form, "thinker", gpu="small")
        assert form.wish.gpu == "small"
        review = text(pilot)
        assert "gpu0: small is" in review and "0000:b3:00" in review


async def test_create_only_does_not_start(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        results = await opened(pilot, form)
        await fill_in(pilot, form, "idler")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        verbs = [verb for _, verb in world.hypervisors.done]
        assert any(isinstance(verb, Define) for verb in verbs)
        assert not any(isinstance(verb, Start) for verb in verbs)


async def test_a_taken_card_says_whose_it_is_and_cannot_be_chosen(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", "pagedown", "shift+tab", "space")
        shown = text(pilot)
        assert "GeForce RTX 3080  65:00  taken by vhost-a/trainer (running)" in shown
        assert "group 41  NUMA 1" in shown
        await pilot.press(*"3080", "enter")
        assert "✖ GeForce RTX 3080 cannot be chosen: taken by vhost-a/trainer (running)" in text(pilot)
        assert form.wish.gpu == ""
        await pilot.press("tab")
        assert focused_key(form) == "gpu", "leaving would have looked like choosing it"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, CreateGuest) and form.wish.gpu == ""


async def test_problems_show_beside_a_field_once_it_was_left(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        assert "✖" not in text(pilot)
        await type_text(pilot, "no good")
        assert "✖" not in text(pilot), "it is being typed"
        await pilot.press("tab")
        assert '✖ "no good" is not a name.' in text(pilot)
        await pilot.press("shift+tab", "end", *["backspace"] * 5)
        assert "✖" not in text(pilot), "mended while typing"


async def test_the_review_waits_and_jumps_to_the_first_bad_field(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await type_text(pilot, "fine")
        await pilot.press("tab", "tab", *"lots", "pagedown")
        await pilot.press("pagedown", "pagedown")
        await until(pilot, lambda: form.page == 0)
        assert focused_key(form) == "memory"
        assert '"lots" is not a size' in text(pilot)
        await pilot.press(*"4G", "ctrl+s")
        await until(pilot, lambda: form.page == 1)
        assert focused_key(form) == "image" and "is missing" in text(pilot)
        await pilot.press("enter")
        assert "nixos.qcow2" in text(pilot), "enter on a missing choice opens its list"


async def test_enter_walks_through_all_pages(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await type_text(pilot, "walker")
        seen = [focused_key(form)]
        for _ in range(40):
            await pilot.press("enter")
            if isinstance(pilot.app.focused, Choice) and pilot.app.focused.is_open:
                await pilot.press("enter")
            if form.page == REVIEW:
                break
            if focused_key(form) == "image" and not form.wish.image:
                await pilot.press(*"debian", "enter")
            if focused_key(form) != seen[-1]:
                seen.append(focused_key(form))
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert seen == [
            *("name", "vcpus", "memory", "profile", "firmware", "display", "autostart", "description"),
            *("boot", "image", "image_mode", "disk", "pool", "kind"),
            *("network", "address", "mac", "gpu"),
        ]


async def test_keys_that_come_in_a_burst_land_where_they_belong(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        burst = [*"quick", "enter", *"12", "tab", *"48G", "pagedown", "tab", *"nixos", "tab", "tab", *"33G", "pageup"]
        for key in burst:
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: form.page == 0 and form.wish.disk == "33G")
        wish = form.wish
        assert (wish.name, wish.vcpus, wish.memory, wish.image) == ("quick", "12", "48G", "nixos.qcow2")


async def test_what_is_typed_before_the_form_is_there_is_not_lost(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        pushed = pilot.app.push_screen(form)
        for key in (*"eager", "enter", "7", "pagedown"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pushed
        await until(pilot, lambda: form.page == 1 and form.focused_field is not None)
        assert (form.wish.name, form.wish.vcpus) == ("eager", "7")


async def test_windows_takes_uefi_along_and_gives_it_back(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("down", "down", "down")
        await until(pilot, lambda: focused_key(form) == "profile")
        await pilot.press("right")
        await until(pilot, lambda: form.wish.firmware == "uefi")
        await shown(pilot)
        assert "UEFI" in line_of(pilot, "firmware") and "chosen: Windows needs it" in text(pilot)
        await pilot.press("left")
        await until(pilot, lambda: (form.wish.profile, form.wish.firmware) == ("generic", "bios"))
        assert "SeaBIOS" in line_of(pilot, "firmware")
        await pilot.press("right", "down", "left")
        await until(pilot, lambda: (form.wish.profile, form.wish.firmware) == ("windows", "bios"))
        await pilot.press("right", "up", "left")
        await until(pilot, lambda: form.wish.profile == "generic")
        assert form.wish.firmware == "uefi", "chosen by hand it stays"


async def test_windows_in_a_burst_is_uefi_too(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        for key in ("down", "down", "down", "right", "pagedown"):
            pilot.app.post_message(events.Key(key, None))
        await until(pilot, lambda: form.page == 1)
        assert (form.wish.profile, form.wish.firmware) == ("windows", "uefi")


async def test_guests_disks_are_no_images(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", "tab", "space")
        lines = text(pilot).splitlines()
        assert any("nixos.qcow2" in line and "8 GiB" in line for line in lines)
        assert any("trainer-boot.qcow2" in line and "disk of vhost-a/trainer" in line for line in lines)
        assert "windows.iso" not in text(pilot)


async def test_another_pool_takes_its_images_along(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", "tab", *"debian", "tab", "shift+tab")
        assert form.wish.image == "debian-13.qcow2"
        await pilot.press("down", "down", "down")
        assert focused_key(form) == "pool"
        await pilot.press(*"fast", "tab", "tab")
        assert (form.wish.pool, form.wish.image) == ("fast", "")
        await pilot.press("down", "space")
        assert "fedora.qcow2" in text(pilot) and "debian-13.qcow2" not in text(pilot)


async def test_a_host_that_reports_while_a_choice_is_made_does_not_undo_it(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await type_text(pilot, "new")
        await pilot.press("pagedown")
        image = next(field for field in form.page_fields if field.key == "image").control
        assert isinstance(image, Choice)
        image.open()
        image.pick([row.value for row in image.rows].index("nixos.qcow2"))
        world.session.store.say("a host reported")
        await changed(pilot, world)
        assert (image.value, form.wish.image) == ("nixos.qcow2", "nixos.qcow2")


async def test_another_host_takes_its_cards_along(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session)
        await opened(pilot, form)
        await pilot.press(*"vhost-a", "tab", "pagedown", "pagedown", "shift+tab", *"a4000", "tab")
        assert form.wish.gpu == "0000:b3:00"
        await pilot.press("pageup", "pageup", *"vhost-b", "tab")
        assert (form.wish.host, form.wish.gpu) == ("vhost-b", "")


async def test_an_iso_may_be_a_volume_or_a_path(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", "right", "tab", "space")
        assert form.wish.boot == "iso" and "windows.iso" in text(pilot)
        await type_text(pilot, "/srv/iso/plan9.iso")
        assert "use this volume, or path on the host" in text(pilot)
        await pilot.press("enter")
        assert form.wish.iso == "/srv/iso/plan9.iso"


async def test_an_empty_disk_is_said_aloud(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", *"empty", "enter")
        assert form.wish.boot == "empty"
        assert "▲ The disk will be empty" in text(pilot)


async def test_a_silent_host_leaves_the_guest_pending(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-c")
        results = await opened(pilot, form)
        assert "▲ vhost-c is not up now (silent): the guest stays pending" in text(pilot)
        await fill_in(pilot, form, "patient")
        assert "vhost-c/patient stays pending: vhost-c is not up" in text(pilot)
        assert keys(pilot)["enter"] == "write it down, pending" and "s" not in keys(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        assert world.session.store.guest(GuestKey("vhost-c", "patient")).standing is Standing.PENDING
        assert not world.hypervisors.verbs


async def test_a_host_that_never_reported_is_typed_on_trust(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-d")
        await opened(pilot, form)
        assert "vhost-d has never reported" in text(pilot)
        await type_text(pilot, "blind")
        await pilot.press("pagedown", "tab")
        assert isinstance(pilot.app.focused, Input), "nothing is known to choose from"
        await pilot.press(*"debian-13.qcow2", "ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert "blind stays pending" in text(pilot)


async def test_what_failed_is_taken_back_and_the_form_stays_filled(world: World) -> None:
    async with console(world) as pilot:
        before = world.host("vhost-a").listings()
        world.hypervisors.fail_at = {3}
        form = CreateGuest(world.session, host="vhost-a")
        results = await opened(pilot, form)
        await fill_in(pilot, form, "unlucky")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        shown = text(pilot)
        assert "✖" in shown and "verb 3 was refused" in shown and "taken back" in shown
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is form)
        assert not results and form.wish.name == "unlucky" and form.wish.image == "debian-13.qcow2"
        assert world.host("vhost-a").listings() == before
        await until(pilot, lambda: form.plan is not None and "verb 3 was refused" in text(pilot))
        await pilot.press("end", "home")
        assert "verb 3 was refused" in text(pilot), "it is no notice that a key takes down"
        await pilot.press("b", "pageup", "pageup")
        await until(pilot, lambda: form.page == 0)
        assert "unlucky" in text(pilot)
        world.hypervisors.fail_at = ()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))


async def test_what_became_wrong_meanwhile_is_marked(world: World) -> None:
    async with console(world) as pilot:
        world.hypervisors.fail_at = {1}
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await fill_in(pilot, form, "twin")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        file = world.session.folder / "hosts/vhost-a.toml"
        file.write_text(file.read_text().replace("web-10", "twin"))
        await world.session.reread()
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is form and form.plan is None and "name" in form.touched)
        await until(pilot, lambda: "already" in text(pilot))
        await pilot.press("b", "pageup", "pageup")
        await until(pilot, lambda: form.page == 0)
        assert next(field for field in form.page_fields if field.key == "name").shown_problem


async def test_an_apply_can_be_left_running(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        results = await opened(pilot, form)
        await fill_in(pilot, form, "slow")
        world.hypervisors.gate.clear()
        await pilot.press("enter")
        await world.hypervisors.started.wait()
        await until(pilot, lambda: "↻" in text(pilot))
        assert "↻  vhost-a" in text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: bool(results))
        assert results == [None]
        world.hypervisors.gate.set()
        await heard(
            world,
            lambda: any(message.startswith("✔") and "slow" in message for _, message in world.session.store.messages),
        )
        assert world.session.store.guest(GuestKey("vhost-a", "slow")).state is GuestState.RUNNING


async def test_escape_asks_once_before_it_throws_away(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        results = await opened(pilot, form)
        await type_text(pilot, "x")
        await pilot.press("escape")
        assert "escape again throws away" in text(pilot) and not results
        await pilot.press("tab")
        assert "escape again" not in text(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: bool(results))
        assert results == [None]


async def test_escape_leaves_an_untouched_form_at_once(world: World) -> None:
    async with console(world) as pilot:
        results = await opened(pilot, CreateGuest(world.session, host="vhost-a"))
        await pilot.press("escape")
        await until(pilot, lambda: bool(results))


async def test_hostile_text_is_shown_as_text(world: World) -> None:
    network = HostNetwork(name="[bold]x\x1b[2J", active=True, bridge="br9")
    world.host("vhost-a").networks += (network,)
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        form.wish = replace(form.wish, description="[red]not markup[/red]")
        await form.show_page(2)
        await pilot.press("space")
        assert "[bold]x\\x1b[2J" in text(pilot)


async def test_the_diff_of_the_files_can_be_read(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await fill_in(pilot, form, "reader")
        await pilot.press("d")
        assert isinstance(pilot.app.screen, DiffScreen)
        assert "+[guests.reader]" in text(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is form


async def test_everything_fits_where_there_is_little_room(world: World) -> None:
    async with console(world, 60, 15) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await opened(pilot, form)
        await pilot.press("pagedown", "pagedown", "shift+tab", "space")
        assert "RTX A4000" in text(pilot), "an opened list is scrolled into view"
        await pilot.press("escape", "ctrl+s")
        await until(pilot, lambda: form.page == 0)


# Editing.


async def edit(pilot: Pilot[None], world: World, guest: str) -> tuple[CreateGuest, list[Outcome | None]]:
    form = CreateGuest(world.session, editing=GuestKey("vhost-a", guest))
    return form, await opened(pilot, form)


async def test_an_edit_of_a_running_guest_waits_for_its_next_boot(world: World) -> None:
    async with console(world) as pilot:
        form, results = await edit(pilot, world, "web-1")
        assert focused_key(form) == "vcpus", "host and name of a guest stay"
        await pilot.press("6", "ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        shown = text(pilot)
        assert "vcpus" in shown and "→  6" in shown and "next boot" in shown
        assert "cannot change vcpus live" in shown
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        view = world.session.store.guest(GuestKey("vhost-a", "web-1"))
        assert view.wanted is not None and view.wanted.vcpus == 6 and view.state is GuestState.RUNNING
        assert not any(isinstance(verb, Shutdown) for _, verb in world.hypervisors.verbs)


async def test_what_cannot_be_done_live_is_refused_with_the_reason(world: World) -> None:
    async with console(world) as pilot:
        form, _ = await edit(pilot, world, "web-1")
        await pilot.press("6", "ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        await pilot.press("l")
        error = form.query_one(Notice).error
        assert error is not None and "cannot change vcpus live" in error.detail
        assert pilot.app.screen is form and not world.hypervisors.verbs


async def test_a_restart_is_asked_for_and_done(world: World) -> None:
    async with console(world) as pilot:
        form, results = await edit(pilot, world, "web-1")
        await pilot.press("6", "ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        await pilot.press("r")
        assert isinstance(pilot.app.screen, Confirm) and "shut web-1 down" in text(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Confirm), "enter is pressed too easily"
        await pilot.press("escape")
        assert pilot.app.screen is form and not world.hypervisors.verbs
        await pilot.press("r", "y")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
        await pilot.press("enter")
        await until(pilot, lambda: bool(results))
        kinds = [type(verb) for _, verb in world.hypervisors.done]
        assert kinds == [Define, Shutdown, Start]


async def test_a_guest_that_is_off_has_one_way_to_change(world: World) -> None:
    async with console(world) as pilot:
        form, _ = await edit(pilot, world, "web-2")
        await pilot.press("6", "ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert keys(pilot)["enter"] == "apply" and not {"l", "r"} & keys(pilot).keys()


async def test_an_edit_without_a_change_says_so(world: World) -> None:
    async with console(world) as pilot:
        form, _ = await edit(pilot, world, "web-1")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert "Nothing differs" in text(pilot) and "enter" not in keys(pilot)


async def test_the_edited_guests_own_card_is_free_for_it(world: World) -> None:
    async with console(world) as pilot:
        form, _ = await edit(pilot, world, "trainer")
        await pilot.press("pagedown", "pagedown", "shift+tab", "space")
        assert "its own" in text(pilot)
        assert not form.problems


async def test_an_unmanaged_guest_is_refused(world: World) -> None:
    async with console(world):
        with pytest.raises(FleetError, match="unmanaged"):
            CreateGuest(world.session, editing=GuestKey("vhost-b", "stray"))
