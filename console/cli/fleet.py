"""qd, qd dashboard, demo, init, check, status, plan, apply, generate."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import uuid
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from console.cli.output import counted, plan_json, safe, show_json, show_plan
from console.cli.work import applied, hosts_down, run, see, see_devices, session_of, view_of
from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.observed import GuestState, HostState
from console.domain.plan import Plan
from console.domain.standing import Standing
from console.domain.values import shown
from console.services.view import View
from console.wiring import (
    demo_folder,
    inventory_folder,
    open_log,
    open_session,
    open_view,
    repository,
    safe_name,
    user_path,
)


def open_console(options: Namespace) -> int:
    """qd: the console on the chosen inventory."""
    return _screens(inventory_folder(options.inventory), options, read_only=options.read_only)


def dashboard(options: Namespace) -> int:
    """qd dashboard: the chosen inventory on a spare screen."""
    _need_terminal()
    view = open_view(inventory_folder(options.inventory))
    from console.cli.own import own_theme
    from screens.dashboard import DashboardApp

    app = DashboardApp(view)
    own_theme(app, options)
    return app.show()


def demo(options: Namespace) -> int:
    """qd demo: the console on a scratch copy of the demo fleet."""
    folder = demo_folder(fresh=options.fresh)
    if not (folder / ".git").exists():
        from console.services.change import write_generated

        write_generated(folder)
        asyncio.run(_make_repository(folder, ["."], "Begin the demo", own=True))
    if options.path:
        print(folder)
        return 0
    return _screens(folder, options, read_only=False)


def init(options: Namespace) -> int:
    """qd init DIR: a new inventory in a git repository."""
    from console.generate.nix import flake_nix
    from console.inventory.edit import new_text
    from console.inventory.files import FLEET_FILE
    from console.inventory.sharing import make_folder, share_folder
    from console.inventory.tables import fleet_table
    from console.inventory.writing import write_files

    folder = user_path(options.folder)
    if (folder / FLEET_FILE).exists():
        raise FleetError(f"{folder} already holds an inventory.", "", f"Open it with: qd --inventory {folder}")
    name = options.name or safe_name(folder.name)
    fleet = Fleet(name=safe_name(name), id=str(uuid.uuid4()))
    if options.name and fleet.name != options.name:
        raise FleetError(f"{shown(options.name)} is not a name.", "", "Use letters, digits, '-', '_' or '.'.")
    heading = f"{fleet.name}: a fleet of NixOS hypervisors, kept by Quarterdeck (qd). Edit it by hand or with qd."
    try:
        if options.shared:
            share_folder(folder, options.shared)
        make_folder(folder / "hosts")
    except OSError as error:
        raise FleetError(f"{folder} was not made.", f"{error.strerror} ({error.filename}).") from None
    files: dict[str, str | None] = {FLEET_FILE: new_text(fleet_table(fleet), heading)}
    if not (folder / "flake.nix").exists():
        files["flake.nix"] = flake_nix(fleet)
    write_files(folder, files)
    begin = f"Begin the inventory of {fleet.name}"
    asyncio.run(_make_repository(folder, list(files), begin, shared=bool(options.shared)))
    print(f"Made {folder}. Add the first host with:")
    print(f"  qd --inventory {folder} host add NAME --mac MAC --address CIDR")
    if options.shared:
        print(f"Each other member of {options.shared} says once that git may trust it:")
        print(f"  git config --global --add safe.directory {shlex.quote(str(folder))}")
    return 0


async def _make_repository(
    folder: Path, files: list[str], message: str, *, own: bool = False, shared: bool = False
) -> None:
    git = repository()
    try:
        await git.init(folder, own=own, shared=shared)
        await git.commit(folder, files, message)
    except FleetError as error:
        print(f"qd: {error.title} The inventory works without history.", file=sys.stderr)


def check(options: Namespace) -> int:
    """qd check: every mistake of every file."""
    from console.inventory.files import read_inventory

    inventory = read_inventory(inventory_folder(options.inventory))
    inventory.require_sound()
    guests = sum(len(host.guests) for host in inventory.fleet.hosts.values())
    hosts = counted(len(inventory.fleet.hosts), "host")
    print(f"{inventory.fleet.name}: {hosts}, {counted(guests, 'guest')}, no mistakes.")
    return 0


def status(options: Namespace) -> int:
    """qd status: the fleet in short."""

    async def work() -> int:
        async with view_of(options) as session:
            await see(session)
            hosts = session.store.hosts()
            guests = [guest for host in hosts for guest in host.guests]
            count = {
                "hosts": len(hosts),
                "hosts_up": sum(host.seen.state is HostState.UP for host in hosts),
                "guests": len(guests),
                "guests_running": sum(guest.state is GuestState.RUNNING for guest in guests),
                **{s.value.replace(" ", "_"): sum(g.standing is s for g in guests) for s in Standing},
            }
            if options.json:
                faults = [str(fault) for fault in session.store.faults]
                show_json({"name": session.store.fleet.name, **count, "down": hosts_down(session), "faults": faults})
                return 0
            print(
                f"{session.store.fleet.name}: hosts {count['hosts_up']}/{count['hosts']} up, "
                f"guests {count['guests_running']}/{count['guests']} running, "
                f"{count['pending']} pending, {count['changed']} changed, {count['unmanaged']} unmanaged"
            )
            for line in [*hosts_down(session), *(str(fault) for fault in session.store.faults)]:
                print(f"  {safe(line)}")
            return 0

    return run(work())


async def _planned(session: View, what: str | None) -> Plan:
    if what is None:
        await see(session)
        await see_devices(session)
        return session.plan_fleet()
    if what in session.store.fleet.hosts:
        await see(session, [what])
        await see_devices(session, [what])
        return session.plan_fleet(host=what)
    from console.cli.work import see_guest

    key = await see_guest(session, what)
    await see_devices(session, [key.host])
    return session.plan_fleet(guest=key)


def plan(options: Namespace) -> int:
    """qd plan [HOST|GUEST]: what an apply would change."""

    async def work() -> int:
        async with view_of(options) as session:
            session.store.inventory.require_sound()
            made = await _planned(session, options.what)
            show_json(plan_json(made)) if options.json else show_plan(made)
            return 0

    return run(work())


def apply(options: Namespace) -> int:
    """qd apply [HOST|GUEST]: make it so."""

    async def work() -> int:
        async with session_of(options) as session:
            session.store.inventory.require_sound()
            made = await _planned(session, options.what)
            if not made.is_empty or made.pending:
                # Refusals and warnings are told with the outcome, on stderr.
                show_plan(replace(made, refusals=(), warnings=()))
            return await applied(session, made)

    return run(work())


def generate(options: Namespace) -> int:
    """qd generate [--check | --overwrite]: the generated files from the inventory."""
    from console.services.change import regenerate

    folder = inventory_folder(options.inventory)
    if options.check:
        return _check_generated(folder)
    done = asyncio.run(regenerate(folder, repository(), overwrite=options.overwrite))
    if done.warning:
        print(f"qd: {safe(done.warning)}", file=sys.stderr)
    print(f"{counted(len(done.files), 'file')} written." if done.files else "Nothing to write: all is up to date.")
    return 0


def export(options: Namespace) -> int:
    """qd export HOST: it as one NixOS module that needs neither the library nor the inventory."""
    from console.generate.plain_module import plain_module
    from console.inventory.files import read_inventory

    inventory = read_inventory(inventory_folder(options.inventory))
    inventory.require_sound()
    hosts = inventory.fleet.hosts
    if options.host not in hosts:
        known = ", ".join(hosts) or "none yet"
        raise FleetError(f"There is no host {shown(options.host)} in the inventory.", f"Known hosts: {known}.")
    sys.stdout.write(plain_module(inventory.fleet, hosts[options.host]))
    return 0


def _check_generated(folder: Path) -> int:
    from console.services.change import generated_findings

    found = generated_findings(folder)
    for file in found.stale_diffs():
        sys.stdout.write(safe(file.diff))
    for file in found.edited_diffs():
        print(f"{file.name} was edited by hand, from what the inventory says (-) to what is there (+):")
        sys.stdout.write(safe(file.diff))
    for name in found.foreign:
        print(f"{name} is of no machine, and not written by Quarterdeck: it is left alone.")
    if not found.stale and not found.edited:
        return 0
    lines = [f"{name}: stale. Write it with: qd generate" for name in found.stale]
    lines += [
        f"{name}: edited by hand. Keep the edit in machines/{name.rpartition('/')[2]}, or give it up: "
        "qd generate --overwrite"
        for name in found.edited
    ]
    count = counted(len(found.stale) + len(found.edited), "generated file")
    raise FleetError(f"{count} not as the inventory says.", "\n".join(lines))


def _screens(folder: Path, options: Namespace, *, read_only: bool) -> int:
    _need_terminal()
    # The demo's folder is another than the one that was chosen.
    open_log(folder)
    session = open_view(folder) if read_only else open_session(folder)
    from console.cli.own import own_keys, own_theme
    from screens.app import QuarterdeckApp

    app = QuarterdeckApp(session)
    own_keys(app)
    own_theme(app, options)
    return app.show()


def _need_terminal() -> None:
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise FleetError(
            "This terminal cannot show the console.",
            f"TERM is {os.environ.get('TERM', '') or 'not set'}.",
            "Set TERM (for example TERM=xterm-256color), or use the commands: qd --help",
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise FleetError(
            "The console needs a terminal.", "Input or output is not one.", "Use the commands instead: qd --help"
        )
