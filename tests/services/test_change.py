"""Changes on disk, with a real git repository: one commit each, generated files with it, nothing else touched."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.plan import FileDiff, InventoryChange
from console.drivers.git import Git
from console.services.change import commit_change, generated_findings, regenerate
from console.services.wishes import PowerAction
from tests.fakes import FakeRepository
from tests.services.test_hosts import host_wish
from tests.services.world import HOST, WEB, World, hosts, open_world, wish, write


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world whose inventory is a git repository with one commit."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "inventory"
    write(folder)
    made = open_world(folder, hosts(), tmp_path / "state", Git())
    await Git().init(folder)
    await regenerate(folder, Git())
    await Git().commit(folder, ["."], "Begin")
    await made.session.start()
    await made.see()
    await made.apply(made.session.plan_fleet())
    yield made
    await made.session.close()


def stale(folder: Path) -> tuple[FileDiff, ...]:
    return generated_findings(folder).stale_diffs()


def log(world: World) -> list[str]:
    return git(world.folder, "log", "--format=%s").splitlines()


async def test_every_change_is_one_commit_with_its_generated_files(kept: World) -> None:
    before = len(log(kept))
    assert (await kept.create(autostart=True)).ok
    assert (await kept.apply(kept.session.plan_autostart([WEB], True))).ok
    assert (await kept.apply(kept.session.plan_add_host(host_wish()))).ok
    assert (await kept.apply(kept.session.plan_remove(WEB))).ok
    assert (await kept.apply(kept.session.plan_remove_host("vhost-c"))).ok
    assert log(kept)[:-before] == [
        "Remove host vhost-c",
        "Remove vhost-a/web",
        "Add host vhost-c",
        "Start vhost-a/web with its host",
        "Create vhost-a/new",
    ]
    for number in range(3):
        files = git(kept.folder, "show", "--name-only", "--format=", f"HEAD~{number}").split()
        assert {Path(file).parts[0] for file in files} == {"generated", "hosts"}
    assert git(kept.folder, "status", "--short") == ""
    assert stale(kept.folder) == ()
    assert await kept.verbs_of(kept.session.plan_fleet) == []


async def test_a_power_action_is_no_commit(kept: World) -> None:
    before = log(kept)
    assert (await kept.apply(kept.session.plan_power([WEB], PowerAction.START))).ok
    assert log(kept) == before


async def test_what_the_plan_shows_is_what_is_written(kept: World) -> None:
    plan = await kept.session.preview(kept.session.plan_create(wish(), start=False))
    files = kept.files()
    assert [file.name for file in plan.files] == ["hosts/vhost-a.toml", "generated/vhost-a.nix"]
    assert kept.files() == files, "showing writes nothing"
    assert "+[guests.new]" in plan.files[0].diff and plan.files[0].summary.startswith("+")
    await kept.apply(plan)
    shown = {
        line
        for file in plan.files
        for line in file.diff.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    }
    written = {
        line
        for line in git(kept.folder, "show", "--format=").splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    }
    assert shown == written


async def test_a_change_of_one_host_leaves_the_files_of_others_alone(kept: World) -> None:
    before = kept.files()["generated/vhost-b.nix"]
    (kept.folder / "generated/vhost-b.nix").write_text(before + "# stale by hand\n")
    await kept.create()
    assert kept.files()["generated/vhost-b.nix"] == before + "# stale by hand\n"


async def test_a_hook_that_refuses_loses_nothing(kept: World) -> None:
    hook = kept.folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on Fridays' >&2\nexit 1\n")
    hook.chmod(0o755)
    outcome = await kept.create()
    assert outcome.ok and outcome.commit is None
    assert any("not committed" in left and "not on Fridays" in left for left in outcome.left)
    assert "[guests.new]" in kept.files()["hosts/vhost-a.toml"]
    hook.unlink()
    assert (await kept.apply(kept.session.plan_autostart([WEB], True))).commit
    assert git(kept.folder, "status", "--short") == "", "what could not be committed comes along with the next change"


async def test_edits_by_hand_that_were_not_committed_are_kept_apart_from_the_change(kept: World) -> None:
    kept.edit("hosts/vhost-a.toml", "vcpus = 2       # half", "vcpus = 1       # a quarter")
    kept.edit("hosts/vhost-b.toml", 'accel = "kvm"', 'accel = "kvm"  # since May')
    assert (await kept.create()).ok
    assert log(kept)[:2] == ["Create vhost-a/new", "Keep what was not committed: hosts/vhost-a.toml"]
    assert "a quarter" not in git(kept.folder, "show", "--format=", "HEAD")
    assert git(kept.folder, "status", "--short").split() == ["M", "hosts/vhost-b.toml"], "that one was not touched"
    assert (await kept.apply(kept.session.plan_undo(await kept.session.last_change()))).ok
    assert "# a quarter" in kept.files()["hosts/vhost-a.toml"], "an undo takes back the change alone"


async def test_a_locked_repository_refuses_before_anything_is_written(kept: World) -> None:
    files = kept.files()
    (kept.folder / ".git/index.lock").touch()
    with pytest.raises(FleetError, match="refused") as refused:
        await kept.create()
    assert refused.value.hint.startswith("If no git runs there any more: rm ")
    assert kept.files() == files


async def test_who_cancels_waits_until_the_change_is_committed(kept: World) -> None:
    hook = kept.folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch .git/started; until [ -e .git/go ]; do :; done\n")
    hook.chmod(0o755)
    change = kept.session.plan_autostart([WEB], True).change
    assert change is not None
    task = asyncio.create_task(commit_change(kept.folder, change, Git()))
    async with asyncio.timeout(30):
        while not (kept.folder / ".git/started").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    task.cancel()
    (kept.folder / ".git/go").touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log(kept)[0] == change.summary
    assert git(kept.folder, "status", "--short") == ""


async def test_without_a_repository_the_change_is_made_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "inventory")
    made = open_world(tmp_path / "inventory", hosts(), tmp_path / "state", Git())
    await made.see()
    outcome = await made.create()
    assert outcome.ok and outcome.commit is None and outcome.left == ()
    assert "[guests.new]" in made.files()["hosts/vhost-a.toml"]


async def test_a_failed_create_is_two_commits_that_cancel_out(kept: World) -> None:
    tree = git(kept.folder, "rev-parse", "HEAD^{tree}")
    kept.fake.fail_at = {len(kept.fake.verbs) + 2}
    assert not (await kept.create()).ok
    assert log(kept)[:2] == ["Take back: Create vhost-a/new", "Create vhost-a/new"]
    assert git(kept.folder, "rev-parse", "HEAD^{tree}") == tree
    assert git(kept.folder, "status", "--short") == ""


async def test_a_hand_edit_makes_generated_files_stale_until_generate(kept: World) -> None:
    assert stale(kept.folder) == ()
    kept.edit("hosts/vhost-a.toml", "vcpus = 2", "vcpus = 3")
    (diff,) = stale(kept.folder)
    assert diff.name == "generated/vhost-a.nix" and "+" in diff.diff and "vcpus = 3" in diff.diff
    done = await regenerate(kept.folder, Git())
    assert done.files == ("generated/vhost-a.nix",) and done.commit
    assert stale(kept.folder) == ()
    # asyncio.run has Python show this: of a large fleet that takes longer than the work.
    assert len(repr(done)) < 200
    assert (await regenerate(kept.folder, Git())).files == ()


async def test_a_generated_file_of_no_machine_is_stale_and_goes(kept: World) -> None:
    (kept.folder / "generated/old.nix").write_text(kept.files()["generated/vhost-b.nix"])
    (diff,) = stale(kept.folder)
    assert (diff.name, diff.summary) == ("generated/old.nix", "deleted")
    await regenerate(kept.folder, Git())
    assert not (kept.folder / "generated/old.nix").exists()


async def test_what_quarterdeck_has_not_written_is_left_alone(kept: World) -> None:
    for name in ("generated/mine.nix", "hosts/mine.nix", "machines/vhost-a.nix"):
        (kept.folder / name).parent.mkdir(exist_ok=True)
        (kept.folder / name).write_text("{ }\n")
    before = kept.files()
    assert generated_findings(kept.folder).foreign == ["generated/mine.nix"]
    assert (await regenerate(kept.folder, Git(), overwrite=True)).files == ()
    assert kept.files() == before


def edit_by_hand(world: World) -> str:
    path = world.folder / "generated/vhost-a.nix"
    path.write_text(path.read_text().replace("vcpus = 2", "vcpus = 7"))
    return path.read_text()


async def test_an_edit_of_a_generated_file_is_never_overwritten_in_silence(kept: World) -> None:
    edited = edit_by_hand(kept)
    (diff,) = generated_findings(kept.folder).edited_diffs()
    assert diff.name == "generated/vhost-a.nix" and "vcpus = 7;" in diff.diff
    before = log(kept)
    for refused in (regenerate(kept.folder, Git()), kept.session.preview(kept.session.plan_autostart([WEB], True))):
        with pytest.raises(FleetError, match=r"machines/vhost-a\.nix.*qd generate --overwrite"):
            await refused
    with pytest.raises(FleetError, match=r"generated/vhost-a\.nix"):
        await kept.create()
    assert kept.files()["generated/vhost-a.nix"] == edited and log(kept) == before
    assert (await kept.apply(kept.session.plan_add_host(host_wish()))).ok, "other machines' files do not matter"
    assert (await regenerate(kept.folder, Git(), overwrite=True)).files == ("generated/vhost-a.nix",)
    assert not generated_findings(kept.folder).edited
    assert (await kept.create()).ok


async def test_an_edit_that_says_what_the_inventory_says_now_is_none(kept: World) -> None:
    kept.edit("hosts/vhost-a.toml", "vcpus = 2", "vcpus = 3")
    path = kept.folder / "generated/vhost-a.nix"
    path.write_text(path.read_text().replace("vcpus = 2", "vcpus = 3").replace(">2</vcpu>", ">3</vcpu>"))
    assert generated_findings(kept.folder).edited  # the digest of the definition still is the old one
    await regenerate(kept.folder, Git(), overwrite=True)
    text = path.read_text()
    path.write_text(text.replace(text.splitlines()[3], "# digest: sha256-" + "0" * 64))
    found = generated_findings(kept.folder)
    assert not found.edited and list(found.stale) == ["generated/vhost-a.nix"]


async def test_generated_files_that_are_no_text_are_edited_by_hand(kept: World) -> None:
    (kept.folder / "generated/vhost-a.nix").write_bytes(b"\xff\xfe\x00")
    assert list(generated_findings(kept.folder).edited) == ["generated/vhost-a.nix"]
    await regenerate(kept.folder, Git(), overwrite=True)
    assert stale(kept.folder) == ()


async def test_a_folder_that_cannot_be_written_is_named(kept: World) -> None:
    files = kept.files()
    (kept.folder / "hosts/vhost-c.toml").mkdir()
    with pytest.raises(FleetError) as caught:
        await kept.session.change(
            InventoryChange(summary="x", before=kept.session.store.fleet, after=kept.session.store.fleet)
        )
    assert "hosts/vhost-c.toml" in str(caught.value)
    (kept.folder / "hosts/vhost-c.toml").rmdir()
    assert kept.files() == files


async def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    """Some keep the files elsewhere and link them in."""
    write(tmp_path / "inventory")
    real = tmp_path / "elsewhere.toml"
    link = tmp_path / "inventory/hosts/vhost-a.toml"
    link.rename(real)
    link.symlink_to(real)
    made = open_world(tmp_path / "inventory", hosts(), tmp_path / "state")
    await made.see()
    assert (await made.create()).ok
    assert link.is_symlink() and "[guests.new]" in real.read_text() and HOST.splitlines()[0] in real.read_text()


async def test_what_was_written_and_not_committed_by_one_who_was_killed_is_committed(kept: World) -> None:
    plan = kept.session.plan_create(wish(), start=False)
    assert plan.change
    done = await commit_change(kept.folder, plan.change, FakeRepository())
    assert set(done.files) == {"hosts/vhost-a.toml", "generated/vhost-a.nix"}
    before = len(log(kept))
    again = await commit_change(kept.folder, plan.change, Git())
    assert again.commit and again.files == (), "nothing had to be written"
    assert log(kept)[:-before] == ["Create vhost-a/new"]
    assert git(kept.folder, "status", "--short") == ""
    assert (await commit_change(kept.folder, plan.change, Git())).commit is None
