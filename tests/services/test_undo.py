"""Undo of the last recorded change, in a real repository: the inverse on files and hosts, or a reason."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.model import Fleet, Host, Network
from console.domain.move import moved
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode, Outcome, Plan
from console.drivers.git import Git
from console.services.wishes import HostWish, PowerAction
from tests.drivers.test_git import git
from tests.services.world import WEB, World, hosts, open_world, write


@pytest.fixture
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The world in a git repository, with what is wanted made on its hosts."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "inventory"
    write(folder)
    await Git().init(folder)
    await Git().commit(folder, ["fleet.toml", "hosts"], "Begin")
    made = open_world(folder, hosts(), tmp_path / "state", Git())
    await made.session.start()
    await made.see()
    assert (await made.apply(made.session.plan_fleet())).ok
    yield made
    await made.session.close()


async def plan_of(world: World) -> Plan:
    return world.session.plan_undo(await world.session.last_change())


async def undo(world: World) -> Outcome:
    return await world.apply(await plan_of(world))


def subjects(world: World) -> list[str]:
    return git(world.folder, "log", "--format=%s").splitlines()


def inventory(world: World) -> dict[str, str]:
    return {name: text for name, text in world.files().items() if name.startswith(("fleet", "hosts"))}


async def test_a_create_is_undone_its_disk_stays(kept: World) -> None:
    assert (await kept.create()).ok
    before = git(kept.folder, "show", "HEAD^:hosts/vhost-a.toml")
    plan = await plan_of(kept)
    assert plan.title == "Undo: Create vhost-a/new"
    assert [step.sentence for step in plan.steps] == ["undefine new"]
    assert any("stays on vhost-a" in warning for warning in plan.warnings)
    assert (await kept.apply(plan)).ok
    assert "new" not in kept.session.store.fleet.hosts["vhost-a"].guests
    assert (kept.folder / "hosts/vhost-a.toml").read_text() == before
    assert any("new" in volume for volume in kept.host.pools["default"])
    assert subjects(kept)[0] == "Undo: Create vhost-a/new"


async def test_an_undo_is_undone_the_volumes_are_found_again(kept: World) -> None:
    assert (await kept.create()).ok
    wanted = inventory(kept)
    volumes = dict(kept.host.pools["default"])
    assert (await undo(kept)).ok
    plan = await plan_of(kept)
    assert plan.title == "Redo: Create vhost-a/new"
    assert [step.sentence for step in plan.steps] == ["define new"]
    assert (await kept.apply(plan)).ok
    assert inventory(kept) == wanted
    assert kept.host.pools["default"] == volumes
    assert (await plan_of(kept)).title == "Undo: Create vhost-a/new"


async def test_a_running_guest_is_not_undone(kept: World) -> None:
    assert (await kept.create(start=True)).ok
    files = kept.files()
    with pytest.raises(FleetError, match="new was not removed") as refused:
        await plan_of(kept)
    assert "Shut it down" in refused.value.hint
    assert kept.files() == files


async def test_an_edit_is_edited_back_on_the_host_too(kept: World) -> None:
    before = inventory(kept)
    wish = replace(kept.session.wish_of(WEB), vcpus="7", memory="6 GiB")
    assert (await kept.apply(kept.session.plan_edit(WEB, wish, ApplyMode.NEXT_BOOT))).ok
    plan = await plan_of(kept)
    assert [step.sentence for step in plan.steps] == ["define web anew"]
    assert {difference.fact for difference in plan.differences} >= {"vcpus", "memory"}
    assert (await kept.apply(plan)).ok
    assert inventory(kept) == before
    assert kept.session.plan_fleet().is_empty


async def test_what_is_undone_reaches_a_running_guest_at_its_next_boot(kept: World) -> None:
    assert (await kept.apply(kept.session.plan_power([WEB], PowerAction.START))).ok
    wish = replace(kept.session.wish_of(WEB), memory="6 GiB")
    assert (await kept.apply(kept.session.plan_edit(WEB, wish, ApplyMode.NEXT_BOOT))).ok
    plan = await plan_of(kept)
    assert [(each.fact, each.when) for each in plan.differences] == [("memory", "next boot")]


async def test_a_removed_guest_comes_back_with_its_disk_and_stays_off(kept: World) -> None:
    before, volumes = inventory(kept), dict(kept.host.pools["default"])
    assert (await kept.apply(kept.session.plan_remove(WEB))).ok
    assert (await undo(kept)).ok
    assert kept.host.pools["default"] == volumes
    assert kept.session.store.guest(WEB).state is GuestState.OFF
    read = kept.session.store.fleet.hosts["vhost-a"].guests["web"]
    assert read.uuid in before["hosts/vhost-a.toml"]
    assert kept.session.plan_fleet().is_empty


async def test_a_deleted_disk_is_said_to_be_lost(kept: World) -> None:
    assert (await kept.apply(kept.session.plan_remove(WEB, delete_disks=frozenset({"boot"})))).ok
    plan = await plan_of(kept)
    assert any("made anew" in warning for warning in plan.warnings)
    assert plan.steps[0].sentence.startswith("create ")


async def test_hosts_are_added_removed_and_set_back(kept: World) -> None:
    before = inventory(kept)
    wish = HostWish(name="vhost-c", mac="52:54:00:10:00:0c", address="10.0.0.13/24")
    assert (await kept.apply(kept.session.plan_add_host(wish))).ok
    with_host = inventory(kept)
    assert (await undo(kept)).ok
    assert inventory(kept) == before
    assert (await undo(kept)).ok
    assert inventory(kept) == with_host
    assert (await kept.apply(kept.session.plan_set_host("vhost-c", {"labels": "desk"}))).ok
    assert (await undo(kept)).ok
    assert inventory(kept) == with_host
    assert (await kept.apply(kept.session.plan_remove_host("vhost-c"))).ok
    plan = await plan_of(kept)
    assert plan.title == "Undo: Remove host vhost-c" and not plan.steps
    assert (await kept.apply(plan)).ok
    assert kept.session.store.fleet.hosts["vhost-c"].mac == wish.mac


async def test_what_was_built_on_the_change_is_never_lost(kept: World) -> None:
    assert (await kept.create()).ok
    kept.edit("hosts/vhost-a.toml", 'vcpus = 2\nmemory = "2 GiB"', 'vcpus = 3\nmemory = "2 GiB"')
    await kept.session.reread()
    files = kept.files()
    with pytest.raises(FleetError, match="Create vhost-a/new cannot be undone") as refused:
        await plan_of(kept)
    assert "vhost-a/new was changed since" in refused.value.detail
    assert kept.files() == files


async def test_a_change_between_plan_and_apply_is_refused(kept: World) -> None:
    assert (await kept.create()).ok
    plan = await plan_of(kept)
    kept.edit("hosts/vhost-a.toml", 'vcpus = 2\nmemory = "2 GiB"', 'vcpus = 3\nmemory = "2 GiB"')
    files, listings = kept.files(), kept.listings()
    with pytest.raises(FleetError, match="was changed since"):
        await kept.session.apply(plan)
    assert (kept.files(), kept.listings()) == (files, listings)


async def test_edits_by_hand_of_other_things_stay(kept: World) -> None:
    assert (await kept.create()).ok
    kept.edit("hosts/vhost-a.toml", "vcpus = 2       # half", "vcpus = 1       # a quarter")
    git(kept.folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-qam", "By hand")
    await kept.session.reread()
    assert (await undo(kept)).ok
    guests = kept.session.store.fleet.hosts["vhost-a"].guests
    assert guests["web"].vcpus == 1 and "new" not in guests
    assert "# a quarter" in (kept.folder / "hosts/vhost-a.toml").read_text()


async def test_a_create_that_failed_and_was_taken_back_is_passed_over(kept: World) -> None:
    assert (await kept.apply(kept.session.plan_set_host("vhost-b", {"labels": "desk"}))).ok
    kept.fake.fail_at = range(1, 99)
    assert not (await kept.create()).ok
    kept.fake.fail_at = ()
    assert subjects(kept)[0] == "Take back: Create vhost-a/new"
    assert (await plan_of(kept)).title == "Undo: Set host vhost-b: labels"


async def test_a_host_that_is_down_leaves_its_guest_pending(kept: World) -> None:
    assert (await kept.apply(kept.session.plan_remove(WEB))).ok
    kept.host.up = False
    await kept.see()
    plan = await plan_of(kept)
    assert plan.pending == (WEB,) and not plan.steps


async def test_with_no_change_of_ours_there_is_nothing_to_undo(tmp_path: Path) -> None:
    write(tmp_path / "inventory")
    made = open_world(tmp_path / "inventory", hosts(), tmp_path / "state", Git())
    with pytest.raises(FleetError, match="There is nothing to undo"):
        await made.session.last_change()


async def test_commits_without_the_mark_are_said_to_be_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "inventory"
    write(folder)
    await Git().init(folder)
    await Git().commit(folder, ["fleet.toml", "hosts"], "Create vhost-a/web", by_hand=True)
    made = open_world(folder, hosts(), tmp_path / "state", Git())
    with pytest.raises(FleetError, match="nothing that Quarterdeck can undo") as refused:
        await made.session.last_change()
    assert "Made-by: Quarterdeck" in refused.value.detail and f"git -C {folder} revert" in refused.value.hint


def test_a_network_that_changed_since_is_refused() -> None:
    def fleet(bridge: str) -> Fleet:
        return Fleet(name="a", id="b", networks={"lan": Network(name="lan", bridge=bridge)})

    assert moved(fleet("br1"), fleet("br1"), fleet("br0")) == fleet("br0")
    with pytest.raises(FleetError, match="network lan was changed since"):
        moved(fleet("br2"), fleet("br1"), fleet("br0"))
    host = Host(name="h", mac="m", address="a", uri="u")
    with pytest.raises(FleetError, match="host h was removed since"):
        moved(
            fleet("br0"),
            replace(fleet("br0"), hosts={"h": host}),
            replace(fleet("br0"), hosts={"h": replace(host, uri="v")}),
        )
