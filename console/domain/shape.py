"""A domain's XML in comparable form: a flat mapping of the facts that Quarterdeck sets.

`shape_of` reads both what we would define and what libvirt reports, so their difference is what an apply
would change. What libvirt adds by itself (addresses, aliases, seclabels, controllers, loader paths, the
version of a machine type, the expanded CPU, order) is left out. What somebody added by hand is kept: a
definition replaces the whole domain, so an apply would take it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from xml.etree import ElementTree

from console.domain.errors import FleetError
from console.domain.shape_devices import facts_of, key_of, number, pci_address, spelled
from console.domain.text import escaped
from console.domain.values import KIB, format_size_kib, parse_size_kib

METADATA_NS = "https://quarterdeck.invalid/ns/domain/1"
"""The XML namespace of Quarterdeck's own metadata in a domain."""

XML_LIMIT = 1024 * 1024
"""The largest domain XML that is read, in characters; libvirt's own are 3 to 30 thousand."""

Element = ElementTree.Element
Change = tuple[str, str | None, str | None]
"""One difference: (key, what is seen or None, what is wanted or None)."""


class Effect(StrEnum):
    """When a change reaches a guest that is running."""

    LIVE = "live"
    NEXT_BOOT = "next boot"


def shape_of(xml: str) -> dict[str, str]:
    """Return a domain's comparable facts, readable: "vcpus": "4", "disk vda": "/a.qcow2 (qcow2, virtio)".

    Raises FleetError for what is not the XML of a domain, for a DOCTYPE, for more than XML_LIMIT characters.
    """
    root = _parsed(xml)
    facts: dict[str, str | None] = {
        "name": root.findtext("name"),
        "title": root.findtext("title"),
        "description": root.findtext("description"),
        "accel": {"qemu": "tcg"}.get(root.get("type", ""), root.get("type")),
        "machine": _machine(root),
        "firmware": _firmware(root),
        "vcpus": _vcpus(root),
        "cpu": _cpu(root),
        **_memory(root),
        "kernel": root.findtext("os/kernel"),
        "initrd": root.findtext("os/initrd"),
        "cmdline": root.findtext("os/cmdline"),
        "boot": _boot(root),
        "features": _features(root),
        "clock": _clock(root),
        "pinning": _pinning(root),
        **_endings(root),
        **_sections(root),
        "display": "none",
    }
    parts: dict[str, list[str]] = {}
    for device in root.iterfind("devices/*"):
        for key, value in facts_of(device):
            # Two of a kind (two sound cards) share a key.
            parts.setdefault(key, []).append(value)
    facts |= {key: ", ".join(sorted(values)) for key, values in parts.items()}
    return {escaped(key): escaped(value) for key, value in facts.items() if value}


def identity_of(xml: str) -> tuple[str | None, str | None]:
    """Return (inventory id, digest) of Quarterdeck's metadata in a domain's XML; None for what is absent."""
    mark = _parsed(xml).find(f"metadata/{{{METADATA_NS}}}guest")
    return (None, None) if mark is None else (mark.get("inventory"), mark.get("digest"))


def pci_of(xml: str) -> tuple[str, ...]:
    """Return the host's PCI functions that the domain takes ("0000:65:00.0", ...), sorted.

    Not only <hostdev>: network cards (SR-IOV) and NVMe disks are passed through as well.
    """
    sources = _parsed(xml).iterfind("devices/*/source/address[@slot]")
    return tuple(sorted({pci_address(address) for address in sources}))


def shape_difference(wanted: Mapping[str, str], seen: Mapping[str, str]) -> list[Change]:
    """Return what differs as (key, seen or None, wanted or None), in the order of wanted, then of seen."""
    return [(key, seen.get(key), wanted.get(key)) for key in {**wanted, **seen} if seen.get(key) != wanted.get(key)]


def effect_of(key: str, seen: str | None, wanted: str | None) -> Effect:
    """Return when one change of shape_difference reaches a guest that is running under QEMU.

    Live is: title and description, less memory (by the balloon), a virtio disk or card that comes or goes.
    """
    live = False
    if key in {"title", "description"}:
        live = True
    elif key in {"memory", "memory now"} and seen and wanted:
        live = _kib(wanted) < _kib(seen)
    elif key.startswith(("disk ", "nic ")) and (seen is None) != (wanted is None):
        # SATA (the CD) cannot be plugged while running.
        flags = (seen or wanted or "").rpartition(" (")[2].rstrip(")").split(", ")
        live = "virtio" in flags and "cdrom" not in flags
    return Effect.LIVE if live else Effect.NEXT_BOOT


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree and refuses a DOCTYPE: without one there are no entities to expand or to fetch."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE")


def _parsed(xml: str) -> Element:
    title = "A domain's XML cannot be read."
    if len(xml) > XML_LIMIT:
        raise FleetError(title, f"It has {len(xml)} characters, and at most {XML_LIMIT} are read.")
    try:
        root = ElementTree.fromstring(xml, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, ValueError) as error:
        raise FleetError(title, f"It is not plain XML: {error}.") from None
    if root.tag != "domain":
        raise FleetError(title, f"It is not a domain but {escaped(root.tag)[:60]!r}.")
    return root


def _kib(text: str) -> int:
    try:
        return parse_size_kib(text)
    except ValueError:
        return 0


def _size(element: Element | None) -> int | None:
    """Return a <memory> in KiB; libvirt reports KiB, people write other units."""
    if element is None or not (element.text or "").strip().isdecimal():
        return None
    unit = element.get("unit", "KiB")
    number = int((element.text or "")[:20])
    if unit in {"b", "bytes"}:
        return number // 1024
    factor = KIB.get(unit[:1].upper())
    return None if factor is None else number * factor


