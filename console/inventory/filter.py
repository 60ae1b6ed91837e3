"""What a filter means: words that a host or guest must all answer to. Pure; the screens and the commands use it.

A word is found anywhere in name, label, address, state or host. `state:`, `host:` and `-l` (label) take the whole
word, with `*` for any letters, so that what is meant for one is not done to its neighbours. `-f` takes letters that
stand in the name in this order. `!` before any of them turns it round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from console.domain.errors import FleetError
from console.domain.observed import DownReason, GuestState, HostState
from console.domain.standing import GuestView, HostView, Standing
from console.domain.values import shown

Match = Callable[[HostView, GuestView | None], bool]
"""Says whether a host (None) or one of its guests is wanted."""

HINT = "text  !not  -f fuzzy  -l label  state:off  host:NAME"
"""The grammar in one line."""

STALE = "stale"
NO_ANSWER = "no-answer"
"""A guest that its host waits for in vain."""
STOPPING = "stopping"
"""What the fleet list calls a guest that is shutting down."""


def _word(state: str) -> str:
    return state.replace(" ", "-")


_KINDS = (GuestState, (Standing.PENDING, Standing.CHANGED, Standing.UNMANAGED, Standing.IN_SYNC), HostState, DownReason)
_WORDS = [*(_word(state.value) for kind in _KINDS for state in kind if state.value), STOPPING, NO_ANSWER, STALE]
STATES = tuple(sorted(dict.fromkeys(_WORDS), key=lambda word: word == GuestState.UNKNOWN.value))
"""What can stand after `state:`: of guests, then of hosts; what nobody looks for last."""


def parse(text: str) -> Match | None:
    """Return what a filter matches, None for an empty one, which matches everything.

    Raises FleetError for a filter that means nothing: an unknown state or field, or a word that lacks its end.
    """
    words = iter(text.split())
    parts = [_part(word, words) for word in words]
    if not parts:
        return None
    return lambda host, guest: all(part(host, guest) for part in parts)


def _part(word: str, rest: Iterator[str]) -> Match:
    bare = word.lstrip("!")
    inverse = (len(word) - len(bare)) % 2 == 1
    if bare in ("-f", "-l"):
        value = next(rest, "")
        if bare == "-l" and value.startswith("!"):
            value, inverse = value[1:], not inverse
        if not value:
            raise FleetError(f"{bare} needs {'the letters to look for' if bare == '-f' else 'a label'} after it.")
        match = _fuzzy(value.casefold()) if bare == "-f" else _label(value.casefold())
    else:
        match = _plain(bare)
    return (lambda host, guest: not match(host, guest)) if inverse else match


def _plain(word: str) -> Match:
    if not word:
        raise FleetError("! needs a word after it: what is not wanted.")
    field, colon, value = word.casefold().partition(":")
    # "fe80::1" and "52:54:00" are addresses.
    if not colon or not field or all(c in "0123456789abcdef" for c in field):
        return _substring(word.casefold())
    if field not in ("state", "host"):
        raise FleetError(f"There is no {shown(field + ':')} to filter by.", "", "There are state: and host:.")
    pattern = _pattern(value)
    if field == "host":
        if not value:
            raise FleetError("host: needs the name of a host, such as host:vhost-a or host:vhost-*.")
        return lambda host, guest: fnmatchcase(host.name.casefold(), pattern)
    if not any(fnmatchcase(state, pattern) for state in STATES):
        near = [state for state in STATES if value and state.startswith(value)]
        raise FleetError(f"state: is one of {', '.join(near or STATES)}.")
    return lambda host, guest: any(fnmatchcase(state, pattern) for state in _states(host, guest))


def _pattern(text: str) -> str:
    """Only `*` is special: what else fnmatch knows may stand in a name."""
    return text.replace("[", "[[]").replace("?", "[?]")


def _label(wanted: str) -> Match:
    pattern = _pattern(wanted)

    def match(host: HostView, guest: GuestView | None) -> bool:
        # What stands in a rack has the rack's label.
        return any(fnmatchcase(label.casefold(), pattern) for label in (*host.wanted.labels, *_labels(guest)))

    return match


def _fuzzy(letters: str) -> Match:
    def match(host: HostView, guest: GuestView | None) -> bool:
        name = iter((host.name if guest is None else guest.key.guest).casefold())
        return all(letter in name for letter in letters)

    return match


def _substring(wanted: str) -> Match:
    return lambda host, guest: any(wanted in fact.casefold() for fact in _facts(host, guest))


def _facts(host: HostView, guest: GuestView | None) -> Iterator[str]:
    yield host.name
    # Nearly all are in sync: it says nothing, and "in" is a part of many names.
    yield from (state for state in _states(host, guest) if state != _word(Standing.IN_SYNC.value))
    if guest is None:
        yield host.wanted.address
        yield from host.wanted.labels
        return
    yield guest.key.guest
    yield from (entry.address for entry in guest.addresses)
    yield from _labels(guest)


def _labels(guest: GuestView | None) -> tuple[str, ...]:
    return guest.wanted.labels if guest is not None and guest.wanted is not None else ()


def _states(host: HostView, guest: GuestView | None) -> Iterator[str]:
    """Yield the words for what a host or guest does, as the lists show it: one that is pending is not off."""
    if host.stale_since is not None:
        yield STALE
    if guest is None:
        yield _word(host.seen.state.value)
        if host.seen.reason.value:
            yield _word(host.seen.reason.value)
        return
    if guest.standing is not Standing.PENDING:
        yield _word(guest.state.value)
    if guest.state is GuestState.SHUTTING_DOWN:
        yield STOPPING
    if not guest.answers:
        yield NO_ANSWER
    yield _word(guest.standing.value)
