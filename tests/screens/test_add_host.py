"""The host form: its key is compared before it is trusted, or its absence is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from console.domain.errors import FleetError
from console.domain.model import Ssh
from console.domain.plan import Outcome
from screens.add_host import KEY, REVIEW, AddHost
from screens.apply import ApplyScreen
from screens.widgets import KeysFooter, Notice
from tests.fakes import FakeHostKeys
from tests.screens.world import DEADLINE_S, World, console, make_world, text

KEY_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"


class SlowKeys(FakeHostKeys):
    """A host that answers when the gate opens; with an error, if it has one."""

    def __init__(self, error: FleetError | None = None) -> None:
        super().__init__(KEY_LINE)
        self.gate = asyncio.Event()
        self.error = error
        self.cancelled = False

    async def fetch(self, uri: str, ssh: Ssh, *, timeout_s: float) -> str:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return await super().fetch(uri, ssh, timeout_s=timeout_s)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def opened(pilot: Pilot[None], form: AddHost) -> list[Outcome | None]:
    """Open the form; the list gets what it is dismissed with."""
    results: list[Outcome | None] = []
    await pilot.app.push_screen(form, results.append)
    await pilot.pause()
    return results


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait until something is true on the screen."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await pilot.pause()


def paste(pilot: Pilot[None], value: str) -> None:
    """Paste into the field that has the keyboard."""
    assert pilot.app.focused is not None
    pilot.app.focused.post_message(events.Paste(value))


async def fill_in(pilot: Pilot[None], form: AddHost, *, uri: str = "", disk: str = "") -> None:
    """Paste a host's facts and go on to its key."""
    for value in ("vhost-e", "52-54-00-10-00-1E", "10.0.0.15/24", "rack-2, gpu", uri, disk, ""):
        if value:
            paste(pilot, value)
        await pilot.press("enter")
    await until(pilot, lambda: form.page == KEY)


async def apply(pilot: Pilot[None], results: list[Outcome | None]) -> Outcome:
    """Apply what the review shows, and leave."""
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ApplyScreen) and pilot.app.screen.ended)
    await pilot.press("enter")
    await until(pilot, lambda: bool(results))
    outcome = results[0]
    assert outcome is not None
    return outcome


async def test_a_host_is_added_with_its_key_compared_and_pinned(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        results = await opened(pilot, form)
        await fill_in(pilot, form)
        assert "qemu+ssh://root@10.0.0.15/system" in text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: form.offered is not None)
        shown = text(pilot)
        assert "SHA256:fingerprint" in shown and "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in shown
        await pilot.press("enter")
        assert form.page == KEY and form.wish.ssh_host_key == "", "enter is pressed too easily to trust a key"
        await pilot.press("y")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        shown = text(pilot)
        assert "52:54:00:10:00:1e" in shown and "SHA256:fingerprint" in shown and "hosts/vhost-e.toml" in shown
        assert (await apply(pilot, results)).ok
        host = world.session.store.fleet.hosts["vhost-e"]
        assert host.ssh_host_key is not None and host.ssh_host_key.startswith("ssh-ed25519 ")
        assert host.labels == ("rack-2", "gpu")


