"""Plans that change a guest: live where that is possible, at its next boot, or by a restart now."""

from __future__ import annotations

from dataclasses import replace

from console.domain.model import Device, Fleet, Guest, GuestKey
from console.domain.move import inventory_change
from console.domain.observed import GuestObservation, GuestState, HostState
from console.domain.plan import ApplyMode, Danger, Difference, Plan, Step
from console.domain.verbs import AttachDevice, DetachDevice, SetMemory, Start, Verb
from console.generate.domain_xml import disk_xml, nic_xml, spare_port
from console.generate.hostdev_xml import plug_xml
from console.inventory.store import Store
from console.services.guests import with_host_resources
from console.services.nixos_guests import needs
from console.services.plan import plan_differences, redefine, require_managed, start_refusal, volume_steps
from console.services.power import power_step
from console.services.wishes import PowerAction


def plan_edit(store: Store, key: GuestKey, after: Guest, mode: ApplyMode) -> Plan:
    """Return the plan that makes a guest `after`. Disks that are taken away stay on the host.

    LIVE refuses what a running guest cannot take, naming each fact. RESTART shuts the guest down and starts it.
    """
    view, host = store.guest(key), store.host(key.host)
    before = require_managed(view)
    fleet = with_host_resources(store.fleet, host, after)
    home = fleet.hosts[key.host]
    home = replace(home, guests={**home.guests, key.guest: after})
    fleet = replace(fleet, hosts={**fleet.hosts, key.host: home})
    plan = Plan(title=f"Edit {key}", warnings=needs(host.wanted, after, before))
    if after != before:
        plan = replace(plan, change=inventory_change(plan.title, store.fleet, fleet, taken_back=True))
    if host.seen.state is not HostState.UP or view.seen is None:
        return replace(plan, pending=(key,) if after != before else ())
    differences = plan_differences(fleet, fleet.hosts[key.host], key, after, view.seen)
    if mode is ApplyMode.LIVE:
        differences = _with_plugged(before, after, differences)
    steps = volume_steps(key.host, key, after, [d for n, d in after.disks.items() if n not in before.disks])
    defines = redefine(store.fleet, fleet, fleet.hosts[key.host], after, view.seen)
    running = view.seen.active_shape is not None
    refusals: list[str] = []
    if running and mode is ApplyMode.LIVE:
        live, refusals = _live_steps(fleet, key, before, after, view.seen, differences)
        steps += live
    steps += defines
    # Autostart is of no concern to a guest that runs already.
    late = view.restart_needed or any(difference.fact != "autostart" for difference in differences)
    restarts = running and mode is ApplyMode.RESTART and late
    if restarts:
        if why := start_refusal(host, after):
            refusals.append(f"{key} cannot be started again: {why}")
        steps += _restart(key, after, view.seen)
    if refusals:
        return replace(plan, change=None, differences=tuple(differences), refusals=tuple(refusals))
    return replace(
        plan,
        steps=tuple(steps),
        differences=tuple(differences),
        warnings=(*plan.warnings, *_kept(key, before, after)),
        danger=Danger.CONFIRM if restarts else Danger.NONE,
        confirm_word=key.guest,
    )


def _live_steps(
    fleet: Fleet, key: GuestKey, before: Guest, after: Guest, seen: GuestObservation, differences: list[Difference]
) -> tuple[list[Step], list[str]]:
    # The list of devices to boot from follows the devices; by itself it only matters at the next boot anyway.
    aside = {"boot", *(PINNED if _plugged(before, after) else ())}
    late = [d.fact for d in differences if d.when != ApplyMode.LIVE.value and d.fact not in aside]
    if late:
        why = f"{key} is running and cannot change {', '.join(late)} live. Choose next boot or restart."
        if any(len(each.functions) > 1 for each in _changed(before, after)):
            why += " A card of several functions is one slot of the guest's, which it gets when it starts."
        return [], [why]
    steps: list[Step] = []
    uuid = after.uuid
    if after.memory_kib < before.memory_kib:
        less, more = (SetMemory(uuid=uuid, memory_kib=guest.memory_kib) for guest in (after, before))
        steps.append(_live(key, f"give {key.guest} less memory now", less, more))
    old_disks = {f"disk {name}": disk_xml(fleet, before, disk) for name, disk in before.disks.items()}
    new_disks = {f"disk {name}": disk_xml(fleet, after, disk) for name, disk in after.disks.items()}
    old = old_disks | {f"card {name}": nic_xml(nic) for name, nic in before.nics.items()}
    new = new_disks | {f"card {name}": nic_xml(nic) for name, nic in after.nics.items()}
    plugged = _plugged(before, after)
    for place, each in enumerate(plugged):
        known = new if after.devices.get(each.name) == each else old
        known[f"device {each.name}"] = plug_xml(each, spare_port(before, place))
    for name in {**old, **new}:
        if old.get(name) == new.get(name):
            continue
        if name in old:
            unplug, back = DetachDevice(uuid=uuid, xml=old[name]), AttachDevice(uuid=uuid, xml=old[name])
            steps.append(_live(key, f"unplug {name}", unplug, back))
        if name in new:
            plug, out = AttachDevice(uuid=uuid, xml=new[name]), DetachDevice(uuid=uuid, xml=new[name])
            steps.append(_live(key, f"plug in {name}", plug, out))
    return steps, []


PINNED = frozenset({"cpu", "memoryBacking", "balloon"})
"""What a guest with devices has otherwise, from its next boot on: VFIO pins its memory without."""


def _changed(before: Guest, after: Guest) -> list[Device]:
    """Return the devices that go, then those that come."""
    old, new = before.devices, after.devices
    going = [device for name, device in old.items() if new.get(name) != device]
    return going + [device for name, device in new.items() if old.get(name) != device]


def _plugged(before: Guest, after: Guest) -> list[Device]:
    """Return those of them that can be plugged: whole devices of one function."""
    return [each for each in _changed(before, after) if len(each.functions) == 1 and not each.is_part]


def _with_plugged(before: Guest, after: Guest, differences: list[Difference]) -> list[Difference]:
    facts = {f"pci {each.pci}.{(each.function_numbers or (0,))[0]:x}" for each in _plugged(before, after)}
    return [replace(d, when=ApplyMode.LIVE.value) if d.fact in facts else d for d in differences]


def _live(key: GuestKey, sentence: str, verb: Verb, undo: Verb) -> Step:
    return Step(
        host=key.host, guest=key, sentence=sentence, verb=verb, undo=undo, undo_sentence=f"take back: {sentence}"
    )


def _restart(key: GuestKey, guest: Guest, seen: GuestObservation) -> list[Step]:
    start = Step(host=key.host, guest=key, sentence=f"start {key.guest}", verb=Start(uuid=guest.uuid), timeout_s=120.0)
    if seen.state is GuestState.RUNNING:
        return [power_step(key, guest.uuid, PowerAction.SHUTDOWN), start]
    return [power_step(key, guest.uuid, PowerAction.FORCE_OFF), start]


def _kept(key: GuestKey, before: Guest, after: Guest) -> tuple[str, ...]:
    gone = [name for name, disk in before.disks.items() if name not in after.disks and not disk.is_cdrom]
    return (f"disk {', '.join(gone)} stays on {key.host}.",) if gone else ()
