"""A plan being carried out: each step with its state, then how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key

from console.domain.errors import FleetError
from console.domain.job import JobState
from console.domain.plan import Outcome, Plan, Progress, StepState
from screens.cancel import ask_to_cancel
from screens.job_lines import STATES
from screens.offers import own, own_keys
from screens.plan_lines import ending, progress
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet, error_lines

if TYPE_CHECKING:
    from console.services.session import Session

SCREENFUL = 9999
"""More lines than any plan has: to its end."""


class ApplyScreen(SizedScreen["Outcome | None"]):
    """Applies the plan as soon as it is shown. Dismisses with the outcome; None when it was left running.

    It is a job in a process of its own: leaving the screen lets it go on, and its end is said in the status line.
    """

    CSS_PATH = "plan.tcss"
    AUTO_FOCUS = ""
    # Priority: before on_key, which takes all other keys.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave it running", id="apply.leave", priority=True, show=False),
        Binding("x", "cancel", "cancel", id="apply.cancel", priority=True, show=False),
        Binding("J", "jobs", "jobs", id="jobs", priority=True, show=False),
        Binding("up", "scroll(-1)", "up", id="apply.up", priority=True, show=False),
        Binding("down", "scroll(1)", "down", id="apply.down", priority=True, show=False),
        Binding("pageup", "page(-1)", "page up", id="apply.pageup", priority=True, show=False),
        Binding("pagedown", "page(1)", "page down", id="apply.pagedown", priority=True, show=False),
        Binding("home", f"scroll({-SCREENFUL})", "first line", id="apply.home", priority=True, show=False),
        Binding("end", f"scroll({SCREENFUL})", "last line", id="apply.end", priority=True, show=False),
    ]
    body = getters.query_one("#apply", VerticalScroll)

    def __init__(self, session: Session, plan: Plan) -> None:
        super().__init__()
        self.session = session
        self.plan = plan
        self.outcome: Outcome | None = None
        self.error: FleetError | None = None
        self.job = ""
        """Its id, once it has one."""
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
        yield Notice()
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
        self.job = heard.job or self.job
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
        ways = (("apply.cancel", "x", "cancel"), ("jobs", "J", "jobs"), ("apply.leave", "escape", "leave it running"))
        self.query_one(KeysFooter).show_keys((keys,) if self.ended else own_keys(*ways))
        if self.ended:
            self.call_after_refresh(self.body.scroll_end, animate=False)

    def _ending(self, width: int) -> list[Line]:
        if self.error is not None or self.outcome is None:
            return error_lines(self.error, width) if self.error else []
        told = [heard.detail for heard in self._heard.values() if heard.state is StepState.FAILED]
        return ending(self.outcome, width, told)

    @property
    def _cancelled(self) -> bool:
        job = self.session.store.job(self.outcome.job) if self.outcome is not None else None
        return job is not None and job.state is JobState.CANCELLED

    def _title(self) -> Line:
        if not self.ended:
            word, style = "↻ applying", "accent"
        elif self.outcome and self.outcome.ok:
            word, style = "✔ done", "good"
        elif self._cancelled:
            word, style = STATES[JobState.CANCELLED]
        else:
            word, style = "✖ failed", "bad"
        return [(self.plan.title, "strong"), (f"   {word}", style)]

    def on_key(self, event: Key) -> None:
        """Go back at any key once it ended."""
        event.stop()
        event.prevent_default()
        if self.ended:
            self.dismiss(self.outcome)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Scroll where there is more than fits; leave and cancel what has not ended: then any key goes back."""
        if action in {"scroll", "page"}:
            return bool(self.body.max_scroll_y)
        return not self.ended if action in {"leave", "cancel", "jobs"} else super().check_action(action, parameters)

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.body.scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        """Scroll by pages."""
        self.action_scroll(by * max(1, self.body.size.height - 1))

    def action_leave(self) -> None:
        """Leave; it goes on by itself."""
        self.session.store.say(f"↻ {self.plan.title}: goes on. {own('jobs', 'J')} shows it.")
        self.dismiss(None)

    async def action_jobs(self) -> None:
        """Show it among the jobs."""
        await self.run_action(f"app.jobs({self.job!r})")

    def action_cancel(self) -> None:
        """Ask whether to cancel."""
        job = self.session.store.job(self.job)
        if job is not None and not job.state.ended:
            ask_to_cancel(self.app, self.session, job)
