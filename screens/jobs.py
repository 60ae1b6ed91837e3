"""What is and was carried out, by whoever: the jobs of the inventory, newest first, and each step of one, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.events import Resize

from console.domain.job import Job
from console.services.journal import operator
from screens.action import Context
from screens.actions import BY_ID
from screens.job_lines import job_detail, job_rows, running
from screens.offers import bindings, key_of
from screens.scrolling import ScrollingScreen
from screens.situation import Situation
from screens.widgets import Line, Sheet, Span, wrapped
from screens.work import Work

if TYPE_CHECKING:
    from console.services.session import Session

WIDE = 120
"""From this width on the job stands beside the list."""


class JobsScreen(ScrollingScreen):
    """A list with the job under its cursor below or beside it; enter shows that one alone, and scrolls.

    job: the one to begin with; without one the newest is followed.
    """

    CONTEXT = Context.JOBS
    CSS_PATH = "jobs.tcss"
    BINDINGS = bindings(Context.JOBS)

    rows = getters.query_one("#jobs-rows", Sheet)
    listing = getters.query_one("#jobs-list", VerticalScroll)
    detail = getters.query_one("#job-lines", Sheet)
    pane = getters.query_one("#job", VerticalScroll)

    def __init__(self, session: Session, work: Work, job: str = "") -> None:
        super().__init__(session, work)
        self.following = not job
        self.opened = False
        self._chosen = job

    @property
    def body(self) -> VerticalScroll:
        """What scrolls: the job that is shown alone."""
        return self.pane

    def compose(self) -> ComposeResult:
        """Lay out header, list, job, status and keys."""
        yield from self.frame_top()
        with Container(id="jobs"):
            with VerticalScroll(id="jobs-list", can_focus=False):
                yield Sheet(id="jobs-rows")
            with VerticalScroll(id="job", can_focus=False):
                yield Sheet(id="job-lines")
        yield from self.frame_bottom()

    def on_mount(self) -> None:
        """Show the jobs."""
        self.show_store()

    def on_resize(self, event: Resize) -> None:
        """Put the job below or beside the list."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.show_once_laid_out()

    @property
    def cursor(self) -> int:
        """The number of the job under the cursor; 0 where there is none."""
        ids = [job.id for job in self.session.store.jobs]
        return ids.index(self._chosen) if not self.following and self._chosen in ids else 0

    @property
    def job(self) -> Job | None:
        """The job under the cursor."""
        jobs = self.session.store.jobs
        return jobs[self.cursor] if jobs else None

    def situation(self) -> Situation:
        """Return the job under the cursor."""
        store = self.session.store
        return Situation(
            read_only=self.session.read_only,
            hosts=len(store.fleet.hosts),
            jobs=running(store.jobs),
            job=self.job,
            following=self.following,
            opened=self.opened,
        )

    def show_store(self) -> None:
        """Show what the journals say now."""
        jobs, job = self.session.store.jobs, self.job
        if job is not None and self._chosen != job.id:
            # Its list is another one: what was scrolled there says nothing here.
            self._chosen = job.id
            self.pane.scroll_home(animate=False)
        self.set_class(not jobs, "-empty")
        self.set_class(self.opened and job is not None, "-opened")
        self.header.show([self._heading()])
        now = self.session.store.clock()
        width = (self.listing.size.width or self.size.width) - 1
        self.rows.show(job_rows(jobs, self.cursor, now, operator(), width) if jobs else self._empty(width))
        self.detail.show([] if job is None else self._detail(job))
        self.show_frame()

    def show_ages(self) -> None:
        """Let the times of what runs grow."""
        if running(self.session.store.jobs):
            self.show_store()

    def _heading(self) -> Line:
        line: list[Span] = [("Jobs", "title"), ("   newest first", "quiet")]
        if count := running(self.session.store.jobs):
            line.append((f"   ↻ {count} running", "accent"))
        if self.session.store.jobs and self.following:
            line.append(("   following the newest", "quiet"))
        return [*line, *([("   read-only", "accent")] if self.session.read_only else [])]

    def _empty(self, width: int) -> list[Line]:
        lines: list[Line] = [[("No jobs yet.", "strong")], []]
        words = "What changes a host, a guest or the inventory is carried out as a job, and shown here step by step."
        on = "A job goes on when the console is left or the line drops; every console of this inventory shows it."
        lines += [[(part, "")] for part in wrapped(words, width)]
        lines += [[(part, "quiet")] for part in wrapped(on, width)]
        if self.session.read_only:
            return lines
        plan, back = key_of(BY_ID["plan"]), key_of(BY_ID["back"])
        return [*lines, [], [(back, "accent"), (" goes back; ", ""), (plan, "accent"), (" there shows a plan.", "")]]

    def _detail(self, job: Job) -> list[Line]:
        width, height = self.pane.size
        now, able = self.session.store.clock(), not self.session.read_only
        return job_detail(job, now, max(20, width - 1), None if self.opened else max(4, height), can_change=able)

    # The list.

    def _move(self, by: int) -> None:
        jobs = self.session.store.jobs
        if not jobs:
            return
        place = max(0, min(len(jobs) - 1, self.cursor + by))
        self.following = False
        self._chosen = jobs[place].id
        self.pane.scroll_home(animate=False)
        self.show_store()
        height = max(1, self.listing.size.height)
        top = int(self.listing.scroll_target_y)
        self.listing.scroll_to(y=min(max(top, place - height + 1), place), animate=False)

    def act_up(self) -> None:
        """One job up; in a job that is shown alone, scroll."""
        super().act_up() if self.opened else self._move(-1)

    def act_down(self) -> None:
        """One job down; in a job that is shown alone, scroll."""
        super().act_down() if self.opened else self._move(1)

    def act_page_up(self) -> None:
        """One page up."""
        super().act_page_up() if self.opened else self._move(1 - max(2, self.listing.size.height))

    def act_page_down(self) -> None:
        """One page down."""
        super().act_page_down() if self.opened else self._move(max(2, self.listing.size.height) - 1)

    def act_first(self) -> None:
        """To the newest job."""
        super().act_first() if self.opened else self._move(-len(self.session.store.jobs))

    def act_last(self) -> None:
        """To the oldest job."""
        super().act_last() if self.opened else self._move(len(self.session.store.jobs))

    def _open(self, opened: bool) -> None:
        self.opened = opened
        self.pane.scroll_home(animate=False)
        self.show_store()
        # The pane has another size now.
        self.show_once_laid_out()

    def act_open_job(self) -> None:
        """Show the job alone; once more, the list again."""
        if self.job is not None:
            self._open(not self.opened)

    def act_back(self) -> None:
        """From a job that is shown alone to the list; from there to where it was asked from."""
        if self.opened:
            self._open(False)
        else:
            self.dismiss()

    def act_follow(self) -> None:
        """Follow the newest."""
        self.following = True
        self.listing.scroll_home(animate=False)
        self.show_store()

    # What can be done.

    def act_job_cancel(self) -> None:
        """Ask whether to cancel, saying what that means."""
        from screens.cancel import ask_to_cancel

        job = self.job
        if job is None or job.state.ended:
            self.tell("▲ Only a job that runs can be cancelled.")
            return
        ask_to_cancel(self.app, self.session, job)

    async def act_job_rest(self) -> None:
        """Show what would do the rest."""
        from screens.plan import PlanScreen

        job = self.job
        if job is None:
            return
        if not job.state.ended:
            self.tell("▲ It still runs: what is left is known when it ended.")
            return
        self.app.push_screen(PlanScreen(self.session, self.session.plan_rest(job.id)))
