"""What goes wrong, as the operator meets it: a sentence that says what and what to do, and nothing lost."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from signal import SIGHUP, SIGTERM, Signals

import pytest

from tests.pty.place import QD, Inventory, Place
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty

SAVED = "stty -g"


def begin_host(terminal: Terminal, *texts: str) -> None:
    """The form for a host, its first fields filled, the keyboard in the one after."""
    terminal.wait("c create")
    terminal.press("a")
    terminal.wait("Add host", "^s review")
    for text in texts:
        terminal.type(text)
        terminal.press("tab")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('memory = "48 GiB"', 'memory = "48 GiB', "this is not TOML"),
        ('memory = "48 GiB"', 'memory = "48 Gb"', 'guests.render-1.memory: "48 Gb" is not a size. Write "48 GiB".'),
    ],
)
def test_a_broken_file_is_named_and_the_others_are_shown(demo: Inventory, right: str, wrong: str, said: str) -> None:
    path = demo.folder / "hosts/vhost-b.toml"
    text = path.read_text()
    assert text.count(right) == 1
    number = text[: text.index(right)].count("\n") + 1
    path.write_text(text.replace(right, wrong))
    terminal = demo.open()
    terminal.until(
        lambda text: f"✖ hosts/vhost-b.toml line {number}: {said}" in " ".join(text.replace("\n  ", "").split()),
        "the banner names file, line and mistake",
    )
    terminal.wait_line("vhost-a", "● up")
    terminal.wait_line("cache-1", "● running")
    terminal.press("q")
    assert terminal.ended() == 0
    assert path.read_text() == text.replace(right, wrong), "the file is as its author left it"


def test_a_mac_address_that_is_taken_is_refused_beside_its_field(demo: Inventory) -> None:
    texts, commits = demo.texts(), demo.commits()
    terminal = demo.open()
    begin_host(terminal, "vhost-e", "52-54-00-10-00-0B", "10.0.0.15/24")
    terminal.wait("✖ the MAC address 52:54:00:10:00:0b already belongs to vhost-b.")
    place = next(row for row, line in enumerate(terminal.text.splitlines()) if line.lstrip().startswith("MAC"))
    assert "✖ the MAC address" in "\n".join(terminal.text.splitlines()[place : place + 2])
    terminal.press("ctrl+s")
    terminal.wait("already belongs to vhost-b", "vhost-e", "10.0.0.15/24")
    assert "What will happen" not in terminal.text
    # The review leads back to the field itself: what is typed now replaces it.
    terminal.type("52:54:00:10:00:0e")
    terminal.wait_gone("already belongs")
    terminal.press("ctrl+s")
    terminal.wait("What will happen", "52:54:00:10:00:0e")
    assert (demo.texts(), demo.commits()) == (texts, commits)


@pytest.mark.parametrize(("term", "said"), [("dumb", "TERM is dumb."), ("", "TERM is not set.")])
def test_a_terminal_that_cannot_show_it_is_told_so(place: Place, term: str, said: str) -> None:
    terminal = place.open("demo", TERM=term)
    assert terminal.ended() == 1
    assert "This terminal cannot show the console." in terminal.text and said in terminal.text
    assert "TERM=xterm-256color" in terminal.text and "qd --help" in terminal.text
    assert b"\x1b[" not in terminal.raw


@pytest.mark.parametrize("streams", ["</dev/null", "| cat"])
def test_what_is_no_terminal_is_told_so(place: Place, streams: str) -> None:
    script = f"set -o pipefail; {sys.executable} -m console demo {streams}"
    terminal = place.open("/bin/bash", "-c", script)
    assert terminal.ended() == 1
    assert "The console needs a terminal." in terminal.text and "qd --help" in terminal.text
    assert b"\x1b[" not in terminal.raw


def without_the_bindings(folder: Path) -> Path:
    """A Python like ours, except that libvirt's bindings are not installed."""
    packages = Path(sysconfig.get_path("purelib"))
    target = folder / "venv" / packages.relative_to(sys.prefix)
    target.mkdir(parents=True)
    for entry in packages.iterdir():
        if not entry.name.startswith(("libvirt", "__pycache__")):
            (target / entry.name).symlink_to(entry)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder / "venv")
    (folder / "venv/bin").mkdir()
    python = folder / "venv/bin/python"
    python.symlink_to(Path(sys.executable).resolve())
    return python


