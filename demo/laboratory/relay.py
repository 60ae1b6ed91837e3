"""TCP from a port of this machine to a host of the lab, as it would be if packets could go there.

The listening sockets come from the machine's own network, the process lives in the switch's: so a connection
crosses the host's cable. Nobody answers when that is cut or the host is dead, and the relay is silent then, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping

GIVE_UP_S = 127
"""How long Linux itself tries to connect to who does not answer."""
TRY_S = 1.0
"""Short, so that little time passes between the healing of a cable and the first answer."""
RETRY_S = 0.2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One of the two ends of a connection: what comes in here goes out there, no faster than it is taken."""

    transport: asyncio.Transport
    other: End

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None:
            self.other.transport.close()
        else:
            reset(self.other.transport)


class Near(End):
    """The end at the operator: it waits until the host has answered."""

    def __init__(self, place: tuple[str, int], connections: set[asyncio.Task[None]]) -> None:
        self._place, self._connections, self._connected = place, connections, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connections.add(task)  # the loop itself holds no task
        task.add_done_callback(self._connections.discard)

    async def _connect(self) -> None:
        self.other = End()
        self.other.other = self
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_S
        while True:
            try:
                async with asyncio.timeout(TRY_S):
                    await loop.create_connection(lambda: self.other, *self._place)
                break
            except ConnectionRefusedError:
                return reset(self.transport)
            except OSError:  # nobody is there, as far as the switch can tell; TimeoutError is one of these
                if loop.time() > deadline:
                    return reset(self.transport)
                await asyncio.sleep(RETRY_S)
        self._connected = True
        self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._connected:
            super().connection_lost(error)


def reset(transport: asyncio.Transport) -> None:
    """The connection ends with a reset, which is the nearest to a refusal once it was accepted."""
    with contextlib.suppress(OSError):  # the peer may have gone first
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


async def serve(listeners: Mapping[socket.socket, tuple[str, int]]) -> None:
    """Never returns: connections to each socket lead to the place that stands beside it."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()
    servers = [
        await loop.create_server(lambda place=place: Near(place, connections), sock=listener)  # type: ignore[misc]
        for listener, place in listeners.items()
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))
