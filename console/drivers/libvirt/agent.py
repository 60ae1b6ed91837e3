"""What guests' agents say of the cards that their guests have: read from files of the guest's kernel, never executed.

The QEMU guest agent reads a file in three commands (open, read, close), where it offers them. Nothing is opened for
writing and nothing is run; a few small files of /sys are all that is asked for. What an agent says is a guest's word,
and a guest may be hostile: each answer is bounded in time and size, and checked before it is believed.

libvirt has no call of its own for this, and marks a guest whose agent is spoken to so as tainted until it is switched
off ("custom guest agent control commands issued"). That has no effect; it stands in the host's log.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import libvirt
import libvirt_qemu

from console.domain.hardware import SeenByGuest, Use
from console.domain.shape_devices import pci_address
from console.drivers.libvirt.failures import LinkLost
from console.drivers.libvirt.guests import Definition
from console.drivers.libvirt.link import Link, Worker
from console.drivers.libvirt.markup import BadXml, clean, number, parse

COMMAND_S = 2
"""How long libvirt waits for one answer of an agent."""

GUEST_S = 8.0
"""How long one guest is asked altogether; then the next one's turn has come."""

OPEN_S = 15.0

ANSWER_LIMIT = 64 * 1024
"""Characters. The list of an agent's commands is about 4 KB, a file of /sys at most a page."""

PAGE = 4096
DEPTH = 8
"""Bridges above a card at most."""

READING = frozenset({"guest-file-open", "guest-file-read", "guest-file-close"})
DEVICES = "guest-get-devices"

DRIVER = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")

NOT_OFFERED = "the guest's agent does not offer it"

Ask = Callable[..., Any]
"""Gives an agent a command with its arguments, and returns what it answers. Raises Refused, and Silent."""


Running = Mapping[str, tuple[int, Definition]]
"""Guests by uuid, with the number of the running domain and its definition."""


class Refused(Exception):
    """The agent does not do that, or answers what is no answer."""


class Silent(Exception):
    """The agent does not answer any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function of the host is in its guest: bus by libvirt's number, which need not be the guest's own."""

    bus: int
    slot: int
    function: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A guest's PCI devices. cards: function of the host -> its place; bridges: bus -> what leads there."""

    cards: Mapping[str, Place]
    bridges: Mapping[int, Place]


async def ask_guests(
    uri: str, running: Running, ids: Mapping[str, str], stuck: list[Worker], timeout_s: float
) -> dict[str, SeenByGuest]:
    """Return function of the host -> what the guest that has it says, for as many as there is time for.

    running: the guests that run. ids: the functions that are asked for, with vendor and device. The agents are asked on
    a connection of their own, one after another: one that hangs holds up nothing else.
    """
    found: dict[str, SeenByGuest] = {}
    link: Link | None = None
    ends_at = time.monotonic() + timeout_s
    try:
        for uuid, (_, definition) in running.items():
            mine = {function: ids[function] for function in definition.pci if function in ids}
            if not mine:
                continue
            if not definition.agent:
                found |= dict.fromkeys(mine, SeenByGuest(why_not="no agent answers in the guest"))
                continue
            left = min(GUEST_S, ends_at - time.monotonic())
            if left <= 0:
                found |= dict.fromkeys(mine, SeenByGuest(why_not="there was no time left to ask its agent"))
                continue
            try:
                link = link or await Link.open(uri, timeout_s=min(OPEN_S, left), stuck=stuck)
                found |= await link.call(_asking(uuid, mine, left), left + 2 * COMMAND_S)
            except (LinkLost, libvirt.libvirtError, BadXml) as error:
                found |= dict.fromkeys(mine, SeenByGuest(why_not=f"its agent was not asked: {clean(str(error))}"))
                if link is not None:
                    await link.close()
                link = None
    finally:
        if link is not None:
            await link.close()
    return found


def _asking(uuid: str, ids: Mapping[str, str], left_s: float) -> Callable[[Any], dict[str, SeenByGuest]]:
    def run(conn: Any) -> dict[str, SeenByGuest]:
        dom = conn.lookupByUUIDString(uuid)
        return seen_by_guest(asker(dom, time.monotonic() + left_s), layout_of(dom.XMLDesc(0)), ids)

    return run


def asker(dom: Any, ends_at: float) -> Ask:
    """Return what asks the agent of a domain, on the connection's thread, until time.monotonic() is `ends_at`."""

    def ask(command: str, **arguments: object) -> Any:
        if time.monotonic() >= ends_at:
            raise Silent
        words = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
        try:
            said = libvirt_qemu.qemuAgentCommand(dom, words, COMMAND_S, 0)
        except libvirt.libvirtError as error:
            code = error.get_error_code()
            if code in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED):
                raise Silent from None
            raise Refused(clean(str(error))) from None
        return answer(said)

    return ask


def answer(said: str) -> Any:
    """Return what an agent answers. Raises Refused for what is no answer, or too much."""
    if len(said) > ANSWER_LIMIT:
        raise Refused(f"{len(said)} characters")
    try:
        heard = json.loads(said)
    except (ValueError, RecursionError):
        raise Refused("no JSON") from None
    if not isinstance(heard, dict) or "return" not in heard:
        raise Refused("no answer")
    return heard["return"]


