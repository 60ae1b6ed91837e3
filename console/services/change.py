"""Changing what is wanted: one locked read-edit-check-write, its generated files with it, one commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from console.domain.errors import FleetError, InventoryError
from console.domain.model import Fleet
from console.domain.move import moved, without_notes
from console.domain.plan import FileDiff, InventoryChange
from console.domain.record import RepositoryState, obstacle, way_out
from console.drivers.base import Repository
from console.generate.nix import FOLDER as GENERATED
from console.generate.nix import machines_of
from console.inventory.files import (
    FLEET_FILE,
    Inventory,
    changed_texts,
    host_file_name,
    parse_inventory,
    read_inventory,
    uncollected,
)
from console.inventory.lock import locked
from console.inventory.writing import EditedMeanwhile, text_of, write_files
from console.services.generated import Findings, Written, examine, examine_change, file_diff

log = logging.getLogger(__name__)

Edit = Callable[[], Written]
"""Reads the files as they are now and says what is to be written."""

ATTEMPTS = 5
"""A file that somebody edits at the same moment is read again this often."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Committed:
    """A change that is on disk.

    written: file -> (text before, text now), None where there is no file. commit: its short id, None without a
    repository. warning: why it is not committed.
    """

    # Not shown: asyncio.run has Python show what its task returned, and a fleet of 10,000 guests takes 0.6 s to show.
    inventory: Inventory = field(repr=False)
    written: Written = field(repr=False)
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
    return await _to_the_end(
        _make(
            folder,
            change.summary,
            lambda: _planned(folder, change),
            repository,
            refused=change.summary,
            touched=lambda fleet: _touched(fleet, change),
        )
    )


async def take_back(folder: Path, change: InventoryChange, done: Committed, repository: Repository) -> Committed:
    """Undo a committed change: to the letter where its files are still as it left them, else what it touched.

    Raises FleetError with nothing written when somebody has built on the change since.
    """
    summary = f"Take back: {change.summary}"
    return await _to_the_end(_make(folder, summary, lambda: _restored(folder, change, done), repository))


async def _make(
    folder: Path,
    message: str,
    edit: Edit,
    repository: Repository,
    *,
    refused: str = "",
    touched: Callable[[Fleet], Sequence[str]] = lambda fleet: (),
) -> Committed:
    """Write and commit, as the only one who does so. refused: what a repository that is not clear stops, if anything.

    What others wrote and did not commit in the same files gets a commit of its own, so that this one holds, and an
    undo takes back, the change alone. touched: files that are committed even if they are already as they should be:
    whoever wrote them was killed before the commit.
    """
    async with locked(folder):
        state = await _standing(folder, repository)
        if refused and (why := obstacle(state)):
            raise FleetError(f"{refused}: refused.", why, f"{way_out(state, str(folder))} Nothing was changed.")
        for attempt in range(ATTEMPTS):
            changes = await asyncio.to_thread(edit)
            if loose := [name for name in changes if name in state.uncommitted]:
                await _keep(folder, loose, repository)
                changes = await asyncio.to_thread(edit)  # that took its time: what is written must not be old
            try:
                inventory = await asyncio.to_thread(_write, folder, changes)
            except EditedMeanwhile:
                if attempt == ATTEMPTS - 1:
                    raise
                state = await _standing(folder, repository)
            else:
                written = [name for name in touched(inventory.fleet) if name in state.uncommitted]
                files = tuple(dict.fromkeys((*changes, *written)))
                return await _commit(folder, inventory, changes, files, message, repository)
        raise AssertionError


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await it; who cancels waits until it has ended: files that are written are committed, and under the lock."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _standing(folder: Path, repository: Repository) -> RepositoryState:
    try:
        return await repository.standing(folder)
    except FleetError as error:
        # A history that cannot be read must not stop the work: the commit fails next, and that is told.
        log.warning("The repository of %s was not looked at: %s", folder, error)
        return RepositoryState()


