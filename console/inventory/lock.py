"""The inventory's lock: one writer at a time, over all processes and operators of this machine.

It is the kernel's lock of the folder itself: it needs no file, all who may read the folder can take it, and it ends
with the process that holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.values import shown
from console.inventory.files import no_inventory

WAIT_S = 10.0
"""A change takes tenths of a second; a git hook may take longer."""

POLL_S = 0.02


@contextlib.asynccontextmanager
async def locked(folder: Path, *, wait_s: float = WAIT_S) -> AsyncIterator[None]:
    """Hold the inventory's lock. Raises FleetError naming the holder when it stays taken for wait_s."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise no_inventory(folder) from None
    try:
        deadline = asyncio.get_running_loop().time() + wait_s
        while not _taken(descriptor):
            if asyncio.get_running_loop().time() >= deadline:
                raise FleetError(
                    f"The inventory {folder} is being changed by somebody else.",
                    f"For {wait_s:.0f} s its lock was held by {_holder(os.fstat(descriptor).st_ino)}.",
                    "Try again when that has ended. Nothing was changed.",
                )
            await asyncio.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(inode: int) -> str:
    """Return who holds the lock of a file, as the kernel lists it (proc_locks(5)): process, user, command."""
    for line in _lines():
        # "1: FLOCK  ADVISORY  WRITE 708 08:02:8388634 0 EOF"; one that waits has "->" before FLOCK.
        match line.split():
            case [_, "FLOCK", _, _, process, place, *_] if place.rpartition(":")[2] == str(inode):
                return _described(process)
    return "a process that cannot be seen from here"


def _lines() -> list[str]:
    try:
        return Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []


def _described(process: str) -> str:
    place = Path("/proc") / process
    try:
        uid = place.stat().st_uid
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return f"process {process}"
    try:
        who = pwd.getpwuid(uid).pw_name
    except KeyError:
        who = f"user {uid}"
    return f"process {process} of {who}: {shown(command, 200)[1:-1]}"
