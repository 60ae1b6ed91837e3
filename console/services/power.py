"""Plans that switch guests: start, shutdown, force off, reboot, reset, suspend, resume, autostart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, GuestKey
from console.domain.move import inventory_change
from console.domain.observed import GuestState, HostState
from console.domain.plan import Danger, Plan, Step
from console.domain.standing import Standing
from console.domain.verbs import ForceOff, Reboot, Reset, Resume, Shutdown, Start, Suspend
from console.inventory.store import Store
from console.services.plan import (
    autostart_step,
    plan_fleet,
    redefine,
    require_managed,
    start_refusal,
    with_guest,
)
from console.services.resources import HardwareOf, known_hardware, picked, wishes
from console.services.wishes import PowerAction

SHUTDOWN_S = 120.0
"""How long a guest may take to shut down before the operator is told that it did not."""

RUNS = frozenset({GuestState.RUNNING, GuestState.PAUSED, GuestState.SHUTTING_DOWN, GuestState.SUSPENDED})
FROM = {
    PowerAction.START: frozenset({GuestState.OFF, GuestState.CRASHED}),
    PowerAction.SHUTDOWN: frozenset({GuestState.RUNNING, GuestState.SHUTTING_DOWN}),
    PowerAction.FORCE_OFF: RUNS | {GuestState.CRASHED, GuestState.UNKNOWN},
    PowerAction.REBOOT: frozenset({GuestState.RUNNING}),
    PowerAction.RESET: RUNS,
    PowerAction.SUSPEND: frozenset({GuestState.RUNNING}),
    PowerAction.RESUME: frozenset({GuestState.PAUSED}),
}
"""The states in which an action makes sense."""

ALREADY = {
    PowerAction.START: GuestState.RUNNING,
    PowerAction.SHUTDOWN: GuestState.OFF,
    PowerAction.FORCE_OFF: GuestState.OFF,
    PowerAction.SUSPEND: GuestState.PAUSED,
    PowerAction.RESUME: GuestState.RUNNING,
}
"""The state in which there is nothing left to do."""

INSTEAD = {
    (PowerAction.START, GuestState.PAUSED): "Resume it instead.",
    (PowerAction.SHUTDOWN, GuestState.PAUSED): "Resume it first, or force it off.",
    (PowerAction.REBOOT, GuestState.PAUSED): "Resume it first, or reset it.",
    (PowerAction.REBOOT, GuestState.OFF): "Start it instead.",
    (PowerAction.RESET, GuestState.OFF): "Start it instead.",
    (PowerAction.RESUME, GuestState.OFF): "Start it instead.",
}
"""What the operator may have meant."""

DANGER = {
    PowerAction.SHUTDOWN: Danger.CONFIRM,
    PowerAction.FORCE_OFF: Danger.CONFIRM,
    PowerAction.REBOOT: Danger.CONFIRM,
    PowerAction.RESET: Danger.CONFIRM,
}


def plan_power(store: Store, keys: Sequence[GuestKey], action: PowerAction, hardware: HardwareOf | None = None) -> Plan:
    """Return the plan that does `action` to these guests; those that cannot are refused by name with the reason.

    A pending guest that is started is made first. What is done to several guests always asks, and what hurts asks
    for their number: of those that it is done to. hardware: as of plan_fleet; a device that was picked for a resource
    and is no longer where it was is found again, or another is picked.
    """
    keys = list(dict.fromkeys(keys))
    steps: list[Step] = []
    refusals: list[str] = []
    already: list[str] = []
    warnings: list[str] = []
    picks: list[str] = []
    fleet = store.fleet
    for key in keys:
        try:
            part, guest, reasons = _steps(store, key, action, hardware)
        except FleetError as error:
            refusals.append(" ".join(part for part in (error.title, error.detail, error.hint) if part))
            continue
        steps += part
        already += [] if part else [str(key)]
        warnings += reasons
        if guest != store.guest(key).wanted:
            fleet = with_guest(fleet, key.host, guest)
            picks.append(str(key))
    told = [f"Already {ALREADY[action].value}: {', '.join(already)}"] if already and steps else []
    danger = DANGER.get(action, Danger.NONE)
    if len(keys) > 1:
        danger = Danger.CONFIRM if danger is Danger.NONE else Danger.TYPE_NAME
    touched = len({step.guest for step in steps})
    some = f"{touched} of " if 0 < touched < len(keys) else ""
    whom = str(keys[0]) if len(keys) == 1 else f"{some}{len(keys)} guests"
    return Plan(
        title=f"{action.words.capitalize()} {whom}",
        change=inventory_change(f"Pick devices for {', '.join(picks)}", store.fleet, fleet) if picks else None,
        steps=tuple(steps),
        refusals=tuple(refusals),
        warnings=(*warnings, *told),
        danger=danger if steps else Danger.NONE,
        confirm_word=keys[0].guest if len(keys) == 1 else str(touched),
    )


def plan_autostart(store: Store, keys: Sequence[GuestKey], on: bool) -> Plan:
    """Return the plan that starts guests with their hosts, or no longer; those that cannot are refused by name.

    One guest's change is taken back when it fails. Of several what is wanted stays: a guest where it failed differs
    from the inventory then, and an apply tries again.
    """
    keys = list(dict.fromkeys(keys))
    refusals: list[str] = []
    steps: list[Step] = []
    pending: list[GuestKey] = []
    changed: list[GuestKey] = []
    for key in keys:
        view = store.guest(key)
        try:
            guest = require_managed(view)
        except FleetError as error:
            if len(keys) == 1:
                raise
            refusals.append(" ".join(part for part in (error.title, error.detail, error.hint) if part))
            continue
        if guest.autostart != on:
            changed.append(key)
        if store.host(key.host).seen.state is not HostState.UP:
            pending.append(key)
            continue
        # Where a host does not report it, the inventory is what we have last asked for.
        before = guest.autostart if view.seen is None or view.seen.autostart is None else view.seen.autostart
        if view.seen and before != on:
            steps.append(autostart_step(key, guest.uuid, on))
    one = len(keys) == 1
    whom = f"{keys[0]} with its host" if one else f"{len(keys)} guests with their hosts"
    title = f"{'Start' if on else 'Do not start'} {whom}"
    after = _with_autostart(store.fleet, changed, on)
    return Plan(
        title=title,
        change=inventory_change(title, store.fleet, after, taken_back=one) if changed else None,
        steps=tuple(steps),
        refusals=tuple(refusals),
        pending=tuple(pending),
        danger=Danger.NONE if one else Danger.CONFIRM,
        confirm_word=keys[0].guest if one else str(len(changed)),
    )


def _with_autostart(fleet: Fleet, keys: Sequence[GuestKey], on: bool) -> Fleet:
    hosts = dict(fleet.hosts)
    for key in keys:
        host = hosts[key.host]
        guests = {**host.guests, key.guest: replace(host.guests[key.guest], autostart=on)}
        hosts[key.host] = replace(host, guests=guests)
    return replace(fleet, hosts=hosts)


def _steps(
    store: Store, key: GuestKey, action: PowerAction, hardware: HardwareOf | None
) -> tuple[list[Step], Guest, tuple[str, ...]]:
    """Return the steps, the guest with its devices as they are picked now, and why these."""
    view, host = store.guest(key), store.host(key.host)
    guest = require_managed(view)
    if host.seen.state is not HostState.UP:
        raise FleetError(f"{key.host} is not up.", host.seen.error, f"{key} was not touched.")
    steps: list[Step] = []
    reasons: tuple[str, ...] = ()
    if action is PowerAction.START and view.state is not GuestState.RUNNING and wishes(guest):
        found = picked(store.fleet.resources, host, known_hardware(store, host, hardware), guest)
        guest, reasons = found.guest, found.notes
    if view.standing is Standing.PENDING:
        if action is not PowerAction.START:
            raise FleetError(f"{key} is pending: it is not on {key.host} yet.", "", "Start or apply it first.")
        plan = plan_fleet(store, [key], "", hardware)
        if plan.refusals:
            raise FleetError(plan.refusals[0])
        steps += [step for step in plan.steps if not isinstance(step.verb, Start)]
    elif view.state is ALREADY.get(action):
        return [], guest, ()
    elif view.state not in FROM[action]:
        allowed = " or ".join(sorted(state.value for state in FROM[action] if state is not GuestState.UNKNOWN))
        raise FleetError(
            f"{key} is {view.state.value}.",
            f"{action.value} needs it {allowed}.",
            INSTEAD.get((action, view.state), ""),
        )
    elif guest != view.wanted and view.seen is not None:
        steps += redefine(store.fleet, store.fleet, store.fleet.hosts[key.host], guest, view.seen)
    if action is PowerAction.START and (why := start_refusal(host, guest)):
        raise FleetError(f"{key} was not started: {why}")
    steps.append(power_step(key, guest.uuid, action))
    return steps, guest, reasons


def power_step(key: GuestKey, uuid: str, action: PowerAction) -> Step:
    """Return the one step that does `action`."""
    step = Step(host=key.host, guest=key, sentence=f"{action.value} {key.guest}", verb=Start(uuid=uuid), timeout_s=30.0)
    match action:
        case PowerAction.START:
            return replace(step, timeout_s=120.0)
        case PowerAction.SHUTDOWN:
            return replace(
                step,
                sentence=f"shut {key.guest} down",
                verb=Shutdown(uuid=uuid),
                wait_for=GuestState.OFF,
                wait_s=SHUTDOWN_S,
            )
        case PowerAction.FORCE_OFF:
            return replace(step, sentence=f"force {key.guest} off", verb=ForceOff(uuid=uuid))
        case PowerAction.REBOOT:
            return replace(step, verb=Reboot(uuid=uuid))
        case PowerAction.RESET:
            return replace(step, verb=Reset(uuid=uuid))
        case PowerAction.SUSPEND:
            return replace(step, verb=Suspend(uuid=uuid))
        case PowerAction.RESUME:
            return replace(step, verb=Resume(uuid=uuid))
