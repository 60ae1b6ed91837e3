"""Text from outside on a terminal: what is safe to show, and how many cells it takes.

Names, errors and subjects come from hosts, files, SSH servers and other people. Whatever shows them spells out what
could drive the terminal, reorder the line or take other than its cells; nothing is ever read as markup.
"""

from __future__ import annotations

from functools import lru_cache
from unicodedata import bidirectional, category, east_asian_width

MARKS = frozenset({"Mn", "Mc", "Me", "Sk"})
"""Characters that join the one before them: combining marks, variation selectors, skin tones."""

RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
"""Letters that have a terminal turn the rest of the line round, others' columns included."""

UNSURE = (
    (0x1160, 0x11FF),  # Hangul vowels and finals, which join
    (0x2630, 0x2637),  # trigrams and digrams: their width changed with Unicode 16
    (0x268A, 0x268F),
    (0x3164, 0x3164),  # a filler without a glyph
    (0x4DC0, 0x4DFF),
    (0xD7B0, 0xD7FF),
    (0xFFA0, 0xFFA0),
    (0x1D300, 0x1D376),
    (0x1F1E6, 0x1F1FF),  # regional indicators: two are one flag
)
"""Code points on whose width terminals do not agree."""


def escaped(text: str) -> str:
    """Return text in which what is not printable is spelled out: control and format characters, line ends."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def plain(text: str) -> str:
    """Return text that can be shown in one line: each character stands where it is written, in its own cells.

    Spelled out is what `escaped` spells out, and whatever joins, reorders, or is not surely one or two cells wide.
    """
    return text if text.isascii() and text.isprintable() else _spelled(text)


@lru_cache(maxsize=1024)
def _spelled(text: str) -> str:
    return "".join(c if _is_plain(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def plain_lines(text: str) -> str:
    """Return text of several lines, each of them plain."""
    return "\n".join(map(plain, text.split("\n")))


def cells(text: str) -> int:
    """Return how many cells a plain text takes."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "FW" else 1 for c in text)


def _is_plain(c: str) -> bool:
    if c.isascii():
        return c.isprintable()
    return (
        c.isprintable()
        and category(c) not in MARKS
        and bidirectional(c) not in RIGHT_TO_LEFT
        and not any(first <= ord(c) <= last for first, last in UNSURE)
    )
