"""Hostile text on its real way (libvirt, ssh, TOML, git, logs) to a real terminal: it is spelled out and aligned.

Read in the terminal's bytes, and in the cells of the screen that they make.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from wcwidth import wcswidth

from console.domain.text import cells, escaped, plain
from tests.hostile import TEXTS, in_xml, raw_in
from tests.lab.guests import eventually
from tests.pty.place import Inventory, Place
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty

SIZES = [(80, 24), (160, 48)]
FEET = ("help", "esc", "scroll")
GLYPHS = "●○◐◌▲✖?↻☾"
GUEST = """<domain type='test'><name>{text}</name><uuid>{uuid}</uuid><title>{title}</title>
  <description>{text}</description><memory unit='KiB'>1048576</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""
POOL = """<pool type='dir'><name>p{text}</name><target><path>/srv/{number}</path></target>
  <volume type='file'><name>v{text}</name><capacity unit='bytes'>1073741824</capacity></volume></pool>"""
CARD = """<device><name>computer</name><capability type='system'><hardware><vendor>v</vendor>
  <uuid>11111111-2222-3333-4444-555555555555</uuid></hardware><firmware/></capability></device>
<device><name>pci_0000_65_00_0</name><parent>computer</parent><capability type='pci'><class>0x030000</class>
  <domain>0</domain><bus>101</bus><slot>0</slot><function>0</function><product id='0x2206'>{text}</product>
  <vendor id='0x10de'>{text}</vendor><iommuGroup number='28'>
  <address domain='0x0000' bus='0x65' slot='0x00' function='0x0'/></iommuGroup></capability></device>"""
MANAGED = """mac = "52:54:00:10:00:0a"
address = "10.0.0.11/24"
uri = "test://{node}"
accel = "test"
[guests.mine]
uuid = "03dd873c-3bb7-4a79-b514-052cbd8e0b01"
description = {description}
vcpus = 1
memory = "1 GiB"
"""
OVER_SSH = """mac = "52:54:00:10:00:0b"
address = "10.0.0.12/24"
uri = "qemu+ssh://root@127.0.0.1/system"
ssh_host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"
"""
FLEET = """version = 1
name = "odd"
[networks.lan]
bridge = "br0"
[pools.default]
path = "/var/lib/libvirt/images"
"""

UNNAMED = {("host", "list"), ("plan",), ("guest", "show", TEXTS["wide"])}
"""Commands that tell of nothing whose name is hostile, or of one that is no markup."""

NAMES = [text for kind, text in TEXTS.items() if kind != "lines"]
EVERYTHING = " ".join(TEXTS.values())


@pytest.fixture
def odd(place: Place) -> Inventory:
    """An inventory whose every text from outside is hostile."""
    folder = place.folder / "odd"
    (folder / "hosts").mkdir(parents=True)
    node = place.folder / "node.xml"
    guests = [
        GUEST.format(text=in_xml(text), title=in_xml(text).replace("&#10;", ""), uuid=UUID(int=number + 1))
        for number, text in enumerate(NAMES)
    ]
    pools = [POOL.format(text=in_xml(text), number=number) for number, text in enumerate(NAMES)]
    node.write_text("<node>" + "".join(guests + pools) + CARD.format(text=in_xml(EVERYTHING)) + "</node>")
    shown = json.dumps("".join(c for c in EVERYTHING if c.isprintable()), ensure_ascii=False)
    (folder / "fleet.toml").write_text(FLEET)
    (folder / "hosts/vhost-a.toml").write_text(MANAGED.format(node=node, description=shown))
    (folder / "hosts/vhost-b.toml").write_text(OVER_SSH)
    # ssh as a server with a banner would have it speak, before libvirt is reached.
    program = place.folder / "bin/ssh"
    program.parent.mkdir()
    (place.folder / "said").write_text(f"{EVERYTHING}\nPermission denied (publickey).\n")
    program.write_text(f"#!/bin/sh\ncat {place.folder}/said >&2\nexit 255\n")
    program.chmod(0o755)
    place.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    author = {"GIT_AUTHOR_NAME": EVERYTHING.replace("\x00", "").replace("\n", " "), "GIT_AUTHOR_EMAIL": "e@x"}
    author |= {"GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@x"}
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", EVERYTHING.replace("\x00", "")]):
        subprocess.run(["git", "-C", folder, *words], check=True, env={**place.environment, **author})
    return Inventory(place, folder)


def row_of(terminal: Terminal, number: int) -> list[str]:
    """A line of the screen, cell by cell; the second cell of a wide character is empty."""
    screen = terminal._screen
    return [screen.buffer[number][column].data for column in range(screen.columns)]


def column_of(row: list[str], word: str) -> int | None:
    """The cell at which a word begins in a row."""
    return next((x for x in range(len(row)) if "".join(row[x : x + len(word)]) == word), None)


def check(terminal: Terminal) -> None:
    """Nothing hostile is in what was written, and the screen is whole: head and foot are where they belong."""
    terminal.until(lambda text: any(word in text.splitlines()[-1] for word in FEET), "the foot is the last line")
    assert terminal.text.splitlines()[0].strip(), f"the head is gone:\n{terminal.framed()}"
    assert raw_in(terminal.raw) == []


