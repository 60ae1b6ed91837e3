"""A world for each test: two hosts in memory, `web` made and running on the first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.services.wishes import PowerAction
from tests.services.world import WEB, World, hosts, open_world, write


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    write(tmp_path / "inventory")
    made = open_world(tmp_path / "inventory", hosts(), tmp_path / "state")
    await made.session.start()
    await made.see()
    assert (await made.apply(made.session.plan_fleet())).ok
    await made.apply(made.session.plan_power([WEB], PowerAction.START))
    made.fake.verbs.clear()
    made.fake.done.clear()
    made.progress.clear()
    made.fake.started.clear()
    yield made
    await made.session.close()
