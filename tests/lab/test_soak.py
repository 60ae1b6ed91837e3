"""Two hours of the dashboard, in six minutes: hosts fail and return all the while, and it stays as large as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.soak import growth, library, soak
from tests.lab.guests import Lab, lab_command

pytestmark = [pytest.mark.lab, pytest.mark.slow]

MINUTES = 120
MOST_MB = 2.0


@pytest.fixture
def own(can_run_labs: None) -> Iterator[Lab]:
    if library() is None:
        pytest.skip("libfaketime, which accelerates the clock, is missing: apt-get install faketime")
    folder = Path(tempfile.mkdtemp(prefix="qdlab-", dir="/tmp"))
    try:
        lab_command("up", folder)
        yield Lab.of(folder)
    finally:
        lab_command("down", folder, "--purge")


def test_two_hours_of_failing_and_returning_hosts_cost_no_memory(own: Lab) -> None:
    samples = soak(own, MINUTES)
    for host in own.hosts:
        assert any(f"● {host}" in sample.shown for sample in samples[-60:]), f"{host} is back in the end"
        assert any(f"✖ {host}" in sample.shown for sample in samples), f"{host} was seen to fail"
    assert growth(samples, lambda sample: sample.dashboard_mb) < MOST_MB
    assert growth(samples, lambda sample: sample.libvirt_mb) < MOST_MB
