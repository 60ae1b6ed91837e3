"""The flat rows of the fleet: order, filter, folding, lookup, and what is shared between updates."""

from __future__ import annotations

import pytest

from console.domain.model import Disk, Fleet, Guest, GuestKey, Host, Nic
from console.domain.observed import DownReason, HostObservation, HostState
from console.domain.standing import Definition, HostView, host_view
from console.inventory.filter import parse
from console.inventory.index import Index, natural


def guest(name: str, *, address: str | None = None, labels: tuple[str, ...] = ()) -> Guest:
    return Guest(
        name=name,
        uuid=f"uuid-{name}",
        vcpus=1,
        memory_kib=1024,
        labels=labels,
        disks={"boot": Disk(name="boot", size_kib=1024, pool="default", target="vda")},
        nics={"lan": Nic(name="lan", network="lan", mac="52:54:00:00:00:01", address=address)},
    )


def view(name: str, *guests: Guest, labels: tuple[str, ...] = (), down: bool = False) -> HostView:
    host = Host(
        name=name,
        mac="52:54:00:00:00:02",
        address="10.0.0.11/24",
        uri="test:///x",
        labels=labels,
        guests={each.name: each for each in guests},
    )
    seen = HostObservation(name=name)
    if down:
        seen = HostObservation(name=name, state=HostState.DOWN, reason=DownReason.SILENT)
    fleet = Fleet(name="f", id="id", hosts={name: host})
    return host_view(fleet, host, seen, lambda *_: Definition("", {}))


def keys(index: Index) -> list[str]:
    return [str(row.key) for row in index]


A = view("vhost-a", guest("web-10"), guest("web-2", address="10.0.0.52/24", labels=("shop",)), guest("Mail"))
B = view("vhost-b", guest("db-1"), labels=("rack-1",), down=True)


def test_hosts_and_their_guests_stand_in_natural_order() -> None:
    index = Index([view("vhost-10"), B, A])
    assert keys(index) == [
        "vhost-10",
        "vhost-a",
        "vhost-a/Mail",
        "vhost-a/web-2",
        "vhost-a/web-10",
        "vhost-b",
        "vhost-b/db-1",
    ]
    assert natural("web-2") < natural("web-10") < natural("web-10a")


def test_a_row_is_found_by_number_and_by_key() -> None:
    index = Index([A, B])
    for number in range(len(index)):
        assert index.number_of(index[number].key) == number
    assert index.number_of(GuestKey("vhost-a", "gone")) is None
    assert index.number_of("gone") is None
    with pytest.raises(IndexError):
        index[len(index)]
    with pytest.raises(IndexError):
        index[-1]


def test_a_folded_host_hides_its_guests_and_says_how_many() -> None:
    index = Index([A, B], None, {"vhost-a"})
    assert keys(index) == ["vhost-a", "vhost-b", "vhost-b/db-1"]
    assert (index[0].folded, index[0].hidden) == (True, 3)
    assert index.number_of(GuestKey("vhost-a", "web-2")) is None
    assert [str(each.key) for each in index.guests()] == [
        "vhost-a/Mail",
        "vhost-a/web-2",
        "vhost-a/web-10",
        "vhost-b/db-1",
    ]


def test_an_update_asks_the_filter_only_about_hosts_that_changed() -> None:
    asked: list[str] = []

    def match(host: HostView, guest: object) -> bool:
        asked.append(host.name)
        return True

    index = Index([A, B], match)
    asked.clear()
    changed = view("vhost-b", guest("db-1"), guest("db-2"))
    index = index.updated([A, changed], match)
    assert set(asked) == {"vhost-b"}
    assert keys(index)[-2:] == ["vhost-b/db-1", "vhost-b/db-2"]


def test_another_filter_is_asked_about_every_host() -> None:
    index = Index([A, B], parse("web"))
    assert keys(index.updated([A, B], parse("db"))) == ["vhost-b", "vhost-b/db-1"]


def test_an_empty_fleet_has_no_rows() -> None:
    index = Index([])
    assert len(index) == 0
    assert list(index) == []
