"""How a command works on the fleet: open the session, look at the hosts it needs, plan, apply, close."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from console.cli.output import safe, show_outcome
from console.domain.model import Guest, GuestKey
from console.domain.observed import HostState
from console.domain.plan import Plan
from console.services.resources import wishes
from console.services.session import Session
from console.services.view import View
from console.wiring import inventory_folder, open_session, open_view

OBSERVE_S = 10.0
"""How long a command waits for a host before it works with "down"."""


@contextlib.asynccontextmanager
async def session_of(options: Namespace, *, connect: bool = True) -> AsyncIterator[Session]:
    """Give the session of the chosen inventory, connected to its hosts or not, and close it."""
    session = open_session(inventory_folder(options.inventory))
    try:
        if connect:
            await session.start(follow=False)
        yield session
    finally:
        await session.close()


@contextlib.asynccontextmanager
async def view_of(options: Namespace) -> AsyncIterator[View]:
    """Give the chosen inventory to look at, connected to its hosts, and close it."""
    folder = inventory_folder(options.inventory)
    # Where changes are allowed a look shares the process, and so the connections, of a console that is open.
    view = open_view(folder) if options.read_only else open_session(folder)
    try:
        await view.start(follow=False)
        yield view
    finally:
        await view.close()


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine to its exit status."""
    return asyncio.run(work)


async def carry_out(session: Session, make: Callable[[], Plan]) -> int:
    """Make a plan, apply it, print how it ended; return the exit status."""
    return await applied(session, make())


async def applied(session: Session, plan: Plan) -> int:
    """Apply a plan, print how it ended; return the exit status. Who interrupts that leaves the job running."""
    try:
        outcome = await session.apply(plan)
    except asyncio.CancelledError:
        if not session.job:
            raise
        return goes_on(session.job, plan.title)
    return show_outcome(outcome, plan)


def goes_on(job: str, title: str) -> int:
    """Say that nobody waits for a job any more, and that it goes on; return the exit status."""
    print(f"qd: {safe(title)} goes on.", file=sys.stderr)
    print(f"    See it with: qd job follow {job}   End it with: qd job cancel {job}", file=sys.stderr)
    return 130


async def see(session: View, hosts: Iterable[str] | None = None) -> None:
    """Have the store know what these hosts (default: all) report now."""
    names = list(session.store.fleet.hosts if hosts is None else hosts)
    await session.observe(names, timeout_s=OBSERVE_S)


async def see_devices(session: View, hosts: Iterable[str] | None = None, *, all_of_them: bool = False) -> None:
    """Have it known what these hosts' kernels tell of devices, where a plan depends on it.

    It does for guests that wish for a device by a resource's name, or have a virtual function.
    """
    homes = [session.store.fleet.hosts[name] for name in (session.store.fleet.hosts if hosts is None else hosts)]
    asked = [home.name for home in homes if all_of_them or any(map(_asks, home.guests.values()))]
    await session.devices.read(asked, timeout_s=OBSERVE_S)


def _asks(guest: Guest) -> bool:
    return wishes(guest) or any(device.virtual_of for device in guest.devices.values())


async def see_guest(session: View, name: str) -> GuestKey:
    """Return the guest that a name means, its host observed. An unmanaged guest may be on any host."""
    host, slash, _ = name.rpartition("/")
    if slash:
        session.store.host(host)
        await see(session, [host])
        return session.store.resolve_guest(name)
    homes = [view.name for view in session.store.hosts() if name in view.wanted.guests]
    await see(session, homes if len(homes) == 1 else None)
    return session.store.resolve_guest(f"{homes[0]}/{name}" if len(homes) == 1 else name)


def hosts_down(session: View, names: Iterable[str] | None = None) -> list[str]:
    """Return a line for each of these hosts (default: all) that is not up, with the reason."""
    return [
        f"{view.name}: {view.seen.error or view.seen.state.value}"
        for view in map(session.store.host, session.store.fleet.hosts if names is None else names)
        if view.seen.state is not HostState.UP
    ]