def _memory(root: Element) -> dict[str, str | None]:
    most, now = _size(root.find("memory")), _size(root.find("currentMemory"))
    return {
        "memory": None if most is None else format_size_kib(most),
        "memory now": None if now is None or now == most else format_size_kib(now),
    }


def _machine(root: Element) -> str | None:
    kind = root.find("os/type")
    if kind is None:
        return None
    machine = kind.get("machine", "")
    for family, alias in (("pc-q35-", "q35"), ("pc-i440fx-", "pc")):
        if machine.startswith(family):
            machine = alias
    arch = kind.get("arch", "x86_64")
    return machine if arch == "x86_64" else f"{machine} {arch}"


def _firmware(root: Element) -> str:
    loader = root.find("os/loader")
    system = root.find("os")
    # Older libvirt reports the running domain with the loader it chose and without the word.
    uefi = system is not None and system.get("firmware") == "efi"
    if not uefi and (loader is None or loader.get("type") != "pflash"):
        return "bios"
    asked = root.find("os/firmware/feature[@name='secure-boot']")
    secure = asked is not None and asked.get("enabled") == "yes"
    return "uefi, secure boot" if secure or (loader is not None and loader.get("secure") == "yes") else "uefi"


def _vcpus(root: Element) -> str | None:
    vcpu = root.find("vcpu")
    if vcpu is None:
        return "1"
    count = (vcpu.text or "").strip()
    now = vcpu.get("current")
    pinned = f" on CPUs {vcpu.get('cpuset')}" if vcpu.get("cpuset") else ""
    return (f"{now} of {count}" if now and now != count else count) + pinned


def _cpu(root: Element) -> str | None:
    cpu = root.find("cpu")
    if cpu is None:
        return None
    model = cpu.findtext("model")
    named = cpu.get("mode", "custom") == "custom" and model
    topology, numa, width = cpu.find("topology"), cpu.find("numa"), cpu.find("maxphysaddr")
    words = [str(model).strip() if named else cpu.get("mode", "custom")]
    if topology is not None:
        words.append(" ".join(f"{topology.get(k)} {k}" for k in ("sockets", "cores", "threads") if topology.get(k)))
    if numa is not None:
        words.append(f"numa {spelled(numa)}")
    if width is not None:
        words.append(f"address width {spelled(width)}")
    return ", ".join(words)


def _features(root: Element) -> str | None:
    # smm comes with the firmware that libvirt chooses.
    found = [e for e in root.iterfind("features/*") if e.tag not in {"smm", "gic"}]
    return " ".join(sorted(_feature(e) if e.tag in TOLD_WHOLE else e.tag for e in found)) or None


def _feature(feature: Element) -> str:
    return f"{feature.tag} ({', '.join(sorted(f'{part.tag} {spelled(part)}' for part in feature))})"


TOLD_WHOLE = frozenset({"hyperv", "kvm"})
"""Features that Quarterdeck sets in part: which of them are on is told."""


def _pinning(root: Element) -> str | None:
    """Return which CPUs of the host the guest runs on; cut nowhere, whatever the number of vCPUs."""
    pins = [f"{pin.get('vcpu')} on {pin.get('cpuset')}" for pin in root.iterfind("cputune/vcpupin")]
    others = [f"the rest on {pin.get('cpuset')}" for pin in root.iterfind("cputune/emulatorpin")]
    return ", ".join([*pins, *others]) or None


def _clock(root: Element) -> str | None:
    clock = root.find("clock")
    if clock is None:
        return "utc"
    timers = [spelled(timer) for timer in clock.iterfind("timer")]
    return ", ".join([clock.get("offset", "utc"), *sorted(timers)])


def _endings(root: Element) -> dict[str, str | None]:
    usual = {"on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy"}
    found = {tag: (root.findtext(tag) or default) for tag, default in usual.items()}
    return {tag.replace("_", " "): word for tag, word in found.items() if word != usual[tag]}


OWN_SECTIONS = frozenset(
    {"name", "uuid", "title", "description", "metadata", "memory", "currentMemory", "vcpu", "os", "features"}
    | {"cpu", "clock", "devices", "cputune", "on_poweroff", "on_reboot", "on_crash"}
)
LIBVIRT_SECTIONS = frozenset({"resource", "seclabel", "vcpus", "genid"})


def _sections(root: Element) -> dict[str, str | None]:
    """Return what stands beside the sections that Quarterdeck sets, such as memoryBacking."""
    more = [f"{part.tag} {spelled(part)}" for part in root.iterfind("cputune/*") if part.tag not in PINS]
    others = [part for part in root if part.tag not in OWN_SECTIONS and part.tag not in LIBVIRT_SECTIONS]
    return {"cputune": ", ".join(more), **{str(part.tag).rpartition("}")[2]: spelled(part) for part in others}}


PINS = frozenset({"vcpupin", "emulatorpin"})


def _boot(root: Element) -> str | None:
    """Return the devices to boot from, in order; the older list by kind when there is no order by device."""
    ordered = [
        (number(device.find("boot").get("order")), key_of(device))  # type: ignore[union-attr]
        for device in root.iterfind("devices/*[boot]")
    ]
    if ordered:
        return ", ".join(key for _, key in sorted(ordered))
    kinds = [boot.get("dev", "") for boot in root.iterfind("os/boot")]
    # libvirt writes hd where nothing was asked for.
    return None if kinds == ["hd"] else ", ".join(kinds)
