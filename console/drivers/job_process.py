"""Starting the process that carries a job out: it has no terminal, and nothing of ours ends it with us."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import msgspec

import console
from console.domain.errors import FleetError
from console.drivers.base import HostTarget

START_S = 20.0

SOURCE = str(Path(console.__file__).resolve().parents[1])
"""Where the process imports this very code from."""


class JobProcess:
    """Implements `JobRunner`. log: where what goes wrong before the job can say so itself is written.

    module: what is run, with the arguments of console.job_process.
    """

    def __init__(self, log: Path, module: str = "console.job_process") -> None:
        self._log = log
        self._module = module

    async def start(self, folder: Path, journal: Path, descriptor: int, targets: tuple[HostTarget, ...]) -> None:
        """Start `python -m MODULE`; it has left us behind when this returns."""
        title = "The job was not begun."
        try:
            said = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                # Not by a pipe: asyncio closes one as soon as the process has left us, written to or not.
                with tempfile.TemporaryFile() as told:
                    told.write(msgspec.json.encode(targets))
                    told.seek(0)
                    process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-P",  # the current folder is no place to import from
                        "-m",
                        self._module,
                        str(folder),
                        str(journal),
                        str(descriptor),
                        stdin=told,
                        stdout=said,
                        stderr=said,
                        start_new_session=True,
                        pass_fds=(descriptor,),
                        env={**os.environ, "PYTHONPATH": SOURCE},
                    )
            finally:
                os.close(said)
        except OSError as error:
            raise FleetError(title, f"No process can be started: {error.strerror}.", "Nothing was changed.") from None
        try:
            async with asyncio.timeout(START_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if process.returncode != 0:
            raise FleetError(title, "Its process ended at once.", f"Look into {self._log}. Nothing was changed.")
