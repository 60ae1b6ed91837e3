"""The GPU board and the preflight behind it: from the board, from the guest form, from a guest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.domain.hardware import HostHardware, SeenByGuest, Use
from console.domain.model import GuestKey
from console.domain.observed import GuestState, PciDevice
from console.domain.plan import Danger
from console.services.wishes import PowerAction
from screens.app import QuarterdeckApp
from screens.cards import CardsScreen
from screens.create_guest import CreateGuest
from screens.guest import GuestScreen
from screens.preflight import PreflightScreen
from screens.widgets import KeysFooter, Notice
from tests.fakes import NOW
from tests.screens.world import World, changed, console, finished, line_of, make_world, settled, shown, text, until
from tests.sysfs import GIB, HOST, MIB, Pci, Tree, rtx

NAMES = {
    "10de:2206": ("NVIDIA Corporation", "GA102 [GeForce RTX 3080]"),
    "10de:1bb3": ("NVIDIA Corporation", "GP104GL [Tesla P4]"),
    "1a03:2000": ("ASPEED Technology, Inc.", "ASPEED Graphics Family"),
}

TESLA = Pci(
    address="0000:b3:00.0",
    id="10de:1bb3",
    kind=0x030200,
    driver="nvidia",
    group=41,
    bars=(16 * MIB, 8 * GIB),
    files={
        "mdev_supported_types/nvidia-63/name": "GRID P4-1Q",
        "mdev_supported_types/nvidia-63/available_instances": "7",
    },
)


@pytest.fixture
def hardware(tmp_path: Path) -> HostHardware:
    """What the kernel of vhost-a says: its screen, two equal cards (one of them trainer's), and one that is shared."""
    tree = Tree(tmp_path / "root", [*HOST, *rtx("65", 28, node=1), *rtx("17", 31, driver="nvidia"), TESLA])
    tree.process(700, "ollama", "/dev/dri/card1")
    read = tree.read()
    named = (
        replace(each, vendor=NAMES.get(each.pci_id, ("", ""))[0], product=NAMES.get(each.pci_id, ("", ""))[1])
        for each in read.functions
    )
    return replace(read, at=NOW - timedelta(seconds=12), functions=tuple(named))


@pytest.fixture
def world(tmp_path: Path, hardware: HostHardware) -> World:
    world = make_world(tmp_path)
    world.hardware.told["vhost-a"] = hardware
    world.host("vhost-a").pci = tuple(
        PciDevice(
            address=each.address,
            vendor_id=each.vendor_id,
            device_id=each.device_id,
            vendor=each.vendor,
            product=each.product,
            class_code=f"0x{each.class_code:06x}",
            driver=each.driver,
            iommu_group=each.group,
            group_members=tuple(other.address for other in hardware.group(each.group or 0)),
            numa_node=each.numa_node,
        )
        for each in hardware.functions
    )
    return world


async def board(pilot: Pilot[None]) -> CardsScreen:
    """Open the board; every host has been asked."""
    await pilot.press("g")
    await until(pilot, lambda: pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, CardsScreen)
    await read(pilot, screen)
    return screen


async def read(pilot: Pilot[None], screen: CardsScreen | GuestScreen | PreflightScreen) -> None:
    """Wait until every kernel that is being asked has answered, and show it."""
    devices = screen.session.devices
    await until(pilot, lambda: not devices.reading and (devices.read_at("vhost-a") is not None or bool(devices.errors)))
    await shown(pilot)


async def choose(pilot: Pilot[None], screen: CardsScreen, slot: str) -> None:
    """Put the cursor on a card."""
    number = [card.slot for card in screen.cards].index(f"0000:{slot}")
    await pilot.press("home", *["down"] * number)
    await until(pilot, lambda: screen.cursor == number)


def keys(pilot: Pilot[None]) -> dict[str, str]:
    return dict(pilot.app.screen.query_one(KeysFooter).keys)


async def test_every_card_says_whose_it_is(world: World) -> None:
    async with console(world, 160, 48) as pilot:
        await board(pilot)
        rows = {slot: line_of(pilot, f" {slot} ") for slot in ("03:00", "17:00", "65:00", "b3:00")}
        assert "– the host's screen" in rows["03:00"] and "✖ 1" in rows["03:00"]
        assert "● on nvidia, used by ollama" in rows["17:00"]
        assert "GeForce RTX 3080" in rows["65:00"] and "◆ trainer (running)" in rows["65:00"]
        assert rows["65:00"].split()[5:8] == ["28", "1", "vfio-pci"]
        assert "● on nvidia " in rows["b3:00"] and rows["b3:00"].split()[-6:-4] == ["7", "12s"]
        shown_now = text(pilot)
        assert "4 cards   1 free   1 taken" in shown_now
        assert "☾ vhost-c: silent 4m; the last known is shown" in shown_now
        assert "◌ vhost-d: not seen; its devices are not known" in shown_now
        assert "▲ The kernel of vhost-b cannot be asked for its devices. What libvirt tells is shown." in shown_now


async def test_what_is_so_of_several_hosts_is_said_once(world: World) -> None:
    world.hardware.told.clear()
    async with console(world) as pilot:
        await board(pilot)
        page = " ".join(text(pilot).split())
        assert page.count("cannot be asked for its devices") == 1
        assert "What libvirt tells is shown. The same: vhost-b." in page


async def test_how_busy_the_hosts_own_cards_are_is_shown(world: World) -> None:
    world.hardware.uses["vhost-a"] = {"0000:17:00.0": Use(busy_percent=87, power_w=249.6, temperature_c=65.0)}
    async with console(world, 160, 48) as pilot:
        screen = await board(pilot)
        await until(pilot, lambda: "87% 250W 65°" in line_of(pilot, " 17:00 "))
        await choose(pilot, screen, "17:00")
        await shown(pilot)
        assert "87% busy, 250 W, 65 °C" in text(pilot)


async def test_a_host_that_keeps_silent_delays_nobody(world: World) -> None:
    world.hardware.silent["vhost-b"] = asyncio.Event()
    async with console(world) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: pilot.app.screen.is_mounted)
        screen = pilot.app.screen
        assert isinstance(screen, CardsScreen)
        await until(pilot, lambda: screen.session.devices.read_at("vhost-a") is not None)
        await shown(pilot)
        assert screen.session.devices.reading == {"vhost-b"}
        assert "12s" in line_of(pilot, " b3:00 ") and "↻ asking 1 host" in text(pilot)
        before = screen.cursor
        await pilot.press("down")
        await until(pilot, lambda: screen.cursor == before + 1)
        world.hardware.silent["vhost-b"].set()
        await read(pilot, screen)
        assert "▲ vhost-b did not tell its hardware within 10 s." in text(pilot)


