"""qd host ..."""

from __future__ import annotations

from argparse import Namespace

from console.cli import views
from console.cli.output import show_facts, show_faults, show_json, show_table
from console.cli.selection import filter_text
from console.cli.work import carry_out, run, see, session_of, view_of
from console.domain.errors import FleetError
from console.domain.values import format_size_kib
from console.inventory.filter import parse
from console.services.hardware import kept_for
from console.services.hosts import other_key
from console.services.wishes import HostWish


def add(options: Namespace) -> int:
    """qd host add NAME --mac MAC --address CIDR ..."""
    wish = HostWish(
        name=options.name,
        mac=options.mac,
        address=options.address,
        uri=options.uri or "",
        labels=",".join(options.labels or []),
        ssh_host_key=options.ssh_host_key or "",
        disk=options.disk or "",
        netboot=options.netboot or "",
    )

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            return await carry_out(session, lambda: session.plan_add_host(wish))

    return run(work())


def set_host(options: Namespace) -> int:
    """qd host set NAME ..."""
    given = {
        "mac": options.mac,
        "address": options.address,
        "uri": options.uri,
        "labels": ",".join(options.labels) if options.labels is not None else None,
        "ssh_host_key": options.ssh_host_key,
        "disk": options.disk,
        "netboot": options.netboot,
    }
    changes = {key: value for key, value in given.items() if value is not None}

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            return await carry_out(session, lambda: session.plan_set_host(options.name, changes))

    return run(work())


def remove(options: Namespace) -> int:
    """qd host remove NAME"""

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            return await carry_out(session, lambda: session.plan_remove_host(options.name))

    return run(work())


def list_hosts(options: Namespace) -> int:
    """qd host list [FILTER...]"""
    match = parse(filter_text(options))

    async def work() -> int:
        async with view_of(options) as session:
            await see(session)
            show_faults(session.store.faults)
            hosts = [view for view in session.store.hosts() if match is None or match(view, None)]
            if options.json:
                show_json([views.host_json(view) for view in hosts])
            elif hosts:
                now = session.store.clock()
                heads = ["NAME", "STATE", "MAC", "ADDRESS", "LABELS", ">GUESTS"]
                show_table(heads, [views.host_row(view, now) for view in hosts])
            elif match is not None:
                print("No host matches.")
            else:
                print("No hosts yet. Add the first one with: qd host add NAME --mac MAC --address CIDR")
            return 0

    return run(work())


def show(options: Namespace) -> int:
    """qd host show NAME"""

    async def work() -> int:
        async with view_of(options) as session:
            session.store.host(options.name)
            await see(session, [options.name])
            view = session.store.host(options.name)
            data = views.host_json(view)
            cards = session.gpu_choices(options.name)
            if options.json:
                show_json({**data, "gpus": [{"slot": c.slot, "title": c.title, "owner": c.owner} for c in cards]})
                return 0
            memory = data["memory_mib"]
            show_facts(
                [
                    ("name", data["name"]),
                    ("state", views.host_row(view, session.store.clock())[1]),
                    ("why", data["error"] or ""),
                    *other_key(view),
                    ("mac", data["mac"]),
                    ("address", data["address"]),
                    ("uri", data["uri"]),
                    ("labels", ", ".join(data["labels"])),
                    ("cpu", f"{data['cpu'] or 'not reported'} ({data['cpus'] or '—'} CPUs)"),
                    ("memory", format_size_kib(memory * 1024) if memory else "not reported"),
                    ("accel", (view.seen.facts.accel_note if view.seen.facts else "") or data["accel"] or ""),
                    *(
                        (
                            "gpu",
                            f"{c.slot}  {c.title}  group {_or_dash(c.iommu_group)}  NUMA {_or_dash(c.numa_node)}  "
                            + (c.refusal or "free"),
                        )
                        for c in cards
                    ),
                    *(("keeps", f"{own.pci}  ({kept_for(own)})") for own in view.wanted.own.values()),
                    *(("parts", f"{place}  {count} virtual functions") for place, count in view.wanted.sriov.items()),
                    ("guests", ", ".join(data["guests"]) or "none"),
                ]
            )
            return 0

    return run(work())


def key(options: Namespace) -> int:
    """qd host key NAME [--pin FINGERPRINT]"""

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            host = session.store.host(options.name).wanted
            offered = await session.fetch_host_key(HostWish(name=host.name, address=host.address, uri=host.uri))
            if options.pin is None:
                print(f"{offered.key}\n{offered.fingerprint}")
                if host.ssh_host_key is None:
                    print(f"Compare it on the host, then: qd host key {host.name} --pin {offered.fingerprint}")
                else:
                    print(
                        "This is the pinned key." if host.ssh_host_key == offered.key else "This is NOT the pinned key."
                    )
                return 0
            if options.pin != offered.fingerprint:
                raise FleetError(
                    f"The key of {host.name} was not pinned.",
                    f"It offers {offered.fingerprint}, you expect {options.pin}.",
                    "Another machine may be answering at that address. Nothing was changed.",
                )
            return await carry_out(session, lambda: session.plan_set_host(host.name, {"ssh_host_key": offered.key}))

    return run(work())


def _or_dash(value: int | None) -> str:
    return "—" if value is None else str(value)
