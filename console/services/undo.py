"""Undoing a recorded change: its inverse, worked out from the fleets before and after it, as a plan.

What was built on the change since is never lost: each thing that it touched must still be as it left it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.model import Fleet, GuestKey
from console.domain.move import inventory_change, moved, without_notes
from console.domain.observed import HostState
from console.domain.plan import ApplyMode, Danger, Plan
from console.domain.record import Commit
from console.drivers.base import Repository
from console.inventory.files import parse_inventory
from console.inventory.store import Store
from console.services.edit import plan_edit
from console.services.plan import at_next_boot, plan_remove, restore_steps

DEPTH = 100
"""So many commits are looked through for the last change."""

TAKEN_BACK = "Take back: "
UNDO, REDO = "Undo: ", "Redo: "


@dataclass(frozen=True, slots=True)
class Undoable:
    """The last change of the inventory that Quarterdeck recorded, and the fleet before and after it."""

    commit: Commit
    before: Fleet
    after: Fleet

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it touched."""
        names = sorted(self.before.hosts.keys() | self.after.hosts.keys())
        return tuple(name for name in names if self.before.hosts.get(name) != self.after.hosts.get(name))

    @property
    def title(self) -> str:
        """What undoing it is called; undoing an undo is doing it again."""
        subject = self.commit.subject
        return f"{REDO}{subject.removeprefix(UNDO)}" if subject.startswith(UNDO) else f"{UNDO}{bare(subject)}"


def bare(subject: str) -> str:
    """Return a change's subject without the mark that it was done again."""
    return subject.removeprefix(REDO)


async def last_change(folder: Path, repository: Repository) -> Undoable:
    """Return what can be undone. Raises FleetError when there is nothing."""
    taken_back: Counter[str] = Counter()
    unmarked = 0
    for commit in await repository.log(folder, DEPTH):
        if not commit.ours:
            unmarked += 1
            continue
        if commit.subject.startswith(TAKEN_BACK):
            taken_back[commit.subject.removeprefix(TAKEN_BACK)] += 1
            continue
        if taken_back[commit.subject]:
            # It failed, and was taken back at once: together they changed nothing.
            taken_back[commit.subject] -= 1
            continue
        parent = await repository.commit_named(folder, f"{commit.id}^")
        if parent is None:
            break
        before, after = await _fleet(folder, repository, parent), await _fleet(folder, repository, commit.id)
        before = without_notes(before, after)
        if before != after:
            return Undoable(commit, before, after)
    if unmarked:
        raise FleetError(
            "There is nothing that Quarterdeck can undo.",
            f"{unmarked} of the newest commits do not bear its mark (Made-by: Quarterdeck): they were made by hand, or "
            "by a Quarterdeck that did not mark them yet. Those are left alone.",
            f"See qd history; by hand: git -C {shlex.quote(str(folder))} revert COMMIT",
        )
    raise FleetError(
        "There is nothing to undo.",
        "Quarterdeck has not changed the inventory, as far as its git repository knows.",
        "See: qd history",
    )


async def _fleet(folder: Path, repository: Repository, commit: str) -> Fleet:
    texts = await repository.texts(folder, commit)
    if "fleet.toml" not in texts:
        raise FleetError("The last change cannot be undone.", f"There was no inventory at {commit[:7]}.")
    inventory = parse_inventory(folder, texts)
    if inventory.faults:
        why = "\n".join(str(fault) for fault in inventory.faults)
        raise FleetError("The last change cannot be undone.", f"At {commit[:7]} the inventory had mistakes:\n{why}")
    return inventory.fleet


def plan_undo(store: Store, last: Undoable) -> Plan:
    """Return the plan that undoes a change, with its steps on hosts that are up.

    Raises FleetError with the reason when something that it touched was changed since, or must be shut down first.
    Disks of guests stay; guests that come back are defined, not started.
    """
    before, after, title = last.before, last.after, last.title
    try:
        target = moved(store.fleet, after, before)
    except FleetError as error:
        raise FleetError(
            f"{last.commit.subject} cannot be undone.", f"{error.title} {error.detail}".strip(), error.hint
        ) from None
    parts = []
    for name in last.hosts:
        old, new = before.hosts.get(name), after.hosts.get(name)
        was = dict(old.guests) if old else {}
        now = dict(new.guests) if new else {}
        for guest in sorted(was.keys() | now.keys()):
            key = GuestKey(name, guest)
            if was.get(guest) == now.get(guest) or name not in target.hosts or name not in store.fleet.hosts:
                continue
            if guest not in was:
                parts.append(plan_remove(store, key))
            elif guest not in now:
                parts.append(_restored(store, target, key))
            else:
                parts.append(plan_edit(store, key, was[guest], ApplyMode.NEXT_BOOT))
    return Plan(
        title=title,
        change=inventory_change(title, after, before, taken_back=True),
        steps=tuple(step for part in parts for step in part.steps),
        differences=tuple(at_next_boot(difference for part in parts for difference in part.differences)),
        warnings=tuple(warning for part in parts for warning in part.warnings),
        pending=tuple(key for part in parts for key in part.pending),
        danger=Danger.CONFIRM,
        confirm_word=last.hosts[0] if last.hosts else "",
    )


def _restored(store: Store, target: Fleet, key: GuestKey) -> Plan:
    view, guest = store.host(key.host), target.hosts[key.host].guests[key.guest]
    plan = Plan(title=f"Restore {key}")
    if view.seen.state is not HostState.UP:
        return replace(plan, pending=(key,))
    if any(other.uuid == guest.uuid for other in view.guests):
        return plan  # its domain is still there
    steps = restore_steps(target, view, guest)
    made = [step.sentence for step in steps if step.sentence.startswith("create ")]
    warnings = ("A disk that was deleted is made anew: what was on it is gone.",) if made else ()
    return replace(plan, steps=tuple(steps), warnings=warnings)
