"""A few frozen pictures: one per screen and size. Look at the report before accepting another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from screens.app import QuarterdeckApp
from tests.screens.world import make_world, settled, shown

SMALL, LARGE = (80, 24), (160, 48)


def keys(*pressed: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press(*pressed)
        await shown(pilot)

    return run


@pytest.mark.parametrize(
    ("size", "pressed"),
    [
        pytest.param(SMALL, ["down"], id="fleet-80x24"),
        pytest.param(LARGE, [*["down"] * 6], id="fleet-160x48"),
        pytest.param(SMALL, ["down", "enter"], id="guest-80x24"),
        pytest.param(SMALL, ["down", "down", "colon", "w", "e", "b"], id="command-80x24"),
    ],
)
def test_it_looks_as_it_did(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int], pressed: list[str]
) -> None:
    app = QuarterdeckApp(make_world(tmp_path).session)
    app.theme = "dark"
    assert snap_compare(app, terminal_size=size, run_before=keys(*pressed))
