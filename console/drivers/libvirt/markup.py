"""Reading XML from hosts. A host may be hostile: no document type, no entities, a limit on size."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, XMLParser

from console.domain.text import escaped

LIMIT = 4 * 1024 * 1024
"""Characters; capabilities of a big host are about 100 KB, a domain 10 KB."""


class BadXml(Exception):
    """The host sent what we refuse to read."""


def parse(text: str) -> Element:
    """Return the root element. Raises BadXml for what is too long, broken, or declares a document type."""
    if len(text) > LIMIT:
        raise BadXml(f"{len(text)} characters of XML: the limit is {LIMIT}")
    # Without a document type there are no entities beyond the five, so nothing can expand or be fetched.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadXml("XML with a document type")
    parser = XMLParser()
    try:
        parser.feed(text)
        return parser.close()
    except (ParseError, ValueError) as error:
        raise BadXml(f"broken XML: {error}") from error


def word(element: Element, path: str) -> str | None:
    """Return the printable text at `path`, stripped; None when there is none."""
    text = clean(element.findtext(path) or "").strip()
    return text or None


def number(text: str | None) -> int | None:
    """Return a decimal or 0x number, None for anything else or out of 64 bits."""
    if text is None or len(text) > 24:
        return None
    try:
        value = int(text.strip(), 0)
    except ValueError:
        try:
            value = int(text.strip(), 10)  # libvirt pads some numbers with zeros
        except ValueError:
            return None
    return value if abs(value) < 1 << 63 else None


def clean(text: str, limit: int = 400) -> str:
    """Return text in which control characters are escaped, cut at `limit` characters."""
    return escaped(text if len(text) <= limit else text[: limit - 1] + "…")
