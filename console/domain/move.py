"""Changes of the inventory as data: the fleet before and after, reduced to what differs; and how such a change is
made in a fleet that others may have changed meanwhile.

It is a merge of three: what only one side touched stays as that side has it, what both made the same is the same,
and what both made different is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, Host
from console.domain.plan import InventoryChange

HEAD = ("name", "id", "state_version", "ssh", "netboot", "resources")

ASIDE = frozenset({"autostart", "labels", "accel", "hardware", "sriov"})
"""Facts of guests and hosts that nothing else there depends on: changing one is no obstacle to changing others."""

T = TypeVar("T")
M = TypeVar("M", Guest, Host)


def inventory_change(summary: str, before: Fleet, after: Fleet, *, taken_back: bool = False) -> InventoryChange:
    """Return the change that leads from one fleet to the other, reduced to what differs between the two."""
    hosts = _differing(before.hosts, after.hosts)
    old, new = dict(hosts[0]), dict(hosts[1])
    for name in old.keys() & new.keys():
        was, now = _differing(old[name].guests, new[name].guests)
        old[name], new[name] = replace(old[name], guests=was), replace(new[name], guests=now)
    networks = _differing(before.networks, after.networks)
    pools, users = _differing(before.pools, after.pools), _differing(before.users, after.users)
    return InventoryChange(
        summary=summary,
        before=replace(before, networks=networks[0], pools=pools[0], users=users[0], hosts=old),
        after=replace(after, networks=networks[1], pools=pools[1], users=users[1], hosts=new),
        taken_back=taken_back,
    )


def _differing(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[Mapping[str, T], Mapping[str, T]]:
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    kept = ({name: value for name, value in side.items() if name in names} for side in (before, after))
    return next(kept), next(kept)


def moved(fleet: Fleet, base: Fleet, target: Fleet) -> Fleet:
    """Return the fleet with what leads from `base` to `target` done to it; what is so already stays.

    Raises FleetError naming the first thing that differs between the two and is otherwise in the fleet.
    """
    for fact in HEAD:
        if getattr(base, fact) != getattr(target, fact):
            if getattr(fleet, fact) != getattr(target, fact):
                _same(fact, getattr(fleet, fact), getattr(base, fact))
            fleet = replace(fleet, **{fact: getattr(target, fact)})
    return replace(
        fleet,
        networks=_moved("network ", fleet.networks, base.networks, target.networks),
        pools=_moved("pool ", fleet.pools, base.pools, target.pools),
        users=_moved("user ", fleet.users, base.users, target.users),
        hosts=_moved("host ", fleet.hosts, base.hosts, target.hosts, _moved_host),
    )


def _moved(
    where: str,
    now: Mapping[str, T],
    old: Mapping[str, T],
    new: Mapping[str, T],
    merge: Callable[[str, T, T, T], T] | None = None,
) -> Mapping[str, T]:
    result = dict(now)
    for name in dict.fromkeys((*old, *new)):
        was, wanted, here = old.get(name), new.get(name), now.get(name)
        if was == wanted or here == wanted:
            continue
        if merge is not None and was is not None and wanted is not None and here is not None:
            result[name] = merge(f"{where}{name}", here, was, wanted)
            continue
        _same(f"{where}{name}", here, was)
        if wanted is not None:
            result[name] = wanted
        else:
            result.pop(name, None)
    return result


def _moved_host(what: str, now: Host, old: Host, new: Host) -> Host:
    guests = _moved(f"{now.name}/", now.guests, old.guests, new.guests, _merged)
    own = _merged(what, *(replace(host, guests={}) for host in (now, old, new)))
    return replace(own, guests=guests)


def _merged(what: str, now: M, old: M, new: M) -> M:
    """Return `now` with what differs between `old` and `new`; raises FleetError where that cannot be told apart."""
    ours = {f.name for f in fields(old) if getattr(old, f.name) != getattr(new, f.name)}
    theirs = {f.name for f in fields(old) if getattr(old, f.name) != getattr(now, f.name)}
    theirs -= {name for name in theirs & ours if getattr(now, name) == getattr(new, name)}
    if ours & theirs or not (ours <= ASIDE or theirs <= ASIDE):
        _same(what, now, old)
    return replace(now, **{name: getattr(new, name) for name in ours})


def _same(what: str, now: object, expected: object) -> None:
    if now != expected:
        since = "was removed" if now is None else "was added" if expected is None else "was changed"
        raise FleetError(f"{what} {since} since.", "", "Look at it again; nothing was changed.")


def without_notes(before: Fleet, after: Fleet) -> Fleet:
    """Return `before` with what a change only noted of hosts, networks and pools: that stays true when it is undone."""
    hosts = {}
    for name, host in before.hosts.items():
        now = after.hosts.get(name)
        if now is not None and host.accel is None and now.guests != host.guests:
            host = replace(host, accel=now.accel, hardware=now.hardware)
        hosts[name] = host
    # A network or a pool comes with the first guest that uses it; others may do so by now.
    grew = any(now.guests != before.hosts[name].guests for name, now in after.hosts.items() if name in before.hosts)
    networks = {**after.networks, **before.networks} if grew else before.networks
    pools = {**after.pools, **before.pools} if grew else before.pools
    return replace(before, hosts=hosts, networks=networks, pools=pools)
