"""Changing what is wanted: one locked read-edit-check-write, its generated files with it, one commit."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from console.domain.errors import FleetError, InventoryError
from console.domain.model import Fleet
from console.domain.move import moved, without_notes
from console.domain.plan import FileDiff, InventoryChange
from console.domain.record import obstacle, way_out
from console.drivers.base import Repository
from console.generate.nix import FOLDER as GENERATED
from console.generate.nix import generated_files, machine_files
from console.inventory.files import Inventory, changed_texts, locked, parse_inventory, read_inventory, write_files

log = logging.getLogger(__name__)

Written = Mapping[str, tuple[str | None, str | None]]
"""File -> (text before, text after), None where there is no file."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A change that is on disk.

    written: file -> (text before, text now), None where there is no file. commit: its short id, None without a
    repository. warning: why it is not committed.
    """

    inventory: Inventory
    written: Written
    commit: str | None
    warning: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that were written or deleted, in that order."""
        return tuple(self.written)


async def commit_change(folder: Path, change: InventoryChange, repository: Repository) -> Committed:
    """Make the change on disk, in the files as they are now, and commit it with its generated files.

    Raises FleetError with nothing written when the inventory has faults, the edit is refused there, or the
    repository is in the middle of something or behind what others share.
    """
    await _require_clear(folder, change.summary, repository)
    inventory, written = await asyncio.to_thread(_write, folder, change)
    return await _commit(folder, inventory, written, change.summary, repository)


async def take_back(folder: Path, change: InventoryChange, done: Committed, repository: Repository) -> Committed:
    """Undo a committed change: to the letter where its files are still as it left them, else what it touched.

    Raises FleetError with nothing written when somebody has built on the change since.
    """
    inventory, written = await asyncio.to_thread(_restore, folder, change, done)
    return await _commit(folder, inventory, written, f"Take back: {change.summary}", repository)


async def _require_clear(folder: Path, what: str, repository: Repository) -> None:
    try:
        state = await repository.standing(folder)
    except FleetError as error:
        # A history that cannot be read must not stop the work: the commit fails next, and that is told.
        log.warning("The repository of %s was not looked at: %s", folder, error)
        return
    if why := obstacle(state):
        raise FleetError(f"{what}: refused.", why, f"{way_out(state, str(folder))} Nothing was changed.")


def _restore(folder: Path, change: InventoryChange, done: Committed) -> tuple[Inventory, Written]:
    with locked(folder):
        if all(_text(folder / name) == now for name, (_, now) in done.written.items()):
            texts: dict[str, str | None] = dict(read_inventory(folder).texts)
            texts |= {name: old for name, (old, _) in done.written.items() if not name.startswith(f"{GENERATED}/")}
            if not parse_inventory(folder, {name: text for name, text in texts.items() if text is not None}).faults:
                write_files(folder, {name: old for name, (old, _) in done.written.items()})
                return read_inventory(folder), {name: (now, old) for name, (old, now) in done.written.items()}
    before, after = without_notes(change.before, change.after), change.after
    return _write(folder, InventoryChange(summary=f"Take back: {change.summary}", before=after, after=before))


async def _commit(
    folder: Path, inventory: Inventory, written: Written, message: str, repository: Repository
) -> Committed:
    if not written:
        return Committed(inventory, {}, None)
    try:
        commit = await repository.commit(folder, tuple(written), message)
    except FleetError as error:
        why = f"Written, but not committed: {error.title} {error.detail}".strip()
        return Committed(inventory, written, None, why)
    return Committed(inventory, written, commit)


def preview_change(folder: Path, change: InventoryChange) -> tuple[FileDiff, ...]:
    """Return what commit_change would write, as diffs. Raises as it does; writes nothing."""
    inventory = read_inventory(folder)
    return tuple(
        FileDiff(name=name, summary=_summary(name, old, new), diff=_diff(name, old, new))
        for name, (old, new) in _changes(inventory, change, folder).items()
    )


