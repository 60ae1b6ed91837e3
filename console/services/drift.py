"""Where a host's hardware is not what the inventory noted when it was first seen."""

from __future__ import annotations

from console.domain.standing import HostView
from console.domain.values import format_size_kib

MEMORY_SHARE = 0.02
"""A kernel or firmware update moves the reported memory by less than this; a module that failed, by more."""


def hardware_drift(view: HostView) -> tuple[tuple[str, str, str], ...]:
    """Return (fact, noted, seen) for what differs; nothing where one of both is not known."""
    noted, facts = view.wanted.hardware, view.seen.facts
    if facts is None:
        return ()
    found: list[tuple[str, str, str]] = []
    if noted.cpu and facts.cpu_model and noted.cpu != facts.cpu_model:
        found.append(("cpu", noted.cpu, facts.cpu_model))
    before, now = noted.memory_kib, facts.memory_kib
    if before and now and abs(before - now) > before * MEMORY_SHARE:
        # No machine reports whole GiB; the KiB beyond a MiB only hide what differs.
        was, has = (format_size_kib(size // 1024 * 1024) for size in (before, now))
        found.append(("memory", was, has))
    return tuple(found)
