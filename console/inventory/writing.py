"""Several files written as one: all or none, each one whole at every moment, and never over somebody's edit.

Each new text is written beside its file and is safe on the disk before anything changes. Then new and old change
places in one step (renameat2(2), RENAME_EXCHANGE): the old file still is at hand, is compared with what it was thought
to hold, and goes back when it holds something else. Only then is it deleted. A process that is killed in between
leaves whole files, some old and some new, and at worst a file beside them that the next write removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.domain.errors import FleetError
from console.inventory.sharing import adopt, make_folder

ASIDE = ".qd-new"
"""How the name of a file ends that lies beside the one it is for; it begins with a dot."""

KEPT = ".edited"
"""What follows a file's name where an edit of it that came in between is kept, for people to look at."""

WRITER_WAIT_S = 2.0
"""So long a program may have an old file open for writing, as editors do that save in place."""

AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE = -100, 1, 2
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

WAYS_OUT = {
    errno.ENOSPC: "Make room on that disk, then try again.",
    errno.EDQUOT: "Your quota there is used up: make room, then try again.",
    errno.EROFS: "That file system is mounted read-only: mount it for writing, then try again.",
    errno.EACCES: "You may not write there: qd doctor says who may.",
    errno.EPERM: "You may not write there: qd doctor says who may.",
    errno.EIO: "The disk fails: see the kernel's log (dmesg), and save what is on it.",
}

log = logging.getLogger(__name__)
libc = ctypes.CDLL(None, use_errno=True)


class EditedMeanwhile(FleetError):
    """A file holds something else than what the change was made from; nothing was written."""


def text_of(path: Path) -> str | None:
    """Return a file's text, None where there is none; what is not UTF-8 has its bytes escaped."""
    raw = bytes_of(path)
    return None if raw is None else as_text(raw)


def as_text(raw: bytes) -> str:
    """Return the text of a file that holds this; what is not UTF-8 is escaped."""
    return raw.decode("utf-8", "backslashreplace")


