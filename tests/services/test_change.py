"""Changes on disk, with a real git repository: one commit each, generated files with it, nothing else touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.plan import InventoryChange
from console.drivers.git import Git
from console.services.change import regenerate, stale
from console.services.wishes import PowerAction
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
    assert (await regenerate(kept.folder, Git())).files == ()


async def test_a_generated_file_of_no_machine_is_stale_and_goes(kept: World) -> None:
    (kept.folder / "generated/old.nix").write_text("{ }\n")
    (diff,) = stale(kept.folder)
    assert (diff.name, diff.summary) == ("generated/old.nix", "deleted")
    await regenerate(kept.folder, Git())
    assert not (kept.folder / "generated/old.nix").exists()


async def test_generated_files_that_are_no_text_are_stale(kept: World) -> None:
    (kept.folder / "generated/vhost-a.nix").write_bytes(b"\xff\xfe\x00")
    assert [file.name for file in stale(kept.folder)] == ["generated/vhost-a.nix"]
    await regenerate(kept.folder, Git())
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
