"""The read-only libvirt process: it looks at everything, and there is no way to have it change anything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.domain.errors import FleetError
from console.domain.observed import DownReason, GuestState, HostState
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Reboot,
    Reset,
    Resume,
    SetAutostart,
    SetMemory,
    Shutdown,
    Start,
    Suspend,
    Undefine,
    Verb,
)
from console.drivers.base import HostTarget
from console.drivers.libvirt import wire
from console.drivers.libvirt.client import LibvirtClient
from console.drivers.libvirt.host import HostWatch
from console.drivers.libvirt.place import Place
from tests.drivers.world import DB, WEB, World, domain_xml, guest, until

VERBS: dict[str, Verb] = {
    type(verb).__name__: verb
    for verb in (
        Define(xml=domain_xml("web", WEB)),
        Undefine(uuid=DB),
        Start(uuid=DB),
        Shutdown(uuid=WEB),
        ForceOff(uuid=WEB),
        Reboot(uuid=WEB),
        Reset(uuid=WEB),
        Suspend(uuid=WEB),
        Resume(uuid=WEB),
        SetAutostart(uuid=WEB, on=True),
        SetMemory(uuid=WEB, memory_kib=524288),
        AttachDevice(uuid=WEB, xml="<controller type='usb'/>"),
        DetachDevice(uuid=WEB, xml="<controller type='usb'/>"),
        CreateVolume(pool="fast", name="new.qcow2", capacity_bytes=1 << 20, format="qcow2"),
        DeleteVolume(pool="fast", name="base.qcow2"),
    )
}


def viewer(world: World) -> LibvirtClient:
    client = LibvirtClient(world.runtime, "", mode=wire.READ_ONLY)
    world.clients.append(client)
    return client


async def say(world: World, *messages: msgspec.Struct) -> list[Any]:
    """What the read-only process answers to these frames, until it ends the connection or has answered all."""
    reader, writer = await asyncio.open_unix_connection(Place(world.runtime, "", wire.READ_ONLY).socket)
    try:
        for message in messages:
            writer.write(wire.frame(message))
        replies: list[Any] = []
        async with asyncio.timeout(10):
            while len(replies) < len(messages):
                try:
                    replies.append(wire.REPLY.decode(await wire.read_frame(reader)))
                except (EOFError, ConnectionError):
                    break
        return replies
    finally:
        writer.close()


def hello(mode: str = wire.READ_ONLY) -> wire.Hello:
    return wire.Hello(wire.version(), "", mode)


def test_every_verb_is_tried_here() -> None:
    assert VERBS.keys() == wire.VERBS.keys()


@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_sent_raw_is_refused_with_a_sentence_and_counted_nowhere(world: World, name: str) -> None:
    client = viewer(world)
    await client.set_targets((world.host("a"),))
    before, file = await client.observe("a", timeout_s=10), world.file("a")
    welcome, refused = await say(world, hello(), wire.pack(7, "a", VERBS[name], 5.0))
    assert isinstance(welcome, wire.Welcome)
    assert isinstance(refused, wire.Refused)
    assert "a read-only process is only asked to look" in refused.reason
    after = await client.observe("a", timeout_s=10)
    assert (after.guests, after.facts) == (before.guests, before.facts)
    assert set((await client.write_calls()).values()) <= {0}
    assert world.file("a") == file


async def test_no_guest_is_spoken_to(world: World) -> None:
    client = viewer(world)
    await client.set_targets((world.host("a"),))
    _, refused = await say(world, hello(), wire.AskGuests(7, "a", {"0000:65:00.0": "10de:2206"}, 5.0))
    assert isinstance(refused, wire.Refused)
    assert "a read-only process is only asked to look" in refused.reason
    with pytest.raises(FleetError, match="speaks to no guest"):
        await client.ask_guests("a", {"0000:65:00.0": "10de:2206"}, timeout_s=5)


async def test_a_client_that_says_it_may_do_everything_is_turned_away(world: World) -> None:
    client = viewer(world)
    await world.pid(client)
    (refused,) = await say(world, hello(wire.FULL))
    assert isinstance(refused, wire.Refused) and "read-only" in refused.reason


async def test_its_own_client_refuses_a_verb_too(world: World) -> None:
    client = viewer(world)
    await client.set_targets((world.host("a"),))
    with pytest.raises(FleetError, match="only looks"):
        await client.call("a", Start(uuid=DB), timeout_s=5)


async def test_the_two_modes_have_processes_of_their_own(world: World) -> None:
    assert await world.pid(viewer(world)) != await world.pid(world.client())


async def test_it_sees_what_the_other_sees(world: World) -> None:
    """Also what the test driver itself does not keep: who starts with the host, and the next boot's definition."""
    full, looking = world.client(), viewer(world)
    target = world.host("a")
    await full.set_targets((target,))
    await full.call("a", SetAutostart(uuid=WEB, on=True), timeout_s=10)
    await full.call("a", Define(xml=domain_xml("web", WEB, memory_kib=2097152)), timeout_s=10)
    await looking.set_targets((target,))
    wanted, seen = await full.observe("a", timeout_s=10), await looking.observe("a", timeout_s=10)
    assert guest(seen, "web").autostart is True
    assert guest(seen, "web").shape != guest(seen, "web").active_shape
    assert seen.facts == wanted.facts
    assert [(g.name, g.state, g.autostart, g.shape, g.active_shape, g.pci) for g in seen.guests] == [
        (g.name, g.state, g.autostart, g.shape, g.active_shape, g.pci) for g in wanted.guests
    ]


