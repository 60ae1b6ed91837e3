"""What is known of a guest, as lines. Pure."""

from __future__ import annotations

from datetime import datetime

from console.domain.model import Disk, Guest, SourceKind
from console.domain.observed import AddressSource, GuestState, HostState
from console.domain.plan import Difference
from console.domain.standing import GuestView, Standing
from console.domain.values import format_size_kib
from screens.figures import NOT_REPORTED, graph, highest, kib, percent, rate, size, sparkline, vcpus
from screens.history import SERIES
from screens.host_detail import host_standing
from screens.subject import LABEL, Subject, fact, joined, per_second, place_words, sample_of, short_slot, short_title
from screens.widgets import Line, Span, line_width

SOURCES = {
    AddressSource.LEASE: "from a DHCP lease",
    AddressSource.AGENT: "from the guest agent",
    AddressSource.INVENTORY: "from the inventory",
}


def guest_facts(guest: GuestView, now: datetime, width: int) -> list[Line]:
    """Return what the guest is."""
    wanted, seen = guest.wanted, guest.seen
    sample = sample_of(guest, now)
    count = seen.vcpus if seen and seen.vcpus else wanted.vcpus if wanted else None
    memory_kib = seen.memory_kib if seen and seen.memory_kib else wanted.memory_kib if wanted else None
    memory = NOT_REPORTED if memory_kib is None else format_size_kib(memory_kib)
    if sample.memory_used_kib is not None:
        memory += f", {kib(sample.memory_used_kib)} used"
    rows: list[tuple[str, str]] = [("cpu", vcpus(count)), ("memory", memory)]
    if wanted is not None:
        rows.append(("machine", f"{wanted.machine}, {wanted.firmware.value}, {_kind(wanted)}"))
        if wanted.boot:
            rows.append(("boots", ", ".join(wanted.boot).replace(":", " ")))
    elif seen is not None:
        machine = ", ".join(seen.shape[key] for key in ("machine", "firmware") if key in seen.shape)
        rows.append(("machine", machine or NOT_REPORTED))
    starts = seen.autostart if seen is not None else wanted.autostart if wanted is not None else None
    words = {True: "with its host", False: "by hand", None: NOT_REPORTED}
    rows.append(("starts", words[starts]))
    if wanted is not None and wanted.labels:
        rows.append(("labels", " ".join(wanted.labels)))
    if wanted is not None and wanted.description:
        rows.append(("about", wanted.description))
    return [line for label, value in rows for line in fact(label, value, width)]


def graphs(subject: Subject, guest: GuestView, width: int, rows: int, *, apart: bool = False) -> list[Line]:
    """Return CPU, memory, disk and network over time, each `rows` high. apart: with a line between them.

    One line, or none, for a guest of which nothing was ever reported.
    """
    sample = sample_of(guest, subject.now)
    if not any(value is not None for name in SERIES for value in subject.history.of(guest.key, name)):
        if guest.state is not GuestState.RUNNING or not guest.answers:
            return []
        return [[(" cpu, memory, disk and net are not reported by this host", "quiet")]]
    memory_kib = guest.seen.memory_kib if guest.seen is not None else None
    tops = {"cpu": 100.0, "memory": float(memory_kib or 0)}
    values = {
        "cpu": percent(sample.cpu_percent),
        "memory": kib(sample.memory_used_kib),
        "disk": per_second(rate(sample.disk_read_bps, sample.disk_write_bps)),
        "net": per_second(rate(sample.net_rx_bps, sample.net_tx_bps)),
    }
    lines: list[Line] = []
    bars = max(8, width - LABEL - 10)
    for name in SERIES:
        past = subject.history.of(guest.key, name)
        top = tops.get(name) or highest(past[-bars:], 1024.0)
        scale = {"cpu": "100%", "memory": kib(top)}.get(name, f"{size(top)}/s")
        reported = any(value is not None for value in past)
        for place, row in enumerate(graph(past, bars, rows, top)):
            line: list[Span] = [(f" {name if place == 0 else '':{LABEL - 1}}", "quiet"), (row, "bars")]
            if place == rows - 1:
                line.append((f"{values[name]:>9}", "" if values[name] != NOT_REPORTED else "quiet"))
            elif place == 0 and reported:
                line.append((f"{scale:>9}", "quiet"))
            lines.append(line)
        if not reported:
            lines[-rows] = [(f" {name:{LABEL - 1}}", "quiet"), ("not reported", "quiet")]
            lines[len(lines) - rows + 1 :] = []
        if apart:
            lines.append(())
    return lines


def devices(subject: Subject, guest: GuestView, width: int) -> list[Line]:
    """Return disks, network cards and passed-through devices."""
    rows: list[tuple[str, str]] = []
    if guest.wanted is not None:
        wanted = guest.wanted
        rows += [(f"disk {disk.name}", _disk(disk)) for disk in wanted.disks.values()]
        for nic in wanted.nics.values():
            rows.append((f"nic {nic.name}", ", ".join(part for part in (nic.network, nic.mac, nic.address) if part)))
        for device in wanted.devices.values():
            place = _device(subject, device.pci, len(device.functions))
            rows.append((device.name, place if device.is_picked else f"{device.resource}, not picked yet"))
    elif guest.seen is not None:
        kinds = ("disk ", "nic ", "pci ")
        rows += [(key, value) for key, value in guest.seen.shape.items() if key.startswith(kinds)]
    label_width = max((len(label) + 2 for label, _ in rows), default=LABEL)
    return [line for label, value in rows for line in fact(label, value, width, max(LABEL, label_width))]


