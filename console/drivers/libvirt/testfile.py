"""Keeping libvirt's test driver: `test:///absolute/path.xml` hosts live in a process's memory, so each change is
written back to their file and a new process finds them as they were.

What the driver's own file format cannot say is held in elements of ours, which the driver passes over: a domain's
autostart, and the next boot's definition where it differs from the running one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import (
    Element,
    ParseError,
    SubElement,
    TreeBuilder,
    XMLParser,
    indent,
    register_namespace,
    tostring,
)

import libvirt

from console.domain.observed import DownReason
from console.domain.shape import identity_of, pci_of, shape_of
from console.drivers.libvirt.failures import LinkLost
from console.drivers.libvirt.guests import Definition, Listing
from console.drivers.libvirt.markup import BadXml, clean, parse

log = logging.getLogger(__name__)

DRIVER_NS = "http://libvirt.org/schemas/domain/test/1.0"
OUR_NS = "https://quarterdeck.invalid/ns/test/1"

PROLOGUE = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)

register_namespace("test", DRIVER_NS)


def file_of(uri: str) -> Path | None:
    """Return the file behind a `test:///absolute/path` URI; None for any other host and for `test:///default`."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    if parts.scheme != "test" or parts.netloc or not path.startswith("/") or path.strip("/") in ("", "default"):
        return None
    return Path(path)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the driver passes over in a file. autostart: uuids; following: definitions of the next boot, by uuid.

    stamp: changes with the file, and with nothing else.
    """

    path: Path
    stamp: tuple[int, int, int] | None
    autostart: frozenset[str]
    following: Mapping[str, str]

    @property
    def is_old(self) -> bool:
        """Whether the file is another one by now."""
        return _stamp(self.path) != self.stamp

    def listing(self, listing: Listing) -> Listing:
        """Return what a host lists with what was kept: for a connection that may not be told of it."""
        rows = (
            replace(row, definition=self._definition(row.uuid, row.definition)) if row.definition else row
            for row in listing.rows
        )
        autostart = None if listing.autostart is None else listing.autostart | self.autostart
        return replace(listing, rows=tuple(rows), autostart=autostart)

    def definitions(self, found: Mapping[str, Definition]) -> dict[str, Definition]:
        """Return these definitions with what was kept."""
        return {uuid: self._definition(uuid, definition) for uuid, definition in found.items()}

    def _definition(self, uuid: str, definition: Definition) -> Definition:
        xml = self.following.get(uuid)
        if xml is None:
            return definition
        inventory_id, digest = identity_of(xml)
        return replace(definition, shape=shape_of(xml), pci=pci_of(xml), inventory_id=inventory_id, digest=digest)


class FileChanged(LinkLost):
    """Another process changed the file, so that what a connection has read of it is old. No failure of the host."""

    def __init__(self) -> None:
        super().__init__(DownReason.NONE, "its file changed")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_kept(path: Path) -> Kept:
    """Return what the driver will pass over in this file. Raises LinkLost when it cannot be read."""
    stamp, autostart, following = _stamp(path), set(), {}
    try:
        root = _read(path.read_bytes())
    except (OSError, BadXml) as error:
        raise LinkLost(DownReason.FAILED, clean(str(error))) from None
    for element in root.findall("domain"):
        uuid = (element.findtext("uuid") or "").strip()
        if uuid and element.find(f"{{{OUR_NS}}}autostart") is not None:
            autostart.add(uuid)
        if uuid and (xml := element.findtext(f"{{{OUR_NS}}}next")):
            following[uuid] = xml
    return Kept(path, stamp, frozenset(autostart), following)


def restore(conn: Any, path: Path) -> None:
    """The domains start with their host, and have next-boot definitions, as they had when the file was kept."""
    kept = read_kept(path)
    for uuid in kept.autostart:
        conn.lookupByUUIDString(uuid).setAutostart(1)
    for xml in kept.following.values():
        conn.defineXML(xml)


def keep(conn: Any, path: Path) -> None:
    """The file holds the driver's domains and volumes as they are now; all else in it stays as it was.

    Networks, pools, devices and comments are kept word for word. The file is replaced in one step.
    """
    content = path.read_bytes()
    root = _read(content)
    prologue = PROLOGUE.match(content)  # what stands before the root is in no tree
    old = {(element.findtext("uuid") or "").strip(): element for element in root.findall("domain")}
    place = next((i for i, child in enumerate(root) if child.tag == "domain"), len(root))
    for element in old.values():
        root.remove(element)
    for element in [child for child in root.findall("domain")]:  # without a uuid, or twice the same
        root.remove(element)
    domains = sorted(conn.listAllDomains(0), key=lambda dom: str(dom.name()))
    for offset, dom in enumerate(domains):
        root.insert(place + offset, _domain(dom, old.get(dom.UUIDString())))
    for element in root.findall("pool"):
        _keep_volumes(conn, element)
    indent(root)
    _replace(path, (prologue.group() if prologue else b"") + tostring(root, encoding="utf-8") + b"\n")


def _read(content: bytes) -> Element:
    parser = XMLParser(target=TreeBuilder(insert_comments=True))
    try:
        parser.feed(content)
        root = parser.close()
    except ParseError as error:
        raise BadXml(f"the test driver's file: {error}") from error
    if not isinstance(root, Element):
        raise BadXml("the test driver's file has no element")
    return root


def _domain(dom: Any, old: Element | None) -> Element:
    following = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    active = bool(dom.isActive())
    current = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE) if active else following
    element = parse(current)
    element.attrib.pop("id", None)
    state, _reason = dom.state()
    SubElement(element, f"{{{DRIVER_NS}}}runstate").text = str(state)
    if not dom.isPersistent():
        SubElement(element, f"{{{DRIVER_NS}}}transient")
    elif active and _plain(parse(following)) != _plain(parse(current)):
        SubElement(element, f"{{{OUR_NS}}}next").text = following
    if dom.isPersistent() and dom.autostart():
        SubElement(element, f"{{{OUR_NS}}}autostart")
    for snapshot in () if old is None else old.findall(f"{{{DRIVER_NS}}}domainsnapshot"):
        element.append(snapshot)
    return element


def _plain(element: Element) -> bytes:
    """Return a definition without what only a running domain has."""
    element.attrib.pop("id", None)
    for parent in list(element.iter()):
        for child in [child for child in parent if child.tag in ("alias", "seclabel")]:
            parent.remove(child)
        for child in parent:
            if parent.tag == "interface" and child.tag == "target" and (child.get("dev") or "").startswith("testnet"):
                parent.remove(child)
                break
    indent(element)
    return tostring(element)


def _keep_volumes(conn: Any, element: Element) -> None:
    name = (element.findtext("name") or "").strip()
    try:
        pool = conn.storagePoolLookupByName(name)
        volumes = [parse(volume.XMLDesc(0)) for volume in pool.listAllVolumes(0)]
    except libvirt.libvirtError as error:
        log.warning("pool %s is kept as it was: %s", clean(name), clean(str(error)))
        return
    for volume in element.findall("volume"):
        element.remove(volume)
    element.extend(volumes)


def _replace(path: Path, content: bytes) -> None:
    target = path.resolve()
    mode = target.stat().st_mode & 0o777
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(target)
