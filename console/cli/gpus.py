"""qd gpu ..."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from console.cli.output import counted, safe, show_facts, show_json, show_plan, show_table
from console.cli.work import carry_out, hosts_down, run, see, see_guest, session_of, view_of
from console.domain.errors import FleetError
from console.domain.hardware import PciFunction
from console.domain.plan import Plan
from console.domain.preflight import MARKS, Finding, Verdict, blocks, summary, warnings
from console.domain.preflight.case import bytes_shown
from console.domain.values import parse_pci_place, parse_pci_slot
from console.services.devices import Accelerator, matches, parts_words, told_words, use_words
from console.services.session import Session
from console.services.view import View
from console.services.wishes import KeepWish

READ_S = 15.0
"""How long a host's kernel may take to tell its devices."""


def list_gpus(options: Namespace) -> int:
    """qd gpu list [FILTER...] [--host HOST] [--state STATE]"""

    async def work() -> int:
        async with view_of(options) as view:
            names = [view.store.host(options.host).name] if options.host else list(view.store.fleet.hosts)
            await _look(view, names)
            known = view.devices.accelerators(options.host)
            cards = [each for each in known if not options.states or each.state.value in options.states]
            cards = [each for each in cards if matches(each, options.words)]
            if options.json:
                show_json([_card_json(card) for card in cards])
                return 0
            if not cards:
                print("No card matches." if known else "No card is known.")
            else:
                heads = ["HOST", "SLOT", "CARD", ">GROUP", ">NUMA", "DRIVER", "STATE", "PREFLIGHT"]
                show_table(heads, [_row(card) for card in cards])
            for line in [*hosts_down(view, names), *_unread(view, names)]:
                print(safe(line))
        return 0

    return run(work())


def show(options: Namespace) -> int:
    """qd gpu show HOST/SLOT"""
    host, slot = _place(options.card, parse_pci_slot)

    async def work() -> int:
        async with view_of(options) as view:
            view.store.host(host)
            await _look(view, [host])
            cards = view.devices.accelerators(host)
            card = next((card for card in cards if card.slot == slot), None)
            if card is None:
                known = ", ".join(card.slot for card in cards) or "none is known"
                raise FleetError(f"{host} has no card at {slot}.", f"Its cards: {known}.")
            if options.ask_guest:
                await view.devices.ask_guests([card], timeout_s=READ_S)
                card = next((card for card in view.devices.accelerators(host) if card.slot == slot), card)
            if options.json:
                show_json(_card_json(card))
                return 0
            show_facts([("card", card.title), ("host", card.host), ("state", _state(card)), *_told(card, options)])
            for function in card.functions:
                print()
                show_facts(_facts(function, card.sriov.get(function.address)))
            print()
            _print(card.findings, everything=True)
            for line in _unread(view, [host]):
                print(safe(line))
        return 0

    return run(work())


def preflight(options: Namespace) -> int:
    """qd gpu preflight GUEST"""

    async def work() -> int:
        async with view_of(options) as view:
            key = await see_guest(view, options.name)
            await view.devices.read([key.host], timeout_s=READ_S)
            found = view.devices.preflight(key)
            if options.json:
                show_json({name: [_finding_json(finding) for finding in findings] for name, findings in found.items()})
            elif not found:
                print(f"{key} has no device.")
            else:
                _print_all(found, options.all)
                open_ones = dict.fromkeys(f.rule for findings in found.values() for f in warnings(findings))
                if open_ones:
                    flags = " ".join(f"--accept {rule}" for rule in open_ones)
                    print(f"To let the warnings stay: qd guest set {key} {flags}")
                for line in _unread(view, [key.host]):
                    print(safe(line))
            return 1 if any(blocks(findings) for findings in found.values()) else 0

    return run(work())


def keep(options: Namespace) -> int:
    """qd gpu own HOST/SLOT [--name NAME] [--containers on|off] [--plan]"""
    host, slot = _place(options.card, parse_pci_slot)
    containers = None if options.containers is None else options.containers == "on"
    wish = KeepWish(host=host, slot=slot, name=options.name or "", containers=containers)
    return _change(options, host, lambda session: session.plan_keep(wish))


def give_back(options: Namespace) -> int:
    """qd gpu release HOST/SLOT [--plan]"""
    host, slot = _place(options.card, parse_pci_slot)
    return _change(options, host, lambda session: session.plan_give_back(host, slot))


def part(options: Namespace) -> int:
    """qd gpu vfs HOST/SLOT COUNT [--plan]"""
    host, place = _place(options.card, parse_pci_place)
    return _change(options, host, lambda session: session.plan_parts(host, place, options.count))


def _change(options: Namespace, host: str, make: Callable[[Session], Plan]) -> int:
    """Plan with what the host's kernel says now; apply it, or show it alone."""

    async def work() -> int:
        async with session_of(options) as session:
            session.store.host(host)
            await see(session, [host])
            await session.devices.read([host], timeout_s=READ_S)
            if not options.plan:
                return await carry_out(session, lambda: make(session))
            show_plan(await session.preview(make(session)))
            return 0

    return run(work())


