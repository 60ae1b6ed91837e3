"""What this machine has: programs, libraries, terminal, folders. Reads and asks; changes nothing."""

from __future__ import annotations

import asyncio
import curses
import os
import platform
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from console.domain.machine import Folder, Program, Terminal

TIMEOUT_S = 10.0

LIBVIRT = """\
import libvirt
number = libvirt.getVersion()
print(f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}")
"""


def python_version() -> str:
    """Return the version of this Python."""
    return platform.python_version()


async def libvirt_library() -> Program:
    """Return the libvirt library that the libvirt process would load, found by a process of its own."""
    return await _version([sys.executable, "-P", "-c", LIBVIRT])


async def program(name: str, option: str) -> Program:
    """Return the version that a program tells when it is given an option."""
    return await _version([name, option])


async def _version(command: Sequence[str]) -> Program:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return Program(fault="it is not installed" if isinstance(error, FileNotFoundError) else str(error.strerror))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Program(fault=f"it does not answer within {TIMEOUT_S:.0f} s")
    # OpenSSH tells its version on stderr.
    said = (output + errors).decode(errors="replace").strip()
    found = re.search(r"\d+(\.\d+)+\w*", said)
    if process.returncode != 0 or found is None:
        return Program(fault=said.splitlines()[-1][:200] if said else f"it ended with status {process.returncode}")
    return Program(version=found.group())


def terminal(environment: Mapping[str, str]) -> Terminal:
    """Return the terminal that this process was started in."""
    size = os.terminal_size((0, 0))
    if sys.stdout.isatty():
        size = os.get_terminal_size(sys.stdout.fileno())
    term = environment.get("TERM", "")
    setting = next((value for key in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environment.get(key, ""))), "")
    return Terminal(term=term, colours=_colours(term), columns=size.columns, lines=size.lines, locale=setting)


def _colours(term: str) -> int | None:
    if not term:
        return None
    try:
        # It wants a file, and looks at it for nothing but the size.
        with Path(os.devnull).open("rb") as nowhere:
            curses.setupterm(term, nowhere.fileno())
        return max(0, curses.tigetnum("colors"))
    except curses.error:
        return None


def is_open(folder: Path) -> bool:
    """Return True for a folder in which everybody may replace what is another one's: no sticky bit forbids it."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def folder(what: str, path: Path, *, above: Path | None = None) -> Folder:
    """Return how a folder of ours is. above: the one outside it that has to be closed to others."""
    if above is not None and is_open(above):
        return Folder(what=what, path=str(path), open_above=str(above))
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Folder(what=what, path=str(path))
    except NotADirectoryError:
        file = next(above for above in path.parents if above.exists())
        return Folder(what=what, path=str(file), fault="it is not a folder")
    except OSError as error:
        return Folder(what=what, path=str(path), fault=str(error.strerror))
    fault = "" if stat.S_ISDIR(found.st_mode) else "it is not a folder"
    return Folder(
        what=what,
        path=str(path),
        mode=stat.S_IMODE(found.st_mode),
        mine=found.st_uid == os.getuid(),
        writable=os.access(path, os.W_OK | os.X_OK),
        fault=fault,
    )


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, None when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