def test_it_looks_as_it_did(snap_compare: Callable[..., bool], world: World) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        screen = await board(pilot)
        await choose(pilot, screen, "17:00")
        await shown(pilot)

    app = QuarterdeckApp(world.session)
    app.theme = "dark"
    assert snap_compare(app, terminal_size=(80, 24), run_before=run)


async def test_ages_grow_and_r_asks_again(world: World, hardware: HostHardware) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        world.pass_time(60)
        screen.show_ages()
        await pilot.pause()
        assert " 1m " in line_of(pilot, " 65:00 ")
        world.hardware.told["vhost-a"] = replace(hardware, at=world.now)
        await pilot.press("r")
        await until(pilot, lambda: " 0s " in line_of(pilot, " 65:00 "))


async def test_it_is_filtered_and_sorted(world: World) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        await pilot.press("slash", *"rtx", "space", *"!trainer")
        await until(pilot, lambda: [card.slot for card in screen.cards] == ["0000:17:00"])
        assert "1 of 4 cards" in text(pilot)
        await pilot.press("enter", "escape")
        assert len(screen.cards) == 4 and pilot.app.screen is screen
        await pilot.press("S", "S")
        assert [card.slot[5:7] for card in screen.cards] == ["b3", "17", "03", "65"]
        assert "STATE▴" in text(pilot)
        await pilot.press("R")
        assert [card.slot[5:7] for card in screen.cards] == ["65", "03", "17", "b3"]
        await pilot.press("slash", *"nothing")
        await until(pilot, lambda: "No card matches “nothing”" in text(pilot))
        await pilot.press("escape", "escape")
        assert not isinstance(pilot.app.screen, CardsScreen)


async def test_a_card_is_opened_with_all_its_checks(world: World) -> None:
    async with console(world, 100, 200) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, "17:00")
        await pilot.press("enter")
        await shown(pilot)
        assert isinstance(pilot.app.screen, PreflightScreen)
        page = text(pilot)
        assert page.count("✔ ") > 20 and "✖ driver of the host" in page
        assert "ollama (700) holds /dev/dri/card1" in page, "the evidence"
        assert "→ End these processes first." in page, "the way out"
        assert "group  31: 0000:17:00.0, 0000:17:00.1" in page
        assert "memory  0: 16 MiB, 1: 256 MiB, 3: 32 MiB" in page
        assert page.index("✖ driver of the host") < page.index("✔ IOMMU "), "what is in the way first"
        await pilot.press("escape")
        assert pilot.app.screen is screen


