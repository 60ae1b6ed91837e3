"""What a preflight found, as lines: counted, in one line, and every check with its evidence and its remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from console.domain.preflight import MARKS, Finding, Verdict
from console.domain.standing import HostView
from console.services.devices import Devices
from screens.figures import age
from screens.lines import hanging
from screens.states import host_state
from screens.subject import LABEL
from screens.widgets import Line, Span, fit, wrapped

STYLES = {Verdict.OK: "good", Verdict.UNKNOWN: "quiet", Verdict.WARNING: "warn", Verdict.BLOCK: "bad"}
WEIGHT = (Verdict.BLOCK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK)
"""The order to read findings in."""

CLEAR = "nothing known is in the way"

CONCERN = 26
"""Cells of the column that says what a check looks at."""


def counts(findings: Sequence[Finding], *, tight: bool = False) -> list[Span]:
    """Return how many findings there are of each verdict, in the order of MARKS: "✔ 24  ▲ 2"; tight: "✔24 ▲2"."""
    spans: list[Span] = []
    gap, blank = (" ", "") if tight else ("  ", " ")
    for verdict, mark in MARKS.items():
        if number := sum(finding.verdict is verdict for finding in findings):
            spans.append((f"{gap if spans else ''}{mark}{blank}{number}", STYLES[verdict]))
    return spans or [("—", "quiet")]


def worst(findings: Sequence[Finding]) -> Finding | None:
    """Return what matters most of what is in the way or to be thought of, None when all is well."""
    bad = [f for f in findings if f.verdict in (Verdict.BLOCK, Verdict.WARNING) and not f.accepted]
    return min(bad, key=lambda finding: WEIGHT.index(finding.verdict), default=None)


def in_short(findings: Sequence[Finding], width: int) -> list[Line]:
    """Return the counts, and the sentence that matters most."""
    head: list[Span] = [("Preflight  ", "quiet"), *counts(findings)]
    found = worst(findings)
    if found is None:
        return [[*head, (f"  {CLEAR}", "quiet")]]
    mark, style = MARKS[found.verdict], STYLES[found.verdict]
    return [head, *hanging([(f"{mark} ", style)], f"{found.concern}: {found.sentence} {found.remedy}", "", width)]


def checks(findings: Sequence[Finding], width: int) -> list[Line]:
    """Return every finding, what is in the way first: sentence, evidence, remedy."""
    lines: list[Line] = []
    for finding in sorted(findings, key=lambda each: (WEIGHT.index(each.verdict), each.accepted)):
        lines += _check(finding, width)
    return lines


def all_checks(
    found: Mapping[str, Sequence[Finding]], width: int, states: Mapping[str, Finding] = MappingProxyType({})
) -> list[Line]:
    """Return the checks of several devices, each below its name, counts, and where it is now."""
    lines: list[Line] = []
    for name, findings in found.items():
        lines += [[(f"{name}   ", "title"), *counts(findings)], ()]
        lines += [*_check(states[name], width), ()] if name in states else []
        lines += [*checks(findings, width), ()]
    return lines[:-1]


def devices_now(
    found: Mapping[str, Sequence[Finding]], states: Mapping[str, Finding], when: Span, key: str, width: int
) -> list[Line]:
    """Return where each device of a guest is now and what its preflight finds, in short. key: shows all of it."""
    lines: list[Line] = []
    for name, findings in found.items():
        state = states.get(name)
        if state is not None and state.verdict is not Verdict.UNKNOWN:
            mark, style = MARKS[state.verdict], STYLES[state.verdict]
            text = f"{state.sentence} {state.remedy}".strip()
            lines += hanging([(f" {fit(f'{name} now', LABEL)}", "quiet"), (f"{mark} ", style)], text, "", width - 1)
        shows: Line = [("   ", ""), (key, "accent"), (" shows every check", "quiet")]
        lines.append([(f" {'preflight':{LABEL - 1}}", "quiet"), (" ", ""), *counts(findings), *shows])
    text, style = when
    return [*lines, *hanging([(" " * (LABEL + 1), "")], text, style, width - 1)]


def _check(finding: Finding, width: int) -> list[Line]:
    mark, style = MARKS[finding.verdict], STYLES[finding.verdict]
    indent = CONCERN + 3
    head: list[Span] = [(f"{mark} ", style), (f"{fit(finding.concern, CONCERN)} ", "quiet")]
    accepted = " (accepted in the inventory)" if finding.accepted else ""
    calm = finding.verdict in (Verdict.OK, Verdict.UNKNOWN)
    if width < indent + 36:
        indent = 4
        lines: list[Line] = [[(f"{mark} ", style), (finding.concern, "quiet")]]
        lines += hanging([(" " * indent, "")], finding.sentence + accepted, "" if calm else "strong", width)
    else:
        lines = hanging(head, finding.sentence + accepted, "" if calm else "strong", width)
    for text in finding.evidence:
        lines += [[(" " * indent, ""), (part, "quiet")] for part in wrapped(text, max(16, width - indent))]
    if finding.remedy:
        lines += hanging([(" " * indent, ""), ("→ ", "accent")], finding.remedy, "", width)
    return lines


def asked(devices: Devices, view: HostView, now: datetime, *, short: bool = False) -> Span:
    """Return how old what is known of a host's devices is. short: of a failure only that it is one."""
    at = devices.read_at(view.name)
    if view.name in devices.reading:
        return f"↻ {view.name}: its kernel is being asked", "accent"
    if view.stale_since is not None or view.seen.seen_at is None:
        known = "the last known is shown" if at or view.seen.facts else "its devices are not known"
        mark, _, words = host_state(view, now)[0].partition(" ")
        return f"{mark} {view.name}: {words}; {known}", "warn"
    if (error := devices.errors.get(view.name)) is not None:
        told = error.title if short else f"{error.title} {error.detail}".strip()
        return f"▲ {told} What libvirt tells is shown.", "warn"
    if at is None:
        return f"◌ {view.name}: what libvirt tells is shown", "quiet"
    return f"{view.name}: its kernel was asked {age(at, now)} ago", "quiet"
