"""Windows guests: the CD with the drivers of their virtual hardware, and what else they need to be installed."""

from __future__ import annotations

import re

from console.domain import model, values
from console.domain.model import Disk, Display, Guest, Profile, Source
from console.domain.standing import HostView
from console.services.fields import Fields, free_target

DRIVERS = "drivers"
"""The name of the CD with the drivers."""

IMAGE = re.compile(r"virtio-win[a-zA-Z0-9._-]*\.iso\Z", re.IGNORECASE)
"""What the image of the drivers is called by those who publish it."""

LEAST_KIB = 4 * 1024**2
"""What Windows 11 demands before it lets itself be installed."""


def is_drivers(disk: Disk) -> bool:
    """Return whether a disk is the CD with the drivers: it is beside what the guest boots from, never that."""
    return disk.is_cdrom and disk.name == DRIVERS


def with_drivers(fields: Fields, view: HostView, wanted: str, disks: dict[str, Disk]) -> dict[str, Disk]:
    """Return the disks with a CD of drivers: `wanted`, a volume or a path on the host, else what a pool has of it."""
    if DRIVERS in disks:
        return disks
    images = {
        volume.name: pool.name
        for pool in (view.seen.facts.pools if view.seen.facts else ())
        for volume in pool.volumes
        if volume.name == wanted or (not wanted and IMAGE.match(volume.name))
    }
    value = fields.parse("drivers", wanted, values.parse_volume_or_path, "") if wanted else max(images, default="")
    if wanted and value and not value.startswith("/") and view.seen.facts is not None and value not in images:
        fields.blame("drivers", f"no pool of {view.name} has a volume {value}.")
    if not value:
        return disks
    pool = images.get(value) or next((disk.pool for disk in disks.values()), "default")
    cd = Disk(
        name=DRIVERS,
        size_kib=0,
        pool=pool,
        target=free_target("sd", disks),
        source=Source(kind=model.SourceKind.ISO, value=value),
    )
    return {**disks, cd.name: cd}


def cautions(view: HostView, guest: Guest) -> list[str]:
    """Return what would keep Windows from being installed; nothing for another guest."""
    if guest.profile is not Profile.WINDOWS:
        return []
    found = []
    if not any(is_drivers(disk) for disk in guest.disks.values()):
        found.append(
            f"no pool of {view.name} has a virtio-win ISO: Windows sees neither its disk nor its network without the "
            "drivers on it."
        )
    if guest.memory_kib < LEAST_KIB:
        found.append("Windows 11 asks for at least 4 GiB of memory.")
    if guest.display is Display.NONE and not any(device.gpu for device in guest.devices.values()):
        found.append("Windows has no serial console: without a display or a GPU nothing of it is to be seen.")
    return found
