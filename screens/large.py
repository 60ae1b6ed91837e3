"""Digits that can be read across a room, made of half blocks: every terminal has them. Pure."""

from __future__ import annotations

FONT = {
    "0": ("###", "# #", "# #", "# #", "###"),
    "1": (" # ", "## ", " # ", " # ", "###"),
    "2": ("###", "  #", "###", "#  ", "###"),
    "3": ("###", "  #", "###", "  #", "###"),
    "4": ("# #", "# #", "###", "  #", "  #"),
    "5": ("###", "#  ", "###", "  #", "###"),
    "6": ("###", "#  ", "###", "# #", "###"),
    "7": ("###", "  #", "  #", "  #", "  #"),
    "8": ("###", "# #", "###", "# #", "###"),
    "9": ("###", "# #", "###", "  #", "###"),
    "/": ("  #", "  #", " # ", "#  ", "#  "),
    "%": ("# #", "  #", " # ", "#  ", "# #"),
    ":": (" ", "#", " ", "#", " "),
    "—": ("   ", "   ", "###", "   ", "   "),
    " ": (" ", " ", " ", " ", " "),
}
HEIGHT = 5
"""Pixels. A pixel is as wide as a cell and half as high, times the scale."""

HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def large_width(text: str, scale: int) -> int:
    """Return the cells that a text takes."""
    return scale * (sum(len(FONT[sign][0]) + 1 for sign in text) - 1) if text else 0


def large_rows(scale: int) -> int:
    """Return the rows that any text takes."""
    return (HEIGHT * scale + 1) // 2


def large(text: str, scale: int) -> list[str]:
    """Return the rows of a text of FONT's signs, each as wide as `large_width` says."""
    pixels = [" ".join(FONT[sign][y] for sign in text) for y in range(HEIGHT) for _ in range(scale)]
    wide = [[mark == "#" for mark in row for _ in range(scale)] for row in pixels]
    if len(wide) % 2:
        wide.append([False] * len(wide[0]))
    return ["".join(HALVES[pair] for pair in zip(*wide[y : y + 2], strict=True)) for y in range(0, len(wide), 2)]
