"""What may answer at a host's address instead of libvirt: nobody, nonsense, another SSH server, or now and then."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh

GARBAGE = {
    "web server": b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\x1b[7;77;777m</html>",
    "zeros": b"\x00" * 65536,
    "huge length": b"\x7f\xff\xff\xff" + b"x" * 4096,
    "short length": b"\x00\x00\x00\x04",
    "noise": bytes(range(256)) * 64,
    "reply to nothing": b"\x00\x00\x00\x1c" + b"\x20\x00\x80\x86" + b"\x00\x00\x00\x01" + b"\x00" * 16,
}
"""Bytes that are no libvirt, each sent as soon as somebody connects."""


class Peer:
    """Something that listens. uri: of a libvirt that would be there. calls: how often somebody connected."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.calls = 0
        self.called = threading.Event()


Serve = Callable[[socket.socket], None]


@contextmanager
def peer(serve: Serve, *, path: Path | None = None) -> Iterator[Peer]:
    """Listen on a port of 127.0.0.1, or at a path; each connection is handed over, and closed at the end."""
    if path is None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        made = Peer(f"qemu+tcp://127.0.0.1:{listening.getsockname()[1]}/system")
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(64)
        made = Peer(f"qemu+unix:///system?socket={path}")
    open_now: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                way, _ = listening.accept()
                made.calls += 1
                made.called.set()
                open_now.append(way)
                with suppress(OSError):
                    serve(way)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)
        for way in open_now:
            way.close()


def silent(way: socket.socket) -> None:
    """Say nothing, for ever."""


def leaving(way: socket.socket) -> None:
    """Go without a word."""
    way.close()


def saying(words: bytes) -> Serve:
    """Say this, whatever is asked, and then nothing."""
    return lambda way: way.sendall(words)


@contextmanager
def in_a_loop(start: Callable[[], Coroutine[Any, Any, asyncssh.SSHAcceptor]]) -> Iterator[asyncssh.SSHAcceptor]:
    """Serve in an event loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(20)

    async def end() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield acceptor
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class Asking(asyncssh.SSHServer):
    """Asks for passwords and codes, and lets nobody in. banner: what it says before."""

    banner = ""

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection

    def begin_auth(self, username: str) -> bool:
        if self.banner:
            self._connection.send_auth_banner(self.banner)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "Code", "Type the code", "en", [("One-time code: ", False)]


@contextmanager
def ssh_server(key: asyncssh.SSHKey, *, banner: str = "") -> Iterator[int]:
    """A real SSH server on loopback with this host key; gives its port."""
    factory = type("Asking", (Asking,), {"banner": banner})

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=factory)

    with in_a_loop(start) as acceptor:
        yield acceptor.sockets[0].getsockname()[1]


def public(key: asyncssh.SSHKey) -> str:
    """The public half as an inventory has it."""
    return " ".join(key.export_public_key().decode().split()[:2])
