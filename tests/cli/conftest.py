"""A demo fleet for each module of command line tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.place import Place


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place.make()
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(made.root, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(place: Place) -> Path:
    """The demo's inventory; from here on it is the one that `qd` uses when none is named."""
    folder = Path(place.ok("demo", "--path").strip())
    place.env["QUARTERDECK_INVENTORY"] = str(folder)
    return folder
