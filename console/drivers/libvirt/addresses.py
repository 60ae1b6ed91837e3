"""Finding out at which addresses guests are: leases of the host's networks, and the guests' own agents."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import libvirt

from console.domain.observed import AddressSource
from console.drivers.libvirt.failures import LinkLost
from console.drivers.libvirt.guests import read_addresses
from console.drivers.libvirt.herd import Herd
from console.drivers.libvirt.link import Link, Worker
from console.drivers.libvirt.markup import clean

log = logging.getLogger(__name__)

LOOK_S = 1.0
EVERY_S = 15.0
SOON_S = 3.0
SOON_TRIES = 10
"""A guest that has just started asks for its lease within seconds: until it has one it is looked for more often."""

OPEN_S = 15.0
LEASE_S = 15.0
AGENT_S = 8.0
"""Deadlines. An agent that hangs is waited for by libvirt itself for 5 s."""

SULK_S = 120.0
"""How long a guest whose agent hung is left alone."""


@dataclass(slots=True)
class _Turn:
    """When one running guest is next looked for, and how often it was not found."""

    at: float
    misses: int = 0


class Addresses:
    """Looks for the addresses of one host's running guests.

    Leases are the host's own knowledge and asked for on its connection. Agents can hang: they are asked on a
    connection of their own, one after another, and hold up nothing else.
    """

    def __init__(self, herd: Herd, uri: str, stuck: list[Worker], found: Callable[[], None]) -> None:
        self._herd = herd
        self._uri = uri
        self._stuck = stuck
        self._found = found
        self._turns: dict[AddressSource, dict[tuple[str, int], _Turn]] = {}
        self._side: Link | None = None

    async def run(self, link: Link) -> None:
        """Look until cancelled or the connection is lost (then LinkLost)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leases(link))
            # libvirt counts asking an agent as a change.
            if not link.read_only:
                tasks.create_task(self._agents())

    async def _leases(self, link: Link) -> None:
        while True:
            if uuids := self._due(AddressSource.LEASE):
                found = await link.call(partial(read_addresses, uuids=uuids, source=AddressSource.LEASE), LEASE_S)
                self._herd.locate(AddressSource.LEASE, found)
                self._found()
                for uuid in uuids:
                    self._next(AddressSource.LEASE, uuid, EVERY_S if found.get(uuid) else SOON_S)
            await asyncio.sleep(LOOK_S)

    async def _agents(self) -> None:
        try:
            while True:
                for uuid in self._due(AddressSource.AGENT):
                    await self._ask_agent(uuid)
                if not self._turns[AddressSource.AGENT]:
                    await self._hang_up()
                await asyncio.sleep(LOOK_S)
        finally:
            await self._hang_up()

    async def _ask_agent(self, uuid: str) -> None:
        try:
            if self._side is None:
                self._side = await Link.open(self._uri, timeout_s=OPEN_S, stuck=self._stuck)
            read = partial(read_addresses, uuids=[uuid], source=AddressSource.AGENT)
            found = await self._side.call(read, AGENT_S)
        except (LinkLost, libvirt.libvirtError) as error:
            log.info("the agent of %s: %s", uuid, clean(str(error)))
            self._next(AddressSource.AGENT, uuid, SULK_S)
            await self._hang_up()
            return
        self._herd.locate(AddressSource.AGENT, found)
        self._found()
        self._next(AddressSource.AGENT, uuid, EVERY_S)

    async def _hang_up(self) -> None:
        side, self._side = self._side, None
        if side is not None:
            await side.close()

    def _due(self, source: AddressSource) -> list[str]:
        """Return whom to look for now; guests that went are forgotten, new ones are looked for at once."""
        now = time.monotonic()
        wanted = [
            (uuid, run)
            for uuid, (run, definition) in self._herd.running().items()
            if (definition.leases if source is AddressSource.LEASE else definition.agent)
        ]
        before = self._turns.get(source, {})
        self._turns[source] = turns = {key: before.get(key, _Turn(now)) for key in wanted}
        return [uuid for (uuid, _), turn in turns.items() if turn.at <= now]

    def _next(self, source: AddressSource, uuid: str, wait_s: float) -> None:
        for (known, _), turn in self._turns[source].items():
            if known == uuid:
                turn.misses = turn.misses + 1 if wait_s == SOON_S else 0
                turn.at = time.monotonic() + (EVERY_S if turn.misses > SOON_TRIES else wait_s)
