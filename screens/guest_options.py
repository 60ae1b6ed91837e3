"""What a guest can be made of on a host: its real pools, volumes, networks and cards, each with its facts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from console.domain.model import GuestKey
from console.domain.observed import GuestState, StoragePool
from console.domain.standing import HostView
from screens.choice import Option
from screens.states import host_state

if TYPE_CHECKING:
    from console.services.session import Session
    from console.services.wishes import GpuChoice, GuestWish

GIB = 1024**3
KIB_PER_GIB = 1024**2
IMAGE_FORMATS = frozenset({"qcow2", "raw", None})


def size(count: int | None, unit: int = 1) -> str:
    """Return a number of bytes (or of `unit` bytes) in the largest unit that leaves a figure: "1.2 TiB"; — for None."""
    if count is None:
        return "—"
    value, names = float(count * unit), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(names) > 1:
        value /= 1024
        del names[0]
    return f"{value:.0f} {names[0]}" if value >= 10 or value == int(value) else f"{value:.1f} {names[0]}"


def free_memory_kib(view: HostView) -> int | None:
    """Return a host's memory less what it uses, or less what its running guests have; None when not known."""
    facts, sample = view.seen.facts, view.seen.sample
    if facts is None or facts.memory_kib is None:
        return None
    if sample is not None and sample.memory_used_kib is not None:
        return max(0, facts.memory_kib - sample.memory_used_kib)
    on = [g.seen for g in view.guests if g.seen and g.state not in (GuestState.OFF, GuestState.CRASHED)]
    return max(0, facts.memory_kib - sum(guest.memory_kib or 0 for guest in on))


def host_options(session: Session) -> list[Option]:
    """Return every host with state, CPUs, memory and what is free of it."""
    options = []
    for view in session.store.hosts():
        facts = view.seen.facts
        memory = free_memory_kib(view)
        cards = len(session.gpu_choices(view.name))
        options.append(
            Option(
                view.name,
                view.name,
                (
                    host_state(view, session.store.clock())[0],
                    f"{facts.cpus} CPUs" if facts and facts.cpus else "—",
                    f"{size(memory, 1024)} free of {size(facts.memory_kib, 1024)}"
                    if facts and memory is not None
                    else "—",
                    f"{cards} GPU" + ("s" if cards != 1 else "") if cards else "",
                ),
                detail=", ".join(part for part in (facts.cpu_model if facts else None, *view.wanted.labels) if part),
                note=", ".join(
                    part
                    for part in (
                        host_state(view, session.store.clock())[0],
                        f"{facts.cpus} CPUs" if facts and facts.cpus else "",
                        f"{size(memory, 1024)} free" if memory is not None else "",
                    )
                    if part
                ),
            )
        )
    return options


def pool_options(session: Session, wish: GuestWish) -> list[Option]:
    """Return the host's pools with what is free and where they are; an inactive one cannot be chosen."""
    return [
        Option(
            pool.name,
            pool.name,
            (f"{size(pool.available_bytes)} free", f"of {size(pool.capacity_bytes)}", pool.path or "—"),
            note=f"{size(pool.available_bytes)} free of {size(pool.capacity_bytes)}",
        )
        if pool.active
        else Option(pool.name, pool.name, refusal="not active: start it on the host first")
        for pool in pools(session, wish.host)
    ]


def pools(session: Session, host: str) -> tuple[StoragePool, ...]:
    """Return the pools that a host reported, none when it never did."""
    facts = session.store.host(host).seen.facts
    return facts.pools if facts else ()


def network_options(session: Session, wish: GuestWish, editing: GuestKey | None) -> list[Option]:
    """Return the host's networks with bridge and subnet, and that a guest may have none."""
    facts = session.store.host(wish.host).seen.facts
    known = session.store.fleet.networks
    options = []
    for network in facts.networks if facts else ():
        mine = known.get(network.name)
        refusal = session.guest_problems(replace(wish, network=network.name), editing).get("network", "")
        about = (network.bridge or "—", (mine.subnet if mine else None) or "—")
        options.append(
            Option(
                network.name,
                network.name,
                about,
                refusal=refusal if network.active else "not active: start it on the host first",
            )
        )
    options.append(Option("none", "none", detail="no network card"))
    return options