async def _keep(folder: Path, files: Sequence[str], repository: Repository) -> None:
    try:
        await repository.commit(folder, files, f"Keep what was not committed: {', '.join(files)}", by_hand=True)
    except FleetError as error:
        log.warning("What was not committed before in %s was not committed: %s", folder, error)


def _restored(folder: Path, change: InventoryChange, done: Committed) -> Written:
    if all(text_of(folder / name) == now for name, (_, now) in done.written.items()):
        texts: dict[str, str | None] = dict(read_inventory(folder).texts)
        texts |= {name: old for name, (old, _) in done.written.items() if not name.startswith(f"{GENERATED}/")}
        if not parse_inventory(folder, {name: text for name, text in texts.items() if text is not None}).faults:
            return {name: (now, old) for name, (old, now) in done.written.items()}
    before, after = without_notes(change.before, change.after), change.after
    return _planned(folder, InventoryChange(summary=f"Take back: {change.summary}", before=after, after=before))


async def _commit(
    folder: Path, inventory: Inventory, written: Written, files: tuple[str, ...], message: str, repository: Repository
) -> Committed:
    if not files:
        return Committed(inventory, {}, None)
    try:
        commit = await repository.commit(folder, files, message)
    except FleetError as error:
        why = " ".join(f"Written, but not committed: {error.title} {error.detail} {error.hint}".split())
        return Committed(inventory, written, None, why)
    return Committed(inventory, written, commit)


def preview_change(folder: Path, change: InventoryChange) -> tuple[FileDiff, ...]:
    """Return what commit_change would write, as diffs. Raises as it does; writes nothing."""
    inventory = read_inventory(folder)
    return tuple(file_diff(name, old, new) for name, (old, new) in _changes(inventory, change, folder).items())


def _planned(folder: Path, change: InventoryChange) -> Written:
    changes = _changes(read_inventory(folder), change, folder)
    # Generated files first: should this process be killed halfway, the inventory still says what is wanted
    # and `qd generate --check` shows what is left.
    return {name: changes[name] for name in sorted(changes, key=lambda name: not name.startswith(f"{GENERATED}/"))}


def _write(folder: Path, changes: Written) -> Inventory:
    write_files(
        folder, {name: new for name, (_, new) in changes.items()}, {name: old for name, (old, _) in changes.items()}
    )
    return read_inventory(folder)


def _touched(fleet: Fleet, change: InventoryChange) -> list[str]:
    """Return the files that a change may write, once it is made in the fleet."""
    before, after = change.before, change.after
    names = [] if replace(before, hosts={}) == replace(after, hosts={}) else [FLEET_FILE]
    for name in dict.fromkeys((*before.hosts, *after.hosts)):
        machines = (each.path for each in machines_of(fleet, fleet.hosts[name])) if name in fleet.hosts else ()
        names += [host_file_name(name), f"{GENERATED}/{name}.nix", *machines]
    return names


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
    generated = examine_change(before, after, folder)
    generated.require_unedited(change.summary)
    return changes | generated.stale


def generated_findings(folder: Path) -> Findings:
    """Return the generated files that are not what the inventory says. Raises for faults."""
    with uncollected():
        return examine(_sound(read_inventory(folder)), folder)


async def regenerate(folder: Path, repository: Repository, *, overwrite: bool = False) -> Committed:
    """Write every generated file that is stale, delete what belongs to no machine, commit.

    Raises FleetError with nothing written where one was edited by hand; overwrite: those are written too.
    """
    return await _to_the_end(
        _make(folder, "Generate", lambda: _regenerated(folder, overwrite=overwrite), repository, refused="Generate")
    )


def write_generated(folder: Path) -> None:
    """Do the same for a new inventory, which nobody else knows yet. Raises FleetError for its faults."""
    _write(folder, _regenerated(folder, overwrite=False))


def _regenerated(folder: Path, *, overwrite: bool) -> Written:
    findings = generated_findings(folder)
    if overwrite:
        return dict(sorted({**findings.stale, **findings.edited}.items()))
    findings.require_unedited("Generate")
    return findings.stale
