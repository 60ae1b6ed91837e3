"""A job's journal, as whoever carries the job out writes it: JSON Lines, one line for each event, before the next
one happens. The journals of an inventory lie in its own folder, where everybody who works on it sees them.

jobs/ID.jsonl    the journal; its first line has the whole plan. Its lock is held as long as the job runs.
jobs/ID.cancel   somebody asks the job to end
locks/HOST.lock  held by the one job that changes the host
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import getpass
import json
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.domain.clock import Clock
from console.domain.errors import FleetError
from console.domain.plan import Plan
from console.domain.values import shown
from console.inventory.sharing import adopt, make_folder, open_file
from console.services.plan_json import plan_to_json

SHARED = ".quarterdeck"
ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}\Z")
SUFFIX = ".jsonl"

LOCK_WAIT_S = 10.0
KEPT = 200
KEPT_FOR = timedelta(days=90)


class JobCancelledError(FleetError):
    """The job was asked to end while it waited for its hosts."""


class Journal:
    """One job's record, open for writing. descriptor: of the file, its lock held; it is closed by `close`."""

    def __init__(self, path: Path, descriptor: int, clock: Clock) -> None:
        self.path = path
        self.job = path.name.removesuffix(SUFFIX)
        self.clock = clock
        self.faults: list[str] = []
        """Why the record is not complete: a full disk must not stop a job halfway."""
        self._descriptor = descriptor
        self._request = path.with_suffix(".cancel")
        self._cancelled = False

    def write(self, event: str, **facts: Any) -> None:
        """Append one event, with its time."""
        line = json.dumps({"at": self.clock().isoformat(), "event": event, **facts}, ensure_ascii=False) + "\n"
        # A name that is no text can be part of a reason.
        data = line.encode("utf-8", "replace")
        try:
            size = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, data) != len(data):
                # Half a line would spoil the next one.
                os.ftruncate(self._descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not self.faults:
                self.faults.append(f"the journal {self.path} is not complete: {error.strerror}")

    @property
    def cancelled(self) -> bool:
        """True once somebody asked the job to end."""
        if not self._cancelled and self._request.exists():
            by = ""
            with contextlib.suppress(OSError):
                by = shown(self._request.read_text(encoding="utf-8", errors="replace")[:200].strip(), 80)[1:-1]
            self.cancel(by or "somebody")
        return self._cancelled

    def cancel(self, by: str) -> None:
        """Have the job end between two steps."""
        self._cancelled = True
        self.write("cancel", by=by)

    def close(self) -> None:
        """Let go of the file and its lock; a request to end has been heard."""
        with contextlib.suppress(OSError):
            self._request.unlink(missing_ok=True)
        os.close(self._descriptor)


def begin_journal(inventory: Path, plan: Plan, clock: Clock) -> tuple[Path, int]:
    """Return a new journal with its first line, and its descriptor with the lock held. Old journals are removed.

    Raises FleetError when it cannot be written: then nothing must be changed.
    """
    job = f"{clock():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    try:
        folder = shared_folder(inventory, "jobs")
        path = folder / f"{job}{SUFFIX}"
        new = folder / f".{job}.new"
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever may look into the folder may read it. Only its operator writes: it is a record.
            os.fchmod(descriptor, 0o600 | (folder.stat().st_mode & 0o044))
            head = {"at": clock().isoformat(), "event": "job", "version": 1, "operator": operator()}
            text = json.dumps(head)[:-1].encode() + b', "plan": ' + plan_to_json(plan) + b"}\n"
            if os.write(descriptor, text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Before anything is changed it must be certain that the rest can be told from what was done.
            os.fdatasync(descriptor)
            new.rename(path)
        except BaseException:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FleetError(
            "The job's journal cannot be written.",
            f"{error.strerror} ({error.filename or inventory / SHARED}).",
            "Make that possible, then try again. Nothing was changed.",
        ) from None
    _prune(folder, clock())
    return path, descriptor


def operator() -> str:
    """Return who works here: "anna@desk"."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def shared_folder(inventory: Path, name: str) -> Path:
    """Return a folder for what those who work on an inventory share, made if it is not there, and out of git.

    Raises OSError, and FleetError when something else is in its place.
    """
    folder = inventory / SHARED
    make_folder(folder / name)
    if folder.is_symlink() or (folder / name).is_symlink():
        raise FleetError(f"{folder / name} is a link.", "Quarterdeck keeps its jobs there.", "Remove the link.")
    ignore = folder / ".gitignore"
    if not ignore.exists():
        with os.fdopen(open_file(ignore, os.O_WRONLY), "w", encoding="utf-8") as stream:
            stream.write("*\n")
    return folder / name


def journal_names(folder: Path) -> list[str]:
    """Return the names of the journals in a folder, newest first; none when there is no folder."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((n for n in names if n.endswith(SUFFIX) and ID.match(n.removesuffix(SUFFIX))), reverse=True)


def is_held(descriptor: int) -> bool:
    """Return whether somebody holds the lock of an open journal: its job runs."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def request_cancel(inventory: Path, job: str) -> None:
    """Ask a job to end. Raises FleetError when that is not allowed here."""
    path = inventory / SHARED / "jobs" / f"{job}.cancel"
    try:
        with path.open("x", encoding="utf-8") as stream:
            adopt(stream.fileno(), path.parent)
            stream.write(operator() + "\n")
    except FileExistsError:
        return  # somebody did so already
    except OSError as error:
        raise FleetError(f"Job {job} was not asked to end.", f"{error.strerror} ({path}).") from None


def _prune(folder: Path, now: datetime) -> None:
    """Remove ended journals that have KEPT newer ones, or are older than KEPT_FOR."""
    for place, name in enumerate(journal_names(folder)):
        job = name.removesuffix(SUFFIX)
        try:
            old = now - datetime.strptime(job[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) > KEPT_FOR
        except ValueError:
            old = False
        if place < KEPT and not old:
            continue
        # Another operator's file may be out of our reach: then that operator's next job removes it.
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if not is_held(descriptor):
                    (folder / name).unlink()
                    (folder / f"{job}.cancel").unlink(missing_ok=True)
            finally:
                os.close(descriptor)


@contextlib.asynccontextmanager
async def host_locks(
    folder: Path,
    hosts: Iterable[str],
    what: str,
    *,
    wait_s: float = LOCK_WAIT_S,
    waiting: Callable[[str], None] = lambda other: None,
    give_up: Callable[[], bool] = lambda: False,
) -> AsyncIterator[None]:
    """Hold the hosts' locks. Raises FleetError naming the other job when one stays taken for wait_s.

    Always taken in the order of the names, so that two jobs never wait for each other. waiting: is told of the
    job that is waited for. Raises JobCancelledError as soon as give_up says so.
    """
    with contextlib.ExitStack() as held:
        for host in sorted(set(hosts)):
            descriptor = open_file(folder / f"{host}.lock", os.O_RDWR | os.O_NOFOLLOW)
            held.callback(os.close, descriptor)
            await _lock(descriptor, host, wait_s, waiting, give_up)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{what} (process {os.getpid()})".encode(), 0)
        yield


async def _lock(
    descriptor: int, host: str, wait_s: float, waiting: Callable[[str], None], give_up: Callable[[], bool]
) -> None:
    loop = asyncio.get_running_loop()
    deadline, told = loop.time() + wait_s, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            other = shown(os.pread(descriptor, 400, 0).decode("utf-8", "replace"), 300)[1:-1]
            if loop.time() >= deadline:
                raise FleetError(
                    f"{host} is busy with another job.", other, "Try again when that job has ended."
                ) from None
        if give_up():
            raise JobCancelledError("The job was cancelled before it began.", f"It waited for {host}: {other}")
        if not told:
            waiting(f"{host} is busy with another job: {other}")
            told = True
        await asyncio.sleep(0.1)
