"""The operator's own keys: bound and shown when they are sound, else refused with a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.services.keys import read_keys
from screens.action import Context
from screens.app import QuarterdeckApp
from screens.help import Help, help_lines
from screens.keymap import bind, faults
from screens.offers import REBOUND
from tests.screens.world import make_world, settled, text, until


@pytest.fixture(autouse=True)
def usual_keys_afterwards() -> Iterator[None]:
    yield
    REBOUND.clear()


async def test_a_key_is_moved_and_shown(tmp_path: Path) -> None:
    app = QuarterdeckApp(make_world(tmp_path).session)
    bind(app, {"help": "f5", "filter": "ctrl+f,f3"}, "keys.toml")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "f5 help" in text(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, Help)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
    shown = {span[0].strip() for line in help_lines(Context.FLEET, 100, False) for span in line}
    assert {"f5", "ctrl+f"} <= shown


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"creat": "x"}, '"creat" is no action'),
        ({"create": "e"}, "e is taken twice in the fleet screen: create and edit"),
        ({"filter": "?"}, "question_mark is taken twice"),
        ({"create": " "}, 'create: " " is not a key'),
        ({"create": "\x1b"}, "is not a key"),
        ({"remove-host": "y"}, "is no action with a key"),
    ],
)
def test_what_cannot_be_bound(keys: dict[str, str], sentence: str, tmp_path: Path) -> None:
    assert any(sentence in each for each in faults(keys)), faults(keys)
    with pytest.raises(FleetError, match="cannot be used"):
        bind(QuarterdeckApp(make_world(tmp_path).session), keys, "keys.toml")
    assert REBOUND == {}


def test_two_actions_may_change_keys() -> None:
    assert faults({"create": "e", "edit": "c"}) == []
    assert faults({}) == []


def test_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    assert read_keys(file) == {}
    file.write_text('create = "ctrl+n"\n')
    assert read_keys(file) == {"create": "ctrl+n"}
    for broken in ("create = 1\n", "create = \n", b"\xff"):
        file.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
        with pytest.raises(FleetError, match="cannot be used"):
            read_keys(file)
