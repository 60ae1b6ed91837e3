"""The two themes: a quiet dark one, and one that keeps to the terminal's own 16 colours.

Beside Textual's variables both define: $quiet (secondary text), $line (rules), $bars (graphs), $cursor and
$cursor-text (the row under the cursor). One accent; red and amber are for problems only.
"""

from __future__ import annotations

from textual.theme import Theme

QUARTERDECK = Theme(
    name="quarterdeck",
    primary="#6cb2c4",
    secondary="#6cb2c4",
    accent="#6cb2c4",
    success="#86b384",
    warning="#dcae62",
    error="#e8705f",
    foreground="#cdd3d6",
    background="#11161a",
    surface="#171d22",
    panel="#1d252b",
    boost="#1d252b",
    dark=True,
    variables={
        "quiet": "#7d8a92",
        "line": "#2b363d",
        "bars": "#4c8291",
        "cursor": "#243640",
        "cursor-text": "#f2f5f6",
        "block-cursor-background": "#243640",
        "block-cursor-foreground": "#f2f5f6",
        "block-cursor-text-style": "none",
        "input-cursor-background": "#cdd3d6",
        "input-cursor-foreground": "#11161a",
        "input-selection-background": "#35505c",
        "border": "#6cb2c4",
        "border-blurred": "#2b363d",
        "scrollbar": "#3a4951",
        "scrollbar-hover": "#4d606a",
        "scrollbar-active": "#6cb2c4",
        "scrollbar-background": "#11161a",
        "scrollbar-background-hover": "#11161a",
        "scrollbar-background-active": "#11161a",
        "scrollbar-corner-color": "#11161a",
    },
)

SIXTEEN = Theme(
    name="quarterdeck-16",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_cyan",
    accent="ansi_cyan",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        "quiet": "ansi_default",
        "line": "ansi_bright_black",
        "bars": "ansi_cyan",
        "cursor": "ansi_cyan",
        "cursor-text": "ansi_black",
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "block-cursor-background": "ansi_cyan",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-text-style": "none",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "border": "ansi_cyan",
        "border-blurred": "ansi_bright_black",
        "scrollbar": "ansi_white",
        "scrollbar-hover": "ansi_white",
        "scrollbar-active": "ansi_cyan",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
    },
)


def theme_for(color_system: str | None) -> str:
    """Return the name of the theme for a terminal: rich's "standard" (16 colours), "256", "truecolor" or None."""
    return SIXTEEN.name if color_system == "standard" else QUARTERDECK.name