@pytest.mark.parametrize("missing", ["library", "bindings"])
def test_without_libvirt_the_console_opens_and_says_what_to_install(place: Place, missing: str) -> None:
    python, paths = Path(sys.executable), {}
    if missing == "bindings":
        python = without_the_bindings(place.folder)
    else:
        # The linker takes the first file of that name: one that is no library.
        (place.folder / "lib").mkdir()
        (place.folder / "lib/libvirt.so.0").touch()
        paths["LD_LIBRARY_PATH"] = str(place.folder / "lib")
    terminal = place.open(python, "-m", "console", "demo", **paths)
    terminal.wait("The libvirt process cannot be started", "libvirt's library is missing")
    terminal.wait("apt install libvirt0", "libvirt-python")
    terminal.wait_line("▾ vhost-a", "10.0.0.11")
    terminal.wait_line("web-1", "◌ not seen")
    # The inventory can still be looked at, and forms are open.
    terminal.press("escape")
    terminal.wait_gone("apt install")
    terminal.press("a")
    terminal.wait("Add host", "^s review")
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a", "10.0.0.11")
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_small_terminal_is_told_what_is_needed(place: Place) -> None:
    terminal = place.open("demo", columns=40, lines=10)
    terminal.wait("Quarterdeck needs a larger terminal:", "least 60 x 15")
    assert "vhost-a" not in terminal.text
    terminal.resize(80, 24)
    terminal.wait_line("▾ vhost-a", "10.0.0.11")
    terminal.resize(40, 10)
    terminal.wait("needs a larger terminal", "ctrl+q leaves")
    terminal.press("ctrl+q")
    assert terminal.ended() == 0


def test_a_terminal_that_does_not_tell_its_size_is_taken_for_a_usual_one(demo: Inventory) -> None:
    """A serial line has none; two sizes were guessed for it, and the console went back and forth between them."""
    console = shlex.join([*QD, "--inventory", str(demo.folder)])
    terminal = demo.place.open("/bin/sh", "-c", f"stty rows 0 cols 0; exec {console}")
    terminal.wait("hosts 3/4 up", "? help")
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_resize_loses_nothing_that_was_typed(demo: Inventory) -> None:
    terminal = demo.open()
    begin_host(terminal, "vhost-e", "52:54:00:10:00:0e", "10.0.0.15/24")
    terminal.type("half a la")
    terminal.wait("half a la")
    for columns, lines, shown in (
        (40, 10, "needs a larger terminal"),
        (130, 40, "52:54:00:10:00:0e"),
        (61, 16, "52:54:00:10:00:0e"),
        (80, 24, "52:54:00:10:00:0e"),
    ):
        terminal.resize(columns, lines)
        terminal.wait(shown)
    terminal.type("bel")
    terminal.wait("vhost-e", "52:54:00:10:00:0e", "10.0.0.15/24", "half a label")
    terminal.press("ctrl+s")
    terminal.wait("What will happen")
    terminal.wait_line("labels", "half, a, label")
    terminal.resize(100, 30)
    terminal.wait("half, a, label", "enter add it")
    terminal.resize(80, 24)
    terminal.wait("half, a, label", "enter add it")


def test_keys_that_arrive_at_once_are_taken_in_their_order(place: Place) -> None:
    terminal = place.open("demo")
    begin_host(terminal)
    # As over a slow line: letters and the keys that mend them come in one piece.
    terminal.press("vhostx", "backspace", "-e", "tab", "52:54:00:10:00:0a", "ctrl+u", "52:54:00:10:00:0g")
    terminal.press("left", "right", "backspace", "e", "tab", "10.0.0.15/24", "tab")
    terminal.wait_line("name", "vhost-e ")
    terminal.wait_line("MAC", "52:54:00:10:00:0e ")
    terminal.wait_line("address", "10.0.0.15/24")
    assert "✖" not in terminal.text


