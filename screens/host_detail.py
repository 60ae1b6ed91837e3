"""What is known of a host, as lines. Pure."""

from __future__ import annotations

from datetime import timedelta

from console.domain.observed import HostState
from console.services.hosts import other_key
from screens.figures import NOT_REPORTED, age, kib, percent, size, sparkline
from screens.subject import LABEL, Subject, block, fact, joined, per_second, place_words, short_slot, short_title
from screens.widgets import Line, Span

LONGEST_WAIT = timedelta(minutes=1)
"""No host is left alone for longer than 36 s."""


def host_standing(subject: Subject) -> list[Line]:
    """Return why a host is not up, since when, and when it is tried again; nothing of one that is up."""
    host, seen = subject.host, subject.host.seen
    if seen.state is HostState.UP:
        return []
    if seen.state is HostState.CONNECTING:
        return [[(f"↻ connecting to {host.wanted.uri}", "quiet")]]
    if seen.state is HostState.UNKNOWN:
        return [[(f"◌ {host.name} has not answered yet.", "quiet")]]
    since = f"seen {age(seen.seen_at, subject.now)} ago" if seen.seen_at is not None else "never seen"
    parts = [f"{host.name} {since}"]
    if seen.error:
        parts.append(seen.error.rstrip("."))
    # Who has set this machine's clock back since must not read of a try in an hour: it is seconds away.
    if seen.retry_at is not None and subject.now < seen.retry_at <= subject.now + LONGEST_WAIT:
        parts.append(f"next try in {age(subject.now, seen.retry_at)}")
    lines: list[Line] = [[("✖ ", "bad"), (". ".join(parts) + ".", "warn")]]
    return [*lines, *([(f"  {label:{LABEL}}", "quiet"), (text, "")] for label, text in other_key(host))]


def host_lines(subject: Subject, width: int, *, standing: bool = True) -> list[Line]:
    """Return what a host is and has. standing: why it is not up first."""
    host, facts, sample = subject.host, subject.host.seen.facts, subject.host.seen.sample
    lines: list[Line] = [*block(host_standing(subject), width)] if standing else []
    if lines:
        lines.append(())
    rows = [("address", host.wanted.address), ("mac", host.wanted.mac), ("uri", host.wanted.uri)]
    if host.wanted.labels:
        rows.append(("labels", " ".join(host.wanted.labels)))
    if facts is None:
        rows.append(("hardware", "not reported"))
    else:
        model = facts.cpu_model or NOT_REPORTED
        rows.append(("cpu", f"{facts.cpus or NOT_REPORTED} × {model}{_numa(facts.numa_nodes)}"))
        used = f"{kib(sample.memory_used_kib)} of " if sample and sample.memory_used_kib is not None else ""
        rows.append(("memory", used + kib(facts.memory_kib or None)))
        accel = facts.accel.value if facts.accel else NOT_REPORTED
        rows.append(("accel", accel + (f", {facts.accel_note}" if facts.accel_note else "")))
        version = f"{facts.libvirt_version}, {facts.driver}"
        rows.append(("libvirt", version + (f" {facts.hypervisor_version}" if facts.hypervisor_version else "")))
    lines += [line for label, value in rows for line in fact(label, value, width)]
    if sample is not None:
        bars = sparkline(host.seen.cpu_history, max(8, min(40, width - LABEL - 8))).lstrip()
        lines.append([(f" {'cpu now':{LABEL - 1}}", "quiet"), (f"{percent(sample.cpu_percent):5}", ""), (bars, "bars")])
        if sample.disk_bps is not None or sample.net_bps is not None:
            text = f"disk {per_second(sample.disk_bps)}, net {per_second(sample.net_bps)}"
            lines += fact("traffic", f"{text} (sum of its guests)", width)
    if facts is not None:
        lines += [()] if facts.pools else []
        for pool in facts.pools:
            free = "not active"
            if pool.active:
                plural = "" if len(pool.volumes) == 1 else "s"
                free = f"{size(pool.available_bytes)} of {size(pool.capacity_bytes)} free, "
                free += f"{len(pool.volumes)} volume{plural}"
            lines += fact("pool", f"{pool.name}: {free}", width)
        for network in facts.networks:
            bridge = f" ({network.bridge})" if network.bridge else ""
            lines += fact("network", f"{network.name}{bridge}{'' if network.active else ', not active'}", width)
        lines += [()] if subject.cards else []
        for card in subject.cards:
            place = ", ".join(place_words(card))
            state: Span = (card.refusal or "free", "quiet" if card.refusal else "good")
            lines.append(
                [(f" {'gpu':{LABEL - 1}}", "quiet"), (f"{short_title(card.title)} at {short_slot(card.slot)}", "")]
            )
            lines.append([(" " * LABEL, ""), (f"{place}  " if place else "", "quiet"), state])
    return lines


def host_summary(subject: Subject, width: int) -> Line:
    host, facts = subject.host, subject.host.seen.facts
    parts = [host.wanted.mac]
    if facts is not None:
        parts = [
            facts.cpu_model or "",
            f"{facts.cpus} CPUs" if facts.cpus else "",
            kib(facts.memory_kib) if facts.memory_kib else "",
            facts.accel.value if facts.accel else "",
            f"libvirt {facts.libvirt_version}",
        ]
    parts += host.wanted.labels
    return [(f" {host.name}", "title"), *joined(parts, width - len(host.name) - 1)]


def host_resources(subject: Subject) -> Line:
    facts = subject.host.seen.facts
    if facts is None:
        return [(f" {subject.host.wanted.uri}", "quiet")]
    line: list[Span] = [(" pools ", "quiet")]
    pools = [f"{pool.name} {size(pool.available_bytes)} free" for pool in facts.pools if pool.active]
    line.append((", ".join(pools) or "none", ""))
    line += [("  networks ", "quiet"), (", ".join(net.name for net in facts.networks if net.active) or "none", "")]
    if subject.cards:
        taken = sum(card.owner is not None for card in subject.cards)
        free = sum(not card.refusal for card in subject.cards)
        line += [("  gpu ", "quiet"), (f"{taken}/{taken + free}", "")]
    return line


def _numa(nodes: int | None) -> str:
    return f", {nodes} NUMA nodes" if nodes and nodes > 1 else ""
