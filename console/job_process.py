"""The process that carries one job out: `python -m console.job_process FOLDER JOURNAL DESCRIPTOR`, with the hosts'
targets as JSON on stdin. Returns (exit 0) as soon as the process is left behind in the background.

It shares the libvirt process, and nothing else, with the console that began it.
"""

from __future__ import annotations

import os
import signal
import sys

# Before all other imports: whoever starts us waits for this alone.
if __name__ == "__main__" and os.fork():
    os._exit(0)

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from console.domain.clock import utc_now
from console.domain.errors import FleetError
from console.drivers.base import HostTarget
from console.services.apply import Workplace, carry_out, refuse
from console.services.jobs import recorded
from console.services.journal import Journal
from console.wiring import open_log, open_workplace


async def work(place: Workplace, journal: Journal, targets: bytes) -> None:
    """Carry the job of a journal out, to its last line."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, journal.cancel, "SIGTERM")
    title = "The job"
    try:
        plan = recorded(journal.path).plan
        assert plan is not None
        title = plan.title
        if plan.steps:
            await place.hypervisors.set_targets(msgspec.json.decode(targets, type=tuple[HostTarget, ...]))
    except FleetError as error:
        refuse(title, journal, error)
    else:
        await carry_out(plan, journal, place)
    finally:
        await place.hypervisors.close()


def main(arguments: list[str], place_of: Callable[[Path], Workplace] = open_workplace) -> int:
    """Become a process that nothing but its work is left of, and work."""
    folder, path, descriptor = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    # What we start must not hold the journal's lock when we are gone.
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    targets = sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.chdir("/")
    open_log(folder)
    journal = Journal(path, descriptor, utc_now)
    try:
        asyncio.run(work(place_of(folder), journal, targets))
    finally:
        journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
