"""What the git command tells of an inventory's history and standing, in real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.record import RepositoryState, obstacle, way_out
from console.drivers.git import Git
from tests.drivers.test_git import git


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inventory"
    (made / "hosts").mkdir(parents=True)
    await change(made, "version = 1\n", "Begin", new=True)
    return made


async def change(folder: Path, text: str, message: str, *, new: bool = False) -> str:
    if new:
        await Git().init(folder)
        git(folder, "config", "user.name", "Ada")
        git(folder, "config", "user.email", "ada@example.org")
    (folder / "fleet.toml").write_text(text)
    commit = await Git().commit(folder, ["fleet.toml"], message)
    assert commit is not None
    return commit


def by_hand(folder: Path, text: str, message: str) -> None:
    (folder / "fleet.toml").write_text(text)
    git(folder, "commit", "-qam", message)


def shared(folder: Path, tmp_path: Path) -> Path:
    """Give the inventory an upstream, and return another clone of it."""
    subprocess.run(["git", "clone", "-q", "--bare", str(folder), str(tmp_path / "up.git")], check=True)
    git(folder, "remote", "add", "origin", str(tmp_path / "up.git"))
    git(folder, "fetch", "-q")
    git(folder, "branch", "-q", "-u", "origin/main")
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(tmp_path / "up.git"), str(other)], check=True)
    for key, value in (("name", "Grace"), ("email", "grace@example.org")):
        git(other, "config", f"user.{key}", value)
    return other


def conflicting(folder: Path, how: str) -> None:
    """Begin what git cannot end by itself."""
    subprocess.run(["git", how, "-q", "origin/main"], cwd=folder, check=False, capture_output=True)


async def test_the_log_tells_our_commits_from_those_of_people(folder: Path) -> None:
    await change(folder, "version = 1 # a\n", "Create a/b")
    by_hand(folder, "version = 1 # b\n", "By hand")
    (folder / "mine.txt").write_text("x")
    found = await Git().log(folder, 10)
    assert [(c.subject, c.ours, c.who) for c in found] == [
        ("By hand", False, "Ada"),
        ("Create a/b", True, "Ada"),
        ("Begin", True, "Ada"),
    ]
    assert found[0].id.startswith(found[0].short)
    assert found[0].at.utcoffset() is not None
    assert [c.subject for c in await Git().log(folder, 1)] == ["By hand"]


async def test_there_is_no_history_without_commits_or_repository(tmp_path: Path) -> None:
    assert await Git().log(tmp_path, 5) == ()
    assert await Git().standing(tmp_path) == RepositoryState(present=False)
    await Git().init(tmp_path)
    assert await Git().log(tmp_path, 5) == ()
    assert (await Git().standing(tmp_path)).present


async def test_a_diff_and_the_texts_of_a_commit(folder: Path) -> None:
    (folder / "hosts/vhost-ä.toml").write_text('mac = "1"\n')
    (folder / "hosts/.hidden.toml").write_text("x")
    (folder / "fleet.toml").write_text("version = 2\n")
    await Git().commit(folder, ["fleet.toml", "hosts/vhost-ä.toml", "hosts/.hidden.toml"], "Two")
    assert "+version = 2" in await Git().diff(folder, "HEAD")
    assert await Git().texts(folder, "HEAD") == {"fleet.toml": "version = 2\n", "hosts/vhost-ä.toml": 'mac = "1"\n'}
    assert await Git().texts(folder, "HEAD^") == {"fleet.toml": "version = 1\n"}
    assert await Git().commit_named(folder, "HEAD~2") is None


async def test_a_diff_begins_with_what_people_write(folder: Path) -> None:
    (folder / "generated").mkdir()
    names = ["generated/b.nix", "generated/ä.nix", "hosts/last.toml"]
    for name in names:
        (folder / name).write_text("diff --git a/generated/none\n")
    await Git().commit(folder, names, "Two")
    diff = await Git().diff(folder, "HEAD")
    heads = [line.split("/")[1] for line in diff.splitlines() if line.startswith("+++ ")]
    assert heads == ["hosts", "generated", "generated"] and diff.count("+diff --git") == 3


@pytest.mark.parametrize("name", ["nothing", "--output=/tmp/x", "HEAD:fleet.toml", "", "\x1b[2J"])
async def test_what_is_no_commit_is_refused(folder: Path, name: str) -> None:
    for read in (Git().diff, Git().texts):
        with pytest.raises(FleetError, match="There is no commit"):
            await read(folder, name)


async def test_an_inventory_inside_a_repository_sees_its_own_part(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "fleet.toml").write_text("version = 1 # inner\n")
    await Git().commit(inner, ["fleet.toml"], "Inner")
    await change(folder, "version = 1 # outer\n", "Outer")
    assert [c.subject for c in await Git().log(inner, 9)] == ["Inner"]
    assert await Git().texts(inner, "HEAD") == {"fleet.toml": "version = 1 # inner\n"}
    assert "outer" not in await Git().diff(inner, "HEAD")


async def test_what_is_uncommitted_is_named(folder: Path) -> None:
    assert (await Git().standing(folder)).uncommitted == ()
    (folder / "fleet.toml").write_text("changed\n")
    (folder / "hosts/new one.toml").write_text("x")
    assert set((await Git().standing(folder)).uncommitted) == {"fleet.toml", "hosts/new one.toml"}


async def test_behind_and_diverged(folder: Path, tmp_path: Path) -> None:
    other = shared(folder, tmp_path)
    assert obstacle(await Git().standing(folder)) == ""
    by_hand(other, "version = 1 # theirs\n", "Theirs")
    git(other, "push", "-q")
    assert obstacle(await Git().standing(folder)) == "", "nothing is asked of the network"
    git(folder, "fetch", "-q")
    state = await Git().standing(folder)
    assert (state.upstream, state.ahead, state.behind) == ("origin/main", 0, 1)
    assert obstacle(state) == "The inventory is 1 commit behind origin/main."
    assert way_out(state, "/x").endswith("git -C /x pull --ff-only")
    by_hand(folder, "version = 1 # ours\n", "Ours")
    state = await Git().standing(folder)
    assert "diverged from origin/main: 1 commit only here, 1 commit only there" in obstacle(state)
    assert "pull --rebase" in way_out(state, "/x")
    conflicting(folder, "merge")
    state = await Git().standing(folder)
    assert state.operation == "merge"
    assert "in the middle of a merge" in obstacle(state)
    git(folder, "merge", "--abort")
    conflicting(folder, "rebase")
    assert (await Git().standing(folder)).operation == "rebase"


async def test_ahead_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    shared(folder, tmp_path)
    by_hand(folder, "version = 1 # ours\n", "Ours")
    state = await Git().standing(folder)
    assert state.ahead == 1
    assert obstacle(state) == ""


async def test_whom_commits_name(folder: Path, tmp_path: Path) -> None:
    assert await Git().identity(folder) == "Ada <ada@example.org>"
