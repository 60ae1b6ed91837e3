"""The users screen: one added, seen, changed, and removed after a question; read-only it only shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.services.wishes import UserWish
from screens.confirm import Confirm
from screens.edit_user import EditUser
from screens.users import UsersScreen
from tests.screens.world import World, console, make_world, settled, text, until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def test_a_user_from_the_first_key_to_the_last(world: World) -> None:
    fleet = world.session.store
    async with console(world) as pilot:
        await pilot.press("U")
        await until(pilot, lambda: "No users yet" in text(pilot))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditUser))
        await pilot.press(*"ada", "tab", "tab", *KEY[:-5].replace(" ", "_"), "tab")
        await until(pilot, lambda: "is not an SSH public key" in text(pilot))
        assert isinstance(pilot.app.screen, EditUser)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, UsersScreen))
        await world.session.apply(world.session.plan_add_user(UserWish(name="ada", keys=KEY)))
        await until(pilot, lambda: "SHA256:" in text(pilot))
        assert "viewer" in text(pilot) and "4/4 hosts" in text(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "Edit user ada" in text(pilot))
        await pilot.press("down", "down", *"gpu", "ctrl+s")
        await until(pilot, lambda: "write it" in text(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: fleet.fleet.users["ada"].labels == ("gpu",))
        await settled(pilot)
        await until(pilot, lambda: "any key" in text(pilot))
        await pilot.press("space")
        await until(pilot, lambda: isinstance(pilot.app.screen, UsersScreen) and "1/4 hosts" in text(pilot))
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "until the configuration is deployed" in text(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, UsersScreen))
        assert "ada" in fleet.fleet.users
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "ada" not in fleet.fleet.users)


async def test_a_read_only_console_shows_users_and_changes_none(world: World) -> None:
    await world.session.apply(world.session.plan_add_user(UserWish(name="ada", keys=KEY)))
    world.session.read_only = True
    async with console(world) as pilot:
        await pilot.press("U")
        await until(pilot, lambda: "SHA256:" in text(pilot))
        assert "read-only" in text(pilot) and "remove" not in text(pilot)
        await pilot.press("a", "e", "D")
        await pilot.pause()
        assert isinstance(pilot.app.screen, UsersScreen)
