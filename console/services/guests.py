"""From what was typed for a guest to the guest: every field checked, defaults chosen, identity given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

from console.domain import model, values
from console.domain.checks import guest_breaches
from console.domain.errors import FleetError
from console.domain.hardware import HostHardware
from console.domain.model import Fleet, Guest, Host
from console.domain.observed import HostState
from console.domain.standing import HostView
from console.services.fields import Fields, one_of, parse_line, parse_vcpus
from console.services.guest_devices import devices_of, first_device, first_nic, nics_of
from console.services.guest_disks import check_volumes, disks_of, first_cd, system_disk
from console.services.nixos_guests import is_configuration, needs
from console.services.resources import picked
from console.services.windows import cautions, is_drivers, with_drivers
from console.services.wishes import BootChoice, GuestWish


def guest_of(
    fleet: Fleet,
    view: HostView,
    wish: GuestWish,
    editing: Guest | None = None,
    hardware: HostHardware | None = None,
) -> Guest:
    """Return the guest that was wished for. Raises FleetError that lists every problem.

    hardware: what is known of the host's devices, from which those that are asked for by name are picked.
    """
    guest, problems = _resolve(fleet, view, wish, editing, hardware)
    if problems or guest is None:
        name = values.shown(wish.name) if not values.NAME.match(wish.name) else wish.name
        raise FleetError(
            f"{name} was not {'changed' if editing else 'created'}.",
            "\n".join(f"{field}: {why}" for field, why in problems.items()),
            "Nothing was changed.",
        )
    return guest


def guest_problems(
    fleet: Fleet,
    view: HostView,
    wish: GuestWish,
    editing: Guest | None = None,
    hardware: HostHardware | None = None,
) -> dict[str, str]:
    """Return field -> sentence for everything that is wrong with the wish; empty when it can be made."""
    return _resolve(fleet, view, wish, editing, hardware)[1]


UEFI_LEAST_KIB = 256 * 1024
"""With 128 MiB OVMF stops before it looks for a disk; with 192 MiB it depends on the build."""


def guest_warnings(view: HostView, guest: Guest, editing: Guest | None = None) -> tuple[str, ...]:
    """Return what is allowed but worth a second thought."""
    warnings: list[str] = [*needs(view.wanted, guest, editing), *cautions(view, guest)]
    facts = view.seen.facts
    if guest.firmware is model.Firmware.UEFI and guest.memory_kib < UEFI_LEAST_KIB:
        memory = values.format_size_kib(guest.memory_kib)
        warnings.append(f"{memory} of memory is too little for UEFI: OVMF needs 256 MiB to boot.")
    if view.seen.state is not HostState.UP:
        warnings.append(f"{view.name} is not up now: {guest.name} stays pending until it is, and is applied.")
    if facts is None:
        return (*warnings, f"{view.name} has never reported: pools, networks and devices are taken on trust.")
    if facts.cpus is not None and guest.vcpus > facts.cpus:
        warnings.append(f"{guest.vcpus} vCPUs on a host with {facts.cpus} CPU{'' if facts.cpus == 1 else 's'}.")
    others = sum(
        g.wanted.memory_kib if g.wanted else g.seen.memory_kib or 0 if g.seen else 0
        for g in view.guests
        if g.key.guest != guest.name
    )
    if facts.memory_kib is not None and others + guest.memory_kib > facts.memory_kib:
        together, has = f"{(others + guest.memory_kib) / 1024**2:.1f}", f"{facts.memory_kib / 1024**2:.1f}"
        warnings.append(f"the guests of {view.name} would have {together} GiB of memory together; it has {has} GiB.")
    if view.wanted.accel is None and facts.accel is None:
        warnings.append(f"it is not known whether {view.name} has KVM; it is taken to have it.")
    pools = {pool.name: pool for pool in facts.pools}
    for disk in guest.disks.values():
        pool = pools.get(disk.pool)
        if pool and pool.available_bytes is not None and disk.size_kib * 1024 > pool.available_bytes:
            warnings.append(f"{disk.name} may grow larger than what is free in pool {pool.name} now.")
    boots = [guest.disks[name] for kind, _, name in (b.partition(":") for b in guest.boot) if kind == "disk"]
    only_disks = editing is None and guest.kernel is None and not any(b.startswith("nic:") for b in guest.boot)
    if only_disks and boots and all(disk.source.kind is model.SourceKind.EMPTY for disk in boots):
        warnings.append("the disk is empty: nothing will boot until something is installed on it.")
    return tuple(warnings)


def wish_of(host: str, guest: Guest) -> GuestWish:
    """Return the wish that an existing guest answers, for editing: a field that stays leaves the guest as it is."""
    disk, cd = system_disk(guest), first_cd(guest)
    nic, device = first_nic(guest), first_device(guest)
    image = disk.source if disk and disk.source.kind is model.SourceKind.IMAGE else None
    if guest.kernel:
        boot = BootChoice.KERNEL
    elif cd:
        boot = BootChoice.ISO
    elif guest.boot and guest.boot[0].startswith("nic:"):
        boot = BootChoice.PXE
    else:
        boot = BootChoice.IMAGE if image else BootChoice.EMPTY
    return GuestWish(
        host=host,
        name=guest.name,
        kind=guest.kind.value,
        vcpus=str(guest.vcpus),
        memory=values.format_size_kib(guest.memory_kib),
        disk=values.format_size_kib(disk.size_kib) if disk else "",
        pool=disk.pool if disk else "",
        network=nic.network if nic else "none",
        address=(nic.address or "") if nic else "",
        mac=nic.mac if nic else "",
        gpu=device.resource or device.pci if device else "",
        boot=boot,
        image=image.value if image else "",
        image_mode=image.mode.value if image else "overlay",
        iso=cd.source.value if cd else "",
        kernel=guest.kernel.path if guest.kernel else "",
        initrd=(guest.kernel.initrd or "") if guest.kernel else "",
        cmdline=guest.kernel.cmdline if guest.kernel else "",
        cpus=guest.cpus,
        numa="" if guest.numa is None else str(guest.numa),
        hugepages=values.format_size_kib(guest.hugepages_kib) if guest.hugepages_kib else "",
        profile=guest.profile.value,
        firmware=guest.firmware.value,
        display=guest.display.value,
        autostart=guest.autostart,
        description=guest.description,
    )


def with_host_resources(fleet: Fleet, view: HostView, guest: Guest) -> Fleet:
    """Return the fleet with the networks and pools that the guest uses and only the host knew so far."""
    facts = view.seen.facts
    networks, pools = dict(fleet.networks), dict(fleet.pools)
    for nic in guest.nics.values():
        found = next((n for n in facts.networks if n.name == nic.network), None) if facts else None
        if nic.network not in networks and found is not None and found.bridge:
            networks[nic.network] = model.Network(name=nic.network, bridge=found.bridge)
    for disk in guest.disks.values():
        pool = next((p for p in facts.pools if p.name == disk.pool), None) if facts else None
        if disk.pool not in pools and pool is not None and pool.path:
            pools[disk.pool] = model.Pool(name=disk.pool, path=pool.path)
    return replace(fleet, networks=networks, pools=pools)


def _state_version(fleet: Fleet, old: Guest, kind: model.Kind) -> str | None:
    """Return the release of a guest's first installation: that of the day on which it becomes a NixOS guest."""
    becomes = kind is model.Kind.NIXOS and (not old.name or old.kind is not kind)
    return old.state_version or (fleet.state_version if becomes else None)