def addresses(guest: GuestView) -> list[Line]:
    """Return the known addresses and who knows each."""
    known = [
        [(f" {'address' if place == 0 else '':{LABEL - 1}}", "quiet"), (entry.address, ""), *_source(entry.source)]
        for place, entry in enumerate(guest.addresses)
    ]
    return known or [[(f" {'address':{LABEL - 1}}", "quiet"), ("not reported", "quiet")]]


def standing(subject: Subject, guest: GuestView) -> list[Line]:
    """Return how a guest stands against the inventory, first in one sentence, then each difference."""
    host = subject.host
    lines: list[Line] = []
    if host.seen.state is not HostState.UP:
        lines += host_standing(subject)
    if not guest.answers:
        lines.append([("✖ QEMU does not answer its host: wait, or force it off.", "bad")])
    match guest.standing:
        case Standing.IN_SYNC if guest.restart_needed:
            lines.append([("▲ runs with an older definition: restart it to have the new one.", "warn")])
        case Standing.IN_SYNC:
            lines.append([("✔ as the inventory wants it", "quiet")])
        case Standing.PENDING:
            made = (
                "s makes and starts it, p shows the plan."
                if host.seen.state is HostState.UP
                else "made when it is back."
            )
            lines.append([(f"◌ wanted, not on {host.name} yet: ", "accent"), (made, "")])
        case Standing.UNMANAGED:
            lines.append([("? not in the inventory: ", "warn"), ("shown, never touched.", "")])
        case Standing.CHANGED if guest.fault:
            lines.append([(f"✖ {guest.fault}", "bad")])
        case Standing.CHANGED:
            lines.append([("▲ differs from the inventory; ", "warn"), ("p shows the plan.", "")])
            lines += [_difference(difference) for difference in subject.differences]
        case Standing.UNKNOWN if host.seen.state is HostState.UP:
            lines.append([("◌ not known yet", "quiet")])
    return lines


def guest_summary(subject: Subject, guest: GuestView, width: int) -> Line:
    wanted, seen = guest.wanted, guest.seen
    count = seen.vcpus if seen and seen.vcpus else wanted.vcpus if wanted else None
    memory_kib = seen.memory_kib if seen and seen.memory_kib else wanted.memory_kib if wanted else None
    parts = [vcpus(count), kib(memory_kib)]
    for device in wanted.devices.values() if wanted else ():
        if device.gpu:
            parts.append(f"gpu {_card(subject, device.pci)} {short_slot(device.pci) or device.resource}")
    for disk in wanted.disks.values() if wanted else ():
        parts.append(f"cd {disk.name}" if disk.is_cdrom else f"disk {disk.name} {kib(disk.size_kib)}/{disk.pool}")
    for nic in wanted.nics.values() if wanted else ():
        parts.append(f"nic {nic.network}")
    return [(f" {guest.key}", "title"), *joined(parts, width - line_width([(f" {guest.key}", "")]))]


def guest_bars(subject: Subject, guest: GuestView, width: int) -> Line:
    sample = sample_of(guest, subject.now)
    net = rate(sample.net_rx_bps, sample.net_tx_bps)
    disk = rate(sample.disk_read_bps, sample.disk_write_bps)
    cpu_past = subject.history.of(guest.key, "cpu")
    net_past = subject.history.of(guest.key, "net")
    if all(value is None for value in (*cpu_past, sample.memory_used_kib, disk, net)):
        if guest.stale_since is None and guest.state is GuestState.RUNNING and guest.answers:
            return [(" cpu, memory, disk and net are not reported by this host", "quiet")]
        return [(f" starts {_starts(guest)}", "quiet")]
    bars = max(6, (width - 51) // 2)
    return [
        (" cpu ", "quiet"),
        (sparkline(cpu_past, bars), "bars"),
        (f" {percent(sample.cpu_percent):>4}", ""),
        ("  mem ", "quiet"),
        (f"{kib(sample.memory_used_kib):5}", ""),
        ("  disk ", "quiet"),
        (f"{per_second(disk):7}", ""),
        ("  net ", "quiet"),
        (sparkline(net_past, bars, highest(net_past[-bars:], 1024.0)), "bars"),
        (f" {per_second(net)}", ""),
    ]


def _starts(guest: GuestView) -> str:
    starts = guest.seen.autostart if guest.seen is not None else guest.wanted.autostart if guest.wanted else None
    return {True: "with its host", False: "by hand", None: "as its host is set up"}[starts]


def _difference(difference: Difference) -> Line:
    seen = difference.seen if difference.seen is not None else "nothing"
    wanted = difference.wanted if difference.wanted is not None else "nothing"
    when = f" ({difference.when})" if difference.when else ""
    return [(f"  {difference.fact}: ", "quiet"), (f"{seen} → {wanted}", ""), (when, "quiet")]


def _disk(disk: Disk) -> str:
    if disk.is_cdrom:
        return f"CD {disk.source.value} ({disk.target})"
    text = f"{format_size_kib(disk.size_kib)} in {disk.pool} ({disk.target})"
    if disk.source.kind is SourceKind.IMAGE:
        text += f", {disk.source.mode.value} of {disk.source.value}"
    return text


def _device(subject: Subject, slot: str, functions: int) -> str:
    text = f"{_card(subject, slot)} at {short_slot(slot)}, {functions} function{'' if functions == 1 else 's'}"
    for card in subject.cards:
        if card.slot == slot:
            return ", ".join((text, *place_words(card)))
    return text


def _card(subject: Subject, slot: str) -> str:
    for card in subject.cards:
        if card.slot == slot:
            return short_title(card.title)
    return "device"


def _source(source: AddressSource) -> list[Span]:
    return [(f"  {SOURCES[source]}", "quiet")]


def _kind(guest: Guest) -> str:
    return {"plain": "plain guest", "nixos": "NixOS guest"}[guest.kind.value]
