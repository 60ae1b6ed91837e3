"""Libvirt processes of ours that nobody can reach any more: their socket, or what they were started for, is gone."""

from __future__ import annotations

import os
from pathlib import Path

from console.domain.machine import StaleProcess
from console.drivers.libvirt.place import Place

MODULE = "console.drivers.libvirt"
PROC = Path("/proc")


def leftovers() -> tuple[StaleProcess, ...]:
    """Return this user's libvirt processes that no console of this version reaches. Looks only; ends none."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (arguments := _arguments(entry)) and (why := _why(*arguments)):
            found.append(StaleProcess(pid=int(entry.name), why=why))
    return tuple(sorted(found, key=lambda process: process.pid))


def _arguments(entry: Path) -> tuple[str, str, str] | None:
    """Return folder, inventory and mode of a libvirt process of ours, None for any other process."""
    try:
        if entry.stat().st_uid != os.getuid():
            return None
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None  # it ended meanwhile
    if MODULE not in words:
        return None
    place = words.index(MODULE)
    if words[place - 1] != "-m" or len(words) < place + 4:
        return None
    return words[place + 1], words[place + 2], words[place + 3]


def _why(folder: str, inventory: str, mode: str) -> str:
    if inventory and not Path(inventory).exists():
        return f"its inventory {inventory} is gone"
    place = Place(Path(folder), inventory, mode)
    if not place.folder.exists():
        return f"its folder {folder} is gone"
    if not place.socket.exists():
        return "it is of another version, or its socket was deleted"
    return ""
