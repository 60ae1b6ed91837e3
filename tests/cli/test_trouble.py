"""What can go wrong at the command line ends in a sentence that says what, where, and what to do; nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.cli.place import ROOT, Place, git

NAMES = ["it's", 'say "hi"', "${HOME}", "a b", "two\nlines", "x" * 300, "", "../up", "-", "\x1b[31mred"]


@pytest.fixture
def broken(place: Place, tmp_path: Path) -> Path:
    """A sound inventory of one host without SSH, for a test to break."""
    folder = tmp_path / "cellar"
    place.ok("init", str(folder))
    place.ok(
        "--inventory", str(folder), "host", "add", "vhost-a", "--mac", "52:54:00:10:00:0a", "--address", "10.0.0.11/24",
        "--uri", "qemu+tcp://127.0.0.1:1/system",
    )  # fmt: skip
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not {".git", ".quarterdeck"} & set(p.parts)
    }


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys; import console.cli; from console.cli.parser import build; build(); "
        "print(*[m for m in ('libvirt', 'asyncssh', 'textual', 'pydantic', 'tomlkit', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_and_usage(place: Place) -> None:
    text = place.ok("--help")
    for command in ("demo", "init", "check", "status", "plan", "apply", "generate", "host", "guest"):
        assert f"    {command} " in text
    text = place.ok("guest", "--help")
    for action in ("create", "list", "show", "set", "start", "shutdown", "force-off", "reboot", "reset", "suspend",
                   "resume", "autostart", "remove"):  # fmt: skip
        assert f"    {action} " in text
    assert place.ok("--version").startswith("qd ")
    for wrong in (
        ("gest",),
        ("guest",),
        ("guest", "create"),
        ("host", "add", "x"),
        ("guest", "autostart", "x", "maybe"),
        ("guest", "set", "x", "--iso", "a", "--pxe"),
        ("guest", "list", "--jsn"),
        ("plan", "a", "b"),
    ):
        said = place.refused(*wrong, status=2)
        assert "usage: qd" in said


def test_no_inventory_says_how_to_make_one(place: Place) -> None:
    for command in (("status",), ("check",), ("guest", "list"), ("plan",), ("generate",), ("host", "list")):
        said = place.refused(*command)
        assert "There is no inventory in" in said and "qd init" in said and "qd demo" in said
    assert "qd init" in place.refused("--inventory", "/nonexistent/x", "status")
    assert "No user" in place.refused("--inventory", "~nobody-of-that-name/x", "status")
    assert place.refused("--inventory", "y" * 300, "status").startswith("qd: ")
    assert place.refused("status", QUARTERDECK_INVENTORY="/dev/null").startswith("qd: ")


@pytest.mark.parametrize("term", ["dumb", "", "xterm"])
def test_a_terminal_that_cannot_show_the_console_says_so(place: Place, term: str) -> None:
    for command in ((), ("demo",)):
        said = place.refused(*command, TERM=term)
        assert "qd --help" in said
        assert ("TERM" in said) is (term != "xterm")


def test_init_makes_an_inventory_in_a_repository(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "my cellar"
    said = place.ok("init", str(folder))
    assert str(folder) in said and "host add" in said
    assert {path.name for path in folder.iterdir()} == {".git", "fleet.toml", "flake.nix", "hosts"}
    assert 'name = "my-cellar"' in (folder / "fleet.toml").read_text()
    assert git(folder, "log", "--format=%s") == "Begin the inventory of my-cellar\n"
    assert place.ok("--inventory", str(folder), "check") == "my-cellar: 0 hosts, 0 guests, no mistakes.\n"
    for command in (("host", "list"), ("guest", "list")):
        assert place.ok("--inventory", str(folder), *command).startswith("No ")
    assert place.ok("--inventory", str(folder), "plan") == "Apply the fleet: nothing to do.\n"
    assert place.ok("--inventory", str(folder), "generate", "--check") == ""
    before = contents(folder)
    assert "already holds an inventory" in place.refused("init", str(folder))
    assert contents(folder) == before
    assert "is not a name" in place.refused("init", str(tmp_path / "z"), "--name", "a b\nc")
    assert not (tmp_path / "z").exists()


def test_init_beside_files_of_somebody_commits_only_its_own(place: Place, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/secret.txt").write_text("not yours")
    place.ok("init", str(tmp_path / "mine"))
    assert git(tmp_path, "ls-files").split() == ["mine/flake.nix", "mine/fleet.toml"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_refused_in_a_short_sentence(place: Place, broken: Path, name: str) -> None:
    before = contents(broken)
    inventory = ("--inventory", str(broken))
    for command in (
        ("host", "add", "--mac=52:54:00:10:00:0b", "--address=10.0.0.12/24", "--", name),
        ("guest", "create", "--host=vhost-a", "--vcpus=1", "--memory=1GiB", "--disk=1GiB", "--", name),
    ):
        said = place.refused(*inventory, *command)
        assert "name" in said and "Nothing was changed." in said
        assert all(len(line) < 250 for line in said.splitlines())
    for command in (("guest", "start", "--", name), ("host", "show", "--", name), ("plan", "--", name)):
        said = place.refused(*inventory, *command)
        assert "There is no" in said and all(len(line) < 200 for line in said.splitlines())
    assert contents(broken) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("hosts/vhost-a.toml", 'mac = "', "mac = ", ("hosts/vhost-a.toml line 2", "not TOML")),
        ("hosts/vhost-a.toml", "mac", "mack", ("hosts/vhost-a.toml line 2: mack", "misspelled")),
        ("hosts/vhost-a.toml", "10.0.0.11/24", "10.0.0.11", ("line 3: address", "prefix")),
        ("fleet.toml", "version = 1", "version = 2", ("fleet.toml line 2: version", "newer")),
        ("fleet.toml", "version = 1", "version = ", ("fleet.toml line", "not TOML")),
    ],
)
def test_a_broken_file_is_named_with_its_line_and_left_alone(
    place: Place, broken: Path, file: str, old: str, new: str, words: tuple[str, ...]
) -> None:
    path = broken / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    before = contents(broken)
    inventory = ("--inventory", str(broken))
    for command in (
        ("check",),
        ("plan",),
        ("apply",),
        ("generate",),
        ("host", "add", "vhost-b", "--mac", "52:54:00:10:00:0b", "--address", "10.0.0.12/24"),
    ):
        said = place.refused(*inventory, *command)
        assert all(word in said for word in words), said
    done = place.qd(*inventory, "guest", "list")
    assert all(word in done.stderr for word in words), "what a list lacks must be said"
    assert contents(broken) == before


def test_a_duplicate_mac_names_both_owners(place: Place, broken: Path) -> None:
    inventory = ("--inventory", str(broken))
    said = place.refused(*inventory, "host", "add", "b", "--mac", "52:54:00:10:00:0A", "--address", "10.0.0.12/24")
    assert "mac: the MAC address 52:54:00:10:00:0a already belongs to vhost-a" in said
    (broken / "hosts/b.toml").write_text((broken / "hosts/vhost-a.toml").read_text().replace(".11/24", ".12/24"))
    said = place.refused(*inventory, "check")
    assert "hosts/vhost-a.toml" in said or "hosts/b.toml" in said
    assert "52:54:00:10:00:0a already belongs to" in said


def test_an_unknown_host_or_guest_is_named_with_the_way_out(place: Place, broken: Path) -> None:
    inventory = ("--inventory", str(broken))
    assert "Known hosts: vhost-a." in place.refused(*inventory, "host", "show", "vhost-z")
    assert "Known hosts: vhost-a." in place.refused(*inventory, "guest", "list", "--host", "vhost-z")
    said = place.refused(
        *inventory, "guest", "create", "x", "--host", "vhost-z", "--vcpus", "1", "--memory", "1GiB", "--disk", "1GiB"
    )
    assert "There is no host vhost-z" in said
    assert "qd guest list" in place.refused(*inventory, "guest", "start", "ghost")
    assert "qd guest list" in place.refused(*inventory, "guest", "start", "vhost-a/ghost")


def test_every_mistake_of_a_command_is_said_at_once(place: Place, broken: Path) -> None:
    said = place.refused(
        "--inventory", str(broken), "guest", "create", "x", "--host", "vhost-a", "--vcpus", "none", "--memory", "4",
        "--disk", "big", "--gpu", "card", "--address", "here",
    )  # fmt: skip
    for field in ("vcpus: ", "memory: ", "disk: ", "gpu: "):
        assert f"    {field}" in said, said


def test_options_that_go_with_others_are_not_ignored(place: Place, broken: Path) -> None:
    create = (
        "--inventory",
        str(broken),
        "guest",
        "create",
        "x",
        "--host",
        "vhost-a",
        "--vcpus",
        "1",
        "--memory",
        "1GiB",
    )
    for option, needed in ((("--initrd", "/i"), "--kernel"), (("--cmdline", "quiet"), "--kernel"),
                           (("--image-mode", "copy"), "--image")):  # fmt: skip
        said = place.refused(*create, "--disk", "1GiB", *option)
        assert f"{option[0]} goes with {needed}" in said


def test_a_folder_that_cannot_be_written_loses_nothing(place: Place, broken: Path) -> None:
    shutil.move(broken / "hosts", broken / "elsewhere")
    (broken / "hosts").write_text("a file in the way")
    said = place.refused(
        "--inventory", str(broken), "host", "add", "b", "--mac", "52:54:00:10:00:0b", "--address", "10.0.0.12/24"
    )
    assert "hosts" in said
    assert (broken / "hosts").read_text() == "a file in the way"


def test_state_that_cannot_be_kept_is_said(place: Place, broken: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("")
    before = contents(broken)
    said = place.refused(
        "--inventory", str(broken), "host", "add", "b", "--mac", "52:54:00:10:00:0b", "--address", "10.0.0.12/24",
        XDG_STATE_HOME=str(in_the_way),
    )  # fmt: skip
    assert str(in_the_way) in said
    assert contents(broken) == before


def test_a_terminal_of_few_letters_gets_no_traceback(place: Place, broken: Path) -> None:
    done = place.qd("--inventory", str(broken), "guest", "list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert place.ok("--inventory", str(broken), "host", "show", "vhost-a", PYTHONIOENCODING="ascii")


def test_without_git_the_inventory_works_without_history(place: Place, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    said = place.qd("init", str(tmp_path / "x"), PATH=str(programs))
    assert said.returncode == 0 and "git is not installed" in said.stderr and "without history" in said.stderr
    assert place.ok("--inventory", str(tmp_path / "x"), "check", PATH=str(programs))
    done = place.qd(
        "--inventory", str(tmp_path / "x"), "host", "add", "b", "--mac", "52:54:00:10:00:0b", "--address",
        "10.0.0.12/24", "--uri", "test:///x", PATH=str(programs),
    )  # fmt: skip
    assert done.returncode == 0 and "git is not installed" in done.stderr
    assert (tmp_path / "x/hosts/b.toml").is_file()


def test_without_libvirt_everything_else_works_and_the_rest_says_what_is_missing(tmp_path: Path) -> None:
    """In a Python that has all but libvirt: the process that is started for it has the same."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    packages = sysconfig.get_path("purelib")
    (site / "all-but-libvirt.pth").write_text(
        f"import site; site.addsitedir({packages!r})\n"
        "import sys; sys.modules.update(dict.fromkeys(('libvirt', 'libvirtmod', 'libvirtaio', 'libvirt_qemu')))\n"
    )
    place = Place.make(str(tmp_path / "venv/bin/python"))
    try:
        folder = Path(place.ok("demo", "--path").strip())
        place.env["QUARTERDECK_INVENTORY"] = str(folder)
        assert "no mistakes" in place.ok("check")
        assert "done" in place.ok(
            "host", "add", "e", "--mac", "52:54:00:10:00:0e", "--address", "10.0.0.15/24", "--uri", "test:///x"
        )
        before = contents(folder)
        create = ("guest", "create", "x", "--host", "vhost-a", "--vcpus", "1", "--memory", "1GiB", "--disk", "1GiB")
        for command in (("status",), ("guest", "list"), ("apply",), create, ("guest", "start", "web-1")):
            said = place.refused(*command)
            assert "libvirt" in said and "apt install libvirt0" in said
        assert contents(folder) == before
    finally:
        place.close()
        shutil.rmtree(place.root, ignore_errors=True)


def test_an_interrupted_command_says_what_that_means(place: Place, demo: Path) -> None:
    command = [place.python, "-m", "console", "host", "list"]
    process = subprocess.Popen(command, env=place.env, cwd=place.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # Python's own start must be over: before that nobody handles anything.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        maps = Path(f"/proc/{process.pid}/maps").read_text() if Path(f"/proc/{process.pid}").exists() else ""
        if "msgspec" in maps:
            break
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and b"interrupted" in said and b"Traceback" not in said, said
