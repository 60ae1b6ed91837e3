"""What every screen is made of: lines of plain spans, the footer with the keys, the notice for errors.

A line is a list of spans (text, style), where style is a name of STYLES. Text from outside is made safe when it
is painted; nothing is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from console.domain.errors import FleetError
from console.domain.text import plain as text_safe

Span = tuple[str, str]
"""Text and the name of its style: "" or one of STYLES."""

Line = Sequence[Span]

STYLES = ("quiet", "strong", "good", "warn", "bad", "accent", "title", "line", "bars", "cursor")

FLASH_S = 3.0
"""How long a sentence stands in place of the keys."""

COMPONENTS = frozenset(f"sheet--{name}" for name in STYLES)


def is_open(screen: Screen[Any]) -> bool:
    """Return True until a screen, or the console, is left: what arrives after that is for nobody."""
    return screen.is_attached and screen in screen.app.screen_stack


def cells(text: str) -> int:
    """Return the cells that safe text takes.

    Rich keeps the last 4096 texts that it measured: times and ages, which are other ones each second, would fill that
    with a megabyte. Plain letters need no measuring.
    """
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return safe text in exactly `width` cells: padded, or cut with an ellipsis."""
    text = text_safe(text)
    length = cells(text)
    if length <= width:
        return " " * (width - length) + text if right else text + " " * (width - length)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def wrapped(text: str, width: int) -> list[str]:
    """Return text broken into safe lines of at most `width` cells, at spaces where there are any."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in text_safe(paragraph).split(" "):
            candidate = f"{line} {word}" if line else word
            if cells(candidate) <= width:
                line = candidate
                continue
            if line:
                lines.append(line)
            while cells(word) > width:
                head = set_cell_size(word, width)
                lines.append(head)
                word = word[max(1, len(head.rstrip())) :]
            line = word
        lines.append(line)
    return lines


def line_width(line: Line) -> int:
    """Return the cells that a line takes."""
    return sum(cells(text_safe(text)) for text, _ in line)


class Lined(Widget):
    """A widget that paints lines of spans itself, in the styles of theme.tcss."""

    COMPONENT_CLASSES = COMPONENTS
    ALLOW_SELECT = False

    def paint(self, line: Line, width: int, *, under_cursor: bool = False) -> Strip:
        """Return a line as a strip of exactly `width` cells; what is too long ends with an ellipsis."""
        base = self.rich_style
        over = self.get_component_rich_style("sheet--cursor", partial=True) if under_cursor else None
        segments: list[Segment] = []
        left = width
        last = len(line) - 1
        for place, (text, name) in enumerate(line):
            text = text_safe(text)
            length = cells(text)
            more = place < last and any(part.strip() for part, _ in line[place + 1 :])
            if length > left and not more and cells(text.rstrip()) <= left:
                text, length = set_cell_size(text, left), left
            elif length > left or (length == left and more):
                text = set_cell_size(text, left - 1) + "…" if left else ""
                length = left
            if not text:
                continue
            style = base + self.get_component_rich_style(f"sheet--{name}", partial=True) if name else base
            segments.append(Segment(text, style if over is None else style + over))
            left -= length
            if not left:
                break
        if left:
            segments.append(Segment(" " * left, base if over is None else base + over))
        return Strip(segments, width)


class Sheet(Lined):
    """Lines of spans, one per row; only the rows that differ are painted again."""

    def __init__(self, lines: Iterable[Line] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = list(lines)
        self._cursor: int | None = None

    @property
    def lines(self) -> list[Line]:
        """What is shown now."""
        return self._lines

    @property
    def text(self) -> str:
        """What is shown now, without its styles."""
        return "\n".join("".join(text_safe(text) for text, _ in line) for line in self._lines)

    def show(self, lines: Iterable[Line], cursor: int | None = None) -> None:
        """Show these lines from now on. cursor: the one that is chosen."""
        before, self._lines = self._lines, list(lines)
        moved = {self._cursor, cursor} if cursor != self._cursor else set()
        self._cursor = cursor
        if len(before) != len(self._lines):
            self.refresh(layout=True)
            return
        width = self.outer_size.width
        changed = [
            Region(0, y, width, 1)
            for y, (old, new) in enumerate(zip(before, self._lines, strict=True))
            if y in moved or list(old) != list(new)
        ]
        if changed:
            self.refresh(*changed)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return max((line_width(line) for line in self._lines), default=0)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else ()
        return self.paint(line, self.size.width, under_cursor=y == self._cursor)


class Header(Sheet):
    """The first line of a screen."""


class StatusLine(Sheet):
    """The line above the footer: the last message, or how far a running change is."""


class KeysFooter(Sheet):
    """One line of the keys that make sense here and now. When it is too narrow the last but one give way."""

    def __init__(self, keys: Sequence[tuple[str, str]] = (), *, id: str | None = None) -> None:
        super().__init__([()], id=id)
        self._keys = tuple(keys)
        self._arranged_for = 0

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """What was asked to be shown, most important first."""
        return self._keys

    def show_keys(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show (key, label) pairs, most important first; the very last is always shown (help, or the way back)."""
        if self._keys != tuple(keys):
            self._keys = tuple(keys)
            self._arrange()

    def flash(self, text: str) -> None:
        """Show a sentence for a moment in place of the keys."""
        self.show([[("▲ ", "warn"), (text, "")]])
        self.set_timer(FLASH_S, self._arrange)

    def render_line(self, y: int) -> Strip:
        # The first picture is painted before anybody is told of the size: keys must not come one after another.
        if self._arranged_for != self.size.width:
            self._lines = [self._arranged()]
        return super().render_line(y)

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        self.show([self._arranged()])

    def _arranged(self) -> Line:
        self._arranged_for = self.size.width
        needs = [cell_len(key) + 1 + cell_len(label) + 2 for key, label in self._keys]
        # The gap after the last one is not needed.
        left = self.size.width + 2 - sum(needs[-1:])
        line: list[Span] = []
        for (key, label), need in zip(self._keys[:-1], needs[:-1], strict=True):
            if need > left:
                break
            line += _key(key, label)
            left -= need
        for key, label in self._keys[-1:]:
            line += _key(key, label)
        return line