def bytes_of(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none. Raises FleetError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FleetError(f"{path.name} cannot be read.", f"{error.strerror} ({path}).") from None


def is_aside(name: str) -> bool:
    """Return whether this is the name of a file that lies beside one while that is written."""
    return name.startswith(".") and name.endswith(ASIDE)


def write_files(folder: Path, changes: Mapping[str, str | None], known: Mapping[str, str | None] | None = None) -> None:
    """Write or delete (None) files below the folder, all or none; existing modes and groups stay.

    known: what each of them must hold at that moment, None where there must be none; without it whatever it holds.
    Raises EditedMeanwhile, or FleetError naming the file; the files are then as they were.
    """
    swaps = [_Swap(name, (folder / name).resolve(), text) for name, text in changes.items()]  # a link stays one
    _sweep({folder, folder / "hosts", folder / "generated", *(swap.path.parent for swap in swaps)})
    swap = None
    try:
        for swap in swaps:
            swap.prepare()
        for swap in swaps:
            swap.go()
        _compare(swaps, known)
        for swap in swaps:
            _flush(swap.path.parent)
        _compare(swaps, known)  # who had another's old file open has written by now, and closed it
    except BaseException as error:
        kept = _put_back(swaps)
        if swap is None or not (kept or isinstance(error, OSError)):
            raise
        why = f"{error.strerror} ({swap.path})." if isinstance(error, OSError) else str(error)
        raise FleetError(
            f"{swap.name} was not written.",
            "\n".join((why, *kept)),
            f"{WAYS_OUT.get(getattr(error, 'errno', 0), 'Mend that, then try again.')} Nothing was changed.",
        ) from None
    for swap in swaps:
        swap.settle()


@dataclass(slots=True)
class _Swap:
    """One file and what is to be there: text, or nothing at all (None). moved: old and new have changed places."""

    name: str
    path: Path
    text: str | None
    moved: bool = False

    @property
    def aside(self) -> Path:
        """The new file until the two change places, then the old one, if there was any."""
        return self.path.with_name(f".{self.path.name}{ASIDE}")

    def prepare(self) -> None:
        if self.text is None:
            return
        make_folder(self.path.parent)
        try:
            old = self.path.stat()
        except FileNotFoundError:
            old = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.aside, flags, 0o666 if old is None else 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            if old is None:
                adopt(descriptor, self.path.parent)
            else:
                if old.st_gid != os.fstat(descriptor).st_gid:
                    os.fchown(descriptor, -1, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o7777)
            stream.write(self.text)
            stream.flush()
            os.fsync(descriptor)

    def go(self) -> None:
        if self.text is None:
            with contextlib.suppress(FileNotFoundError):
                self.path.rename(self.aside)
        elif not _exchanged(self.aside, self.path):
            _rename_to_nothing(self.aside, self.path)
        self.moved = True

    def compare(self, known: str | None) -> None:
        """Raise EditedMeanwhile unless the old file holds this, and nobody is about to change it."""
        if not _let_go(self.aside):
            why = "Another program has it open for writing."
        elif text_of(self.aside) != known:
            why = "It was edited at the same time."
        else:
            return
        raise EditedMeanwhile(f"{self.name} was not written.", why, "Look again, then repeat your change.")

    def back(self) -> str:
        """Put the old file back; return where an edit of the new one is kept, if somebody made one meanwhile."""
        if not self.moved:
            self.aside.unlink(missing_ok=True)
        elif self.text is None:
            if self.aside.exists():
                _rename_to_nothing(self.aside, self.path)
        else:
            if not self.aside.exists():
                self.path.rename(self.aside)
            else:
                _exchanged(self.aside, self.path)
            if text_of(self.aside) != self.text:
                kept = self.path.with_name(f"{self.path.name}{KEPT}")
                self.aside.rename(kept)
                return f"An edit of {self.name} that came in between is in {kept}."
            self.aside.unlink()
        return ""

    def settle(self) -> None:
        try:
            self.aside.unlink(missing_ok=True)
        except OSError as error:
            # It is no part of the inventory, and the next write tries again.
            log.warning("%s was left behind: %s", self.aside, error.strerror)


def _compare(swaps: Iterable[_Swap], known: Mapping[str, str | None] | None) -> None:
    if known is not None:
        for swap in swaps:
            swap.compare(known[swap.name])


def _put_back(swaps: Iterable[_Swap]) -> list[str]:
    """Undo what was begun; return a sentence for each file that is not as it was."""
    said = []
    for swap in swaps:
        try:
            said.append(swap.back())
        except OSError as error:
            said.append(f"{swap.name} could not be put back: {error.strerror}; what it held is in {swap.aside}.")
    return [sentence for sentence in said if sentence]


def _sweep(folders: Iterable[Path]) -> None:
    """Remove what a killed write has left; whoever writes holds the lock, so that it is nobody's."""
    for folder in folders:
        with contextlib.suppress(OSError):  # what matters of it stops the writing itself, and is told then
            for entry in [entry for entry in folder.iterdir() if is_aside(entry.name)]:
                entry.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchanged(aside: Path, path: Path) -> bool:
    """Let two files change places in one step; False when there is nothing at `path`."""
    try:
        _renameat2(aside, path, RENAME_EXCHANGE)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return _exchanged_in_steps(aside, path)
    return True


def _exchanged_in_steps(aside: Path, path: Path) -> bool:
    """Do the same where the file system cannot (NFS): another file that is renamed to `path` just now is lost."""
    third = aside.with_name(f"{aside.name}.old{ASIDE}")
    try:
        third.hardlink_to(path)
    except FileNotFoundError:
        return False
    aside.rename(path)
    third.rename(aside)
    return True


def _rename_to_nothing(aside: Path, path: Path) -> None:
    """Rename a file to a name that is not taken. Raises EditedMeanwhile when it is."""
    try:
        _renameat2(aside, path, RENAME_NOREPLACE)
    except FileExistsError:
        raise EditedMeanwhile(f"{path.name} was not written.", "Somebody made it at the same time.") from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        aside.rename(path)


def _renameat2(one: Path, other: Path, flags: int) -> None:
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def _let_go(path: Path) -> bool:
    """Wait until nobody has the file open for writing; False when that takes too long."""
    deadline = time.monotonic() + WRITER_WAIT_S
    while path.exists() and _open_for_writing(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _open_for_writing(path: Path) -> bool:
    """Return whether somebody has the file open for writing: then the kernel gives no lease of it (fcntl(2)).

    Of another operator's file nothing can be known this way, and it counts as closed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Who opens it while we hold the lease has a signal sent to us: one that means nothing, not the usual SIGIO.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
