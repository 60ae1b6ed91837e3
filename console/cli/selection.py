"""Which guests a command is for: those that are named, or those that a filter finds and the operator has counted."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace

from console.cli.output import counted, show_plan
from console.cli.work import applied, see, see_devices, see_guest
from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import Plan
from console.domain.values import shown
from console.inventory.filter import parse
from console.inventory.index import natural
from console.services.session import Session


def filter_text(options: Namespace) -> str:
    """Return the filter of a list command: its words, and what -l and -f were given."""
    parts = [*options.words, *(f"-l {label}" for label in options.labels), *(f"-f {each}" for each in options.letters)]
    return " ".join(parts)


async def carry_out_for_guests(session: Session, options: Namespace, make: Callable[[Sequence[GuestKey]], Plan]) -> int:
    """Make a plan for the chosen guests, apply it, print how it ended; return the exit status.

    With a filter the guests are shown first: it is done only when --yes says how many they are.
    """
    keys = await _chosen(session, options)
    keys = keys[: options.limit]
    await see_devices(session, {key.host: None for key in keys})
    plan = replace(make(keys), stop_after=options.stop_after)
    right = len(keys) == options.yes
    if not right and (options.filter is not None or options.yes is not None):
        show_plan(plan)
        said = "" if options.yes is None else f", not {options.yes}"
        raise FleetError(
            f"{'They are' if options.yes is not None else 'It would be done to'} {counted(len(keys), 'guest')}{said}.",
            ", ".join(map(str, keys)),
            f"Nothing was changed. To do it: --yes {len(keys)}",
        )
    return await applied(session, plan)


async def _chosen(session: Session, options: Namespace) -> list[GuestKey]:
    if (options.filter is None) == (not options.names):
        raise FleetError("Which guests?", "", "Name them, or describe them with --filter, not both.")
    if options.filter is None:
        return list(dict.fromkeys([await see_guest(session, name) for name in options.names]))
    match = parse(options.filter)
    if match is None:
        raise FleetError("An empty filter would mean every guest.", "", "Write --filter 'state:*' if you mean that.")
    await see(session)
    found = [guest.key for view in session.store.hosts() for guest in view.guests if match(view, guest)]
    if not found:
        raise FleetError(f"No guest matches {shown(options.filter)}.", "", "Nothing was changed.")
    return sorted(found, key=lambda key: (natural(key.host), natural(key.guest)))
