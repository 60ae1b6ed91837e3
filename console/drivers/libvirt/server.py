"""The process: holds the fleet's libvirt connections and serves them to its clients on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import threading
from dataclasses import replace
from weakref import WeakSet

import libvirt
import msgspec

from console.domain.errors import FleetError
from console.domain.observed import HostObservation
from console.drivers.base import HostTarget
from console.drivers.libvirt import wire
from console.drivers.libvirt.host import HostWatch
from console.drivers.libvirt.place import Place

log = logging.getLogger(__name__)

HELLO_S = 5.0
FLUSH_S = 0.1
"""Updates are sent at most this often; clients slow them down further."""

UPDATE_ROWS = 200
"""A message of updates is full with so many hosts and guests: 3 ms for a client to take in (10,000 at once: 140)."""

REQUESTS = 256
"""Requests of one client under way at one time; the next waits."""


class Fleet:
    """The observed hosts, by name. read_only: as of HostWatch."""

    def __init__(self, *, read_only: bool) -> None:
        self._read_only = read_only
        self.watches: dict[str, HostWatch] = {}
        self.sessions: set[Session] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, int] = {}
        self._focus: str | None = None

    @property
    def write_calls(self) -> dict[str, int]:
        """Changing calls per host since the process began, of hosts that are no longer observed too."""
        counts = dict(self._calls)
        for name, watch in self.watches.items():
            counts[name] = counts.get(name, 0) + watch.write_calls
        return counts

    def observations(self) -> dict[str, HostObservation]:
        """Return what is known, by host."""
        return {name: watch.observation for name, watch in self.watches.items()}

    def set_targets(self, targets: tuple[HostTarget, ...]) -> None:
        """Observe exactly these; a host whose address or refusal is unchanged keeps its connection."""
        wanted = {target.name: target for target in targets}
        for name, watch in list(self.watches.items()):
            target = wanted.get(name)
            if target is not None and replace(target, accel=None) == replace(watch.target, accel=None):
                watch.target = target
                continue
            self._end(name)
        for name, target in wanted.items():
            if name not in self.watches:
                self._begin(target)
        for session in self.sessions:
            session.touch(set())

    def focus(self, host: str | None) -> None:
        """Poll this one first."""
        self._focus = host
        for name, watch in self.watches.items():
            watch.focus(name == host)

    def watch(self, host: str) -> HostWatch:
        """Return the host's watch. Raises FleetError for one that is not observed."""
        if host not in self.watches:
            raise FleetError(f"{host} is not observed", "The libvirt process was not told of it.")
        return self.watches[host]

    async def close(self) -> None:
        """Let go of all connections."""
        for name in list(self.watches):
            self._end(name)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, target: HostTarget) -> None:
        watch = HostWatch(target, changed=self._changed, read_only=self._read_only)
        self.watches[target.name] = watch
        watch.focus(target.name == self._focus)
        self._tasks[target.name] = asyncio.create_task(watch.run(), name=f"host {target.name}")

    def _end(self, name: str) -> None:
        watch = self.watches.pop(name)
        watch.over = True
        self._calls[name] = self._calls.get(name, 0) + watch.write_calls
        self._tasks.pop(name).cancel()

    def _changed(self, observation: HostObservation) -> None:
        for session in self.sessions:
            session.touch({observation.name})


