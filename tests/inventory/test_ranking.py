"""The flat list: order by each column, calm between sorts, what has no figure last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.domain.model import GuestKey
from console.domain.observed import GuestSample, GuestState, HostObservation, HostState
from console.domain.standing import HostView
from console.inventory.ranking import Column, Order, Ranking
from tests.fakes import NOW
from tests.inventory.test_filter import guest, view


def host(name: str, cpu: dict[str, float | None], *, up: bool = True) -> HostView:
    guests = []
    for each, percent in cpu.items():
        made = guest(name, each, GuestState.RUNNING if percent is not None else GuestState.OFF)
        assert made.seen is not None
        sample = GuestSample(at=NOW, cpu_percent=percent, net_rx_bps=percent)
        seen = replace(made.seen, sample=sample if percent is not None else None)
        guests.append(replace(made, seen=seen, stale_since=None if up else NOW))
    seen_host = HostObservation(name=name, state=HostState.UP if up else HostState.DOWN, seen_at=NOW)
    return replace(view(name, *guests), seen=seen_host)


A = host("a", {"web-10": 5.0, "web-2": 50.0, "off": None})
B = host("b", {"db": 50.0, "idle": 0.0})
LOST = host("c", {"old": 99.0}, up=False)
CPU = Order.by(Column.CPU)


def names(ranking: Ranking) -> str:
    return " ".join(row.guest.key.guest for row in ranking if row.guest is not None)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (CPU, "db web-2 web-10 idle off old"),
        (CPU.reversed, "idle web-10 db web-2 off old"),
        (Order.by(Column.NAME), "db idle off old web-2 web-10"),
        (Order.by(Column.NAME).reversed, "web-10 web-2 old off idle db"),
        (Order.by(Column.NET), "db web-2 web-10 idle off old"),
        (Order.by(Column.STATE), "db idle old web-2 web-10 off"),
        (Order.by(Column.MEMORY), "db idle off old web-2 web-10"),
    ],
)
def test_the_order_of_each_column(order: Order, expected: str) -> None:
    assert names(Ranking(order, [A, B, LOST])) == expected


def test_figures_change_in_place_until_it_is_sorted_again() -> None:
    ranking = Ranking(CPU, [A, B])
    busy = host("b", {"db": 1.0, "idle": 90.0, "new": 70.0})
    later = ranking.updated([A, busy])
    assert names(later) == "db web-2 web-10 idle off new"
    number = later.number_of(GuestKey("b", "idle"))
    assert number is not None
    row = later[number]
    assert row.host is busy and row.guest is not None and row.guest.seen is not None and row.guest.seen.sample
    assert row.guest.seen.sample.cpu_percent == 90.0
    assert names(later.updated([A, busy], again=True)) == "idle new web-2 web-10 db off"


def test_what_is_gone_leaves_and_numbers_follow() -> None:
    ranking = Ranking(CPU, [A, B]).updated([host("a", {"web-10": 5.0}), B])
    assert names(ranking) == "db web-10 idle"
    assert ranking.number_of(GuestKey("a", "web-2")) is None
    assert ranking.number_of("a") is None
    for number in range(len(ranking)):
        assert ranking.number_of(ranking[number].key) == number
    with pytest.raises(IndexError):
        ranking[3]


def test_another_filter_sorts_anew() -> None:
    ranking = Ranking(CPU, [A, B])
    found = ranking.updated([A, B], lambda host, guest: guest is not None and "web" in guest.key.guest)
    assert names(found) == "web-2 web-10"


def test_a_guest_that_does_not_answer_comes_first_by_state() -> None:
    *others, last = A.guests
    assert last.seen is not None
    hung = replace(A, guests=(*others, replace(last, seen=replace(last.seen, state=GuestState.RUNNING, answers=False))))
    assert names(Ranking(Order.by(Column.STATE), [hung])).startswith("off ")
