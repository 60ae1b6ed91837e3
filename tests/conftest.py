"""What holds for every test: where lab or Nix tests are required (CI), skipping them is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from tests.lab.fixtures import can_run_labs, connection, lab

__all__ = ["can_run_labs", "connection", "lab"]

REQUIRED = [mark for mark in ("lab", "nix") if os.environ.get(f"QUARTERDECK_REQUIRE_{mark.upper()}") == "1"]
ran: set[str] = set()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A run in the background hands that on to all that it starts, and ctrl+c would do nothing in a test's terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_part(config: pytest.Config) -> bool:
    """Whether the run is one that need not come by every kind of test: a collection, or what failed once more."""
    # The plugin that knows --last-failed may be switched off.
    return bool(config.option.collectonly or config.getoption("lf", default=False))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for mark in REQUIRED:
        if item.get_closest_marker(mark) is None:
            continue
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = f"{mark} tests are required here, and this one was skipped: {reason}"
        elif report.when == "call":
            ran.add(mark)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_part(session.config):
        return
    silent = [mark for mark in REQUIRED if mark not in ran]
    if silent and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Says so after the closing line, which alone would read as if all was well."""
    if _is_part(config):
        return
    for mark in REQUIRED:
        if mark not in ran:
            print(f"{mark} tests are required here, and none ran")
