"""What is known of the fleet survives the console, and an empty report does not erase it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.domain.model import Fleet, Host
from console.domain.observed import (
    DownReason,
    GuestObservation,
    GuestSample,
    GuestState,
    HostFacts,
    HostObservation,
    HostState,
)
from console.domain.standing import Definition, Standing
from console.inventory.files import Inventory
from console.inventory.store import Store
from console.services.memory import FILE, recall, remember

SEEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def observation() -> HostObservation:
    guest = GuestObservation(
        uuid="6d1a6a3e-3a0e-4cc1-9d0e-0a0a0a0a0a0a",
        name="web",
        state=GuestState.RUNNING,
        shape={"vcpus": "2"},
        sample=GuestSample(at=SEEN, cpu_percent=12.5),
        cpu_history=(1.0, None, 12.5),
    )
    facts = HostFacts(hostname="a", driver="QEMU", libvirt_version="9.0.0", cpus=4)
    return HostObservation(name="a", state=HostState.UP, seen_at=SEEN, facts=facts, guests=(guest,))


def test_it_comes_back_as_not_contacted_yet(tmp_path: Path) -> None:
    remember(tmp_path, {"a": observation(), "b": HostObservation(name="b")})
    known = recall(tmp_path)
    assert list(known) == ["a"]
    assert known["a"].state is HostState.CONNECTING
    assert (known["a"].seen_at, known["a"].guests, known["a"].facts) == (
        SEEN,
        observation().guests,
        observation().facts,
    )
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x81\xa1a\xc0", b"\x93\x01\x02\x03"])
def test_a_file_that_cannot_be_used_is_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert recall(tmp_path) == {}


def test_a_host_that_was_not_reached_keeps_its_guests_with_their_age() -> None:
    host = Host(name="a", mac="52:54:00:00:00:01", address="10.0.0.1/24", uri="test:///x")
    fleet = Fleet(name="f", id="x", hosts={"a": host})
    store = Store(Inventory(Path(), fleet, (), {}), lambda *_: Definition("", {}))
    store.set_observed({"a": observation()})
    silent = HostObservation(name="a", state=HostState.DOWN, reason=DownReason.SILENT, error="It did not answer.")
    store.set_observed({"a": silent})
    view = store.host("a")
    assert (view.seen.state, view.seen.error, view.stale_since) == (HostState.DOWN, "It did not answer.", SEEN)
    (guest,) = view.guests
    assert (guest.standing, guest.state, guest.stale_since) == (Standing.UNMANAGED, GuestState.RUNNING, SEEN)
