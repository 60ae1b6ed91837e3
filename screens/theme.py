"""The themes: dark, light, high contrast, and one that keeps to the 16 colours of the terminal's own palette.

Beside Textual's variables each defines: $quiet (secondary text), $line (rules), $bars (graphs), $cursor and
$cursor-text (the row under the cursor). One accent; red and amber are for problems only. Grounds are nearly grey,
because a terminal of 256 colours (what SSH passes on, mostly) has greys in plenty but only 6 steps of each hue.
"""

from __future__ import annotations

from textual.theme import Theme


def _theme(
    name: str,
    *,
    ground: str,
    text: str,
    raised: tuple[str, str],
    quiet: str,
    accent: str,
    good: str,
    warn: str,
    bad: str,
    line: str,
    bars: str,
    cursor: tuple[str, str],
    scrollbar: str,
    dark: bool = True,
    ansi: bool = False,
) -> Theme:
    """Return a theme. raised: the grounds of boxes and of titles; cursor: the ground and the text of its row."""
    row, on_row = cursor
    return Theme(
        name=name,
        primary=accent,
        secondary=accent,
        accent=accent,
        success=good,
        warning=warn,
        error=bad,
        foreground=text,
        background=ground,
        dark=dark,
        ansi=ansi,
        variables={
            # Textual makes these transparent in a theme of palette colours, whatever is asked for.
            "surface": raised[0],
            "panel": raised[1],
            "boost": raised[1],
            "quiet": quiet,
            "line": line,
            "bars": bars,
            "cursor": row,
            "cursor-text": on_row,
            "ansi-background": ground,
            "ansi-foreground": text,
            "block-cursor-background": row,
            "block-cursor-foreground": on_row,
            "block-cursor-text-style": "none",
            "input-cursor-background": text,
            "input-cursor-foreground": ground,
            "input-selection-background": row,
            "input-selection-foreground": on_row,
            "border": accent,
            "border-blurred": line,
            "scrollbar": scrollbar,
            "scrollbar-hover": scrollbar,
            "scrollbar-active": accent,
            "scrollbar-background": ground,
            "scrollbar-background-hover": ground,
            "scrollbar-background-active": ground,
            "scrollbar-corner-color": ground,
        },
    )


DARK = _theme(
    "dark",
    ground="#121517",
    text="#d0d5d8",
    raised=("#181b1d", "#1f2326"),
    quiet="#9aa5ac",
    accent="#6cb2c4",
    good="#8dba8b",
    warn="#dfb268",
    bad="#ef8575",
    line="#363e42",
    bars="#5b95a5",
    cursor=("#31373b", "#f2f5f6"),
    scrollbar="#667077",
)

LIGHT = _theme(
    "light",
    ground="#fafafa",
    text="#24292c",
    raised=("#f2f2f2", "#e9ebec"),
    quiet="#525a5f",
    accent="#055a70",
    good="#1f5f24",
    warn="#6e4000",
    bad="#b01c14",
    line="#b4bcc0",
    bars="#2f6d80",
    cursor=("#d3dfe4", "#0d1113"),
    scrollbar="#848d91",
    dark=False,
)

CONTRAST = _theme(
    "contrast",
    ground="#000000",
    text="#ffffff",
    raised=("#000000", "#1c1c1c"),
    quiet="#d0d0d0",
    accent="#87d7ff",
    good="#87ff87",
    warn="#ffd75f",
    bad="#ff8787",
    line="#8a8a8a",
    bars="#87d7ff",
    cursor=("#ffffff", "#000000"),
    scrollbar="#d0d0d0",
)

# The ground is the palette's black and text its white: on the terminal's own ground, which may be light, no
# palette has a yellow or a cyan that can be seen. Words are white there, whatever they say: see screens.filters.
TERMINAL = _theme(
    "terminal",
    ground="ansi_black",
    text="ansi_white",
    raised=("ansi_black", "ansi_black"),
    quiet="ansi_white",
    accent="ansi_cyan",
    good="ansi_green",
    warn="ansi_yellow",
    bad="ansi_red",
    line="ansi_bright_black",
    bars="ansi_cyan",
    cursor=("ansi_white", "ansi_black"),
    scrollbar="ansi_white",
    ansi=True,
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST, TERMINAL)}


def usable(color_system: str | None) -> tuple[str, ...]:
    """Return the themes that a terminal can show, best first: rich's "standard" (16 colours), "256", "truecolor"."""
    return (TERMINAL.name,) if color_system in (None, "standard") else tuple(THEMES)
