"""One observed host: connects, polls, listens to events, and tries again for ever. No host waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from console.domain.errors import FleetError, HostUnreachable, NotKnownDone
from console.domain.hardware import SeenByGuest
from console.domain.observed import DownReason, HostFacts, HostObservation, HostState
from console.domain.verbs import CreateVolume, DeleteVolume, Verb
from console.drivers.base import HostTarget
from console.drivers.libvirt import facts, testfile
from console.drivers.libvirt.addresses import Addresses
from console.drivers.libvirt.agent import ask_guests
from console.drivers.libvirt.failures import LinkLost, Overdue, raw
from console.drivers.libvirt.herd import Herd
from console.drivers.libvirt.link import Link, Worker
from console.drivers.libvirt.look import READ_S, Looks, back_off_s
from console.drivers.libvirt.markup import BadXml, clean
from console.drivers.libvirt.survey import Survey
from console.drivers.libvirt.verbs import carry_out, title_of, uuids_of

T = TypeVar("T")

log = logging.getLogger(__name__)

OPEN_S = 15.0
FOCUSED_S = 1.0
OTHERS_S = 2.0
MARKS_S = 15.0
SEEN = timedelta(seconds=15)
"""How far behind the time that a quiet host was seen may be told."""

SETTLE_S = 0.05
"""Events come in bursts (defined, started, resumed): one look answers all of them."""

STEADY_S = 30.0
"""A connection that lasted this long was a good one: the next failure counts as the first."""


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


class HostWatch:
    """Keeps `observation` true for one host while `run` runs; `changed` is called whenever it says something new."""

    def __init__(
        self,
        target: HostTarget,
        *,
        changed: Callable[[HostObservation], None],
        now: Callable[[], datetime] = utc_now,
        read_only: bool = False,
    ) -> None:
        self.target = target
        self._read_only = read_only  # as every connection then is; no verb ever comes
        self.write_calls = 0
        self.over = False  # nobody wants to know any more
        self._changed = changed
        self._now = now
        self._file: Path | None = testfile.file_of(target.uri)
        self._herd = Herd()
        self._looks = Looks(self._herd, now)
        self._link: Link | None = None
        self._reached = False
        self._stuck: list[Worker] = []
        self._loss: LinkLost | None = None
        self._wake = asyncio.Event()
        self._retry = asyncio.Event()
        self._survey = Survey(self._surveyed, self._stuck, read_only=read_only)
        self._kept: testfile.Kept | None = None
        self._told_at = now()
        self._focused = False
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Link | LinkLost] = self._loop.create_future()
        self.observation = HostObservation(name=target.name, state=HostState.CONNECTING)

    def focus(self, on: bool) -> None:
        """Poll more often, or as the others."""
        if on and not self._focused:
            self._wake.set()
        self._focused = on

    async def run(self) -> None:
        """Observe until cancelled. Never raises for what the host does."""
        if self.target.refusal:
            lost = LinkLost(DownReason.UNPINNED, self.target.refusal)
            self._down(lost, None)
            self._outcome.set_result(lost)
            await asyncio.Event().wait()
        failures = 0
        while True:
            begun = time.monotonic()
            lost = await self._once()
            if self.over:  # a task group forgets that it was cancelled when a task of it fails on the way out
                return
            hangs = isinstance(lost, Overdue) and self._reached
            if hangs:
                self._looks.hang()
            if hangs or isinstance(lost, testfile.FileChanged):
                self._leave()  # one answer was missing: the host is down only if it does not answer anew
                continue
            failures = 1 if time.monotonic() - begun > STEADY_S + OPEN_S else failures + 1
            delay = back_off_s(failures)
            self._down(lost, delay)
            self._finish(lost)
            self._outcome = self._loop.create_future()
            self._retry.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._retry.wait(), delay)

    async def observe(self, timeout_s: float) -> HostObservation:
        """Return the host as read after now; DOWN with the last guests when it does not answer in time."""
        read = False
        try:
            async with asyncio.timeout(timeout_s):
                while self._link is not None and self._kept is not None and self._kept.is_old:
                    self._lost(testfile.FileChanged())
                    await asyncio.sleep(SETTLE_S)
                while not read:
                    link = await self._up()
                    with contextlib.suppress(Overdue):  # then the host is asked again on the next connection
                        await self._look(link, again=None, marks=True)
                        await self._survey.read(link, frozenset({"pool", "network"}), self.target)
                        read = True
                await self._measure(link)
                await self._survey.wait_whole()  # devices and the trial of KVM: worth the wait, not a failure
                return self.observation
        except TimeoutError:
            if read:
                return self.observation
            text = f"It did not answer within {timeout_s:g} s."
            return replace(self.observation, state=HostState.DOWN, reason=DownReason.SILENT, error=text)
        except LinkLost as lost:
            if self.observation.state is HostState.DOWN or read:
                return self.observation
            return replace(self.observation, state=HostState.DOWN, reason=lost.reason, error=lost.text)
        except (libvirt.libvirtError, BadXml) as error:
            text = clean(str(error))
            return replace(self.observation, state=HostState.DOWN, reason=DownReason.FAILED, error=text)

    async def carry_out(self, verb: Verb, timeout_s: float) -> None:
        """Carry out one verb; what it changed is in `observation` afterwards. Raises FleetError."""
        deadline = self._loop.time() + timeout_s
        uuid = getattr(verb, "uuid", None)
        name = next((g.name for g in self.observation.guests if g.uuid == uuid), None)
        title = title_of(verb, name)
        begun = False

        def do(conn: Any) -> None:
            nonlocal begun
            begun = True
            self._do(conn, verb)

        while True:
            link = await self._up_within(title, deadline, timeout_s)
            try:
                # A copy takes minutes. The test driver has another state on another connection, and copies nothing.
                if isinstance(verb, CreateVolume) and verb.copy_of is not None and self._file is None:
                    await self._aside(do, deadline)
                else:
                    await link.call(do, deadline - self._loop.time(), Overdue)
                return
            except LinkLost as lost:
                if begun:
                    title, hint = title_of(verb, name, known=False), "Look at the host again before repeating it."
                    raise NotKnownDone(title, f"{self.target.name} was lost meanwhile: {lost.text}", hint) from None
                if not isinstance(lost, Overdue) or self._loop.time() >= deadline:  # else another call hung
                    raise HostUnreachable(title, f"{self.target.name} is down: {lost.text}") from None
            finally:
                await self._after(link, verb)

    async def ask_guests(self, ids: Mapping[str, str], timeout_s: float) -> dict[str, SeenByGuest]:
        """Return what guests' agents say of these functions; see console.drivers.base. Raises HostUnreachable."""
        title = f"The guests of {self.target.name} were not asked."
        await self._up_within(title, self._loop.time() + timeout_s, timeout_s)
        return await ask_guests(self.target.uri, self._herd.running(), ids, self._stuck, timeout_s)

    def _do(self, conn: Any, verb: Verb) -> None:
        """Carry the verb out, on the connection's thread."""
        carry_out(conn, verb, lambda: self._soon(self._count))
        if self._file is None:
            return
        try:
            testfile.keep(conn, self._file)
        except (OSError, BadXml) as error:
            raise FleetError(
                f"{self._file} was not written",
                clean(str(error)),
                "The change holds until the libvirt process ends.",
            ) from None

    def _count(self) -> None:
        self.write_calls += 1

    def _soon(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has closed
            log.debug("a call came after the end")

    async def _aside(self, do: Callable[[Any], None], deadline: float) -> None:
        link = await Link.open(self.target.uri, timeout_s=OPEN_S, stuck=self._stuck)
        try:
            await link.call(do, deadline - self._loop.time(), Overdue)
        finally:
            await link.close()

    async def _after(self, link: Link, verb: Verb) -> None:
        """Read what the verb may have changed; a failure of that is no failure of the verb."""
        try:
            if isinstance(verb, (CreateVolume, DeleteVolume)):
                await self._survey.read(link, frozenset({"pool"}), self.target)
            else:
                await self._look(link, again=uuids_of(verb), marks=True)
        except (LinkLost, libvirt.libvirtError, BadXml) as error:
            log.info("%s: not read after a change: %s", self.target.name, clean(str(error)))

    async def _up_within(self, title: str, deadline: float, timeout_s: float) -> Link:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._up()
        except TimeoutError:
            raise HostUnreachable(title, f"{self.target.name} did not answer within {timeout_s:g} s.") from None
        except LinkLost as lost:
            raise HostUnreachable(title, f"{self.target.name} is down: {lost.text}") from None

    async def _up(self) -> Link:
        """Return the open connection, after one try that began now or later where there is none. Raises LinkLost."""
        if self._link is not None:
            return self._link
        self._retry.set()
        outcome = await asyncio.shield(self._outcome)
        if isinstance(outcome, LinkLost):
            raise outcome
        return outcome

    def _finish(self, outcome: Link | LinkLost) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def _once(self) -> LinkLost:
        """Connect and observe until the connection is lost; return why."""
        self._loss = None
        self._reached = False
        link: Link | None = None
        lost: list[LinkLost] = []
        try:
            if self._read_only and self._file is not None:
                self._kept = await asyncio.to_thread(testfile.read_kept, self._file)
            link = await Link.open(
                self.target.uri,
                timeout_s=OPEN_S,
                on_lost=self._lost,
                on_event=self._event,
                stuck=self._stuck,
                read_only=self._read_only,
            )
            async with asyncio.TaskGroup() as tasks:
                await self._begin(link)
                tasks.create_task(self._poll(link))
                tasks.create_task(self._survey.run(link, lambda: self.target))
                if link.driver != facts.TEST:  # its addresses are made up
                    tasks.create_task(Addresses(self._herd, self.target.uri, self._stuck, self._guests).run(link))
        except* LinkLost as group:
            lost.append(_first(group, LinkLost))
        except* libvirt.libvirtError as group:
            lost.append(LinkLost(DownReason.FAILED, raw(_first(group, libvirt.libvirtError))))
        except* Exception as group:
            # Whatever a host makes us stumble over, it costs that host alone, and says so.
            log.exception("%s: unexpected", self.target.name)
            lost.append(LinkLost(DownReason.FAILED, clean(f"unexpected: {_first(group, Exception)!r}")))
        finally:
            self._link = None
            if link is not None:
                await link.close()
        return lost[0]

    async def _begin(self, link: Link) -> None:
        file = self._file
        if file is not None and not self._read_only:
            await link.call(lambda conn: testfile.restore(conn, file), READ_S)
        self._herd.forget()
        self._survey.begin()
        await self._look(link, again=None, marks=True)
        self._link = link
        self._reached = True
        self._finish(link)

    def _lost(self, lost: LinkLost) -> None:
        self._loss = lost
        self._leave()
        self._wake.set()

    def _leave(self) -> None:
        """Who asks for the connection from now on waits for what becomes of the next one."""
        self._link = None
        if self._outcome.done():
            self._outcome = self._loop.create_future()

    def _event(self, kind: str, uuid: str | None) -> None:
        if kind == "domain" and uuid is not None:
            self._looks.touch(uuid)
            self._wake.set()
        else:
            self._survey.touch(kind)

    async def _poll(self, link: Link) -> None:
        marks_at = time.monotonic() + MARKS_S
        await self._measure(link)
        while True:
            await _woken(self._wake, FOCUSED_S if self._focused else OTHERS_S)
            if self._loss is not None:
                raise self._loss
            if self._kept is not None and self._kept.is_old:
                raise testfile.FileChanged()
            if self._looks.dirty:
                await asyncio.sleep(SETTLE_S)
            marks = time.monotonic() >= marks_at
            if marks:
                marks_at = time.monotonic() + MARKS_S
            await self._look(link, again=frozenset(), marks=marks)
            await self._measure(link)

    async def _look(self, link: Link, *, again: frozenset[str] | None, marks: bool) -> None:
        await self._looks.guests(link, self._kept, again=again, marks=marks)
        self._guests()

    async def _measure(self, link: Link) -> None:
        if await self._looks.figures(link):
            self._guests()

    def _guests(self) -> None:
        """Tell of the guests as the herd has them now: the host is up."""
        self._tell(
            state=HostState.UP,
            reason=DownReason.NONE,
            error="",
            offered_key="",
            retry_at=None,
            seen_at=self._now(),
            guests=self._herd.guests,
            sample=self._herd.host_sample,
            cpu_history=tuple(self._herd.host_meter.history),
        )

    def _tell(self, **changes: Any) -> None:
        """Change the observation; tell of it, though not each time when only the time it was seen is new."""
        old = self.observation
        self.observation = replace(old, **changes)
        now = self._now()
        if replace(old, seen_at=self.observation.seen_at) != self.observation or abs(now - self._told_at) >= SEEN:
            self._told_at = now
            self._changed(self.observation)

    def _down(self, lost: LinkLost, delay_s: float | None) -> None:
        if (lost.reason, lost.text) != (self.observation.reason, self.observation.error):
            log.info("%s is down: %s", self.target.name, lost.text)
        self._tell(
            state=HostState.DOWN,
            reason=lost.reason,
            error=lost.text,
            offered_key=lost.offered,
            retry_at=None if delay_s is None else self._now() + timedelta(seconds=delay_s),
            sample=None,
        )

    def _surveyed(self, known: HostFacts) -> None:
        self._tell(facts=known, seen_at=self._now())


def _first(group: BaseExceptionGroup[Any], kind: type[T]) -> T:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, kind)
    return error


async def _woken(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for the event, and clear it; False when the time passed first."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    event.clear()
    return True
