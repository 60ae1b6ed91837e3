"""Hosts whose files have no fault of their own, by what they were read from: looked into once, here and in later runs.

Of a change's three readings of a fleet, and of all later ones, only files that are new are parsed and checked. Where
`remember` has named a file of the operator's own, this also holds from one process to the next; what is kept there is
as good as the code that checked it, and forgotten with that code.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path

import msgspec

from console.domain import model

WORTH_KEEPING_BYTES = 256 * 1024
"""So much TOML takes longer to parse and to check than the file of a fleet takes to read and to write."""

log = logging.getLogger(__name__)

Kept = dict[bytes, msgspec.Raw]


class _File(msgspec.Struct, array_like=True):
    """The file: which code has found the hosts sound, and what they are."""

    code: bytes
    hosts: Kept


class SoundHosts:
    """Hosts by the digest of what they were read from. Any thread may ask."""

    def __init__(self) -> None:
        self._hosts: dict[bytes, model.Host | msgspec.Raw] = {}
        self._path: Path | None = None
        self._unread: Path | None = None
        self._new_bytes = 0

    def remember(self, path: Path) -> None:
        """From now on what this file holds is known as well. It is read when a host is first asked for."""
        self._path = self._unread = path

    def find(self, key: bytes) -> model.Host | None:
        """Return the host with this key, None for one that was not found sound yet."""
        if (unread := self._unread) is not None:
            self._unread = None
            self._hosts = {**_read(unread), **self._hosts}
        found = self._hosts.pop(key, None)
        host = _decoded(found) if isinstance(found, msgspec.Raw) else found
        if host is not None:
            self._hosts[key] = host  # now the youngest
        return host

    def add(self, key: bytes, host: model.Host, size: int) -> None:
        """Take a host in. size: of its file, in bytes."""
        self._hosts[key] = host
        self._new_bytes += size

    def trim(self, count: int) -> None:
        """Forget the hosts that were asked for longest ago: so many may stay, and those of one more reading."""
        for key in list(self._hosts)[: -2 * count - 1]:
            self._hosts.pop(key, None)

    def keep(self) -> None:
        """Write the file, if so much was parsed since it was read that the next process gains by it."""
        if self._path is None or self._new_bytes < WORTH_KEEPING_BYTES:
            return
        self._new_bytes = 0
        try:
            _write(self._path, msgspec.msgpack.encode((_code(), self._hosts)))
        except OSError as error:
            log.warning("The next start parses the inventory anew: %s (%s)", error.strerror, self._path)


SOUND = SoundHosts()
"""This process's own."""


def key_of(*read_from: str) -> bytes:
    """Return the digest of texts whose borders count."""
    digest = hashlib.sha256()
    for text in read_from:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return digest.digest()


def _code() -> bytes:
    """Return what changes with the code that reads and checks: its files' places, sizes and times."""
    here = Path(__file__).parent
    files = sorted(entry for folder in (here, here.parent / "domain") for entry in folder.glob("**/*.py"))
    return key_of(*(f"{file} {(found := file.stat()).st_size} {found.st_mtime_ns}" for file in files))


def _read(path: Path) -> Kept:
    try:
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("The inventory is parsed anew: what was known of it cannot be read: %s (%s)", error, path)
        return {}
    return kept.hosts if kept.code == _code() else {}


def _decoded(raw: msgspec.Raw) -> model.Host | None:
    try:
        return msgspec.msgpack.decode(raw, type=model.Host)
    except msgspec.MsgspecError as error:
        log.warning("A host is parsed anew: what was known of it cannot be read: %s", error)
        return None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:  # for nobody else's eyes
        aside = Path(stream.name)
        try:
            stream.write(data)
            stream.close()
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
