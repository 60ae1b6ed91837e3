"""A change on top of what others have overtaken is refused before a byte is written."""

from __future__ import annotations

import pytest

from console.domain.errors import FleetError
from console.domain.record import RepositoryState
from console.services.change import regenerate
from tests.fakes import FakeRepository
from tests.services.world import World, wish

BEHIND = RepositoryState(upstream="origin/main", behind=2)
DIVERGED = RepositoryState(upstream="origin/main", ahead=1, behind=2)
MERGING = RepositoryState(operation="merge")


@pytest.mark.parametrize(
    ("state", "why"), [(BEHIND, "2 commits behind"), (DIVERGED, "has diverged"), (MERGING, "in the middle of a merge")]
)
async def test_a_create_is_refused_with_the_way_out(world: World, state: RepositoryState, why: str) -> None:
    assert isinstance(world.repository, FakeRepository)
    await world.see()
    before = world.files(), world.listings()
    world.repository.state = state
    with pytest.raises(FleetError) as refused:
        await world.session.apply(world.session.plan_create(wish(), start=False))
    assert refused.value.title == "Create vhost-a/new: refused."
    assert why in refused.value.detail
    assert f"git -C {world.folder}" in refused.value.hint
    assert (world.files(), world.listings()) == before
    with pytest.raises(FleetError, match="Generate: refused"):
        await regenerate(world.folder, world.repository)
    world.repository.state = RepositoryState(upstream="origin/main", ahead=3)
    assert (await world.create()).ok


async def test_a_repository_that_cannot_be_read_does_not_stop_the_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(world.repository, FakeRepository)
    world.repository.refusal = FleetError("git is not installed.")

    async def broken(folder: object) -> RepositoryState:
        raise FleetError("git is not installed.")

    monkeypatch.setattr(world.repository, "standing", broken)
    await world.see()
    outcome = await world.create()
    assert outcome.ok
    assert any("not committed" in line for line in outcome.left)