async def test_a_host_is_to_be_installed_on_the_disk_that_is_named(world: World) -> None:
    disk = "/dev/disk/by-id/nvme-SAMSUNG_MZ1L2960_S1"
    async with console(world) as pilot:
        form = AddHost(world.session)
        results = await opened(pilot, form)
        await fill_in(pilot, form, disk=disk)
        await pilot.press("pageup")
        await until(pilot, lambda: form.page == 0)
        await pilot.press(*["tab"] * 6, "space", "down", "enter")
        assert form.wish.netboot == "installer"
        await pilot.press("enter", "s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert disk in text(pilot) and "netboot  installer" in text(pilot)
        assert (await apply(pilot, results)).ok
        host = world.session.store.fleet.hosts["vhost-e"]
        assert (host.disk, host.netboot) == (disk, "installer")


async def test_without_a_key_it_is_said_what_that_means(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        results = await opened(pilot, form)
        await fill_in(pilot, form)
        await pilot.press("s")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert "no pinned SSH host key: it is not contacted until it has one" in text(pilot)
        assert (await apply(pilot, results)).ok
        assert world.session.store.fleet.hosts["vhost-e"].ssh_host_key is None


async def test_a_key_may_be_pasted(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        results = await opened(pilot, form)
        await fill_in(pilot, form)
        await pilot.press("p", *"nonsense", "enter")
        assert form.page == KEY and "is not an SSH public key" in text(pilot)
        await pilot.press("ctrl+u")
        paste(pilot, f"{KEY_LINE} root@vhost-e")
        await pilot.press("enter")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert (await apply(pilot, results)).ok
        assert world.session.store.fleet.hosts["vhost-e"].ssh_host_key == KEY_LINE


async def test_asking_for_the_key_can_be_stopped(world: World) -> None:
    keys = SlowKeys()
    world.session._host_keys = keys
    async with console(world) as pilot:
        form = AddHost(world.session)
        await opened(pilot, form)
        await fill_in(pilot, form)
        await pilot.press("enter")
        assert "↻ asking qemu+ssh://root@10.0.0.15/system" in text(pilot)
        await pilot.press("s")
        assert form.page == KEY, "nothing else is done meanwhile"
        await pilot.press("escape")
        await until(pilot, lambda: keys.cancelled)
        assert form.page == KEY and "asking" not in text(pilot)
        assert dict(form.query_one(KeysFooter).keys)["enter"] == "fetch it"


async def test_a_host_that_does_not_answer_is_said_and_the_form_stays(world: World) -> None:
    keys = SlowKeys(FleetError("10.0.0.15 does not answer.", "", "Is it switched on?"))
    keys.gate.set()
    world.session._host_keys = keys
    async with console(world) as pilot:
        form = AddHost(world.session)
        await opened(pilot, form)
        await fill_in(pilot, form)
        await pilot.press("enter")
        await until(pilot, lambda: form.query_one(Notice).error is not None)
        assert "10.0.0.15 does not answer." in text(pilot) and form.wish.name == "vhost-e"
        await pilot.press("escape")
        assert form.query_one(Notice).error is None and form.page == KEY, "the first key only takes the error down"


async def test_another_address_takes_the_key_away(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        await opened(pilot, form)
        await fill_in(pilot, form)
        await pilot.press("enter")
        await until(pilot, lambda: form.offered is not None)
        await pilot.press("y")
        await until(pilot, lambda: form.page == REVIEW)
        assert form.wish.ssh_host_key
        await pilot.press("b", "pageup")
        await until(pilot, lambda: form.page == 0)
        await pilot.press("tab", "tab", *"10.0.0.16/24", "pagedown")
        await until(pilot, lambda: form.page == KEY)
        assert not form.wish.ssh_host_key and form.offered is None
        assert dict(form.query_one(KeysFooter).keys)["enter"] == "fetch it"


async def test_other_uris_need_no_key(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        await opened(pilot, form)
        await fill_in(pilot, form, uri="test:///tmp/x.xml")
        assert "No SSH host key is needed" in text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: form.page == REVIEW and form.plan is not None)
        assert "not needed" in text(pilot)


async def test_what_is_taken_is_said_beside_the_field(world: World) -> None:
    async with console(world) as pilot:
        form = AddHost(world.session)
        await opened(pilot, form)
        await pilot.press(*"vhost-a", "tab", *"01:00:5e:00:00:01", "tab")
        shown = text(pilot)
        assert "there already is a host named vhost-a" in shown and "multicast" in shown
        await pilot.press("ctrl+s")
        assert form.page == 0 and form.focused_field is not None and form.focused_field.key == "name"
