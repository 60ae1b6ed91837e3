"""qd, qd dashboard, demo, status, plan, apply."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from console.cli.output import plan_json, safe, show_json, show_plan
from console.cli.work import applied, hosts_down, run, see, see_devices, session_of, view_of
from console.domain.errors import FleetError
from console.domain.observed import GuestState, HostState
from console.domain.plan import Plan
from console.domain.standing import Standing
from console.services.view import View
from console.wiring import (
    demo_folder,
    inventory_folder,
    open_log,
    open_session,
    open_view,
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
        from console.cli.files import make_repository
        from console.services.change import write_generated

        write_generated(folder)
        asyncio.run(make_repository(folder, ["."], "Begin the demo", own=True))
    if options.path:
        print(folder)
        return 0
    return _screens(folder, options, read_only=False)


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
