"""What the store works out, and when: a guest's definition once, and again only when what it depends on changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, Host, Pool
from console.domain.observed import GuestObservation, GuestState, HostObservation, HostState
from console.domain.standing import Definition, Standing
from console.inventory.files import Inventory
from console.inventory.store import Store
from tests.fakes import NOW

WEB = Guest(name="web", uuid="w", vcpus=1, memory_kib=1024, disks={}, nics={})
DB = replace(WEB, name="db", uuid="d")
A = Host(name="a", mac="52:54:00:00:00:01", address="10.0.0.1/24", uri="test:///a", guests={"web": WEB, "db": DB})
FLEET = Fleet(name="f", id="x", hosts={"a": A})


def inventory(fleet: Fleet) -> Inventory:
    return Inventory(Path(), fleet, (), {})


def seen(cpu: int) -> dict[str, HostObservation]:
    guests = tuple(
        GuestObservation(uuid=guest.uuid, name=guest.name, state=GuestState.RUNNING, vcpus=cpu) for guest in (WEB, DB)
    )
    return {"a": HostObservation(name="a", state=HostState.UP, seen_at=NOW, guests=guests)}


class Defining:
    """Counts which guests' definitions were worked out."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.store = Store(inventory(FLEET), self.define)

    def define(self, fleet: Fleet, host: Host, guest: Guest) -> Definition:
        self.asked.append(guest.name)
        return Definition(f"{len(fleet.pools)} {host.address} {guest.vcpus}", {})

    def after(self, fleet: Fleet) -> list[str]:
        """Whose definitions were worked out again for this fleet."""
        self.store.host("a")
        self.asked.clear()
        self.store.set_inventory(inventory(fleet))
        self.store.host("a")
        return self.asked


@pytest.fixture
def defining() -> Defining:
    made = Defining()
    made.store.set_observed(seen(1))
    return made


def test_updates_of_a_host_work_no_definition_out_again(defining: Defining) -> None:
    for cpu in range(5):
        defining.store.set_observed(seen(cpu))
        defining.store.host("a")
    assert defining.asked == ["web", "db"]


@pytest.mark.parametrize(
    ("fleet", "again"),
    [
        (FLEET, []),
        (replace(FLEET, hosts={"a": replace(A, guests={"web": replace(WEB, vcpus=2), "db": DB})}), ["web"]),
        (replace(FLEET, hosts={"a": replace(A, address="10.0.0.2/24")}), ["web", "db"]),
        (replace(FLEET, pools={"p": Pool(name="p", path="/p")}), ["web", "db"]),
        (replace(FLEET, hosts={"a": replace(A, guests={"db": DB})}), []),
    ],
)
def test_an_edit_works_out_what_it_touches(defining: Defining, fleet: Fleet, again: list[str]) -> None:
    assert defining.after(fleet) == again


def test_a_guest_that_cannot_be_defined_costs_no_other(defining: Defining) -> None:
    def define(fleet: Fleet, host: Host, guest: Guest) -> Definition:
        if guest is DB:
            raise FleetError("db cannot be defined.", "Its disk is in no pool.", "Mend it.")
        return Definition("", {})

    store = Store(inventory(FLEET), define)
    store.set_observed(seen(1))
    web, db = store.host("a").guests
    assert (web.fault, db.fault) == ("", "db cannot be defined. Its disk is in no pool.")
    assert db.standing is Standing.CHANGED and db.state is GuestState.RUNNING


def test_a_guest_that_went_and_came_back_changed_is_worked_out_again(defining: Defining) -> None:
    defining.store.host("a")
    defining.store.set_inventory(inventory(replace(FLEET, hosts={})))
    defining.asked.clear()
    defining.store.set_inventory(inventory(FLEET))
    defining.store.set_observed(seen(1))
    defining.store.host("a")
    assert defining.asked == ["web", "db"]
