"""What a host or guest is doing, as glyph, word and style: never by colour alone."""

from __future__ import annotations

from datetime import datetime

from console.domain.observed import DownReason, GuestState, HostState
from console.domain.standing import GuestView, HostView, Standing
from screens.figures import age
from screens.widgets import Span

GUEST_STATES = {
    GuestState.UNKNOWN: ("◌ unknown", "quiet"),
    GuestState.RUNNING: ("● running", "good"),
    GuestState.OFF: ("○ off", "quiet"),
    GuestState.PAUSED: ("◐ paused", "warn"),
    GuestState.SHUTTING_DOWN: ("◐ stopping", "warn"),
    GuestState.CRASHED: ("✖ crashed", "bad"),
    GuestState.SUSPENDED: ("◐ suspended", "warn"),
}

REASONS = {DownReason.NONE: "silent", DownReason.LOGIN: "no login"}
"""Shorter words than the reason's own, so that the age fits beside them."""

REFUSALS = frozenset({DownReason.HOST_KEY, DownReason.LOGIN, DownReason.UNPINNED, DownReason.FAILED})
"""Reasons that do not mend themselves: somebody has to act."""

DIFFERS = "differs from the inventory"

LEGEND = (
    ("● running", "good", "runs; a host: connected"),
    ("○ off", "quiet", "defined on its host, not running"),
    ("◐ paused", "warn", "its CPUs stand still, or it is going down or asleep"),
    ("◌ pending", "accent", "wanted, not on its host yet; a host: not seen yet"),
    ("☾ silent 4m", "warn", "the host does not answer; what is shown was true that long ago"),
    ("↻ connecting", "quiet", "the connection is being made"),
    ("✖ failed", "bad", "somebody has to act: crashed, no answer, wrong key, login refused"),
    ("▲", "warn", DIFFERS),
    ("▌", "accent", "marked: what is done to guests is done to it, filtered away or not"),
    ("◆", "accent", "has a GPU passed through"),
    ("?", "warn", "on the host but not in the inventory: shown, never touched"),
)


def guest_state(guest: GuestView, now: datetime) -> Span:
    """Return a guest's state; with the age of the fact when its host is not up."""
    if guest.standing is Standing.PENDING:
        return "◌ pending", "accent"
    if guest.seen is None:
        return "◌ not seen", "quiet"
    text, style = GUEST_STATES[guest.state]
    if guest.stale_since is not None:
        return f"☾ {text.partition(' ')[2]} {age(guest.stale_since, now)}", "quiet"
    if not guest.answers:
        return "✖ no answer", "bad"
    return text, style


def guest_mark(guest: GuestView) -> Span:
    """Return the sign for how a guest stands against the inventory, a blank where all is well."""
    if guest.standing is Standing.CHANGED:
        return "▲", "warn"
    if guest.standing is Standing.UNMANAGED:
        return "?", "warn"
    return " ", ""


def host_state(host: HostView, now: datetime) -> Span:
    """Return a host's state: why it is down and since when it was not seen."""
    seen = host.seen
    since = "" if seen.seen_at is None else f" {age(seen.seen_at, now)}"
    reason = REASONS.get(seen.reason, seen.reason.value)
    match seen.state:
        case HostState.UP:
            return "● up", "good"
        case HostState.CONNECTING:
            return "↻ connecting", "quiet"
        case HostState.DOWN if seen.reason in REFUSALS:
            return f"✖ {reason}{since}", "bad"
        case HostState.DOWN if since:
            return f"☾ {reason}{since}", "warn"
    return "◌ not seen", "quiet"


def needs_somebody(host: HostView, guest: GuestView | None) -> bool:
    """Return True for a host that is not up, and for a guest that crashed, hangs, differs, is pending or unmanaged."""
    if guest is None:
        return host.seen.state not in (HostState.UP, HostState.CONNECTING)
    return (
        guest.state is GuestState.CRASHED
        or not guest.answers
        or guest.standing
        in (
            Standing.CHANGED,
            Standing.PENDING,
            Standing.UNMANAGED,
        )
    )
