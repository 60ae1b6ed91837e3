"""Whose an inventory's folder is, and who can use what is in it. Reads; changes nothing."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from console.domain.machine import Sharing
from console.inventory.sharing import is_shared

MEMBERS = 8
"""More of a group's members are not named."""

CONTENT = ("fleet.toml", "flake.nix", "hosts", "generated", "machines", ".git", ".quarterdeck")
"""What belongs to an inventory; other things in its folder are nobody's business."""


def sharing(folder: Path, git: bool | None) -> Sharing:
    """Return whose the folder is. git: whether git makes its files for the group. Raises OSError."""
    found = folder.stat()
    group, own = str(found.st_gid), False
    members: tuple[str, ...] = ()
    try:
        entry = grp.getgrgid(found.st_gid)
        group, members = entry.gr_name, tuple(entry.gr_mem[:MEMBERS])
    except KeyError:
        pass  # a number is a name too
    owner = str(found.st_uid)
    try:
        user = pwd.getpwuid(found.st_uid)
        owner, own = user.pw_name, user.pw_gid == found.st_gid
    except KeyError:
        pass
    # Where everybody has a group of their own, that one may write as a matter of course: nothing is shared by it.
    shared = is_shared(found.st_mode) and (bool(found.st_mode & stat.S_ISGID) or not own)
    return Sharing(
        path=str(folder),
        owner=owner,
        group=group,
        mode=stat.S_IMODE(found.st_mode),
        shared=shared,
        members=members,
        member=os.getuid() == 0 or found.st_gid in (os.getgid(), *os.getgroups()),
        writable=os.access(folder, os.W_OK | os.X_OK),
        unshared=tuple(_unshared(folder, found.st_gid)) if shared else (),
        git=git,
    )


def _unshared(folder: Path, group: int) -> Iterator[str]:
    """Yield the names of what not every member of the group can use."""
    for path in _content(folder):
        try:
            found = path.lstat()
        except OSError:
            continue  # gone meanwhile, or in a folder that is named itself
        if stat.S_ISLNK(found.st_mode):
            continue
        needed = stat.S_IRGRP
        if stat.S_ISDIR(found.st_mode):
            needed = stat.S_IRWXG | stat.S_ISGID
        elif not {"objects", "jobs"} & set(path.relative_to(folder).parts):
            needed |= stat.S_IWGRP  # git's objects and journals are written by their makers alone
        if found.st_gid != group or found.st_mode & needed != needed:
            yield str(path.relative_to(folder))


def _content(folder: Path) -> Iterator[Path]:
    yield folder
    for name in CONTENT:
        top = folder / name
        if not top.is_dir():
            yield top
        for place, _, files in os.walk(top):
            yield Path(place)
            yield from (Path(place) / file for file in files)
