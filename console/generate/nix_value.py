"""The one writer of Nix values: text that evaluates to exactly the data it was given, and never to code."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
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


def nix_value(value: Value, indent: str = "") -> str:
    """Return a value as Nix; attributes are sorted, so equal data gives equal text.

    indent: what stands before the line that the value begins on. Raises FleetError for what Nix cannot hold: a
    string with NUL or half a surrogate pair, a number that is infinite, no number, too small, or beyond 64 bits.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value)
        case float():
            return _float(value)
        case str():
            return _lines(value, indent) if _reads_well(value) else quoted(value)
        case Mapping():
            return _attributes(value, indent)
        case _:
            return _list(value, indent)


def quoted(text: str) -> str:
    """Return text as a Nix string on one line."""
    _check(text)
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("${", "\\${"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def attribute_name(name: str) -> str:
    """Return a name as it stands before the equals sign, in quotes where Nix needs them."""
    return name if IDENTIFIER.match(name) and name not in KEYWORDS else quoted(name)


def _check(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise FleetError(
            "This cannot be written as Nix.",
            f"{text[:60]!r} has a character that a Nix string cannot hold.",
            "Take the character out.",
        )


def _reads_well(text: str) -> bool:
    """Tell whether an indented string gives back exactly this text: whole lines, one of them without indent.

    A quote before ${ is left to the other form: three quotes in a row are an escape of their own.
    """
    lines = text.split("\n")
    return (
        len(lines) > 2
        and not lines[-1]
        and any(line and line[0] != " " for line in lines)
        and "'${" not in text
        and all(line.isprintable() for line in lines)
    )


def _lines(text: str, indent: str) -> str:
    _check(text)
    escaped = text.replace("''", "'''").replace("${", "''${")
    body = "".join(f"{indent}{STEP}{line}\n" if line else "\n" for line in escaped[:-1].split("\n"))
    return f"''\n{body}{indent}''"


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
