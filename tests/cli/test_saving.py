"""Saving goes wrong, in real commands: killed at each system call, no room, a failing disk, somebody else at work.

Whatever happens every file is whole, old or new; the next command works; and the operator is told what to do.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.inventory.files import read_inventory
from console.inventory.writing import is_aside
from console.services.change import generated_findings
from tests.cli.place import Place, git

OFTEN = 60
"""No walk is longer: it ends with the first run that nothing happened to."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An inventory of one host, and a command that changes both of its files, to `new` when it gives address 12."""

    place: Place
    folder: Path
    new: dict[str, str]

    @property
    def paths(self) -> list[Path]:
        """What is written when the host is changed, and where."""
        files = [self.folder / "hosts/vhost-a.toml", self.folder / "generated/vhost-a.nix"]
        return [*(path.with_name(f".{path.name}.qd-new") for path in files), *(path.parent for path in files)]

    def texts(self) -> dict[str, str]:
        return {name: (self.folder / name).read_text() for name in ("hosts/vhost-a.toml", "generated/vhost-a.nix")}

    def command(self, address: str) -> list[str]:
        python = (self.place.python, "-m", "console", "--inventory", str(self.folder))
        return [*python, "host", "set", "vhost-a", "--address", f"10.0.0.{address}/24"]

    def run(self, address: str, *before: str) -> subprocess.CompletedProcess[str]:
        """Run the command, under what is given before it."""
        done = subprocess.run(
            [*before, *self.command(address)],
            env=self.place.env,
            cwd=self.place.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def traced(self, address: str, inject: str, paths: list[Path]) -> subprocess.CompletedProcess[str]:
        """Run the command with a fault injected into its system calls on these paths."""
        options = ["-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", f"trace={inject.partition(':')[0]}"]
        named = [word for path in paths for word in ("-P", str(path))]
        return self.run(address, "strace", *options, *named, "-e", f"inject={inject}")

    def left_behind(self) -> list[str]:
        return [path.name for path in self.folder.rglob(".*") if is_aside(path.name)]


@pytest.fixture(scope="module")
def original(place: Place) -> tuple[Path, dict[str, str]]:
    """The inventory as it is copied for each test, and its texts once the host's address ends in 12."""
    folder = place.root / "cellar"
    place.ok("init", str(folder))
    place.ok(
        "--inventory", str(folder), "host", "add", "vhost-a", "--mac", "52:54:00:10:00:0a", "--address", "10.0.0.11/24",
        "--uri", "qemu+tcp://127.0.0.1:1/system",
    )  # fmt: skip
    changed = place.root / "changed"
    shutil.copytree(folder, changed)
    assert Saved(place, changed, {}).run("12").returncode == 0
    return folder, Saved(place, changed, {}).texts()


@pytest.fixture
def saved(place: Place, original: tuple[Path, dict[str, str]], tmp_path: Path) -> Saved:
    folder, new = original
    shutil.copytree(folder, tmp_path / "cellar")
    return Saved(place, tmp_path / "cellar", new)


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None
    or subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode != 0,
    reason="strace cannot trace here",
)
needs_mounts = pytest.mark.skipif(
    os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="needs root and mount namespaces",
)


def check_whole(saved: Saved, before: dict[str, str], *, told: bool = False) -> None:
    """Each file is old or new, the inventory is sound, and the next command works once its advice is followed.

    told: doctor names what was written and not committed.
    """
    for name, text in saved.texts().items():
        assert text in (before[name], saved.new[name]), name
    read_inventory(saved.folder).require_sound()
    if told:
        loose = [name for name in git(saved.folder, "status", "--short").split()[1::2] if not name.endswith(".qd-new")]
        said = saved.place.qd("--inventory", str(saved.folder), "doctor").stdout
        assert loose and all(name in said.partition("Not committed: ")[2] for name in loose), said
    done = saved.run("99")
    if done.returncode != 0:
        advice = re.search(r"If no git runs there any more: (rm(?: /\S+)+)", done.stderr)
        assert advice, done.stderr
        assert saved.place.qd("--inventory", str(saved.folder), "doctor").stdout.count(advice[1]) == 1
        subprocess.run(advice[1].split(), check=True)
        done = saved.run("99")
    assert done.returncode == 0, done.stderr
    assert 'address = "10.0.0.99/24"' in saved.texts()["hosts/vhost-a.toml"]
    assert saved.left_behind() == []
    assert git(saved.folder, "status", "--short") == ""
    git(saved.folder, "fsck", "--strict")
    assert not generated_findings(saved.folder).stale


