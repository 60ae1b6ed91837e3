"""The grammar of filters: what each word means, how words join, and what is said of one that means nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.errors import FleetError
from console.domain.model import Guest, GuestKey, Host, Nic
from console.domain.observed import DownReason, GuestObservation, GuestState, HostObservation, HostState
from console.domain.standing import GuestView, HostView, Standing
from console.inventory.filter import STATES, parse
from tests.fakes import NOW


def guest(
    host: str,
    name: str,
    state: GuestState | None,
    standing: Standing = Standing.IN_SYNC,
    *,
    labels: tuple[str, ...] = (),
    address: str | None = None,
) -> GuestView:
    nics = {"lan": Nic(name="lan", network="lan", mac="52:54:00:00:00:01", address=address)}
    wanted = Guest(name=name, uuid=name, vcpus=1, memory_kib=1024, labels=labels, nics=nics)
    seen = None if state is None else GuestObservation(uuid=name, name=name, state=state)
    return GuestView(key=GuestKey(host, name), standing=standing, wanted=wanted, seen=seen)


def view(name: str, *guests: GuestView, labels: tuple[str, ...] = (), down: bool = False) -> HostView:
    wanted = Host(name=name, mac="52:54:00:00:00:02", address="10.0.0.11/24", uri="test:///x", labels=labels)
    seen = HostObservation(name=name, state=HostState.UP, seen_at=NOW)
    if down:
        seen = replace(seen, state=HostState.DOWN, reason=DownReason.HOST_KEY)
    return HostView(name=name, wanted=wanted, seen=seen, guests=guests)


A = view(
    "vhost-1",
    guest("vhost-1", "web-1", GuestState.RUNNING, labels=("shop",), address="10.0.0.52/24"),
    guest("vhost-1", "web-2", GuestState.OFF, Standing.CHANGED, labels=("shop-test",)),
    guest("vhost-1", "win", GuestState.SHUTTING_DOWN),
    guest("vhost-1", "new", None, Standing.PENDING),
    labels=("rack-1",),
)
B = view("vhost-10", guest("vhost-10", "db[1]", GuestState.RUNNING, address="fe80::52"), down=True)


def found(text: str) -> str:
    match = parse(text)
    assert match is not None
    names = []
    for host in (A, B):
        names += [host.name] if match(host, None) else []
        names += [each.key.guest for each in host.guests if match(host, each)]
    return " ".join(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WEB", "web-1 web-2"),
        ("shop", "web-1 web-2"),
        ("10.0.0.52", "web-1"),
        ("fe80::52", "db[1]"),
        ("vhost-10", "vhost-10 db[1]"),
        ("rack", "vhost-1"),
        ("changed", "web-2"),
        ("off", "web-2"),
        ("!web", "vhost-1 win new vhost-10 db[1]"),
        ("!!web", "web-1 web-2"),
        ("-f w1", "web-1"),
        ("-f vh0", "vhost-10"),
        ("!-f w host:vhost-1", "vhost-1"),
        ("-l shop", "web-1"),
        ("-l SHOP*", "web-1 web-2"),
        ("-l !shop -l rack-1", "vhost-1 web-2 win new"),
        ("!-l rack-1", "vhost-10 db[1]"),
        ("state:running", "web-1 db[1]"),
        ("state:off", "web-2"),
        ("state:pending", "new"),
        ("state:shutting-down", "win"),
        ("state:stopping", "win"),
        ("state:stale", "vhost-10 db[1]"),
        ("state:wrong-key", "vhost-10"),
        ("state:up", "vhost-1"),
        ("!state:running host:vhost-1", "vhost-1 web-2 win new"),
        ("host:vhost-1", "vhost-1 web-1 web-2 win new"),
        ("host:vhost-1*", "vhost-1 web-1 web-2 win new vhost-10 db[1]"),
        ("host:vhost", ""),
        ("db[1]", "db[1]"),
        ("web state:running", "web-1"),
        ("web db", ""),
    ],
)
def test_what_a_filter_finds(text: str, expected: str) -> None:
    assert found(text) == expected


def test_an_empty_filter_is_none() -> None:
    assert parse("") is None
    assert parse("   ") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web -l", "-l needs a label after it."),
        ("-l !", "-l needs a label after it."),
        ("-f", "-f needs the letters to look for after it."),
        ("!", "! needs a word after it"),
        ("state:", "state: is one of running, off, paused,"),
        ("state:r", "state: is one of running, refused."),
        ("state:on", "state: is one of running, off, paused,"),
        ("host:", "host: needs the name of a host"),
        ("stat:off", 'There is no "stat:" to filter by.'),
    ],
)
def test_a_filter_that_means_nothing_says_what_is_meant(text: str, said: str) -> None:
    with pytest.raises(FleetError) as caught:
        parse(text)
    assert caught.value.title.startswith(said)


@pytest.mark.parametrize("state", STATES)
def test_every_state_that_is_named_can_be_asked_for(state: str) -> None:
    assert parse(f"state:{state}") is not None


@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        match = parse(text)
    except FleetError as error:
        assert error.title and "\n" not in error.title
        return
    if match is not None:
        for host in (A, B):
            assert match(host, None) in (True, False)
            assert {match(host, each) for each in host.guests} <= {True, False}


def test_a_guest_that_does_not_answer_is_found_by_that() -> None:
    hung = guest("vhost-1", "hung", GuestState.RUNNING)
    assert hung.seen is not None
    hung = replace(hung, seen=replace(hung.seen, answers=False))
    match = parse("state:no-answer")
    assert match is not None
    assert match(A, hung) and not match(A, A.guests[0])
    assert match(A, replace(hung, stale_since=NOW)) is False, "that was then"
