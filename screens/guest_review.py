"""The last page of the guest form: what was asked for, aligned, and what will happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import ApplyMode, Plan
from console.domain.standing import GuestView
from console.domain.values import format_size_kib, parse_size_kib
from console.services.wishes import BootChoice, GuestWish
from screens.figures import vcpus
from screens.guest_options import free_memory_kib, gpu_option, gpu_title, pools, size
from screens.lines import facts, hanging, title
from screens.offers import own
from screens.plan_lines import cautions, differences, files, happenings
from screens.preflight_lines import counts
from screens.widgets import Line

if TYPE_CHECKING:
    from console.services.session import Session

MODE_KEYS = {
    ApplyMode.NEXT_BOOT: ("form.next", "enter"),
    ApplyMode.LIVE: ("guest.live", "l"),
    ApplyMode.RESTART: ("guest.restart", "r"),
}
"""How each way to apply an edit is chosen: the id of its binding, its usual key."""


def created(session: Session, wish: GuestWish, plan: Plan | None, width: int) -> list[Line]:
    """Return the review of a new guest; without a plan only what was asked for."""
    lines = wished(session, wish, width)
    if plan is None:
        return lines
    lines += [[], title("What will happen"), *happenings(plan, width)]
    if notes := cautions(plan, width, _warnings(session, wish, None)):
        lines += [[], *notes]
    return [*lines, *_preflight(session, wish, None)]


def edited(session: Session, wish: GuestWish, key: GuestKey, modes: Mapping[ApplyMode, Plan], width: int) -> list[Line]:
    """Return the review of a change: what differs, and what each way to apply it would do."""
    plan = modes.get(ApplyMode.NEXT_BOOT)
    if plan is None:
        return wished(session, wish, width)
    if all(entry.is_empty and not entry.refusals for entry in modes.values()):
        return [[("Nothing differs: ", "good"), (f"{key} is as the form says.", "")]]
    lines: list[Line] = []
    if plan.differences:
        lines += [[("What changes", "strong"), ("   seen  →  wanted", "quiet")]]
        lines += [*differences(plan.differences, width), []]
    if plan.files:
        lines += [title("In the inventory"), *files(plan, width), []]
    lines.append(title("How to apply it" if len(modes) > 1 else "What will happen"))
    for mode, entry in modes.items():
        lines += _mode(session, key, mode, entry, alone=len(modes) == 1, width=width)
    if notes := cautions(plan, width, _warnings(session, wish, key)):
        lines += [[], *notes]
    return [*lines, *_preflight(session, wish, key)]


def _preflight(session: Session, wish: GuestWish, editing: GuestKey | None) -> list[Line]:
    """Return how many checks of the guest's devices found what; nothing for a guest without devices."""
    findings = [f for found in session.guest_findings(wish, editing).values() for f in found]
    if not findings:
        return []
    key = own("guest.preflight", "^p")
    shows: Line = [("   ", ""), (key, "accent"), (" shows every check", "quiet")]
    return [[], [("Preflight  ", "quiet"), *counts(findings), *shows]]


def _mode(session: Session, key: GuestKey, mode: ApplyMode, plan: Plan, *, alone: bool, width: int) -> list[Line]:
    letter = own(*MODE_KEYS[mode])
    what = "restart now" if mode is ApplyMode.RESTART else mode.value
    if alone:
        return [line for step in plan.steps for line in hanging([("  ", "")], step.sentence, "", width)] or [
            [("  only the inventory changes", "quiet")]
        ]
    head: Line = [(f"  {letter:<7}", "accent"), (f"{what:<13}", "")]
    if plan.refusals:
        return hanging(head, "; ".join(plan.refusals), "warn", width)
    steps = ", ".join(step.sentence for step in plan.steps) or "only the inventory changes"
    return hanging(head, steps, "quiet", width)


