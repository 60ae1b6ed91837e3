"""A plan as lines: what will happen, what differs, how it goes, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.domain.plan import Difference, Outcome, Plan, Progress, StepState
from screens.lines import hanging, title
from screens.widgets import Line, fit, line_width

GLYPHS: Mapping[StepState, tuple[str, str]] = {
    StepState.WAITING: ("·", "quiet"),
    StepState.RUNNING: ("↻", "accent"),
    StepState.DONE: ("✔", "good"),
    StepState.FAILED: ("✖", "bad"),
    StepState.UNDONE: ("↶", "warn"),
    StepState.SKIPPED: ("–", "quiet"),
}
INVENTORY = -1
"""Progress.index of the inventory's own commit."""


def happenings(plan: Plan, width: int) -> list[Line]:
    """Return the numbered list of what an apply does, in its order: files, then steps by host."""
    rows = [(file.name, file.summary) for file in plan.files]
    if plan.change is not None and not plan.files:
        rows.append(("inventory", plan.change.summary))
    rows += [(step.host, step.sentence) for step in plan.steps]
    places = max((line_width([(place, "")]) for place, _ in rows), default=0)
    lines: list[Line] = []
    for number, (place, what) in enumerate(rows, 1):
        lines += hanging([(f"{number:>4}  ", "quiet"), (fit(place, min(places, 30)) + "  ", "")], what, "", width)
    return lines


def targets(plan: Plan, width: int) -> list[Line]:
    """Return the guests that something is done to, all of them, host by host."""
    hosts: dict[str, list[str]] = {}
    for key in dict.fromkeys(step.guest for step in plan.steps if step.guest is not None):
        hosts.setdefault(key.host, []).append(key.guest)
    places = min(30, max((line_width([(host, "")]) for host in hosts), default=0))
    lines: list[Line] = []
    for host, names in hosts.items():
        lines += hanging([("  " + fit(host, places) + f" {len(names):>4}  ", "quiet")], " ".join(names), "", width)
    return lines


def cautions(plan: Plan, width: int, warnings: Sequence[str] = ()) -> list[Line]:
    """Return refusals, warnings and what stays pending, the worst first."""
    lines: list[Line] = []
    for refusal in plan.refusals:
        lines += hanging([("✖ ", "bad")], refusal, "bad", width)
    for warning in dict.fromkeys((*plan.warnings, *warnings)):
        lines += hanging([("▲ ", "warn")], warning, "warn", width)
    for key in plan.pending:
        lines += hanging(
            [("◌ ", "warn")], f"{key} stays pending: {key.host} is not up. Apply again once it is.", "", width
        )
    return lines


