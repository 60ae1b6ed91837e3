"""Carrying out each verb on a connection's thread, and saying in words why a host refuses.

One verb is one changing libvirt call, besides the refresh of a pool and the growing of a copied volume. Before it,
what can be known to fail is refused; a host that changes meanwhile refuses by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import libvirt

from console.domain.errors import FleetError
from console.domain.values import format_size_kib, shown
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Reboot,
    Reset,
    Resume,
    SetAutostart,
    SetMemory,
    Shutdown,
    Start,
    Suspend,
    Undefine,
    Verb,
)
from console.drivers.libvirt.failures import refusal
from console.drivers.libvirt.markup import BadXml, clean, parse, word

Count = Callable[[], None]
"""Called just before each changing call."""

TITLES: dict[type[Verb], str] = {
    Define: "{} was not defined",
    Undefine: "{} was not undefined",
    Start: "{} was not started",
    Shutdown: "{} was not asked to shut down",
    ForceOff: "{} was not forced off",
    Reboot: "{} was not asked to reboot",
    Reset: "{} was not reset",
    Suspend: "{} was not paused",
    Resume: "{} was not resumed",
    SetAutostart: "the autostart of {} was not changed",
    SetMemory: "the memory of {} was not changed",
    AttachDevice: "the device was not attached to {}",
    DetachDevice: "the device was not detached from {}",
    CreateVolume: "volume {} was not created",
    DeleteVolume: "volume {} was not deleted",
}


def uuids_of(verb: Verb) -> frozenset[str]:
    """Return the domains that a verb is about."""
    if not isinstance(verb, Define):
        return frozenset({getattr(verb, "uuid", "")})
    try:
        return frozenset({word(parse(verb.xml), "uuid") or ""})
    except BadXml:
        return frozenset()


def title_of(verb: Verb, name: str | None = None, *, known: bool = True) -> str:
    """Return the title of a failure of this verb; `name` is the domain's where it is known.

    known: it is certain that nothing was done.
    """
    if isinstance(verb, Define):
        name = name or _defined_name(verb.xml)
    elif isinstance(verb, (CreateVolume, DeleteVolume)):
        name = verb.name
    title = TITLES[type(verb)]
    if not known:
        title = f"it is not known whether {title.replace(' not', '', 1)}"
    return title.format(clean(name, 80) if name else f"domain {clean(getattr(verb, 'uuid', ''), 40)}")


def _defined_name(xml: str) -> str:
    try:
        return word(parse(xml), "name") or "the domain"
    except BadXml:
        return "the domain"


def carry_out(conn: Any, verb: Verb, count: Count) -> None:
    """Carry out one verb. Raises FleetError when the host refuses; a dead connection's error is passed on."""
    name: str | None = None
    try:
        if isinstance(verb, Define):
            count()
            conn.defineXMLFlags(verb.xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE if verb.validate else 0)
        elif isinstance(verb, (CreateVolume, DeleteVolume)):
            pool = _active_pool(conn, verb)
            if isinstance(verb, CreateVolume):
                _create_volume(pool, verb, count)
            else:
                volume = pool.storageVolLookupByName(verb.name)
                count()
                volume.delete(0)
        else:
            dom = conn.lookupByUUIDString(verb.uuid)
            name = dom.name()
            _change(dom, verb, title_of(verb, name), count)
    except libvirt.libvirtError as error:
        if not conn.isAlive():
            raise
        raise refusal(title_of(verb, name), error) from None


def _change(dom: Any, verb: Verb, title: str, count: Count) -> None:
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    match verb:
        case Undefine():
            _undefine(dom, title, count)
        case ForceOff():
            if dom.isActive():
                count()
                _destroy(dom)
        case Start():
            count()
            dom.create()
        case Shutdown():
            count()
            dom.shutdown()
        case Reboot():
            count()
            dom.reboot(0)
        case Reset():
            count()
            dom.reset(0)
        case Suspend():
            count()
            dom.suspend()
        case Resume():
            count()
            dom.resume()
        case SetAutostart(on=on):
            count()
            dom.setAutostart(int(on))
        case SetMemory(memory_kib=memory_kib):
            count()
            dom.setMemoryFlags(memory_kib, live)
        case AttachDevice(xml=xml):
            count()
            dom.attachDeviceFlags(xml, live)
        case DetachDevice(xml=xml):
            count()
            dom.detachDeviceFlags(xml, live)
        case _:
            raise FleetError(title, f"{type(verb).__name__} is no change of a domain.")


