"""The read-only console and the dashboard in a real terminal, and what the kernel saw of them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.pty.calls import STRACE, read_calls, sockets
from tests.pty.place import Inventory, end, libvirt_processes
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"

NOWHERE = {"XDG_STATE_HOME": "/proc/nowhere/state", "XDG_CONFIG_HOME": "/proc/nowhere/config", "HOME": "/proc/nowhere"}
"""A viewer whose home cannot be written."""


def viewer(demo: Inventory, *words: str, columns: int = 80, lines: int = 24) -> Terminal:
    return demo.place.open(*words, "--inventory", demo.folder, columns=columns, lines=lines, **NOWHERE)


def test_the_dashboard_starts_is_resized_and_is_painted_anew(demo: Inventory) -> None:
    terminal = viewer(demo, "dashboard")
    terminal.wait(
        "cellar  read-only  q leaves", "hosts 3/4 up", "3 problems", "vhost-a/win-lab is not as the inventory"
    )
    terminal.wait_line("● vhost-a", "not reported", "4/5")
    assert not terminal.cursor_shown

    terminal.resize(160, 48)
    terminal.wait("hosts up", "guests on", "██████", "? not in the inventory: vhost-a/legacy-ftp")
    assert len(terminal.wait_line("cellar  read-only").rstrip()) > 150, "the clock is at the new right edge"
    terminal.resize(40, 10)
    terminal.wait("at least 60 x 15", "40 x 10")
    terminal.resize(80, 24)
    terminal.wait("3 problems", "● vhost-b")

    for _ in range(2):
        terminal.wipe()
        assert "vhost-b" not in terminal.text
        terminal.tell_size()
        terminal.wait("3 problems", "● vhost-b", "◌ vhost-d")
    terminal.wipe()
    terminal.type("\x0c")
    terminal.wait("3 problems", "● vhost-b", "◌ vhost-d")

    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.modes_left() == set() and terminal.cursor_shown


@pytest.mark.slow
def test_a_terminal_that_was_cleared_is_painted_anew_within_a_minute(demo: Inventory) -> None:
    terminal = viewer(demo, "dashboard")
    terminal.wait("3 problems", "● vhost-b")
    terminal.wipe()
    terminal.wait("3 problems", "● vhost-b", "◌ vhost-d", seconds=70)


def test_the_dashboard_follows_hosts_and_files_by_itself(demo: Inventory) -> None:
    terminal = viewer(demo, "dashboard")
    terminal.wait("hosts 3/4 up", "guests 9/14 on")
    demo.qd("guest", "force-off", "web-1")
    terminal.wait("guests 8/14 on")
    path = demo.folder / "hosts/vhost-c.toml"
    text = path.read_text()
    path.write_text(text + "\n[guests.broken\n")
    terminal.wait("✖ hosts/vhost-c.toml line", "4 problems")
    path.write_text(text)
    terminal.wait("3 problems")
    for number in libvirt_processes(demo.place.folder):
        end(number)
    terminal.wait("hosts 3/4 up", "guests 8/14 on")
    terminal.press("ctrl+c")
    assert terminal.ended() == 0


@pytest.mark.parametrize(("term", "up"), [("screen", "●"), ("linux", "■"), ("xterm", "●")])
def test_the_dashboard_works_in_few_colours(demo: Inventory, term: str, up: str) -> None:
    environment = {**NOWHERE, "TERM": term, "COLORTERM": ""}
    terminal = demo.place.open("dashboard", "--inventory", demo.folder, **environment)
    terminal.wait("hosts 3/4 up", "3 problems", f"{up} vhost-a")
    assert b"\x1b[38;2;" not in terminal.raw and b";38;2;" not in terminal.raw
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_read_only_console_has_no_key_that_changes(demo: Inventory) -> None:
    texts, commits = demo.texts(), demo.commits()
    terminal = viewer(demo, "--read-only", columns=120, lines=50)
    terminal.wait("read-only", "hosts 3/4 up", "? help")
    terminal.press("down")
    terminal.wait("vhost-a/legacy-ftp")
    terminal.wipe()
    terminal.tell_size()
    terminal.wait("read-only", "hosts 3/4 up", "vhost-a/legacy-ftp", "? help")
    assert not {"create", "add host", "start", "shut down", "edit"} & set(terminal.line("? help").split("  "))
    for key in ("a", "c", "e", "p", "s", "x", "X", "b", "B", "z", "t", "D"):
        terminal.press(key)
    terminal.press("?")
    text = terminal.wait("Keys and signs", "quit")
    assert "Create a guest" not in text and "Start the guest" not in text and "Add a host" not in text
    terminal.press("escape")
    terminal.wait("hosts 3/4 up")
    terminal.press(":")
    terminal.wait("enter choose")
    for words in ("create", "start", "add host", "apply"):
        terminal.type(words)
        terminal.wait("Nothing is called that.")
        terminal.press("ctrl+u")
        terminal.wait_gone("Nothing is called that.")
    terminal.press("escape")
    # The bar lies over this line; its own words come and go while it grows.
    terminal.wait_line("▾ vhost-a", "● up", "10.0.0.11")
    terminal.press("q")
    assert terminal.ended() == 0
    assert (demo.texts(), demo.commits()) == (texts, commits)


def with_real_hosts(demo: Inventory) -> None:
    """Two hosts that libvirt reaches over its own socket and over SSH."""
    for number, name, uri in ((21, "local", "qemu:///system"), (22, "remote", "qemu+ssh://root@127.0.0.1:1/system")):
        (demo.folder / f"hosts/{name}.toml").write_text(
            f'mac = "52:54:00:10:01:{number}"\naddress = "10.0.0.{number}/24"\nuri = "{uri}"\n'
            f'ssh_host_key = "{HOST_KEY}"\n'
        )


@pytest.fixture
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed")
    return found


@pytest.mark.parametrize("words", [("--read-only",), ("dashboard",)])
def test_the_kernel_saw_nothing_written_and_no_connection_that_may_write(
    demo: Inventory, strace: str, words: tuple[str, ...]
) -> None:
    with_real_hosts(demo)
    log = demo.place.folder / "calls"
    command = [strace, *STRACE, "-o", log, sys.executable, "-m", "console", *words, "--inventory", demo.folder]
    terminal = demo.place.open(*command, columns=160, lines=50, **NOWHERE)
    terminal.wait("read-only", "vhost-a", seconds=60)
    wrapper = demo.place.folder / "RUNTIME_DIR"
    terminal.until(
        lambda text: any("virt-ssh-helper" in call.text for call in read_calls(log)), "ssh was started", seconds=60
    )
    terminal.until(lambda text: any("libvirt" in path for path in sockets(read_calls(log))), "libvirt's socket", 60)
    terminal.press("q")
    # strace goes on for as long as anything that it watches: the libvirt process stays a minute.
    terminal.until(lambda text: terminal.modes_left() == set(), "it is left", seconds=60)
    for number in libvirt_processes(demo.place.folder):
        end(number)
    terminal.ended(60)

    calls = read_calls(log)
    looked = [call for call in calls if call.touches(demo.folder)]
    assert any(call.text.startswith("AT_FDCWD") and "fleet.toml" in call.text for call in looked)
    assert any(call.touches(demo.folder / "test-driver") for call in looked), "the test hosts' files were read"
    assert [call for call in looked if call.writes] == []
    written = {path for call in calls if call.writes for path in call.paths}
    ours = {path for path in written if Path(path).is_relative_to(demo.place.folder)}
    assert ours and all(Path(path).is_relative_to(wrapper) for path in ours), "the runtime folder alone"

    daemons = {
        path for path in sockets(calls) if not Path(path).is_relative_to(demo.place.folder) and "libvirt" in path
    }
    assert daemons and all(path.endswith("-sock-ro") for path in daemons)
    helpers = [call.text for call in calls if call.name == "execve" and "virt-ssh-helper" in call.text]
    assert helpers and all("virt-ssh-helper -r " in text and "libvirt-sock-ro" in text for text in helpers)


def test_the_kernel_sees_a_console_that_writes(demo: Inventory, strace: str) -> None:
    """Else the test above could not fail."""
    log = demo.place.folder / "calls"
    command = [sys.executable, "-m", "console", "guest", "set", "web-1", "--memory", "9GiB"]
    terminal = demo.place.open(strace, *STRACE, "-o", log, *command, "--inventory", demo.folder)
    terminal.wait("done.", seconds=60)
    for number in libvirt_processes(demo.place.folder):
        end(number)
    terminal.ended(60)
    written = [call for call in read_calls(log) if call.writes]
    assert any(call.touches(demo.folder / "hosts") for call in written)
    assert any(call.touches(demo.folder / "test-driver") for call in written)