def _resolve(
    fleet: Fleet, view: HostView, wish: GuestWish, editing: Guest | None, hardware: HostHardware | None
) -> tuple[Guest | None, dict[str, str]]:
    fields = Fields()
    old = editing or Guest(name="", uuid=str(uuid.uuid4()), vcpus=1, memory_kib=1)
    was = wish_of(view.name, editing) if editing is not None else None

    def changed(*names: str) -> bool:
        """What is not touched is not judged either: it may have been written by hand, for reasons of its own."""
        return was is None or any(getattr(wish, name) != getattr(was, name) for name in names)

    name = fields.parse("name", wish.name.strip(), values.parse_name, "")
    _check_name(fields, view, name, editing)
    kind = fields.parse("kind", wish.kind, one_of(model.Kind), model.Kind.PLAIN)
    if kind is model.Kind.NIXOS and changed("kind", "name"):
        _check_machine(fields, fleet, name, old)
    disks = dict(old.disks)
    if changed("disk", "pool", "boot", "image", "image_mode", "iso"):
        disks = disks_of(fields, fleet, view, wish, old, was)
    profile = fields.parse("profile", wish.profile, one_of(model.Profile), model.Profile.GENERIC)
    if profile is model.Profile.WINDOWS and changed("profile", "drivers"):
        disks = with_drivers(fields, view, wish.drivers.strip(), disks)
    nics = nics_of(fields, fleet, view, wish, old, changed)
    devices = devices_of(fields, fleet, view, wish, old) if changed("gpu") else old.devices
    guest = replace(
        old,
        name=name,
        kind=kind,
        profile=profile,
        cpus=fields.parse("cpus", _given(wish.cpus), values.parse_cpu_list, ""),
        numa=fields.parse("numa", node, values.parse_node, 0) if (node := _given(wish.numa)) else None,
        hugepages_kib=fields.parse("hugepages", pages, values.parse_size_kib, 0)
        if (pages := _given(wish.hugepages))
        else 0,
        state_version=_state_version(fleet, old, kind),
        vcpus=fields.parse("vcpus", wish.vcpus.strip(), parse_vcpus, 1),
        memory_kib=fields.parse("memory", wish.memory, values.parse_size_kib, 1),
        firmware=fields.parse("firmware", wish.firmware, one_of(model.Firmware), model.Firmware.BIOS),
        display=fields.parse("display", wish.display, one_of(model.Display), model.Display.NONE),
        autostart=wish.autostart,
        description=fields.parse("description", wish.description, parse_line, ""),
        kernel=_kernel(fields, wish) if changed("boot", "kernel", "initrd", "cmdline") else old.kernel,
        disks=disks,
        nics=nics,
        devices=devices,
        boot=_boot(old, wish, was, disks, nics, devices),
    )
    if changed("gpu") or not guest.is_whole:
        guest = _with_picks(fields, fleet, view, hardware, guest)
    facts = view.seen.facts
    if facts and facts.memory_kib is not None and guest.memory_kib > facts.memory_kib and changed("memory"):
        has = values.format_size_kib(facts.memory_kib // 1024 * 1024)
        fields.blame("memory", f"{view.name} has only {has}.")
    if guest.firmware is model.Firmware.UEFI and facts and facts.uefi is False and changed("firmware"):
        fields.blame("firmware", f"{view.name} has no UEFI firmware for guests. Choose bios.")
    if wish.boot is BootChoice.PXE and not nics and changed("boot", "network"):
        fields.blame("network", "booting from the network needs a network.")
    if not fields.problems:
        check_volumes(fields, view, guest, old)
        _check_fleet(fields, with_host_resources(fleet, view, guest), view.wanted, guest)
    return guest, fields.problems


def _with_picks(fields: Fields, fleet: Fleet, view: HostView, hardware: HostHardware | None, guest: Guest) -> Guest:
    if hardware is None and view.seen.state is not HostState.UP:
        return guest  # it stays pending, and what it wishes for is picked when its host is up
    try:
        return picked(fleet.resources, view, hardware, guest).guest
    except FleetError as error:
        fields.blame("gpu", " ".join(part for part in (error.title, error.detail, error.hint) if part))
        return guest


def _given(text: str) -> str:
    return "" if text.strip() == "none" else text.strip()


def _check_name(fields: Fields, view: HostView, name: str, editing: Guest | None) -> None:
    if editing is not None:
        if name and name != editing.name:
            fields.blame("name", "a guest cannot be renamed here: its disks carry its name.")
        return
    for other in view.guests if name else ():
        if other.key.guest == name:
            what = "an unmanaged guest" if other.wanted is None else "a guest"
            fields.blame("name", f"{view.name} already has {what} named {name}. Choose another name.")


def _check_machine(fields: Fields, fleet: Fleet, name: str, old: Guest) -> None:
    """A NixOS guest is a machine: its name is its file's, and no other machine's in the fleet."""
    for host in fleet.hosts.values():
        if host.name == name:
            fields.blame("name", "a host has this name; a NixOS guest is a machine like it. Choose another.")
        for other in host.guests.values():
            if other.name == name and other.kind is model.Kind.NIXOS and other.uuid != old.uuid:
                fields.blame(
                    "name",
                    f"{host.name}/{name} is a NixOS guest, and no other machine has its name. Choose another.",
                )


def _kernel(fields: Fields, wish: GuestWish) -> model.Kernel | None:
    if wish.boot is not BootChoice.KERNEL:
        return None
    if not wish.kernel:
        fields.blame("kernel", "is missing. Write the path of a kernel on the host, such as /boot/vmlinuz.")
    path = fields.parse("kernel", wish.kernel or "/", values.parse_absolute_path, "/")
    initrd = fields.parse("initrd", wish.initrd, values.parse_absolute_path, "/") if wish.initrd else None
    return model.Kernel(path=path, initrd=initrd, cmdline=fields.parse("cmdline", wish.cmdline, parse_line, ""))


def _boot(
    old: Guest,
    wish: GuestWish,
    was: GuestWish | None,
    disks: Mapping[str, model.Disk],
    nics: Mapping[str, model.Nic],
    devices: Mapping[str, model.Device],
) -> tuple[str, ...]:
    """The disk first when it has something on it; an empty one only falls through to the CD or the network."""
    if was is not None and was.boot is wish.boot:
        gone = {f"disk:{name}" for name in old.disks.keys() - disks.keys()}
        gone |= {f"nic:{name}" for name in old.nics.keys() - nics.keys()}
        gone |= {f"device:{name}" for name in old.devices.keys() - devices.keys()}
        new = (f"disk:{name}" for name, disk in disks.items() if name not in old.disks and not is_drivers(disk))
        return (*(entry for entry in old.boot if entry not in gone), *new)
    hard = [f"disk:{name}" for name, disk in disks.items() if not disk.is_cdrom]
    extra = {name for name, disk in disks.items() if is_configuration(disk) or is_drivers(disk)}
    cds = [f"disk:{name}" for name, disk in disks.items() if disk.is_cdrom and name not in extra]
    cards = [f"nic:{name}" for name in nics]
    if wish.boot is BootChoice.PXE:
        return tuple(cards + hard)
    return tuple(hard + cds)


def _check_fleet(fields: Fields, fleet: Fleet, host: Host, guest: Guest) -> None:
    """What only the whole fleet knows: addresses and MACs that are taken, references, boot order."""
    field_of = {
        "cpus": "vcpus",
        "hugepages": "memory",
        "profile": "firmware",
        "address": "address",
        "mac": "mac",
        "pool": "pool",
        "network": "network",
        "boot": "boot",
    }
    for path, why in guest_breaches(fleet, guest):
        fields.blame(field_of.get(path[-1], "name"), why)
    for other_host in fleet.hosts.values():
        macs = {other_host.mac: other_host.name}
        addresses = {other_host.address.partition("/")[0]: other_host.name}
        for other in other_host.guests.values():
            if other.uuid == guest.uuid:
                continue
            for nic in other.nics.values():
                macs[nic.mac] = f"{other_host.name}/{other.name}"
                if nic.address:
                    addresses[nic.address.partition("/")[0]] = f"{other_host.name}/{other.name}"
        for nic in guest.nics.values():
            if nic.mac in macs:
                fields.blame("mac", f"{nic.mac} already belongs to {macs[nic.mac]}.")
            if nic.address and (ip := nic.address.partition("/")[0]) in addresses:
                fields.blame("address", f"{ip} already belongs to {addresses[ip]}.")
