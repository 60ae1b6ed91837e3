"""What the store's updates said of each guest over time, so that graphs have a past."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan, nan

from console.domain.model import GuestKey
from console.domain.observed import GuestSample
from console.domain.standing import HostView
from screens.figures import rate

LENGTH = 120
"""Samples kept; 2 kB a guest."""

SERIES = ("cpu", "memory", "disk", "net")


@dataclass(slots=True)
class Trace:
    """One guest's past: CPU in percent, memory in KiB, disk and net in bytes a second; NaN = not reported."""

    at: datetime
    cpu: array[float] = field(default_factory=lambda: array("f"))
    memory: array[float] = field(default_factory=lambda: array("f"))
    disk: array[float] = field(default_factory=lambda: array("f"))
    net: array[float] = field(default_factory=lambda: array("f"))

    def add(self, sample: GuestSample) -> None:
        """Append a sample and drop the oldest beyond LENGTH."""
        self.at = sample.at
        figures = (
            sample.cpu_percent,
            sample.memory_used_kib,
            rate(sample.disk_read_bps, sample.disk_write_bps),
            rate(sample.net_rx_bps, sample.net_tx_bps),
        )
        for name, figure in zip(SERIES, figures, strict=True):
            series = getattr(self, name)
            series.append(nan if figure is None else figure)
            if len(series) > LENGTH:
                del series[0]


class History:
    """The traces of all guests that reported. Feed it with what changed in the store."""

    def __init__(self) -> None:
        self._traces: dict[GuestKey, Trace] = {}
        self._taken: dict[str, HostView] = {}

    def take(self, views: Iterable[HostView]) -> None:
        """Note the new samples of these hosts; a host whose view is the same as last time costs nothing."""
        for view in views:
            if self._taken.get(view.name) is view:
                continue
            self._taken[view.name] = view
            for guest in view.guests:
                sample = guest.seen.sample if guest.seen is not None else None
                if sample is None:
                    continue
                trace = self._traces.get(guest.key)
                if trace is None:
                    trace = self._traces[guest.key] = Trace(sample.at)
                    # The host kept the CPU's past from before this console looked.
                    earlier = [nan if value is None else value for value in guest.seen.cpu_history[:-1]]
                    trace.cpu.extend(earlier)
                    for name in SERIES[1:]:
                        getattr(trace, name).extend([nan] * len(earlier))
                elif trace.at == sample.at:
                    continue
                trace.add(sample)

    def of(self, key: GuestKey, series: str) -> list[float | None]:
        """Return a guest's past, oldest first; None = not reported. series: one of SERIES."""
        trace = self._traces.get(key)
        return [] if trace is None else [None if isnan(value) else value for value in getattr(trace, series)]