def _write(folder: Path, change: InventoryChange) -> tuple[Inventory, Written]:
    with locked(folder):
        inventory = read_inventory(folder)
        changes = _changes(inventory, change, folder)
        # Generated files first: should the writing stop halfway, the inventory still says what is wanted
        # and `qd generate --check` shows what is left.
        ordered = sorted(changes, key=lambda name: not name.startswith(f"{GENERATED}/"))
        write_files(folder, {name: changes[name][1] for name in ordered})
        return read_inventory(folder), {name: changes[name] for name in ordered}


def _sound(inventory: Inventory) -> Fleet:
    inventory.require_sound()
    return inventory.fleet


def _changes(inventory: Inventory, change: InventoryChange, folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return file -> (old text, new text) for the inventory and the machines that the change touches."""
    before = _sound(inventory)
    after = moved(before, change.before, change.after)
    try:
        texts = changed_texts(inventory, after)
    except InventoryError as error:
        # The files are sound as they are: it is the change that does not fit, perhaps since the plan was made.
        why = "\n".join(fault.message for fault in error.faults)
        raise FleetError(f"{change.summary}: refused.", why, "Nothing was changed.") from None
    changes: dict[str, tuple[str | None, str | None]] = {
        name: (inventory.texts.get(name), text) for name, text in texts.items()
    }
    same_head = replace(before, hosts={}) == replace(after, hosts={})
    for name in sorted(before.hosts.keys() | after.hosts.keys()):
        if same_head and before.hosts.get(name) == after.hosts.get(name):
            continue  # a machine's files hold nothing of other machines
        wanted = machine_files(after, name) if name in after.hosts else {}
        known = machine_files(before, name) if name in before.hosts else {}
        for file in sorted(wanted.keys() | known.keys()):
            old = _text(folder / file)
            if wanted.get(file) != known.get(file) and old != wanted.get(file):
                changes[file] = (old, wanted.get(file))
    return changes


def _text(path: Path) -> str | None:
    """Return a file's text, None where there is none; what is not text has its bytes escaped."""
    try:
        return path.read_bytes().decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FleetError(f"{path.name} cannot be read.", f"{error.strerror} ({path}).") from None


def _diff(name: str, old: str | None, new: str | None) -> str:
    return "".join(
        difflib.unified_diff(
            (old or "").splitlines(keepends=True), (new or "").splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )


def _summary(name: str, old: str | None, new: str | None) -> str:
    lines = [line for line in _diff(name, old, new).splitlines()[2:] if line[:1] in "+-"]
    more, less = sum(line[0] == "+" for line in lines), sum(line[0] == "-" for line in lines)
    if old is None:
        return f"new, {more} lines"
    if new is None:
        return "deleted"
    return ", ".join(part for part in (more and f"+{more}", less and f"-{less}") if part) + " lines"


def stale(folder: Path) -> tuple[FileDiff, ...]:
    """Return the generated files that are not what the inventory says, with diffs. Raises for faults."""
    inventory = read_inventory(folder)
    return tuple(
        FileDiff(name=name, summary=_summary(name, old, new), diff=_diff(name, old, new))
        for name, (old, new) in _stale(_sound(inventory), folder).items()
    )


async def regenerate(folder: Path, repository: Repository) -> Committed:
    """Write every generated file that is stale, delete what belongs to no machine, commit."""
    await _require_clear(folder, "Generate", repository)
    inventory, written = await asyncio.to_thread(write_generated, folder)
    return await _commit(folder, inventory, written, "Generate", repository)


def write_generated(folder: Path) -> tuple[Inventory, Written]:
    """Do the same without the commit. Raises FleetError for faults of the inventory."""
    with locked(folder):
        inventory = read_inventory(folder)
        changes = _stale(_sound(inventory), folder)
        write_files(folder, {name: new for name, (_, new) in changes.items()})
        return inventory, changes


def _stale(fleet: Fleet, folder: Path) -> dict[str, tuple[str | None, str | None]]:
    wanted = generated_files(fleet)
    present = {f"{GENERATED}/{path.name}" for path in (folder / GENERATED).glob("*.nix")}
    changes: dict[str, tuple[str | None, str | None]] = {}
    for name in sorted(wanted.keys() | present):
        old = _text(folder / name)
        if old != wanted.get(name):
            changes[name] = (old, wanted.get(name))
    return changes
