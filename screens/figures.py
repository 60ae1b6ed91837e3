"""Numbers as an operator reads them: short, with their unit, '—' where nothing was reported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

NOT_REPORTED = "—"
BARS = " ▁▂▃▄▅▆▇█"
UNITS = ("", "k", "M", "G", "T", "P")


def size(amount: float | None) -> str:
    """Return bytes, or bytes a second, in at most 5 characters ("812", "1.2M", "31G"); units of 1024."""
    if amount is None:
        return NOT_REPORTED
    value = max(0.0, float(amount))
    unit = 0
    # 999.5 would be rounded to four digits.
    while value >= 999.5 and unit < len(UNITS) - 1:
        value /= 1024
        unit += 1
    # A tenth says something below 10 of a larger unit, nothing else.
    digits = f"{value:.1f}" if unit and value < 9.95 else f"{value:.0f}"
    return f"{digits.removesuffix('.0')}{UNITS[unit]}"


def kib(amount: float | None) -> str:
    """Return a size given in KiB as `size` does."""
    return NOT_REPORTED if amount is None else size(amount * 1024)


def percent(value: float | None) -> str:
    """Return a share of 100, without decimals."""
    return NOT_REPORTED if value is None else f"{value:.0f}%"


def vcpus(count: int | str | None) -> str:
    """Return a number of virtual CPUs, typed or counted: "1 vCPU", "8 vCPUs"; "— vCPUs" where it is not known."""
    return f"{NOT_REPORTED if count is None else count} vCPU{'' if str(count).strip() == '1' else 's'}"


def rate(first: float | None, second: float | None) -> float | None:
    """Return the sum of two rates, of one when the other is not reported."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def age(since: datetime, now: datetime) -> str:
    """Return how long ago something was, in the largest whole unit ("12s", "4m", "3h", "2d")."""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def sparkline(values: Sequence[float | None], width: int, top: float = 100.0) -> str:
    """Return the newest `width` values as bars up to `top`, right-aligned; a space where none was reported.

    A value that was reported has at least the lowest bar, so that idle differs from unknown.
    """
    newest = values[-width:] if width else ()
    return "".join(_bar(value, top, 8) for value in newest).rjust(width)


def graph(values: Sequence[float | None], width: int, height: int, top: float) -> list[str]:
    """Return the newest `width` values as `height` rows of bars, the uppermost row first."""
    newest = list(values[-width:])
    levels = [_level(value, top, 8 * height) for value in newest]
    return [
        "".join(BARS[max(0, min(8, level - 8 * row))] for level in levels).rjust(width)
        for row in reversed(range(height))
    ]


def highest(values: Sequence[float | None], least: float) -> float:
    """Return a round top for a graph of values without a natural limit, at least `least`: a power of two times it."""
    most = max((value for value in values if value is not None), default=0.0)
    top = least
    while top < most:
        top *= 2
    return top


def _level(value: float | None, top: float, steps: int) -> int:
    if value is None:
        return 0
    return max(1, min(steps, round(value / top * steps))) if top > 0 else 1


def _bar(value: float | None, top: float, steps: int) -> str:
    return BARS[_level(value, top, steps)]
