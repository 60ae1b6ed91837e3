"""What the libvirt process and its clients say to each other: length-prefixed msgpack frames.

A frame is four bytes of length, big-endian, then one message. Domain types travel as they are. A request carries
an id of the client's choosing; exactly one reply with the same id follows.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

from console import __version__
from console.domain import errors, hardware, model, observed, verbs
from console.domain.errors import FleetError, HostUnreachable, NotKnownDone
from console.domain.hardware import SeenByGuest
from console.domain.observed import HostObservation
from console.domain.verbs import Verb
from console.drivers import base
from console.drivers.base import HostTarget

WIRE = 1
"""Raised when the same types change their meaning."""

FULL, READ_ONLY = "full", "read-only"

MODES = frozenset({FULL, READ_ONLY})
"""What a process may do for its clients: everything, or look."""

FRAME_LIMIT = 64 * 1024 * 1024
"""Bytes. 10,000 guests with their shapes are about 30 MB."""

LENGTH = 4

VERBS: MappingProxyType[str, type[Verb]] = MappingProxyType({kind.__name__: kind for kind in Verb.__args__})
"""Each verb by its name on the wire (msgspec tells dataclasses of a union apart by no tag)."""


class Hello(msgspec.Struct, tag=True, frozen=True):
    """The first message of a client. `inventory` names the fleet this process is for."""

    version: str
    inventory: str
    mode: str = "full"


class SetTargets(msgspec.Struct, tag=True, frozen=True):
    """From now on exactly these hosts; answered by Done."""

    id: int
    targets: tuple[HostTarget, ...]


class Watch(msgspec.Struct, tag=True, frozen=True):
    """Send Updates from now on, beginning with all that is known; answered by Done."""

    id: int


class Observe(msgspec.Struct, tag=True, frozen=True):
    """Read one host now; answered by Observed."""

    id: int
    host: str
    timeout_s: float


class Call(msgspec.Struct, tag=True, frozen=True):
    """Carry out one verb; answered by Done. `verb` is a key of VERBS, `fields` its msgpack."""

    id: int
    host: str
    verb: str
    fields: msgspec.Raw
    timeout_s: float


class AskGuests(msgspec.Struct, tag=True, frozen=True):
    """Ask the agents of running guests of the functions they have (function -> vendor:device); answered by Told."""

    id: int
    host: str
    functions: dict[str, str]
    timeout_s: float


class Focus(msgspec.Struct, tag=True, frozen=True):
    """Poll this host first; answered by Done."""

    id: int
    host: str | None


class WriteCalls(msgspec.Struct, tag=True, frozen=True):
    """Ask for the number of changing calls per host; answered by Counts."""

    id: int


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """Nobody waits for the reply to `id` any more; itself unanswered."""

    id: int


Answered = SetTargets | Watch | Observe | Call | AskGuests | Focus | WriteCalls
Request = Answered | Cancel

Look = SetTargets | Watch | Observe | Focus | WriteCalls | Cancel
"""The requests that a read-only process knows: there is no verb among them, and no guest is spoken to."""


class Welcome(msgspec.Struct, tag=True, frozen=True):
    """The answer to a Hello that fits."""

    version: str
    pid: int


class Refused(msgspec.Struct, tag=True, frozen=True):
    """The answer to a Hello that does not fit, or to a frame that is none; the connection ends."""

    reason: str


class Done(msgspec.Struct, tag=True, frozen=True):
    """The request was carried out."""

    id: int


class Observed(msgspec.Struct, tag=True, frozen=True):
    """What the host reports."""

    id: int
    host: HostObservation


class Told(msgspec.Struct, tag=True, frozen=True):
    """What guests say of functions of the host."""

    id: int
    functions: dict[str, SeenByGuest]


class Counts(msgspec.Struct, tag=True, frozen=True):
    """Changing calls per host."""

    id: int
    calls: dict[str, int]


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The request was refused or failed: the parts of a FleetError."""

    id: int
    title: str
    detail: str = ""
    hint: str = ""
    unreachable: bool = False
    not_known: bool = False

    @classmethod
    def of(cls, id: int, error: FleetError) -> Failed:
        """Return the error as a reply."""
        kinds = isinstance(error, HostUnreachable), isinstance(error, NotKnownDone)
        return cls(id, error.title, error.detail, error.hint, *kinds)

    def error(self) -> FleetError:
        """Return the reply as the error to raise."""
        kind = NotKnownDone if self.not_known else HostUnreachable if self.unreachable else FleetError
        return kind(self.title, self.detail, self.hint)


