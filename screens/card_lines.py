"""The fleet's cards as lines: a row on the board, what stands below it, and all that is known of one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.domain.hardware import PciFunction
from console.domain.preflight import Verdict
from console.domain.preflight.case import bytes_shown
from console.services.devices import Accelerator, CardState, parts_words, told_words, use_words
from screens.figures import NOT_REPORTED, age
from screens.lines import facts, hanging, title
from screens.preflight_lines import CLEAR, CONCERN, checks, counts, worst
from screens.subject import short_slot, short_title
from screens.widgets import Line, Span, fit, line_width

Column = tuple[str, int, bool]
"""Heading, cells, and whether it is aligned at the right."""

DETAILED = 110
"""From this width on there is room for group, NUMA node, driver and parts."""

LASTS = timedelta(minutes=1)
"""What a guest said stands in the list for so long."""

ORDERS = ("host", "card", "state", "preflight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the board is sorted by."""

    by: str = ORDERS[0]
    reverse: bool = False

    @property
    def next(self) -> Order:
        """The next column, from its beginning."""
        return Order(by=ORDERS[(ORDERS.index(self.by) + 1) % len(ORDERS)])

    def sorted(self, cards: Sequence[Accelerator]) -> list[Accelerator]:
        """Return the cards in this order; where it says nothing, by host and slot."""
        keys: dict[str, Callable[[Accelerator], object]] = {
            "host": lambda card: (card.host, card.slot),
            "card": lambda card: short_title(card.title).casefold(),
            "state": lambda card: card.words,
            "preflight": lambda card: tuple(
                -sum(finding.verdict is verdict for finding in card.findings)
                for verdict in (Verdict.BLOCK, Verdict.WARNING)
            ),
        }
        return sorted(cards, key=keys[self.by], reverse=self.reverse)  # type: ignore[arg-type]


STYLES = {CardState.FREE: "good", CardState.TAKEN: "accent", CardState.DRIVEN: ""}
"""What a state looks like; all others are quiet."""


def card_state(card: Accelerator) -> Span:
    """Return whose a card is, as glyph, words and style."""
    return f"{card.state.glyph} {card.words}", STYLES.get(card.state, "quiet")


def columns(cards: Sequence[Accelerator], width: int) -> list[Column]:
    """Return the columns for a board of this width; name and state share what the others leave."""
    host = min(16, max((line_width([(card.host, "")]) for card in cards), default=4))
    slot = max((len(short_slot(card.slot)) for card in cards), default=5)
    wide = width >= DETAILED
    fixed: list[Column] = [("HOST", max(len("HOST▴"), host), False), ("SLOT", max(4, slot), False)]
    middle: list[Column] = [("GROUP", 5, True), ("NUMA", 4, True), ("DRIVER", 12, False)] if wide else []
    busy: list[Column] = [("USE", 13, True)] if any(card.first.use or card.told for card in cards) else []
    end: list[Column] = [*busy, ("PARTS", 5, True), ("ASKED", 5, True)] if wide else [("ASKED", 5, True)]
    check = max((line_width(counts(card.findings, tight=not wide)) for card in cards), default=0)
    used = 2 + sum(cells + 2 for _, cells, _ in (*fixed, *middle, *end)) + max(len("PREFLIGHT▴"), check)
    left = max(24, width - used - 2)
    name = left * 9 // 20
    both: list[Column] = [("CARD", name, False), ("STATE", left - name - 2, False)]
    return [*fixed, both[0], *middle, both[1], *end, ("PREFLIGHT", max(len("PREFLIGHT▴"), check), False)]


def heading(layout: Sequence[Column], order: Order) -> Line:
    """Return the names of the columns, with a sign at the one that is sorted by."""
    mark = "▾" if order.reverse else "▴"
    words = [
        fit(name + (mark if name.lower() == order.by else ""), cells, right=right) for name, cells, right in layout
    ]
    return [("  " + "  ".join(words), "quiet")]


def row(card: Accelerator, layout: Sequence[Column], here: bool, at: datetime | None, now: datetime) -> Line:
    """Return a card's row. at: when its host's kernel was asked, None where only libvirt told of it."""
    first, (state, style) = card.first, card_state(card)
    values: dict[str, Span] = {
        "HOST": (card.host, ""),
        "SLOT": (short_slot(card.slot), ""),
        "CARD": (short_title(card.title), "strong" if here else ""),
        "GROUP": _or_nothing(first.group),
        "NUMA": _or_nothing(first.numa_node),
        "DRIVER": _or_nothing(first.driver),
        "STATE": (state, style),
        "USE": _use(card, now),
        "PARTS": _or_nothing(card.parts_free),
        "ASKED": (NOT_REPORTED if at is None else age(at, now), "quiet"),
    }
    line: list[Span] = [("▸ " if here else "  ", "accent")]
    for name, cells, right in layout:
        if name == "PREFLIGHT":
            line += counts(card.findings, tight=("DRIVER", 12, False) not in layout)
        else:
            text, look = values[name]
            line.append((f"{fit(text, cells, right=right)}  ", look))
    return line


