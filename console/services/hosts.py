"""Adding, changing and removing hosts in the inventory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from console.domain import values
from console.domain.checks import breaches
from console.domain.errors import FleetError
from console.domain.model import Fleet, Host
from console.domain.move import inventory_change
from console.domain.plan import Danger, Plan
from console.domain.ssh_key import fingerprint
from console.domain.standing import HostView
from console.inventory.schema import default_uri
from console.inventory.store import Store
from console.services.wishes import HostWish


def host_problems(fleet: Fleet, wish: HostWish, editing: str | None = None) -> dict[str, str]:
    """Return field -> sentence for everything wrong with a new host, or with what `editing` is to be."""
    before = None
    if editing is not None and (before := fleet.hosts.get(editing)) is None:
        return {"mac": f"{editing} is no longer in the inventory."}
    return _resolve(fleet, wish, before)[1]


def wish_of(host: Host) -> HostWish:
    """Return an existing host as a wish, for editing."""
    return HostWish(
        name=host.name,
        mac=host.mac,
        address=host.address,
        uri="" if host.uri == default_uri(host.address) else host.uri,
        labels=", ".join(host.labels),
        ssh_host_key=host.ssh_host_key or "",
        disk=host.disk or "",
        netboot=host.netboot or "",
    )


def plan_add_host(store: Store, wish: HostWish) -> Plan:
    """Return the plan that writes a new host into the inventory. Raises FleetError that lists every problem."""
    host = _resolved(store.fleet, wish, None)
    title = f"Add host {host.name}"
    return Plan(
        title=title,
        change=inventory_change(title, store.fleet, _with_host(store.fleet, host)),
        warnings=_warnings(host),
    )


def plan_set_host(store: Store, name: str, changes: Mapping[str, str]) -> Plan:
    """Return the plan that changes a host's own facts. changes: HostWish's fields, except the name."""
    before = store.host(name).wanted
    after = _resolved(store.fleet, replace(wish_of(before), **changes), before)
    if after == before:
        return Plan(title=f"Set host {name}")
    summary = f"Set host {name}: {', '.join(sorted(changes))}"
    change = inventory_change(summary, store.fleet, _with_host(store.fleet, after))
    return Plan(title=f"Set host {name}", change=change, warnings=_warnings(after))


def plan_remove_host(store: Store, name: str) -> Plan:
    """Return the plan that takes a host without guests out of the inventory. Nothing on the host changes."""
    host = store.host(name).wanted
    if host.guests:
        raise FleetError(
            f"{name} was not removed.",
            f"It is the home of {', '.join(host.guests)}.",
            "Remove or move its guests first.",
        )
    title = f"Remove host {name}"
    without = {key: value for key, value in store.fleet.hosts.items() if key != name}
    return Plan(
        title=title,
        change=inventory_change(title, store.fleet, replace(store.fleet, hosts=without)),
        danger=Danger.TYPE_NAME,
        confirm_word=name,
        warnings=(f"Nothing on {name} itself changes: what runs there goes on running.",),
    )


def _with_host(fleet: Fleet, host: Host) -> Fleet:
    return replace(fleet, hosts={**fleet.hosts, host.name: host})


def needs_key(uri: str) -> bool:
    """Return whether a host of this URI is reached over SSH, and so must have a pinned key."""
    return uri.startswith("qemu+ssh:")


def other_key(view: HostView) -> list[tuple[str, str]]:
    """Return what to compare, and what to do, for a host that shows another SSH key than the pinned one; else nothing.

    Rows of (label, text): the fingerprint that is pinned, the one that is offered, the way out.
    """
    offered, pinned = view.seen.offered_key, view.wanted.ssh_host_key
    if not offered or not pinned:
        return []
    pin = f"qd host key {view.name} --pin {offered}"
    return [
        ("pinned", fingerprint(pinned)),
        ("offered", offered),
        ("way out", f"Another machine may be answering. Compare it on {view.name} itself; if it is its own: {pin}"),
    ]


def _warnings(host: Host) -> tuple[str, ...]:
    if needs_key(host.uri) and not host.ssh_host_key:
        return (f"{host.name} has no pinned SSH host key: it is not contacted until it has one.",)
    return ()


def _resolved(fleet: Fleet, wish: HostWish, before: Host | None) -> Host:
    host, problems = _resolve(fleet, wish, before)
    if problems:
        name = wish.name if values.NAME.match(wish.name) else values.shown(wish.name)
        raise FleetError(
            f"Host {name} was not {'changed' if before else 'added'}.",
            "\n".join(f"{field}: {why}" for field, why in problems.items()),
            "Nothing was changed.",
        )
    return host


def _resolve(fleet: Fleet, wish: HostWish, before: Host | None) -> tuple[Host, dict[str, str]]:
    problems: dict[str, str] = {}

    def parse(field: str, text: str, parser: Callable[[str], str]) -> str:
        try:
            return parser(text)
        except ValueError as error:
            problems.setdefault(field, str(error))
            return ""

    name = parse("name", wish.name.strip(), values.parse_name)
    if before is None and name in fleet.hosts:
        problems["name"] = f"there already is a host named {name}. Choose another name."
    mac = parse("mac", wish.mac, values.parse_mac)
    address = parse("address", wish.address.strip(), values.parse_address)
    uri = parse("uri", wish.uri.strip(), values.parse_uri) if wish.uri.strip() else default_uri(address or "0.0.0.0/0")
    key = parse("ssh_host_key", wish.ssh_host_key, values.parse_ssh_key) if wish.ssh_host_key.strip() else None
    disk = parse("disk", wish.disk.strip(), values.parse_stable_disk) if wish.disk.strip() else None
    labels = tuple(
        dict.fromkeys(parse("labels", label, values.parse_name) for label in re.split(r"[,\s]+", wish.labels) if label)
    )
    base = before or Host(name=name, mac=mac, address=address, uri=uri, state_version=fleet.state_version)
    host = replace(
        base,
        mac=mac,
        address=address,
        uri=uri,
        ssh_host_key=key or None,
        labels=labels,
        disk=disk or None,
        netboot=wish.netboot.strip() or None,
    )
    if not problems:
        known = {(breach.host, breach.path) for breach in breaches(fleet)}
        # As the last one: it is blamed then for what it shares, and the sentence names the other.
        others = {key: value for key, value in fleet.hosts.items() if key != name}
        for breach in breaches(replace(fleet, hosts={**others, name: host})):
            if breach.host == name and (breach.host, breach.path) not in known:
                field = breach.path[-1] if breach.path and breach.path[-1] in {"mac", "address", "netboot"} else "name"
                problems.setdefault(field, breach.message)
    return host, problems
