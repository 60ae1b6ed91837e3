"""An inventory of a group: two operators with user ids of their own, whose umask would shut each other out."""

from __future__ import annotations

import grp
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.place import ROOT

ADA, BOB, EVE = 60101, 60102, 60103
GROUP = next((entry for entry in grp.getgrall() if entry.gr_name in ("users", "games", "staff")), None)


def as_user(uid: int, *groups: int) -> list[str]:
    member = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), *member]


def python_of_all() -> str:
    """A Python that others can run too, "" without one. The one of the tests may lie in somebody's home."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if subprocess.run([*as_user(ADA), "env", python, "-c", ""], cwd="/", capture_output=True).returncode == 0:
            return python
    return ""


BASE = python_of_all() if os.getuid() == 0 and shutil.which("setpriv") else ""

pytestmark = pytest.mark.skipif(not BASE or GROUP is None, reason="needs root and a Python that others can run")


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    """A Python for all, with the packages of the one of the tests."""
    made = Path(tempfile.mkdtemp(prefix="qd-python-", dir="/tmp"))
    made.chmod(0o755)
    subprocess.run([BASE, "-m", "venv", "--without-pip", str(made)], check=True)
    (site,) = (made / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    yield str(made / "bin/python")
    shutil.rmtree(made)


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with a user id, a home and the strictest umask."""

    name: str
    uid: int
    home: Path
    python: str
    member: bool = True

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        folders = {
            f"XDG_{name}": str(self.home / name) for name in ("RUNTIME_DIR", "STATE_HOME", "CONFIG_HOME", "CACHE_HOME")
        }
        user = as_user(self.uid, *((GROUP.gr_gid,) if self.member and GROUP is not None else ()))
        done = subprocess.run(
            [*user, "sh", "-c", 'umask 077; exec "$@"', "sh", *command],
            env=kept
            | folders
            | {"HOME": str(self.home), "LOGNAME": self.name, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def qd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "console", *arguments)

    def sharing(self, folder: Path) -> list[str]:
        """What doctor says about who can use the inventory, and about its repository."""
        lines = self.qd("doctor", "--inventory", str(folder)).stdout.splitlines()
        return [line for line in lines if line.split()[1] in ("sharing", "history")]


@pytest.fixture
def root() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="qd-shared-", dir="/tmp"))
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


def operator(root: Path, name: str, uid: int, python: str, *, member: bool = True) -> Operator:
    home = root / name
    home.mkdir(mode=0o700)
    os.chown(home, uid, uid)
    return Operator(name, uid, home, python, member)


@pytest.fixture
def ada(root: Path, python: str) -> Operator:
    return operator(root, "ada", ADA, python)


@pytest.fixture
def bob(root: Path, python: str) -> Operator:
    return operator(root, "bob", BOB, python)


@pytest.fixture
def folder(root: Path, ada: Operator) -> Path:
    """An inventory that Ada made for the group."""
    assert GROUP is not None
    made = root / "cellar"
    done = ada.qd("init", "--shared", GROUP.gr_name, str(made))
    assert done.returncode == 0, done.stderr
    assert f"git config --global --add safe.directory {made}" in done.stdout
    return made