@needs_strace
@pytest.mark.parametrize(("call", "number"), [("write", 1), ("fsync", 2), ("renameat2", 2), ("unlink", 1)])
def test_killed_while_it_writes(saved: Saved, call: str, number: int) -> None:
    before = saved.texts()
    done = saved.traced("12", f"{call}:signal=KILL:when={number}", saved.paths)
    assert done.returncode != 0, "it was to be killed"
    assert saved.left_behind(), "it was to be killed while it wrote"
    check_whole(saved, before, told=call in ("renameat2", "unlink"))


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("call", ["openat", "fchmod", "write", "fsync", "close", "renameat2", "unlink", "newfstatat"])
def test_killed_at_each_system_call_of_the_write(saved: Saved, call: str) -> None:
    before = saved.texts()
    for number in range(1, OFTEN):
        done = saved.traced("12", f"{call}:signal=KILL:when={number}", saved.paths)
        check_whole(saved, before)
        if done.returncode == 0:
            break
        assert saved.run("11").returncode == 0
        assert saved.texts() == before
    assert 1 < number < OFTEN - 1


def git_paths(saved: Saved) -> list[Path]:
    names = ("index.lock", "index", "HEAD.lock", "refs/heads/main.lock", "refs/heads/main", "COMMIT_EDITMSG")
    return [saved.folder / ".git" / name for name in names]


@needs_strace
@pytest.mark.parametrize(("call", "number"), [("rename", 1), pytest.param("write", 1, marks=pytest.mark.slow)])
def test_git_is_killed_while_it_commits(saved: Saved, call: str, number: int) -> None:
    before = saved.texts()
    done = saved.traced("12", f"{call}:signal=KILL:when={number}", git_paths(saved))
    assert "Written, but not committed" in done.stderr and "git" in done.stderr, done.stderr
    assert "10.0.0.12" in saved.texts()["hosts/vhost-a.toml"], "what is written stays"
    check_whole(saved, before)


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("call", ["openat", "write", "close", "rename", "unlink"])
def test_git_is_killed_at_each_system_call_on_its_index_and_branch(saved: Saved, call: str) -> None:
    before = saved.texts()
    for number in range(1, OFTEN):
        done = saved.traced("12", f"{call}:signal=KILL:when={number}", git_paths(saved))
        check_whole(saved, before)
        if done.returncode == 0 and not done.stderr:
            break
        assert saved.run("11").returncode == 0
        assert saved.texts() == before
    assert number < OFTEN - 1


@needs_strace
@pytest.mark.parametrize(
    ("inject", "said"),
    [
        ("write:error=ENOSPC:when=2", ("No space left on device", "Make room")),
        pytest.param("fsync:error=EIO:when=1", ("Input/output error", "dmesg"), marks=pytest.mark.slow),
        ("fsync:error=EIO:when=3", ("Input/output error", "dmesg")),
        pytest.param("fchmod:error=EDQUOT:when=1", ("quota", "make room"), marks=pytest.mark.slow),
        ("renameat2:error=EIO:when=2", ("Input/output error", "dmesg")),
    ],
)
def test_a_disk_that_fails_is_told_and_nothing_is_changed(saved: Saved, inject: str, said: tuple[str, ...]) -> None:
    before, commits = saved.texts(), git(saved.folder, "log", "--format=%s")
    done = saved.traced("12", inject, saved.paths)
    assert done.returncode == 1 and "was not written" in done.stderr, done.stderr
    assert all(word in done.stderr for word in said) and "Nothing was changed." in done.stderr, done.stderr
    assert saved.texts() == before and saved.left_behind() == []
    assert git(saved.folder, "log", "--format=%s") == commits and git(saved.folder, "status", "--short") == ""


@needs_strace
def test_where_files_cannot_change_places_it_is_written_all_the_same(saved: Saved) -> None:
    done = saved.traced("12", "renameat2:error=EINVAL", saved.paths)
    assert done.returncode == 0, done.stderr
    assert "10.0.0.12" in saved.texts()["hosts/vhost-a.toml"] and saved.left_behind() == []
    assert git(saved.folder, "status", "--short") == ""


