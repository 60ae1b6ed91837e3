"""What the store's updates said of each guest over time, so that graphs have a past."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
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
    """The traces of all guests that reported and are still there. Feed it with the store's hosts."""

    def __init__(self) -> None:
        self._traces: dict[str, dict[GuestKey, Trace]] = {}
        self._taken: dict[str, HostView] = {}

    def take(self, views: Sequence[HostView]) -> None:
        """Note the new samples of all hosts; one whose view is the same as last time costs nothing.

        Hosts and guests that are gone are forgotten.
        """
        for view in views:
            if self._taken.get(view.name) is not view:
                self._taken[view.name] = view
                self._take(view)
        if len(self._taken) > len(views):
            for name in self._taken.keys() - {view.name for view in views}:
                del self._taken[name], self._traces[name]

    def _take(self, view: HostView) -> None:
        before = self._traces.get(view.name, {})
        traces = self._traces[view.name] = {
            guest.key: before[guest.key] for guest in view.guests if guest.key in before
        }
        for guest in view.guests:
            sample = guest.seen.sample if guest.seen is not None else None
            if guest.seen is None or sample is None:
                continue
            trace = traces.get(guest.key)
            if trace is None:
                trace = traces[guest.key] = Trace(sample.at)
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
        trace = self._traces.get(key.host, {}).get(key)
        return [] if trace is None else [None if isnan(value) else value for value in getattr(trace, series)]
