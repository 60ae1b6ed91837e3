"""The libvirt process itself: shared, restarted, ended; peers that are silent, dead, or talk nonsense."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.hardware import SeenByGuest
from console.domain.observed import DownReason, GuestState, HostState
from console.domain.verbs import ForceOff, Start
from console.drivers.base import HostTarget
from console.drivers.libvirt import wire
from console.drivers.libvirt.client import LibvirtClient
from console.drivers.libvirt.place import Place
from tests.drivers.world import DB, WEB, World, domain_xml, ended, guest, until


def test_the_client_loads_neither_libvirt_nor_screens() -> None:
    code = (
        "import sys, console.drivers.libvirt.client\n"
        "print(sorted({'libvirt', 'libvirtmod', 'textual', 'rich', 'asyncssh', 'pydantic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_two_clients_that_start_at_once_share_one_process_and_its_state(world: World) -> None:
    one, two = world.client(), world.client()
    target = world.host("a")
    await asyncio.gather(one.set_targets((target,)), two.set_targets((target,)))
    assert await world.pid(one) == await world.pid(two)
    await one.call("a", Start(uuid=DB), timeout_s=10)
    assert guest(await two.observe("a", timeout_s=10), "db").state is GuestState.RUNNING
    assert await two.write_calls() == {"a": 1}


async def test_another_client_is_told_of_a_change(world: World) -> None:
    one, two = world.client(), world.client()
    await one.set_targets((world.host("a"),))
    watching = asyncio.create_task(
        until(two, lambda seen: "a" in seen and any(g.name == "db" and g.state == "running" for g in seen["a"].guests))
    )
    await one.call("a", Start(uuid=DB), timeout_s=10)
    await watching


async def test_many_guests_are_told_of_in_messages_that_are_soon_read(world: World) -> None:
    """No message makes its reader work for long, however many guests answer at once."""
    client = world.client()
    many = "".join(domain_xml(f"g{number}", f"03dd873c-3bb7-4a79-b514-{number:012d}") for number in range(150))
    targets = [world.host(name, f"<node>{many}</node>") for name in ("a", "b", "c")]
    await client.set_targets(tuple(targets))
    for target in targets:
        await client.observe(target.name, timeout_s=20)
    reader, writer = await raw_connection(world, client)
    writer.write(HELLO + wire.frame(wire.Watch(1)))
    told: dict[str, int] = {}
    async with asyncio.timeout(20):
        while sum(told.values()) < 450:
            message = wire.REPLY.decode(await wire.read_frame(reader))
            if isinstance(message, wire.Updates):
                assert sum(len(delta.host.guests) for delta in message.hosts) <= 300
                told |= {delta.host.name: len(delta.host.guests) for delta in message.hosts}
    writer.close()
    assert told == {"a": 150, "b": 150, "c": 150}


async def test_inventories_have_processes_of_their_own(world: World) -> None:
    one, two = world.client(inventory="/one"), world.client(inventory="/two")
    assert await world.pid(one) != await world.pid(two)


async def test_a_killed_process_comes_back_by_itself(world: World) -> None:
    client = world.client()
    await client.set_targets((world.host("a"), world.host("b")))
    before = await until(client, lambda seen: len(seen) == 2 and all(host.facts for host in seen.values()))
    pid = await world.pid(client)
    states: list[tuple[HostState, int]] = []

    async def follow() -> None:
        async for changed in client.updates():
            if "a" in changed:
                states.append((changed["a"].state, len(changed["a"].guests)))
            if HostState.CONNECTING in {state for state, _ in states} and states[-1][0] is HostState.UP:
                return

    following = asyncio.create_task(follow())
    await ended(pid, signal.SIGKILL)
    async with asyncio.timeout(15):
        await following
    assert (HostState.CONNECTING, 2) in states  # with the last known guests
    assert await world.pid(client) != pid
    after = await client.observe("b", timeout_s=10)
    assert (after.guests, after.facts) == (before["b"].guests, before["b"].facts)


async def test_a_call_in_flight_when_the_process_dies_says_so(world: World) -> None:
    client = world.client()
    async with silent_server() as silent:
        await client.set_targets((HostTarget(name="a", uri=silent.uri),))
        pid = await world.pid(client)
        calling = asyncio.create_task(client.call("a", Start(uuid=WEB), timeout_s=30))
        await asyncio.wait_for(silent.called.wait(), 10)
        await ended(pid, signal.SIGKILL)
        with pytest.raises(HostUnreachable, match="process ended") as lost:
            await asyncio.wait_for(calling, 10)
        assert "not known" in lost.value.detail


async def test_an_unused_process_ends_and_leaves_no_socket(world: World) -> None:
    client = world.client(idle_s=0.2)
    await client.set_targets((world.host("a"),))
    await client.observe("a", timeout_s=10)
    pid = await world.pid(client)
    await client.close()
    await ended(pid)
    assert not list(world.runtime.glob("*.sock"))


async def test_sigterm_ends_it_and_the_client_starts_another(world: World) -> None:
    client = world.client()
    await client.set_targets((world.host("a"),))
    pid = await world.pid(client)
    await ended(pid, signal.SIGTERM)
    assert (await client.observe("a", timeout_s=10)).state is HostState.UP
    assert await world.pid(client) != pid


async def test_sigterm_does_not_wait_for_looks(world: World) -> None:
    client = world.client()
    async with silent_server() as silent:
        await client.set_targets((HostTarget(name="silent", uri=silent.uri),))
        pid = await world.pid(client)
        looking = asyncio.create_task(client.observe("silent", timeout_s=60))
        await asyncio.wait_for(silent.called.wait(), 10)
        await ended(pid, signal.SIGTERM, timeout_s=5)
        looking.cancel()


class Silent:
    """A peer that accepts and never answers."""

    def __init__(self, port: int) -> None:
        self.uri = f"qemu+tcp://127.0.0.1:{port}/system"
        self.called = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.open = 0


@asynccontextmanager
async def silent_server() -> AsyncIterator[Silent]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.open += 1
        silent.called.set()
        try:
            while await reader.read(4096):
                pass
        finally:
            silent.open -= 1
            silent.hung_up.set()
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    silent = Silent(server.sockets[0].getsockname()[1])
    try:
        yield silent
    finally:
        server.close()


async def test_silent_and_refusing_hosts_delay_no_other(world: World) -> None:
    client = world.client()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        refusing = f"qemu+tcp://127.0.0.1:{unused.getsockname()[1]}/system"
    async with silent_server() as silent:
        await client.set_targets(
            (
                HostTarget(name="silent", uri=silent.uri),
                HostTarget(name="refusing", uri=refusing),
                world.host("good"),
            )
        )
        begun = time.monotonic()
        seen, good = await asyncio.gather(client.observe("silent", timeout_s=1.5), client.observe("good", timeout_s=10))
        assert (seen.state, seen.reason) == (HostState.DOWN, DownReason.SILENT)
        assert "1.5 s" in seen.error
        assert good.state is HostState.UP
        await client.call("good", ForceOff(uuid=WEB), timeout_s=5)
        assert time.monotonic() - begun < 5  # an open has 15 s
        down = await client.observe("refusing", timeout_s=10)
        assert (down.state, down.reason) == (HostState.DOWN, DownReason.REFUSED)
        assert "refused" in down.error


async def test_what_never_answers_is_hung_up_on(world: World) -> None:
    """A peer that accepts and says nothing, and an ssh that hangs: neither socket nor process nor thread stays."""
    wrapper = world.folder / "ssh"
    wrapper.write_text(f"#!/bin/sh\necho $$ > {world.folder}/ssh.$$.pid\nexec sleep 600\n")
    wrapper.chmod(0o700)
    client = world.client()
    async with silent_server() as silent:
        await client.set_targets(
            (
                HostTarget(name="silent", uri=silent.uri),
                HostTarget(name="ssh", uri=f"qemu+ssh://root@127.0.0.1/system?command={wrapper}"),
            )
        )
        told = await until(
            client, lambda seen: {host.state for host in seen.values()} == {HostState.DOWN}, timeout_s=30
        )
        for host in told.values():
            assert host.reason is DownReason.SILENT
            assert host.retry_at is not None
        await asyncio.wait_for(silent.hung_up.wait(), 5)
        assert silent.open <= 1  # no connection is left behind; the next try may have begun
    first = min(world.folder.glob("ssh.*.pid"), key=lambda path: path.stat().st_mtime)
    await ended(int(first.read_text()))


async def raw_connection(world: World, client: LibvirtClient) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    await world.pid(client)
    return await asyncio.open_unix_connection(next(world.runtime.glob("*.sock")))


HELLO = wire.frame(wire.Hello(wire.version(), ""))


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x02\xc1\xc1",
        b"\x00\x00\x00\x0aabc",
        HELLO + b"\x00\x00\x00\x03\xc1\xc1\xc1",
        HELLO + wire.frame(wire.Hello(wire.version(), "")),
        HELLO + b"\xff\xff\xff\xff" + bytes(4096),
        wire.frame(wire.Hello("another version", "")),
        wire.frame(wire.Hello(wire.version(), "", mode="read-only")),
        wire.frame(wire.Hello(wire.version(), "another inventory")),
    ],
)
async def test_nonsense_ends_that_connection_alone(world: World, garbage: bytes) -> None:
    client = world.client()
    pid = await world.pid(client)
    reader, writer = await raw_connection(world, client)
    writer.write(garbage)
    writer.write_eof()
    async with asyncio.timeout(10):
        try:
            said = await reader.read()
        except ConnectionResetError:
            said = b""
    writer.close()
    assert len(said) < 4096
    assert await world.pid(client) == pid


async def test_an_unknown_verb_is_refused_and_the_connection_lives(world: World) -> None:
    client = world.client()
    await client.set_targets((world.host("a"),))
    reader, writer = await raw_connection(world, client)
    writer.write(HELLO)
    fields = wire.ENCODER.encode({"uuid": 7})
    for verb in ("Explode", "Start"):
        writer.write(wire.frame(wire.Call(1, "a", verb, wire.msgspec.Raw(fields), 5.0)))
    replies = [wire.REPLY.decode(await asyncio.wait_for(wire.read_frame(reader), 10)) for _ in range(3)]
    writer.close()
    assert isinstance(replies[0], wire.Welcome)
    assert [type(reply) for reply in replies[1:]] == [wire.Failed, wire.Failed]


async def test_guests_are_asked_of_their_cards(world: World) -> None:
    """Those of the test driver have no agents, and that is said of each card that one of them has."""
    client = world.client()
    await client.set_targets((world.host("a"),))
    taken = guest(await client.observe("a", timeout_s=10), "web").pci
    assert taken
    told = await client.ask_guests("a", {**dict.fromkeys(taken, "10de:2206"), "0000:99:00.0": "1:2"}, timeout_s=5)
    assert told == dict.fromkeys(taken, SeenByGuest(why_not="no agent answers in the guest"))
    with pytest.raises(FleetError, match="not observed"):
        await client.ask_guests("nowhere", {}, timeout_s=5)


async def test_a_verb_has_a_deadline(world: World) -> None:
    client = world.client()
    async with silent_server() as silent:
        await client.set_targets((HostTarget(name="silent", uri=silent.uri),))
        begun = time.monotonic()
        with pytest.raises(HostUnreachable, match="was not started"):
            await client.call("silent", Start(uuid=WEB), timeout_s=0.5)
        assert time.monotonic() - begun < 5


async def test_a_cancelled_call_leaves_the_client_usable(world: World) -> None:
    client = world.client()
    async with silent_server() as silent:
        await client.set_targets((HostTarget(name="silent", uri=silent.uri), world.host("a")))
        calling = asyncio.create_task(client.call("silent", Start(uuid=WEB), timeout_s=60))
        await asyncio.wait_for(silent.called.wait(), 10)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert (await client.observe("a", timeout_s=10)).state is HostState.UP


async def test_a_folder_that_others_may_enter_is_refused(world: World) -> None:
    world.runtime.mkdir(mode=0o700)
    world.runtime.chmod(0o750)
    client = world.client()
    with pytest.raises(FleetError, match="cannot be reached") as refused:
        await client.set_targets(())
    assert "chmod 700" in refused.value.hint


async def test_a_folder_that_is_a_link_is_refused(world: World) -> None:
    (world.folder / "real").mkdir(mode=0o700)
    world.runtime.symlink_to("real")
    with pytest.raises(FleetError, match="cannot be reached"):
        await world.client().set_targets(())


async def test_a_path_too_long_for_a_socket_is_refused(world: World) -> None:
    client = LibvirtClient(world.folder / ("x" * 90), "")
    with pytest.raises(FleetError, match="cannot be reached") as refused:
        await client.set_targets(())
    assert "longer than 100 bytes" in refused.value.detail
    await client.close()


async def test_without_the_library_the_reason_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    without = world.folder / "without"
    without.mkdir()
    (without / "libvirt.py").write_text("raise ImportError('libvirt.so.0: cannot open shared object file')")
    monkeypatch.setattr("console.drivers.libvirt.launch.SOURCE", f"{without}:{Path(__file__).parents[2]}")
    client = world.client()
    with pytest.raises(FleetError, match="cannot be started") as refused:
        await client.set_targets((world.host("a"),))
    assert "libvirt.so.0" in refused.value.detail
    assert "apt install libvirt0" in refused.value.hint
    # Every host shows it, so that a console that only listens says it too.
    told = await until(client, lambda seen: seen["a"].state is HostState.DOWN)
    assert "libvirt.so.0" in told["a"].error
    assert (await client.observe("a", timeout_s=5)).reason is DownReason.FAILED


async def test_a_dead_process_left_a_socket_behind(world: World) -> None:
    place = Place(world.runtime, "")
    place.prepare()
    place.listen().close()
    client = world.client()
    await client.set_targets((world.host("a"),))
    assert (await client.observe("a", timeout_s=10)).state is HostState.UP


async def test_the_process_is_out_of_others_reach(world: World) -> None:
    client = world.client()
    pid = await world.pid(client)
    (path,) = world.runtime.glob("*.sock")
    assert path.stat().st_mode & 0o777 == 0o600
    assert world.runtime.stat().st_mode & 0o777 == 0o700
    assert os.getsid(pid) == pid  # it outlives the terminal
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"  # noqa: PTH115
