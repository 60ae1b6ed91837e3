"""How soon a job begins: from Session.apply to the first line that says so in its journal.

power      a plan of one step
create     a new guest: its change written and committed first, then the first step
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from console.domain.model import GuestKey
from console.domain.plan import Plan, Progress, StepState
from console.services.session import Session
from console.services.wishes import GuestWish, PowerAction
from tests.bench.figures import ROOT, figure, scratch

TIMES = 7


async def measured(session: Session, make: Callable[[], Plan]) -> float:
    """Return the seconds from apply to the first step that begins; the job is over afterwards."""
    plan, begun = make(), time.perf_counter()
    first: list[float] = []

    def hear(progress: Progress) -> None:
        if progress.index >= 0 and progress.state is StepState.RUNNING:
            first.append(time.perf_counter() - begun)

    outcome = await session.apply(plan, hear)
    assert outcome.ok, outcome
    return first[0]


async def measure(folder: Path) -> None:
    """Measure on the demo fleet, and print."""
    from console.wiring import open_session

    session = open_session(folder)
    await session.start(follow=False)
    try:
        await session.observe(list(session.store.fleet.hosts), timeout_s=10)
        key, power, create = GuestKey("vhost-c", "cache-1"), [], []
        for number in range(TIMES):
            action = PowerAction.SUSPEND if number % 2 == 0 else PowerAction.RESUME
            power.append(await measured(session, lambda action=action: session.plan_power([key], action)))  # type: ignore[misc]
            wish = GuestWish(host="vhost-c", name=f"bench-{number}", vcpus="1", memory="1 GiB", disk="1 GiB")
            create.append(await measured(session, lambda wish=wish: session.plan_create(wish, start=False)))  # type: ignore[misc]
    finally:
        await session.close()
    figure("job: apply to first step", statistics.median(power), "s", "<= 0.40")
    figure("job: create to first step", statistics.median(create), "s", "(with the commit of its change)")


def main() -> None:
    """Measure in folders of its own."""
    with scratch() as environment:
        command = [sys.executable, "-m", "console", "demo", "--path"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True)
        again = [sys.executable, "-m", "tests.bench.job_start", done.stdout.strip()]
        subprocess.run(again, check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(measure(Path(sys.argv[1])))
    else:
        main()
