"""Words of the inventory as text in XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from console.domain.errors import FleetError
from console.domain.model import Guest

CARRIED = re.compile("[\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*\\Z")
"""What XML 1.0 carries unharmed; it cannot hold control characters, and turns a carriage return into a newline."""

ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
ATTRIBUTE_ESCAPES = (*ESCAPES, ('"', "&quot;"), ("\n", "&#10;"), ("\t", "&#09;"))
PLAIN = re.compile(r"[A-Za-z0-9 _./:,@+-]*\Z")
"""What stands in XML as it is; most of what an inventory holds."""


def attribute(key: str, text: str) -> str:
    """Return text for between the quotes of an attribute. Raises FleetError for what XML cannot hold, by the key."""
    return text if PLAIN.match(text) else _escaped(key, text, ATTRIBUTE_ESCAPES)


def content(key: str, text: str) -> str:
    """Return text for between two tags. Raises as attribute does."""
    return text if PLAIN.match(text) else _escaped(key, text, ESCAPES)


def _escaped(key: str, text: str, escapes: Iterable[tuple[str, str]]) -> str:
    if not CARRIED.match(text):
        raise FleetError(
            "This cannot be written as domain XML.",
            f"{key} has a control character: {text[:60]!r}.",
            "Take the character out.",
        )
    for character, escape in escapes:
        text = text.replace(character, escape)
    return text


def boot_and_alias(order: int | None, alias: str) -> Iterator[str]:
    """Yield a device's place in the boot order, None for none, and its alias."""
    if order is not None:
        yield f'  <boot order="{order}" />'
    yield f'  <alias name="{attribute("alias name", alias)}" />'


def alias_of(name: str) -> str:
    """Return a name in the letters that libvirt keeps in an alias (no dot), different for different names."""
    return name.replace("_", "__").replace(".", "_-")


def refused(guest: Guest, detail: str, hint: str = "") -> FleetError:
    """Return the error for a guest that cannot be said in XML."""
    return FleetError(f"{guest.name} cannot be defined.", detail, hint)
