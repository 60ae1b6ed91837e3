"""A choice: one line when closed, a list with a filter below it when open; all by keyboard, all facts in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.events import Blur, Click, Key
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from screens.widgets import Line, Lined, Span, fit, line_width

ROWS = 9
"""The most options shown at once; with the rest of a form they fit into 24 lines."""


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to choose.

    facts: columns of the list. refusal: why it cannot be chosen, shown after the facts. detail: a sentence for the
    line below the list while the cursor is on it. note: what stands beside it once chosen; empty for the facts.
    """

    value: str
    title: str
    facts: tuple[str, ...] = ()
    refusal: str = ""
    detail: str = ""
    note: str = ""


class Choice(Lined, can_focus=True):
    """The chosen option; space or typing opens the list, left and right step through it closed.

    free: when not empty, a text that matches no option may be taken as it is; says what such a text is ("path").
    """

    class Changed(Message):
        """Another option was chosen."""

    class Turned(Message):
        """The list opened, closed or looks different now."""

    def __init__(self, value: str, options: Sequence[Option], *, free: str = "") -> None:
        super().__init__()
        self.value = value
        self.options = tuple(options)
        self.free = free
        self.is_open = False
        self.query_text = ""
        self.cursor = 0
        self.complaint = ""

    @property
    def chosen(self) -> Option | None:
        """The option whose value is the field's; None for a free text and for no choice."""
        return next((option for option in self.options if option.value == self.value), None)

    @property
    def rows(self) -> tuple[Option, ...]:
        """The options that match the filter, and the typed text itself where that may be taken."""
        words = self.query_text.lower().split()
        found = tuple(
            option
            for option in self.options
            if all(word in " ".join((option.title, *option.facts, option.refusal)).lower() for word in words)
        )
        text = self.query_text.strip()
        if self.free and text and all(option.value != text for option in found):
            found = (*found, Option(text, text, (f"use this {self.free}",)))
        return found

    def set_options(self, options: Sequence[Option]) -> None:
        """Offer these from now on; the value and an open list stay."""
        if tuple(options) != self.options:
            self.options = tuple(options)
            self.cursor = min(self.cursor, max(0, len(self.rows) - 1))
            self._turned()

    def set_value(self, value: str) -> None:
        """Choose without asking."""
        if value != self.value:
            self.value = value
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Always one line."""
        return 1

    def render_line(self, y: int) -> Strip:
        """Paint the filter while open, else the choice."""
        width = self.size.width
        line: Line
        if self.is_open and not self.query_text:
            line = [("▏", "accent"), ("type to filter", "quiet")]
        elif self.is_open:
            line = [(self.query_text, ""), ("▏", "accent")]
        else:
            chosen = self.chosen
            text = chosen.title if chosen is not None else self.value
            line = [(fit(text or "choose", width - 2), "" if text else "quiet"), (" ▾", "quiet")]
        return self.paint(line, width)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Keep the app from acting on what is typed into the filter."""
        return character is not None and character.isprintable()

    def on_key(self, event: Key) -> None:
        """Open, filter, or step through the options."""
        if event.key == "space" and not self.is_open:
            self.open()
        elif event.key in {"left", "right"} and not self.is_open:
            self.step(1 if event.key == "right" else -1)
        elif event.key == "backspace" and self.is_open:
            self._filter(self.query_text[:-1])
        elif event.key == "ctrl+u" and self.is_open:
            self._filter("")
        elif event.is_printable and event.character:
            self.open()
            self._filter(self.query_text + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_click(self, event: Click) -> None:
        """Open the list, or close it."""
        if self.is_open:
            self.close()
        else:
            self.open()

    def on_blur(self, event: Blur) -> None:
        """Leave no list open behind."""
        self.close()

    def open(self) -> None:
        """Show the list with the cursor on the chosen option."""
        if not self.is_open:
            self.is_open = True
            self.query_text = ""
            values = [option.value for option in self.options]
            self.cursor = values.index(self.value) if self.value in values else 0
            self._turned()

    def close(self) -> None:
        """Hide the list; the value stays."""
        if self.is_open:
            self.is_open = False
            self._turned()

    def move(self, rows: int) -> None:
        """Move the cursor in the open list, stopping at its ends."""
        self.cursor = max(0, min(len(self.rows) - 1, self.cursor + rows))
        self._turned()

    def take(self) -> None:
        """Choose the option under the cursor and close; a refused one says why instead."""
        self.pick(self.cursor)

    def pick(self, row: int) -> None:
        """Choose a row of the open list; a refused one says why instead."""
        rows = self.rows
        if not 0 <= row < len(rows):
            return
        self.cursor = row
        if rows[row].refusal:
            self.complaint = f"{rows[row].title} cannot be chosen: {rows[row].refusal}"
            self._turned(keep_complaint=True)
            return
        value = rows[row].value
        self.close()
        self._set(value)

    def step(self, by: int) -> None:
        """Choose the next option that may be chosen, round and round."""
        free = [option.value for option in self.options if not option.refusal]
        if free:
            place = free.index(self.value) + by if self.value in free else 0
            self._set(free[place % len(free)])

    def _set(self, value: str) -> None:
        if value != self.value:
            self.value = value
            self.refresh()
            self.post_message(self.Changed())

    def _filter(self, text: str) -> None:
        self.query_text = text
        typed = text.strip().lower()

        def rank(entry: tuple[int, Option]) -> tuple[bool, bool, bool]:
            title = entry[1].title.lower()
            return bool(entry[1].refusal), not title.startswith(typed), typed not in title

        # The best match gets the cursor; the rows keep their order.
        self.cursor = min(enumerate(self.rows), key=rank, default=(0, None))[0]
        self._turned()

    def _turned(self, *, keep_complaint: bool = False) -> None:
        if not keep_complaint:
            self.complaint = ""
        self.refresh()
        self.post_message(self.Turned())


class ChoiceList(Lined):
    """The open list of a choice: a window of rows around the cursor, and one line about the row under it."""

    class Picked(Message):
        """A row was clicked."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice = choice
        self.display = False
        self._top = 0
        self._lines: list[Line] = []

    def turn(self) -> None:
        """Follow the choice: open, closed, moved, filtered."""
        choice = self.choice
        if choice.is_open:
            rows = choice.rows
            self._top = max(0, min(self._top, choice.cursor, len(rows) - ROWS))
            self._top = max(self._top, choice.cursor - ROWS + 1)
            self._lines = [*self._table(rows), *self._about(rows)]
            self.refresh(layout=True)
        self.display = choice.is_open

    def on_click(self, event: Click) -> None:
        """Report the row that was clicked."""
        event.stop()
        if event.y < min(ROWS, len(self.choice.rows)):
            self.post_message(self.Picked(self._top + event.y))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are."""
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        """Paint a row of the list, or what is said about the one under the cursor."""
        line = self._lines[y] if y < len(self._lines) else ()
        return self.paint(line, self.size.width, under_cursor=self._top + y == self.choice.cursor and y < ROWS)

    def _table(self, rows: Sequence[Option]) -> list[Line]:
        if not rows:
            return [[("  nothing matches", "quiet")]]
        # As wide as all options need, filtered or not: nothing jumps while typing.
        cells = [[option.title, *option.facts] for option in (*self.choice.options, *rows)]
        columns = max(map(len, cells))
        widths = [max(line_width([(row[c], "")]) for row in cells if c < len(row)) for c in range(columns)]
        window = rows[self._top : self._top + ROWS]
        return [self._row(place, option, widths) for place, option in enumerate(window, self._top)]

    def _row(self, place: int, option: Option, widths: Sequence[int]) -> Line:
        mark = "▸ " if place == self.choice.cursor else "• " if option.value == self.choice.value else "  "
        line: list[Span] = [(mark, "accent"), (fit(option.title, widths[0]), "quiet" if option.refusal else "")]
        for fact, width in zip(option.facts, widths[1:], strict=False):
            # Figures stand right in their column, words left.
            line.append(("  " + fit(fact, width, right=fact[:1].isdigit()), "quiet"))
        if option.refusal:
            line.append(("  " + option.refusal, "warn"))
        return line

    def _about(self, rows: Sequence[Option]) -> list[Line]:
        choice = self.choice
        if choice.complaint:
            return [[(f"  ✖ {choice.complaint}", "bad")]]
        detail = rows[choice.cursor].detail if choice.cursor < len(rows) else ""
        count = f"{choice.cursor + 1} of {len(rows)}" if len(rows) > ROWS else ""
        text = "   ".join(part for part in (count, detail) if part)
        if not text and len(choice.options) <= ROWS and not any(option.detail for option in choice.options):
            return []
        return [[(f"  {text}", "quiet")]]
