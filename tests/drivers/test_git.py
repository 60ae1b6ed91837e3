"""Commits of the inventory by the git command, in real repositories."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.record import obstacle, way_out
from console.drivers.git import Git


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inventory"
    (made / "hosts").mkdir(parents=True)
    (made / "fleet.toml").write_text("version = 1\n")
    return made


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


async def repository(folder: Path) -> Git:
    made = Git()
    await made.init(folder)
    await made.commit(folder, ["fleet.toml"], "Begin")
    return made


async def test_a_commit_holds_exactly_the_given_files(folder: Path) -> None:
    made = await repository(folder)
    (folder / "hosts/a.toml").write_text("new")
    (folder / "fleet.toml").write_text("changed")
    (folder / "mine.txt").write_text("not yours")
    git(folder, "add", "mine.txt")
    commit = await made.commit(folder, ["hosts/a.toml", "fleet.toml"], "Add host a")
    assert commit == git(folder, "rev-parse", "--short", "HEAD").strip()
    assert git(folder, "show", "--name-only", "--format=%s").split("\n") == [
        "Add host a",
        "",
        "fleet.toml",
        "hosts/a.toml",
        "",
    ]
    assert git(folder, "status", "--short") == "A  mine.txt\n"


async def test_a_deleted_file_is_committed_as_deleted(folder: Path) -> None:
    made = await repository(folder)
    (folder / "hosts/a.toml").write_text("new")
    await made.commit(folder, ["hosts/a.toml"], "Add host a")
    (folder / "hosts/a.toml").unlink()
    assert await made.commit(folder, ["hosts/a.toml"], "Remove host a")
    assert git(folder, "ls-files") == "fleet.toml\n"


async def test_a_file_that_git_never_knew_may_be_deleted_along_with_others(folder: Path) -> None:
    made = await repository(folder)
    (folder / "fleet.toml").write_text("changed")
    assert await made.commit(folder, ["hosts/never-committed.toml", "fleet.toml"], "Remove host") is not None
    assert git(folder, "status", "--short") == ""


async def test_nothing_changed_is_no_commit(folder: Path) -> None:
    made = await repository(folder)
    assert await made.commit(folder, ["fleet.toml"], "Nothing") is None
    assert git(folder, "rev-list", "--count", "HEAD") == "1\n"


async def test_without_a_repository_nothing_is_committed_and_nothing_refused(folder: Path) -> None:
    assert await Git().commit(folder, ["fleet.toml"], "x") is None
    assert not (folder / ".git").exists()


async def test_a_folder_inside_a_repository_uses_that_one(folder: Path) -> None:
    await repository(folder)
    inner = folder / "inner"
    inner.mkdir()
    (inner / "fleet.toml").write_text("x")
    made = Git()
    await made.init(inner)
    assert not (inner / ".git").exists()
    assert await made.commit(inner, ["fleet.toml"], "Inner")
    assert git(folder, "show", "--name-only", "--format=").strip() == "inner/fleet.toml"


async def test_a_hook_that_refuses_is_quoted_and_the_file_stays(folder: Path) -> None:
    made = await repository(folder)
    hook = folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no commits on \033[31mFriday' >&2\nexit 1\n")
    hook.chmod(0o755)
    (folder / "fleet.toml").write_text("changed")
    with pytest.raises(FleetError) as caught:
        await made.commit(folder, ["fleet.toml"], "Change")
    assert "commit" in caught.value.title and str(folder) in caught.value.title
    assert "no commits on ?[31mFriday" in caught.value.detail
    assert (folder / "fleet.toml").read_text() == "changed"
    hook.unlink()
    assert await made.commit(folder, ["fleet.toml"], "Change")


async def test_the_operator_is_the_author_where_git_was_told_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("LOGNAME", "margaret")
    await repository(folder)
    assert git(folder, "log", "--format=%an|%cn").strip() == "margaret|margaret"


async def test_an_author_from_the_environment_alone_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("LOGNAME", "margaret")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    await repository(folder)
    assert git(folder, "log", "--format=%an").strip() == "Ada"


async def test_a_configured_identity_is_used(folder: Path) -> None:
    made = Git()
    await made.init(folder)
    git(folder, "config", "user.name", "Grace")
    git(folder, "config", "user.email", "grace@example.org")
    await made.commit(folder, ["fleet.toml"], "Begin")
    assert git(folder, "log", "--format=%an <%ae>").strip() == "Grace <grace@example.org>"


async def test_the_surroundings_of_a_git_hook_do_not_lead_to_another_repository(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await repository(folder)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (folder / "fleet.toml").write_text("changed")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    await made.commit(folder, ["fleet.toml"], "Change")
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert git(folder, "log", "-1", "--format=%s").strip() == "Change"
    assert git(other, "status", "--short") == ""


async def test_a_message_with_quotes_and_dollars_arrives_as_it_is(folder: Path) -> None:
    made = await repository(folder)
    (folder / "fleet.toml").write_text("changed")
    message = """--amend 'x' "${y}" $(z)"""
    await made.commit(folder, ["fleet.toml"], message)
    assert git(folder, "log", "-1", "--format=%s").strip() == message


async def test_without_git_the_sentence_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(FleetError) as caught:
        await Git().commit(folder, ["fleet.toml"], "x")
    assert "git is not installed" in str(caught.value)


async def test_a_broken_repository_is_no_missing_one(folder: Path) -> None:
    made = await repository(folder)
    (folder / ".git/HEAD").write_text("nonsense\n")
    (folder / "fleet.toml").write_text("changed")
    (folder / ".git/config").write_text("[broken\n")
    with pytest.raises(FleetError) as caught:
        await made.commit(folder, ["fleet.toml"], "x")
    assert "Mend the repository" in caught.value.hint


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
async def test_the_lock_of_a_killed_git_is_told_with_the_way_out(folder: Path, name: str) -> None:
    made = await repository(folder)
    lock = folder / ".git" / name
    lock.touch()
    state = await made.standing(folder)
    assert state.locks == (str(lock),)
    assert str(lock) in obstacle(state) and way_out(state, str(folder)).endswith(f"rm {lock}")
    (folder / "fleet.toml").write_text("changed")
    with pytest.raises(FleetError) as caught:
        await made.commit(folder, ["fleet.toml"], "x")
    assert "is locked" in caught.value.title and caught.value.hint.endswith(f"rm {lock}")
    lock.unlink()
    assert (await made.standing(folder)).locks == ()
    assert await made.commit(folder, ["fleet.toml"], "x")


async def test_all_that_one_killed_git_left_is_told_at_once(folder: Path) -> None:
    made = await repository(folder)
    locks = [folder / ".git" / name for name in ("HEAD.lock", "index.lock", "next-index-7.lock")]
    for lock in locks:
        lock.touch()
    state = await made.standing(folder)
    assert way_out(state, str(folder)).endswith(f"rm {locks[0]} {locks[1]}")
    assert obstacle(state).endswith("index.lock exist.")


async def test_a_lock_that_goes_away_soon_is_nothing_to_tell(folder: Path) -> None:
    made = await repository(folder)
    lock = folder / ".git/index.lock"
    lock.touch()
    asked = asyncio.create_task(made.standing(folder))
    asyncio.get_running_loop().call_later(0.5, lock.unlink)
    assert (await asked).locks == ()


async def test_what_people_wrote_is_committed_without_the_mark(folder: Path) -> None:
    made = await repository(folder)
    (folder / "fleet.toml").write_text("by hand")
    await made.commit(folder, ["fleet.toml"], "Keep", by_hand=True)
    assert [commit.ours for commit in await made.log(folder, 9)] == [False, True]


async def test_what_is_not_committed_has_its_name_in_the_inventory(folder: Path) -> None:
    made = await repository(folder)
    inner = folder / "inner"
    (inner / "hosts").mkdir(parents=True)
    (inner / "hosts/a.toml").write_text("x")
    (inner / "hosts/.a.toml.qd-new").write_text("left by a killed write")
    assert (await made.standing(inner)).uncommitted == ("hosts/a.toml",)


async def test_a_git_that_takes_too_long_leaves_no_lock(folder: Path) -> None:
    made = await repository(folder)
    hook = folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch started; exec sleep 600\n")
    hook.chmod(0o755)
    (folder / "fleet.toml").write_text("changed")
    committing = asyncio.create_task(made.commit(folder, ["fleet.toml"], "x"))
    async with asyncio.timeout(30):
        while not (folder / "started").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert not list((folder / ".git").glob("*.lock"))


async def test_nothing_that_git_starts_can_ask_on_the_terminal(folder: Path) -> None:
    made = await repository(folder)
    hook = folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ncut -d' ' -f6,7 /proc/$$/stat > session\n")
    hook.chmod(0o755)
    (folder / "fleet.toml").write_text("changed")
    await made.commit(folder, ["fleet.toml"], "x")
    session, terminal = (folder / "session").read_text().split()
    assert int(session) != os.getsid(0) and terminal == "0"
