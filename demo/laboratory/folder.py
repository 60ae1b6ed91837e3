"""The folder of a lab: which can be one, whose it is, and that only one command changes it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from laboratory.errors import LabError, run
from laboratory.host import hosts_of

MARKER = ".quarterdeck-lab"
LONGEST_SOCKET = 100  # the kernel's limit is 107 bytes


def lab_folder(text: str) -> Path:
    """The folder that was named, absolute; LabError when a lab cannot be there."""
    lab = Path(text).absolute()
    # The path goes into URIs, XML and TOML; plain letters are the same in all of them.
    if not re.fullmatch(r"[A-Za-z0-9._/-]+", str(lab)):
        raise LabError(f"{str(lab)!r} is no folder for a lab: use letters, digits, dots, _ and - only.")
    longest = max(len(host.uri.partition("=")[2]) for host in hosts_of(lab))
    if longest > LONGEST_SOCKET:
        excess = longest - LONGEST_SOCKET
        raise LabError(f"{lab} is {excess} characters too long for a unix socket. Choose a shorter --dir.")
    return lab


def remove(lab: Path) -> None:
    """The folder is gone; LabError when something is mounted in it, which would lose its files too."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (mounted := line.split()[4]).startswith(f"{lab}/"):
            raise LabError(f"{lab} was not removed: unmount {mounted} first.")
    shutil.rmtree(lab)


@contextlib.contextmanager
def claimed(lab: Path) -> Iterator[None]:
    """`lab` is a lab's folder and nobody else starts or stops it meanwhile."""
    marker = lab / MARKER
    if lab.exists() and not lab.is_dir():
        raise LabError(f"{lab} is not a folder.")
    if lab.is_dir() and any(lab.iterdir()) and not marker.exists():
        raise LabError(f"{lab} holds something that is not a lab. Choose another --dir.")
    lab.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def owner() -> pwd.struct_passwd | None:
    """Who called through sudo: the lab's socket and inventory are for them as well."""
    number = os.environ.get("SUDO_UID", "")
    if not number.isdigit() or number == "0":
        return None
    try:
        return pwd.getpwuid(int(number))
    except KeyError:
        return None


def owner_group() -> str | None:
    who = owner()
    return str(who.pw_gid) if who else None


def give_to_owner(folder: Path) -> None:
    if who := owner():
        run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", folder])