def _use(card: Accelerator, now: datetime) -> Span:
    """Return how much a card works: for the host, or as its guest has said a short time ago."""
    if card.first.use is not None:
        return use_words(card.first.use, tight=True), ""
    if card.told is None or card.told.seen.use is None or now - card.told.at > LASTS:
        return NOT_REPORTED, "quiet"
    return f"{CardState.TAKEN.glyph} {use_words(card.told.seen.use, tight=True)}", "accent"


def _or_nothing(value: object) -> Span:
    return (NOT_REPORTED, "quiet") if value is None else (str(value), "")


def below(card: Accelerator, width: int, height: int, now: datetime) -> list[Line]:
    """Return what stands below the board: the card under the cursor in at most `height` lines."""
    first = card.first
    place = [short_slot(card.slot), f"functions {' '.join(f'.{f.number}' for f in card.functions)}"]
    place += [] if first.group is None else [f"group {first.group}"]
    place += [] if first.numa_node is None else [f"NUMA {first.numa_node}"]
    drivers = dict.fromkeys(function.driver or "no driver" for function in card.functions)
    place += [", ".join(drivers)] if any(function.driver for function in card.functions) else []
    place += [f"{card.parts_free} parts free"] if card.parts_free is not None else []
    place += [use_words(first.use)] if first.use is not None else []
    lines: list[Line] = [[(f"{card.host}  ", "title"), (card.title, "strong")]]
    state, style = card_state(card)
    lines += [[(state, style), ("   " + "  ".join(place), "quiet")]]
    if card.told is not None:
        seen: Line = [("seen by the guest: ", "quiet")]
        lines += hanging(seen, f"{told_words(card.told)}, {age(card.told.at, now)} ago", "", width)
    found = worst(card.findings)
    if found is None:
        lines.append([*counts(card.findings), (f"  {CLEAR}", "quiet")])
    head = len(lines)
    bad = [f for f in card.findings if f.verdict in (Verdict.BLOCK, Verdict.WARNING) and not f.accepted]
    for finding in sorted(bad, key=lambda each: each.verdict is not Verdict.BLOCK):
        block = finding.verdict is Verdict.BLOCK
        mark: Span = ("✖ ", "bad") if block else ("▲ ", "warn")
        text = hanging([mark], f"{finding.concern}: {finding.sentence}", "", width)
        text += hanging([("  ", ""), ("→ ", "accent")], finding.remedy, "quiet", width) if finding.remedy else []
        if len(lines) + len(text) > height and lines[head:]:
            break
        lines += text
    return lines[:height]


def whole(card: Accelerator, width: int) -> list[Line]:
    """Return all that is known of a card: what it is, each function, its group, every check."""
    first = card.first
    group = [function.address for function in card.functions if function.group == first.group]
    others = [f"{other.address} {other.title}, {other.driver or 'no driver'}" for other in card.others]
    rows = [
        ("state", card.words),
        *([("in guest", told_words(card.told))] if card.told is not None else []),
        ("slot", card.slot),
        ("group", NOT_REPORTED if first.group is None else f"{first.group}: {', '.join(group)}"),
        *(("besides", other) for other in others),
        ("NUMA", NOT_REPORTED if first.numa_node is None else f"node {first.numa_node}, CPUs {first.cpus or '—'}"),
    ]
    lines = facts(rows, width, label_width=9)
    for function in card.functions:
        lines += [(), [(function.address, "strong"), (f"   {function.title}", "")]]
        lines += facts(_of_function(function, card.sriov.get(function.address)), width, label_width=9)
    counted: Line = [*title("Preflight"), (" " * (CONCERN - 6), ""), *counts(card.findings)]
    return [*lines, (), counted, (), *checks(card.findings, width)]


def _of_function(function: PciFunction, at_boot: int | None) -> list[tuple[str, str]]:
    bars = [
        f"{bar.index}: {bytes_shown(bar.size_bytes)}"
        + (f" (up to {bytes_shown(max(bar.resizable_bytes))})" if bar.resizable_bytes else "")
        for bar in function.bars
    ]
    resets = function.reset_methods
    users = [f"{user.process} ({user.pid}) holds {user.path}" for user in function.users or ()]
    rows = [
        ("ids", f"{function.pci_id}, class {function.class_code:06x}, subsystem {function.subsystem or '—'}"),
        ("driver", function.driver or ("none" if function.bars else NOT_REPORTED)),
        *([("works", use_words(function.use))] if function.use is not None else []),
        ("memory", ", ".join(bars) or NOT_REPORTED),
        ("reset", NOT_REPORTED if resets is None else ", ".join(resets) or "no way is known"),
        ("used by", NOT_REPORTED if function.users is None else "; ".join(users) or "nobody on the host"),
    ]
    if parts := parts_words(function, at_boot):
        rows.append(("SR-IOV", f"virtual functions: {parts}"))
    for place, kind in enumerate(function.mdev_types):
        free = NOT_REPORTED if kind.available is None else str(kind.available)
        rows.append(("makes" if place == 0 else "", f"{kind.id} {kind.name}: {free} free"))
    rows += [("carries", what) for what in function.carries]
    return rows
