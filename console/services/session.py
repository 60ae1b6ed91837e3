"""One operator's work on one inventory: what screens and commands hold. It joins the use cases, no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, GuestKey, User
from console.domain.plan import ApplyMode, InventoryChange, Outcome, Plan, Progress
from console.domain.preflight import Finding
from console.domain.record import Commit
from console.domain.standing import HostView
from console.domain.values import shown
from console.drivers.base import HardwareReader, HostKeys, HostTarget, Hypervisors, JobRunner, Repository, Watch
from console.inventory.schema import default_uri
from console.services import guests, hosts, keeping, power, users
from console.services import plan as plans
from console.services.accepting import accepting
from console.services.change import preview_change
from console.services.edit import plan_edit
from console.services.following import begin, follow
from console.services.host_needs import host_needs
from console.services.journal import request_cancel
from console.services.memory import remember
from console.services.preflight import checked, device_problem, device_warnings, marked, wish_findings
from console.services.resources import reasons
from console.services.rest import plan_rest
from console.services.undo import Undoable, last_change, plan_undo
from console.services.view import View
from console.services.wishes import GuestWish, HostKey, HostWish, KeepWish, PowerAction, UserWish

HOST_KEY_TIMEOUT_S = 10.0

MOVED = "a guest cannot be moved to another host here."
SETTLE_TIMEOUT_S = 5.0
REMEMBER_S = 60.0

log = logging.getLogger(__name__)


def _nothing(plan: Plan) -> Outcome:
    if plan.refusals:
        return Outcome(
            ok=False,
            sentence=f"{plan.title}: refused.",
            failures=tuple((plan.title, refusal) for refusal in plan.refusals),
            pending=plan.pending,
        )
    return Outcome(ok=True, sentence=f"{plan.title}: nothing to do.", pending=plan.pending)


def _ignore(progress: Progress) -> None:
    """Report nothing."""


class Session(View):
    """The inventory, what its hosts report, and what can be done about it.

    state: where the last known state is kept. targets: as of View. fingerprint: of an SSH public key, as ssh-keygen
    shows it. runner: carries jobs out.
    """

    read_only = False

    def __init__(
        self,
        folder: Path,
        state: Path,
        hypervisors: Hypervisors,
        repository: Repository,
        host_keys: HostKeys,
        watch: Watch,
        targets: Callable[[Fleet], tuple[HostTarget, ...]],
        hardware: HardwareReader,
        fingerprint: Callable[[str], str],
        runner: JobRunner,
    ) -> None:
        super().__init__(folder, state, hypervisors, watch, targets, hardware)
        self._host_keys = host_keys
        self._state = state
        self._fingerprint = fingerprint
        self._repository = repository
        self.job = ""
        """The job that was begun here last."""
        self.runner = runner

    async def close(self) -> None:
        """Let go of the hosts; nothing on them changes."""
        if self._tasks:
            await asyncio.to_thread(self._write_memory)
        await super().close()

    def guest_problems(self, wish: GuestWish, editing: GuestKey | None = None) -> dict[str, str]:
        """Return field -> sentence for what is wrong with a wish."""
        if wish.host not in self.store.fleet.hosts:
            return {"host": f"there is no host {shown(wish.host)}." if wish.host else "choose a host."}
        if editing is not None and wish.host != editing.host:
            return {"host": MOVED}
        view, old = self.store.host(wish.host), self._edited(editing)
        hardware = self.devices.hardware(view.name)
        problems = guests.guest_problems(self.store.fleet, view, wish, old, hardware)
        if not problems and (wish.gpu or wish.accept):
            try:
                guest = self._guest_of(view, wish, old)
            except FleetError as error:
                return {"gpu": " ".join(part for part in (error.detail, error.hint) if part)}
            if why := device_problem(self.devices, wish.host, guest):
                problems["gpu"] = why
        return problems

    def guest_warnings(self, wish: GuestWish, editing: GuestKey | None = None) -> tuple[str, ...]:
        """Return what is worth a second thought about a wish without problems."""
        view, old = self.store.host(wish.host), self._edited(editing)
        return self._warnings(view, self._guest_of(view, wish, old), old)

    def _guest_of(self, view: HostView, wish: GuestWish, old: Guest | None = None) -> Guest:
        guest = guests.guest_of(self.store.fleet, view, wish, old, self.devices.hardware(view.name))
        return accepting(self.devices, view.name, guest, wish.accept)

    def _warnings(self, view: HostView, guest: Guest, old: Guest | None = None) -> tuple[str, ...]:
        hardware = self.devices.hardware(view.name)
        picks = reasons(self.store.fleet.resources, view, hardware, guest, old)
        told = (*picks, *host_needs(view.wanted, hardware, guest, old))
        return (*guests.guest_warnings(view, guest, old), *told, *device_warnings(self.devices, view.name, guest))

    def guest_findings(self, wish: GuestWish, editing: GuestKey | None = None) -> Mapping[str, tuple[Finding, ...]]:
        """Return device -> all that the preflight finds for a wish, complete or not; nothing while nothing is known."""
        if wish.host not in self.store.fleet.hosts:
            return {}
        return wish_findings(self.store.fleet, self.devices, self.store.host(wish.host), wish, self._edited(editing))

    def host_problems(self, wish: HostWish, editing: str | None = None) -> dict[str, str]:
        """Return field -> sentence for what is wrong with a new host, or with one that is edited."""
        return hosts.host_problems(self.store.fleet, wish, editing)

    def host_wish_of(self, name: str) -> HostWish:
        """Return an existing host as a wish, for editing."""
        return hosts.wish_of(self.store.host(name).wanted)

    def wish_of(self, key: GuestKey) -> GuestWish:
        """Return an existing guest as a wish, for editing."""
        return guests.wish_of(key.host, plans.require_managed(self.store.guest(key)))

    def plan_create(self, wish: GuestWish, *, start: bool) -> Plan:
        """Plan a new guest."""
        view = self.store.host(wish.host)
        guest = self._guest_of(view, wish)
        return plans.plan_create(self.store, view, guest, start=start, warnings=self._warnings(view, guest))

    def plan_edit(self, key: GuestKey, wish: GuestWish, mode: ApplyMode) -> Plan:
        """Plan the change of a guest to what the wish says."""
        old = plans.require_managed(self.store.guest(key))
        if wish.host != key.host:
            raise FleetError(f"{key} was not changed.", f"host: {MOVED}", "Nothing was changed.")
        return plan_edit(self.store, key, self._guest_of(self.store.host(key.host), wish, old), mode)

    def plan_power(self, keys: Sequence[GuestKey], action: PowerAction) -> Plan:
        """Plan a power action on guests."""
        return power.plan_power(self.store, keys, action, self.devices.hardware)

    def plan_autostart(self, keys: Sequence[GuestKey], on: bool) -> Plan:
        """Plan to start guests with their hosts, or no longer."""
        return power.plan_autostart(self.store, keys, on)

    def plan_remove(self, key: GuestKey, *, delete_disks: frozenset[str] = frozenset()) -> Plan:
        """Plan to remove a guest; its disks stay unless named."""
        return plans.plan_remove(self.store, key, delete_disks=delete_disks)

    def plan_add_host(self, wish: HostWish) -> Plan:
        """Plan a new host."""
        return hosts.plan_add_host(self.store, wish)

    def plan_set_host(self, name: str, changes: dict[str, str]) -> Plan:
        """Plan the change of a host's own facts."""
        return hosts.plan_set_host(self.store, name, changes)

    def plan_remove_host(self, name: str) -> Plan:
        """Plan to take a host out of the inventory."""
        return hosts.plan_remove_host(self.store, name)

    def keep_problems(self, wish: KeepWish) -> dict[str, str]:
        """Return field -> sentence for what keeps a host from keeping a device for itself."""
        return keeping.keep_problems(self.store.host(wish.host), self.devices.hardware(wish.host), wish)

    def plan_keep(self, wish: KeepWish) -> Plan:
        """Plan that a host keeps a device for itself."""
        return keeping.plan_keep(self.store, self.devices.hardware(wish.host), wish)

    def plan_give_back(self, host: str, slot: str) -> Plan:
        """Plan that guests can get what a host kept for itself."""
        return keeping.plan_give_back(self.store, self.devices.hardware(host), host, slot)

    def parts_problem(self, host: str, function: str, count: str) -> str:
        """Return why a function cannot have so many virtual functions, "" when it can."""
        return keeping.parts_problem(self.store.host(host), self.devices.hardware(host), function, count)

    def plan_parts(self, host: str, place: str, count: str) -> Plan:
        """Plan how many virtual functions a slot's function has from the next boot on."""
        hardware = self.devices.hardware(host)
        function = keeping.parts_place(self.store.host(host), hardware, place)
        return keeping.plan_parts(self.store, hardware, host, function, count)

    def user(self, name: str) -> User:
        """Return a user of the inventory."""
        return users.require_user(self.store.fleet, name)

    def user_problems(self, wish: UserWish, editing: str | None = None) -> dict[str, str]:
        """Return field -> sentence for what is wrong with a new user, or with the one that is edited."""
        return users.user_problems(self.store.fleet, wish, editing)

    def plan_add_user(self, wish: UserWish) -> Plan:
        """Plan a new user."""
        return users.plan_add_user(self.store, wish)

    def plan_set_user(self, name: str, changes: Mapping[str, str]) -> Plan:
        """Plan the change of a user."""
        return users.plan_set_user(self.store, name, changes)

    def plan_remove_user(self, name: str) -> Plan:
        """Plan to take a user out of the inventory."""
        return users.plan_remove_user(self.store, name)

    async def history(self, limit: int) -> tuple[Commit, ...]:
        """Return the newest recorded changes, newest first."""
        return await self._repository.log(self.folder, limit)

    async def diff(self, commit: str) -> str:
        """Return what a recorded change did to the files, as a unified diff."""
        return await self._repository.diff(self.folder, commit)

    async def last_change(self) -> Undoable:
        """Return what plan_undo can undo. Raises FleetError when there is nothing."""
        return await last_change(self.folder, self._repository)

    def plan_undo(self, last: Undoable) -> Plan:
        """Plan the inverse of the last recorded change."""
        return plan_undo(self.store, last)

    def pinned_fingerprint(self, host: str) -> str | None:
        """Return the fingerprint of the key that a host has to show, None when none is pinned."""
        key = self.store.host(host).wanted.ssh_host_key
        return None if key is None else self._fingerprint(key)

    async def fetch_host_key(self, wish: HostWish) -> HostKey:
        """Ask the host of a wish for its SSH host key, for the operator to compare and pin."""
        problems = self.host_problems(wish)
        wrong = problems.get("uri", "") if wish.uri.strip() else problems.get("address", "")
        # An address that another host has is no reason not to ask: that is what the fingerprint will show.
        if wrong and "already belongs" not in wrong:
            raise FleetError("The host key cannot be asked for yet.", wrong)
        uri = wish.uri.strip() or default_uri(wish.address.strip())
        key = await self._host_keys.fetch(uri, self.store.fleet.ssh, timeout_s=HOST_KEY_TIMEOUT_S)
        return HostKey(key=key, fingerprint=self._fingerprint(key))

    async def preview(self, plan: Plan) -> Plan:
        """Return the plan with the files that it would change and their diffs."""
        if plan.change is None:
            return plan
        return replace(plan, files=await asyncio.to_thread(preview_change, self.folder, plan.change))

    async def apply(self, plan: Plan, report: Callable[[Progress], None] = _ignore) -> Outcome:
        """Have a plan carried out as a job, and return how it ended; who stops waiting leaves the job running.

        Raises FleetError, with nothing changed, when the inventory refuses the change or a host is busy.
        """
        if plan.is_empty and (plan.refusals or not plan.rest_of):
            # That nothing is left of a job is written down: its rest was done.
            return _nothing(plan)
        plan = marked(await checked(plan, self.store, self.devices), self.store)
        targets = await asyncio.to_thread(self._targets, self.store.fleet)
        tail = await begin(self.folder, plan, self.runner, targets, self.store.clock)
        self.job = tail.record.job_id
        try:
            outcome = await follow(tail, plan, report, self.reread)
        finally:
            await self.read_jobs()
        if plan.change is not None:
            try:
                await self._retarget()
            except FleetError as error:
                # The change is made; that the hosts cannot be reached from here does not take it back.
                return replace(outcome, left=(*outcome.left, f"{error.title} {error.detail}".strip()))
        # What is planned next must see what was done now.
        await self.observe(sorted({step.host for step in plan.steps}), timeout_s=SETTLE_TIMEOUT_S)
        return outcome

    async def cancel_job(self, job: str) -> None:
        """Ask a job to end, whoever began it; it does so between two steps."""
        await self.read_jobs()
        found = self.store.job(job)
        if found is None:
            raise FleetError(f"There is no job {shown(job)}.", "", "See: qd job list")
        if found.state.ended:
            raise FleetError(f"{found.title} has ended already.", f"Job {job} is {found.state.value}.")
        await asyncio.to_thread(request_cancel, self.folder, job)
        await self.read_jobs()

    def plan_rest(self, job: str) -> Plan:
        """Plan what a job that failed, was cancelled or was interrupted has left; the store must know the job."""
        found = self.store.job(job)
        if found is None:
            raise FleetError(f"There is no job {shown(job)}.", "", "See: qd job list")
        return plan_rest(self.store, found, self._jobs.record(job))

    async def change(self, change: InventoryChange) -> Outcome:
        """Make a change of the inventory alone."""
        return await self.apply(Plan(title=change.summary, change=change))

    def _duties(self, *, follow: bool) -> list[Coroutine[None, None, None]]:
        return super()._duties(follow=follow) + ([self._remember()] if follow else [])

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(REMEMBER_S)
            await asyncio.to_thread(self._write_memory)

    def _write_memory(self) -> None:
        try:
            remember(self._state, self.store.all_observed())
        except OSError as error:
            # It only makes the next start's first frame poorer; a full disk is shown where it hurts.
            log.warning("The last known state was not written: %s", error)

    def _edited(self, key: GuestKey | None) -> Guest | None:
        return plans.require_managed(self.store.guest(key)) if key is not None else None
