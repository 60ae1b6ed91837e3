"""Plans for whole guests: what an apply would do, from the inventory and what the hosts report. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.model import Accel, Disk, Fleet, Guest, GuestKey, Host, ImageMode, SourceKind
from console.domain.move import inventory_change
from console.domain.observed import GuestObservation, GuestState, HostObservation, HostState
from console.domain.plan import ApplyMode, Danger, Difference, Plan, Step
from console.domain.shape import effect_of, shape_difference
from console.domain.standing import GuestView, HostView, Standing
from console.domain.verbs import CreateVolume, Define, DeleteVolume, ForceOff, SetAutostart, Start, Undefine
from console.generate.domain_xml import domain_xml, volume_name
from console.inventory.store import Store
from console.services.definitions import definition
from console.services.guests import with_host_resources
from console.services.host_needs import host_needs
from console.services.nixos_guests import from_base, needs
from console.services.passthrough import changed_device, running_owner
from console.services.resources import HardwareOf, known_hardware, picked, wishes

COPY_TIMEOUT_S = 3600.0
"""How long the copy of an image may take; an empty volume or an overlay takes milliseconds."""


def plan_create(store: Store, view: HostView, guest: Guest, *, start: bool, warnings: Sequence[str] = ()) -> Plan:
    """Return the plan that writes a new guest into the inventory and makes it on its host.

    The change is taken back when making it fails. A host that is down leaves the guest pending.
    """
    start = start and not from_base(guest)
    key = GuestKey(view.name, guest.name)
    title = f"Create {guest.name} on {view.name}"
    fleet = _with_guest(with_host_resources(store.fleet, view, guest), view, guest)
    change = inventory_change(f"Create {key}", store.fleet, fleet, taken_back=True)
    if view.seen.state is not HostState.UP:
        late = (
            ()
            if guest.autostart or not start
            else (f"It is not started by itself then. When it is up: qd guest start {key}",)
        )
        return Plan(title=title, change=change, pending=(key,), warnings=(*warnings, *late))
    steps = _make(fleet, fleet.hosts[view.name], view.seen, guest, start=start, new=True)
    if start and (why := _device_refusal(fleet.hosts[view.name], view, guest)):
        raise FleetError(f"{guest.name} was not created.", why, "Nothing was changed.")
    return Plan(title=title, change=change, steps=tuple(steps), warnings=tuple(warnings))


def plan_remove(store: Store, key: GuestKey, *, delete_disks: frozenset[str] = frozenset()) -> Plan:
    """Return the plan that forgets a guest. Its disks stay on the host unless their names are given."""
    view = store.guest(key)
    host = store.host(key.host)
    guest = require_managed(view)
    unknown = delete_disks - {name for name, disk in guest.disks.items() if not disk.is_cdrom}
    if unknown:
        raise FleetError(f"{key} has no disk {', '.join(sorted(unknown))}.", f"Its disks: {', '.join(guest.disks)}.")
    title = f"Remove {key}"
    change = inventory_change(title, store.fleet, _without_guest(store.fleet, key), taken_back=True)
    plan = Plan(title=title, change=change, danger=Danger.CONFIRM, confirm_word=key.guest)
    if host.seen.state is not HostState.UP:
        if view.seen is not None or delete_disks:
            raise FleetError(
                f"{key} was not removed.",
                f"{key.host} is not up: its domain and disks cannot be touched now.",
                "Try again when the host is back.",
            )
        why = f"{key.host} is not up: only the inventory changes. What is there shows as unmanaged when it is back."
        return replace(plan, warnings=(why,))
    if view.seen is not None and view.state is not GuestState.OFF:
        raise FleetError(f"{key} was not removed.", f"It is {view.state.value}.", "Shut it down or force it off first.")
    steps: list[Step] = []
    if view.seen is not None:
        if view.seen.autostart:
            # libvirt forgets it with the domain, so that taking back has to remember it.
            steps.append(autostart_step(key, guest.uuid, False))
        steps.append(
            Step(
                host=key.host,
                guest=key,
                sentence=f"undefine {key.guest}",
                verb=Undefine(uuid=guest.uuid),
                undo=Define(xml=domain_xml(store.fleet, host.wanted, guest)),
                undo_sentence=f"define {key.guest} again",
            )
        )
    present = _present_volumes(host.seen)
    kept = []
    for name, disk in guest.disks.items():
        volume, pool = volume_name(guest, disk), disk.pool
        if disk.is_cdrom or (pool, volume) not in present:
            continue
        if name in delete_disks:
            sentence = f"delete {volume} from pool {pool}, with its data"
            steps.append(Step(host=key.host, guest=key, sentence=sentence, verb=DeleteVolume(pool=pool, name=volume)))
        else:
            kept.append(volume)
    stay = f"{', '.join(kept)} {'stays' if len(kept) == 1 else 'stay'} on {key.host}."
    return replace(
        plan,
        steps=tuple(steps),
        danger=Danger.TYPE_NAME if delete_disks else Danger.CONFIRM,
        warnings=(stay,) if kept else (),
    )


def plan_fleet(store: Store, keys: Iterable[GuestKey], title: str, hardware: HardwareOf | None = None) -> Plan:
    """Return what makes these guests on their hosts as the inventory wants them; unmanaged ones are never in it.

    hardware: what is known of each host's devices; what libvirt tells of them when left out. A guest that wishes for
    a resource gets a device, which is written down beside the wish.

    Pending guests are made, and started if they start with their host. Changed ones are defined anew: what runs
    goes on running, and has the new definition at its next boot.
    """
    steps: list[Step] = []
    differences: list[Difference] = []
    refusals: list[str] = []
    warnings: list[str] = []
    pending: list[GuestKey] = []
    noted = store.fleet
    hosts: list[str] = []
    picks: list[str] = []
    for key in keys:
        view, host = store.guest(key), store.host(key.host)
        if view.standing is Standing.UNMANAGED or view.wanted is None:
            continue
        if host.seen.state is not HostState.UP:
            if view.standing is not Standing.IN_SYNC:
                pending.append(key)
            continue
        # How the host runs guests is part of every definition: it must be written down before the first one.
        fleet = frozen_facts(store.fleet, host) if host.wanted.accel is None else store.fleet
        guest = view.wanted
        try:
            if wishes(guest) and not (_runs(view) and guest.is_whole):
                found = picked(fleet.resources, host, known_hardware(store, host, hardware), guest)
                guest, reasons = found.guest, found.notes
                warnings += reasons
            if view.seen is None:
                made = _pending_steps(fleet, host, guest)
                warnings += needs(host.wanted, guest)
                if guest.devices:
                    warnings += host_needs(host.wanted, known_hardware(store, host, hardware), guest)
            elif view.standing is Standing.CHANGED or guest != view.wanted:
                made = redefine(store.fleet, fleet, fleet.hosts[host.name], guest, view.seen)
                differences += at_next_boot(plan_differences(fleet, fleet.hosts[host.name], key, guest, view.seen))
            else:
                continue
        except FleetError as error:
            refusals.append(f"{key}: {error.title} {error.detail}".strip())
            continue
        steps += made
        if guest != view.wanted:
            noted = with_guest(noted, key.host, guest)
            picks.append(str(key))
        if made and fleet != store.fleet and host.name not in hosts:
            # Later definitions must not differ by what the host reported when the first guest was made there.
            noted = frozen_facts(noted, host)
            hosts.append(host.name)
    done = [f"Pick devices for {', '.join(picks)}"] if picks else []
    done += [f"Note the hardware of {', '.join(hosts)}"] if hosts else []
    return Plan(
        title=title,
        change=inventory_change("; ".join(done), store.fleet, noted) if done else None,
        steps=tuple(steps),
        differences=tuple(differences),
        refusals=tuple(refusals),
        warnings=tuple(warnings),
        pending=tuple(pending),
    )


def with_guest(fleet: Fleet, host: str, guest: Guest) -> Fleet:
    """Return the fleet with a guest of this host as it is given."""
    home = fleet.hosts[host]
    return replace(fleet, hosts={**fleet.hosts, host: replace(home, guests={**home.guests, guest.name: guest})})


def redefine(before: Fleet, after: Fleet, host: Host, guest: Guest, seen: GuestObservation) -> list[Step]:
    """Return the steps that give an existing domain the definition of `guest`, as far as it differs."""
    key = GuestKey(host.name, guest.name)
    wanted = definition(after, host, guest)
    steps: list[Step] = []
    if (seen.digest, seen.inventory_id, seen.shape) != (wanted.digest, after.id, dict(wanted.shape)):
        old = before.hosts[host.name].guests.get(guest.name) if host.name in before.hosts else None
        undo = Define(xml=domain_xml(before, before.hosts[host.name], old)) if old and old != guest else None
        steps.append(
            Step(
                host=host.name,
                guest=key,
                sentence=f"define {guest.name} anew",
                verb=_define(after, host, guest),
                undo=undo,
                undo_sentence=f"define {guest.name} as it was",
            )
        )
    if seen.autostart is not None and seen.autostart != guest.autostart:
        steps.append(autostart_step(key, guest.uuid, guest.autostart))
    return steps


def autostart_step(key: GuestKey, uuid: str, on: bool) -> Step:
    """Return the step that switches autostart."""
    how = "start" if on else "no longer start"
    return Step(
        host=key.host,
        guest=key,
        sentence=f"{how} {key.guest} with its host",
        verb=SetAutostart(uuid=uuid, on=on),
        undo=SetAutostart(uuid=uuid, on=not on),
        undo_sentence=f"switch autostart of {key.guest} back",
    )


def at_next_boot(found: Iterable[Difference]) -> list[Difference]:
    """Return them as they are where a guest is only defined anew: what could be live waits too, but for autostart."""
    return [
        replace(each, when=ApplyMode.NEXT_BOOT.value)
        if each.when == ApplyMode.LIVE.value and each.fact != "autostart"
        else each
        for each in found
    ]


def plan_differences(fleet: Fleet, host: Host, key: GuestKey, guest: Guest, seen: GuestObservation) -> list[Difference]:
    """Return fact by fact what a new definition would change, and when it could at the earliest."""
    running = seen.active_shape is not None
    found = [
        Difference(guest=key, fact=fact, seen=old, wanted=new, when=effect_of(fact, old, new).value if running else "")
        for fact, old, new in shape_difference(definition(fleet, host, guest).shape, seen.shape)
    ]
    if seen.autostart is not None and seen.autostart != guest.autostart:
        words = {True: "on", False: "off"}
        found.append(
            Difference(
                guest=key, fact="autostart", seen=words[seen.autostart], wanted=words[guest.autostart], when="live"
            )
        )
    return found


def volume_steps(host: str, key: GuestKey, guest: Guest, disks: Iterable[Disk]) -> list[Step]:
    """Return the steps that create the volumes of disks."""
    steps = []
    for disk in disks:
        if disk.is_cdrom:
            continue
        volume, source = volume_name(guest, disk), disk.source
        is_image = source.kind is SourceKind.IMAGE
        copies = is_image and source.mode is ImageMode.COPY
        how = f" from {source.value} ({source.mode.value})" if is_image else ", empty"
        steps.append(
            Step(
                host=host,
                guest=key,
                sentence=f"create {volume} in pool {disk.pool}{how}",
                verb=CreateVolume(
                    pool=disk.pool,
                    name=volume,
                    capacity_bytes=disk.size_kib * 1024,
                    backing=source.value if is_image and not copies else None,
                    copy_of=source.value if copies else None,
                ),
                undo=DeleteVolume(pool=disk.pool, name=volume),
                undo_sentence=f"delete {volume} from pool {disk.pool}",
                timeout_s=COPY_TIMEOUT_S if copies else 60.0,
            )
        )
    return steps


def restore_steps(fleet: Fleet, view: HostView, guest: Guest) -> list[Step]:
    """Return the steps that make a guest on its host again, not started; volumes that are still there are kept."""
    _refuse_namesake(view, guest)
    return _make(fleet, fleet.hosts[view.name], view.seen, guest, start=False, new=False)


def require_managed(view: GuestView) -> Guest:
    """Return the wanted guest; raises FleetError for an unmanaged one, which is never touched."""
    if view.wanted is None:
        raise FleetError(
            f"{view.key} is unmanaged.",
            "It is on the host, but not in the inventory: Quarterdeck only shows it.",
            f"Write it into hosts/{view.key.host}.toml with its uuid {view.uuid} to manage it.",
        )
    return view.wanted


def start_refusal(view: HostView, guest: Guest) -> str:
    """Return why a guest must not be started now, empty when it may."""
    return _device_refusal(view.wanted, view, guest)


def _make(fleet: Fleet, host: Host, seen: HostObservation, guest: Guest, *, start: bool, new: bool) -> list[Step]:
    key = GuestKey(host.name, guest.name)
    present = _present_volumes(seen)
    missing = [d for d in guest.disks.values() if new or (d.pool, volume_name(guest, d)) not in present]
    steps = volume_steps(host.name, key, guest, missing)
    steps.append(
        Step(
            host=host.name,
            guest=key,
            sentence=f"define {guest.name}",
            verb=_define(fleet, host, guest),
            undo=Undefine(uuid=guest.uuid),
            undo_sentence=f"undefine {guest.name}",
        )
    )
    if guest.autostart:
        steps.append(autostart_step(key, guest.uuid, True))
    if start:
        steps.append(
            Step(
                host=host.name,
                guest=key,
                sentence=f"start {guest.name}",
                verb=Start(uuid=guest.uuid),
                undo=ForceOff(uuid=guest.uuid),
                undo_sentence=f"force {guest.name} off",
                timeout_s=120.0,
            )
        )
    return steps


def _define(fleet: Fleet, host: Host, guest: Guest) -> Define:
    """What was written by hand for a guest is checked by the host's schema; the rest is known to be sound."""
    for device in guest.devices.values():
        if not device.is_picked:
            raise FleetError(
                f"{guest.name} was not defined.",
                f"No {device.resource} was picked for its {device.name} yet: the devices of {host.name} are not known.",
                "Try again when the host has told its devices.",
            )
    return Define(xml=domain_xml(fleet, host, guest), validate=bool(guest.extra_xml))