def _place(card: str, parser: Callable[[str], str]) -> tuple[str, str]:
    """Return the host and the place that a card is named by."""
    host, slash, text = card.partition("/")
    if not slash:
        raise FleetError(f"{card!r} is no card.", "", 'Write the host and the slot: "vhost-a/65:00".')
    try:
        return host, parser(text)
    except ValueError as error:
        raise FleetError(f"{text!r} is no PCI slot.", str(error)) from None


async def _look(view: View, names: list[str]) -> None:
    await see(view, names)
    await view.devices.read(names, timeout_s=READ_S, use=True)


def _unread(view: View, names: list[str]) -> list[str]:
    errors = ((name, view.devices.errors[name]) for name in names if name in view.devices.errors)
    return [f"{name}: {error.title} {error.detail}".strip() for name, error in errors]


def _row(card: Accelerator) -> list[str]:
    first = card.first
    return [
        card.host,
        card.slot,
        card.title,
        "—" if first.group is None else str(first.group),
        "—" if first.numa_node is None else str(first.numa_node),
        first.driver or "—",
        _state(card),
        summary(card.findings),
    ]


def _state(card: Accelerator) -> str:
    return f"{card.state.glyph} {card.words}"


def _told(card: Accelerator, options: Namespace) -> list[tuple[str, str]]:
    if card.told is not None:
        return [("seen by guest", told_words(card.told))]
    return [("seen by guest", "no guest of the inventory runs with it")] if options.ask_guest else []


def _facts(function: PciFunction, at_boot: int | None) -> list[tuple[str, str]]:
    regions = ", ".join(bytes_shown(bar.size_bytes) for bar in function.bars)
    resets = function.reset_methods
    return [
        ("function", f"{function.address}  {function.pci_id}  {function.title}"),
        ("subsystem", function.subsystem or ""),
        ("driver", function.driver or "none"),
        ("IOMMU group", "" if function.group is None else str(function.group)),
        ("NUMA node", "" if function.numa_node is None else f"{function.numa_node} (CPUs {function.cpus})"),
        ("works", use_words(function.use) if function.use is not None else ""),
        ("memory regions", regions),
        ("reset", "" if resets is None else ", ".join(resets) or "no way is known"),
        ("used by", ", ".join(f"{user.process} ({user.pid})" for user in function.users or ())),
        ("virtual functions", parts_words(function, at_boot)),
        ("makes", ", ".join(f"{kind.name or kind.id} ({kind.available} free)" for kind in function.mdev_types)),
        ("carries", ", ".join(function.carries)),
    ]


def _print_all(found: Mapping[str, tuple[Finding, ...]], everything: bool) -> None:
    for name, findings in found.items():
        print(safe(f"{name}: {summary(findings)}"))
        _print(findings, everything=everything)


def _print(findings: tuple[Finding, ...], *, everything: bool) -> None:
    for finding in findings:
        if not everything and finding.verdict is Verdict.OK:
            continue
        accepted = "  (accepted)" if finding.accepted else ""
        print(safe(f"  {MARKS[finding.verdict]} {finding.concern}: {finding.sentence}{accepted}"))
        if finding.verdict is not Verdict.OK:
            for line in finding.evidence:
                print(safe(f"      {line}"))
        if finding.remedy:
            print(safe(f"      → {finding.remedy}"))
    hidden = sum(finding.verdict is Verdict.OK for finding in findings)
    if hidden and not everything:
        print(f"  ✔ {counted(hidden, 'check')} passed")


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "verdict": finding.verdict.value,
        "sentence": finding.sentence,
        "evidence": list(finding.evidence),
        "remedy": finding.remedy,
        "accepted": finding.accepted,
    }


def _card_json(card: Accelerator) -> dict[str, Any]:
    return {
        "host": card.host,
        "slot": card.slot,
        "title": card.title,
        "state": card.state.value,
        "owner": card.owner or None,
        "kept": card.kept or None,
        "functions": [
            {**_function_json(function), "sriov_at_boot": card.sriov.get(function.address, 0)}
            for function in card.functions
        ],
        "seen_by_guest": None if card.told is None else asdict(card.told.seen),
        "blocks": [finding.rule for finding in blocks(card.findings)],
        "warnings": [finding.rule for finding in warnings(card.findings)],
        "preflight": [_finding_json(finding) for finding in card.findings],
    }


def _function_json(function: PciFunction) -> dict[str, Any]:
    return {
        "address": function.address,
        "id": function.pci_id,
        "subsystem": function.subsystem,
        "class": f"0x{function.class_code:06x}",
        "vendor": function.vendor,
        "product": function.product,
        "driver": function.driver,
        "iommu_group": function.group,
        "numa_node": function.numa_node,
        "local_cpus": function.cpus or None,
        "memory_bytes": [bar.size_bytes for bar in function.bars],
        "reset_methods": None if function.reset_methods is None else list(function.reset_methods),
        "boot_vga": function.boot_vga,
        "sriov_total": function.sriov_total,
        "sriov_active": function.sriov_active,
        "mdev_types": [{"id": kind.id, "name": kind.name, "available": kind.available} for kind in function.mdev_types],
        "users": None if function.users is None else [{"pid": u.pid, "process": u.process} for u in function.users],
        "carries": list(function.carries),
        "use": None if function.use is None else asdict(function.use),
    }
