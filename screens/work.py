"""Plans being carried out: in the background, with their progress for the status line and their end never lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from textual.app import App

from console.domain.errors import FleetError
from console.domain.plan import Outcome, Plan, Progress, StepState
from screens.figures import age
from screens.widgets import Line

if TYPE_CHECKING:
    from console.services.session import Session

NEWS = timedelta(minutes=1)
"""From this age on a message says how old it is."""

MARKS = {"✔": "good", "✖": "bad", "▲": "warn", "↻": "accent"}


class Work:
    """What runs now. changed: called when the status line should be painted again; fail: shows an error."""

    def __init__(
        self, app: App[None], session: Session, changed: Callable[[], None], fail: Callable[[FleetError], None]
    ) -> None:
        self._app = app
        self._session = session
        self._changed = changed
        self._fail = fail
        self._running: dict[int, str] = {}
        self._numbers = count()

    @property
    def running(self) -> int:
        """How many plans are being carried out."""
        return len(self._running)

    def begin(self, plan: Plan) -> None:
        """Carry a plan out in the background; it outlives the screen that asked for it."""
        number = next(self._numbers)
        self._running[number] = plan.title
        self._changed()
        self._app.run_worker(self._carry_out(plan, number), name=plan.title, group="apply")

    def status(self) -> Line:
        """Return the status line: what runs, else the last message, with its age once it is not news."""
        if self._running:
            *others, newest = self._running.values()
            more = f"  and {len(others)} more" if others else ""
            return [("↻ ", "accent"), (newest, ""), (more, "quiet")]
        if not self._session.store.messages:
            return ()
        at, message = self._session.store.messages[-1]
        now = self._session.store.clock()
        return [*said(message), *([(f"  {age(at, now)} ago", "quiet")] if now - at >= NEWS else [])]

    async def _carry_out(self, plan: Plan, number: int) -> None:
        def report(progress: Progress) -> None:
            if progress.state is StepState.RUNNING:
                self._running[number] = f"{plan.title}: {progress.sentence} …"
                self._changed()

        try:
            outcome = await self._session.apply(plan, report)
        except FleetError as error:
            self._end(number, f"✖ {error.title}")
            self._fail(error)
            return
        except BaseException:
            self._running.pop(number, None)
            raise
        self._end(number, " ".join(("✔" if outcome.ok else "✖", outcome.sentence, *outcome.notes)))
        if not outcome.ok:
            self._fail(failure(outcome))

    def _end(self, number: int, message: str) -> None:
        self._running.pop(number, None)
        self._session.store.say(message)


def said(message: str) -> Line:
    """Return a message as a line, its leading mark in colour."""
    mark, rest = message[:1], message[1:]
    return [(mark, MARKS[mark]), (rest, "")] if mark in MARKS else [(message, "")]


def failure(outcome: Outcome) -> FleetError:
    """Return an apply that did not end well as an error: what failed and why, what was undone, what is left."""
    lines = [f"{what}: {why}" for what, why in outcome.failures]
    lines += [f"Taken back: {text}" for text in outcome.undone]
    left = [f"Left as it is: {text}" for text in outcome.left]
    return FleetError(outcome.sentence, "\n".join(lines), "\n".join(left))
