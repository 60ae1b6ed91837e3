"""A job's process is told the hosts' targets, however busy the console is while it starts."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec

from console.drivers.base import HostTarget
from console.drivers.job_process import JobProcess

TARGETS = tuple(HostTarget(name=f"vhost-{number}", uri=f"qemu+ssh://10.0.0.{number}/system") for number in range(3))


def children() -> set[str]:
    """Return the processes that this thread has begun."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def wait_for(path: Path) -> None:
    """Return when there is such a file."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_loop_that_stands_still_while_the_process_begins_loses_nothing(tmp_path: Path) -> None:
    told, before = tmp_path / "told", children()
    loop, descriptor = asyncio.get_running_loop(), os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    def stand_still() -> None:
        if not (begun := children() - before):
            loop.call_soon(stand_still)
        while any(Path("/proc", pid).exists() for pid in begun):  # until it has left us behind
            time.sleep(0.001)

    loop.call_soon(stand_still)
    try:
        await JobProcess(tmp_path / "log", "tests.drivers.left_behind").start(tmp_path, told, descriptor, TARGETS)
    finally:
        os.close(descriptor)
    await asyncio.to_thread(wait_for, told)
    assert msgspec.json.decode(told.read_bytes(), type=tuple[HostTarget, ...]) == TARGETS
