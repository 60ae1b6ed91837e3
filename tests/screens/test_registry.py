"""The registry of actions holds together: handlers, keys, footer, and the small words and figures of the screens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.domain.model import GuestKey
from screens.action import Action, Context
from screens.actions import ACTIONS, BY_ID, actions_in
from screens.base import ConsoleScreen
from screens.cards import CardsScreen
from screens.figures import age, graph, highest, percent, size, sparkline, vcpus
from screens.fleet import FleetScreen
from screens.guest import GuestScreen
from screens.help import help_lines
from screens.history import History
from screens.host import HostScreen
from screens.jobs import JobsScreen
from screens.offers import bindings, footer_keys
from screens.situation import Situation
from screens.widgets import fit, text_safe, wrapped
from tests.fakes import NOW
from tests.screens.world import make_world

SCREENS: dict[Context, type[ConsoleScreen]] = {
    Context.FLEET: FleetScreen,
    Context.GUEST: GuestScreen,
    Context.HOST: HostScreen,
    Context.JOBS: JobsScreen,
    Context.CARDS: CardsScreen,
}


@pytest.mark.parametrize("context", Context)
def test_every_action_of_a_screen_is_carried_out_there(context: Context) -> None:
    missing = [
        action.id
        for action in actions_in(context)
        if action.power is None and not callable(getattr(SCREENS[context], action.handler, None))
    ]
    assert missing == []


@pytest.mark.parametrize("context", Context)
def test_every_binding_has_an_id_and_a_key_of_its_own(context: Context) -> None:
    found = bindings(context)
    keys = [key for binding in found for key in binding.key.split(",")]
    assert all(binding.id and binding.tooltip for binding in found)
    assert len({(key, binding.priority) for binding in found for key in binding.key.split(",")}) == len(keys)
    # Terminals cannot tell these from backspace, tab, newline and enter.
    assert not set(keys) & {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m"}


def test_the_fixed_keys_are_what_they_are() -> None:
    fixed = {"a": "add-host", "c": "create", "e": "edit", "slash": "filter", "colon": "command", "p": "plan"}
    fixed |= {"question_mark": "help", "enter": "open", "q": "quit", "J": "jobs", "g": "cards"}
    keys = {key: action.id for action in actions_in(Context.FLEET) for key in action.keys.split(",")}
    assert {key: keys[key] for key in fixed} == fixed
    assert BY_ID["back"].keys == "escape"


def test_ids_are_unique_and_labels_short() -> None:
    assert len(BY_ID) == len(ACTIONS)
    assert all(len(action.label) <= 13 and action.help.endswith(".") for action in ACTIONS)


def test_the_footer_ends_with_help() -> None:
    assert footer_keys(Context.FLEET, Situation())[-1] == ("?", "help")
    assert footer_keys(Context.GUEST, Situation(changes=1))[-1] == ("?", "help")


def test_a_running_job_has_its_key_in_the_narrowest_footer() -> None:
    assert footer_keys(Context.FLEET, Situation(jobs=1, changes=2))[0] == ("J", "jobs ↻1")
    assert footer_keys(Context.GUEST, Situation(jobs=1))[:2] == [("esc", "back"), ("J", "jobs ↻1")]
    assert footer_keys(Context.FLEET, Situation())[0] != ("J", "jobs")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "—"),
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (1229, "1.2k"),
        (1023 * 1024, "1M"),
        (31 * 1024**3, "31G"),
        (9.96 * 1024**3, "10G"),
        (1.5 * 1024**4, "1.5T"),
        (-5, "0"),
    ],
)
def test_sizes_are_short(amount: float | None, shown: str) -> None:
    assert size(amount) == shown
    assert len(shown) <= 5


def test_ages_and_shares() -> None:
    assert [age(NOW - timedelta(seconds=s), NOW) for s in (0, 59, 60, 3599, 3600, 200_000)] == (
        ["0s", "59s", "1m", "59m", "1h", "2d"]
    )
    assert age(NOW + timedelta(seconds=9), NOW) == "0s"
    assert (percent(None), percent(0.4), percent(99.6)) == ("—", "0%", "100%")


def test_graphs_tell_idle_from_unknown_and_end_at_the_right() -> None:
    assert sparkline([0, None, 100, 50], 6) == "  ▁ █▄"
    assert sparkline([], 3) == "   "
    assert graph([50, 100], 3, 2, 100) == ["  █", " ██"]
    assert highest([None, 3000.0], 1024.0) == 4096.0
    assert highest([], 1024.0) == 1024.0


@pytest.mark.parametrize(
    "hostile",
    [
        "a\x1b[2Jb",
        "a\u202eb",
        "a\nb",
        "e\u0301",
        "👩\u200d💻",
        "🇩🇪",
        "👍🏽",
        "\u2066x\u2069",
        "\ue000",
        "a\tb",
        "\x9b1m",
    ],
)
def test_text_that_could_move_or_reorder_is_spelled_out(hostile: str) -> None:
    safe = text_safe(hostile)
    assert "\\" in safe
    assert safe.isprintable()
    assert cell_len(safe) >= len(safe)


def test_plain_text_stays_as_it_is() -> None:
    assert text_safe("web-1 Größe 日本 ●▲ [bold]") == "web-1 Größe 日本 ●▲ [bold]"


@pytest.mark.parametrize("text", ["", "short", "exactly-ten", "日本語日本語日本語", "a\x1bb" * 9])
@pytest.mark.parametrize("width", [1, 5, 11])
def test_a_cell_has_the_width_it_was_given(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width
    assert cell_len(fit(text, width, right=True)) == width


def test_wrapping_breaks_at_blanks_and_in_words_that_are_too_long() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("日本語日本", 4) == ["日本", "語日", "本"]
    assert wrapped("a\nb", 9) == ["a", "b"]


def test_the_past_of_guests_and_hosts_that_are_gone_is_forgotten(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.session.store.set_observed({name: world.host(name).observation() for name in ("vhost-a", "vhost-c")})
    history, views = History(), world.session.store.hosts()
    history.take(views)
    trainer, web = GuestKey("vhost-a", "trainer"), GuestKey("vhost-a", "web-1")
    assert history.of(trainer, "cpu") and history.of(web, "cpu") and history.of(GuestKey("vhost-c", "cache-1"), "cpu")
    first = replace(views[0], guests=tuple(guest for guest in views[0].guests if guest.key != web))
    history.take([first])
    assert history.of(trainer, "cpu") and not history.of(web, "cpu")
    assert set(history._traces) == {"vhost-a"} and set(history._traces["vhost-a"]) == {trainer}


@pytest.mark.parametrize("read_only", [True, False])
def test_the_signs_name_only_keys_that_are_there(read_only: bool) -> None:
    shown = ["".join(part for part, _ in line) for line in help_lines(Context.FLEET, 100, read_only)]
    (differs,) = [line for line in shown if "differs from the inventory" in line]
    assert ("p shows the plan" in differs) is not read_only


@pytest.mark.parametrize("action", [action for action in ACTIONS if action.power is not None])
def test_a_plan_of_power_is_called_as_its_key_is(action: Action) -> None:
    assert action.power is not None and action.label == action.power.words
    assert (vcpus(1), vcpus("1"), vcpus(8), vcpus(None)) == ("1 vCPU", "1 vCPU", "8 vCPUs", "— vCPUs")
