"""Text as an attacker, or an odd keyboard, would write it; and how to tell that none of it reached a terminal raw."""

from __future__ import annotations

from console.domain.text import plain

TEXTS = {
    "markup": "[bold red]x[/bold red] $user",
    "escape": "e\x1b[7;77;777mX\x1b[9999;1H",
    "link": "l\x1b]8;;http://evil.invalid\x1b\\x\x1b]8;;\x1b\\",
    "clipboard": "p\x1b]52;c;ZXZpbA==\x07",
    "c1": "c\x9b7;77;777m\x9d52;c;ZXZpbA==\x9c",
    "nul": "n\x00\x08\x7fx",
    "lines": "a\nb\rc\u2028d\x0be",
    "override": "r\u202egpj.exe\u2066i\u2069",
    "right to left": "שלום-db-ٱ",
    "invisible": "z\u200bw\u200d\ufeffx\u00adm",
    "wide": "日本語-ｗｅｂ",
    "combining": "e\u0301\u0327\u0489x",
    "emoji": "👩‍💻🇩🇪👍🏽❤️",
    "joining": "\u1112\u1161\u11ab\u3164",
}
"""By what is bad about it. What is wide is shown as it is, in two cells each; all others are spelled out."""

SEQUENCES = ("\x1b[7;77;777m", "\x1b[9999;1H", "\x1b]8;", "\x1b]52;", "\x00", "\x08", "\x7f")


def in_xml(text: str) -> str:
    """The text as XML; what XML cannot hold is left out."""
    kept = "".join(c for c in text if c >= " " or c in "\t\n\r").replace("/", "\\")
    for sign, name in (("&", "amp"), ("<", "lt"), (">", "gt")):
        kept = kept.replace(sign, f"&{name};")
    return kept.replace("\n", "&#10;").replace("\r", "&#13;")


def raw_in(output: bytes | str) -> list[str]:
    """What stands in a terminal's output that no text from outside may put there."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output
    found = [repr(sequence) for sequence in SEQUENCES if sequence in text]
    return found + sorted({f"U+{ord(c):04X}" for c in text if not c.isascii() and c != "\ufffd" and plain(c) != c})
