"""The one writer of Nix values: text that evaluates to exactly the data it was given, and never to code."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from console.domain.errors import FleetError

Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | None"
"""What can be written: what JSON can say."""

IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*\Z")
KEYWORDS = frozenset({"assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"})
LARGEST = 2**63 - 1
STEP = "  "
WIDTH = 80
"""The longest list that stands on one line, in characters."""

UNHELD = re.compile("[\0\ud800-\udfff]")
"""What a Nix string cannot hold: NUL, and half a surrogate pair, which is no character."""

ESCAPED = re.compile(r'["\\$\n\r\t]')
"""What may need an escape in a string on one line."""

FILLED = re.compile(r"\n(?=[^\n])")
"""The beginning of a line that is not empty."""

WRITTEN_OUT = re.compile(r"^[^ \n]", re.MULTILINE)
"""The beginning of a line that is not indented."""


def nix_value(value: Value, indent: str = "") -> str:
    """Return a value as Nix; attributes are sorted, so equal data gives equal text.

    indent: what stands before the line that the value begins on. Raises FleetError for what Nix cannot hold: a
    string with NUL or half a surrogate pair, a number that is infinite, no number, too small, or beyond 64 bits.
    """
    if isinstance(value, str):  # most values are: asked first
        return _lines(value, indent) if "\n" in value and _reads_well(value) else quoted(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    return _attributes(value, indent) if isinstance(value, Mapping) else _list(value, indent)


def quoted(text: str) -> str:
    """Return text as a Nix string on one line."""
    _check(text)
    if ESCAPED.search(text):
        for plain, escaped in (
            ("\\", "\\\\"),
            ('"', '\\"'),
            ("${", "\\${"),
            ("\n", "\\n"),
            ("\r", "\\r"),
            ("\t", "\\t"),
        ):
            text = text.replace(plain, escaped)
    return f'"{text}"'


@lru_cache(maxsize=4096)
def attribute_name(name: str) -> str:
    """Return a name as it stands before the equals sign, in quotes where Nix needs them."""
    return name if IDENTIFIER.match(name) and name not in KEYWORDS else quoted(name)


def _check(text: str) -> None:
    if "\0" in text if text.isascii() else UNHELD.search(text):
        raise FleetError(
            "This cannot be written as Nix.",
            f"{text[:60]!r} has a character that a Nix string cannot hold.",
            "Take the character out.",
        )


def _reads_well(text: str) -> bool:
    """Tell whether an indented string gives back exactly this text: whole lines, one of them without indent.

    A quote before ${ is left to the other form: three quotes in a row are an escape of their own.
    """
    return (
        text.endswith("\n")
        and text.count("\n") > 1
        and WRITTEN_OUT.search(text) is not None
        and "'${" not in text
        and text.replace("\n", "").isprintable()
    )


def _lines(text: str, indent: str) -> str:
    _check(text)
    escaped = text.replace("''", "'''").replace("${", "''${")
    lines, deeper = f"\n{escaped}", f"\n{indent}{STEP}"
    # Lines that are empty stay so; where there is none, as in XML, it is done twice as fast.
    body = FILLED.sub(deeper, lines) if "\n\n" in lines else lines[:-1].replace("\n", deeper) + "\n"
    return f"''{body}{indent}''"


def _integer(number: int) -> str:
    if abs(number) > LARGEST:
        raise FleetError("This cannot be written as Nix.", f"{number} does not fit into 64 bits.")
    # A minus sign is an operator in Nix: between the elements of a list it needs its parentheses.
    return f"({number})" if number < 0 else str(number)


def _float(number: float) -> str:
    # Nix takes strtod's range error, which the smallest numbers (below 2.2e-308) give, for a bad number.
    if not math.isfinite(number) or 0 < abs(number) < sys.float_info.min:
        raise FleetError("This cannot be written as Nix.", f"{number} is not a number that Nix knows.")
    mantissa, _, exponent = repr(abs(number)).partition("e")
    text = mantissa if "." in mantissa else f"{mantissa}.0"
    text += f"e{exponent}" if exponent else ""
    return f"(-{text})" if math.copysign(1, number) < 0 else text


def _list(items: Sequence[Value], indent: str) -> str:
    if not items:
        return "[ ]"
    deeper = indent + STEP
    written = [nix_value(item, deeper) for item in items]
    line = f"[ {' '.join(written)} ]"
    if "\n" not in line and len(line) <= WIDTH:
        return line
    return "[\n" + "".join(f"{deeper}{item}\n" for item in written) + f"{indent}]"


def _attributes(attributes: Mapping[str, Value], indent: str) -> str:
    if not attributes:
        return "{ }"
    deeper = indent + STEP
    return (
        "{\n"
        + "".join(
            f"{deeper}{attribute_name(name)} = {nix_value(attributes[name], deeper)};\n" for name in sorted(attributes)
        )
        + f"{indent}}}"
    )
