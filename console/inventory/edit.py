"""Edits of TOML text that keep its comments and order.

A file is a list of sections: a table's header with the comment directly above it, and what follows. Each section is
edited by itself, by tomlkit; tomlkit on the whole file counts a table's comment to the table before it, and so gives
it to the wrong neighbour when something is added or removed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Whitespace

from console.domain.errors import FleetError
from console.inventory.lines import header_keys
from console.inventory.tables import Table

INLINE = frozenset({"source"})
"""Tables that are written on one line."""

IDENTITY = frozenset({"uuid", "mac", "target", "mdev_uuid"})
"""Keys that a hand-written guest may leave out; they are written as soon as the guest is edited."""

BARE = re.compile(r"[A-Za-z0-9_-]+\Z")

Path = tuple[str, ...]


@dataclass(slots=True)
class _Section:
    """One table's own lines. head: the comment above it and its header; () is the path of what has no header."""

    path: Path
    head: str
    body: str


def new_text(table: Table, heading: str) -> str:
    """Return a new file's text under a one-line comment."""
    return edited_text(f"# {heading}\n", {}, table)


def edited_text(text: str, before: Table, after: Table) -> str:
    """Return text with the difference between two tables applied; all else stays to the letter.

    Raises FleetError for text that is TOML but cannot be told apart into its tables.
    """
    sections = list(_sections(text))
    try:
        _merge(sections, (), before, after, after)
    except TOMLKitError as error:
        raise FleetError(
            "The file cannot be edited by Quarterdeck.", f"{error}.", "Make the change by hand, in simpler TOML."
        ) from None
    return "".join(section.head + section.body for section in sections)


def _sections(text: str) -> Iterator[_Section]:
    lines = text.splitlines(keepends=True)
    starts: list[tuple[int, int, Path]] = []
    for place, line in enumerate(lines):
        if (keys := header_keys(line)) is not None:
            starts.append((place - _comment_above(lines, place), place + 1, keys))
    ends = [*(start for start, _, _ in starts), len(lines)]
    yield _Section((), "", "".join(lines[: ends[0]]))
    for (start, body, keys), end in zip(starts, ends[1:], strict=True):
        yield _Section(keys, "".join(lines[start:body]), "".join(lines[body:end]))


def _comment_above(lines: list[str], place: int) -> int:
    count = 0
    while place - count > 0 and lines[place - count - 1].lstrip().startswith("#"):
        count += 1
    return count


def _merge(sections: list[_Section], path: Path, before: Table, after: Table, root: Table) -> None:
    own = next((section for section in sections if section.path == path), None)
    document = tomlkit.parse(own.body) if own is not None else tomlkit.document()
    old_text = tomlkit.dumps(document)
    for key in before.keys() - after.keys():
        _remove(document, key, before[key])
        _drop(sections, (*path, key))
    for key, value in after.items():
        # From here on we are inside one guest that is being edited: what it lacks is written.
        inside = len(path) >= 2
        if key in document or not isinstance(value, dict) or key in INLINE:
            _set(document, key, before.get(key), value, inside)
        elif value != before.get(key) or inside:
            old = before.get(key)
            _merge(sections, (*path, key), old if isinstance(old, dict) else {}, value, root)
    text = tomlkit.dumps(document)
    if text != old_text:
        if own is None:
            own = _insert(sections, path, root)
        own.body = text + own.body.removeprefix(old_text)


def _set(container: Any, key: str, old: Any, value: Any, inside: bool) -> None:  # Any: tomlkit's own types
    present = container.get(key)
    if isinstance(value, dict) and isinstance(present, dict):
        before = old if isinstance(old, dict) else {}
        for name in before.keys() - value.keys():
            _remove(present, name, before[name])
        for name, inner in value.items():
            _set(present, name, before.get(name), inner, inside)
    elif present is not None and value != old:
        container[key] = _item(value)
    elif present is None and (value != old or (inside and key in IDENTITY)):
        _append(container, key, _item(value))


def _remove(container: Any, key: str, old: Any) -> None:
    """Take a key out. A switch stays, turned: left out it means the same, but somebody may have written it there."""
    if isinstance(old, bool) and key in container:
        container[key] = not old
    elif key in container:
        del container[key]


def _drop(sections: list[_Section], gone: Path) -> None:
    """Take out a table with all that is in it, and at the file's end the blank line above it."""
    last = sections[-1]
    sections[:] = [section for section in sections if section.path[: len(gone)] != gone]
    end = sections[-1]
    if end is not last:
        body = end.body.rstrip("\n")
        end.body = f"{body}\n" if body else ""


def _append(container: Any, key: str, item: Any) -> None:
    """Add a key after the last one, above the blank lines and comments that end the section."""
    body = getattr(container, "body", None)
    if body is None:
        container[key] = item
        return
    trivia: list[Any] = []
    while body and body[-1][0] is None and isinstance(body[-1][1], Comment | Whitespace):
        trivia.insert(0, body.pop())
    if not body:
        # Nothing but a comment: the file's own heading, which stays on top.
        body.extend(trivia)
        trivia = []
    container[key] = item
    body.extend(trivia)


def _item(value: Any) -> Any:
    if not isinstance(value, dict):
        return tomlkit.item(value)
    inline = tomlkit.inline_table()
    inline.update({key: _item(inner) for key, inner in value.items()})
    return inline


def _insert(sections: list[_Section], path: Path, root: Table) -> _Section:
    """Add an empty section: after its elder siblings in `root`'s order, else before the younger ones."""
    place = _place(sections, path, root)
    before = sections[place - 1]
    for part in (before.head, before.body):
        if part and not part.endswith("\n"):
            before.body += "\n"
    if (before.head + before.body).strip() and not (before.head + before.body).endswith("\n\n"):
        before.body += "\n"
    header = ".".join(key if BARE.match(key) else f'"{key}"' for key in path)
    made = _Section(path, f"[{header}]\n", "\n" if place < len(sections) else "")
    sections.insert(place, made)
    return made


def _place(sections: list[_Section], path: Path, root: Table) -> int:
    inner = [place for place, section in enumerate(sections) if section.path[: len(path)] == path]
    if inner:
        return inner[0]
    parent = path[:-1]
    table: Any = root
    for key in parent:
        table = table[key]
    elder = list(table)[: list(table).index(path[-1])]
    older = [
        place
        for place, section in enumerate(sections)
        if section.path == parent or any(section.path[: len(path)] == (*parent, key) for key in elder)
    ]
    if older:
        return older[-1] + 1
    return _place(sections, parent, root)
