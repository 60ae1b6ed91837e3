"""The rest of a job: what it left undone, as a plan of its own, judged by what the hosts report now.

What the journal says was done is believed; what it does not say may have been done all the same. A definition is
generated anew, so that a guest that was edited since is not set back; and nothing is done to what the inventory
does not have, whoever wrote the journal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.job import Job, JobState
from console.domain.model import Fleet, Guest
from console.domain.move import moved
from console.domain.observed import GuestObservation, GuestState, HostState
from console.domain.plan import Danger, Plan, Step, StepState
from console.domain.shape import identity_of
from console.domain.standing import HostView
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Resume,
    SetAutostart,
    Shutdown,
    Start,
    Suspend,
    Undefine,
)
from console.generate.domain_xml import domain_xml
from console.inventory.store import Store
from console.services.jobs import ONCE, Record

REST = "Rest of: "
POWER = {
    Start: frozenset({GuestState.RUNNING}),
    Resume: frozenset({GuestState.RUNNING}),
    Shutdown: frozenset({GuestState.OFF}),
    ForceOff: frozenset({GuestState.OFF}),
    Suspend: frozenset({GuestState.PAUSED}),
}
"""The states in which the verb has nothing left to do."""


def plan_rest(store: Store, job: Job, record: Record | None) -> Plan:
    """Return the plan that does what a job has left; empty when nothing is. record: what its journal told.

    Steps on hosts that are not up are refused by name. Raises FleetError for a job that still runs.
    """
    if not job.state.ended:
        raise FleetError(f"{job.title} still runs.", "", f"Follow it with: qd job follow {job.id}")
    if job.state is JobState.UNKNOWN:
        raise FleetError(f"What job {job.id} has left is not known.", "\n".join(job.lines[-1:]))
    plan = record.plan if record is not None else None
    title = f"{REST}{job.title.removeprefix(REST)}"
    if record is None or plan is None or not job.rest:
        return Plan(title=title)
    change = plan.change if record.change_state is not StepState.DONE else None
    fleet = moved(store.fleet, change.before, change.after) if change is not None else store.fleet
    own = record.owner == os.geteuid()
    # A guest whose removal is the job: its domain and disks may still be there.
    gone = plan.change.before if plan.change is not None else None
    steps: list[Step] = []
    refusals: list[str] = []
    warnings = list(_unsure(record, plan))
    # What is kept of a guest decides about what comes after it there: a guest is to be off before it is started.
    kept: dict[object, list[Step]] = {}
    for place in record.rest():
        step = plan.steps[place]
        host = store.host(step.host) if step.host in store.fleet.hosts else None
        if host is None or host.seen.state is not HostState.UP:
            refusals.append(f"{step.sentence} on {step.host}: the host is not {'up' if host else 'in the inventory'}.")
            continue
        try:
            step = _checked(step, host, fleet, gone, own=own)
        except FleetError as error:
            refusals.append(f"{step.sentence} on {step.host}: {error.title}")
            continue
        before = kept.setdefault(step.guest, [])
        if _in_effect(step, host, before):
            continue
        before.append(step)
        steps.append(step)
    danger = plan.danger if steps else Danger.NONE
    word = plan.confirm_word
    if word.isdecimal():
        word = str(len({step.guest for step in steps}))
    return Plan(
        title=title,
        change=change,
        steps=tuple(steps),
        refusals=tuple(refusals),
        warnings=tuple(warnings),
        danger=danger,
        confirm_word=word,
        stop_after=plan.stop_after,
        rest_of=job.id,
    )


def _unsure(record: Record, plan: Plan) -> Iterator[str]:
    for place in sorted(record.unsure):
        step = plan.steps[place]
        what = f"{step.sentence} on {step.host}"
        if isinstance(step.verb, AttachDevice | DetachDevice):
            yield f"{what}: it is not known whether this was done, and it is not done again. A restart makes it so."
        elif isinstance(step.verb, ONCE):
            yield f"{what}: it is not known whether this was done, and it is not done again. Look at the guest."
        elif isinstance(step.verb, CreateVolume) and step.verb.copy_of:
            yield f"{what}: if the volume is there it is used; its host may still be copying it."


def _checked(step: Step, host: HostView, fleet: Fleet, gone: Fleet | None, *, own: bool) -> Step:
    """Return the step as it may be done: to a guest of the inventory, with the definition that it has now.

    gone: what the job took out of the inventory, if anything. own: the journal was written by this operator; another
    one's says what is done to which guests of the inventory, never with which XML.
    """
    guest = _guest(fleet, step)
    if guest is None and own and gone is not None and not isinstance(step.verb, Define):
        guest = _guest(gone, step)
    if guest is None:
        raise FleetError("its guest is not in the inventory.")
    verb, undo = step.verb, step.undo
    match verb:
        case Define():
            step = replace(step, verb=Define(xml=domain_xml(fleet, fleet.hosts[host.name], guest)))
        case CreateVolume() | DeleteVolume():
            if not verb.name.startswith(f"{guest.name}-"):
                raise FleetError(f"volume {verb.name} is not one of {guest.name}.")
        case AttachDevice() | DetachDevice() if not own:
            raise FleetError("only who began the job can do this.")
        case _:
            if verb.uuid != guest.uuid:
                raise FleetError(f"it is for another domain than that of {guest.name}.")
    if not own and isinstance(undo, Define | AttachDevice | DetachDevice):
        step = replace(step, undo=None)
    return step


def _guest(fleet: Fleet, step: Step) -> Guest | None:
    host = fleet.hosts.get(step.host)
    if host is None or step.guest is None or step.guest.host != step.host:
        return None
    return host.guests.get(step.guest.guest)


def _in_effect(step: Step, host: HostView, before: list[Step]) -> bool:
    """Return whether the host is already as the step would make it. before: what is done to the guest until then."""
    volumes = {(p.name, v.name) for p in (host.seen.facts.pools if host.seen.facts else ()) for v in p.volumes}

    def seen(uuid: str) -> GuestObservation | None:
        return next((guest for guest in host.seen.guests if guest.uuid == uuid), None)

    verb = step.verb
    match verb:
        case CreateVolume():
            return (verb.pool, verb.name) in volumes
        case DeleteVolume():
            return (verb.pool, verb.name) not in volumes
        case Define():
            marks = {(guest.inventory_id, guest.digest) for guest in host.seen.guests}
            return identity_of(verb.xml) in marks
        case Undefine():
            return seen(verb.uuid) is None
        case SetAutostart():
            found = seen(verb.uuid)
            return found is not None and found.autostart is verb.on
        case _ if type(verb) in POWER and not any(type(other.verb) in POWER for other in before):
            found = seen(verb.uuid)
            return found is not None and found.state in POWER[type(verb)]
    return False
