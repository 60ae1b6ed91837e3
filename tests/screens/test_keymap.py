"""The operator's own keys: bound and shown when they are sound, else refused with a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.own import own_keys
from console.domain.errors import FleetError
from console.services.keys import read_keys
from screens.action import Context
from screens.app import QuarterdeckApp
from screens.apply import ApplyScreen
from screens.help import Help, help_lines
from screens.jobs import JobsScreen
from screens.keymap import SCREENS, bind, faults, own_bindings
from screens.offers import REBOUND
from screens.plan import PlanScreen
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
        ({"plan.diff": "J"}, "J is taken twice in the plan screen"),
        ({"guest.diff": "b"}, "b is taken twice in the create guest screen"),
        ({"form.next": "n"}, "form.next: n could no longer be typed there"),
        ({"job-rest": "x"}, "x is taken twice in the jobs screen: job-rest and job-cancel"),
    ],
)
def test_what_cannot_be_bound(keys: dict[str, str], sentence: str, tmp_path: Path) -> None:
    assert any(sentence in each for each in faults(keys)), faults(keys)
    with pytest.raises(FleetError, match="cannot be used"):
        bind(QuarterdeckApp(make_world(tmp_path).session), keys, "keys.toml")
    assert REBOUND == {}


def test_two_actions_may_change_keys() -> None:
    assert faults({"create": "e", "edit": "c", "edit-host": "c"}) == []
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


async def test_the_bindings_of_a_screen_of_its_own_are_moved_too(tmp_path: Path) -> None:
    app = QuarterdeckApp(make_world(tmp_path).session)
    bind(app, {"plan.apply": "f9", "jobs": "f6"}, "keys.toml")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "f9 apply" in text(pilot))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PlanScreen)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await pilot.press("escape", "f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen))


async def test_with_keys_that_cannot_be_used_it_opens_with_the_usual_ones_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "quarterdeck/keys.toml"
    file.parent.mkdir()
    file.write_text('create = "e"\n')
    app = QuarterdeckApp(make_world(tmp_path).session)
    own_keys(app)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "e is taken twice in the fleet screen: create and edit" in text(pilot))
        assert "keys.toml cannot be used" in text(pilot) and "The usual keys are bound." in text(pilot)
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))


@pytest.mark.parametrize("screen", SCREENS)
def test_every_binding_of_a_screen_has_an_id_and_a_key_of_its_own(screen: str) -> None:
    found = own_bindings(screen)
    keys = [(key, binding.id) for binding in found for key in binding.key.split(",")]
    assert found and len(keys) == len({key for key, _ in keys}), keys