async def test_it_notices_what_the_other_changes_and_the_host_never_seems_down(world: World) -> None:
    full, looking = world.client(), viewer(world)
    target = world.host("a")
    await asyncio.gather(full.set_targets((target,)), looking.set_targets((target,)))
    states: list[HostState] = []
    heard = asyncio.Event()

    def started(seen: Any) -> bool:
        if seen["a"].state is HostState.UP:
            heard.set()
        if heard.is_set():
            states.append(seen["a"].state)
        return any(each.name == "db" and each.state is GuestState.RUNNING for each in seen["a"].guests)

    watching = asyncio.create_task(until(looking, started))
    async with asyncio.timeout(10):
        await heard.wait()
    await full.call("a", Start(uuid=DB), timeout_s=10)
    await watching
    assert set(states) == {HostState.UP}


async def test_a_host_that_is_not_wanted_any_more_is_not_connected_to_again(world: World) -> None:
    """Even if it is lost in that very moment."""
    up = asyncio.Event()
    target = world.host("a")
    watch = HostWatch(target, changed=lambda seen: up.set() if seen.state is HostState.UP else None, read_only=True)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(20):
        await up.wait()
        watch.over = True
        (world.folder / "a.xml").write_text(world.file("a") + "<!-- other -->")
        await running


async def test_a_test_host_without_its_file_is_down_and_says_so(world: World) -> None:
    looking = viewer(world)
    await looking.set_targets((HostTarget(name="a", uri=f"test://{world.folder}/none.xml"),))
    seen = await looking.observe("a", timeout_s=10)
    assert (seen.state, seen.reason) == (HostState.DOWN, DownReason.FAILED)
    assert "none.xml" in seen.error


async def test_ssh_is_asked_for_a_read_only_connection(world: World) -> None:
    wrapper = world.folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" > {world.folder}/said\nexit 255\n')
    wrapper.chmod(0o700)
    looking = viewer(world)
    await looking.set_targets((HostTarget(name="a", uri=f"qemu+ssh://root@127.0.0.1/system?command={wrapper}"),))
    await looking.observe("a", timeout_s=10)
    said = (world.folder / "said").read_text()
    assert "virt-ssh-helper -r " in said
    assert "libvirt-sock-ro" in said


def test_a_mode_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console.drivers.libvirt", str(tmp_path), "", "half", "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no mode 'half'" in done.stderr
