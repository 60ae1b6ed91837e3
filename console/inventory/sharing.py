"""Folders and files that several operators use: the folder's own mode and group decide about what is made in it.

A folder that its group may write is a shared one. What is made there belongs to that group and is writable for it,
whatever the umask of who makes it; everywhere else the umask decides, as usual.
"""

from __future__ import annotations

import grp
import os
import secrets
import stat
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.values import shown


def is_shared(mode: int) -> bool:
    """Return whether a folder of this mode is one that a group works in; what all may write (/tmp) is nobody's."""
    return mode & (stat.S_IWGRP | stat.S_IWOTH) == stat.S_IWGRP


def share_folder(folder: Path, group: str) -> None:
    """Give a folder to a group of operators, made first if it is not there; what is in it already stays as it is.

    Others may read it if the umask, or its mode, lets them. Raises FleetError naming what stands in the way.
    """
    try:
        gid = grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        way_out = "Make it, and put its members in: groupadd GROUP; usermod -aG GROUP USER"
        raise FleetError(f"There is no group {shown(group)}.", "Nothing was made.", way_out) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, -1, gid)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_ISGID | stat.S_IRWXG)
    except PermissionError as error:
        way_out = f"Only its owner may, who has to be in the group: usermod -aG {group} USER, then log in again."
        raise FleetError(f"{folder} cannot be given to {group}.", f"{error.strerror}.", way_out) from None


def make_folder(path: Path) -> None:
    """Make a folder, and those above it; in a shared one its members can use it. One that is there stays as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    above = path.parent.stat()
    if is_shared(above.st_mode):
        if path.stat().st_gid != above.st_gid:
            os.chown(path, -1, above.st_gid)
        path.chmod(above.st_mode & 0o777 | stat.S_ISGID)


def open_file(path: Path, flags: int) -> int:
    """Return a descriptor of the file, opened with `flags`; made first if it is not there, for all members to use.

    It is never there with a mode that shuts other members out. Raises OSError.
    """
    while True:
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except FileNotFoundError:
            _make(path)


def _make(path: Path) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        adopt(descriptor, path.parent)
        path.hardlink_to(aside)
    except FileExistsError:
        return  # somebody was faster
    finally:
        os.close(descriptor)
        aside.unlink()


def umask_in(folder: Path) -> int:
    """Return the umask for a program that makes files in the folder; -1 where it is to keep its own."""
    mode = folder.stat().st_mode
    return ~mode & 0o007 if is_shared(mode) else -1


def adopt(descriptor: int, folder: Path) -> None:
    """Give a file that was just made, by the umask, what a shared folder gives to its files. Raises OSError."""
    above = folder.stat()
    if is_shared(above.st_mode):
        if os.fstat(descriptor).st_gid != above.st_gid:
            os.fchown(descriptor, -1, above.st_gid)
        os.fchmod(descriptor, above.st_mode & 0o666 | 0o600)