def apply_modes(view: GuestView) -> tuple[ApplyMode, ...]:
    """Return the ways to apply a change that make sense: only one for a guest that does not run."""
    running = view.seen is not None and view.seen.active_shape is not None and view.stale_since is None
    return (ApplyMode.NEXT_BOOT, ApplyMode.LIVE, ApplyMode.RESTART) if running else (ApplyMode.NEXT_BOOT,)


def wished(session: Session, wish: GuestWish, width: int) -> list[Line]:
    """Return what was asked for, one line a topic."""
    view = session.store.host(wish.host)
    known = view.seen.facts
    free = free_memory_kib(view)
    cpus = vcpus(wish.vcpus) + (f" of {known.cpus} CPUs" if known and known.cpus else "")
    memory = canonical_size(wish.memory) + (f" of {size(free, 1024)} free" if free is not None else "")
    rows = [
        ("name", wish.name + (f"   {wish.description}" if wish.description else "")),
        ("cpu, memory", f"{cpus}, {memory}"),
        *([("kind", "NixOS: a machine of the flake")] if wish.kind == "nixos" else []),
        ("boot", boot_sentence(wish)),
        ("disk", disk_sentence(session, wish)),
        ("network", network_sentence(session, wish)),
        ("gpu", gpu_sentence(session, wish)),
        (
            "besides",
            ("Windows, " if wish.profile == "windows" else "")
            + f"{wish.firmware.upper()}, display {wish.display}, "
            + ("starts with its host" if wish.autostart else "no autostart"),
        ),
    ]
    return facts(rows, width)


def canonical_size(text: str) -> str:
    """Return a size as the inventory will spell it; what is no size stays as typed."""
    try:
        return format_size_kib(parse_size_kib(text))
    except ValueError:
        return text


def boot_sentence(wish: GuestWish) -> str:
    """Return where the first boot comes from."""
    if wish.boot is BootChoice.IMAGE:
        return f"{wish.image}, {'an overlay of' if wish.image_mode == 'overlay' else 'a copy of'} the image"
    if wish.boot is BootChoice.ISO:
        return f"CD {wish.iso}"
    if wish.boot is BootChoice.KERNEL:
        initrd = f", initrd {wish.initrd}" if wish.initrd else ""
        return f"kernel {wish.kernel}{initrd} {wish.cmdline}".rstrip()
    return "the network (PXE)" if wish.boot is BootChoice.PXE else "an empty disk: nothing to boot from"


def disk_sentence(session: Session, wish: GuestWish) -> str:
    """Return the boot disk with the room in its pool."""
    if not wish.disk:
        return "none"
    pool = next((p for p in pools(session, wish.host) if p.name == wish.pool), None)
    room = f" ({size(pool.available_bytes)} free)" if pool and pool.available_bytes is not None else ""
    return f"{canonical_size(wish.disk)} in pool {wish.pool or 'default'}{room}"


def network_sentence(session: Session, wish: GuestWish) -> str:
    """Return the network card."""
    if wish.network == "none":
        return "none"
    network = session.store.fleet.networks.get(wish.network)
    bridge = f" ({network.bridge})" if network else ""
    parts = (wish.network + bridge, wish.address or "address from DHCP", wish.mac or "MAC chosen for you")
    return ", ".join(part for part in parts if part)


def gpu_sentence(session: Session, wish: GuestWish) -> str:
    """Return the passed-through card with where it sits."""
    if not wish.gpu:
        return "none"
    for card in session.gpu_choices(wish.host):
        if wish.gpu in (card.slot, card.slot.removeprefix("0000:")):
            option = gpu_option(card)
            group, node = option.facts[2:4] if len(option.facts) > 3 else ("", "")
            functions = " ".join(f".{number}" for number in card.function_numbers)
            where = f"{gpu_title(card.title)} at {card.slot.removeprefix('0000:')}, functions {functions}"
            return ", ".join(part for part in (where, group, node) if part)
    return "any free card" if wish.gpu == "any" else wish.gpu


def _warnings(session: Session, wish: GuestWish, editing: GuestKey | None) -> tuple[str, ...]:
    try:
        return session.guest_warnings(wish, editing)
    except FleetError as error:
        return (error.title,)
