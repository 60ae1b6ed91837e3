"""The kit that forms are made of: one line per field: label, value, and beside it what the value means or lacks.

A field knows nothing of the others. Its screen sets `problem` and `hint` and reads `value`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import DescendantBlur, Key, Resize
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from screens.choice import Choice, ChoiceList, Option
from screens.lines import hanging
from screens.widgets import Line, Lined, Sheet, line_width

LABEL_WIDTH = 13
"""Cells of the label column; the same figure stands in form.tcss."""
VALUE_WIDTH = 28
"""Cells of the value column of a field that is not wide."""


class Toggle(Lined, can_focus=True):
    """Yes or no: space or left and right turn it over, y and n say it."""

    class Changed(Message):
        """The toggle was turned over."""

    def __init__(self, on: bool) -> None:
        super().__init__()
        self.on = on

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Always one line."""
        return 1

    def render_line(self, y: int) -> Strip:
        """Paint the state in glyph and word."""
        return self.paint([("● ", "accent"), ("yes", "")] if self.on else [("○ no", "")], self.size.width)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Keep the app from acting on y, n and the space bar."""
        return key in {"space", "y", "n"}

    def on_key(self, event: Key) -> None:
        """Turn it over."""
        if event.key not in {"space", "left", "right", "y", "n"}:
            return
        event.stop()
        event.prevent_default()
        on = {"y": True, "n": False}.get(event.key, not self.on)
        if on is not self.on:
            self.on = on
            self.refresh()
            self.post_message(self.Changed())

    def on_click(self) -> None:
        """Turn it over."""
        self.on = not self.on
        self.refresh()
        self.post_message(self.Changed())


class Box(Input):
    """A text to type, edited in the order of the keys. Textual's own acts on backspace after letters typed behind it.

    A binding runs once its key has bubbled up to the app. In a burst (a slow line) the next letters overtake it.
    """

    async def _on_key(self, event: Key) -> None:
        bound = [] if event.is_printable else self._bindings.key_to_bindings.get(event.key, [])
        if not bound:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(bound[0].action)


class Field(Widget):
    """One line of a form. Subclasses bring the control.

    key: the wish's attribute. problem: a sentence, shown once the field was touched. hint: shown when all is well.
    wide: the value takes the rest of the line, and problems and hints stand below it.
    """

    class Changed(Message):
        """The value is another one now."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, key: str, label: str, *, hint: str = "", wide: bool = False, touched: bool = False) -> None:
        super().__init__(id=f"field-{key.replace('_', '-')}", classes="-wide" if wide else "")
        self.key = key
        self.label = label
        self.wide = wide
        self._hint = hint
        self._problem = ""
        self._touched = touched
        # Held, not looked for: a host may report while the page is taken down, and its field be told so.
        self._note = Sheet(classes="field-note")
        self._below = Sheet(classes="field-below")

    control: Input | Choice | Toggle

    @property
    def value(self) -> str | bool:
        """What stands in the field now."""
        raise NotImplementedError

    @property
    def touched(self) -> bool:
        """True once the operator left the field, or the form asked for it."""
        return self._touched

    @property
    def shown_problem(self) -> str:
        """The problem that stands beside the field now, empty for none."""
        return self._problem if self._touched else ""

    def touch(self) -> None:
        """Show the field's problem from now on."""
        if not self._touched:
            self._touched = True
            self._show_note()

    def tell(self, *, problem: str | None = None, hint: str | None = None) -> None:
        """Replace the problem, the hint or both; nothing is painted when nothing changed."""
        problem = self._problem if problem is None else problem
        hint = self._hint if hint is None else hint
        if (problem, hint) != (self._problem, self._hint):
            self._problem, self._hint = problem, hint
            self._show_note()

    def compose(self) -> ComposeResult:
        """Lay out label, control and note in one row, what is too long for it below."""
        self._show_note()
        with Horizontal(classes="field-row"):
            yield Sheet([[(self.label.rjust(LABEL_WIDTH), "")]], classes="field-label")
            yield self.control
            yield self._note
        yield self._below

    def on_resize(self, event: Resize) -> None:
        """Move the note where it fits."""
        self._show_note()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """Count the field as touched once it was left."""
        self.touch()

    def _show_note(self) -> None:
        if not self.is_attached:
            return
        # Until it is laid out: as wide as it is going to be, so that no note has to move.
        whole = self.size.width or self.screen.size.width - 2
        problem = self.shown_problem
        mark: Line = [("✖ ", "bad")] if problem else []
        line = [*mark, (problem or self._hint, "bad" if problem else "quiet")]
        text = bool(problem or self._hint)
        below = text and (self.wide or line_width(line) > whole - LABEL_WIDTH - VALUE_WIDTH - 4)
        self._note.show([line] if text and not below else [])
        width = max(20, whole - LABEL_WIDTH - 2)
        self._below.show(hanging(mark, *line[-1], width) if below else [])
        self._below.display = below
        self.set_class(bool(problem), "-bad")


