"""Hosts and guests as JSON data and as rows; the same facts that the screens show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from console.domain.observed import GuestState, HostState
from console.domain.standing import GuestView, HostView, Standing
from console.domain.values import format_size_kib


def host_json(view: HostView) -> dict[str, Any]:
    """Return a host; state is "up", "down", "connecting" or "unknown"."""
    host, seen, facts = view.wanted, view.seen, view.seen.facts
    sample = seen.sample
    accel = host.accel or (facts.accel if facts else None)
    return {
        "name": host.name,
        "mac": host.mac,
        "address": host.address,
        "state": seen.state.value,
        "labels": list(host.labels),
        "uri": host.uri,
        "ssh_host_key": host.ssh_host_key,
        "reason": seen.reason.value or None,
        "error": seen.error or None,
        "offered_key": seen.offered_key or None,
        "seen_at": _time(seen.seen_at),
        "accel": accel.value if accel else None,
        "cpu": facts.cpu_model if facts else None,
        "cpus": facts.cpus if facts else None,
        "memory_mib": facts.memory_kib // 1024 if facts and facts.memory_kib else None,
        "cpu_percent": sample.cpu_percent if sample else None,
        "memory_used_mib": sample.memory_used_kib // 1024 if sample and sample.memory_used_kib is not None else None,
        "own": {
            own.name: {"slot": own.pci, "functions": list(own.functions), "containers": own.containers}
            for own in host.own.values()
        },
        "sriov": dict(host.sriov),
        "guests": [view.key.guest for view in view.guests],
    }


def guest_state(view: GuestView) -> str:
    """Return the state in one word: "pending" for a guest that is wanted and not yet there."""
    return "pending" if view.standing is Standing.PENDING else view.state.value


def guest_json(view: GuestView) -> dict[str, Any]:
    """Return a guest. devices: PCI slots that it has or should have; figures are None where not reported."""
    wanted, seen = view.wanted, view.seen
    sample = seen.sample if seen else None
    slots = {device.pci for device in wanted.devices.values() if device.is_picked} if wanted else set()
    slots |= {function.rpartition(".")[0] for function in seen.pci} if seen else set()
    memory_kib = wanted.memory_kib if wanted else seen.memory_kib if seen else None
    return {
        "name": view.key.guest,
        "host": view.key.host,
        "state": guest_state(view),
        "vcpus": wanted.vcpus if wanted else seen.vcpus if seen else None,
        "memory_mib": memory_kib // 1024 if memory_kib else None,
        "devices": sorted(slots),
        "uuid": view.uuid,
        "standing": view.standing.value,
        "restart_needed": view.restart_needed,
        "answers": view.answers,
        "stale_since": _time(view.stale_since),
        "autostart": wanted.autostart if wanted else seen.autostart if seen else None,
        "addresses": [{"address": a.address, "source": a.source.value} for a in view.addresses],
        "cpu_percent": sample.cpu_percent if sample else None,
        "memory_used_mib": sample.memory_used_kib // 1024 if sample and sample.memory_used_kib is not None else None,
        "disk_read_bps": sample.disk_read_bps if sample else None,
        "disk_write_bps": sample.disk_write_bps if sample else None,
        "net_rx_bps": sample.net_rx_bps if sample else None,
        "net_tx_bps": sample.net_tx_bps if sample else None,
    }


def host_row(view: HostView, now: datetime) -> list[str]:
    """Return the columns NAME STATE MAC ADDRESS LABELS GUESTS."""
    state = view.seen.state.value
    if view.seen.state is HostState.DOWN:
        state = view.seen.reason.value or "down"
        state += f" {age(view.seen.seen_at, now)}" if view.seen.seen_at else ", never seen"
    running = sum(guest.state is GuestState.RUNNING for guest in view.guests)
    host = view.wanted
    return [host.name, state, host.mac, host.address, ",".join(host.labels), f"{running}/{len(view.guests)} on"]


def guest_row(view: GuestView, now: datetime) -> list[str]:
    """Return the columns HOST NAME STATE VCPUS MEMORY CPU ADDRESS NOTES."""
    data = guest_json(view)
    state = data["state"] + (f" {age(view.stale_since, now)} ago" if view.stale_since and view.seen else "")
    notes = [view.standing.value] if view.standing in (Standing.CHANGED, Standing.UNMANAGED) else []
    notes += ["does not answer"] if not view.answers else []
    notes += ["restart needed"] if view.restart_needed else []
    notes += [f"pci {slot}" for slot in data["devices"]]
    cpu = data["cpu_percent"]
    return [
        view.key.host,
        view.key.guest,
        state,
        str(data["vcpus"] or "—"),
        format_size_kib(data["memory_mib"] * 1024) if data["memory_mib"] else "—",
        f"{cpu:.0f}%" if cpu is not None and not view.stale_since else "—",
        view.addresses[0].address.partition("/")[0] if view.addresses else "—",
        ", ".join(notes),
    ]


def age(since: datetime | None, now: datetime) -> str:
    """Return how long ago in the largest fitting unit ("4m"), empty for never."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
