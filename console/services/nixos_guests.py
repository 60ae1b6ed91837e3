"""Guests that are NixOS machines of the flake: what they have besides, and what is left to do before they run so.

Images are built by Nix, on its own account: what is to be run for that is said, never guessed to have happened.
"""

from __future__ import annotations

import re

from console.domain.model import Disk, Guest, Host, Kind, Source, SourceKind
from console.services.fields import free_target

BASE = re.compile(r"nixos-[0-9a-z]{12}\.qcow2\Z")
"""How a host names the base images that it builds for its NixOS guests; see nix/modules/guest-images.nix."""

LIBRARY = "/var/lib/fleet/library.iso"
OWN = "/var/lib/fleet/guests/{name}.iso"


def configuration_disks(name: str, disks: dict[str, Disk]) -> dict[str, Disk]:
    """Return the two CDs that a guest from a base image reads its configuration from at its first boot."""
    found = dict(disks)
    for key, path in (("library", LIBRARY), ("machine", OWN.format(name=name))):
        if key not in found and not any(disk.source.value == path for disk in found.values()):
            source = Source(kind=SourceKind.ISO, value=path)
            pool = next((disk.pool for disk in found.values()), "default")
            found[key] = Disk(name=key, size_kib=0, pool=pool, target=free_target("sd", found), source=source)
    return found


def is_configuration(disk: Disk) -> bool:
    """Return whether this is one of those CDs."""
    return disk.is_cdrom and (disk.source.value == LIBRARY or disk.source.value.startswith(OWN.partition("{")[0]))


def from_base(guest: Guest) -> bool:
    """Return whether a guest cannot start before its host was deployed with it."""
    return guest.kind is Kind.NIXOS and any(is_configuration(disk) for disk in guest.disks.values())


def needs(host: Host, guest: Guest, before: Guest | None = None) -> tuple[str, ...]:
    """Return what is to be done by Nix before a guest is what the flake says; nothing when it was so `before`."""
    if guest.kind is not Kind.NIXOS or (before is not None and before.kind is Kind.NIXOS):
        return ()
    own = f"{guest.name} is a machine of the flake: generated/{guest.name}.nix; yours goes to machines/{guest.name}.nix"
    if from_base(guest):
        address = host.address.partition("/")[0]
        return (
            f"{own}.",
            f"It is not started yet: {host.name} makes its configuration disks when it is deployed. Run: "
            f"nixos-rebuild switch --flake .#{host.name} --target-host root@{address}   "
            f"then: qd guest start {host.name}/{guest.name}",
        )
    address = next((nic.address.partition("/")[0] for nic in guest.nics.values() if nic.address), "ADDRESS")
    return (
        f"{own}.",
        f"What it boots from is not built by Quarterdeck. Once a NixOS runs there: nixos-rebuild switch --flake "
        f".#{guest.name} --target-host root@{address}",
    )
