"""One inventory and what its hosts report: all that a read-only console and the dashboard hold. Nothing here changes
anything, nowhere: no file is opened for writing and no verb is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path

from console.domain.errors import Fault, FleetError, InventoryError
from console.domain.model import Fleet, GuestKey
from console.domain.plan import Plan
from console.drivers.base import HardwareReader, HostTarget, Hypervisors, Watch
from console.inventory.files import FLEET_FILE, read_inventory
from console.inventory.store import Store
from console.services import passthrough
from console.services import plan as plans
from console.services.definitions import definition
from console.services.devices import Devices
from console.services.jobs import Jobs, lines_of
from console.services.memory import recall
from console.services.preflight import parts_lost
from console.services.wishes import GpuChoice

REREAD_S = 60.0
"""The files are read again this often whoever tells of a change: some file systems never tell."""

JOBS_S, IDLE_JOBS_S = 0.25, 1.0
"""So often the jobs' journals are looked at: while one runs, and otherwise."""

log = logging.getLogger(__name__)


class View:
    """The inventory and what its hosts report, kept up to date from `start` to `close`.

    state: where the last known state lies, if there is one. targets: how each host of a fleet is reached (the
    wiring's, it writes the SSH wrappers). hardware: how hosts' kernels are asked for their devices.
    """

    read_only = True
    reread_s = REREAD_S

    def __init__(
        self,
        folder: Path,
        state: Path,
        hypervisors: Hypervisors,
        watch: Watch,
        targets: Callable[[Fleet], tuple[HostTarget, ...]],
        hardware: HardwareReader,
    ) -> None:
        self.folder = folder
        self.store = Store(read_inventory(folder), definition)
        self.store.set_observed(recall(state))
        self.hypervisors = hypervisors
        self._watch = watch
        self._targets = targets
        self._tasks: list[asyncio.Task[None]] = []
        self.devices = Devices(self.store, hardware, None if self.read_only else hypervisors)
        self._jobs = Jobs(folder)
        self._jobs_turn = asyncio.Lock()

    async def start(self, *, follow: bool = True) -> None:
        """Connect to the hosts; from now on the store receives what they report. Once more: try once more.

        follow: edits of the inventory's files by others are taken over as well, for as long as this lasts.

        Raises FleetError when libvirt cannot be had here.
        """
        if not self._tasks:
            self._tasks = [asyncio.create_task(duty) for duty in self._duties(follow=follow)]
        await self._retarget()

    async def close(self) -> None:
        """Let go of the hosts; nothing on them changes."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                log.error("A task of the session had failed.", exc_info=ended)
        self._jobs.close()
        await self.hypervisors.close()

    async def read_jobs(self) -> None:
        """Have the store know the jobs of this inventory as they stand now, whoever began them."""
        async with self._jobs_turn:
            self.store.set_jobs(await asyncio.to_thread(self._jobs.read))

    def job_lines(self, job: str) -> AsyncIterator[str]:
        """Yield what a job's journal tells people, as it is written, until the job has ended."""
        return lines_of(self.folder, job)

    async def observe(self, names: Sequence[str], *, timeout_s: float) -> None:
        """Have the store know what these hosts report now; a silent one is known as down after timeout_s."""
        seen = await asyncio.gather(*(self.hypervisors.observe(name, timeout_s=timeout_s) for name in names))
        self.store.set_observed({observation.name: observation for observation in seen})

    async def focus(self, host: str | None) -> None:
        """Poll this host first."""
        await self.hypervisors.focus(host)

    def gpu_choices(self, host: str) -> tuple[GpuChoice, ...]:
        """Return the host's cards, taken ones with the reason."""
        return passthrough.gpu_choices(self.store.host(host))

    def plan_fleet(self, *, host: str | None = None, guest: GuestKey | None = None) -> Plan:
        """Plan what makes one guest, one host or the whole fleet as the inventory wants it."""
        if guest is not None:
            plans.require_managed(self.store.guest(guest))
            keys, title = [guest], f"Apply {guest}"
        else:
            chosen = [self.store.host(host)] if host is not None else self.store.hosts()
            keys = [view.key for entry in chosen for view in entry.guests]
            title = f"Apply {host}" if host else "Apply the fleet"
        plan = plans.plan_fleet(self.store, keys, title, self.devices.hardware)
        return replace(plan, warnings=(*plan.warnings, *parts_lost(self.store, self.devices, keys)))

    async def reread(self) -> None:
        """Take over the inventory as it is on disk now. What cannot be used is marked; what was last good stays."""
        try:
            inventory = await asyncio.to_thread(read_inventory, self.folder)
        except InventoryError as error:
            self.store.set_faults(error.faults)
        except FleetError as error:
            self.store.set_faults((Fault(FLEET_FILE, None, "", error.title),))
        else:
            if (inventory.texts, inventory.faults) != (self.store.inventory.texts, self.store.faults):
                self.store.set_inventory(inventory)
                await self._retarget()

    async def _retarget(self) -> None:
        if not self._tasks:
            return
        targets = await asyncio.to_thread(self._targets, self.store.fleet)
        await self.hypervisors.set_targets(targets)

    def _duties(self, *, follow: bool) -> list[Coroutine[None, None, None]]:
        """Return what is done from start to close."""
        return [
            self._feed(),
            *([self._follow(), self._reread_regularly(), self._follow_jobs()] if follow else []),
        ]

    async def _feed(self) -> None:
        async for changes in self.hypervisors.updates():
            # A fleet may answer all at once: one host a turn, its view made here, and keys and frames in between.
            for name, seen in changes.items():
                self.store.set_observed({name: seen})
                if name in self.store.fleet.hosts:
                    self.store.host(name)
                await asyncio.sleep(0)

    async def _follow_jobs(self) -> None:
        while True:
            await self.read_jobs()
            await asyncio.sleep(JOBS_S if any(not job.state.ended for job in self.store.jobs) else IDLE_JOBS_S)

    async def _follow(self) -> None:
        try:
            async for _ in self._watch.changes(self.folder):
                await self._reread_or_say()
        except (OSError, RuntimeError) as error:
            # The kernel's limit of watches, or a folder that went away.
            log.warning("Edits of %s are noticed once a minute only: %s", self.folder, error)

    async def _reread_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.reread_s)
            await self._reread_or_say()

    async def _reread_or_say(self) -> None:
        """The files are followed whatever happens to the hosts' connections meanwhile."""
        try:
            await self.reread()
        except FleetError as error:
            log.warning("The inventory was read again, and its hosts were not contacted: %s", error)
            self.store.say(f"✖ {error.title}")
