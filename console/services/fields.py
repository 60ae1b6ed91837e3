"""Typed text becomes values, and what is wrong is gathered field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from string import ascii_lowercase
from typing import TypeVar

from console.domain import values
from console.domain.model import Disk

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class Fields:
    """Collects the first problem of each field while values are parsed."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def blame(self, field: str, why: str) -> None:
        """Note what is wrong with a field; the first finding stays."""
        self.problems.setdefault(field, why)

    def parse(self, field: str, text: str, parser: Callable[[str], T], fallback: T) -> T:
        """Return the parsed value, or the fallback with the field blamed."""
        try:
            return parser(text)
        except ValueError as error:
            self.blame(field, str(error))
            return fallback


def one_of(kind: type[E]) -> Callable[[str], E]:
    """Return a parser of an enum's values that names the choices."""

    def parse(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            choices = " or ".join(member.value for member in kind)
            raise ValueError(f"{values.shown(text)} is not known. Write {choices}.") from None

    return parse


def parse_line(text: str) -> str:
    """Return text that is one line of at most 1000 printable characters."""
    if not text.isprintable() or len(text) > 1000:
        raise ValueError("must be one line of at most 1000 printable characters.")
    return text


def parse_vcpus(text: str) -> int:
    """Return a number of virtual CPUs."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= 1024:
        raise ValueError(f"{values.shown(text)} is not a number of vCPUs. Write 1 to 1024.")
    return int(text)


def free_target(prefix: str, disks: Mapping[str, Disk]) -> str:
    """Return the first target of a bus that no disk has yet ("vd" -> "vda"), empty when all are taken."""
    taken = {disk.target for disk in disks.values()}
    return next((prefix + letter for letter in ascii_lowercase if prefix + letter not in taken), "")


def preferred(active: list[str], known: object, fallback: str) -> str:
    """Return `fallback` if it is active, then a name that host and inventory share, then any."""
    names = [str(name) for name in known] if isinstance(known, dict) else []
    for name in (n for n in (fallback, *names) if n):
        if name in active:
            return name
    return (active or names or [fallback])[0]
