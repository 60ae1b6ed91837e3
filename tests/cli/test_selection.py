"""Filters on the command line, and what is done to several guests at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.place import Place


def names(place: Place, *arguments: str) -> set[str]:
    return {guest["name"] for guest in place.json("guest", "list", *arguments)}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("web",), {"web-1", "web-2"}),
        (("state:running", "host:vhost-a", "!web"), {"mail", "legacy-ftp"}),
        (("-l", "desk"), {"cache-1", "ci-runner", "scratch"}),
        (("-l", "desk", "!state:off", "-f", "cr"), {"ci-runner"}),
        (("!-l", "gpu"), {"archive"}),
        (("web -f 2",), {"web-2"}),
        (("--host", "vhost-b", "state:pending"), {"staging"}),
        (("nothing-like-it",), set()),
    ],
)
def test_lists_take_the_grammar_of_the_screens(
    place: Place, demo: Path, arguments: tuple[str, ...], found: set[str]
) -> None:
    assert names(place, *arguments) == found


def test_hosts_are_filtered_as_well(place: Place, demo: Path) -> None:
    assert [host["name"] for host in place.json("host", "list", "state:up", "!-l", "rack-1")] == ["vhost-c"]
    assert place.ok("host", "list", "nothing-like-it") == "No host matches.\n"


def test_a_filter_that_means_nothing_is_refused(place: Place, demo: Path) -> None:
    assert "state: is one of" in place.refused("guest", "list", "state:nonsense")
    assert "unrecognized arguments: --nonsense" in place.refused("guest", "list", "web", "--nonsense", status=2)


def test_a_filter_is_carried_out_only_for_the_number_it_was_meant_for(place: Place, demo: Path) -> None:
    wanted = ("guest", "suspend", "--filter", "web state:running")
    said = place.refused(*wanted)
    assert "vhost-a/web-1, vhost-a/web-2" in said and "--yes 2" in said
    assert "They are 2 guests, not 3." in place.refused(*wanted, "--yes", "3")
    assert names(place, "state:paused", "web") == set()
    place.ok(*wanted, "--yes", "1", "--limit", "1")
    assert names(place, "state:paused", "web") == {"web-1"}
    place.ok("guest", "resume", "--filter", "state:paused web", "--yes", "1")
    assert "No guest matches" in place.refused("guest", "resume", "--filter", "state:paused web", "--yes", "1")


def test_guests_are_named_or_described(place: Place, demo: Path) -> None:
    assert "Which guests?" in place.refused("guest", "start")
    assert "Which guests?" in place.refused("guest", "start", "web-1", "--filter", "web")
    assert "every guest" in place.refused("guest", "start", "--filter", " ")
    assert "not a count" in place.refused("guest", "start", "web-1", "--stop-after", "0", status=2)
    place.ok("guest", "autostart", "web-1", "web-2", "on", "--stop-after", "1")
    assert all(guest["autostart"] for guest in place.json("guest", "list", "web"))
