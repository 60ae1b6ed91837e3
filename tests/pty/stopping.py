"""A job that stops at one point of its work until somebody lets it go on, or kills it; and a console that begins it.

QD_STOP: the point: "before 2" and "after 2" of the third verb, or "commit". QD_STOP_FOLDER: the file "reached" is
made there when the job is at that point; it goes on when "go" is there.
"""

from __future__ import annotations

import os
import sys

# As console.job_process does: who starts us waits for this alone.
if __name__ == "__main__" and sys.argv[1] != "create" and os.fork():
    os._exit(0)

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from console.domain.verbs import Verb
from console.drivers.base import Hypervisors, Repository
from console.drivers.job_process import JobProcess
from console.job_process import main
from console.services.apply import Workplace
from console.services.wishes import GuestWish
from console.wiring import log_path, open_session, open_workplace

LOOK_S = 0.02


async def point(name: str) -> None:
    """Stop here, if this is the point."""
    folder = Path(os.environ["QD_STOP_FOLDER"])
    if name == os.environ["QD_STOP"]:
        (folder / "reached").touch()
        while not (folder / "go").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(LOOK_S)


class StoppingHosts:
    """Hypervisors whose verbs have a point before and after them."""

    def __init__(self, hypervisors: Hypervisors) -> None:
        self._hypervisors = hypervisors
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hypervisors, name)

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        number, self._count = self._count, self._count + 1
        await point(f"before {number}")
        await self._hypervisors.call(host, verb, timeout_s=timeout_s)
        await point(f"after {number}")


class StoppingRepository:
    """A repository with a point before the commit: what is to be committed is written by then."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    async def commit(self, folder: Path, files: Sequence[str], message: str, **how: Any) -> str | None:
        await point("commit")
        return await self._repository.commit(folder, files, message, **how)


def stopping(folder: Path) -> Workplace:
    """Return the workplace of a job that stops."""
    place = open_workplace(folder)
    return replace(place, repository=StoppingRepository(place.repository), hypervisors=StoppingHosts(place.hypervisors))  # type: ignore[arg-type]


async def create(folder: Path, name: str, gpu: str = "") -> None:
    """Create a guest and start it, as `qd guest create --start` does, by a job that stops. gpu: the slot it gets."""
    session = open_session(folder)
    session.runner = JobProcess(log_path(folder), "tests.pty.stopping")
    await session.start(follow=False)
    await session.observe(["vhost-a"], timeout_s=20)
    wish = GuestWish(host="vhost-a", name=name, vcpus="1", memory="1 GiB", disk="1 GiB", gpu=gpu)
    await session.apply(session.plan_create(wish, start=True))
    await session.close()


if __name__ == "__main__":
    if sys.argv[1] == "create":
        asyncio.run(create(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        sys.exit(main(sys.argv[1:], stopping))