@needs_mounts
@pytest.mark.parametrize(
    "pages", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 3, 4, 5, 6, 8, 12, 16))]
)
def test_a_full_disk(saved: Saved, pages: int) -> None:
    """The inventory is on a file system with so many pages left; afterwards it is copied back to look at."""
    before, folder = saved.texts(), saved.folder
    script = (
        'mount -t tmpfs -o size=4m,mode=755 none "$1" && cp -a "$2/." "$1" && '
        'dd if=/dev/zero of="$1/.git/ballast" bs=4096 2>/dev/null; truncate -s -$(($3 * 4096)) "$1/.git/ballast"; '
        'cd /; shift 3; "$@"; status=$?; rm "$FOLDER/.git/ballast"; cp -a "$FOLDER/." "$BACK"; exit $status'
    )
    copy, back = folder.with_name("copy"), folder.with_name("back")
    shutil.copytree(folder, copy, symlinks=True)
    back.mkdir()
    saved.place.env |= {"FOLDER": str(folder), "BACK": str(back)}
    done = saved.run("12", "unshare", "-m", "sh", "-c", script, "sh", str(folder), str(copy), str(pages))
    shutil.rmtree(folder)
    back.rename(folder)
    if done.returncode != 0:
        assert "No space left on device" in done.stderr and "Nothing was changed." in done.stderr, done.stderr
        assert saved.texts() == before
    elif done.stderr:
        assert "not committed" in done.stderr or "not complete" in done.stderr, done.stderr
    check_whole(saved, before)


@needs_mounts
def test_a_folder_that_is_read_only(saved: Saved) -> None:
    before = saved.texts()
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd / && shift && exec "$@"'
    done = saved.run("12", "unshare", "-m", "sh", "-c", script, "sh", str(saved.folder))
    assert done.returncode == 1 and "Read-only file system" in done.stderr, done.stderr
    assert "Nothing was changed." in done.stderr
    check_whole(saved, before)


@needs_strace
@pytest.mark.parametrize("by_rename", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_file_edited_in_the_very_moment_of_writing_keeps_both_edits(saved: Saved, by_rename: bool) -> None:
    path = saved.folder / "hosts/vhost-a.toml"
    options = ["-f", "-qq", "-o", "/dev/null", "-P", str(saved.paths[0]), "-e", "inject=renameat2:delay_enter=1500000"]
    process = subprocess.Popen(["strace", *options, *saved.command("12")], env=saved.place.env, cwd=saved.place.root)
    deadline = time.monotonic() + 60
    while not saved.paths[0].exists() and time.monotonic() < deadline:
        os.sched_yield()
    if by_rename:
        other = path.with_name("editor~")
        other.write_text(path.read_text() + "# by hand\n")
        other.rename(path)
    else:
        with path.open("a") as stream:
            stream.write("# by hand\n")
    assert process.wait(timeout=120) == 0
    assert "# by hand" in path.read_text() and "10.0.0.12" in path.read_text()
    assert git(saved.folder, "log", "-2", "--format=%s").splitlines() == [
        "Set host vhost-a: address",
        "Keep what was not committed: hosts/vhost-a.toml",
    ]


def test_it_waits_for_who_is_at_work(saved: Saved) -> None:
    holder = os.open(saved.folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    process = subprocess.Popen(saved.command("12"), env=saved.place.env, cwd=saved.place.root)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    assert "10.0.0.11" in saved.texts()["hosts/vhost-a.toml"]
    os.close(holder)
    assert process.wait(timeout=60) == 0
    assert "10.0.0.12" in saved.texts()["hosts/vhost-a.toml"]


@pytest.mark.slow
def test_who_holds_the_lock_for_too_long_is_named(saved: Saved) -> None:
    before = saved.texts()
    holder = subprocess.Popen(["flock", str(saved.folder), "sleep", "600"])
    try:
        done = saved.run("12")
    finally:
        holder.kill()
        holder.wait()
    assert done.returncode == 1 and "is being changed by somebody else" in done.stderr
    assert f"process {holder.pid} of" in done.stderr and "sleep 600" in done.stderr
    assert saved.texts() == before
