"""qd doctor: what is missing or wrong on this machine, and how to mend it."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path

from console.cli.output import safe, show_json
from console.cli.work import see
from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.observed import HostState
from console.inventory.files import Inventory, read_inventory
from console.services import doctor as checks
from console.services.change import generated_findings
from console.services.doctor import SIGNS, Finding, Mark
from console.wiring import clocks_ahead_s, inventory_folder, machine, open_session, repository, sharing


def doctor(options: Namespace) -> int:
    """qd doctor [--json]"""
    folder = inventory_folder(options.inventory)
    findings = asyncio.run(_findings(folder))
    bad = sum(finding.mark is Mark.BAD for finding in findings)
    if options.json:
        show_json(
            [
                {"mark": each.mark.value, "what": each.what, "sentence": each.sentence, "remedy": each.remedy}
                for each in findings
            ]
        )
        return 1 if bad else 0
    width = max(len(finding.what) for finding in findings)
    for each in findings:
        remedy = f"  → {each.remedy}" if each.remedy else ""
        print(safe(f"{SIGNS[each.mark]} {each.what:{width}}  {each.sentence}{remedy}".replace("\n", " ")))
    warnings = sum(finding.mark is Mark.WARN for finding in findings)
    print(f"{bad} to mend, {warnings} to know." if bad or warnings else "Nothing is wrong.")
    return 1 if bad else 0


async def _findings(folder: Path) -> list[Finding]:
    inventory, failure = _read(folder)
    fleet = inventory.fleet if inventory else None
    findings = checks.machine_findings(await machine(folder), fleet)
    findings += checks.inventory_findings(str(folder), failure, inventory.faults if inventory else ())
    if inventory is None:
        return findings
    try:
        findings += checks.repository_findings(str(folder), await repository().standing(folder))
    except FleetError as error:
        findings += checks.repository_findings(str(folder), error)
    findings += checks.sharing_findings(await sharing(folder))
    if not inventory.faults:
        findings += checks.generated_findings(await asyncio.to_thread(generated_findings, folder))
    library = next(finding for finding in findings if finding.what == "libvirt")
    if inventory.fleet.hosts and library.mark is Mark.GOOD:
        findings += await _hosts(folder, inventory.fleet)
    return findings


def _read(folder: Path) -> tuple[Inventory | None, FleetError | None]:
    try:
        return read_inventory(folder), None
    except FleetError as error:
        return None, error


async def _hosts(folder: Path, fleet: Fleet) -> list[Finding]:
    try:
        session = open_session(folder)
        try:
            await session.start(follow=False)
            await see(session)
            views = session.store.hosts()
            up = [view.wanted for view in views if view.seen.state is HostState.UP]
            ahead_s = await clocks_ahead_s(folder, up, fleet.ssh)
            return [*checks.host_findings(views), *checks.clock_findings(views, ahead_s)]
        finally:
            await session.close()
    except FleetError as error:
        why = " ".join(f"{error.title} {error.detail}".split())
        return [Finding(Mark.BAD, "hosts", why, " ".join(error.hint.split()))]
    except OSError as error:
        why = f"None was asked: {error.strerror} ({error.filename})."
        return [Finding(Mark.BAD, "hosts", why, "Mend what stands above, then again.")]
