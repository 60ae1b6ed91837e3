"""A place of its own for each keystroke script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pty.place import Inventory, Place, made


@pytest.fixture
def place() -> Iterator[Place]:
    with made() as place:
        yield place


@pytest.fixture
def demo(place: Place) -> Inventory:
    """The demo's inventory."""
    return place.demo()
