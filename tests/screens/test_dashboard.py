"""The dashboard: problems first, pages that turn by the clock, painted whatever the terminal goes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.domain.errors import Fault, FleetError
from console.domain.model import Fleet
from console.domain.observed import (
    DownReason,
    GuestObservation,
    GuestState,
    HostFacts,
    HostObservation,
    HostSample,
    HostState,
    StoragePool,
)
from console.domain.standing import HostView, host_view
from console.inventory.files import read_inventory
from console.services.definitions import definition
from console.services.view import View
from screens.board import TURN_S, Shown, board
from screens.dashboard import DashboardApp
from screens.large import FONT, large, large_rows, large_width
from screens.problems import Problem, Problems
from screens.states import guest_state
from screens.totals import Tally
from screens.widgets import Sheet, line_width, text_safe
from tests.fakes import NOW, FakeGuest, FakeHardware, FakeHypervisors, FakeWatch
from tests.screens.world import DEADLINE_S, FLEET, HOST, World, make_world, text

SIZES = [(60, 15), (80, 24), (100, 30), (160, 48), (200, 60), (300, 100)]
START = NOW.replace(minute=0)
"""A turn begins here: TURN_S divides the hour."""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The dashboard shows local times: here they are those of the tests."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# The fleet as data


def up(number: int, **changes: object) -> HostObservation:
    name = f"vhost-{number:03}"
    seen = HostObservation(
        name=name,
        state=HostState.UP,
        seen_at=START,
        facts=HostFacts(hostname=name, driver="QEMU", libvirt_version="9.0.0", cpus=64, memory_kib=192 * 1024**2),
        sample=HostSample(at=START, cpu_percent=float(number % 101), memory_used_kib=96 * 1024**2),
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def down(number: int, reason: DownReason = DownReason.SILENT, **changes: object) -> HostObservation:
    seen = replace(up(number), state=HostState.DOWN, reason=reason, sample=None, seen_at=START - timedelta(minutes=4))
    return replace(seen, **changes)  # type: ignore[arg-type]


def stray(number: int, state: GuestState = GuestState.RUNNING) -> GuestObservation:
    return GuestObservation(uuid=f"00000000-0000-4000-8000-{number:012}", name=f"guest-{number}", state=state)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("many")
    (folder / "hosts").mkdir()
    (folder / "fleet.toml").write_text(FLEET)
    for number in range(120):
        host = HOST.format(number=number % 100 + 1, labels=[]).replace(
            f":00:{number % 100 + 1:02x}", f":{number:02x}:01"
        )
        host = host.replace("10.0.0.", f"10.0.{number // 100}.")
        (folder / f"hosts/vhost-{number:03}.toml").write_text(host)
    inventory = read_inventory(folder)
    inventory.require_sound()
    return inventory.fleet


def views(fleet: Fleet, *seen: HostObservation) -> list[HostView]:
    return [host_view(fleet, fleet.hosts[each.name], each, definition) for each in seen]


def shown(
    hosts: Sequence[HostView], *, seconds: float = 0, trouble: FleetError | None = None, faults: Sequence[Fault] = ()
) -> Shown:
    now = START + timedelta(seconds=seconds)
    return Shown(
        name="cellar",
        totals=Tally(lambda host: ()).count(hosts),
        hosts=hosts,
        problems=Problems().of(trouble, faults, hosts, now),
        now=now,
    )


def lines(what: Shown, width: int, height: int) -> list[str]:
    return ["".join(text_safe(part) for part, _ in line).rstrip() for line in board(what, width, height)]


def sentences(problems: Sequence[Problem]) -> list[str]:
    return [f"{problem.mark} {problem.sentence(START)}" for problem in problems]


# What is a problem


def test_the_worst_comes_first_and_notes_last(fleet: Fleet) -> None:
    wrong = "The host shows another SSH key\n than the one that is pinned."
    pool = StoragePool(name="default", active=True, capacity_bytes=100 * 1024**3, available_bytes=4 * 1024**3)
    facts = replace(up(5).facts or pytest.fail(), pools=(pool, replace(pool, name="idle", active=False)))
    hosts = views(
        fleet,
        up(0, guests=(stray(1), stray(2))),
        down(1, DownReason.REFUSED, seen_at=None),
        down(2, guests=(stray(3), stray(4, GuestState.OFF))),
        down(3, DownReason.HOST_KEY, error=wrong),
        up(4, guests=(stray(5, GuestState.CRASHED),)),
        up(5, facts=facts),
    )
    fault = Fault("hosts/vhost-9.toml", 14, "guests.db.memory", '"7 Gb" is not a size.')
    found = Problems().of(FleetError("libvirt is missing.", "No library."), [fault], hosts, START)
    assert sentences(found) == [
        "✖ libvirt is missing. No library.",
        '✖ hosts/vhost-9.toml line 14: guests.db.memory: "7 Gb" is not a size. The last good version stays in use.',
        "✖ vhost-002: silent since 11:56 (4m), 1 guest last seen running",
        "✖ vhost-003: wrong key since 11:56 (4m). The host shows another SSH key than the one that is pinned.",
        "✖ vhost-004/guest-5 crashed",
        "◌ vhost-001: refused, never seen",
        "▲ vhost-005: pool default is 96% full, 4G left",
        "? not in the inventory: vhost-000/guest-1, guest-2, vhost-002/guest-3, guest-4 and 1 more",
    ]


def test_a_guest_whose_qemu_hangs_is_told_of_while_its_host_is_up(fleet: Fleet) -> None:
    hung = replace(stray(1), answers=False)
    (problem, _stray) = Problems().of(None, [], views(fleet, up(0, guests=(hung,))), START)
    assert problem.sentence(START) == "vhost-000/guest-1 is not answering: QEMU hangs"
    (view,) = views(fleet, up(0, guests=(hung,)))
    assert guest_state(view.guests[0], START) == ("✖ no answer", "bad")
    (view,) = views(fleet, down(0, guests=(hung,)))
    assert guest_state(view.guests[0], START)[0] == "☾ running 4m", "that was then"


def test_many_guests_with_one_problem_are_one_line(fleet: Fleet) -> None:
    hosts = views(fleet, up(0, guests=tuple(stray(n, GuestState.CRASHED) for n in range(7))))
    assert sentences(Problems().of(None, (), hosts, START))[0] == (
        "✖ vhost-000/guest-0, guest-1, guest-2, guest-3 and 3 more crashed"
    )


def test_another_day_is_named(fleet: Fleet) -> None:
    hosts = views(fleet, down(0, seen_at=START - timedelta(days=3)))
    assert sentences(Problems().of(None, (), hosts, START)) == ["✖ vhost-000: silent since 2026-05-14 12:00 (3d)"]


def test_a_host_that_nobody_tells_of_is_not_believed_to_be_up(fleet: Fleet) -> None:
    hosts = views(fleet, up(0, guests=(stray(1),)))
    assert lines(shown(hosts, seconds=59), 80, 24)[3] == " ✔ all well"
    late = lines(shown(hosts, seconds=150), 80, 24)
    assert " ✖ vhost-000 is up, but nothing was heard of it since 12:00 (2m)" in late
    row = next(line for line in late if line.startswith(" ☾ vhost-000"))
    assert "not heard of 2m" in row and "█" not in row


def test_hosts_that_did_not_answer_yet_are_waited_for(fleet: Fleet) -> None:
    hosts = views(fleet, up(0), HostObservation(name="vhost-001", state=HostState.CONNECTING))
    picture = "\n".join(lines(shown(hosts), 80, 24))
    assert "↻ waiting for 1 of 2 hosts" in picture and "all well" not in picture


# The picture


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 4, 9, 30, 120])
def test_it_fills_the_terminal_and_never_more(fleet: Fleet, size: tuple[int, int], count: int) -> None:
    width, height = size
    hosts = views(fleet, *(down(n, error="no " * 90) if n % 7 == 3 else up(n) for n in range(count)))
    for seconds in range(0, 200, TURN_S):
        picture = board(shown(hosts, seconds=seconds), width, height)
        assert len(picture) == height
        assert max(line_width(line) for line in picture) <= width


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [4, 30, 120])
def test_every_host_and_every_problem_has_its_turn(fleet: Fleet, size: tuple[int, int], count: int) -> None:
    hosts = views(
        fleet, *(down(n, DownReason.LOGIN, error="It refused.") if n % 5 == 3 else up(n) for n in range(count))
    )
    seen: list[str] = []
    for turn in range(60):
        picture = lines(shown(hosts, seconds=turn * TURN_S), *size)
        seen += picture
    everything = "\n".join(seen)
    rows = {word for line in seen for word in line.split() if word.startswith("vhost-") and ":" not in word}
    assert rows == {view.name for view in hosts}
    assert all(f"{view.name}: no login" in everything for view in hosts if view.seen.state is HostState.DOWN)


def test_a_page_stays_for_its_time_and_the_next_one_is_numbered(fleet: Fleet) -> None:
    hosts = views(fleet, *(up(n) for n in range(40)))

    def at(seconds: float) -> tuple[str, list[str]]:
        picture = lines(shown(hosts, seconds=seconds), 80, 24)
        page = next(line.strip() for line in picture if "page" in line)
        return page, [line.split()[1] for line in picture if line.startswith(" ● ")]

    pages = int(at(0)[0].split()[-1])
    assert pages > 1
    first = int(at(0)[0].split()[1])
    for turn in range(2 * pages):
        page, names = at(turn * TURN_S)
        assert page == f"page {(first - 1 + turn) % pages + 1} of {pages}"
        assert (page, names) == at(turn * TURN_S + TURN_S - 0.1)
    assert sorted(name for turn in range(pages) for name in at(turn * TURN_S)[1]) == [view.name for view in hosts]


def test_all_well_is_said_and_a_problem_stands_above_the_hosts(fleet: Fleet) -> None:
    calm = lines(shown(views(fleet, up(0), up(1))), 80, 24)
    assert " ✔ all well" in calm and not [line for line in calm if "page" in line]
    broken = lines(shown(views(fleet, up(0), down(1))), 80, 24)
    problem = next(y for y, line in enumerate(broken) if line.startswith(" ✖ vhost-001: silent"))
    assert problem < next(y for y, line in enumerate(broken) if line.startswith(" ● vhost-000"))
    hosts = [[y for y, line in enumerate(picture) if "vhost-000 " in line][-1] for picture in (calm, broken)]
    assert hosts[0] == hosts[1], "the hosts stay where they are when the first problem comes"


def test_what_is_not_reported_has_no_bar(fleet: Fleet) -> None:
    row = next(line for line in lines(shown(views(fleet, up(0, sample=None))), 80, 24) if "vhost-000" in line)
    assert row.count("not reported") == 2 and "░" not in row


def test_a_terminal_that_is_too_small_is_told_so(fleet: Fleet) -> None:
    assert "at least 60 x 15" in " ".join(lines(shown(views(fleet, up(0))), 40, 10))


def test_hostile_words_are_spelled_out(fleet: Fleet) -> None:
    evil = replace(stray(1, GuestState.CRASHED), name="a\x1b[2J\nb\u202e")
    hosts = views(fleet, up(0, guests=(evil,)), down(1, DownReason.FAILED, error="\x1b]0;x\x07" + "\u202e" * 200))
    picture = lines(shown(hosts), 80, 24)
    assert all(line.isprintable() for line in picture)
    assert max(map(len, picture)) <= 80 and len(picture) == 24


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_large_digits_have_the_size_they_say(scale: int) -> None:
    everything = "".join(FONT)
    rows = large(everything, scale)
    assert len(rows) == large_rows(scale)
    assert {len(row) for row in rows} == {large_width(everything, scale)}
    assert len({tuple(large(sign, scale)) for sign in FONT}) == len(FONT)
    assert large("7", 1) == ["▀▀█", "  █", "  ▀"]


# On a terminal


@asynccontextmanager
async def dashboard(world: World, width: int = 80, height: int = 24) -> AsyncIterator[Pilot[None]]:
    """Run the dashboard on the world; inside, every host has been heard of."""
    app = app_on(world)
    async with app.run_test(size=(width, height)) as pilot:
        await heard_by(app.session)
        await pilot.pause()
        app.look()
        await pilot.pause()
        yield pilot


async def heard_by(view: View) -> None:
    """Wait until every host has been heard of."""
    assert await view.store.wait_until(
        lambda store: all(store.observed(name).state is not HostState.UNKNOWN for name in store.fleet.hosts), DEADLINE_S
    )


def app_on(world: World) -> DashboardApp:
    session = world.session
    view = View(
        session.folder, session.folder / "none", world.hypervisors, FakeWatch(), lambda fleet: (), FakeHardware()
    )
    view.store.clock = lambda: world.now
    app = DashboardApp(view)
    app.theme = "dark"
    return app


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def until(pilot: Pilot[None], true: Callable[[str], bool]) -> str:
    async with asyncio.timeout(10):
        while not true(text(pilot)):
            await pilot.pause()
    return text(pilot)


async def test_it_shows_the_fleet_problems_first(world: World) -> None:
    async with dashboard(world) as pilot:
        picture = text(pilot).splitlines()
        assert picture[0].split() == ["cellar", "read-only", "q", "leaves", "12:00:00"]
        assert picture[1].startswith(" hosts 2/4 up   guests 4/10 on")
        assert picture[3:9] == [
            " 4 problems",
            " ✖ vhost-c: silent since 11:56 (4m), 1 guest last seen running",
            " ▲ vhost-b/db-1 is not as the inventory says",
            " ◌ vhost-d: silent, never seen",
            " ◌ vhost-b/new-guest is pending: not made yet",
            " ? not in the inventory: vhost-b/stray",
        ]
        row = next(line for line in picture if line.startswith(" ● vhost-a"))
        assert "31%" in row and "96/192G" in row and row.endswith("3/4")


async def test_a_guest_that_crashes_is_told_of_without_a_key(world: World) -> None:
    async with dashboard(world) as pilot:
        for guest in world.host("vhost-a").guests.values():
            assert isinstance(guest, FakeGuest)
            guest.state = GuestState.CRASHED
        world.hypervisors.touch()
        picture = await until(pilot, lambda picture: "crashed" in picture)
        assert picture.splitlines()[4] == " ✖ vhost-a/trainer, web-1, web-2, web-10 crashed"


async def test_the_clock_goes_on_and_ages_grow(world: World) -> None:
    async with dashboard(world) as pilot:
        world.pass_time(65)
        picture = await until(pilot, lambda picture: "12:01:05" in picture)
        assert "silent since 11:56 (5m)" in picture


async def test_it_is_laid_out_anew_when_the_terminal_changes(world: World) -> None:
    async with dashboard(world) as pilot:
        for width, height, sign in ((160, 48, "██████"), (300, 100, "████████████"), (40, 10, "at least 60 x 15")):
            await pilot.resize_terminal(width, height)
            await until(
                pilot,
                lambda picture, height=height, sign=sign: (  # type: ignore[misc]
                    sign in picture and len(pilot.app.query_one("#board", Sheet).lines) == height
                ),
            )
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda picture: "4 problems" in picture and "█" in picture)


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_it_is_left_by_one_key_and_lets_go_of_the_hosts(world: World, key: str) -> None:
    async with dashboard(world) as pilot:
        await pilot.press("a", "enter", "escape", "x", "colon")
        assert "cellar" in text(pilot)
        await pilot.press(key)
    assert world.hypervisors.closed
    assert world.hypervisors.verbs == []


class Refusing(FakeHypervisors):
    """libvirt cannot be had at first."""

    refusals = 1

    async def set_targets(self, targets: object) -> None:
        if self.refusals:
            self.refusals -= 1
            raise FleetError("The libvirt process cannot be started", "libvirt.so.0 is missing.")
        await super().set_targets(())


async def test_it_tries_again_by_itself_when_libvirt_cannot_be_had(world: World) -> None:
    world.hypervisors = Refusing(*world.hypervisors.hosts.values())
    app = app_on(world)
    app.retry_s = 0.01
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda picture: "1 guest last seen" in picture and "libvirt.so.0" not in picture)
    assert isinstance(world.hypervisors, Refusing) and world.hypervisors.refusals == 0


@pytest.mark.parametrize("size", [pytest.param((80, 24), id="80x24"), pytest.param((160, 48), id="160x48")])
def test_it_looks_as_it_did(snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int]) -> None:
    app = app_on(make_world(tmp_path))

    async def run(pilot: Pilot[None]) -> None:
        await heard_by(app.session)
        await pilot.pause()
        app.look()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=run)
