"""The line to filter by: text, how much matches, and below it what can be written or what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from console.inventory.filter import HINT
from screens.form import Box
from screens.widgets import Sheet, fit, wrapped


class FilterLine(Vertical):
    """The line below the list, with a hint under it while it is typed in: what is typed filters at once."""

    @dataclass
    class Changed(Message):
        """The text is another one."""

        line: FilterLine
        text: str

    class Done(Message):
        """Enter was pressed: the filter stays, the keys go back to the list."""

    def __init__(self, text: str, hint: str = HINT, *, id: str) -> None:
        super().__init__(id=id)
        self._text = text
        self._hint = hint

    def compose(self) -> ComposeResult:
        """Lay out slash, text and count, and the hint below."""
        with Horizontal(classes="filter-row"):
            yield Sheet([[("/", "accent")]], classes="filter-slash")
            box = Box(self._text, compact=True, select_on_focus=False)
            box.cursor_blink = False
            yield box
            yield Sheet([()], classes="filter-count")
        yield Sheet([[(self._hint, "quiet")]], classes="filter-hint")

    def begin(self) -> None:
        """Take the keys."""
        self.add_class("-typing")
        # Not Input.focus(), which is deferred: the next key is already the filter's.
        self.screen.set_focus(self.query_one(Input))

    def say(self, count: str, wrong: str = "") -> None:
        """Show how much matches ("3 of 12 guests"), and what is wrong with the filter."""
        self.query_one(".filter-count", Sheet).show([[(fit(count, 24, right=True), "quiet")]])
        self.set_class(bool(wrong), "-wrong")
        # Two cells are the hint's own margin, two the line's.
        said = wrapped(wrong, max(8, self.app.size.width - 4))
        self.query_one(".filter-hint", Sheet).show(
            [[(part, "warn")] for part in said] if wrong else [[(self._hint, "quiet")]]
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the screen."""
        event.stop()
        self.post_message(self.Changed(self, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the keys back."""
        event.stop()
        self.remove_class("-typing")
        self.post_message(self.Done())