class Session:
    """One client: its requests are carried out side by side, its updates are sent when they are due."""

    def __init__(self, fleet: Fleet, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Place) -> None:
        self._fleet = fleet
        self._reader = reader
        self._writer = writer
        self._place = place
        self._watching = False
        self._sent: dict[str, HostObservation] = {}
        self._stale: set[str] = set()
        self._touched = asyncio.Event()
        self._writing = asyncio.Lock()
        self._slots = asyncio.Semaphore(REQUESTS)
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._changes: WeakSet[asyncio.Task[None]] = WeakSet()

    def touch(self, hosts: set[str]) -> None:
        """These hosts, and the set of hosts, may have changed."""
        self._stale |= hosts
        self._touched.set()

    async def serve(self) -> None:
        """Serve until the client goes or sends what is no message. Its changes under way are finished first."""
        flusher: asyncio.Task[None] | None = None
        try:
            if not await self._greet():
                return
            self._fleet.sessions.add(self)
            flusher = asyncio.create_task(self._flush_when_due())
            while True:
                request = wire.request(await wire.read_frame(self._reader), self._place.mode)
                await self._accept(request)
        except (wire.WireError, msgspec.MsgspecError) as error:
            log.warning("a client sent what is no message: %s", error)
            await self._last_word(wire.Refused(f"That is no message: {error}"))
        except (EOFError, ConnectionError):
            log.debug("a client went")
        finally:
            self._fleet.sessions.discard(self)
            if flusher is not None:
                flusher.cancel()
            # A change that a client began is finished whether it stays or not; nobody waits for looks any more.
            for task in self._requests.values():
                if task not in self._changes:
                    task.cancel()
            await asyncio.gather(*self._requests.values(), return_exceptions=True)
            self._writer.close()

    async def _greet(self) -> bool:
        async with asyncio.timeout(HELLO_S):
            hello = wire.HELLO.decode(await wire.read_frame(self._reader))
        reason = ""
        if hello.version != wire.version():
            reason = f"This process is of version {wire.version()}, the client of {hello.version}."
        elif hello.mode != self._place.mode:
            reason = f"This process is {self._place.mode}, not {hello.mode!r}."
        elif hello.inventory != self._place.inventory:
            reason = "This process is for another inventory."
        await self._send(wire.Refused(reason) if reason else wire.Welcome(wire.version(), os.getpid()))
        return not reason

    async def _accept(self, request: wire.Request) -> None:
        if isinstance(request, wire.Cancel):
            task = self._requests.get(request.id)
            if task is not None:
                task.cancel()
            return
        await self._slots.acquire()
        task = asyncio.create_task(self._answer(request))
        self._requests[request.id] = task
        if isinstance(request, wire.Call):
            self._changes.add(task)
        task.add_done_callback(lambda _: self._answered(request.id))

    def _answered(self, number: int) -> None:
        self._requests.pop(number, None)
        self._slots.release()

    async def _answer(self, request: wire.Answered) -> None:
        reply: wire.Done | wire.Observed | wire.Told | wire.Counts | wire.Failed = wire.Done(request.id)
        try:
            match request:
                case wire.SetTargets(targets=targets):
                    self._fleet.set_targets(targets)
                case wire.Watch():
                    self._watching = True
                    self.touch(set(self._fleet.watches))
                    await self._flush()
                case wire.Observe(id=number, host=host, timeout_s=timeout_s):
                    reply = wire.Observed(number, await self._fleet.watch(host).observe(timeout_s))
                case wire.Call(host=host, timeout_s=timeout_s):
                    await self._fleet.watch(host).carry_out(wire.unpack(request), timeout_s)
                    await self._flush()  # who waits for the verb sees its result first
                case wire.AskGuests(id=number, host=host, functions=functions, timeout_s=timeout_s):
                    reply = wire.Told(number, await self._fleet.watch(host).ask_guests(functions, timeout_s))
                case wire.Focus(host=host):
                    self._fleet.focus(host)
                case wire.WriteCalls(id=number):
                    reply = wire.Counts(number, self._fleet.write_calls)
        except FleetError as error:
            reply = wire.Failed.of(request.id, error)
        except wire.WireError as error:
            reply = wire.Failed(request.id, "the request was not understood", str(error))
        except Exception as error:
            log.exception("a request failed unexpectedly")
            reply = wire.Failed(request.id, "the libvirt process failed unexpectedly", repr(error))
        with contextlib.suppress(ConnectionError):  # nobody waits any more
            await self._send(reply)

    async def _flush_when_due(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._touched.wait()
                await self._flush()
                await asyncio.sleep(FLUSH_S)

    async def _flush(self) -> None:
        """The client knows all that has changed. Slow clients are sent the newest state, not each change."""
        self._touched.clear()
        if not self._watching:
            return
        async with self._writing:
            now = self._fleet.observations()
            stale, self._stale = self._stale, set()
            deltas: list[wire.HostDelta] = []
            rows = 0
            for name in sorted(stale | (now.keys() - self._sent.keys())):
                if name in now and now[name] is not self._sent.get(name):
                    deltas.append(wire.delta(self._sent.get(name), now[name]))
                    self._sent[name] = now[name]
                    rows += 1 + len(deltas[-1].host.guests)
                    if rows >= UPDATE_ROWS:
                        await self._update(deltas)
                        deltas, rows = [], 0
            gone = tuple(sorted(self._sent.keys() - now.keys()))
            for name in gone:
                del self._sent[name]
            if deltas or gone:
                await self._update(deltas, gone)

    async def _update(self, deltas: list[wire.HostDelta], gone: tuple[str, ...] = ()) -> None:
        self._writer.write(wire.frame(wire.Updates(tuple(deltas), gone)))
        await self._writer.drain()

    async def _send(self, reply: wire.Reply) -> None:
        async with self._writing:
            self._writer.write(wire.frame(reply))
            await self._writer.drain()

    async def _last_word(self, reply: wire.Refused) -> None:
        with contextlib.suppress(ConnectionError):
            await self._send(reply)


class Server:
    """Listens until told to stop, or until nobody has been there for `idle_s` seconds."""

    def __init__(self, place: Place, listener: socket.socket, *, idle_s: float) -> None:
        self._place = place
        self._listener = listener
        self._idle_s = idle_s
        self._fleet = Fleet(read_only=place.mode == wire.READ_ONLY)
        self._clients: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve; afterwards the socket is gone and all connections are let go."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        server = await asyncio.start_unix_server(self._client, sock=self._listener)
        self._rest()
        await self._stop.wait()
        # First the name: a client that comes now starts a process of its own.
        self._place.socket.unlink(missing_ok=True)
        server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._fleet.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", peer)[1] != os.getuid():
            writer.close()
            return
        self._clients.add(task)
        if self._idle is not None:
            self._idle.cancel()
        try:
            await Session(self._fleet, reader, writer, self._place).serve()
        except (TimeoutError, asyncio.CancelledError):
            writer.close()
        finally:
            self._clients.discard(task)
            if not self._clients:
                self._rest()

    def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._stop.set)


def run(place: Place, listener: socket.socket, *, idle_s: float) -> None:
    """Be the process. Returns when it is over."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else it prints each error
    # libvirt's own event loop on a thread of its own: libvirtaio calls the asyncio loop from whichever thread
    # libvirt happens to be in, which asyncio does not allow, and costs Python time with each message.
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_events, name="libvirt-events", daemon=True).start()
    asyncio.run(Server(place, listener, idle_s=idle_s).run())


def _events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            log.exception("libvirt's event loop")