class HostDelta(msgspec.Struct, frozen=True):
    """One changed host, without what the client has already.

    host: its facts are None when `same_facts`; its guests are only the changed ones.
    order: the uuids of all guests in their order, None when that is as before.
    """

    host: HostObservation
    same_facts: bool
    order: tuple[str, ...] | None


class Updates(msgspec.Struct, tag=True, frozen=True):
    """Changed hosts, and the names of those no longer observed."""

    hosts: tuple[HostDelta, ...]
    gone: tuple[str, ...] = ()


Reply = Welcome | Refused | Done | Observed | Told | Counts | Failed | Updates

ENCODER = msgspec.msgpack.Encoder()
HELLO = msgspec.msgpack.Decoder(Hello)
REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
LOOK: msgspec.msgpack.Decoder[Look] = msgspec.msgpack.Decoder(Look)
REPLY: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


class WireError(Exception):
    """The other side sent what is no message."""


def frame(message: msgspec.Struct) -> bytes:
    """Return the message as a frame."""
    body = ENCODER.encode(message)
    if len(body) > FRAME_LIMIT:
        raise WireError(f"a message of {len(body)} bytes is over the limit of {FRAME_LIMIT}")
    return len(body).to_bytes(LENGTH, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next frame's body. Raises WireError for a length that cannot be, EOFError at the end."""
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH), "big")
        if not 0 < length <= FRAME_LIMIT:
            raise WireError(f"a frame of {length} bytes: the limit is {FRAME_LIMIT}")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise EOFError from error


def request(body: bytes, mode: str) -> Request:
    """Return the request in a frame's body. Raises WireError for what is none, in read-only mode for any verb."""
    try:
        return REQUEST.decode(body) if mode == FULL else LOOK.decode(body)
    except msgspec.MsgspecError as error:
        reason = str(error) if mode == FULL else f"a read-only process is only asked to look ({error})"
        raise WireError(reason) from error


def pack(id: int, host: str, verb: Verb, timeout_s: float) -> Call:
    """Return the request for a verb."""
    return Call(id, host, type(verb).__name__, msgspec.Raw(ENCODER.encode(verb)), timeout_s)


def unpack(call: Call) -> Verb:
    """Return the verb of a request. Raises WireError when there is none such."""
    kind = VERBS.get(call.verb)
    if kind is None:
        raise WireError(f"no verb {call.verb!r}")
    try:
        return msgspec.msgpack.decode(call.fields, type=kind)
    except msgspec.MsgspecError as error:
        raise WireError(f"{call.verb}: {error}") from error


def delta(old: HostObservation | None, new: HostObservation) -> HostDelta:
    """Return what turns `old` into `new`. Guests are compared by identity: an unchanged guest is the same object."""
    if old is None:
        return HostDelta(new, same_facts=False, order=tuple(guest.uuid for guest in new.guests))
    before = {guest.uuid: guest for guest in old.guests}
    order = tuple(guest.uuid for guest in new.guests)
    changed = tuple(guest for guest in new.guests if before.get(guest.uuid) is not guest)
    same_facts = new.facts is old.facts
    return HostDelta(
        replace(new, facts=None if same_facts else new.facts, guests=changed),
        same_facts=same_facts,
        order=None if order == tuple(before) else order,
    )


def merge(old: HostObservation | None, change: HostDelta) -> HostObservation:
    """Return the host after the change. Raises WireError when it does not fit what is known."""
    if old is None and change.order is None:
        raise WireError(f"a change of {change.host.name!r}, of which nothing is known")
    guests = {guest.uuid: guest for guest in old.guests} if old is not None else {}
    order = change.order if change.order is not None else tuple(guests)
    guests.update((guest.uuid, guest) for guest in change.host.guests)
    try:
        merged = tuple(guests[uuid] for uuid in order)
    except KeyError as error:
        raise WireError(f"a change of {change.host.name!r} names an unknown guest") from error
    facts = old.facts if change.same_facts and old is not None else change.host.facts
    return replace(change.host, facts=facts, guests=merged)


@cache
def version() -> str:
    """Return what both sides must share: package version, wire number, digest of the code that both run.

    The digest makes a checkout's edit start a new process instead of talking to yesterday's.
    """
    digest = hashlib.sha256()
    here = Path(__file__).parent
    shared = (Path(module.__file__ or "") for module in (base, errors, hardware, model, observed, verbs))
    for path in (*sorted(here.glob("*.py")), *shared):
        digest.update(path.read_bytes())
    return f"{__version__}/{WIRE}/{digest.hexdigest()[:16]}"
