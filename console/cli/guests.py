"""qd guest ..."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

from console.cli import views
from console.cli.output import show_facts, show_faults, show_json, show_table
from console.cli.selection import carry_out_for_guests, filter_text
from console.cli.work import carry_out, run, see, see_devices, see_guest, session_of, view_of
from console.domain.errors import FleetError
from console.domain.model import Disk, Guest
from console.domain.plan import ApplyMode
from console.domain.values import format_size_kib
from console.inventory.filter import parse
from console.services.wishes import BootChoice, GuestWish, PowerAction


def create(options: Namespace) -> int:
    """qd guest create NAME --host HOST ..."""
    wish = _with_facts(
        GuestWish(
            host=options.host,
            name=options.name,
            vcpus=options.vcpus,
            memory=options.memory,
            disk=options.disk or "",
            pool=options.pool or "",
            mac=options.mac or "",
        ),
        options,
    )

    async def work() -> int:
        async with session_of(options) as session:
            session.store.host(options.host)
            await see(session, [options.host])
            await see_devices(session, [options.host], all_of_them=bool(options.gpu or options.accept))
            return await carry_out(session, lambda: session.plan_create(wish, start=options.start))

    return run(work())


def set_guest(options: Namespace) -> int:
    """qd guest set NAME ..."""

    async def work() -> int:
        async with session_of(options) as session:
            guest = await see_guest(session, options.name)
            await see_devices(session, [guest.host], all_of_them=bool(options.gpu or options.accept))
            wish = session.wish_of(guest)
            given = {name: value for name in ("vcpus", "memory") if (value := getattr(options, name)) is not None}
            wish = replace(wish, **given)
            mode = ApplyMode(options.apply.replace("-", " "))
            return await carry_out(session, lambda: session.plan_edit(guest, _with_facts(wish, options), mode))

    return run(work())


def power(options: Namespace) -> int:
    """qd guest start|shutdown|force-off|reboot|reset|suspend|resume NAME..."""

    async def work() -> int:
        async with session_of(options) as session:
            action = PowerAction(options.action)
            return await carry_out_for_guests(session, options, lambda keys: session.plan_power(keys, action))

    return run(work())


def autostart(options: Namespace) -> int:
    """qd guest autostart NAME... on|off"""

    async def work() -> int:
        async with session_of(options) as session:
            on = options.switch == "on"
            return await carry_out_for_guests(session, options, lambda keys: session.plan_autostart(keys, on))

    return run(work())


def remove(options: Namespace) -> int:
    """qd guest remove NAME [--delete-disk DISK]..."""

    async def work() -> int:
        async with session_of(options) as session:
            guest = await see_guest(session, options.name)
            disks = frozenset(options.delete_disk)
            return await carry_out(session, lambda: session.plan_remove(guest, delete_disks=disks))

    return run(work())


def list_guests(options: Namespace) -> int:
    """qd guest list [--host HOST] [FILTER...]"""
    match = parse(filter_text(options))

    async def work() -> int:
        async with view_of(options) as session:
            hosts = [session.store.host(options.host).name] if options.host else list(session.store.fleet.hosts)
            await see(session, hosts)
            show_faults(session.store.faults)
            views_of = [session.store.host(name) for name in sorted(hosts)]
            guests = [guest for view in views_of for guest in view.guests if match is None or match(view, guest)]
            if options.json:
                show_json([views.guest_json(view) for view in guests])
            elif guests:
                heads = ["HOST", "NAME", "STATE", ">VCPUS", ">MEMORY", ">CPU", "ADDRESS", "NOTES"]
                show_table(heads, [views.guest_row(view, session.store.clock()) for view in guests])
            elif match is not None:
                print("No guest matches.")
            else:
                print("No guests yet. Create one with: qd guest create NAME --host HOST --vcpus N --memory SIZE ...")
            return 0

    return run(work())


def show(options: Namespace) -> int:
    """qd guest show NAME"""

    async def work() -> int:
        async with view_of(options) as session:
            view = session.store.guest(await see_guest(session, options.name))
            data = views.guest_json(view)
            if options.json:
                show_json(data)
                return 0
            wanted = view.wanted
            state = views.guest_row(view, session.store.clock())[2]
            show_facts(
                [
                    ("name", str(view.key)),
                    ("state", state if view.answers else f"{state}, no answer"),
                    ("standing", view.standing.value + (", restart needed" if view.restart_needed else "")),
                    ("uuid", view.uuid),
                    ("vcpus", str(data["vcpus"] or "—")),
                    ("memory", format_size_kib(data["memory_mib"] * 1024) if data["memory_mib"] else "—"),
                    *(("address", f"{a.address} ({a.source.value})") for a in view.addresses),
                    *(("disk", f"{d.name} {d.target} {d.source.kind} {d.source.value}") for d in _disks(wanted)),
                    *(("device", slot) for slot in data["devices"]),
                    *(
                        (d.fact, f"{d.seen or '—'} → {d.wanted or '—'}")
                        for d in (session.plan_fleet(guest=view.key).differences if wanted else ())
                    ),
                ]
            )
            return 0

    return run(work())


def _disks(wanted: Guest | None) -> list[Disk]:
    return list(wanted.disks.values()) if wanted else []


def _with_facts(wish: GuestWish, options: Namespace) -> GuestWish:
    """Return the wish with the options that create and set share."""
    given: dict[str, Any] = {
        name: value
        for name in (
            "kind",
            "network",
            "address",
            "gpu",
            "cpus",
            "numa",
            "hugepages",
            "profile",
            "drivers",
            "firmware",
            "display",
            "description",
            "image_mode",
            "initrd",
            "cmdline",
        )
        if (value := getattr(options, name)) is not None
    }
    if given.get("profile") == "windows":
        given.setdefault("firmware", "uefi")  # Windows is started by nothing else
    if options.accept:
        given["accept"] = ",".join(options.accept)
    if options.autostart is not None:
        given["autostart"] = options.autostart == "on"
    if options.iso is not None:
        given |= {"boot": BootChoice.ISO, "iso": options.iso}
    elif options.image is not None:
        given |= {"boot": BootChoice.IMAGE, "image": options.image}
    elif options.kernel is not None:
        given |= {"boot": BootChoice.KERNEL, "kernel": options.kernel}
    elif options.pxe:
        given |= {"boot": BootChoice.PXE}
    elif options.empty:
        given |= {"boot": BootChoice.EMPTY}
    wished = replace(wish, **given)
    for option, needed, boot in (
        ("initrd", "kernel", BootChoice.KERNEL),
        ("cmdline", "kernel", BootChoice.KERNEL),
        ("image_mode", "image", BootChoice.IMAGE),
    ):
        if getattr(options, option) is not None and wished.boot is not boot:
            flag = f"--{option.replace('_', '-')}"
            raise FleetError(f"{flag} goes with --{needed}.", "", f"Give --{needed} as well, or leave {flag} out.")
    return wished
