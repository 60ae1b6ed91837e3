"""Counters of a host and its guests, turned into figures. What is not reported stays None."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from console.domain.observed import GuestSample, HostSample

RING = 60
"""Values of history that are kept."""

Stats = Mapping[str, object]


@dataclass(slots=True)
class Meter:
    """One subject's last counters, so that the next reading gives rates."""

    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=RING))
    sample: GuestSample | None = None
    _last: dict[str, tuple[float, float]] = field(default_factory=dict)

    def rate(self, name: str, total: float | None, clock_s: float) -> float | None:
        """Return how much `total` grew a second since the last reading; None at first and when it fell."""
        if total is None:
            self._last.pop(name, None)
            return None
        before = self._last.get(name)
        self._last[name] = (total, clock_s)
        # A counter that fell began anew (the guest rebooted into a new process).
        if before is None or total < before[0] or clock_s <= before[1]:
            return None
        return (total - before[0]) / (clock_s - before[1])

    def interrupt(self) -> None:
        """The next reading is a first one."""
        self._last.clear()

    def lose(self) -> None:
        """The subject's counters cannot be had: the history has a gap."""
        self._last.clear()
        self.sample = None
        self.history.append(None)

    def rest(self) -> None:
        """The subject is off: counters begin anew."""
        self._last.clear()
        self.sample = None
        self.history.clear()


def guest_sample(
    meter: Meter, stats: Stats, *, vcpus: int | None, clock_s: float, at: datetime, full: bool
) -> GuestSample | None:
    """Return the figures of one running guest; None when the host reports nothing of it.

    stats: as of virConnectGetAllDomainStats. full: the slow groups (block, balloon, interface) were asked for;
    else their figures stay as they were. Memory used is what the guest itself cannot give away (balloon's
    available - usable, or available - unused from an older guest); without a balloon driver in the guest it is
    what its process holds of the host's memory (rss).
    """
    percent = meter.rate("cpu", _number(stats, "cpu.time"), clock_s)
    percent = min(100.0, max(0.0, percent / 1e9 / vcpus * 100)) if percent is not None and vcpus else None
    old = meter.sample
    if full:
        memory = memory_used(stats)
        rates = {
            name: meter.rate(name, _total(stats, group, counter), clock_s)
            for name, group, counter in (
                ("disk_read_bps", "block", "rd.bytes"),
                ("disk_write_bps", "block", "wr.bytes"),
                ("net_rx_bps", "net", "rx.bytes"),
                ("net_tx_bps", "net", "tx.bytes"),
            )
        }
    else:
        memory = old.memory_used_kib if old else None
        rates = {
            name: getattr(old, name, None) for name in ("disk_read_bps", "disk_write_bps", "net_rx_bps", "net_tx_bps")
        }
    if old is None and all(key.startswith("state.") for key in stats):
        return None
    meter.history.append(percent)
    meter.sample = GuestSample(at=at, cpu_percent=percent, memory_used_kib=memory, **rates)
    return meter.sample


def memory_used(stats: Stats) -> int | None:
    """Return the KiB a guest uses; see guest_sample."""
    available = _number(stats, "balloon.available")
    free = _number(stats, "balloon.usable")
    if free is None:
        free = _number(stats, "balloon.unused")
    if available is not None and free is not None and 0 <= free <= available:
        return int(available - free)
    rss = _number(stats, "balloon.rss")
    return None if rss is None else int(rss)


def host_sample(
    meter: Meter,
    cpu: Mapping[str, int] | None,
    memory: Mapping[str, int] | None,
    guests: list[GuestSample],
    *,
    clock_s: float,
    at: datetime,
) -> HostSample | None:
    """Return the figures of a host; None when it reports neither CPU nor memory.

    cpu: nanoseconds by kind, of all CPUs (virNodeGetCPUStats). memory: KiB (virNodeGetMemoryStats; getInfo's total
    is wrong on some NUMA hosts). Disk and network are the sum of the guests.
    """
    if not cpu and not memory:
        return None
    percent = None
    if cpu:
        busy = meter.rate("busy", float(sum(v for k, v in cpu.items() if k in BUSY)), clock_s)
        idle = meter.rate("idle", float(sum(v for k, v in cpu.items() if k in IDLE)), clock_s)
        if busy is not None and idle is not None and busy + idle > 0:
            percent = min(100.0, 100 * busy / (busy + idle))
    used = None
    if memory and "total" in memory and "free" in memory:
        used = max(0, memory["total"] - memory["free"] - memory.get("buffers", 0) - memory.get("cached", 0))
    meter.history.append(percent)
    return HostSample(
        at=at,
        cpu_percent=percent,
        memory_used_kib=used,
        disk_bps=_sum([v for g in guests for v in (g.disk_read_bps, g.disk_write_bps)]),
        net_bps=_sum([v for g in guests for v in (g.net_rx_bps, g.net_tx_bps)]),
    )


BUSY = frozenset({"user", "kernel"})
IDLE = frozenset({"idle", "iowait"})


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _number(stats: Stats, key: str) -> float | None:
    value = stats.get(key)
    return value if isinstance(value, (int, float)) else None


def _total(stats: Stats, group: str, counter: str) -> float | None:
    count = _number(stats, f"{group}.count")
    if count is None:
        return None
    values = (_number(stats, f"{group}.{index}.{counter}") for index in range(min(int(count), 1024)))
    return _sum(list(values))