async def test_a_free_card_is_given_to_a_new_guest(world: World) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, "b3:00")
        assert keys(pilot)["c"] == "new guest"
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CreateGuest))
        form = pilot.app.screen
        assert isinstance(form, CreateGuest)
        assert (form.wish.host, form.wish.gpu, form.wish.firmware) == ("vhost-a", "0000:b3:00", "uefi")


@pytest.mark.parametrize(
    ("slot", "why"),
    [
        ("65:00", "GeForce RTX 3080 at 65:00 of vhost-a is taken: trainer (running)."),
        ("17:00", "nvidia has it, and ollama (700) uses it"),
        ("03:00", "vhost-a draws its own screen on it"),
    ],
)
async def test_a_card_that_nobody_can_have_is_not_given(world: World, slot: str, why: str) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, slot)
        assert "c" not in keys(pilot)
        await pilot.press("enter")
        await shown(pilot)
        assert "c" not in keys(pilot)
        await pilot.press("c", "escape")
        await pilot.press("c")
        await shown(pilot)
        assert pilot.app.screen is screen and why in " ".join(text(pilot).split())


async def test_a_read_only_board_gives_nothing(world: World) -> None:
    world.session.read_only = True
    async with console(world) as pilot:
        screen = await board(pilot)
        assert "read-only" in text(pilot)
        await choose(pilot, screen, "b3:00")
        await pilot.press("c", "enter")
        await shown(pilot)
        assert isinstance(pilot.app.screen, PreflightScreen) and "c" not in keys(pilot)
        await pilot.press("c")
        assert isinstance(pilot.app.screen, PreflightScreen)


async def test_a_card_that_was_taken_meanwhile_is_not_given(world: World, hardware: HostHardware) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, "b3:00")
        await pilot.press("enter")
        await shown(pilot)
        assert "c" in keys(pilot)
        world.hardware.told["vhost-a"] = replace(hardware, iommu=False)
        await pilot.press("r")
        await until(pilot, lambda: "The IOMMU of vhost-a is off" in text(pilot))
        await pilot.press("c")
        await until(pilot, lambda: screen.query_one(Notice).error is not None)
        assert pilot.app.screen is screen and "cannot be given to a guest." in " ".join(text(pilot).split())


async def test_a_card_that_is_gone_is_said_to_be(world: World, hardware: HostHardware) -> None:
    async with console(world) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, "b3:00")
        await pilot.press("enter")
        world.hardware.told["vhost-a"] = replace(
            hardware, functions=tuple(each for each in hardware.functions if each.address != TESLA.address)
        )
        await pilot.press("r")
        await until(pilot, lambda: "vhost-a has no card at 0000:b3:00 any more." in text(pilot))


async def test_the_form_checks_what_is_chosen(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a", gpu="0000:b3:00")
        await pilot.app.push_screen(form)
        await pilot.press("pagedown", "pagedown")
        await until(pilot, lambda: "Preflight  ✔" in text(pilot) and "▲" in line_of(pilot, "Preflight"))
        assert "^p shows every check" in line_of(pilot, "Preflight")
        assert "driver of the host: nvidia has it (nobody uses it now)" in " ".join(text(pilot).split())
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.screen, PreflightScreen))
        await shown(pilot)
        assert "gpu0   ✔" in text(pilot) and "→ Mark it for guests" in text(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is form and form.page == 2
        await pilot.press("home")
        form.wish = replace(form.wish, gpu="")
        form.follow()
        assert "Preflight" not in text(pilot)


async def test_without_a_card_there_is_nothing_to_check(world: World) -> None:
    async with console(world) as pilot:
        form = CreateGuest(world.session, host="vhost-a")
        await pilot.app.push_screen(form)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: form.query_one(Notice).error is not None)
        assert "No GPU is chosen." in text(pilot)


async def opened(pilot: Pilot[None], world: World, name: str) -> GuestScreen:
    screen = GuestScreen(world.session, pilot.app.work, pilot.app.history, GuestKey("vhost-a", name))  # type: ignore[attr-defined]
    await pilot.app.push_screen(screen)
    await pilot.pause()
    return screen


async def test_a_guest_shows_its_checks_and_where_its_card_is(world: World) -> None:
    async with console(world, 160, 48) as pilot:
        screen = await opened(pilot, world, "trainer")
        await read(pilot, screen)
        assert "gpu0 now  ✔ The guest has it." in text(pilot)
        assert "✔ 28  ▲ 1" in line_of(pilot, "preflight ")
        await pilot.press("f")
        await shown(pilot)
        assert isinstance(pilot.app.screen, PreflightScreen)
        assert "✔ where it is now" in text(pilot) and "✔ other guests" in text(pilot)


