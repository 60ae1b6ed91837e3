"""What a read-only console holds: it sees, it follows the files whatever happens, and it has nothing that changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.observed import HostObservation, HostState
from console.drivers.base import HostTarget, Watch
from console.services.memory import remember
from console.services.session import Session
from console.services.view import View
from tests.fakes import NOW, FakeHardware, FakeHost, FakeHypervisors, FakeWatch
from tests.services.world import FLEET, HOST, OTHER_HOST

DEADLINE_S = 5.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inventory = tmp_path / "inventory"
    (inventory / "hosts").mkdir(parents=True)
    (inventory / "fleet.toml").write_text(FLEET)
    (inventory / "hosts/vhost-a.toml").write_text(HOST)
    return inventory


class Broken:
    """A watch that the kernel refuses."""

    async def changes(self, folder: Path) -> AsyncIterator[None]:
        raise OSError(28, "No space left on device")
        yield  # what makes it an iterator


class Targets:
    """How hosts are reached; refuses while `refusal` is set."""

    def __init__(self) -> None:
        self.refusal: FleetError | None = None

    def __call__(self, fleet: Fleet) -> tuple[HostTarget, ...]:
        if self.refusal is not None:
            raise self.refusal
        return tuple(HostTarget(name=name, uri="test:///default") for name in fleet.hosts)


@asynccontextmanager
async def looking(
    folder: Path, watch: Watch, *, targets: Targets | None = None, reread_s: float = 60.0
) -> AsyncIterator[View]:
    view = View(
        folder,
        folder.parent / "no-state",
        FakeHypervisors(FakeHost("vhost-a")),
        watch,
        targets or Targets(),
        FakeHardware(),
    )
    view.reread_s = reread_s
    try:
        yield view
    finally:
        await view.close()


def test_it_has_nothing_that_changes() -> None:
    changing = {name for name in vars(Session) if not name.startswith("_")} - {"close", "read_only"}
    assert {"apply", "change", "plan_create", "plan_power", "plan_remove", "fetch_host_key"} <= changing
    assert not [name for name in changing if hasattr(View, name)]
    assert (View.read_only, Session.read_only) == (True, False)


async def test_it_sees_the_hosts_and_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    async with looking(folder, FakeWatch()) as view:
        await view.start()
        assert await view.store.wait_until(lambda store: store.observed("vhost-a").state is HostState.UP, DEADLINE_S)
        assert view.plan_fleet().title == "Apply the fleet"
    assert sorted(folder.parent.rglob("*")) == before


async def test_it_begins_with_what_was_last_known(folder: Path, tmp_path: Path) -> None:
    remember(tmp_path / "state", {"vhost-a": HostObservation(name="vhost-a", state=HostState.UP, seen_at=NOW)})
    view = View(folder, tmp_path / "state", FakeHypervisors(), FakeWatch(), Targets(), FakeHardware())
    assert view.store.observed("vhost-a").seen_at == NOW
    assert view.store.observed("vhost-a").state is HostState.CONNECTING


async def test_starting_again_tries_again(folder: Path) -> None:
    targets = Targets()
    targets.refusal = FleetError("The wrapper was not written.")
    async with looking(folder, FakeWatch(), targets=targets) as view:
        with pytest.raises(FleetError, match="wrapper"):
            await view.start()
        targets.refusal = None
        await view.start()
        assert isinstance(view.hypervisors, FakeHypervisors)
        assert [target.name for target in view.hypervisors.targets or ()] == ["vhost-a"]


async def test_files_are_followed_whatever_the_hosts_do(folder: Path) -> None:
    watch, targets = FakeWatch(), Targets()
    async with looking(folder, watch, targets=targets) as view:
        await view.start()
        targets.refusal = FleetError("The libvirt process did not answer.")
        (folder / "hosts/vhost-b.toml").write_text(OTHER_HOST)
        watch.changed.set()
        assert await view.store.wait_until(lambda store: bool(store.messages), DEADLINE_S)
        assert "did not answer" in view.store.messages[-1][1]
        assert sorted(view.store.fleet.hosts) == ["vhost-a", "vhost-b"]
        (folder / "hosts/vhost-b.toml").unlink()
        targets.refusal = None
        watch.changed.set()
        assert await view.store.wait_until(lambda store: sorted(store.fleet.hosts) == ["vhost-a"], DEADLINE_S)


async def test_edits_are_noticed_where_nobody_tells_of_them(folder: Path) -> None:
    async with looking(folder, Broken(), reread_s=0.01) as view:
        await view.start()
        (folder / "hosts/vhost-b.toml").write_text(OTHER_HOST)
        assert await view.store.wait_until(lambda store: "vhost-b" in store.fleet.hosts, DEADLINE_S)


async def test_a_folder_that_goes_and_comes_back_is_said_and_taken_over(folder: Path) -> None:
    async with looking(folder, Broken(), reread_s=0.01) as view:
        await view.start()
        away = await asyncio.to_thread(folder.rename, folder.with_name("away"))
        assert await view.store.wait_until(lambda store: bool(store.faults), DEADLINE_S)
        assert "vhost-a" in view.store.fleet.hosts
        await asyncio.to_thread(away.rename, folder)
        assert await view.store.wait_until(lambda store: not store.faults, DEADLINE_S)


async def test_a_fleet_that_answers_at_once_holds_nobody_up(folder: Path) -> None:
    """What 200 hosts report is taken over in turns: others of the event loop come in between, again and again."""
    for number in range(200):
        text = HOST.replace("52:54:00:10:00:0a", f"52:54:00:10:01:{number:02x}").partition("[guests")[0]
        (folder / f"hosts/many-{number}.toml").write_text(text.replace("10.0.0.11", f"10.1.0.{number + 1}"))
    fakes = [FakeHost(f"many-{number}") for number in range(200)]
    view = View(folder, folder.parent / "no-state", FakeHypervisors(*fakes), FakeWatch(), Targets(), FakeHardware())
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(sum(host.seen.state is HostState.UP for host in view.store.hosts()))
            await asyncio.sleep(0)

    async with asyncio.timeout(DEADLINE_S):
        await view.start(follow=False)
        busy = asyncio.create_task(others())
        assert await view.store.wait_until(lambda store: store.observed("many-199").state is HostState.UP, DEADLINE_S)
        busy.cancel()
    await view.close()
    assert any(0 < heard < 200 for heard in turns), "the loop was held until all of them were taken over"
