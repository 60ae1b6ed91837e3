"""What doctor says of the hosts' clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.domain.model import Fleet, Host
from console.domain.observed import HostObservation, HostState
from console.domain.standing import Definition, HostView, host_view
from console.services.doctor import Mark, clock_findings
from tests.fakes import NOW

HOST = Host(name="a", mac="52:54:00:00:00:01", address="10.0.0.1/24", uri="qemu+ssh://root@10.0.0.1/system")
SEEN = HostObservation(name="a", state=HostState.UP, seen_at=NOW)


def view(seen: HostObservation = SEEN) -> HostView:
    return host_view(Fleet(name="f", id="x", hosts={"a": HOST}), HOST, seen, lambda *_: Definition("", {}))


@pytest.mark.parametrize(
    ("ahead_s", "mark", "said"),
    [
        (0.4, Mark.GOOD, "Within a minute"),
        (-59.0, Mark.GOOD, "Within a minute"),
        (3600.0, Mark.WARN, "60 min ahead of this machine's"),
        (-3600.0, Mark.WARN, "60 min behind this machine's"),
        (None, Mark.GOOD, "Not reported"),
    ],
)
def test_a_clock_that_is_off_is_told_with_what_to_do(ahead_s: float | None, mark: Mark, said: str) -> None:
    (finding,) = clock_findings([view()], {"a": ahead_s})
    assert (finding.mark, finding.what) == (mark, "clock a")
    assert said in finding.sentence
    assert ("timedatectl" in finding.remedy) is (mark is Mark.WARN)


def test_a_host_that_is_down_is_not_asked_for_the_time() -> None:
    assert clock_findings([view(replace(SEEN, state=HostState.DOWN))], {}) == []
