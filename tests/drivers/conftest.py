"""A world of test-driver hosts, and clients of a libvirt process of its own, which ends with the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.drivers.world import World


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A new folder that only this user may enter, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="qd-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def world(short_path: Path) -> AsyncIterator[World]:
    world = World(short_path)
    try:
        yield world
    finally:
        await world.close()
