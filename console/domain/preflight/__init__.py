"""What would go wrong if a guest got a device, read from the host's own facts, before anything is asked of libvirt.

One small pure rule for each concern: facts and wish -> ok, warning, block or "not known", with the evidence and the
remedy. Sources: the kernel's vfio documentation, libvirt's hostdev code, and the trouble that others had in public.
"""

from __future__ import annotations

from dataclasses import replace

from console.domain.preflight import guest, host, isolation, parts
from console.domain.preflight.case import Case, Finding, Rule, Verdict
from console.domain.preflight.returned import state

__all__ = ["MARKS", "RULES", "Case", "Finding", "Verdict", "blocks", "preflight", "state", "summary", "warnings"]

MARKS = {Verdict.OK: "✔", Verdict.UNKNOWN: "?", Verdict.WARNING: "▲", Verdict.BLOCK: "✖"}

STAYS = "Of no matter to a mediated device: its card stays with the host."

RULES: tuple[Rule, ...] = (
    isolation.drift,
    host.in_use,
    isolation.iommu,
    isolation.interrupt_remapping,
    isolation.group,
    isolation.functions,
    isolation.acs,
    isolation.identical,
    host.binding,
    host.critical,
    host.boot_gpu,
    host.whole_card,
    guest.machine,
    guest.firmware,
    guest.rom,
    guest.hidden,
    guest.window,
    guest.resizable,
    guest.memory,
    guest.memory_lock,
    guest.balloon,
    guest.hugepages,
    guest.numa,
    parts.virtual_function,
    parts.mediated,
    parts.vgpu,
    parts.reset,
    parts.d3cold,
    parts.staying,
)


OF_THE_KERNEL: frozenset[Rule] = frozenset(
    {
        isolation.identical,
        host.binding,
        host.critical,
        host.boot_gpu,
        host.whole_card,
        guest.rom,
        guest.window,
        guest.resizable,
        guest.memory,
        guest.numa,
        parts.reset,
        parts.d3cold,
    }
)
"""Rules that find nothing wrong where only libvirt was asked, since it does not tell what they look at."""


OF_THE_CARD: frozenset[Rule] = frozenset(
    {
        isolation.iommu,
        isolation.interrupt_remapping,
        isolation.group,
        isolation.functions,
        isolation.acs,
        isolation.identical,
        host.critical,
        host.boot_gpu,
        guest.firmware,
        guest.rom,
        guest.window,
        guest.resizable,
        parts.reset,
        parts.d3cold,
    }
)
"""Rules on what becomes of a card that leaves its host: that of a mediated device does not."""


def preflight(case: Case) -> tuple[Finding, ...]:
    """Return one finding for each rule, in the order of RULES; accepted warnings are marked so."""
    found = (_checked(rule, case) for rule in RULES)
    accepted = set(case.device.accepted)
    return tuple(
        replace(finding, accepted=True) if finding.verdict is Verdict.WARNING and finding.rule in accepted else finding
        for finding in found
    )


def _checked(rule: Rule, case: Case) -> Finding:
    finding = rule(case)
    if case.device.mdev and rule in OF_THE_CARD:
        return replace(finding, verdict=Verdict.OK, sentence=STAYS, evidence=(), remedy="")
    if case.hardware.whole or finding.verdict is not Verdict.OK or rule not in OF_THE_KERNEL:
        return finding
    sentence = f"The kernel of {case.host} was not asked."
    return replace(finding, verdict=Verdict.UNKNOWN, sentence=sentence, evidence=())


def blocks(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what stands in the way."""
    return tuple(finding for finding in findings if finding.verdict is Verdict.BLOCK)


def warnings(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what is to be accepted first."""
    return tuple(f for f in findings if f.verdict is Verdict.WARNING and not f.accepted)


def summary(findings: tuple[Finding, ...]) -> str:
    """Return how many findings there are of each verdict: "✔ 27  ▲ 2"."""
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in MARKS}
    return "  ".join(f"{mark} {counts[verdict]}" for verdict, mark in MARKS.items() if counts[verdict])
