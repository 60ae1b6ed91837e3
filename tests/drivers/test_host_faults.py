"""Hosts that answer in every wrong way: what the console is told, that nothing is lost, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncssh
import pytest

from console.domain.errors import HostUnreachable
from console.domain.model import Host, Ssh
from console.domain.observed import DownReason, HostObservation, HostState
from console.domain.ssh_key import fingerprint
from console.domain.verbs import Start
from console.drivers.base import HostTarget
from console.drivers.libvirt.hangup import hang_up
from console.drivers.ssh import clock_ahead_s, wrapped_uri
from tests.drivers.world import WEB, World, until
from tests.lab.guests import eventually
from tests.peers import GARBAGE, Peer, leaving, peer, public, saying, silent, ssh_server


def over_ssh(world: World, port: int, key: asyncssh.SSHKey, ssh: Ssh | None = None) -> HostTarget:
    host = Host(
        name="a",
        mac="52:54:00:00:00:01",
        address="127.0.0.1/8",
        uri=f"qemu+ssh://root@127.0.0.1:{port}/system",
        ssh_host_key=public(key),
    )
    return HostTarget(name="a", uri=wrapped_uri(host, ssh or Ssh(agent=False), world.folder / "ssh"))


async def down(world: World, target: HostTarget, timeout_s: float = 30) -> HostObservation:
    """What is known of the host once it is down, beside one that goes on."""
    client = world.client()
    await client.set_targets((target, world.host("good")))
    seen = await until(client, lambda seen: seen[target.name].state is HostState.DOWN, timeout_s)
    assert (await client.observe("good", timeout_s=20)).state is HostState.UP
    found = seen[target.name]
    assert found.error.isprintable()
    assert found.retry_at is not None
    return found


@pytest.fixture
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_what_is_no_libvirt_is_down_with_a_sentence(world: World, kind: str, way: str) -> None:
    path = world.folder / "socket" if way == "unix" else None
    with peer(saying(GARBAGE[kind]), path=path) as there:
        client = world.client()
        await client.set_targets((HostTarget(name="a", uri=there.uri), world.host("good")))
        pid = await world.pid(client)
        # Some of it leaves libvirt waiting for the rest: then its deadline ends it.
        seen = await client.observe("a", timeout_s=2)
        assert seen.state is HostState.DOWN and seen.reason is not DownReason.NONE
        assert seen.error.isprintable() and len(seen.error) < 800
        assert (await client.observe("good", timeout_s=20)).state is HostState.UP
        assert await world.pid(client) == pid, "the libvirt process outlived it"


async def test_ssh_that_leads_to_nonsense_is_down_with_a_sentence(world: World) -> None:
    wrapper = world.folder / "wrapper"
    wrapper.write_text("#!/bin/sh\nprintf '\\033[7;77;777mWelcome\\n' >&2\nprintf 'HTTP/1.1 400\\r\\n\\r\\n'\n")
    wrapper.chmod(0o700)
    seen = await down(world, HostTarget(name="a", uri=f"qemu+ssh://root@127.0.0.1/system?command={wrapper}"))
    # Which one comes first is chance: what it says, or that it is gone before libvirt has said its own part.
    assert seen.error.startswith(
        ("What answers there does not speak libvirt's protocol. (", "The host closed the connection. (")
    )


async def test_a_host_that_hangs_up_at_once_refuses(world: World) -> None:
    with peer(leaving) as there:
        seen = await down(world, HostTarget(name="a", uri=there.uri))
    assert seen.reason is DownReason.REFUSED


async def test_another_ssh_key_is_refused_and_both_can_be_compared(world: World, key: asyncssh.SSHKey) -> None:
    pinned = asyncssh.generate_private_key("ssh-ed25519")
    with ssh_server(key) as port:
        seen = await down(world, over_ssh(world, port, pinned))
    assert seen.reason is DownReason.HOST_KEY
    assert seen.offered_key == fingerprint(public(key))
    assert seen.error == "The host shows another SSH key than the one that is pinned."


async def test_a_host_without_a_key_of_the_pinned_kind_is_refused(world: World) -> None:
    pinned = asyncssh.generate_private_key("ssh-ed25519")
    with ssh_server(asyncssh.generate_private_key("ecdsa-sha2-nistp256")) as port:
        seen = await down(world, over_ssh(world, port, pinned))
    assert (seen.reason, seen.offered_key) == (DownReason.HOST_KEY, "")
    assert "ecdsa" in seen.error


@pytest.mark.parametrize("identity", ["none", "encrypted", "unknown"])
async def test_what_would_ask_is_refused_instead(world: World, key: asyncssh.SSHKey, identity: str) -> None:
    """A server that asks for a password and a code, and keys with which one cannot get in."""
    ssh = Ssh(agent=False)
    if identity != "none":
        file = world.folder / "identity"
        phrase = "secret" if identity == "encrypted" else ""
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(file)]
        await asyncio.to_thread(subprocess.run, make, check=True)
        ssh = Ssh(agent=False, identity=str(file))
    with ssh_server(key) as port:
        seen = await down(world, over_ssh(world, port, key, ssh))
    assert (seen.reason, seen.offered_key) == (DownReason.LOGIN, "")


@contextmanager
def moody(world: World) -> Iterator[tuple[Peer, threading.Event]]:
    """A host whose link comes and goes: while the event is set it hangs up, else it is silent."""
    away = threading.Event()
    away.set()

    def serve(way: socket.socket) -> None:
        if away.is_set():
            way.close()

    with peer(serve) as there:
        yield there, away


async def test_a_flapping_host_is_tried_with_growing_patience_and_no_storm(world: World) -> None:
    """Its state words are those of a host that is down; each failure waits longer than the one before."""
    client = world.client()
    waits: list[float] = []
    states: set[HostState] = set()
    with moody(world) as (there, _):
        await client.set_targets((HostTarget(name="a", uri=there.uri),))
        async with asyncio.timeout(40):
            async for changed in client.updates():
                seen = changed["a"]
                states.add(seen.state)
                if seen.state is HostState.DOWN and seen.retry_at is not None and seen.retry_at not in waits:
                    waits.append(seen.retry_at)  # type: ignore[arg-type]
                if len(waits) == 3:
                    break
        assert there.calls <= 4
    first, second, third = waits
    assert third - second > second - first  # type: ignore[operator]
    assert states <= {HostState.CONNECTING, HostState.DOWN}


async def test_a_thousand_time_outs_leave_no_threads_behind(world: World) -> None:
    """Every call to a host that never answers ends at its deadline, and costs nothing that stays."""
    client = world.client()
    with peer(silent) as there:
        await client.set_targets((HostTarget(name="a", uri=there.uri), world.host("good")))
        pid = await world.pid(client)
        await client.observe("good", timeout_s=20)

        def threads() -> int:
            return len(list(Path(f"/proc/{pid}/task").iterdir()))

        async def call() -> None:
            with pytest.raises(HostUnreachable, match="was not started"):
                await client.call("a", Start(uuid=WEB), timeout_s=0.05)

        before = threads()
        most = before
        for _ in range(20):
            await asyncio.gather(*(call() for _ in range(50)))
            most = max(most, threads())
        assert most - before <= 6, "threads grow with time-outs"
        assert there.calls <= 10, "a call that waits makes no connection of its own"
        assert len(os.listdir(f"/proc/{pid}/fd")) < 60  # noqa: PTH208
        assert (await client.observe("good", timeout_s=20)).state is HostState.UP
        assert await world.pid(client) == pid


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_hanging_up_leaves_no_descriptor_behind(world: World, way: str) -> None:
    """Of files, pipes and sockets that lead elsewhere, too: a silent host is hung up on again and again."""
    path = world.folder / "socket" if way == "unix" else None
    with peer(silent, path=path) as there, peer(silent) as other, (world.folder / "file").open("w") as file:
        address = str(path) if path else ("127.0.0.1", urlsplit(there.uri).port)
        elsewhere = socket.create_connection(("127.0.0.1", urlsplit(other.uri).port or 0))

        def held() -> tuple[int, int]:
            """Files and the like, and sockets, without those that the peers have accepted."""
            kinds = [os.path.realpath(path).rpartition("/")[2] for path in Path("/proc/self/fd").iterdir()]
            sockets = sum(kind.startswith("socket:") for kind in kinds)
            return len(kinds) - sockets, sockets - there.calls - other.calls

        assert other.called.wait(20)
        before = held()
        for _ in range(3):
            line = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
            line.connect(address)
            line.settimeout(20)
            hang_up(there.uri, 0)
            assert line.recv(1) == b"", "the line is dead"
            line.close()
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)
        assert file.fileno() and eventually(lambda: held() <= before, "all are closed", 10)
        elsewhere.close()


@pytest.mark.parametrize(
    ("script", "ahead_s"),
    [
        ("exec sh -s", 0),
        ("cat > /dev/null; date +%s --date='1 hour ago'", -3600),
        ("cat > /dev/null; printf '\\033[7;77;777m12'", None),
        ("cat > /dev/null; echo 99999999999999999999", None),
        ("echo", None),
        ("exit 255", None),
        ("exec sleep 60", None),
    ],
)
async def test_the_time_of_a_host_is_believed_only_where_it_is_one(script: str, ahead_s: float | None) -> None:
    told = await clock_ahead_s(["sh", "-c", script], timeout_s=3)
    assert told == (None if ahead_s is None else pytest.approx(ahead_s, abs=5))


async def test_without_ssh_no_time_is_told() -> None:
    assert await clock_ahead_s(["/nowhere/ssh"], timeout_s=3) is None
