"""Starting the libvirt process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import console
from console.domain.errors import FleetError
from console.drivers.libvirt.place import Place

START_S = 20.0

SOURCE = str(Path(console.__file__).resolve().parents[1])
"""Where the process imports this very code from."""

NO_LIBRARY = 3
"""Exit status of a process that found no libvirt library."""


async def launch(place: Place, idle_s: float) -> None:
    """A process listens at the place: a new one, or the one that another client just started. Raises FleetError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # the current folder is no place to import from
        "-m",
        "console.drivers.libvirt",
        str(place.folder),
        place.inventory,
        place.mode,
        str(idle_s),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        # Fewer malloc arenas: a thread per host would keep 1 MB each.
        env={**os.environ, "PYTHONPATH": SOURCE, "MALLOC_ARENA_MAX": "2"},
    )
    try:
        async with asyncio.timeout(START_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        said = b"It did not start in time."
    if process.returncode == 0:
        return
    text = "\n".join(said.decode("utf-8", "replace").strip().splitlines()[-3:])
    hint = f"Look into {place.log}."
    if process.returncode == NO_LIBRARY:
        hint = "Install libvirt's library (Debian: apt install libvirt0) and libvirt-python."
    raise FleetError("The libvirt process cannot be started", text, hint)
