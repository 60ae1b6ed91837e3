"""Desired and observed in one place, with a revision that grows at each change and subscribers that hear of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from console.domain.clock import Clock, utc_now
from console.domain.errors import Fault, FleetError
from console.domain.job import Job
from console.domain.model import Fleet, Guest, GuestKey, Host
from console.domain.observed import HostObservation
from console.domain.standing import Define, Definition, GuestView, HostView, host_view
from console.domain.values import NAME, shown
from console.inventory.files import Inventory, host_file_name


class Store:
    """The one state that screens and commands read. It is changed on the event loop only.

    define: gives the definition that the inventory wants for a guest.
    """

    def __init__(self, inventory: Inventory, define: Define, clock: Clock = utc_now) -> None:
        self.clock = clock
        self.revision = 0
        self._define = define
        self._observed: dict[str, HostObservation] = {}
        self._views: dict[str, HostView] = {}
        self._definitions: dict[GuestKey, Definition] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._inventory = inventory
        self.messages: deque[tuple[datetime, str]] = deque(maxlen=200)
        self._jobs: tuple[Job, ...] = ()

    @property
    def inventory(self) -> Inventory:
        """The inventory as last read without a fault in fleet.toml."""
        return self._inventory

    @property
    def fleet(self) -> Fleet:
        """What is wanted; hosts whose file has faults keep their last good version."""
        return self._inventory.fleet

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong with the files now."""
        return self._inventory.faults

    def set_inventory(self, inventory: Inventory) -> None:
        """Take over a newly read inventory; a host whose file cannot be used now stays as it was last good."""
        hosts = dict(inventory.fleet.hosts)
        for name, host in self.fleet.hosts.items():
            if name not in hosts and host_file_name(name) in inventory.texts:
                hosts[name] = host
        before = self.fleet
        self._inventory = replace(inventory, fleet=replace(inventory.fleet, hosts=hosts))
        self._forget_definitions(before)
        self._observed = {name: seen for name, seen in self._observed.items() if name in hosts}
        self._views.clear()
        self._changed()

    def set_observed(self, changes: Mapping[str, HostObservation]) -> None:
        """Take over what hosts report; hosts that are not in the inventory are ignored.

        Who has not seen a host since it began to look says nothing about its guests: what was last known stays.
        """
        for name, seen in changes.items():
            if name in self.fleet.hosts:
                known = self._observed.get(name)
                if seen.seen_at is None and known is not None and known.seen_at is not None:
                    seen = replace(
                        known,
                        state=seen.state,
                        reason=seen.reason,
                        error=seen.error,
                        offered_key=seen.offered_key,
                        retry_at=seen.retry_at,
                    )
                self._observed[name] = seen
                self._views.pop(name, None)
        if changes:
            self._changed()

    def all_observed(self) -> Mapping[str, HostObservation]:
        """Return what is known of every host that ever reported, by name."""
        return dict(self._observed)

    def set_faults(self, faults: tuple[Fault, ...]) -> None:
        """Mark what is wrong with the files now; what was last good stays."""
        self._inventory = replace(self._inventory, faults=faults)
        self._changed()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs of this inventory that are known, whoever began them, newest first."""
        return self._jobs

    def set_jobs(self, jobs: tuple[Job, ...]) -> None:
        """Take over what the jobs' journals say; the same again is no change."""
        if jobs != self._jobs:
            self._jobs = jobs
            self._changed()

    def job(self, id: str) -> Job | None:
        """Return one job, None when it is not known (any more)."""
        return next((job for job in self._jobs if job.id == id), None)

    def observed(self, host: str) -> HostObservation:
        """Return what is known of a host; UNKNOWN when it never reported."""
        return self._observed.get(host) or HostObservation(name=host)

    def host(self, name: str) -> HostView:
        """Return one host with its guests. Raises FleetError for an unknown name."""
        if name not in self.fleet.hosts:
            file = host_file_name(name)
            if faults := [str(fault) for fault in self.faults if fault.file == file]:
                raise FleetError(f"{name} cannot be used: its file has mistakes.", "\n".join(faults), "Mend the file.")
            known = ", ".join(self.fleet.hosts) or "none yet"
            raise FleetError(f"There is no host {_named(name)} in the inventory.", f"Known hosts: {known}.")
        view = self._views.get(name)
        if view is None:
            view = host_view(self.fleet, self.fleet.hosts[name], self.observed(name), self._defined)
            self._views[name] = view
        return view

    def hosts(self) -> list[HostView]:
        """Return all hosts, sorted by name."""
        return [self.host(name) for name in sorted(self.fleet.hosts)]

    def guest(self, key: GuestKey) -> GuestView:
        """Return one guest, wanted or only seen. Raises FleetError for an unknown one."""
        for view in self.host(key.host).guests:
            if view.key == key:
                return view
        raise FleetError(f"There is no guest {_named(key.guest)} on {key.host}.", "", "See: qd guest list")

    def resolve_guest(self, name: str) -> GuestKey:
        """Return the guest that "host/guest" or an unambiguous "guest" names; raises FleetError otherwise."""
        host, slash, guest = name.rpartition("/")
        if slash:
            return self.guest(GuestKey(host, guest)).key
        keys = [view.key for entry in self.hosts() for view in entry.guests if view.key.guest == guest]
        if len(keys) == 1:
            return keys[0]
        if not keys:
            raise FleetError(f"There is no guest {_named(name)} in the fleet.", "", "See: qd guest list")
        raise FleetError(
            f"{name} is ambiguous.", "It is on: " + ", ".join(key.host for key in keys) + ".", f"Write {keys[0]}."
        )

    def devices_changed(self) -> None:
        """Have who follows look again: what is known of a host's devices, which is not kept here, is other now."""
        self._changed()

    def say(self, message: str) -> None:
        """Record a line for the status bar."""
        self.messages.append((self.clock(), message))
        self._changed()

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change, on the event loop; returns the function that ends it."""
        self._subscribers.append(changed)
        return lambda: self._subscribers.remove(changed)

    async def wait_until(self, condition: Callable[[Store], bool], timeout_s: float) -> bool:
        """Return True as soon as the condition holds, False if it does not within the time."""
        changed = asyncio.Event()
        unsubscribe = self.subscribe(changed.set)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    changed.clear()
                    await changed.wait()
            return True
        except TimeoutError:
            return condition(self)
        finally:
            unsubscribe()

    def _defined(self, fleet: Fleet, host: Host, guest: Guest) -> Definition:
        """Return a wanted guest's definition, worked out once: 0.3 ms, which every update of its host would cost."""
        key = GuestKey(host.name, guest.name)
        known = self._definitions.get(key)
        if known is None:
            try:
                known = self._define(fleet, host, guest)
            except FleetError as error:  # it costs this guest its plan, and no other one of the host anything
                known = Definition("", {}, " ".join(part for part in (error.title, error.detail) if part))
            self._definitions[key] = known
        return known

    def _forget_definitions(self, before: Fleet) -> None:
        """Keep the definitions of guests whose fleet, host and self are as they were."""
        if replace(before, hosts={}) != replace(self.fleet, hosts={}):
            self._definitions.clear()
        for key in list(self._definitions):
            old, new = before.hosts[key.host], self.fleet.hosts.get(key.host)
            same = new is not None and replace(old, guests={}) == replace(new, guests={})
            if new is None or not same or old.guests[key.guest] != new.guests.get(key.guest):
                del self._definitions[key]

    def _changed(self) -> None:
        self.revision += 1
        for subscriber in tuple(self._subscribers):
            subscriber()


def _named(name: str) -> str:
    """Return a name that somebody typed, fit for a sentence."""
    return name if NAME.match(name) else shown(name)
