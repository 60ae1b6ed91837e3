"""The fleet screen on a fleet in memory, by its keys and by what the terminal shows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from console.domain.errors import FleetError
from console.domain.observed import GuestState
from console.domain.verbs import Shutdown, Start, Suspend
from console.inventory.files import read_inventory
from screens.app import QuarterdeckApp
from screens.confirm import Confirm, shares
from screens.guest import GuestScreen
from screens.widgets import KeysFooter
from tests.fakes import NOW, FakeGuest
from tests.screens.world import (
    World,
    changed,
    console,
    console_of,
    cursor,
    finished,
    fleet,
    line_of,
    make_world,
    sample,
    shown,
    text,
    until,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def test_the_list_says_what_every_host_and_guest_does(world: World) -> None:
    async with console(world) as pilot:
        header = " cellar  hosts 2/4 up  guests 4/10 on  cpu 22%  mem 192/384G  gpu 1/1  ▲ 2"
        assert line_of(pilot, "cellar") == header
        assert line_of(pilot, "trainer").split() == (
            ["trainer", "◆", "●", "running", "87%", "▆▆▇▇", "31G", "819k", "1.9M", "10.0.0.51"]
        )
        assert line_of(pilot, "web-2").split() == ["web-2", "○", "off", "—", "—", "—", "—", "10.0.0.53"]
        assert line_of(pilot, "web-10").split()[1:3] == ["◐", "paused"]
        assert line_of(pilot, "db-1").split()[1:4] == ["▲", "●", "running"]
        assert line_of(pilot, "new-guest").split()[1:3] == ["◌", "pending"]
        assert line_of(pilot, "stray").split()[1:4] == ["?", "○", "off"]
        assert line_of(pilot, "vhost-c").split()[3:6] == ["☾", "silent", "4m"]
        assert line_of(pilot, "cache-1").split()[1:4] == ["☾", "running", "4m"]
        assert line_of(pilot, "vhost-d").split()[2:5] == ["◌", "not", "seen"]


@pytest.mark.parametrize("width", [60, 80, 119, 120, 160, 200, 300])
async def test_columns_stand_below_their_heading_at_every_width(world: World, width: int) -> None:
    async with console(world, width, 30) as pilot:
        heading, row = line_of(pilot, "ADDRESS"), line_of(pilot, "web-1 ")
        assert row.index("●") == heading.index("STATE")
        assert row.index("10.0.0.52") == heading.index("ADDRESS")
        assert row.index("4%") + 2 == heading.index("CPU") + 3
        assert "…" not in "\n".join(text(pilot).splitlines()[:16])
        assert all(cell_len(line) <= width for line in text(pilot).splitlines())


async def test_the_cursor_stays_on_its_guest_when_others_come_and_go(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 4)
        assert cursor(pilot) == "vhost-a/web-10"
        host = world.host("vhost-a")
        xml = host.named("web-2").xml.replace("web-2", "aaa").replace("-000000000035<", "-000000000099<")
        host.guests["aaa"] = FakeGuest(xml)
        await changed(pilot, world)
        assert "aaa" in text(pilot)
        assert cursor(pilot) == "vhost-a/web-10"
        del host.guests["aaa"]
        await changed(pilot, world)
        assert cursor(pilot) == "vhost-a/web-10"


async def test_new_figures_are_shown(world: World) -> None:
    async with console(world) as pilot:
        world.host("vhost-a").figures["web-1"] = sample(95, 7, at=NOW + timedelta(seconds=1))
        await changed(pilot, world)
        assert line_of(pilot, "web-1").split()[3] == "95%"


async def test_the_filter_narrows_as_it_is_typed_and_escape_ends_it(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 6)
        assert cursor(pilot) == "vhost-b/db-1"
        await pilot.press("slash", *"web")
        await shown(pilot)
        assert "db-1" not in text(pilot)
        assert "trainer" not in text(pilot)
        assert "3 of 10 guests" in text(pilot)
        assert cursor(pilot) == "vhost-a/web-1"
        await pilot.press("enter", "j")
        assert cursor(pilot) == "vhost-a/web-2"
        await pilot.press("escape")
        await shown(pilot)
        assert "db-1" in text(pilot)
        assert cursor(pilot) == "vhost-a/web-2"
        assert "of 10 guests" not in text(pilot)


async def test_the_cursor_comes_back_to_what_the_filter_hid(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 6, "slash", *"web", "escape")
        await shown(pilot)
        assert cursor(pilot) == "vhost-b/db-1"


async def test_a_filter_without_a_match_says_so(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("slash", *"zzz")
        await shown(pilot)
        assert "No host or guest matches “zzz”" in text(pilot)


async def test_the_filter_line_tells_its_grammar_and_what_is_wrong(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("slash")
        await shown(pilot)
        assert "text  !not  -f fuzzy  -l label  state:off  host:NAME" in text(pilot)
        await pilot.press(*"host:vhost-a !web ")
        await shown(pilot)
        assert "1 of 10 guests" in text(pilot)
        await pilot.press(*"state:ru")
        await shown(pilot)
        assert "state: is one of running." in text(pilot)
        assert "1 of 10 guests" in text(pilot)
        await pilot.press("x")
        await shown(pilot)
        assert "state: is one of running, off," in text(pilot)
        assert "stale, unknown." in " ".join(text(pilot).split()), "the whole of it"
        await pilot.press("backspace")
        assert "trainer" in text(pilot)
        await pilot.press(*"nning", "enter")
        await shown(pilot)
        assert "state: is" not in text(pilot)
        assert "-f fuzzy" not in text(pilot)
        assert "1 of 10 guests" in text(pilot)


async def test_a_host_folds_and_the_cursor_comes_back_from_folding(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("left")
        await shown(pilot)
        assert "▸ vhost-a  4 folded" in text(pilot)
        assert "trainer" not in "\n".join(text(pilot).splitlines()[:16])
        await pilot.press("right", "down", "minus")
        await shown(pilot)
        assert cursor(pilot) == "vhost-a"
        await pilot.press("minus")
        await shown(pilot)
        assert cursor(pilot) == "vhost-a/trainer"
        await pilot.press("left")
        assert cursor(pilot) == "vhost-a"


async def test_keys_move_by_row_page_and_end(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("end")
        assert cursor(pilot) == "vhost-d/archive"
        await pilot.press("j")
        assert cursor(pilot) == "vhost-d/archive"
        await pilot.press("home")
        assert cursor(pilot) == "vhost-a"
        await pilot.press("pagedown", "k")
        assert fleet(pilot).rows.cursor > 5


async def test_a_long_list_scrolls_with_the_cursor(world: World) -> None:
    async with console(world, 80, 16) as pilot:
        await pilot.press("end")
        await pilot.pause()
        assert "archive" in "\n".join(text(pilot).splitlines()[:10])
        await pilot.press("home")
        await pilot.pause()
        assert "trainer" in text(pilot)


async def test_n_goes_from_problem_to_problem(world: World) -> None:
    async with console(world) as pilot:
        seen = []
        for _ in range(6):
            await pilot.press("n")
            seen.append(cursor(pilot))
        assert seen == ["vhost-b/db-1", "vhost-b/new-guest", "vhost-b/stray", "vhost-c", "vhost-d", "vhost-b/db-1"]


async def test_the_age_of_a_stale_fact_grows_while_nothing_is_heard(world: World) -> None:
    async with console(world) as pilot:
        world.pass_time(120)
        fleet(pilot).show_ages()
        await pilot.pause()
        assert "silent 6m" in line_of(pilot, "vhost-c")
        assert "running 6m" in line_of(pilot, "cache-1")


async def test_the_detail_of_a_guest_that_differs_says_what_and_when(world: World) -> None:
    async with console(world, 160, 40) as pilot:
        await pilot.press(*["down"] * 6)
        await shown(pilot)
        assert "differs from the inventory" in text(pilot)
        assert "memory: 4 GiB → 8 GiB (next boot)" in text(pilot)


async def test_the_detail_of_a_silent_host_says_since_when_and_why(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 10)
        await shown(pilot)
        assert cursor(pilot) == "vhost-c"
        assert "vhost-c seen 4m ago. vhost-c does not answer." in text(pilot)


async def test_the_host_under_the_cursor_is_asked_first(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 6)
        await pilot.app.workers.wait_for_complete([worker for worker in pilot.app.workers if worker.group == "focus"])
        assert world.hypervisors.focused == "vhost-b"


async def test_start_needs_no_question(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 3, "s")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Start]
        assert line_of(pilot, "web-2").split()[1:3] == ["●", "running"]
        assert line_of(pilot, "✔ Start").strip() == "✔ Start vhost-a/web-2: done."


async def test_shutting_down_asks_and_takes_no_for_an_answer(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "down", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "shut web-1 down" in text(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert world.hypervisors.verbs == []
        await pilot.press("x", "y")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Shutdown]
        assert world.host("vhost-a").named("web-1").state is GuestState.OFF


async def test_keys_work_while_something_is_carried_out(world: World) -> None:
    async with console(world) as pilot:
        world.hypervisors.gate.clear()
        await pilot.press(*["down"] * 3, "s")
        await world.hypervisors.started.wait()
        await shown(pilot)
        assert "↻ Start vhost-a/web-2: start web-2 …" in text(pilot)
        await pilot.press("up")
        assert cursor(pilot) == "vhost-a/web-1"
        world.hypervisors.gate.set()
        await finished(pilot)
        assert "✔ Start vhost-a/web-2: done." in text(pilot)


async def test_a_failure_stays_until_a_key_and_is_kept_in_the_status_line(world: World) -> None:
    world.hypervisors.fail_at = {1}
    async with console(world) as pilot:
        await pilot.press(*["down"] * 3, "s")
        await finished(pilot)
        assert "verb 1 was refused" in text(pilot)
        world.pass_time(3600)
        await shown(pilot)
        assert "verb 1 was refused" in text(pilot)
        await pilot.press("escape")
        await shown(pilot)
        assert "verb 1 was refused" not in text(pilot)
        assert line_of(pilot, "✖ Start").rstrip().endswith("1 failed.  1h ago")


async def test_what_cannot_be_done_is_answered_with_the_reason(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "down", "Z")
        await shown(pilot)
        assert world.hypervisors.verbs == []
        await pilot.press(*["down"] * 9, "s")
        await shown(pilot)
        assert "vhost-c is not up" in text(pilot)
        await pilot.press("down")
        await shown(pilot)
        assert "vhost-c is not up" not in text(pilot)
        assert cursor(pilot) == "vhost-d"


async def test_a_guest_key_on_a_host_says_what_to_choose(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("s")
        await shown(pilot)
        assert "Choose a guest first" in text(pilot)


async def test_a_read_only_console_has_no_changing_key(world: World) -> None:
    world.session.read_only = True
    async with console(world) as pilot:
        assert "read-only" in line_of(pilot, "cellar")
        await pilot.press(*["down"] * 3, "s", "x", "D", "e", "c", "a", "p")
        await shown(pilot)
        assert pilot.app.screen is fleet(pilot)
        assert world.hypervisors.verbs == []
        assert not {"start", "mark"} & set(text(pilot).splitlines()[-1].split())
        assert "open" in text(pilot).splitlines()[-1]


async def test_an_empty_fleet_teaches_the_first_step(world: World) -> None:
    for path in (world.session.folder / "hosts").iterdir():
        path.unlink()
    world.session.store.set_inventory(read_inventory(world.session.folder))
    async with console(world) as pilot:
        assert "No hosts yet." in text(pilot)
        assert "Press a to add the first one by its MAC address." in text(pilot)
        await pilot.press("down", "enter", "x", "c")
        await shown(pilot)
        assert "Add a host first" in text(pilot)


async def test_a_broken_file_is_named_and_its_host_stays(world: World) -> None:
    path = world.session.folder / "hosts" / "vhost-b.toml"
    path.write_text(path.read_text().replace('memory = "8 GiB"', 'memory = "7 Gb"', 1))
    async with console(world) as pilot:
        world.session.store.set_inventory(read_inventory(world.session.folder))
        await shown(pilot)
        assert "hosts/vhost-b.toml line" in text(pilot)
        assert "the last good version stays in use" in text(pilot)
        assert "db-1" in text(pilot)


async def test_a_terminal_that_is_too_small_is_told_so(world: World) -> None:
    async with console(world, 50, 12) as pilot:
        assert "this one has 50 x 12." in text(pilot)
        assert "trainer" not in text(pilot)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "trainer" in text(pilot)
        assert "at least" not in text(pilot)


async def test_hostile_names_are_shown_and_do_nothing(world: World) -> None:
    host = world.host("vhost-b")
    unknown = host.guests["stray"]
    unknown.xml = unknown.xml.replace("<name>stray</name>", "<name>[b]\u202ex\u200dy</name>")
    async with console(world) as pilot:
        row = line_of(pilot, "[b]")
        assert "[b]\\u202ex\\u200dy" in row
        assert cell_len(row) <= 80
        assert row.index("○") == line_of(pilot, "STATE").index("STATE")


async def test_a_guest_opens_and_escape_comes_back_to_its_row(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, GuestScreen))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is fleet(pilot))
        assert cursor(pilot) == "vhost-a/trainer"


async def test_what_changed_behind_another_screen_is_there_on_return(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        world.host("vhost-a").figures["web-1"] = sample(95, 7, at=NOW + timedelta(seconds=1))
        await changed(pilot, world)
        await pilot.press("escape")
        await pilot.pause()
        assert line_of(pilot, "web-1").split()[3] == "95%"


async def test_a_console_that_cannot_connect_says_why_and_still_shows_the_inventory(world: World) -> None:
    async def refuse(targets: object) -> None:
        raise FleetError("libvirt is not installed here.", "", "Install libvirt0.")

    world.hypervisors.set_targets = refuse  # type: ignore[method-assign]
    app = QuarterdeckApp(world.session)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.workers.wait_for_complete()
        await shown(pilot)
        assert "✖ libvirt is not installed here." in text(pilot)
        assert "Install libvirt0." in text(pilot)
        assert "trainer" in text(pilot)


@pytest.mark.parametrize("way", [("enter",), ("down", "enter"), ("g",), ("J",), ("H",), ("U",)])
async def test_q_leaves_from_every_screen(world: World, way: tuple[str, ...]) -> None:
    async with console(world) as pilot:
        fleet = pilot.app.screen
        await pilot.press(*way)
        await until(pilot, lambda: pilot.app.screen is not fleet and pilot.app.screen.is_mounted)
        await pilot.press("q")
        await until(pilot, lambda: pilot.app._exit)


async def test_leaving_closes_the_session(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert console_of(pilot).return_code == 0
    assert world.hypervisors.closed


def flat(pilot: Pilot[None]) -> list[str]:
    return [str(row.key) for row in fleet(pilot).rows.index]


async def test_the_list_is_sorted_by_each_column_and_says_so(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 6, "S", "S")
        await shown(pilot)
        assert "CPU▾" in line_of(pilot, "ADDRESS")
        assert flat(pilot)[:4] == ["vhost-a/trainer", "vhost-b/db-1", "vhost-a/web-1", "vhost-d/archive"]
        assert line_of(pilot, "trainer").split()[:2] == ["trainer", "vhost-a"]
        assert cursor(pilot) == "vhost-b/db-1"
        await pilot.press("R")
        await shown(pilot)
        assert "CPU▴" in line_of(pilot, "ADDRESS")
        assert flat(pilot)[:3] == ["vhost-a/web-1", "vhost-b/db-1", "vhost-a/trainer"]
        # A silent host's old figure is no figure.
        assert flat(pilot).index("vhost-c/cache-1") > 2
        await pilot.press("escape")
        await shown(pilot)
        assert "▾ vhost-a" in text(pilot)
        assert cursor(pilot) == "vhost-b/db-1"


async def test_a_sorted_list_keeps_its_order_for_ten_seconds(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("S", "S")
        before = flat(pilot)
        assert before[0] == "vhost-a/trainer"
        world.host("vhost-a").figures["web-1"] = sample(99, 7, at=NOW + timedelta(seconds=1))
        await changed(pilot, world)
        assert line_of(pilot, "web-1").split()[4] == "99%"
        assert flat(pilot) == before
        world.pass_time(11)
        fleet(pilot).show_ages()
        await pilot.pause()
        assert flat(pilot)[0] == "vhost-a/web-1"


async def test_a_sorted_list_is_filtered_and_goes_through_all_columns(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("S", "slash", *"web", "enter")
        await shown(pilot)
        assert flat(pilot) == ["vhost-a/web-10", "vhost-a/web-1", "vhost-a/web-2"]
        heads = []
        for _ in range(6):
            await pilot.press("S")
            await shown(pilot)
            heads += [word for word in line_of(pilot, "ADDRESS").split() if word[-1] in "▾▴"]
        assert heads == ["CPU▾", "MEM▾", "DISK▾", "NET▾", "ADDRESS▴"]
        assert fleet(pilot).order is None


async def test_marks_take_what_is_done_to_guests(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "space", "space", "space")
        await shown(pilot)
        assert cursor(pilot) == "vhost-a/web-10"
        assert "3 marked" in text(pilot)
        assert line_of(pilot, "web-1 ").startswith("▌")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "Shut down 2 of 3 guests" in text(pilot)
        assert "trainer web-1" in text(pilot)
        assert "Type 2 to go on" in text(pilot)
        await pilot.press("3", "enter")
        assert "That is not 2." in text(pilot)
        await pilot.press("backspace", "2", "enter")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Shutdown, Shutdown]
        await pilot.press("escape")
        await shown(pilot)
        assert "marked" not in text(pilot)


async def test_marks_outlive_filter_and_folding_and_escape_ends_one_thing_at_a_time(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "space", "slash", *"db", "enter")
        await shown(pilot)
        assert "1 marked" in text(pilot)
        await pilot.press("A")
        await shown(pilot)
        assert "3 marked" in text(pilot)
        await pilot.press("escape", "minus")
        await shown(pilot)
        assert "3 marked" in text(pilot)
        assert line_of(pilot, "▸ vhost-a").startswith("▌")
        await pilot.press("escape")
        await shown(pilot)
        assert "marked" not in text(pilot)


async def test_space_on_a_host_marks_its_guests_and_takes_the_marks_away(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("space")
        assert len(fleet(pilot).marks) == 4
        await pilot.press("space")
        assert len(fleet(pilot).marks) == 0


async def test_a_marked_guest_that_is_gone_is_no_longer_marked(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press(*["down"] * 9, "space")
        assert [str(key) for key in fleet(pilot).marks.keys] == ["vhost-b/stray"]
        del world.host("vhost-b").guests["stray"]
        await changed(pilot, world)
        assert len(fleet(pilot).marks) == 0


async def test_what_is_done_to_one_guest_is_refused_while_others_are_marked(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "space", "D")
        await shown(pilot)
        assert pilot.app.screen is fleet(pilot)
        assert "escape takes the marks away first" in text(pilot)
        await pilot.press("colon", *"start web-2")
        await pilot.press("enter")
        await finished(pilot)
        assert [type(verb) for _, verb in world.hypervisors.done] == [Start]
        assert world.host("vhost-a").named("web-2").state is GuestState.RUNNING


async def test_a_bulk_change_shows_refusals_and_stops_after_the_failures_chosen(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("A", "z")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "Suspend 3 of 10 guests" in text(pilot)
        assert "6 cannot, and stay as they are:" in text(pilot)
        assert "web-2 is off" in text(pilot)
        assert "vhost-b/stray is unmanaged" in text(pilot)
        assert "goes through all of them" in text(pilot)
        await pilot.press("down", "down", "down")
        assert "stops after the first failure" in text(pilot)
        await pilot.press("up", "up", "up", "up")
        assert "goes through all of them" in text(pilot)
        await pilot.press("down", "down", "y")
        await finished(pilot)
        assert {type(verb) for _, verb in world.hypervisors.done} == {Suspend}
        await pilot.press("escape", "escape")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 48)])
async def test_a_question_about_many_stands_in_the_middle_and_is_never_cut(
    world: World, width: int, height: int
) -> None:
    async with console(world, width, height) as pilot:
        await pilot.press("A", "X")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await shown(pilot)
        box = pilot.app.screen.query_one("#confirm")
        left, right = box.region.x, width - box.region.right
        above, below = box.region.y, height - box.region.bottom
        assert abs(left - right) <= 1 and abs(above - below) <= 1
        assert pilot.app.screen.query_one(KeysFooter).region.bottom <= height
        assert box.virtual_size.height <= box.size.height, "nothing of it is out of sight"


def test_where_there_is_no_room_for_all_the_longest_list_gives_way() -> None:
    assert shares([3, 5, 0], 9) == [3, 5, 0]
    assert shares([30, 5, 1], 9) == [4, 4, 1]
    assert shares([30, 30, 30], 1) == [2, 2, 2]


async def test_autostart_of_marked_guests_is_one_change(world: World) -> None:
    async with console(world) as pilot:
        await pilot.press("down", "space", "space", "t")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await finished(pilot)
        toml = (world.session.folder / "hosts" / "vhost-a.toml").read_text()
        assert toml.count("autostart = true") == 2


async def test_the_line_below_the_list_keeps_its_words_apart(world: World) -> None:
    async with console(world, 100, 24) as pilot:
        await pilot.press(*["down"] * 6)
        await shown(pilot)
        assert "memory: 4 GiB → 8 GiB (next boot)" in line_of(pilot, "differs from the inventory")