def layout_of(xml: str) -> Layout:
    """Return where the functions of the host are in the running domain of this XML. Raises BadXml."""
    root = parse(xml)
    cards: dict[str, Place] = {}
    for device in root.findall("devices/hostdev[@type='pci']"):
        source, place = device.find("source/address"), _place(device.find("address[@type='pci']"))
        if source is not None and place is not None:
            cards[pci_address(source)] = place
    bridges: dict[int, Place] = {}
    for bridge in root.findall("devices/controller[@type='pci']"):
        index, place = number(bridge.get("index")), _place(bridge.find("address[@type='pci']"))
        if index is not None and place is not None:
            bridges[index] = place
    return Layout(cards, bridges)


def _place(address: Element | None) -> Place | None:
    if address is None:
        return None
    bus, slot, function = (number(address.get(key)) for key in ("bus", "slot", "function"))
    if bus is None or slot is None or function is None or not (0 <= slot < 32 and 0 <= function < 8):
        return None
    return Place(bus, slot, function)


def seen_by_guest(ask: Ask, layout: Layout, ids: Mapping[str, str], *, root: str = "") -> dict[str, SeenByGuest]:
    """Return function of the host -> what the agent of the guest that has it says. Never raises for what it says.

    ids: the functions that are asked for, with vendor and device ("10de:2206"): a device that says it is another one is
    not believed. root: stands before /sys.
    """
    told: dict[str, SeenByGuest] = {}
    try:
        able = _commands(ask)
        for function, pci_id in ids.items():
            told[function] = _of_card(ask, able, layout, function, pci_id, root)
    except Silent:
        return {each: told.get(each, SeenByGuest(why_not="the guest's agent does not answer")) for each in ids}
    return told


def _commands(ask: Ask) -> frozenset[str]:
    """Return what the agent offers; many distributions switch files off."""
    try:
        info = ask("guest-info")
        return frozenset(each["name"] for each in info["supported_commands"] if each["enabled"] is True)
    except (Refused, KeyError, TypeError):
        return frozenset()


def _of_card(ask: Ask, able: frozenset[str], layout: Layout, function: str, pci_id: str, root: str) -> SeenByGuest:
    folder = ""
    if able >= READING and function in layout.cards:
        folder = _folder(ask, layout, layout.cards[function], root)
    said = _read(ask, f"{folder}/uevent") if folder else None
    if said is None:
        return _by_list(ask, able, pci_id)
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    if facts.get("PCI_ID", "").lower() != pci_id:
        return SeenByGuest(why_not="the guest's agent shows another device in its place")
    driver = facts.get("DRIVER", "")
    if not DRIVER.match(driver):
        return SeenByGuest(why_not="no driver of the guest has it")
    busy, used, whole = (
        _figure(_read(ask, f"{folder}/{name}"))
        for name in ("gpu_busy_percent", "mem_info_vram_used", "mem_info_vram_total")
    )
    if busy is None and whole is None:
        return SeenByGuest(driver=driver, why_not="its files tell no figures")
    use = Use(
        busy_percent=busy if busy is not None and busy <= 100 else None, memory_used_bytes=used, memory_bytes=whole
    )
    return SeenByGuest(driver=driver, use=use)


def _folder(ask: Ask, layout: Layout, place: Place, root: str) -> str:
    """Return the folder of a device in the guest's /sys, "" when it is not to be found.

    The guest's firmware numbers the buses, and what leads to one knows its number.
    """
    chain = [place]
    while chain[-1].bus:
        above = layout.bridges.get(chain[-1].bus)
        if above is None or len(chain) > DEPTH:
            return ""
        chain.append(above)
    bus = 0
    for step in reversed(chain):
        folder = f"{root}/sys/bus/pci/devices/0000:{bus:02x}:{step.slot:02x}.{step.function}"
        if step is place:
            return folder
        below = _figure(_read(ask, f"{folder}/secondary_bus_number"))
        if below is None or not 0 < below < 256:
            return ""
        bus = below
    return ""


def _by_list(ask: Ask, able: frozenset[str], pci_id: str) -> SeenByGuest:
    """Return the driver from the list that agents on Windows have."""
    if not able:
        return SeenByGuest(why_not="the guest's agent does not say what it offers")
    if DEVICES not in able:
        shown = able >= READING
        return SeenByGuest(why_not="the guest does not show the card in its /sys" if shown else NOT_OFFERED)
    try:
        entries = ask(DEVICES)
    except Refused:
        entries = ()
    for entry in entries if isinstance(entries, list) else ():
        ids = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(ids, dict) and _ids(ids) == pci_id:
            words = (entry.get("driver-name"), entry.get("driver-version"))
            driver = " ".join(clean(each, 60) for each in words if isinstance(each, str))
            return SeenByGuest(driver=driver, why_not="its agent tells the driver alone")
    return SeenByGuest(why_not="its agent names no driver for it")


def _ids(ids: Mapping[str, object]) -> str:
    vendor, device = ids.get("vendor-id"), ids.get("device-id")
    known = isinstance(vendor, int) and isinstance(device, int) and ids.get("type") == "pci"
    return f"{vendor:04x}:{device:04x}" if known else ""


def _read(ask: Ask, path: str) -> str | None:
    """Return what a small file of the guest holds, None when it cannot be read."""
    try:
        handle = ask("guest-file-open", path=path, mode="r")
    except Refused:
        return None
    if not isinstance(handle, int):
        return None
    try:
        heard = ask("guest-file-read", handle=handle, count=PAGE)
        return base64.b64decode(heard["buf-b64"], validate=True)[:PAGE].decode("ascii", errors="replace")
    except (Refused, KeyError, TypeError, ValueError):
        return None
    finally:
        _close(ask, handle)


def _close(ask: Ask, handle: int) -> None:
    try:
        ask("guest-file-close", handle=handle)
    except Refused:
        return  # it is the guest's to clean up


def _figure(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text.strip()) else None
