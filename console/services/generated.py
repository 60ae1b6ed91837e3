"""The generated files on disk beside what the inventory says: which are stale, and which somebody edited by hand.

A file that says it was made from what it would be made from now is not made again. One whose data is not what its
own head says was edited by hand: it is shown, and only ever overwritten by who says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.plan import FileDiff
from console.generate.header import body_of, read_head
from console.generate.nix import FOLDER, Machine, machines, machines_of
from console.inventory.writing import as_text, bytes_of

Written = Mapping[str, tuple[str | None, str | None]]
"""File -> (text before, text after), None where there is no file."""


@dataclass(slots=True)
class Findings:
    """What differs: file -> (text on disk, text wanted), None where there is, or is to be, no file.

    foreign: files of no machine that Quarterdeck has not written; they are left alone.
    """

    stale: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    edited: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    def require_unedited(self, what: str) -> None:
        """Raise FleetError with the way out if a file that was edited by hand would be overwritten."""
        if not self.edited:
            return
        names = ", ".join(self.edited)
        first = next(iter(self.edited)).removeprefix(f"{FOLDER}/")
        raise FleetError(
            f"{what}: refused.",
            f"Edited by hand, and about to be overwritten: {names}.",
            f"See the edit: qd generate --check. To keep it, move it to machines/{first}, which nothing overwrites, "
            "then give up the generated file: qd generate --overwrite. Nothing was changed.",
        )

    def stale_diffs(self) -> tuple[FileDiff, ...]:
        """Return what writing the stale files changes."""
        return tuple(file_diff(name, old, new) for name, (old, new) in self.stale.items())

    def edited_diffs(self) -> tuple[FileDiff, ...]:
        """Return what was done by hand: from what the inventory says to what is on disk."""
        return tuple(
            replace(file_diff(name, new, old), summary="edited by hand") for name, (old, new) in self.edited.items()
        )


def examine(fleet: Fleet, folder: Path) -> Findings:
    """Return how every generated file stands. Raises FleetError for what cannot be generated."""
    present = {f"{FOLDER}/{path.name}" for path in (folder / FOLDER).glob("*.nix")}
    wanted = machines(fleet)
    return _compare(folder, {name: wanted.get(name) for name in sorted(wanted.keys() | present)})


def examine_change(before: Fleet, after: Fleet, folder: Path) -> Findings:
    """Return the same of the files that a change touches; what is stale for another reason stays so."""
    same_head = replace(before, hosts={}) == replace(after, hosts={})
    touched: dict[str, Machine | None] = {}
    for name in sorted(before.hosts.keys() | after.hosts.keys()):
        # A machine's files hold nothing of other machines; but who serves netboot knows what they boot.
        if same_head and before.hosts.get(name) == after.hosts.get(name) and name != after.netboot.server:
            continue
        old, new = _of_host(before, name), _of_host(after, name)
        for path in sorted(old.keys() | new.keys()):
            was, now = old.get(path), new.get(path)
            if was is None or now is None or was.source() != now.source():
                touched[path] = now or touched.get(path)  # a guest that moves is gone from one host, and on another
    return _compare(folder, touched)


def file_diff(name: str, old: str | None, new: str | None) -> FileDiff:
    """Return what differs between two texts of a file, None where there is none."""
    lines = list(
        difflib.unified_diff(
            (old or "").splitlines(keepends=True), (new or "").splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )
    more, less = sum(line[0] == "+" for line in lines[2:]), sum(line[0] == "-" for line in lines[2:])
    counts = ", ".join(part for part in (more and f"+{more}", less and f"-{less}") if part)
    summary = f"new, {more} lines" if old is None else "deleted" if new is None else f"{counts} lines"
    return FileDiff(name=name, summary=summary, diff="".join(lines))


def _of_host(fleet: Fleet, name: str) -> dict[str, Machine]:
    found: Iterable[Machine] = machines_of(fleet, fleet.hosts[name]) if name in fleet.hosts else ()
    return {machine.path: machine for machine in found}


def _compare(folder: Path, wanted: Mapping[str, Machine | None]) -> Findings:
    findings = Findings()
    for name, machine in wanted.items():
        # Of a large fleet nearly all files are as they should be: their bytes tell that, and are never made a text.
        raw = bytes_of(folder / name)
        head = None if raw is None else read_head(raw)
        if machine is not None and head is not None and head.intact and head.source == machine.source():
            continue
        old = None if raw is None else as_text(raw)
        intact = old is None or (head is not None and head.intact)
        if machine is None:
            if old is not None and head is None:
                findings.foreign.append(name)
            elif old is not None:
                (findings.stale if intact else findings.edited)[name] = (old, None)
            continue
        new = machine.text()
        if head is not None and head.source is not None and body_of(new).encode() == head.body:
            # Made from what is spelled otherwise and means the same, or brought by hand to what it should be.
            if intact:
                continue
            intact = True
        if old != new:
            (findings.stale if intact else findings.edited)[name] = (old, new)
    return findings