def check_list(terminal: Terminal, heading: str, at_least: int) -> None:
    """Below a column's heading, each row's state begins in the heading's own cell."""
    rows = [row_of(terminal, number) for number in range(terminal._screen.lines)]
    place, column = next((n, x) for n, row in enumerate(rows) if (x := column_of(row, heading)) is not None)
    aligned = [n for n, row in enumerate(rows[place + 1 :]) if row[column] in GLYPHS]
    states = [n for n, row in enumerate(rows[place + 1 :]) if "●" in row]
    assert set(states) <= set(aligned), terminal.framed()
    assert len(states) >= at_least, terminal.framed()


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_no_screen_lets_it_out_or_is_bent(odd: Inventory, columns: int, lines: int) -> None:
    terminal = odd.open(columns=columns, lines=lines)
    terminal.wait("[bold red]x[")
    terminal.wait_line("vhost-b", "not seen")
    check(terminal)
    check_list(terminal, "STATE", 8)
    for _ in range(4):  # the details of host and guests
        terminal.press("down")
    terminal.press("up", "up", "up", "up", "enter")
    terminal.wait("host key", "pool p日本語")
    check(terminal)
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a")
    terminal.press("down", "down", "enter")
    terminal.wait("uuid")
    check(terminal)
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a")
    for key, words in (("p", "Apply the fleet"), ("H", "of the inventory, newest first"), (":", "what to do")):
        terminal.press(key)
        terminal.wait(words)
        check(terminal)
        if key == "H":
            terminal.press("enter")
            terminal.wait("diff --git", "escape back")
            check(terminal)
            terminal.press("escape")
            terminal.wait("of the inventory, newest first")
        if key == ":":
            terminal.type("bold")
            terminal.wait("[bold red]x[")
            check(terminal)
        terminal.press("escape")
        terminal.wait_gone(words)
        terminal.wait_line("▾ vhost-a")
    terminal.press("/")
    terminal.type("web")
    terminal.wait("日本語")
    check(terminal)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_dashboard_neither(odd: Inventory, columns: int, lines: int) -> None:
    terminal = odd.place.open("dashboard", "--inventory", odd.folder, columns=columns, lines=lines)
    terminal.wait("not in the inventory", "vhost-b")
    assert raw_in(terminal.raw) == []


def test_a_mistake_in_a_file_is_told_without_what_it_says(odd: Inventory) -> None:
    path = odd.folder / "hosts/vhost-a.toml"
    written = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in EVERYTHING)
    path.write_text(path.read_text().replace('memory = "1 GiB"', f'memory = "{written}"'))
    terminal = odd.open()
    terminal.wait("✖ hosts/vhost-a.toml line", "is not a size")
    check(terminal)
    assert raw_in(odd.qd("check", status=1)) == []


@pytest.mark.parametrize(
    "words",
    [
        ("guest", "list"),
        ("host", "list"),
        ("host", "show", "vhost-a"),
        ("host", "show", "vhost-b"),
        ("history",),
        ("history", "show", "HEAD"),
        ("plan",),
        ("guest", "show", TEXTS["wide"]),
    ],
)
def test_no_command_prints_it(odd: Inventory, words: tuple[str, ...]) -> None:
    said = odd.qd(*words)
    assert raw_in(said) == []
    assert "[bold red]x[" in said or words in UNNAMED


def test_tables_are_aligned_by_cells(odd: Inventory) -> None:
    head, *rows = odd.qd("guest", "list").splitlines()
    column = head.index("STATE")
    guests = [row for row in rows if row.startswith("vhost-a")]
    assert len(guests) == len(NAMES) + 1
    for row in guests:
        before = row.partition(" running")[0] if " running" in row else row.partition(" pending")[0]
        assert wcswidth(before) == cells(before) == column - 1, row


def test_json_is_ascii_and_holds_the_names(odd: Inventory) -> None:
    said = odd.qd("guest", "list", "--json")
    assert said.isascii() and raw_in(said) == []
    names = {guest["name"] for guest in json.loads(said)}
    assert {escaped(text) for text in (TEXTS["wide"], TEXTS["right to left"], TEXTS["c1"])} <= names
    for words in (("host", "list"), ("host", "show", "vhost-b"), ("history",), ("plan",)):
        said = odd.qd(*words, "--json")
        assert said.isascii() and json.loads(said)


def test_no_log_can_drive_the_terminal_that_shows_it(odd: Inventory) -> None:
    odd.qd("guest", "list")

    def refusal_logged() -> bool:
        # A list does not wait for ever for a host, and the refusal may come after it.
        return any(plain("\x1b]52;c;") in log.read_text() for log in logs())

    def logs() -> list[Path]:
        return [*odd.place.folder.rglob("*.log"), *odd.place.folder.rglob("*.log.1")]

    eventually(refusal_logged, "the refusal of ssh is logged")
    for log in logs():
        assert raw_in(log.read_bytes()) == [], log
