"""The console in the terminals that operators have: it opens, shows, is typed into, and leaves them as they were.

No test of a terminal here or elsewhere sends a mouse event: there is nothing that only a mouse can do.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.pty.place import QD, Inventory
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty

COLOURS = re.compile(rb"\x1b\[[\d;]*?\b([34]8;[25]|[349][0-7]|10[0-7])\b[\d;]*m")
"""A colour is set; what is matched is its kind."""

BRIGHT = {f"{code}".encode() for code in (*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108))}
MANY = {b"38;2", b"48;2", b"38;5", b"48;5"}
TRUE = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def walk(terminal: Terminal, up: str = "●") -> None:
    """Look at the fleet, open a guest and a form, and leave."""
    terminal.wait("hosts 3/4 up", "? help")
    terminal.wait_line(" vhost-a ", f"{up} up", "10.0.0.11")
    terminal.press("down", "down")
    terminal.wait("vhost-a/mail")
    terminal.press("enter")
    terminal.wait("esc back", "uuid", "Postfix and Dovecot")
    terminal.press("escape")
    terminal.wait("hosts 3/4 up", "10.0.0.11")
    terminal.press("c")
    terminal.wait("Create guest on vhost-a", "^s review")
    terminal.type("typed")
    terminal.wait("Create typed on vhost-a")
    terminal.press("escape")
    terminal.wait("escape again throws away")
    terminal.press("escape")
    terminal.wait("hosts 3/4 up")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.modes_left() == set() and terminal.cursor_shown and terminal.is_cooked()


@pytest.mark.parametrize(
    ("environment", "size", "up", "kinds"),
    [
        pytest.param(TRUE, (80, 24), "●", MANY, id="all-colours"),
        pytest.param(TRUE, (300, 100), "●", MANY, id="300x100"),
        pytest.param({"TERM": "xterm", "COLORTERM": ""}, (80, 24), "●", BRIGHT, id="16-colours"),
        pytest.param({"TERM": "screen", "COLORTERM": ""}, (80, 24), "●", BRIGHT, id="screen"),
        pytest.param({"TERM": "linux", "COLORTERM": ""}, (80, 25), "■", BRIGHT, id="linux"),
        pytest.param({**TRUE, "NO_COLOR": "1"}, (80, 24), "●", set(), id="no-colour"),
    ],
)
def test_the_console_works_in_a_terminal(
    demo: Inventory, environment: dict[str, str], size: tuple[int, int], up: str, kinds: set[bytes]
) -> None:
    columns, lines = size
    terminal = demo.place.open("--inventory", demo.folder, columns=columns, lines=lines, **environment)
    walk(terminal, up)
    found = set(COLOURS.findall(terminal.raw))
    assert found <= kinds and bool(found) is bool(kinds), found - kinds


def test_the_console_works_in_tmux(demo: Inventory) -> None:
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("tmux is not installed")
    server = [tmux, "-S", str(demo.place.folder / "tmux"), "-f", "/dev/null"]
    terminal = demo.place.open(*server, "new-session", *QD, "--inventory", demo.folder)
    try:
        walk(terminal)
    finally:
        subprocess.run([*server, "kill-server"], capture_output=True, check=False)
