"""What is done to each line before it goes to a terminal that has few colours, or few characters."""

from __future__ import annotations

import re

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

CONSOLE_GLYPHS = str.maketrans(
    "●○◐◌☾↻✖✔◆▸▾▴▌▏…—–×•↶“”▁▂▃▄▅▆▇▀",
    '■o=.!*X+♦>▼▲||~--x·<"".:-=+*#"',
)
"""For the Linux console, whose fonts have 256 or 512 characters. What these become, and ▲ █ ░ → ↑ ↓ ← │, is in the
kernel's own font and in Debian's Lat2, Lat7, Lat15 and Uni fonts. One cell becomes one cell."""

SIGN = re.compile(r"^(\W*)(.*)$", re.DOTALL)

WHITE, BLACK, RED = 7, 0, 1
ON_RED = Style.from_color(RichColor.from_ansi(WHITE), RichColor.from_ansi(RED))
WORDS = Style.from_color(RichColor.from_ansi(WHITE))
LIGHT_WEIGHT = Style(bold=False)


class ConsoleGlyphs(LineFilter):
    """Replaces what the Linux console has no character for."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments in characters that can be seen, as wide as they were."""
        return [
            Segment(text if text.isascii() else text.translate(CONSOLE_GLYPHS), style, control)
            for text, style, control in segments
        ]


class SignColours(LineFilter):
    """Keeps colour to signs and graphs, and has words in the palette's white; red is a ground under its sign.

    What a palette calls red or yellow is up to whoever chose it: as text it can be unreadable (the first 16 colours
    of VGA have a red of 2.7 : 1 on black), as a sign beside its word it only repeats what that says.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with their words in white."""
        result: list[Segment] = []
        for segment in segments:
            text, style, control = segment
            number = None if style is None or style.color is None else style.color.number
            ground = None if style is None or style.bgcolor is None else style.bgcolor.number
            if style is None or control or number in (None, WHITE, BLACK) or ground != BLACK or not text.strip():
                result.append(segment)
                continue
            found = SIGN.match(text)
            sign, words = found.groups() if found else (text, "")
            if sign:
                # Bold would make it bright on many terminals: then it is another colour.
                result += self._sign(sign, style + LIGHT_WEIGHT + (ON_RED if number == RED else Style.null()), style)
            if words:
                result.append(Segment(words, style + WORDS))
        return result

    def _sign(self, sign: str, painted: Style, plain: Style) -> list[Segment]:
        """Return a sign, with the blanks after it as they were: a red ground ends where the sign does."""
        bare = sign.rstrip()
        parts = [(bare, painted), (sign[len(bare) :], plain + WORDS)]
        return [Segment(text, style) for text, style in parts if text]
