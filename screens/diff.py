"""The files that a plan changes, line by line."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer

from console.domain.plan import Plan
from screens.offers import own
from screens.plan_lines import diff_lines
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Sheet, line_width


class DiffScreen(SizedScreen[None]):
    """The diffs of a plan; scrolls both ways, any of the usual keys goes back."""

    CSS_PATH = "plan.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,d,q,b", "dismiss", "back", id="diff.back", show=False),
        Binding("j", "scroll(1)", "down", id="diff.down", show=False),
        Binding("k", "scroll(-1)", "up", id="diff.up", show=False),
    ]

    def __init__(self, plan: Plan, what: str = "what changes in the files") -> None:
        super().__init__()
        self.plan = plan
        self.what = what

    def compose(self) -> ComposeResult:
        """Lay out title, diff and keys."""
        lines = diff_lines(self.plan)
        yield Header([[(self.plan.title, "strong"), (f"   {self.what}", "quiet")]], classes="plan-title")
        with ScrollableContainer(id="diff"):
            sheet = Sheet(lines, classes="diff-lines")
            sheet.styles.width = max((line_width(line) for line in lines), default=1)
            yield sheet
        yield KeysFooter((("↑↓ ←→", "scroll"), ("pgup pgdn", "page"), (own("diff.back", "escape"), "back")))

    def on_mount(self) -> None:
        """Give the keyboard to the diff."""
        self.query_one("#diff").focus()

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.query_one("#diff").scroll_relative(y=by, animate=False)

    async def action_dismiss(self, result: None = None) -> None:
        """Go back."""
        self.dismiss()
