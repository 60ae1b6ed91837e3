"""One libvirt connection on one thread with one call in flight.

Two calls at once on one virConnect crash the C library when the peer dies, so all calls of a connection run on its
own thread, one after another. A call that outlives its deadline cannot be interrupted: its thread and connection
are left behind, the socket is hung up so that they can end, and how many may be left behind is limited.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from console.domain.observed import DownReason
from console.drivers.libvirt.failures import LinkLost, closed, lost
from console.drivers.libvirt.hangup import hang_up
from console.drivers.libvirt.markup import clean

T = TypeVar("T")

log = logging.getLogger(__name__)

KEEPALIVE = (2, 3)
"""Seconds between probes and how many may go unanswered: a silent peer is noticed after 8 s."""

STUCK_LIMIT = 4
"""Threads that may hang at one time per host."""

EVENTS = (
    "LIFECYCLE",
    "REBOOT",
    "BALLOON_CHANGE",
    "DEVICE_ADDED",
    "DEVICE_REMOVED",
    "METADATA_CHANGE",
    "AGENT_LIFECYCLE",
    "BLOCK_JOB_2",
)


class Worker:
    """A daemon thread that runs functions in order until `stop`; a daemon, so that a stuck one never holds exit."""

    _number = itertools.count(1)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"libvirt-{next(self._number)}", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int:
        """The kernel's id of the thread."""
        return self._thread.native_id or 0

    @property
    def alive(self) -> bool:
        """False when the thread has ended."""
        return self._thread.is_alive()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run `job` on the thread; the future may be given another outcome meanwhile."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    def stop(self) -> None:
        """End the thread after what was submitted."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                outcome, error = job(), None
            except BaseException as caught:  # handed to whoever waits
                outcome, error = None, caught
            self._settle(future, outcome, error)
            del item, job, future, outcome, error  # a waiting thread keeps nothing alive

    def _settle(self, future: asyncio.Future[Any], outcome: object, error: BaseException | None) -> None:
        def settle() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(outcome)
            else:
                future.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has closed: nobody waits
            log.debug("a result came after the end")


class Link:
    """An open connection. Made by `Link.open`; ends by `close`, by a deadline, or by the peer."""

    def __init__(
        self, uri: str, on_lost: Callable[[LinkLost], None] | None, stuck: list[Worker], *, read_only: bool
    ) -> None:
        self.uri = uri
        self.read_only = read_only
        self.driver = ""
        self._loop = asyncio.get_running_loop()
        self._worker = Worker()
        self._turn = asyncio.Lock()
        self._lost: LinkLost | None = None
        self._over = False
        self._conn: Any = None
        self._registered: list[tuple[Callable[[int], Any], int]] = []
        self._on_lost = on_lost
        self._stuck = stuck

    @classmethod
    async def open(
        cls,
        uri: str,
        *,
        timeout_s: float,
        on_lost: Callable[[LinkLost], None] | None = None,
        on_event: Callable[[str, str | None], None] | None = None,
        stuck: list[Worker],
        read_only: bool = False,
    ) -> Link:
        """Return an open connection. Raises LinkLost. read_only: libvirt itself refuses every change on it.

        on_lost is called once, on the loop, when it ends other than by `close`. on_event gets ("domain", uuid),
        ("pool", None), ("network", None) or ("device", None) on the loop. A thread that hangs is put in `stuck`.
        """
        stuck[:] = [worker for worker in stuck if worker.alive]
        if len(stuck) >= STUCK_LIMIT:
            raise LinkLost(DownReason.SILENT, f"{len(stuck)} earlier calls still hang; waiting for one to end")
        link = cls(uri, on_lost, stuck, read_only=read_only)
        try:
            link.driver = await link.call(lambda _: link._open(on_event), timeout_s)
        except libvirt.libvirtError as error:
            link._retire()
            raise lost(error) from None
        except BaseException:
            link._retire()
            raise
        return link

    async def call(self, job: Callable[[Any], T], timeout_s: float, late: type[LinkLost] = LinkLost) -> T:
        """Return job(connection), run on the connection's thread when its turn comes.

        Raises what the job raises, LinkLost when the connection ended, `late` when `timeout_s` passed since its turn
        came. Cancelling the wait leaves the call running under the same deadline.
        """
        await self._turn.acquire()
        if self._lost is not None:
            self._turn.release()
            raise self._lost
        future = self._worker.submit(lambda: self._guarded(job))
        timer = self._loop.call_later(timeout_s, self._expire, future, timeout_s, late)

        def finished(done: asyncio.Future[T]) -> None:
            timer.cancel()
            self._turn.release()
            if not done.cancelled() and isinstance(error := done.exception(), LinkLost):
                self._lose(error)

        future.add_done_callback(finished)
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Let go of the connection; returns without waiting for the peer."""
        self._lost = self._lost or LinkLost(DownReason.NONE, "closed")
        self._retire()

    def _open(self, on_event: Callable[[str, str | None], None] | None) -> str:
        # An empty list of credentials makes libvirt refuse instead of asking on a terminal.
        flags = libvirt.VIR_CONNECT_RO if self.read_only else 0
        conn = libvirt.openAuth(self.uri, [[], _refuse, None], flags)
        if self._over:  # nobody waits any more
            conn.close()
            raise LinkLost(DownReason.SILENT, "answered too late")
        self._conn = conn
        try:
            conn.setKeepAlive(*KEEPALIVE)
        except libvirt.libvirtError:
            log.debug("%s has no keepalive", clean(self.uri))
        try:
            conn.registerCloseCallback(self._closed, None)
        except libvirt.libvirtError:
            log.debug("%s tells of no close", clean(self.uri))
        if on_event is not None:
            self._subscribe(conn, on_event)
        return str(conn.getType())

    def _subscribe(self, conn: Any, on_event: Callable[[str, str | None], None]) -> None:
        def tell(kind: str, uuid: str | None) -> None:
            try:
                self._loop.call_soon_threadsafe(on_event, kind, uuid)
            except RuntimeError:  # the loop has closed
                log.debug("an event came after the end")

        def domain(_conn: Any, dom: Any, *_rest: Any) -> None:
            tell("domain", str(dom.UUIDString()))

        for name in EVENTS:
            number = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}")
            try:
                token = conn.domainEventRegisterAny(None, number, domain, None)
                self._registered.append((conn.domainEventDeregisterAny, token))
            except libvirt.libvirtError:
                log.debug("%s has no event %s", clean(self.uri), name)
        pool = ("pool", conn.storagePoolEventRegisterAny, conn.storagePoolEventDeregisterAny)
        network = ("network", conn.networkEventRegisterAny, conn.networkEventDeregisterAny)
        device = ("device", conn.nodeDeviceEventRegisterAny, conn.nodeDeviceEventDeregisterAny)
        for (kind, register, deregister), number in (
            (pool, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE),
            (pool, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH),
            (network, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE),
            (device, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE),
            (device, libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE),
        ):
            try:
                token = register(None, number, lambda *_args, kind=kind: tell(kind, None), None)
                self._registered.append((deregister, token))
            except libvirt.libvirtError:
                log.debug("%s has no %s events", clean(self.uri), kind)

    def _guarded(self, job: Callable[[Any], T]) -> T:
        """Run the job on the thread; a libvirt error of a dead connection becomes LinkLost."""
        try:
            return job(self._conn)
        except libvirt.libvirtError as error:
            if self._conn is not None and not self._conn.isAlive():
                raise lost(error) from None
            raise

    def _closed(self, _conn: Any, reason: int, _opaque: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._lose, closed(reason))
        except RuntimeError:  # the loop has closed
            log.debug("a close came after the end")

    def _expire(self, future: asyncio.Future[Any], timeout_s: float, late: type[LinkLost]) -> None:
        if future.done():
            return
        worker = self._worker
        self._stuck.append(worker)
        hang_up(self.uri, worker.thread_id)
        future.set_exception(late(DownReason.SILENT, f"no answer within {timeout_s:g} s"))

    def _lose(self, error: LinkLost) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._retire()
        if self._on_lost is not None:
            self._on_lost(error)

    def _retire(self) -> None:
        """The thread closes the connection after the call in flight, and ends."""
        if self._over:
            return
        self._over = True
        self._lost = self._lost or LinkLost(DownReason.NONE, "closed")
        self._worker.submit(self._drop)
        self._worker.stop()

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is None:
            return
        # libvirt keeps the connection for as long as a callback is registered.
        for deregister, token in self._registered:
            try:
                deregister(token)
            except libvirt.libvirtError:  # gone with a dead peer
                log.debug("an event was not taken back")
        self._registered.clear()
        try:
            conn.unregisterCloseCallback()
        except libvirt.libvirtError:
            log.debug("no close callback to take back")
        try:
            conn.close()
        except libvirt.libvirtError as error:
            log.debug("closing: %s", clean(str(error)))


def _refuse(_credentials: Any, _opaque: Any) -> int:
    return -1
