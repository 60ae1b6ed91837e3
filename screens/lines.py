"""Lines of spans that several screens lay out alike: a text that hangs beside its label, labelled facts."""

from __future__ import annotations

from collections.abc import Sequence

from screens.widgets import Line, Span, fit, line_width, wrapped


def hanging(prefix: Line, text: str, style: str, width: int, *, least: int = 16) -> list[Line]:
    """Return text after a prefix; where it wraps it goes on under itself, in `least` cells or more."""
    indent = line_width(prefix)
    parts = wrapped(text, max(least, width - indent))
    return [[*(prefix if place == 0 else [(" " * indent, "")]), (part, style)] for place, part in enumerate(parts)]


def facts(rows: Sequence[tuple[str, str]], width: int, *, label_width: int = 11) -> list[Line]:
    """Return (label, text) pairs with the labels right and the texts aligned."""
    lines: list[Line] = []
    for label, text in rows:
        prefix: list[Span] = [(fit(label, label_width, right=True) + "  ", "quiet")]
        lines += hanging(prefix, text, "", width)
    return lines


def title(text: str) -> Line:
    """Return the heading of a part of a screen."""
    return [(text, "strong")]
