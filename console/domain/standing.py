"""Desired and observed side by side: one view of each guest, and where it stands against the inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from console.domain.model import Fleet, Guest, GuestKey, Host
from console.domain.observed import (
    AddressSource,
    GuestAddress,
    GuestObservation,
    GuestState,
    HostObservation,
    HostState,
)


class Standing(StrEnum):
    """How a guest on its host compares with the inventory.

    UNKNOWN: its host has never answered. PENDING: wanted, not yet defined. CHANGED: an apply would change it.
    UNMANAGED: on the host, not in the inventory.
    """

    UNKNOWN = "unknown"
    IN_SYNC = "in sync"
    PENDING = "pending"
    CHANGED = "changed"
    UNMANAGED = "unmanaged"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a wanted guest's domain would be: its XML's digest, and its comparable form.

    fault: why it cannot be said, in one sentence; then there is nothing else.
    """

    digest: str
    shape: Mapping[str, str]
    fault: str = ""


Define = Callable[[Fleet, Host, Guest], Definition]
"""Gives the definition that the inventory wants for a guest (the generator's, injected)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestView:
    """One guest as the operator sees it. At least one of `wanted` and `seen` is present.

    state: what it does now, or did when its host was last seen. stale_since: when that was, if the host is
    not up now. restart_needed: it runs with an older definition than the one it has. fault: why what is wanted
    cannot be defined, "" when it can.
    """

    key: GuestKey
    standing: Standing
    wanted: Guest | None
    seen: GuestObservation | None
    stale_since: datetime | None = None
    restart_needed: bool = False
    fault: str = ""

    @property
    def state(self) -> GuestState:
        """The observed state; OFF for a guest that is only wanted, UNKNOWN if its host never answered."""
        if self.seen is not None:
            return self.seen.state
        return GuestState.UNKNOWN if self.standing is Standing.UNKNOWN else GuestState.OFF

    @property
    def answers(self) -> bool:
        """False while its QEMU process keeps its host waiting, as far as is known now."""
        return self.seen is None or self.seen.answers or self.stale_since is not None

    @property
    def uuid(self) -> str:
        """The domain's uuid."""
        return self.wanted.uuid if self.wanted is not None else self.seen.uuid if self.seen is not None else ""

    @property
    def addresses(self) -> tuple[GuestAddress, ...]:
        """All known addresses: what the host observed first, then what the inventory says."""
        found = list(self.seen.addresses) if self.seen is not None else []
        known = {entry.address.partition("/")[0] for entry in found}
        for nic in self.wanted.nics.values() if self.wanted is not None else ():
            if nic.address and nic.address.partition("/")[0] not in known:
                found.append(GuestAddress(address=nic.address, source=AddressSource.INVENTORY))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host with its guests, wanted ones in the inventory's order, then the unmanaged ones by name."""

    name: str
    wanted: Host
    seen: HostObservation
    guests: tuple[GuestView, ...]

    @property
    def stale_since(self) -> datetime | None:
        """When the host last answered, if it does not now."""
        return None if self.seen.state is HostState.UP else self.seen.seen_at


def host_view(fleet: Fleet, host: Host, seen: HostObservation, define: Define) -> HostView:
    """Join one host's inventory and observation."""
    by_uuid = {guest.uuid: guest for guest in seen.guests}
    stale = None if seen.state is HostState.UP else seen.seen_at
    views = []
    for guest in host.guests.values():
        found = by_uuid.pop(guest.uuid, None)
        fault = ""
        if found is None:
            standing = Standing.UNKNOWN if seen.seen_at is None else Standing.PENDING
        else:
            wanted = define(fleet, host, guest)
            standing, fault = _standing(fleet, guest, found, wanted), wanted.fault
        views.append(
            GuestView(
                key=GuestKey(host.name, guest.name),
                standing=standing,
                wanted=guest,
                seen=found,
                stale_since=stale,
                restart_needed=found is not None and _runs_older(found),
                fault=fault,
            )
        )
    for found in sorted(by_uuid.values(), key=lambda guest: guest.name):
        key = GuestKey(host.name, found.name)
        views.append(GuestView(key=key, standing=Standing.UNMANAGED, wanted=None, seen=found, stale_since=stale))
    return HostView(name=host.name, wanted=host, seen=seen, guests=tuple(views))


def _runs_older(found: GuestObservation) -> bool:
    """A guest whose balloon was lowered live has what its new definition gives it: that needs no restart."""
    if found.active_shape is None:
        return False
    runs = dict(found.active_shape)
    if (now := runs.pop("memory now", None)) is not None:
        runs["memory"] = now
    return runs != found.shape


def _standing(fleet: Fleet, guest: Guest, found: GuestObservation, wanted: Definition) -> Standing:
    """The digest says what was applied last, the shape what stands there now: both must be what is wanted."""
    in_sync = (
        found.inventory_id == fleet.id
        and found.digest == wanted.digest
        and found.shape == wanted.shape
        and found.autostart in (None, guest.autostart)
    )
    return Standing.IN_SYNC if in_sync else Standing.CHANGED