def volume_options(session: Session, wish: GuestWish, *, iso: bool) -> list[Option]:
    """Return the volumes that can be booted: ISOs of all pools, or disk images of the wished pool.

    A volume that is a guest's own disk is refused: an overlay or a copy of a disk in use is a broken one.
    """
    users = _users(session.store.host(wish.host))
    options = []
    for pool in pools(session, wish.host):
        if not iso and pool.name != wish.pool:
            continue
        for volume in pool.volumes:
            is_iso = volume.format == "iso" or volume.name.lower().endswith(".iso")
            if is_iso is not iso or (not iso and volume.format not in IMAGE_FORMATS):
                continue
            user = "" if iso else users.get(volume.path, "")
            options.append(
                Option(
                    volume.name,
                    volume.name,
                    (volume.format or "—", size(volume.capacity_bytes), pool.name),
                    refusal=f"disk of {user}" if user else "",
                )
            )
    return sorted(options, key=lambda option: (bool(option.refusal), option.title))


def _users(view: HostView) -> dict[str, str]:
    """Return path -> guest for every path that a domain's definition names."""
    users: dict[str, str] = {}
    for guest in view.guests:
        shapes = (guest.seen.shape, guest.seen.active_shape or {}) if guest.seen else ()
        for fact in (value for shape in shapes for value in shape.values()):
            for path in re.findall(r"/[^\s,;\"']+", fact):
                users.setdefault(path, str(guest.key))
    return users


def gpu_options(session: Session, host: str, editing: GuestKey | None) -> list[Option]:
    """Return the host's cards with slot, functions, group, node and driver; a taken one with its owner."""
    cards = session.gpu_choices(host)
    options = [Option("", "none", detail="no passed-through card")]
    options += [gpu_option(card, editing) for card in cards]
    free = sum(not option.refusal for option in options[1:])
    if free > 1:
        options.append(Option("any", "any free card", (), detail=f"{free} cards are free now"))
    return options


def resource_options(session: Session, wish: GuestWish, editing: GuestKey | None) -> list[Option]:
    """Return the names of fleet.toml that a card can be asked for by; one that no free card answers says why."""
    options = []
    for name in session.store.fleet.resources:
        refusal = session.guest_problems(replace(wish, gpu=name), editing).get("gpu", "")
        detail = refusal or "by its name: the plan picks one that is free, and finds it again when it has moved"
        options.append(Option(name, name, ("by name",), refusal=refusal.partition(".")[0], detail=detail))
    return options


def gpu_option(card: GpuChoice, editing: GuestKey | None = None) -> Option:
    """Return one card; the edited guest's own card is free for it."""
    own = editing is not None and card.owner == str(editing)
    numbers = " ".join(f".{number}" for number in card.function_numbers)
    names = ", ".join(f".{n} {ids}" for n, ids in zip(card.function_numbers, card.functions, strict=False))
    refused = bool(card.refusal) and not own
    facts = (
        card.slot.removeprefix("0000:"),
        numbers,
        f"group {'—' if card.iommu_group is None else card.iommu_group}",
        f"NUMA {'—' if card.numa_node is None else card.numa_node}",
        "driver —" if card.driver is None else card.driver or "no driver",
        "its own" if own else "free",
    )
    return Option(
        card.slot,
        gpu_title(card.title),
        facts[:1] if refused else facts,
        refusal=card.refusal if refused else "",
        detail=f"{card.title}, {card.slot}: {names}",
        note=", ".join((facts[0], *facts[2:4], facts[5])),
    )


def gpu_title(title: str) -> str:
    """Return a card's marketing name, which PCI databases put in brackets, else its name without the vendor's."""
    names = re.findall(r"\[([^\]]+)\]", title)
    return (names[-1] if names else re.sub(r"^.*?\b(Corporation|Inc\.|Ltd\.?) +", "", title))[:24]
