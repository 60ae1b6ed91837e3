"""Extra XML of a guest: elements for <devices> that the inventory has no words of its own for."""

from __future__ import annotations

from xml.etree import ElementTree

LIMIT = 64 * 1024
"""The most characters that it may have."""

OWN_WORDS = {
    "disk": "write it as a disk of the guest",
    "interface": "write it as a nic of the guest",
    "hostdev": "write it as a device or as usb of the guest",
    "memballoon": "whether there is one follows from the guest's devices",
    "emulator": "which program runs the guest is the host's affair",
}
"""Elements that are refused, and why: what the inventory says by itself must not be said a second time."""


def parse_extra_xml(text: str) -> str:
    """Return the text as it is. Raises ValueError for what are not well-formed elements of <devices>."""
    extra_elements(text)
    return text


def extra_elements(text: str) -> tuple[str, ...]:
    """Return each element on one line, without comments and blank text: equal for equal XML.

    Raises ValueError for what is not well-formed, ends <devices>, or is said otherwise in the inventory.
    """
    if not text:
        return ()
    if len(text) > LIMIT:
        raise ValueError(f"it has {len(text)} characters, and at most {LIMIT} are taken.")
    try:
        # Inside an element there can be no DOCTYPE, and an end tag too many is an error.
        root = ElementTree.fromstring(f"<devices>{text}</devices>")
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"it is not well-formed XML: {error}.") from None
    if any((part or "").strip() for part in (root.text, *(child.tail for child in root))):
        raise ValueError(
            "it has text between its elements. Write elements alone, such as <watchdog model='i6300esb'/>."
        )
    for child in root:
        if child.tag in OWN_WORDS:
            raise ValueError(f"<{child.tag}> does not belong here: {OWN_WORDS[child.tag]}.")
        child.tail = None
    return tuple(
        ElementTree.canonicalize(ElementTree.tostring(child, encoding="unicode"), strip_text=True) for child in root
    )
