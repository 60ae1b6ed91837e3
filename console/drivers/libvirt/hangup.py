"""Ending a libvirt call that cannot be interrupted: what it waits for is taken away."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

log = logging.getLogger(__name__)

PORTS = {"tcp": 16509, "tls": 16514}
LOCAL = ("/run/libvirt/", "/var/run/libvirt/")


def hang_up(uri: str, thread_id: int) -> None:
    """End the processes (ssh) that the thread started, and shut the sockets down that lead to the URI's peer.

    Without this a peer that accepts and never answers would keep a thread for ever. Never raises, never blocks.
    """
    for pid in _children(thread_id):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return
    transport = parts.scheme.partition("+")[2]
    if transport in PORTS and parts.hostname:
        port = port or PORTS[transport]
        # Held as duplicates, so that no number can be reused while the name is being resolved.
        held = _connected(lambda peer: isinstance(peer, tuple) and peer[1] == port)
        threading.Thread(target=_shut_to, args=(held, parts.hostname), daemon=True).start()
    elif transport in ("", "unix"):
        paths = [unquote(path) for path in parse_qs(parts.query).get("socket", [])]
        for sock in _connected(
            lambda peer: isinstance(peer, str) and (peer in paths if paths else peer.startswith(LOCAL))
        ):
            _shut(sock)


def _children(thread_id: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{thread_id}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def _descriptors() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def _connected(fits: Callable[[object], bool]) -> list[socket.socket]:
    found = []
    for descriptor in _descriptors():
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            duplicate = os.dup(descriptor)
        except OSError:  # closed meanwhile
            continue
        try:
            sock = socket.socket(fileno=duplicate)
        except OSError:  # another was given its number meanwhile
            os.close(duplicate)
            continue
        try:
            wanted = fits(sock.getpeername())
        except OSError:  # not connected
            wanted = False
        if wanted:
            found.append(sock)
        else:
            sock.close()
    return found


def _shut_to(held: list[socket.socket], host: str) -> None:
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        addresses = set()
    for sock in held:
        with sock, contextlib.suppress(OSError):  # the peer may have gone first
            if sock.getpeername()[0] in addresses:
                sock.shutdown(socket.SHUT_RDWR)


def _shut(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):  # the peer may have gone first
        sock.shutdown(socket.SHUT_RDWR)
