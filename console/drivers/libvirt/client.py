"""The fleet's libvirt connections, as held by the libvirt process: this is how everyone else reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from console.domain.errors import FleetError, HostUnreachable, NotKnownDone
from console.domain.hardware import SeenByGuest
from console.domain.observed import DownReason, HostObservation, HostState
from console.domain.verbs import Verb
from console.drivers.base import HostTarget
from console.drivers.libvirt import wire
from console.drivers.libvirt.launch import launch
from console.drivers.libvirt.place import Place
from console.drivers.libvirt.wire import FULL, READ_ONLY

log = logging.getLogger(__name__)

PACE = 4
SPACE_S = 0.1
"""Updates are yielded at most so many times a second, and so far apart: the first ones follow one another fast."""

HELLO_S = 10.0
QUICK_S = 10.0
GRACE_S = 2.0
"""How much longer than the process itself we wait for what it was given a deadline for."""


class LibvirtClient:
    """Implements `Hypervisors` through the libvirt process of this inventory, which is started where none runs.

    folder: holds the process's socket, lock and log; made when absent, and refused when others may enter it.
    inventory: what tells this fleet from others in the same folder. All clients of one inventory give the same
    targets: the last ones given hold. A process that nobody uses ends after `idle_s`.
    mode: "full", or "read-only": that process is another one, which knows no verb and only looks.
    """

    def __init__(self, folder: Path, inventory: str = "", *, mode: str = FULL, idle_s: float = 60.0) -> None:
        self._place = Place(folder, inventory, mode)
        self._idle_s = idle_s
        self._targets: tuple[HostTarget, ...] | None = None
        self._focus: str | None = None
        self._hosts: dict[str, HostObservation] = {}
        self._raw: dict[str, HostObservation] = {}
        self._listeners: set[_Listener] = set()
        self._watching = False
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[wire.Reply]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._runner: asyncio.Task[None] | None = None
        self._fault: FleetError | None = None
        self._turn = asyncio.Event()
        """Set when there is a connection, or a reason why there is none."""
        self._closed = False
        self.pid: int | None = None
        """The process's id while connected."""

    async def set_targets(self, targets: tuple[HostTarget, ...]) -> None:
        """From now on exactly these hosts are observed. Raises FleetError when the process cannot be started."""
        self._targets = targets
        names = {target.name for target in targets}
        for name in self._hosts.keys() - names:
            del self._hosts[name]
        for name in names - self._hosts.keys():
            self._show(HostObservation(name=name, state=HostState.CONNECTING))
        await self._ask(lambda number: wire.SetTargets(number, targets), QUICK_S)

    async def observe(self, host: str, *, timeout_s: float) -> HostObservation:
        """Return what the host reports, read after this call began; DOWN when it does not answer in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            left = deadline - loop.time()
            try:
                reply = await self._ask(
                    lambda number, left=left: wire.Observe(number, host, max(left, 0.1)),  # type: ignore[misc]
                    left + GRACE_S,
                )
            except _ProcessLost:
                if loop.time() < deadline:
                    continue  # another process is being started; looking twice changes nothing
                return self._silent(host, f"The libvirt process ended, and {host} was not seen since.")
            except HostUnreachable:
                return self._silent(host, f"It did not answer within {timeout_s:g} s.")
            except FleetError as error:
                if self._targets is not None and any(target.name == host for target in self._targets):
                    return self._silent(host, _sentence(error), DownReason.FAILED)
                raise
            if not isinstance(reply, wire.Observed):
                raise FleetError(f"{host} was not read", "The libvirt process answered something else.")
            return self._remembered(reply.host)

    async def updates(self) -> AsyncIterator[Mapping[str, HostObservation]]:
        """Yield changed hosts by name, at most 4 times a second; first all that is known."""
        listener = _Listener(set(self._hosts))
        self._listeners.add(listener)
        self._start()
        if not self._watching:
            self._watching = True
            if self._writer is not None:
                self._write(wire.Watch(next(self._numbers)))
        try:
            while True:
                await listener.changed()
                changed = {name: self._hosts[name] for name in listener.take() if name in self._hosts}
                if changed:
                    yield changed
                    await listener.pace()
        finally:
            self._listeners.discard(listener)

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        """Carry out one verb. Raises HostUnreachable when the host is down, FleetError when it refuses."""
        if self._place.mode == READ_ONLY:
            raise FleetError(f"{host} was not changed", "A read-only console only looks.")
        await self._ask(lambda number: wire.pack(number, host, verb, timeout_s), timeout_s + GRACE_S)

    async def ask_guests(
        self, host: str, functions: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, SeenByGuest]:
        """Return what guests' agents say of the functions they have; see console.drivers.base.Hypervisors."""
        if self._place.mode == READ_ONLY:
            raise FleetError(f"The guests of {host} were not asked.", "A read-only console speaks to no guest.")
        reply = await self._ask(
            lambda number: wire.AskGuests(number, host, dict(functions), timeout_s), 2 * timeout_s + GRACE_S
        )
        return reply.functions if isinstance(reply, wire.Told) else {}

    async def focus(self, host: str | None) -> None:
        """Poll this host first."""
        self._focus = host
        await self._ask(lambda number: wire.Focus(number, host), QUICK_S)

    async def write_calls(self) -> Mapping[str, int]:
        """Return how many changing libvirt calls were made per host since the process began."""
        reply = await self._ask(wire.WriteCalls, QUICK_S)
        return reply.calls if isinstance(reply, wire.Counts) else {}

    async def close(self) -> None:
        """Let go of the process; it ends by itself when nobody else uses it."""
        self._closed = True
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None

    # Asking

    async def _ask(self, make: Callable[[int], wire.Answered], timeout_s: float) -> wire.Reply:
        """Return the reply. Raises what it says, _ProcessLost when the process ended, or that it cannot start."""
        self._start()
        number = next(self._numbers)
        reply: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        sent = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.wait()
                if self._writer is None:
                    raise self._fault or HostUnreachable("The libvirt process cannot be reached", "It ended.")
                self._waiting[number] = reply
                self._write(make(number))
                sent = True
                answer = await reply
        except TimeoutError:
            kind = NotKnownDone if sent else HostUnreachable
            raise kind("The libvirt process did not answer", f"Nothing came in {timeout_s:g} s.") from None
        finally:
            self._waiting.pop(number, None)
            if sent and (not reply.done() or reply.cancelled()) and self._writer is not None:
                self._write(wire.Cancel(number))
        if isinstance(answer, wire.Failed):
            raise answer.error()
        return answer

    def _write(self, message: msgspec.Struct) -> None:
        if self._writer is not None:
            self._writer.write(wire.frame(message))

    # The connection

    def _start(self) -> None:
        if self._closed:
            raise FleetError("The libvirt process was let go of already")
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="libvirt client")

    async def _run(self) -> None:
        """Be connected, for ever: start the process where there is none, and again after it died."""
        failures = 0
        while True:
            try:
                reader = await self._connect()
            except FleetError as error:
                failures += 1
                self._fault = error
                self._turn.set()
                for host in list(self._hosts.values()):
                    self._show(replace(host, state=HostState.DOWN, reason=DownReason.FAILED, error=_sentence(error)))
            else:
                began = asyncio.get_running_loop().time()
                await self._listen(reader)
                self._disconnected()
                # A process that dies at once is not started again at once.
                failures = 0 if asyncio.get_running_loop().time() - began > 10 else failures + 1
            await asyncio.sleep(min(10.0, 0.1 * 2**failures) if failures else 0)
            self._turn.clear()

    async def _connect(self) -> asyncio.StreamReader:
        """Connect, greet, and give targets, focus and watch again. Raises FleetError."""
        await asyncio.to_thread(self._place.prepare)
        for _ in range(5):
            try:
                if self._place.socket.lstat().st_uid != os.getuid():
                    raise FleetError("The libvirt process cannot be reached", f"{self._place.socket} is not yours.")
                reader, writer = await asyncio.open_unix_connection(self._place.socket, limit=1 << 20)
            except (FileNotFoundError, ConnectionRefusedError):
                await launch(self._place, self._idle_s)
                continue
            except OSError as error:
                raise FleetError("The libvirt process cannot be reached", str(error)) from None
            try:
                await self._greet(reader, writer)
            except (EOFError, ConnectionError):
                writer.close()  # it was just ending
                await asyncio.sleep(0.05)
                continue
            except BaseException:
                writer.close()
                raise
            self._writer = writer
            self._fault = None
            self._raw.clear()
            if self._targets is not None:
                self._write(wire.SetTargets(next(self._numbers), self._targets))
            if self._focus is not None:
                self._write(wire.Focus(next(self._numbers), self._focus))
            if self._watching:
                self._write(wire.Watch(next(self._numbers)))
            self._turn.set()
            return reader
        raise FleetError(
            "The libvirt process cannot be reached", "It ends before it answers.", f"Look into {self._place.log}."
        )

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.frame(wire.Hello(wire.version(), self._place.inventory, self._place.mode)))
        try:
            async with asyncio.timeout(HELLO_S):
                answer = wire.REPLY.decode(await wire.read_frame(reader))
        except TimeoutError:
            raise FleetError(
                "The libvirt process does not answer",
                f"Nothing came in {HELLO_S:g} s.",
                f"Look into {self._place.log}.",
            ) from None
        except (wire.WireError, msgspec.MsgspecError) as error:
            raise FleetError("The libvirt process answers in another tongue", str(error)) from None
        if isinstance(answer, wire.Refused):
            raise FleetError("The libvirt process refused this console", answer.reason)
        if isinstance(answer, wire.Welcome):
            self.pid = answer.pid

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what the process says until it ends."""
        try:
            while True:
                message = wire.REPLY.decode(await wire.read_frame(reader))
                if isinstance(message, wire.Updates):
                    self._updated(message)
                    # What has arrived already is read without a pause: others have their turn in between.
                    await asyncio.sleep(0)
                elif isinstance(message, wire.Refused):
                    log.warning("the libvirt process refused a message: %s", message.reason)
                elif not isinstance(message, wire.Welcome):
                    waiting = self._waiting.get(message.id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except (EOFError, ConnectionError):
            log.info("the libvirt process ended")
        except (wire.WireError, msgspec.MsgspecError) as error:
            log.warning("the libvirt process said what is no message: %s", error)

    def _disconnected(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self.pid = None
        self._turn.clear()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_ProcessLost())
        for host in list(self._hosts.values()):
            seen_at = datetime.now(UTC) if host.state is HostState.UP else host.seen_at
            host = replace(host, reason=DownReason.NONE, error="", offered_key="", seen_at=seen_at, retry_at=None)
            self._show(replace(host, state=HostState.CONNECTING))

    # What is known

    def _updated(self, message: wire.Updates) -> None:
        for change in message.hosts:
            name = change.host.name
            self._raw[name] = wire.merge(self._raw.get(name), change)
            self._show(self._remembered(self._raw[name]))
        for name in message.gone:
            self._raw.pop(name, None)
            self._hosts.pop(name, None)

    def _show(self, host: HostObservation) -> None:
        self._hosts[host.name] = host
        for listener in self._listeners:
            listener.touch(host.name)

    def _remembered(self, host: HostObservation) -> HostObservation:
        """Return the host with what was known of it before a new process, which knows nothing of it yet."""
        last = self._hosts.get(host.name)
        if last is None:
            return host
        if host.seen_at is None and last.seen_at is not None:
            host = replace(host, seen_at=last.seen_at, guests=last.guests)
        return replace(host, facts=last.facts) if host.facts is None else host

    def _silent(self, host: str, error: str, reason: DownReason = DownReason.SILENT) -> HostObservation:
        last = self._hosts.get(host) or HostObservation(name=host)
        return replace(last, state=HostState.DOWN, reason=reason, error=error)


class _ProcessLost(NotKnownDone):
    """The process ended while it was being asked."""

    def __init__(self) -> None:
        super().__init__(
            "The libvirt process ended",
            "Whether the last change was made is not known.",
            "It is being started again: look at the host before repeating it.",
        )


def _sentence(error: FleetError) -> str:
    """Return an error on one line, as what is observed of a host has it."""
    return " ".join(line if line.endswith(".") else f"{line}." for line in str(error).splitlines())


class _Listener:
    """Which hosts one reader of updates has not seen yet."""

    def __init__(self, hosts: set[str]) -> None:
        self._hosts = hosts
        self._event = asyncio.Event()
        self._yields: deque[float] = deque(maxlen=PACE)
        if hosts:
            self._event.set()

    async def pace(self) -> None:
        loop = asyncio.get_running_loop()
        self._yields.append(loop.time())
        full = len(self._yields) == PACE
        await asyncio.sleep(max(SPACE_S, self._yields[0] + 1 - loop.time() if full else 0))

    def touch(self, host: str) -> None:
        self._hosts.add(host)
        self._event.set()

    async def changed(self) -> None:
        await self._event.wait()

    def take(self) -> set[str]:
        self._event.clear()
        hosts, self._hosts = self._hosts, set()
        return hosts