def differences(found: Sequence[Difference], width: int, *, indent: int = 2) -> list[Line]:
    """Return fact, seen -> wanted, and when it takes effect, in columns; what is too long for them goes below."""
    cells = [(d.fact, d.seen or "—", d.wanted or "—", d.when) for d in found]
    facts = min(24, max((_cells(fact) for fact, *_ in cells), default=0))
    wants = max((_cells(wanted) for _, _, wanted, _ in cells if _cells(wanted) <= width // 4), default=1)
    seens = max((_cells(seen) for _, seen, *_ in cells if _cells(seen) <= width // 4), default=1)
    lines: list[Line] = []
    for fact, seen, wanted, when in cells:
        prefix: Line = [(" " * indent + fit(fact, facts) + "  ", "quiet")]
        late = f"   {when}" if when else ""
        if _cells(seen) <= seens and indent + facts + seens + 7 + _cells(wanted + late) <= width:
            wanted += " " * (wants - _cells(wanted))
            lines.append([*prefix, (fit(seen, seens), ""), ("  →  ", "accent"), (wanted, "strong"), (late, "quiet")])
            continue
        lines += hanging(prefix, seen, "", width)
        lines += hanging([(" " * (indent + facts), ""), ("→ ", "accent")], wanted, "strong", width)
        lines[-1] = [*lines[-1], (late, "quiet")]
    return lines


def _cells(text: str) -> int:
    return line_width([(text, "")])


def whole_plan(plan: Plan, width: int) -> list[Line]:
    """Return a plan grouped by host and guest: differences and steps of each, then the files."""
    lines: list[Line] = []
    hosts = sorted({step.host for step in plan.steps} | {d.guest.host for d in plan.differences})
    number = 0
    for host in hosts:
        lines += [[(host, "title")]]
        steps = [step for step in plan.steps if step.host == host]
        keys = dict.fromkeys([d.guest for d in plan.differences if d.guest.host == host] + [s.guest for s in steps])
        for key in keys:
            lines.append([("  " + (key.guest if key else "the host itself"), "strong")])
            lines += differences([d for d in plan.differences if d.guest == key], width, indent=4)
            for step in steps:
                if step.guest == key:
                    number += 1
                    lines += hanging([(f"{number:>6}  ", "quiet")], step.sentence, "", width)
        lines.append([])
    rest = cautions(plan, width)
    if plan.files:
        lines.append(title("Files"))
        lines += [*files(plan, width), *([[]] if rest else [])]
    return [*lines, *rest]


def files(plan: Plan, width: int) -> list[Line]:
    """Return the files that a plan changes, each with how."""
    names = min(width // 2, max((_cells(file.name) for file in plan.files), default=0))
    return [[("  " + fit(file.name, names) + "  ", ""), (file.summary, "quiet")] for file in plan.files]


def counts(plan: Plan) -> str:
    """Return how much a plan does: "2 hosts, 3 guests, 5 steps"."""
    guests = {step.guest for step in plan.steps if step.guest} | {d.guest for d in plan.differences}
    hosts = {step.host for step in plan.steps}
    parts = ((len(hosts), "host"), (len(guests), "guest"), (len(plan.steps), "step"), (len(plan.files), "file"))
    return ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for count, word in parts if count)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step as it is shown. detail: why it failed; note: what stands behind its sentence."""

    place: str
    sentence: str
    state: StepState
    detail: str = ""
    note: str = ""


def progress(plan: Plan, heard: Mapping[int, Progress], running_s: Mapping[int, float], width: int) -> list[Line]:
    """Return each step with its state; heard: the last progress by index; running_s: seconds of a running step."""
    steps = [(INVENTORY, "inventory", plan.change.summary)] if plan.change is not None else []
    steps += [(index, step.host, step.sentence) for index, step in enumerate(plan.steps)]
    rows: list[StepRow] = []
    for index, place, sentence in steps:
        last = heard.get(index)
        state = last.state if last is not None else StepState.WAITING
        note = ""
        if state is StepState.DONE and index == INVENTORY and last is not None and last.detail:
            note = f"(commit {last.detail})"
        elif running_s.get(index, 0.0) >= 2:
            note = f"({running_s[index]:.0f} s)"
        text = last.sentence if last is not None and state is StepState.UNDONE else sentence
        rows.append(
            StepRow(place=place, sentence=text, state=state, detail=last.detail if last is not None else "", note=note)
        )
    return step_lines(rows, width)


def step_lines(rows: Sequence[StepRow], width: int) -> list[Line]:
    """Return steps with their states, one below the other; below a failed one the reason."""
    places = min(max((line_width([(row.place, "")]) for row in rows), default=0), 24)
    lines: list[Line] = []
    for row in rows:
        glyph, style = GLYPHS[row.state]
        note = "(not tried)" if row.state is StepState.SKIPPED else row.note
        quiet = row.state in (StepState.WAITING, StepState.SKIPPED)
        prefix: Line = [(f"  {glyph}  ", style), (fit(row.place, places) + "  ", "quiet")]
        lines += hanging(prefix, f"{row.sentence} {note}".rstrip(), "quiet" if quiet else "", width)
        if row.state is StepState.FAILED:
            for part in row.detail.splitlines():
                lines += hanging([("     " + " " * places + "  ", "")], part, "bad", width)
    return lines


def ending(outcome: Outcome, width: int, told: Sequence[str] = ()) -> list[Line]:
    """Return how an apply ended. told: reasons that stand beside their step already."""
    glyph, style = ("✔ ", "good") if outcome.ok else ("✖ ", "bad")
    lines = hanging([(glyph, style)], outcome.sentence, style, width)
    for what, why in outcome.failures:
        if why not in told:
            lines += hanging([("  ", "")], f"{what}: {why}", "", width)
    for label, entries, how in (("taken back", outcome.undone, "quiet"), ("left as is", outcome.left, "warn")):
        for entry in entries:
            lines += hanging([(f"  {label}  ", "quiet")], entry, how, width)
    for note in outcome.notes:
        lines += hanging([("  • ", "quiet")], note, "", width)
    # A single one is named by the sentence.
    for key in outcome.pending if len(outcome.pending) > 1 else ():
        lines += hanging([("  ◌ ", "warn")], f"{key} is pending: apply again once {key.host} is up.", "", width)
    return lines


def diff_lines(plan: Plan) -> list[Line]:
    """Return the diffs of all files, added lines and removed lines marked by sign and colour."""
    lines: list[Line] = []
    for file in plan.files:
        lines.append([(file.name, "strong"), ("  " + file.summary, "quiet")])
        for text in file.diff.splitlines():
            marks = {"+": "good", "-": "bad", "@": "accent"}
            style = "quiet" if text.startswith(("+++ ", "--- ")) else marks.get(text[:1], "")
            lines.append([("  " + text, style)])
        if not file.diff:
            lines.append([("  (no text to compare)", "quiet")])
        lines.append([])
    return lines[:-1]
