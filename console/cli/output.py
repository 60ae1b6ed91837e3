"""What commands print: aligned columns, JSON, and errors; nothing from outside reaches the terminal raw."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from console.domain.errors import Fault, FleetError
from console.domain.plan import Outcome, Plan
from console.domain.text import cells, plain, plain_lines


def safe(text: str) -> str:
    """Return text without anything that could drive a terminal or misalign a line; line ends stay."""
    return plain_lines(text)


def counted(number: int, what: str) -> str:
    """Return "1 host", "2 hosts"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def show_faults(faults: Iterable[Fault]) -> None:
    """Print the mistakes of the inventory's files on stderr: what is listed may lack the hosts of those files."""
    for fault in faults:
        print(f"qd: {safe(str(fault))}", file=sys.stderr)


def show_json(value: Any) -> None:
    """Print JSON, readable."""
    print(json.dumps(value, indent=2))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; a column whose head begins with ">" is right-aligned."""
    right = [head.startswith(">") for head in heads]
    table = [[head.lstrip(">") for head in heads], *([plain(cell) for cell in row] for row in rows)]
    widths = [max(cells(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        blanks = [" " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)]
        padded = (b + c if r else c + b for c, b, r in zip(row, blanks, right, strict=True))
        print("  ".join(padded).rstrip())


def show_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print label and value, aligned; empty values are left out."""
    width = max(len(label) for label, _ in facts)
    for label, value in facts:
        if value:
            print(f"{label.ljust(width)}  {plain(value)}")


def show_error(error: FleetError) -> None:
    """Print what was refused, why, and the way out, on stderr."""
    lines = safe(str(error)).splitlines()
    print(f"qd: {lines[0]}", file=sys.stderr)
    for line in lines[1:]:
        print(f"    {line}", file=sys.stderr)


def show_plan(plan: Plan) -> None:
    """Print what a plan would do."""
    idle = plan.is_empty and not plan.refusals and not plan.pending
    print(safe(f"{plan.title}: nothing to do." if idle else plan.title))
    for file in plan.files:
        print(safe(f"  file     {file.name}  ({file.summary})"))
    for difference in plan.differences:
        when = f"  ({difference.when})" if difference.when else ""
        change = f"{difference.seen or '—'} → {difference.wanted or '—'}"
        print(safe(f"  differs  {difference.guest}  {difference.fact}: {change}{when}"))
    for step in plan.steps:
        print(safe(f"  do       {step.host}  {step.sentence}"))
    for key in plan.pending:
        print(safe(f"  pending  {key}  {key.host} is not up"))
    for refusal in plan.refusals:
        print(safe(f"  refused  {refusal}"))
    for warning in plan.warnings:
        print(safe(f"  note     {warning}"))


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON-like data."""
    return {
        "title": plan.title,
        "files": [{"name": file.name, "summary": file.summary, "diff": file.diff} for file in plan.files],
        "differences": [
            {"guest": str(d.guest), "fact": d.fact, "seen": d.seen, "wanted": d.wanted, "when": d.when}
            for d in plan.differences
        ],
        "steps": [
            {
                "host": s.host,
                "guest": str(s.guest) if s.guest else None,
                "step": s.sentence,
                "verb": type(s.verb).__name__,
            }
            for s in plan.steps
        ],
        "pending": [str(key) for key in plan.pending],
        "refusals": list(plan.refusals),
        "warnings": list(plan.warnings),
    }


def show_outcome(outcome: Outcome, plan: Plan) -> int:
    """Print how an apply ended; return the exit status."""
    for warning in plan.warnings:
        print(f"note: {safe(warning)}", file=sys.stderr)
    for what, why in outcome.failures:
        lines = safe(why).splitlines()
        print(f"qd: {safe(what)}: {lines[0] if lines else ''}", file=sys.stderr)
        for line in lines[1:]:
            print(f"    {line}", file=sys.stderr)
    for undone in outcome.undone:
        print(f"    undone: {safe(undone)}", file=sys.stderr)
    for left in outcome.left:
        print(f"    left: {safe(left)}", file=sys.stderr)
    for note in outcome.notes:
        print(f"note: {safe(note)}", file=sys.stderr)
    if outcome.ok:
        print(safe(outcome.sentence) + (f" ({outcome.commit})" if outcome.commit else ""))
    return 0 if outcome.ok else 1
