"""The question before a job is asked to end: what that means for what is done, what runs and what is not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from console.domain.errors import FleetError
from console.domain.job import Job
from console.domain.plan import StepState
from screens.lines import hanging
from screens.offers import own, own_keys
from screens.sized import SizedScreen
from screens.widgets import KeysFooter, Line, Notice, Sheet

if TYPE_CHECKING:
    from console.services.session import Session

WIDTH = 72
"""Cells of text; the same figure stands in plan.tcss."""


class CancelJob(ModalScreen[bool], SizedScreen[bool]):
    """Dismisses with True when the operator said yes, by y."""

    CSS_PATH = "plan.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "go on", id="cancel.no", priority=True, show=False),
        Binding("y", "answer(True)", "cancel", id="cancel.yes", priority=True, show=False),
        Binding("enter", "enter", "nothing", id="cancel.enter", priority=True, show=False),
    ]

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def compose(self) -> ComposeResult:
        """Lay out what will happen, and the question."""
        with Vertical(id="confirm"):
            yield Sheet([[(f"Cancel: {self.job.title}?", "strong")], [], *meaning(self.job, WIDTH)])
            yield Sheet(id="confirm-said")
            yield KeysFooter(
                own_keys(("cancel.yes", "y", "yes, cancel it"), ("cancel.no", "escape", "no, let it go on"))
            )

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)

    def action_enter(self) -> None:
        """Enter alone is no answer: it is pressed too easily twice."""
        self.query_one("#confirm-said", Sheet).show([[(f"Press {own('cancel.yes', 'y')} to cancel it.", "warn")]])


def meaning(job: Job, width: int) -> list[Line]:
    """Return what cancelling a job would mean now."""
    of = {state: [step for step in job.steps if step.state is state] for state in StepState}
    done, waiting = len(of[StepState.DONE]), len(of[StepState.WAITING])
    lines: list[Line] = []
    for step in of[StepState.RUNNING][:3]:
        text = f"{step.sentence} on {step.host}: is finished first; a mere wait for a guest is ended."
        lines += hanging([("↻ ", "accent")], text, "", width)
    if waiting:
        lines += hanging([("– ", "quiet")], f"{_steps(waiting)} not begun yet: not done.", "", width)
    if what := " and ".join([*(["the inventory's change"] if job.change else []), *([_steps(done)] if done else [])]):
        if job.taken_back:
            lines += hanging([("↶ ", "warn")], f"{what}, done: taken back, as far as that is possible.", "", width)
        else:
            lines += hanging([("✔ ", "good")], f"{what}, done: stays as it is.", "", width)
    return [*lines, [], [("What is left can be done later from the list of jobs.", "quiet")]]


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def ask_to_cancel(app: App[Any], session: Session, job: Job) -> None:
    """Ask, and have the job end when the answer is yes; what cannot be is shown in the screen that asked."""
    asking = app.screen

    async def cancel() -> None:
        try:
            await session.cancel_job(job.id)
        except FleetError as error:
            for notice in asking.query(Notice):
                notice.show_error(error)
        else:
            session.store.say(f"↻ {job.title}: asked to end.")

    def answered(yes: bool | None) -> None:
        if yes:
            app.run_worker(cancel(), name=f"cancel {job.id}", group="cancel")

    app.push_screen(CancelJob(job), answered)
