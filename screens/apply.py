"""A plan being carried out: each step with its state, then how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Key
from textual.screen import Screen

from console.domain.errors import FleetError
from console.domain.plan import Outcome, Plan, Progress, StepState
from screens.plan_lines import ending, progress
from screens.widgets import Header, KeysFooter, Line, Sheet, error_lines

if TYPE_CHECKING:
    from console.services.session import Session

SCROLLING = frozenset({"up", "down", "pageup", "pagedown", "home", "end"})


class ApplyScreen(Screen["Outcome | None"]):
    """Applies the plan as soon as it is shown. Dismisses with the outcome; None when it was left running.

    The work belongs to the app, not to this screen: leaving the screen lets it go on, and its end is said in the
    status line.
    """

    CSS_PATH = "plan.tcss"
    AUTO_FOCUS = ""
    body = getters.query_one("#apply", VerticalScroll)

    def __init__(self, session: Session, plan: Plan) -> None:
        super().__init__()
        self.session = session
        self.plan = plan
        self.outcome: Outcome | None = None
        self.error: FleetError | None = None
        self._heard: dict[int, Progress] = {}
        self._since: dict[int, float] = {}

    @property
    def ended(self) -> bool:
        """True once there is nothing left to wait for."""
        return self.outcome is not None

    def compose(self) -> ComposeResult:
        """Lay out title, steps and keys."""
        yield Header(classes="plan-title")
        with VerticalScroll(id="apply", can_focus=False):
            yield Sheet(id="apply-lines")
        yield KeysFooter()

    def on_mount(self) -> None:
        """Begin."""
        self.show_progress()
        self.set_interval(1.0, self._tick)
        self.app.run_worker(self._apply(), name=self.plan.title, group="apply", exit_on_error=True)

    def on_resize(self) -> None:
        """Wrap to the new width."""
        self.show_progress()

    async def _apply(self) -> None:
        try:
            self.outcome = await self.session.apply(self.plan, self._hear)
        except FleetError as error:
            self.error = error
            self.outcome = Outcome(ok=False, sentence=error.title, failures=((self.plan.title, str(error)),))
        if self.outcome.ok or not self.is_attached:
            self.session.store.say(f"{'✔' if self.outcome.ok else '✖'} {self.outcome.sentence}")
        self.show_progress()

    def _hear(self, heard: Progress) -> None:
        self._heard[heard.index] = heard
        if heard.state is StepState.RUNNING:
            self._since[heard.index] = time.monotonic()
        self.show_progress()

    def _tick(self) -> None:
        if not self.ended:
            self.show_progress()

    def show_progress(self) -> None:
        """Show where everything stands now."""
        if not self.is_attached:
            return
        width = self.size.width - 3
        now = time.monotonic()
        running = {i: now - self._since[i] for i, p in self._heard.items() if p.state is StepState.RUNNING}
        lines = progress(self.plan, self._heard, running, width)
        if self.ended:
            lines += [[], *self._ending(width)]
        self.query_one("#apply-lines", Sheet).show(lines)
        self.query_one(Header).show([self._title()])
        keys = ("any key", "go on") if self.outcome and self.outcome.ok else ("any key", "back")
        self.query_one(KeysFooter).show_keys((keys,) if self.ended else (("escape", "leave it running"),))
        if self.ended:
            self.call_after_refresh(self.body.scroll_end, animate=False)

    def _ending(self, width: int) -> list[Line]:
        if self.error is not None or self.outcome is None:
            return error_lines(self.error, width) if self.error else []
        told = [heard.detail for heard in self._heard.values() if heard.state is StepState.FAILED]
        return ending(self.outcome, width, told)

    def _title(self) -> Line:
        if not self.ended:
            word, style = "↻ applying", "accent"
        elif self.outcome and self.outcome.ok:
            word, style = "✔ done", "good"
        else:
            word, style = "✖ failed", "bad"
        return [(self.plan.title, "strong"), (f"   {word}", style)]

    def on_key(self, event: Key) -> None:
        """Scroll; leave it running; go back once it ended."""
        event.stop()
        event.prevent_default()
        if event.key in SCROLLING and self.body.max_scroll_y:
            page = self.body.size.height - 1
            by = {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "home": -9999, "end": 9999}[event.key]
            self.body.scroll_relative(y=by, animate=False)
        elif self.ended or event.key == "escape":
            self.dismiss(self.outcome)
