"""A change of the inventory as data: made in a fleet that others changed meanwhile, or refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from console.domain.errors import FleetError
from console.domain.model import Accel, Fleet, Guest, Host
from console.domain.move import inventory_change, moved
from tests.sound import sound_fleets

GUEST = Guest(name="web", uuid="u", vcpus=2, memory_kib=1024)
HOST = Host(name="a", mac="m", address="10.0.0.1/24", uri="u", guests={"web": GUEST})
FLEET = Fleet(name="cellar", id="i", hosts={"a": HOST})


def with_guest(**facts: object) -> Fleet:
    return replace(FLEET, hosts={"a": replace(HOST, guests={"web": replace(GUEST, **facts)})})


def with_host(**facts: object) -> Fleet:
    return replace(FLEET, hosts={"a": replace(HOST, **facts)})


@settings(max_examples=60, deadline=None)
@given(sound_fleets(), sound_fleets())
def test_a_change_holds_what_differs_and_leads_from_one_fleet_to_the_other(before: Fleet, after: Fleet) -> None:
    change = inventory_change("x", before, after)
    assert moved(before, change.before, change.after) == after
    assert moved(after, change.before, change.after) == after, "what is so already stays"
    assert moved(after, change.after, change.before) == before
    for old, new in ((change.before.hosts, change.after.hosts), (change.before.pools, change.after.pools)):
        assert all(old.get(name) != new.get(name) for name in old.keys() | new.keys())


def test_autostart_is_set_of_a_guest_whose_memory_somebody_changed_and_the_other_way_round() -> None:
    both = with_guest(autostart=True, memory_kib=2048)
    assert moved(with_guest(memory_kib=2048), FLEET, with_guest(autostart=True)) == both
    assert moved(with_guest(autostart=True), FLEET, with_guest(memory_kib=2048)) == both


def test_what_a_definition_is_made_of_is_refused_when_it_changed_since() -> None:
    with pytest.raises(FleetError, match="a/web was changed since"):
        moved(with_guest(vcpus=3), FLEET, with_guest(memory_kib=2048))
    with pytest.raises(FleetError, match="host a was changed since"):
        moved(with_host(address="10.0.0.2/24"), FLEET, with_host(uri="v"))


def test_two_that_set_one_fact_differently_are_told_apart() -> None:
    with pytest.raises(FleetError, match="a/web was changed since"):
        moved(with_guest(labels=("x",)), FLEET, with_guest(labels=("y",)))
    assert moved(with_guest(labels=("x",)), FLEET, with_guest(labels=("x",), vcpus=4)) == with_guest(
        labels=("x",), vcpus=4
    )


def test_what_was_noted_of_a_host_meanwhile_is_no_obstacle() -> None:
    noted = with_host(accel=Accel.KVM)
    new = {"web": GUEST, "new": replace(GUEST, name="new")}
    made = moved(noted, FLEET, with_host(accel=Accel.KVM, guests=new))
    assert made == with_host(accel=Accel.KVM, guests=new)


def test_what_was_removed_since_is_not_made_again() -> None:
    with pytest.raises(FleetError, match="a/web was removed since"):
        moved(with_host(guests={}), FLEET, with_guest(vcpus=3))
    with pytest.raises(FleetError, match="a/web was added since"):
        moved(with_guest(uuid="other"), with_host(guests={}), FLEET)
