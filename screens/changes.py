"""The inventory's recorded changes: who, when, what; the diff of each, and the last one undone as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen

from console.domain.errors import FleetError
from console.domain.plan import FileDiff, Plan
from console.domain.record import Commit
from screens.diff import DiffScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet, fit

if TYPE_CHECKING:
    from console.services.session import Session

LIMIT = 200


class ChangesScreen(Screen[None]):
    """The newest changes first; enter shows what one did to the files, u undoes the last one that was ours."""

    CSS_PATH = "help.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back", id="changes.leave", show=False),
        Binding("up,k", "move(-1)", "up", id="changes.up", show=False),
        Binding("down,j", "move(1)", "down", id="changes.down", show=False),
        Binding("pageup", "move(-10)", "page up", id="changes.page-up", show=False),
        Binding("pagedown", "move(10)", "page down", id="changes.page-down", show=False),
        Binding("enter,d", "diff", "what it did", id="changes.diff", show=False),
        Binding("J", "app.jobs", "jobs", id="jobs", show=False),
        Binding("u", "undo", "undo the last", id="changes.undo", show=False),
    ]

    body = getters.query_one("#help", VerticalScroll)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.commits: tuple[Commit, ...] | None = None
        self.cursor = 0

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        yield Header([[("History", "title"), ("   of the inventory, newest first", "quiet")]])
        with VerticalScroll(id="help", can_focus=False):
            yield Sheet(id="changes")
        yield Notice()
        yield KeysFooter((("enter", "what it did"), ("u", "undo the last"), ("↑↓", "move"), ("escape", "back")))

    def on_screen_resume(self) -> None:
        """Read the history, anew when a plan was applied meanwhile."""
        self.run_worker(self._read(), group="history", exclusive=True)

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.show_commits()

    async def _read(self) -> None:
        try:
            self.commits = await self.session.history(LIMIT)
        except FleetError as error:
            self.query_one(Notice).show_error(error)
        self.show_commits()

    def show_commits(self) -> None:
        """Show what was read."""
        sheet = self.query_one("#changes", Sheet)
        if self.commits is None:
            sheet.show([[("…", "quiet")]])
        elif not self.commits:
            sheet.show([[("No history: the inventory is in no git repository, or nothing is committed yet.", "")]])
        else:
            self.cursor = max(0, min(self.cursor, len(self.commits) - 1))
            sheet.show([self._line(place, commit) for place, commit in enumerate(self.commits)])

    def _line(self, place: int, commit: Commit) -> Line:
        here = place == self.cursor
        return [
            ("▸ " if here else "  ", "accent"),
            (f"{commit.at:%Y-%m-%d %H:%M}Z  ", "quiet"),
            (fit(commit.who, 14) + "  ", "quiet"),
            (commit.subject, "strong" if here else ""),
            ("" if commit.ours else "  by hand", "quiet"),
        ]

    def action_move(self, by: int) -> None:
        """Move the cursor, and keep it in sight."""
        self.cursor += by
        self.show_commits()
        height = max(1, self.body.size.height - 1)
        top = int(self.body.scroll_offset.y)
        self.body.scroll_to(y=min(max(top, self.cursor - height + 1), self.cursor), animate=False)

    async def action_diff(self) -> None:
        """Show what the change did to the files."""
        if not self.commits:
            return
        commit = self.commits[self.cursor]
        try:
            diff = await self.session.diff(commit.id)
        except FleetError as error:
            self.query_one(Notice).show_error(error)
            return
        file = FileDiff(name=commit.short, summary=f"{commit.who}, {commit.at:%Y-%m-%d %H:%M}Z", diff=diff)
        self.app.push_screen(DiffScreen(Plan(title=commit.subject, files=(file,))))

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
