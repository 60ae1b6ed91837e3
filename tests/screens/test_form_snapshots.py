"""What the forms look like at 80x24: few and frozen, for the eye of whoever changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.domain.model import GuestKey
from console.domain.plan import Difference, FileDiff, Plan, Step
from console.domain.verbs import Define, Start
from screens.app import QuarterdeckApp
from screens.create_guest import CreateGuest
from screens.plan import PlanScreen
from tests.fakes import pci_card
from tests.screens.world import World, heard, make_world

Snap = Callable[..., bool]

A4000 = pci_card(
    "0000:b3:00",
    ("10de:24b0", "10de:228b"),
    ("0x030000", "0x040300"),
    product="GA104GL [RTX A4000]",
    group=41,
    numa=1,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    world.host("vhost-a").pci += A4000
    return world


def app_on(world: World) -> QuarterdeckApp:
    app = QuarterdeckApp(world.session)
    app.theme = "dark"
    return app


async def heard_of_all(world: World) -> None:
    await heard(world, lambda: all(view.seen.state.value in ("up", "down") for view in world.session.store.hosts()))


def test_a_page_with_a_problem(world: World, snap_compare: Snap) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await heard_of_all(world)
        await pilot.app.push_screen(CreateGuest(world.session, host="vhost-a"))
        await pilot.press(*"no good", "tab", "8", "tab", *"900 GiB", "tab")

    assert snap_compare(app_on(world), terminal_size=(80, 24), run_before=before)


def test_the_list_of_cards(world: World, snap_compare: Snap) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await heard_of_all(world)
        await pilot.app.push_screen(CreateGuest(world.session, host="vhost-a"))
        await pilot.press(*"thinker", "pagedown", "pagedown", "shift+tab", "space", "down", "enter")

    assert snap_compare(app_on(world), terminal_size=(80, 24), run_before=before)


def test_a_plan_of_everything(world: World, snap_compare: Snap) -> None:
    key, other = GuestKey("vhost-a", "web-1"), GuestKey("vhost-b", "new-guest")
    plan = Plan(
        title="Apply the fleet",
        steps=(
            Step(host="vhost-a", guest=key, sentence="define web-1 anew", verb=Define(xml="")),
            Step(host="vhost-b", guest=other, sentence="define new-guest", verb=Define(xml="")),
            Step(host="vhost-b", guest=other, sentence="start new-guest", verb=Start(uuid="")),
        ),
        differences=(
            Difference(guest=key, fact="vcpus", seen="2", wanted="4", when="next boot"),
            Difference(guest=key, fact="memory", seen="8 GiB", wanted="16 GiB", when="next boot"),
        ),
        refusals=("vhost-a/win-lab: RTX A4000 at 0000:b3:00 belongs to vhost-a/thinker.",),
        warnings=("16 vCPUs on a host with 8 CPUs.",),
        pending=(GuestKey("vhost-d", "archive"),),
        files=(FileDiff(name="hosts/vhost-a.toml", summary="+2, -2 lines", diff="-vcpus = 2\n+vcpus = 4\n"),),
    )

    async def before(pilot: Pilot[None]) -> None:
        await heard_of_all(world)
        await pilot.app.push_screen(PlanScreen(world.session, plan))
        await pilot.pause()

    assert snap_compare(app_on(world), terminal_size=(80, 24), run_before=before)