async def test_a_guest_without_devices_has_no_checks(world: World) -> None:
    async with console(world) as pilot:
        screen = await opened(pilot, world, "web-1")
        assert "f" not in keys(pilot)
        await pilot.press("f")
        await shown(pilot)
        assert pilot.app.screen is screen and "web-1 has no passed-through device." in text(pilot)
        assert world.hardware.asked == []


def all_on(hardware: HostHardware, driver: str) -> HostHardware:
    slot = "0000:65:00"
    return replace(
        hardware,
        functions=tuple(replace(f, driver=driver) if f.slot == slot else f for f in hardware.functions),
    )


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (lambda hardware: all_on(hardware, "nouveau"), "✔ The host has it: nouveau."),
        (lambda hardware: hardware, "▲ It is still on vfio-pci, and neither the kernel's command line nor"),
    ],
)
async def test_after_a_stop_the_card_is_looked_for(
    world: World, hardware: HostHardware, after: Callable[[HostHardware], HostHardware], told: str
) -> None:
    key = GuestKey("vhost-a", "trainer")
    async with console(world, 160, 48) as pilot:
        screen = await opened(pilot, world, "trainer")
        await read(pilot, screen)
        world.hardware.told["vhost-a"] = after(hardware)
        screen.propose(replace(world.session.plan_power([key], PowerAction.FORCE_OFF), danger=Danger.NONE))
        await finished(pilot)
        assert world.session.store.guest(key).state is GuestState.OFF
        await until(pilot, lambda: told in text(pilot))
        assert told[2:20] in world.session.store.messages[-1][1], "the message of the job says it too"


async def test_a_guest_that_somebody_else_stopped_is_looked_after_too(world: World, hardware: HostHardware) -> None:
    async with console(world, 160, 48) as pilot:
        screen = await opened(pilot, world, "trainer")
        await read(pilot, screen)
        world.hardware.told["vhost-a"] = all_on(hardware, "")
        guest = world.host("vhost-a").named("trainer")
        guest.state, guest.active_xml = GuestState.OFF, None
        await changed(pilot, world)
        await until(pilot, lambda: "✔ It has no driver: nobody uses it." in text(pilot))


BUSY = SeenByGuest(driver="amdgpu", use=Use(busy_percent=87, memory_used_bytes=3 << 30, memory_bytes=8 << 30))


async def test_guests_are_asked_how_much_their_cards_work(world: World) -> None:
    world.hypervisors.told["vhost-a"] = {"0000:65:00.0": BUSY}
    async with console(world, 160, 48) as pilot:
        screen = await board(pilot)
        assert keys(pilot)["u"] == "ask guests" and world.hypervisors.asked == []
        await pilot.press("u")
        await until(pilot, lambda: "◆ 87%" in line_of(pilot, " 65:00 "))
        await choose(pilot, screen, "65:00")
        await until(pilot, lambda: "seen by the guest: amdgpu, 87% busy, 3 GiB of 8 GiB, 0s ago" in text(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "in guest  amdgpu, 87% busy, 3 GiB of 8 GiB" in text(pilot))
        await pilot.press("escape")
        world.pass_time(61)
        screen.show_ages()
        await pilot.pause()
        assert "◆ 87%" not in line_of(pilot, " 65:00 "), "what was said a while ago is no figure of now"
        assert "87% busy, 3 GiB of 8 GiB, 1m ago" in text(pilot)


async def test_a_guest_that_tells_nothing_is_said_to(world: World) -> None:
    world.hypervisors.told["vhost-a"] = {"0000:65:00.0": SeenByGuest(why_not="the guest's agent does not offer it")}
    async with console(world) as pilot:
        screen = await board(pilot)
        await choose(pilot, screen, "65:00")
        await pilot.press("u")
        await until(pilot, lambda: "seen by the guest: the guest's agent does not offer it, 0s ago" in text(pilot))


async def test_no_guest_is_asked_read_only_nor_where_none_runs(world: World) -> None:
    world.session.read_only = True
    async with console(world) as pilot:
        await board(pilot)
        assert "u" not in keys(pilot)
        await pilot.press("u")
        await pilot.pause()
        assert world.hypervisors.asked == []
        world.session.read_only = False
        await pilot.press("slash", *"tesla", "enter")
        await pilot.press("u")
        await until(pilot, lambda: "No guest of the inventory runs with one of these cards." in text(pilot))
        assert world.hypervisors.asked == []
