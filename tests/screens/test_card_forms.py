"""What a host does with its own cards, asked on the GPU board: kept for itself, given back, parted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from screens.card_forms import KeepCard, PartCard
from screens.cards import CardsScreen
from screens.confirm import Confirm
from screens.widgets import KeysFooter
from tests.screens.world import World, console, make_world, settled, text, until
from tests.sysfs import HOST, Pci, Tree, rtx

FLEX = Pci(
    address="0000:4d:00.0", id="8086:56c0", kind=0x038000, driver="i915", group=44, virtual=("0000:4d:00.1",),
    files={"sriov_totalvfs": "31", "sriov_numvfs": "1"},
)  # fmt: skip
PART = Pci(address="0000:4d:00.1", id="8086:56c0", kind=0x038000, group=45, physical=FLEX.address)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A host with trainer's card, one that nobody has, and one that can be parted."""
    world = make_world(tmp_path)
    tree = Tree(tmp_path / "root", [*HOST, *rtx("65", 28), *rtx("17", 31), FLEX, PART])
    world.hardware.told["vhost-a"] = replace(tree.read(), at=world.now)
    return world


async def board(pilot: Pilot[None], slot: str) -> CardsScreen:
    """Open the board with the cursor on a card."""
    await pilot.press("g")
    await until(pilot, lambda: isinstance(pilot.app.screen, CardsScreen) and pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, CardsScreen)
    await until(pilot, lambda: screen.session.devices.read_at("vhost-a") is not None and len(screen.cards) > 3)
    number = [card.slot for card in screen.cards].index(f"0000:{slot}")
    await pilot.press("home", *["down"] * number)
    await until(pilot, lambda: screen.cursor == number)
    return screen


def keys(pilot: Pilot[None]) -> dict[str, str]:
    return dict(pilot.app.screen.query_one(KeysFooter).keys)


async def test_a_card_is_kept_and_given_back(world: World) -> None:
    store = world.session.store
    async with console(world) as pilot:
        screen = await board(pilot, "17:00")
        assert keys(pilot)["o"] == "keep" and "v" not in keys(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, KeepCard) and "No guest gets a card" in text(pilot))
        await pilot.press("end", *"-desk", "tab", "n", "ctrl+s")
        await until(pilot, lambda: "What will happen" in text(pilot))
        assert "own.gpu0-desk" in text(pilot) and "Deploy vhost-a, then reboot it" in " ".join(text(pilot).split())
        await pilot.press("enter")
        await until(pilot, lambda: "gpu0-desk" in store.fleet.hosts["vhost-a"].own)
        kept = store.fleet.hosts["vhost-a"].own["gpu0-desk"]
        assert (kept.pci, kept.functions, kept.containers) == ("0000:17:00", ("10de:2206", "10de:1aef"), False)
        await settled(pilot)
        await until(pilot, lambda: "any key" in text(pilot))
        await pilot.press("space")
        await until(pilot, lambda: pilot.app.screen is screen and keys(pilot).get("o") == "give back")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "can be given to guests from now on" in " ".join(text(pilot).split())
        await pilot.press("n")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: not store.fleet.hosts["vhost-a"].own)


async def test_a_name_that_cannot_be_is_said_while_it_is_typed(world: World) -> None:
    async with console(world) as pilot:
        await board(pilot, "17:00")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, KeepCard) and "No guest gets a card" in text(pilot))
        await pilot.press("end", "space", "x")
        await until(pilot, lambda: "is not a name" in text(pilot))
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "What will happen" not in text(pilot)


async def test_a_card_of_a_guest_is_not_kept(world: World) -> None:
    async with console(world) as pilot:
        screen = await board(pilot, "65:00")
        assert "o" not in keys(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "It belongs to vhost-a/trainer (running)" in " ".join(text(pilot).split()))
        assert pilot.app.screen is screen and world.session.store.fleet.hosts["vhost-a"].own == {}


async def test_a_card_is_parted(world: World) -> None:
    store = world.session.store
    async with console(world, 100, 30) as pilot:
        screen = await board(pilot, "4d:00")
        assert keys(pilot)["v"] == "VFs"
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, PartCard) and "at each boot" in text(pilot))
        assert "now 1 of 31, and none after a boot" in " ".join(text(pilot).split())
        await pilot.press("end", "backspace", *"32")
        await until(pilot, lambda: "can have at most 31 virtual functions" in " ".join(text(pilot).split()))
        await pilot.press("end", "backspace", "backspace", "7", "ctrl+s")
        await until(pilot, lambda: "Deploy vhost-a, then reboot it" in " ".join(text(pilot).split()))
        await pilot.press("enter")
        await until(pilot, lambda: store.fleet.hosts["vhost-a"].sriov == {FLEX.address: 7})
        await settled(pilot)
        await until(pilot, lambda: "any key" in text(pilot))
        await pilot.press("space")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("enter")
        await until(pilot, lambda: "virtual functions: 1 of 31, and 7 at each boot" in text(pilot))


async def test_a_card_without_virtual_functions_is_not_parted(world: World) -> None:
    async with console(world) as pilot:
        screen = await board(pilot, "17:00")
        await pilot.press("v")
        await until(pilot, lambda: "can have no virtual functions" in text(pilot))
        assert pilot.app.screen is screen


async def test_a_read_only_board_keeps_and_parts_nothing(world: World) -> None:
    world.session.read_only = True
    async with console(world) as pilot:
        screen = await board(pilot, "4d:00")
        assert not {"o", "v"} & set(keys(pilot))
        await pilot.press("o", "v")
        await pilot.pause()
        assert pilot.app.screen is screen
