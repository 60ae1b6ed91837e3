"""The line of a key in TOML text. A second look that happens only when there is an error to show."""

from __future__ import annotations

import re

import rtoml

HEADER = re.compile(r"\s*\[{1,2}(.+?)\]{1,2}\s*(#.*)?$")
KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=""")


def line_of(text: str, path: tuple[str, ...]) -> int | None:
    """Return the line (from 1) where `path` stands, or the nearest table above it; None when nothing matches."""
    best: tuple[int, int] | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            table = _keys(header.group(1))
            here = table
        elif key := KEY.match(line):
            here = table + _keys(key.group(1))
        else:
            continue
        depth = _common(here, path)
        if depth == len(here) and depth and (best is None or depth > best[0]):
            best = (depth, number)
    if best is None:
        # A table that is only implied ([guests.a.disks.boot] implies guests.a): its first line will do.
        for number, line in enumerate(text.splitlines(), 1):
            if (header := HEADER.match(line)) and _common(_keys(header.group(1)), path) == len(path):
                return number
    return best[1] if best else None


def header_keys(line: str) -> tuple[str, ...] | None:
    """Return the key path of a table header such as `[guests."web.1"]`, None for any other line."""
    header = HEADER.match(line)
    return (_keys(header.group(1)) or None) if header else None


def _keys(dotted: str) -> tuple[str, ...]:
    try:
        tree: object = rtoml.loads(f"{dotted} = 0")
    except rtoml.TomlParsingError:
        return ()
    keys: list[str] = []
    while isinstance(tree, dict) and len(tree) == 1:
        key, tree = next(iter(tree.items()))
        keys.append(key)
    return tuple(keys)


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