def add_host(who: Operator, folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    mac, address = f"52:54:00:10:00:{number:02x}", f"10.0.0.{number}/24"
    host = ("--mac", mac, "--address", address, "--uri", "qemu+tcp://127.0.0.1:1/system")
    return who.qd("host", "add", f"vhost-{number}", *host, "--inventory", str(folder))


def test_two_operators_change_one_inventory(folder: Path, root: Path, ada: Operator, bob: Operator) -> None:
    assert GROUP is not None
    assert add_host(ada, folder, 11).returncode == 0
    done = add_host(bob, folder, 12)
    # Git trusts nobody else's repository unasked; the change is made, and what to run is said.
    assert done.returncode == 0 and "Written, but not committed: git does not trust" in done.stderr, done.stderr
    command = re.search(r"git config --global --add safe\.directory (\S+)", done.stderr)
    assert command is not None and command[1] == str(folder)
    assert any(line.startswith("✖ history") and command[0] in line for line in bob.sharing(folder))
    bob.run(*command[0].split())
    done = bob.qd("host", "set", "vhost-12", "--label", "desk", "--inventory", str(folder))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert add_host(ada, folder, 13).stderr == ""
    for who, number in ((bob, 11), (ada, 12), (bob, 13), (ada, 13)):
        changed = who.qd("host", "set", f"vhost-{number}", "--label", who.name, "--inventory", str(folder))
        assert changed.returncode == 0 and changed.stderr == "", changed.stderr
    # A commit by hand leaves git's last message behind, which only its author may write.
    (folder / ".git/COMMIT_EDITMSG").chmod(0o600)
    done = bob.qd("undo", "--inventory", str(folder))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    log = ada.run("git", "-C", str(folder), "log", "--format=%an").stdout.split()
    assert log.count("ada") == 5 and log.count("bob") == 5, log
    assert ada.run("git", "-C", str(folder), "status", "--short").stdout == ""
    for path in (folder, *folder.rglob("*")):
        found = path.stat()
        assert found.st_gid == GROUP.gr_gid, path
        if path.is_dir():
            assert found.st_mode & (stat.S_IRWXG | stat.S_ISGID) == stat.S_IRWXG | stat.S_ISGID, path
        else:
            by_maker = {"objects", "jobs"} & set(path.relative_to(folder).parts)
            assert found.st_mode & 0o060 == (0o040 if by_maker else 0o060), path
    for who in (ada, bob):
        assert [line.split()[:2] for line in who.sharing(folder)] == [["✔", "history"], ["✔", "sharing"]]


def test_who_is_not_in_the_group_is_told_so(folder: Path, root: Path, ada: Operator) -> None:
    assert add_host(ada, folder, 11).returncode == 0
    eve = operator(root, "eve", EVE, ada.python, member=False)
    done = eve.qd("check", "--inventory", str(folder))
    assert done.returncode == 1 and "Permission denied" in done.stderr, done.stderr
    ada.run("chmod", "-R", "o+rX", str(folder))
    eve.run("git", "config", "--global", "--add", "safe.directory", str(folder))
    assert eve.qd("check", "--inventory", str(folder)).returncode == 0
    before = (folder / "hosts/vhost-11.toml").read_text()
    done = eve.qd("host", "set", "vhost-11", "--label", "mine", "--inventory", str(folder))
    assert done.returncode == 1 and "Permission denied" in done.stderr, done.stderr
    assert (folder / "hosts/vhost-11.toml").read_text() == before
    assert any("you may only look" in line and "usermod -aG" in line for line in eve.sharing(folder))


def test_what_is_not_shared_is_named_and_the_remedy_mends_it(root: Path, ada: Operator, bob: Operator) -> None:
    """Ada's own inventory is given to the group afterwards, by hand and in part."""
    assert GROUP is not None
    folder = root / "own"
    ada.qd("init", str(folder))
    assert add_host(ada, folder, 11).returncode == 0
    assert [line.split()[:2] for line in ada.sharing(folder)] == [["✔", "history"], ["✔", "sharing"]]
    os.chown(folder, -1, GROUP.gr_gid)
    folder.chmod(0o2770)
    for _ in range(2):
        for line in ada.sharing(folder):
            if line.startswith("▲"):
                remedy = line.partition("  → ")[2].removeprefix("As their owner or root: ")
                subprocess.run(
                    ["sh", "-c", remedy], check=True, env=os.environ | {"HOME": str(ada.home), "SUDO_UID": str(ADA)}
                )
    assert [line.split()[:2] for line in ada.sharing(folder)] == [["✔", "history"], ["✔", "sharing"]]
    bob.run("git", "config", "--global", "--add", "safe.directory", str(folder))
    done = bob.qd("host", "set", "vhost-11", "--label", "desk", "--inventory", str(folder))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert add_host(ada, folder, 12).stderr == ""


def test_a_group_that_does_not_exist_makes_nothing(root: Path, ada: Operator) -> None:
    done = ada.qd("init", "--shared", "no such group", str(root / "x"))
    assert done.returncode == 1 and "There is no group" in done.stderr and "groupadd" in done.stderr
    assert not (root / "x").exists()
    done = ada.qd("init", "--shared", "shadow", str(root / "x"))
    assert done.returncode == 1 and "cannot be given to shadow" in done.stderr
