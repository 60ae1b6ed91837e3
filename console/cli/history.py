"""qd history, qd undo: what was changed, by whom, when; and the last change undone."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from dataclasses import replace

from console.cli.output import safe, show_json, show_plan, show_table
from console.cli.work import applied, run, see, session_of
from console.domain.errors import FleetError
from console.wiring import inventory_folder, repository


def history(options: Namespace) -> int:
    """qd history [-n N] [--json]"""
    if options.limit < 1:
        raise FleetError("-n must be 1 or more.")
    commits = asyncio.run(repository().log(inventory_folder(options.inventory), options.limit))
    if options.json:
        show_json(
            [
                {
                    "commit": each.id,
                    "at": each.at.isoformat(),
                    "who": each.who,
                    "what": each.subject,
                    "by_quarterdeck": each.ours,
                }
                for each in commits
            ]
        )
    elif commits:
        rows = [
            [each.short, f"{each.at:%Y-%m-%d %H:%M}Z", each.who, each.subject + ("" if each.ours else "  (by hand)")]
            for each in commits
        ]
        show_table(["COMMIT", "WHEN", "WHO", "WHAT"], rows)
    else:
        print("No history: the inventory is in no git repository, or nothing is committed yet.")
    return 0


def show(options: Namespace) -> int:
    """qd history show COMMIT"""
    diff = asyncio.run(repository().diff(inventory_folder(options.inventory), options.commit))
    print(safe(diff), end="")
    return 0


def undo(options: Namespace) -> int:
    """qd undo [--plan]"""

    async def work() -> int:
        async with session_of(options) as session:
            last = await session.last_change()
            await see(session, [name for name in last.hosts if name in session.store.fleet.hosts])
            plan = session.plan_undo(last)
            if options.plan:
                show_plan(await session.preview(plan))
                return 0
            show_plan(replace(plan, refusals=(), warnings=()))
            return await applied(session, plan)

    return run(work())
