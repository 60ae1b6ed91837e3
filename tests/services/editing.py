"""An operator who changes an inventory at random: `python editing.py FOLDER NAME COUNT SEED`.

Each change is planned by a session and made as a job makes it. Prints a line of JSON for each: what was tried, what is
to be found in the inventory from then on, and the commit, or why it was refused.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import ApplyMode, Plan
from console.services.change import commit_change
from console.services.session import Session
from console.services.wishes import BootChoice, GuestWish
from console.wiring import open_session, repository


class Editor:
    """One operator, and the guests that are theirs."""

    def __init__(self, session: Session, name: str, seed: int) -> None:
        self.session = session
        self.name = name
        self.random = random.Random(seed)
        self.own: dict[GuestKey, int] = {}

    def next(self, number: int) -> tuple[Plan, GuestKey, int | None]:
        """Return a change, the guest that it is of, and its vCPUs afterwards (None: it is gone)."""
        kind = self.random.random()
        if kind < 0.45 or not self.own:
            host = self.random.choice(sorted(self.session.store.fleet.hosts))
            key, vcpus = GuestKey(host, f"{self.name}-{number}"), self.random.randint(1, 8)
            wish = GuestWish(
                host=host, name=key.guest, vcpus=str(vcpus), memory="1 GiB", disk="5 GiB", boot=BootChoice.PXE
            )
            return self.session.plan_create(wish, start=False), key, vcpus
        key = self.random.choice(sorted(self.own, key=str))
        if kind < 0.8:
            vcpus = self.own[key] % 8 + 1
            wish = replace(self.session.wish_of(key), vcpus=str(vcpus))
            return self.session.plan_edit(key, wish, ApplyMode.NEXT_BOOT), key, vcpus
        return self.session.plan_remove(key), key, None

    async def change(self, number: int) -> dict[str, object]:
        """Make one change; return what became of it."""
        await self.session.reread()
        try:
            plan, key, vcpus = self.next(number)
            assert plan.change is not None
            done = await commit_change(self.session.folder, plan.change, repository())
        except FleetError as error:
            return {"refused": str(error)}
        self.own.pop(key, None)
        if vcpus is not None:
            self.own[key] = vcpus
        made = {"guest": str(key), "vcpus": vcpus, "subject": plan.change.summary}
        return made | {"commit": done.commit, "warning": done.warning}


async def work(folder: Path, name: str, count: int, seed: int) -> None:
    """Make the changes, one after another."""
    session = open_session(folder)
    editor = Editor(session, name, seed)
    for number in range(count):
        print(json.dumps(await editor.change(number)), flush=True)
    await session.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