def _key(key: str, label: str) -> list[Span]:
    return [(key, "accent"), (f" {label}", "quiet"), ("  ", "")]


class Notice(Sheet):
    """An error that stays until a key is pressed: what happened, why, and the way out.

    The app takes it down at the next key press (see QuarterdeckApp.on_event); escape, enter and space do that alone.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._error: FleetError | None = None
        self._waiting: list[FleetError] = []

    @property
    def error(self) -> FleetError | None:
        """The error that is shown now."""
        return self._error

    def show_error(self, error: FleetError) -> None:
        """Show an error; while another one is up, after it."""
        if self._error is not None:
            self._waiting.append(error)
            return
        self._error = error
        self.add_class("-up")
        self._arrange()

    def take_down(self) -> None:
        """Show the next error, or nothing."""
        self._error = self._waiting.pop(0) if self._waiting else None
        self.set_class(self._error is not None, "-up")
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        self.show(() if self._error is None else error_lines(self._error, (self.size.width or self.app.size.width) - 2))


def error_lines(error: FleetError, width: int) -> list[Line]:
    """Return an error as lines: the title marked, its detail, and the way out last."""
    lines: list[Line] = []
    for place, text in enumerate(wrapped(error.title, max(8, width - 2))):
        lines.append([("✖ " if place == 0 else "  ", "bad"), (text, "bad")])
    for text, name in ((error.detail, ""), (error.hint, "accent")):
        if text:
            lines += [[("  ", ""), (part, name)] for part in wrapped(text, max(8, width - 2))]
    return lines


__all__ = [
    "STYLES",
    "Header",
    "KeysFooter",
    "Line",
    "Lined",
    "Notice",
    "Sheet",
    "Span",
    "StatusLine",
    "error_lines",
    "fit",
    "line_width",
    "text_safe",
    "wrapped",
]
