"""Where a libvirt process is met: a socket, a lock and a log in a folder that only this user may enter."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM
from socket import socket as Socket

from console.domain.errors import FleetError
from console.drivers.libvirt import wire

PATH_LIMIT = 100
"""Bytes; the kernel's limit of a socket's path is 107."""


@dataclass(frozen=True, slots=True)
class Place:
    """The names of one process's files. inventory: what tells this fleet from others (its resolved path)."""

    folder: Path
    inventory: str
    mode: str = "full"

    @property
    def stem(self) -> str:
        """What distinguishes the process: inventory, mode and version, so that versions never meet."""
        digest = hashlib.sha256("\0".join((self.inventory, self.mode, wire.version())).encode())
        return f"libvirt-{digest.hexdigest()[:16]}"

    @property
    def socket(self) -> Path:
        """The socket's path."""
        return self.folder / f"{self.stem}.sock"

    @property
    def lock(self) -> Path:
        """The file whose lock the living process holds."""
        return self.folder / f"{self.stem}.lock"

    @property
    def log(self) -> Path:
        """The process's log."""
        return self.folder / f"{self.stem}.log"

    def prepare(self) -> None:
        """The folder exists and nobody else can enter it. Raises FleetError."""
        title = "The libvirt process cannot be reached"
        if len(os.fsencode(self.socket)) > PATH_LIMIT:
            raise FleetError(
                title,
                f"The path of its socket is longer than {PATH_LIMIT} bytes: {self.socket}",
                "Set XDG_RUNTIME_DIR to a shorter folder of yours.",
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat(follow_symlinks=False)
        except OSError as error:
            raise FleetError(title, f"{self.folder}: {error.strerror}", "Check the folder.") from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise FleetError(
                title,
                f"{self.folder} is not a folder that only you may enter.",
                f"Run: chmod 700 {self.folder}, or remove it if it is not yours.",
            )

    def take_lock(self) -> int | None:
        """Return the held lock's descriptor, or None when a process holds it. It is free when that one ends."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def listen(self) -> Socket:
        """Return the listening socket; for the holder of the lock alone. A dead process's socket is replaced."""
        self.socket.unlink(missing_ok=True)
        listener = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        old = os.umask(0o177)
        try:
            listener.bind(str(self.socket))
        finally:
            os.umask(old)
        listener.listen(64)
        listener.setblocking(False)
        return listener

    def answers(self) -> bool:
        """True when a process listens."""
        with Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            return True
