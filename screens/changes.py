"""The inventory's recorded changes: who, when, what; the diff of each, and the last one undone as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.events import Resize

from console.domain.errors import FleetError
from console.domain.plan import FileDiff, Plan
from console.domain.record import Commit
from screens.diff import DiffScreen
from screens.job_lines import moment
from screens.offers import own_keys
from screens.plan_lines import diff_lines
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet, fit, is_open, line_width

if TYPE_CHECKING:
    from console.services.session import Session

LIMIT = 200

WIDE = 120
"""From this width on what the change did stands beside the list."""

WHO = 18
"""Cells of a name at most."""


class ChangesScreen(SizedScreen[None]):
    """The newest changes first; enter shows what one did to the files, u undoes the last one that was ours."""

    CSS_PATH = "changes.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back", id="changes.leave", show=False),
        Binding("q", "app.quit", "quit", id="quit", show=False),
        Binding("up,k", "move(-1)", "up", id="changes.up", show=False),
        Binding("down,j", "move(1)", "down", id="changes.down", show=False),
        Binding("pageup", "page(-1)", "page up", id="changes.page-up", show=False),
        Binding("pagedown", "page(1)", "page down", id="changes.page-down", show=False),
        Binding("home", f"move({-LIMIT})", "newest", id="changes.first", show=False),
        Binding("end", f"move({LIMIT})", "oldest", id="changes.last", show=False),
        Binding("enter,d", "diff", "what it did", id="changes.diff", show=False),
        Binding("J", "app.jobs", "jobs", id="jobs", show=False),
        Binding("u", "undo", "undo the last", id="changes.undo", show=False),
    ]

    body = getters.query_one("#changes-list", VerticalScroll)
    beside = getters.query_one("#changes-diff", Sheet)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.commits: tuple[Commit, ...] | None = None
        self.cursor = 0
        self._diffs: dict[str, list[Line]] = {}

    def compose(self) -> ComposeResult:
        """Lay out the list, and what the change under the cursor did."""
        yield Header([()])
        with Container(id="changes"):
            with VerticalScroll(id="changes-list", can_focus=False):
                yield Sheet(id="changes-rows")
            with VerticalScroll(id="changes-pane", can_focus=False):
                yield Sheet(id="changes-diff")
        yield Notice()
        yield KeysFooter()

    def on_screen_resume(self) -> None:
        """Read the history, anew when a plan was applied meanwhile."""
        self.run_worker(self._read(), group="history", exclusive=True)

    def on_resize(self, event: Resize) -> None:
        """Put what a change did beside the list where there is room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.call_after_refresh(self.show_commits)

    async def _read(self) -> None:
        try:
            self.commits = await self.session.history(LIMIT)
        except FleetError as error:
            if is_open(self):
                self.query_one(Notice).show_error(error)
        self.show_commits()

    def show_commits(self) -> None:
        """Show what was read."""
        if not is_open(self):
            return
        rows, commits = self.query_one("#changes-rows", Sheet), self.commits
        which = f"the newest {LIMIT} changes" if commits and len(commits) == LIMIT else "newest first"
        self.query_one(Header).show([[("History", "title"), (f"   of the inventory, {which}", "quiet")]])
        self.query_one(KeysFooter).show_keys(self._keys())
        if not commits:
            text = "No history: the inventory is in no git repository, or nothing is committed yet."
            rows.show([[("…", "quiet")] if commits is None else [(text, "")]])
            self.beside.show([])
            return
        self.cursor = max(0, min(self.cursor, len(commits) - 1))
        rows.show(self._rows(commits))
        if self.has_class("-wide"):
            self.run_worker(self._show_beside(commits[self.cursor]), group="beside", exclusive=True)

    def _keys(self) -> tuple[tuple[str, str], ...]:
        able = [("changes.diff", "enter", "what it did")] if self.commits else []
        # Before the first one there was nothing that one could go back to.
        ours = any(commit.ours for commit in (self.commits or ())[:-1])
        undo = [("changes.undo", "u", "undo the last")] if ours else []
        leave = ("changes.leave", "escape", "back"), ("quit", "q", "quit")
        return own_keys(*able, *undo, ("changes.up", "↑↓", "move"), *leave)

    def _rows(self, commits: tuple[Commit, ...]) -> list[Line]:
        now = self.session.store.clock()
        when = max(len(moment(commit.at, now)) for commit in commits)
        who = min(WHO, max(line_width([(commit.who, "")]) for commit in commits))
        return [
            [
                ("▸ " if place == self.cursor else "  ", "accent"),
                (f"{moment(commit.at, now):>{when}}  ", "quiet"),
                (fit(commit.who, who) + "  ", "quiet"),
                ("" if commit.ours else "by hand: ", "warn"),
                (commit.subject, "strong" if place == self.cursor else ""),
            ]
            for place, commit in enumerate(commits)
        ]

    async def _show_beside(self, commit: Commit) -> None:
        if commit.id not in self._diffs:
            try:
                self._diffs[commit.id] = diff_lines(Plan(title=commit.subject, files=(await self._file(commit),)))
            except FleetError as error:
                self._diffs[commit.id] = [[("✖ ", "bad"), (error.title, "")]]
        if not is_open(self):
            return
        self.beside.show(self._diffs[commit.id])
        self.query_one("#changes-pane", VerticalScroll).scroll_home(animate=False)

    async def _file(self, commit: Commit) -> FileDiff:
        diff = await self.session.diff(commit.id)
        at = commit.at.astimezone()
        return FileDiff(name=commit.short, summary=f"{commit.who}, {at:%Y-%m-%d %H:%M}", diff=diff)

    def action_page(self, pages: int) -> None:
        """Move by pages."""
        self.action_move(pages * max(1, self.body.size.height - 1))

    def action_move(self, by: int) -> None:
        """Move the cursor, and keep it in sight."""
        self.cursor += by
        self.show_commits()
        height = max(1, self.body.size.height)
        top = int(self.body.scroll_target_y)
        self.body.scroll_to(y=min(max(top, self.cursor - height + 1), self.cursor), animate=False)

    async def action_diff(self) -> None:
        """Show what the change did to the files."""
        if not self.commits:
            return
        commit = self.commits[self.cursor]
        try:
            file = await self._file(commit)
        except FleetError as error:
            self.query_one(Notice).show_error(error)
            return
        self.app.push_screen(DiffScreen(Plan(title=commit.subject, files=(file,)), "what it did to the files"))

    async def action_undo(self) -> None:
        """Show what undoing the last change would do."""
        from screens.plan import PlanScreen

        try:
            plan = self.session.plan_undo(await self.session.last_change())
        except FleetError as error:
            self.query_one(Notice).show_error(error)
            return
        self.app.push_screen(PlanScreen(self.session, plan))

    async def action_dismiss(self, result: None = None) -> None:
        """Go back."""
        self.dismiss()
