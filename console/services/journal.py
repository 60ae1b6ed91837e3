"""What an apply did, on disk as JSON Lines, one file a job; and the lock that allows one changing job per host."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from pathlib import Path

from console.domain.errors import FleetError

LOCK_WAIT_S = 10.0


class Journal:
    """One job's record: a line for each event, written before the next one happens."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.job = f"{clock():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.path = folder / f"{self.job}.jsonl"
        self.faults: list[str] = []
        """Why the record is not complete: a full disk must not stop a job halfway."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(exist_ok=False)
        except OSError as error:
            raise FleetError(
                "The job's journal cannot be written.",
                f"{error.strerror} ({self.path}).",
                "Make room there, then try again. Nothing was changed.",
            ) from None

    def write(self, event: str, **facts: object) -> None:
        """Append one event, with the time and the process."""
        line = json.dumps({"at": self._clock().isoformat(), "event": event, "pid": os.getpid(), **facts})
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            if not self.faults:
                self.faults.append(f"the journal {self.path} is not complete: {error.strerror}")


@contextlib.asynccontextmanager
async def host_locks(
    folder: Path, hosts: Iterable[str], what: str, *, wait_s: float = LOCK_WAIT_S
) -> AsyncIterator[None]:
    """Hold the hosts' locks. Raises FleetError naming the other job when one stays taken for wait_s.

    Always taken in the order of the names, so that two jobs never wait for each other.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240 - local, microseconds
    with contextlib.ExitStack() as held:
        for host in sorted(set(hosts)):
            stream = held.enter_context((folder / f"{host}.lock").open("a+", encoding="utf-8"))
            await _lock(stream.fileno(), folder / f"{host}.lock", host, wait_s)
            stream.truncate(0)
            stream.write(f"{what} (process {os.getpid()})")
            stream.flush()
        yield


async def _lock(descriptor: int, path: Path, host: str, wait_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= deadline:
                other = path.read_text(encoding="utf-8", errors="replace")[:200]  # noqa: ASYNC240 - as above
                raise FleetError(
                    f"{host} is busy with another job.", other, "Try again when that job has ended."
                ) from None
            await asyncio.sleep(0.1)