def _destroy(dom: Any) -> None:
    try:
        dom.destroy()
    except libvirt.libvirtError:
        # It went off by itself between our look and the call: what was asked for is true.
        if dom.isActive():
            raise


def _undefine(dom: Any, title: str, count: Count) -> None:
    if dom.isActive():
        raise FleetError(title, "It is running.", "Shut it down or force it off first.")
    leave = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    more = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    count()
    try:
        dom.undefineFlags(leave | more)
    except libvirt.libvirtError as error:
        # The test driver knows neither, and refuses the flags before it does anything.
        if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
            raise
        dom.undefineFlags(leave)


def _active_pool(conn: Any, verb: CreateVolume | DeleteVolume) -> Any:
    pool = conn.storagePoolLookupByName(verb.pool)
    if not pool.isActive():
        raise FleetError(
            title_of(verb), f"Storage pool {shown(verb.pool)} is not active.", "Start the pool on the host."
        )
    # Volumes that others put there by hand are known only after this.
    pool.refresh(0)
    return pool


def _create_volume(pool: Any, verb: CreateVolume, count: Count) -> None:
    title = title_of(verb)
    if verb.format not in ("qcow2", "raw"):
        raise FleetError(title, f"{shown(verb.format)} is no format of a volume.", 'Use "qcow2" or "raw".')
    if verb.backing is not None and verb.copy_of is not None:
        raise FleetError(title, "A volume is an overlay or a copy, not both.")
    if verb.backing is not None and verb.format != "qcow2":
        raise FleetError(title, "Only a qcow2 volume can be an overlay.", 'Use the format "qcow2".')
    volumes = {volume.name(): volume for volume in pool.listAllVolumes(0)}
    if verb.name in volumes:
        raise FleetError(
            title,
            f"It exists already in pool {shown(verb.pool)}.",
            "Choose another name, or remove the old one.",
        )
    source = verb.backing if verb.backing is not None else verb.copy_of
    origin = None if source is None else volumes.get(source)
    if source is not None and origin is None:
        raise FleetError(
            title,
            f"Pool {shown(verb.pool)} has no volume {shown(source)}.",
            "Choose one of the pool's volumes, or copy the image there.",
        )
    if origin is not None and (least := origin.info()[1]) > verb.capacity_bytes:
        raise FleetError(
            title,
            f"{shown(source or '')} is larger than the {format_size_kib(verb.capacity_bytes // 1024)} asked for.",
            f"Ask for {format_size_kib(-(-least // 1024))} or more.",
        )
    xml = volume_xml(verb, _backing(origin) if verb.backing is not None and origin is not None else None)
    count()
    if verb.copy_of is not None:
        _grow(pool.createXMLFrom(xml, origin, 0), verb.capacity_bytes)
    else:
        pool.createXML(xml, 0)


def _grow(copy: Any, capacity_bytes: int) -> None:
    """The copy is as large as asked for: libvirt makes it as large as its origin. It is gone when that fails."""
    if copy.info()[1] >= capacity_bytes:
        return
    try:
        copy.resize(capacity_bytes, 0)
    except libvirt.libvirtError:
        copy.delete(0)
        raise


def _backing(volume: Any) -> tuple[str, str]:
    """Return path and format of the volume that an overlay is backed by."""
    kind = parse(volume.XMLDesc(0)).find("target/format")
    return volume.path(), "raw" if kind is None else kind.get("type") or "raw"


def volume_xml(verb: CreateVolume, backing: tuple[str, str] | None) -> str:
    """Return the XML of a new volume; backing: path and format of what it is an overlay of."""
    store = ""
    if backing is not None:
        path, kind = backing
        store = f"<backingStore><path>{escape(path)}</path><format type={quoteattr(kind)}/></backingStore>"
    # A raw file of a directory pool is sparse unless all of it is asked for.
    return (
        f"<volume><name>{escape(verb.name)}</name><capacity unit='bytes'>{verb.capacity_bytes}</capacity>"
        f"<allocation unit='bytes'>0</allocation>"
        f"<target><format type={quoteattr(verb.format)}/></target>{store}</volume>"
    )
