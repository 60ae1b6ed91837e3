"""A form of one page of fields and its review: what will happen, line by line where it is wanted; enter writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget

from console.domain.errors import FleetError
from console.domain.plan import Plan
from screens.apply import ApplyScreen
from screens.diff import DiffScreen
from screens.form_frame import Keys
from screens.form_screen import FormScreen
from screens.lines import facts, title
from screens.plan_lines import cautions, happenings
from screens.widgets import Line, Sheet

if TYPE_CHECKING:
    from console.services.session import Session

REVIEW = 1


class Review(Sheet, can_focus=True):
    """What will happen."""


class ReviewedForm(FormScreen):
    """A subclass gives the fields, the rows of the review, and the plan. The change is the inventory's alone."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.plan: Plan | None = None

    def planned(self) -> Plan:
        """Return the plan for what was typed. Raises FleetError with the reason why there is none."""
        raise NotImplementedError

    def review_rows(self) -> list[tuple[str, str]]:
        """Return what was typed as label and value."""
        raise NotImplementedError

    def special(self, page: int) -> Widget | None:
        """Return the sheet of the review."""
        if page != REVIEW:
            return None
        found = self.body.query_children(Review)
        return found.first() if found else Review()

    async def entered(self) -> None:
        """Plan."""
        self.plan = None
        try:
            self.plan = await self.session.preview(self.planned())
        except FleetError as error:
            self.reasons.planned(self.typed_so_far(), error)
        else:
            self.reasons.planned(self.typed_so_far(), None)
        self.show_review()

    def show_review(self) -> None:
        """Lay the review out for the width that there is."""
        width = self.size.width - 4
        for sheet in self.body.query_children(Review):
            sheet.show([*self.reasons.lines(width), *self._review_lines(width)])
        self.paint()

    def on_resize(self) -> None:
        """Lay the page out anew."""
        self.show_review()

    def _review_lines(self, width: int) -> list[Line]:
        lines = facts(self.review_rows(), width)
        if self.plan is None:
            return lines
        if self.plan.is_empty:
            return [*lines, [], [("Nothing was changed.", "quiet")]]
        lines += [[], title("What will happen"), *happenings(self.plan, width)]
        notes = cautions(self.plan, width)
        return [*lines, [], *notes] if notes else lines

    def page_keys(self) -> Keys:
        """Return the keys of the review."""
        end = (("b", "back"), ("escape", "cancel"))
        if self.plan is None or self.plan.is_empty:
            return end
        diff = (("d", "see the diff"),) if any(file.diff for file in self.plan.files) else ()
        return (("enter", "write it"), *diff, *end)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep the review's keys to it."""
        return self.page == REVIEW if action == "diff" else True

    async def confirmed(self) -> None:
        """Write it."""
        if self.plan is not None and not self.plan.is_empty:
            await self.app.push_screen(ApplyScreen(self.session, self.plan), self.ended)

    async def action_diff(self) -> None:
        """Show the files line by line."""
        if self.plan is not None and self.plan.files:
            await self.app.push_screen(DiffScreen(self.plan))
