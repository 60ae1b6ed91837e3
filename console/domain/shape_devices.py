"""The devices of a domain in comparable form: what `console.domain.shape` says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from xml.etree import ElementTree

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""The name of the channel that the QEMU guest agent answers on."""

Element = ElementTree.Element
Facts = Iterator[tuple[str, str]]
"""The keys and values of one device; none for a device that libvirt adds by itself."""


def facts_of(device: Element) -> Facts:
    """Return the facts of one child of <devices>."""
    return DEVICES.get(device.tag, _other)(device)


def key_of(device: Element) -> str:
    """Return the name of a device in a shape ("disk vda")."""
    return next((key for key, _ in facts_of(device)), device.tag)


def pci_address(address: Element) -> str:
    """Return an <address> as "0000:65:00.0"."""
    domain, bus, slot, function = (number(address.get(k)) for k in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def number(text: str | None) -> int:
    """Return a number that a host wrote, hexadecimal with 0x; 0 for what is none."""
    try:
        return int(text or "", 0)
    except ValueError:
        return 0


def spelled(element: Element) -> str:
    """Return an element that Quarterdeck does not set on one short line: tags, attributes and text."""
    words = []
    given = [*element.findall("address"), *element.findall("alias")]
    for part in element.iter():
        if part in given:
            continue
        if part is not element:
            words.append(str(part.tag).rpartition("}")[2])
        words += [f"{name}={value}" for name, value in sorted(part.attrib.items())]
        words += (part.text or "").split()
    return " ".join(words)[:500] or "set"


def _attributes(device: Element, path: str, leave: Iterable[str] = ()) -> list[str]:
    part = device.find(path)
    return [] if part is None else [f"{k}={v}" for k, v in sorted(part.attrib.items()) if k not in leave]


def _attribute(device: Element, path: str, name: str, default: str = "") -> str:
    part = device.find(path)
    return default if part is None else part.get(name, default)


def _disk(disk: Element) -> Facts:
    source = disk.find("source")
    where = "empty"
    if source is not None:
        where = source.get("file") or source.get("dev") or source.get("dir") or ""
        if source.get("volume"):
            where = f"{source.get('pool')}/{source.get('volume')}"
        where = where or spelled(source)
    kind = disk.get("device", "disk")
    discard = _attribute(disk, "driver", "discard")
    flags = [
        _attribute(disk, "driver", "type", "raw"),
        _attribute(disk, "target", "bus"),
        *([kind] if kind != "disk" else []),
        # A CD is read-only whether it says so or not.
        *(["read-only"] if kind != "cdrom" and disk.find("readonly") is not None else []),
        *([f"serial {disk.findtext('serial')}"] if disk.findtext("serial") else []),
        *([f"discard {discard}"] if discard else []),
        *_attributes(disk, "driver", ("name", "type", "discard")),
        *(tag for tag in ("iotune", "shareable", "transient", "encryption") if disk.find(tag) is not None),
    ]
    yield f"disk {_attribute(disk, 'target', 'dev')}", f"{where} ({', '.join(filter(None, flags))})"


def _nic(nic: Element) -> Facts:
    source = nic.find("source")
    kind = nic.get("type", "")
    if source is not None and source.get("network"):
        # A running domain's card on a network with a bridge of its own is reported as type bridge.
        where = f"network {source.get('network')}"
    elif source is not None:
        where = f"{kind} {source.get('bridge') or source.get('dev') or spelled(source)}"
    else:
        where = kind
    flags = [
        _attribute(nic, "model", "type"),
        *(["link down"] if _attribute(nic, "link", "state") == "down" else []),
        *([f"filter {_attribute(nic, 'filterref', 'filter')}"] if nic.find("filterref") is not None else []),
        *_attributes(nic, "driver", ("name",)),
    ]
    flags = [flag for flag in flags if flag]
    yield (
        f"nic {_attribute(nic, 'mac', 'address').lower()}",
        where + (f" ({', '.join(flags)})" if flags else ""),
    )


def _hostdev(device: Element) -> Facts:
    address = device.find("source/address[@slot]")
    mdev, usb = device.find("source/address[@uuid]"), device.find("source/vendor")
    if device.get("type") == "mdev" and mdev is not None:
        yield (
            f"mdev {mdev.get('uuid', '').lower()}",
            f"{device.get('model', '')}, display {device.get('display', 'off')}",
        )
        return
    if device.get("type") == "usb" and usb is not None:
        ids = (number(usb.get("id")), number(_attribute(device, "source/product", "id")))
        yield (
            "usb device " + ":".join(f"{each:04x}" for each in ids),
            _attribute(device, "source", "startupPolicy", "set"),
        )
        return
    if device.get("type") != "pci" or address is None:
        yield f"hostdev {device.get('type', '')}", spelled(device)
        return
    place = device.find("address[@slot]")
    words = [
        "managed" if device.get("managed") == "yes" else "not managed",
        *([f"guest slot {pci_address(place)[5:]}"] if place is not None else []),
        *(f"rom {word}" for word in _attributes(device, "rom")),
    ]
    yield f"pci {pci_address(address)}", ", ".join(words)


def _graphics(graphics: Element) -> Facts:
    words = [graphics.get("type", "")]
    listen = graphics.get("listen") or _attribute(graphics, "listen", "address")
    if listen and listen != "127.0.0.1":
        words.append(f"on {listen}")
    if graphics.get("autoport") != "yes" and graphics.get("port", "-1") != "-1":
        words.append(f"port {graphics.get('port')}")
    yield "display", " ".join(words)


def _video(video: Element) -> Facts:
    yield "video", _attribute(video, "model", "type")


def _channel(channel: Element) -> Facts:
    name = _attribute(channel, "target", "name")
    if name == AGENT_CHANNEL:
        yield "agent", "yes"
    else:
        yield f"channel {name}".strip(), channel.get("type", "")


def _serial(serial: Element) -> Facts:
    yield "serial", serial.get("type", "")


def _balloon(balloon: Element) -> Facts:
    period = _attribute(balloon, "stats", "period")
    model = balloon.get("model", "").removesuffix("-non-transitional")
    yield "balloon", f"{model}, statistics every {period} s" if period else model


def _rng(rng: Element) -> Facts:
    yield "rng", f"{rng.get('model', '')} {(rng.findtext('backend') or '').strip()}".strip()


def _controller(controller: Element) -> Facts:
    if controller.get("type") == "usb" and controller.get("model"):
        yield "usb", str(controller.get("model"))


def _input(device: Element) -> Facts:
    if device.get("bus") != "ps2":
        yield "input", f"{device.get('type', '')} {device.get('bus', '')}".strip()


def _watchdog(device: Element) -> Facts:
    # itco is part of q35, and newer libvirt says so.
    if device.get("model") != "itco":
        yield "watchdog", spelled(device)


def _tpm(tpm: Element) -> Facts:
    backend = (_attribute(tpm, "backend", key) for key in ("type", "version"))
    yield "tpm", " ".join(filter(None, (tpm.get("model"), *backend)))


def _nothing(_: Element) -> Facts:
    yield from ()


def _other(device: Element) -> Facts:
    yield str(device.tag).rpartition("}")[2], spelled(device)


DEVICES: dict[str, Callable[[Element], Facts]] = {
    "disk": _disk,
    "interface": _nic,
    "hostdev": _hostdev,
    "graphics": _graphics,
    "video": _video,
    "channel": _channel,
    "serial": _serial,
    "memballoon": _balloon,
    "rng": _rng,
    "controller": _controller,
    "input": _input,
    "watchdog": _watchdog,
    "tpm": _tpm,
    # libvirt adds these by itself.
    "console": _nothing,
    "emulator": _nothing,
    "audio": _nothing,
    "hub": _nothing,
}