def _present_volumes(seen: HostObservation) -> set[tuple[str, str]]:
    return {(pool.name, volume.name) for pool in (seen.facts.pools if seen.facts else ()) for volume in pool.volumes}


def _refuse_namesake(host: HostView, guest: Guest) -> None:
    for other in host.guests:
        if other.wanted is None and other.key.guest == guest.name:
            raise FleetError(
                f"an unmanaged domain on {host.name} has this name.",
                f"Its uuid is {other.uuid}, wanted is {guest.uuid}.",
            )


def _pending_steps(fleet: Fleet, host: HostView, guest: Guest) -> list[Step]:
    _refuse_namesake(host, guest)
    start = guest.autostart and not from_base(guest)
    if why := _device_refusal(host.wanted, host, guest) if start else "":
        raise FleetError(why)
    return _make(fleet, fleet.hosts[host.name], host.seen, guest, start=start, new=False)


def _runs(view: GuestView) -> bool:
    return view.seen is not None and view.seen.active_shape is not None


def _device_refusal(host: Host, view: HostView, guest: Guest) -> str:
    if taken := running_owner(view, guest):
        owner, device = taken
        return f"{device.pci} on {host.name} is in use by {owner} (running)."
    return changed_device(host, view.seen, guest)


def _with_guest(fleet: Fleet, view: HostView, guest: Guest) -> Fleet:
    fleet = frozen_facts(fleet, view)
    host = fleet.hosts.get(view.name)
    if host is None:
        raise FleetError(f"{view.name} is no longer in the inventory.")
    if guest.name in host.guests:
        raise FleetError(f"{view.name} already has a guest named {guest.name}.", "", "Choose another name.")
    return with_guest(fleet, host.name, guest)


def frozen_facts(fleet: Fleet, view: HostView) -> Fleet:
    """Return the fleet with what is kept of a host from its first guest on, as far as it reported that."""
    host, facts = fleet.hosts.get(view.name), view.seen.facts
    if host is None or facts is None:
        return fleet
    hardware = host.hardware
    if hardware.cpu is None and hardware.memory_kib is None and facts.accel is not Accel.TEST:
        # Whole MiB: the kernel's own share makes the exact figure wander between boots.
        memory = facts.memory_kib and facts.memory_kib // 1024 * 1024
        hardware = replace(hardware, cpu=facts.cpu_model, memory_kib=memory)
    known = replace(host, accel=host.accel or facts.accel, hardware=hardware)
    return replace(fleet, hosts={**fleet.hosts, host.name: known})


def _without_guest(fleet: Fleet, key: GuestKey) -> Fleet:
    host = fleet.hosts[key.host]
    guests = {name: guest for name, guest in host.guests.items() if name != key.guest}
    return replace(fleet, hosts={**fleet.hosts, host.name: replace(host, guests=guests)})