@pytest.mark.parametrize("keys", [("q",), ("ctrl+c", "q"), ("a", "ctrl+c", "escape", "q")])
def test_leaving_restores_the_terminal(place: Place, keys: tuple[str, ...]) -> None:
    script = f"{SAVED}; {sys.executable} -m console demo; echo status=$?; {SAVED}; echo over"
    terminal = place.open("/bin/sh", "-c", script)
    terminal.wait_line("▾ vhost-a", "10.0.0.11")
    assert {1049, 25} <= terminal.modes_left(), "the console has a screen of its own, without a cursor"
    terminal.wait("c create")
    for key in keys:
        terminal.press(key)
        if key == "a":
            terminal.wait("Add host", "^s review")
        elif key == "escape":
            terminal.wait_line("▾ vhost-a", "10.0.0.11")
    assert terminal.ended() == 0
    assert terminal.modes_left() == set() and terminal.cursor_shown
    words = terminal.raw.decode(errors="replace").split()
    settings, after = words[0], words[words.index("over") - 1]
    assert settings.count(":") > 10 and words[words.index("over") - 2].endswith("status=0")
    assert after == settings, "the line settings are as they were"


def test_a_create_that_fails_says_what_was_undone_and_keeps_the_form(demo: Inventory) -> None:
    terminal = demo.open()
    terminal.wait("hosts 3/4 up")
    terminal.press("c")
    terminal.wait("Create guest on vhost-a", "^s review")
    terminal.type("again")
    terminal.press("pagedown")
    terminal.wait("boot from")
    terminal.press("down", "space")
    terminal.wait("enter choose")
    terminal.press("enter")
    terminal.wait_line("image", "debian-13.qcow2", "3 GiB")
    terminal.press("ctrl+s")
    terminal.wait("What will happen", "create again-boot.qcow2", "enter create and start")
    # Meanwhile somebody else leaves a volume of that name behind.
    wanted = ["--vcpus", "1", "--memory", "1GiB", "--disk", "10GiB", "--image", "debian-13.qcow2"]
    demo.qd("guest", "create", "again", "--host", "vhost-a", *wanted)
    demo.qd("guest", "remove", "again")
    texts, guests = demo.texts(), demo.qd("guest", "list")
    terminal.press("enter")
    terminal.wait("✖ failed", "again-boot.qcow2 was not created", "It exists already")
    terminal.wait_line("taken back", "the inventory is as it was")
    assert (demo.texts(), demo.qd("guest", "list")) == (texts, guests)
    assert demo.is_whole()
    terminal.press("enter")
    terminal.wait("Create again on vhost-a", "again was not created", "already holds again-boot.qcow2")
    terminal.press("b")
    terminal.wait("network  ", "GPU")
    terminal.press("pageup")
    terminal.wait_line("image", "debian-13.qcow2")
    # The review leads to the field in question, and the way out that it names works: another name.
    terminal.press("ctrl+s")
    terminal.wait("✖ pool default already holds again-boot.qcow2")
    terminal.wait_line("name", "again")
    terminal.type("anew")
    terminal.wait("Create anew on vhost-a")
    terminal.press("ctrl+s")
    terminal.wait("enter create and start")
    terminal.press("enter")
    terminal.wait("✔ Create anew on vhost-a: done.")
    assert demo.is_whole()


@pytest.mark.parametrize("signal", [SIGTERM, SIGHUP])
def test_told_to_end_it_restores_the_terminal(place: Place, signal: Signals) -> None:
    terminal = place.open(sys.executable, "-m", "console", "demo")
    terminal.wait_line("▾ vhost-a", "10.0.0.11")
    terminal.wait("c create")
    os.kill(terminal._child.pid, signal)
    terminal.ended()
    assert terminal.modes_left() == set() and terminal.cursor_shown
