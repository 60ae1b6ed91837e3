"""`qd --read-only`: the commands that look work without a home, every other one is refused, and nothing is written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.parser import build
from tests.cli.place import Place

NOWHERE = {"HOME": "/proc/nowhere", "XDG_STATE_HOME": "/proc/nowhere/state", "XDG_CONFIG_HOME": "/proc/nowhere/config"}
LOOKING = {
    *("check", "status", "plan", "dashboard", "export", "host list", "host show", "guest list", "guest show"),
    *("job list", "job show", "job follow", "history show", "completion", "__names"),
    *("gpu list", "gpu show", "gpu preflight", "user list"),
}

CHANGING = [
    "guest create new --host vhost-a --vcpus 1 --memory 1GiB --disk 10GiB",
    "guest set web-1 --memory 1GiB",
    "guest start mail",
    "guest shutdown web-1",
    "guest force-off web-1",
    "guest reboot web-1",
    "guest reset web-1",
    "guest suspend web-1",
    "guest resume web-1",
    "guest autostart web-1 on",
    "guest remove web-1",
    "host add vhost-e --mac 52:54:00:10:00:0e --address 10.0.0.15/24",
    "host set vhost-a --address 10.0.0.99/24",
    "host key vhost-a",
    "host remove vhost-d",
    "apply",
    "generate",
    "demo",
    "doctor",
    "undo",
    "undo --plan",
]


def leaves(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command with its parser."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, f"{words} {name}".strip())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_looks_says_so_and_no_other_command_does() -> None:
    commands = dict(leaves(build()))
    assert {words for words, parser in commands.items() if parser.get_default("looks")} == LOOKING


@pytest.mark.parametrize("line", [*CHANGING, "init {folder}"])
def test_a_command_that_may_change_something_exits_1(place: Place, demo: Path, tmp_path: Path, line: str) -> None:
    before = contents(demo)
    words = line.format(folder=tmp_path / "new").split()
    said = place.refused("--read-only", *words)
    assert "is not for a read-only console." in said
    assert said.startswith("qd: qd " + words[0])
    assert contents(demo) == before
    assert not (tmp_path / "new").exists()


def test_the_option_may_stand_behind_the_command(place: Place, demo: Path) -> None:
    assert "not for a read-only console" in place.refused("guest", "start", "mail", "--read-only")
    assert "cellar" in place.ok("status", "--read-only")


def test_looking_needs_no_home_and_leaves_nothing(place: Place, demo: Path) -> None:
    before = contents(demo)
    assert "hosts 3/4 up" in place.ok("--read-only", "status", **NOWHERE)
    assert place.ok("--read-only", "check", **NOWHERE).startswith("cellar: 4 hosts")
    assert "web-1" in place.ok("--read-only", "guest", "list", **NOWHERE)
    assert "16 GiB → 24 GiB" in place.ok("--read-only", "plan", "win-lab", **NOWHERE)
    assert "RTX 3080" in place.ok("--read-only", "host", "show", "vhost-a", **NOWHERE)
    assert contents(demo) == before


def test_it_sees_what_another_command_changes(place: Place, demo: Path) -> None:
    place.ok("guest", "autostart", "web-1", "off")
    place.ok("guest", "shutdown", "web-1")
    found = [
        {guest["name"]: guest for guest in place.json(*words, "guest", "list")}["web-1"]
        for words in ((), ("--read-only",))
    ]
    assert found[0] == found[1]
    assert (found[1]["state"], found[1]["autostart"], found[1]["standing"]) == ("off", False, "in sync")


def test_the_dashboard_needs_a_terminal(place: Place, demo: Path) -> None:
    assert "TERM is dumb" in place.refused("dashboard")
    assert "needs a terminal" in place.refused("dashboard", TERM="xterm-256color")
    assert "needs a terminal" in place.refused("--read-only", TERM="xterm-256color")
