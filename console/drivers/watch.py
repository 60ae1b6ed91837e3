"""Notices that the inventory's files changed, by the kernel's file events."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from pathlib import Path

QUIET_MS = 200
"""Changes that follow one another this closely are one: editors write in several steps."""


class FileWatch:
    """Watches inventories; see console.drivers.base.Watch."""

    async def changes(self, folder: Path) -> AsyncIterator[None]:
        """Yield after fleet.toml or a host's file changed, however it was written; ends when cancelled."""
        # 0.1 s of imports that the event loop need not wait for; it would load the second one when it is first used.
        awatch = (await asyncio.to_thread(importlib.import_module, "watchfiles")).awatch
        await asyncio.to_thread(importlib.import_module, "anyio._backends._asyncio")
        hosts = folder / "hosts"
        stop = asyncio.Event()
        try:
            while True:
                # The folders, not the files: an editor that renames its new file over the old one would be lost.
                watched = [folder, hosts] if await asyncio.to_thread(hosts.is_dir) else [folder]
                async for changed in awatch(*watched, step=50, debounce=QUIET_MS, recursive=False, stop_event=stop):
                    if any(_matters(Path(path)) for _, path in changed):
                        yield
                    if len(watched) == 1 and any(path == str(hosts) for _, path in changed):
                        break
        finally:
            stop.set()


def _matters(path: Path) -> bool:
    return path.name == "hosts" or (path.suffix == ".toml" and not path.name.startswith("."))
