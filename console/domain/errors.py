"""The one error that the product shows to people."""

from __future__ import annotations


class FleetError(Exception):
    """Something was refused or failed, in words an operator can act on.

    title:  one short sentence that names the thing ("thief was not created").
    detail: the reason, one or more lines; may be empty.
    hint:   the way out; may be empty.
    """

    def __init__(self, title: str, detail: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        """Return title, detail and hint, one line each."""
        return "\n".join(part for part in (self.title, self.detail, self.hint) if part)


class InventoryError(FleetError):
    """The files of an inventory cannot be used as they are; `faults` names every place."""

    def __init__(self, title: str, faults: tuple[Fault, ...], hint: str = "") -> None:
        super().__init__(title, "\n".join(str(fault) for fault in faults), hint)
        self.faults = faults


class Fault:
    """One mistake in one file: where it is, what it is, what to write instead."""

    __slots__ = ("file", "key", "line", "message")

    def __init__(self, file: str, line: int | None, key: str, message: str) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.message = message

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file} line {self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class HostUnreachable(FleetError):
    """The host did not answer: nothing is known to be wrong with what was asked of it."""


class NotKnownDone(HostUnreachable):
    """The host was lost after it was asked: whether it did what was asked is not known."""
