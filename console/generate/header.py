"""The head of a generated file: what it was made from, and whether somebody has edited it since.

# source: sha256-...   of all that the file is made from: who has the same need not be written anew
# digest: sha256-...   of the data below the head: it no longer fits when the data was edited by hand
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

HEAD = re.compile(
    rb"# Written by Quarterdeck [^\n]*\n(?:# [^\n]*\n)*?(?:# source: (?P<source>sha256-[0-9a-f]{64})\n)?"
    rb"# digest: (?P<digest>sha256-[0-9a-f]{64})\n"
)


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated file as it is on disk. source: None in files that say nothing of it. intact: as it was written."""

    source: str | None
    intact: bool
    body: memoryview


def digest(*parts: bytes) -> str:
    """Return the digest of parts whose borders count ("sha256-1f0c...")."""
    return _sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts) if len(parts) > 1 else parts[0])


def with_head(machine: str, host: str, source: str, body: str) -> str:
    """Return the whole text of a machine's file. host: whose TOML file has the machine."""
    return (
        f"# Written by Quarterdeck from fleet.toml and hosts/{host}.toml, anew with each change: do not edit.\n"
        f"# Your own settings go to machines/{machine}.nix.\n"
        f"# source: {source}\n"
        f"# digest: {digest(body.encode())}\n"
        f"{body}"
    )


def body_of(text: str) -> str:
    """Return the data of a whole text that with_head gave."""
    return text.split("\n", 4)[4]


def read_head(raw: bytes) -> Generated | None:
    """Return what a file's head says of it; None for a file that Quarterdeck has not written."""
    head = HEAD.match(raw)
    if head is None:
        return None
    body = memoryview(raw)[head.end() :]
    source = head["source"].decode() if head["source"] is not None else None
    return Generated(source, _sha256(body) == head["digest"].decode(), body)


def _sha256(raw: bytes | memoryview) -> str:
    return f"sha256-{hashlib.sha256(raw).hexdigest()}"
