"""The network card and the passed-through device that a wish asks for; all others of a guest are kept."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable

from console.domain import values
from console.domain.errors import FleetError
from console.domain.model import Device, Fleet, Guest, Nic
from console.domain.observed import HostNetwork
from console.domain.standing import HostView
from console.services import passthrough
from console.services.fields import Fields, preferred
from console.services.wishes import GuestWish

GPU = "gpu0"


def first_nic(guest: Guest) -> Nic | None:
    """Return the card that a form's network, address and MAC are about."""
    return next(iter(guest.nics.values()), None)


def first_device(guest: Guest) -> Device | None:
    """Return the device that a form's GPU is about."""
    devices = list(guest.devices.values())
    return next((device for device in devices if device.gpu), devices[0] if devices else None)


def nics_of(
    fields: Fields, fleet: Fleet, view: HostView, wish: GuestWish, old: Guest, changed: Callable[..., bool]
) -> dict[str, Nic]:
    """Return the cards of the guest that `old` becomes. changed: whether any of these fields was changed."""
    before = first_nic(old)
    if wish.network.strip() == "none":
        return {name: nic for name, nic in old.nics.items() if before is None or name != before.name}
    if before is not None and not changed("network", "address", "mac"):
        return dict(old.nics)
    network = before.network if before is not None else ""
    if before is None or (changed("network") and wish.network.strip()):
        network = _network(fields, fleet, view, wish.network.strip())
    if not network:
        return dict(old.nics)
    mac = before.mac if before is not None else _random_mac()
    if wish.mac.strip():
        mac = fields.parse("mac", wish.mac, values.parse_mac, mac)
    address = wish.address.strip()
    known = fleet.networks.get(network)
    if address and "/" not in address and known is not None and known.subnet:
        address += f"/{ipaddress.ip_network(known.subnet).prefixlen}"
    nic = Nic(
        name=before.name if before is not None else network,
        network=network,
        mac=mac,
        address=fields.parse("address", address, values.parse_address, "") if address else None,
    )
    return {**old.nics, nic.name: nic}


def devices_of(fields: Fields, fleet: Fleet, view: HostView, wish: GuestWish, old: Guest) -> dict[str, Device]:
    """Return the devices of the guest that `old` becomes; for a resource none is picked yet."""
    before = first_device(old)
    wanted = wish.gpu.strip()
    if not wanted or wanted == "none":
        return {name: device for name, device in old.devices.items() if before is None or name != before.name}
    name = before.name if before is not None else GPU
    if wanted in fleet.resources:
        if before is not None and before.resource == wanted:
            return dict(old.devices)
        return {**old.devices, name: Device(name=name, pci="", resource=wanted)}
    slot = wanted if wanted == "any" else fields.parse("gpu", wanted, _parser(fleet), "")
    if not slot or (before is not None and (before.pci == slot or (slot == "any" and before.gpu))):
        return dict(old.devices)
    try:
        choice = passthrough.choose_gpu(view, slot, except_for=old.name or None)
    except FleetError as error:
        fields.blame("gpu", " ".join(part for part in (error.title, error.detail, error.hint) if part))
        return dict(old.devices)
    is_gpu = any(choice.slot == card.slot for card in passthrough.gpu_choices(view))
    return {**old.devices, name: passthrough.device_of(choice, name, gpu=is_gpu)}


def _parser(fleet: Fleet) -> Callable[[str], str]:
    """Return the parser of a slot, which names the resources there are where it is given what is none of both."""

    def parse(text: str) -> str:
        try:
            return values.parse_pci_slot(text)
        except ValueError as error:
            known = f" Known resources: {', '.join(sorted(fleet.resources))}." if fleet.resources else ""
            raise ValueError(f"{error}{known}") from None

    return parse


def _network(fields: Fields, fleet: Fleet, view: HostView, wanted: str) -> str:
    found: tuple[HostNetwork, ...] = view.seen.facts.networks if view.seen.facts else ()
    name = wanted or preferred([n.name for n in found if n.active], fleet.networks, "")
    if not name:
        fields.blame("network", "no network is known yet. Write none, or add one to fleet.toml.")
        return ""
    network = next((n for n in found if n.name == name), None)
    if view.seen.facts is not None and network is None:
        has = f"It has: {', '.join(n.name for n in found)}." if found else "It has none at all."
        fields.blame("network", f"{view.name} has no network {values.shown(name)}. {has} For no card, write none.")
    elif network is not None and not network.active:
        fields.blame("network", f"network {name} of {view.name} is not active. Start it on the host first.")
    elif name not in fleet.networks and (network is None or not network.bridge):
        known = ", ".join(fleet.networks) or "none yet"
        fields.blame("network", f"{values.shown(name)} is no network of fleet.toml. Known: {known}.")
    fields.parse("network", name, values.parse_name, "")
    return name


def _random_mac() -> str:
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
