"""What the host screen shows beside the facts: connection, drift, what is given away and what is left, guests. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.domain.observed import GuestState
from console.domain.standing import GuestView
from console.services.drift import hardware_drift
from screens.figures import NOT_REPORTED, kib, percent, size, vcpus
from screens.host_detail import host_standing
from screens.lines import hanging
from screens.states import guest_mark, guest_state
from screens.subject import LABEL, Subject, block, fact
from screens.totals import ON
from screens.widgets import Line, Span, fit, line_width

FULL = 0.9
"""From this share on a bar warns."""


def connection(subject: Subject, fingerprint: str | None, width: int) -> list[Line]:
    """Return how the host is reached: why not, when it is tried again, and the key it has to show."""
    over_ssh = subject.host.wanted.uri.startswith("qemu+ssh:")
    key = fingerprint or ("none pinned" if over_ssh else "none needed: it is not reached over SSH")
    return [*block(host_standing(subject), width), *fact("host key", key, width)]


def drift(subject: Subject, width: int) -> list[Line]:
    """Return where the hardware is not what the inventory noted; nothing where it is."""
    found = hardware_drift(subject.host)
    if not found:
        return []
    lines: list[Line] = [[(" ▲ ", "warn"), ("The hardware is not what the inventory noted:", "warn")]]
    for name, noted, seen in found:
        lines += hanging([(f"   {name:{LABEL - 3}}", "quiet")], f"{noted} → {seen}", "", width)
    return lines


def capacity(subject: Subject, width: int) -> list[Line]:
    """Return bars of what is used, what is given to guests, and what there is."""
    host, facts = subject.host, subject.host.seen.facts
    if facts is None:
        return []
    stale = host.stale_since is not None
    sample = host.seen.sample
    on = [guest for guest in host.guests if guest.state in ON]
    cpus_given = sum(_vcpus(guest) or 0 for guest in on)
    given = sum(_memory_kib(guest) or 0 for guest in on)
    cpu = None if sample is None else sample.cpu_percent
    used = None if sample is None else sample.memory_used_kib
    total = facts.memory_kib
    rows: list[tuple[str, float | None, str]] = [
        ("cpu busy", None if cpu is None else cpu / 100, f"{percent(cpu)} of {facts.cpus or NOT_REPORTED} CPUs"),
        ("cpu given", _share(cpus_given, facts.cpus), f"{vcpus(cpus_given)} of {facts.cpus or NOT_REPORTED} CPUs"),
        ("mem used", _share(used, total), f"{kib(used)} of {kib(total)}"),
        ("mem given", _share(given, total), f"{kib(given)} of {kib(total)}"),
    ]
    for pool in facts.pools:
        whole, left = pool.capacity_bytes, pool.available_bytes
        taken = None if whole is None or left is None else whole - left
        text = f"{size(taken)} of {size(whole)}" if pool.active else "not active"
        rows.append((f"pool {pool.name}", _share(taken, whole), text))
    labels = min(18, max(len(label) for label, _, _ in rows) + 1)
    bar = max(6, min(30, width - labels - 24))
    return [
        [
            (f" {fit(label, labels)}", "quiet"),
            *_bar(share, bar, "quiet" if stale else "bars"),
            (f"  {text}", "quiet" if stale or share is None else ""),
        ]
        for label, share, text in rows
    ]


def guests(subject: Subject, width: int) -> list[Line]:
    """Return a line for each guest."""
    views = subject.host.guests
    if not views:
        return [[(" No guests yet. ", ""), ("c", "accent"), (" creates the first one here.", "quiet")]]
    names = max(8, min(28, width - 45, max(line_width([(view.key.guest, "")]) for view in views)))
    lines: list[Line] = [
        [(f" {fit('GUEST', names)}    {fit('STATE', 14)}{'VCPUS':>5}  {'MEM':>5}  {'CPU':>4}  ADDRESS", "quiet")]
    ]
    return lines + [_guest(view, names, subject) for view in views]


def _guest(view: GuestView, names: int, subject: Subject) -> Line:
    sample = view.seen.sample if view.seen is not None and view.stale_since is None else None
    state, style = guest_state(view, subject.now)
    address = view.addresses[0].address.partition("/")[0] if view.addresses else NOT_REPORTED
    count = _vcpus(view)
    figures = f"{count if count is not None else NOT_REPORTED:>5}  {kib(_memory_kib(view)):>5}  "
    figures += f"{percent(sample.cpu_percent if sample else None):>4}"
    quiet = "quiet" if view.state is not GuestState.RUNNING or view.stale_since is not None else ""
    return [
        (f" {fit(view.key.guest, names)} ", quiet),
        guest_mark(view),
        ("  ", ""),
        (fit(state, 14), style),
        (figures, quiet),
        (f"  {address}", quiet),
    ]


def _vcpus(view: GuestView) -> int | None:
    return view.seen.vcpus if view.seen and view.seen.vcpus else view.wanted.vcpus if view.wanted else None


def _memory_kib(view: GuestView) -> int | None:
    if view.seen is not None and view.seen.memory_kib:
        return view.seen.memory_kib
    return view.wanted.memory_kib if view.wanted is not None else None


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _bar(share: float | None, width: int, style: str) -> Sequence[Span]:
    if share is None:
        return [("·" * width, "line")]
    full = max(0, min(width, round(share * width)))
    return [("█" * full, "warn" if share >= FULL and style == "bars" else style), ("░" * (width - full), "line")]