class TextField(Field):
    """A field that is typed."""

    def __init__(
        self,
        key: str,
        label: str,
        value: str,
        *,
        hint: str = "",
        placeholder: str = "",
        wide: bool = False,
        touched: bool = False,
        max_length: int = 400,
    ) -> None:
        super().__init__(key, label, hint=hint, wide=wide, touched=touched)
        self.control: Input = Box(value, placeholder=placeholder, compact=True, max_length=max_length)
        self.control.cursor_blink = False

    @property
    def value(self) -> str:
        """The text, without the blanks around it."""
        return self.control.value.strip()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass the change on as the field's own."""
        event.stop()
        self.post_message(self.Changed(self))


class ChoiceField(Field):
    """A field that is chosen from a list, which opens below it."""

    def __init__(
        self,
        key: str,
        label: str,
        value: str,
        options: Sequence[Option],
        *,
        hint: str = "",
        free: str = "",
        touched: bool = False,
    ) -> None:
        super().__init__(key, label, hint=hint, touched=touched)
        self.control: Choice = Choice(value, options, free=free)
        self._list = ChoiceList(self.control)

    @property
    def value(self) -> str:
        """The chosen option's value, empty for none."""
        return self.control.value

    def compose(self) -> ComposeResult:
        """Add the list, which is there while it is open."""
        yield from super().compose()
        yield self._list

    def on_choice_changed(self, event: Choice.Changed) -> None:
        """Pass the change on as the field's own."""
        event.stop()
        self.post_message(self.Changed(self))

    def on_choice_turned(self, event: Choice.Turned) -> None:
        """Show or hide the list, and bring it into view; the screen hears of it as well."""
        self._list.turn()
        self.set_class(self.control.is_open, "-open")
        if self.control.is_open:
            self.call_after_refresh(self.scroll_visible, animate=False)

    def on_choice_list_picked(self, event: ChoiceList.Picked) -> None:
        """Take the row that was clicked."""
        event.stop()
        self.control.pick(event.row)


class ToggleField(Field):
    """A field that is yes or no."""

    def __init__(self, key: str, label: str, on: bool, *, hint: str = "") -> None:
        super().__init__(key, label, hint=hint)
        self.control: Toggle = Toggle(on)

    @property
    def value(self) -> bool:
        """True for yes."""
        return self.control.on

    def on_toggle_changed(self, event: Toggle.Changed) -> None:
        """Pass the change on as the field's own."""
        event.stop()
        self.post_message(self.Changed(self))


async def typed(widget: Widget | None) -> None:
    """Return once the widget has dealt with all keys it was sent.

    Keys are forwarded to a widget's own queue. In a burst (a paste, a slow line) the key that acts on the whole
    form would otherwise overtake the letters typed before it.
    """
    if widget is not None and widget.is_running:
        done = asyncio.Event()
        if widget.call_later(done.set):
            await done.wait()
