"""The disks and CDs that a wish asks for. What a guest has already is kept: its size, its pool, its content."""

from __future__ import annotations

from console.domain import model, values
from console.domain.model import Disk, Fleet, Guest
from console.domain.observed import StoragePool
from console.domain.standing import HostView
from console.generate.domain_xml import volume_name
from console.services.fields import Fields, free_target, one_of, preferred
from console.services.nixos_guests import BASE, configuration_disks, is_configuration
from console.services.windows import is_drivers
from console.services.wishes import BootChoice, GuestWish

BOOT_DISK = "boot"
CD = "install"


def system_disk(guest: Guest) -> Disk | None:
    """Return the disk that a form's size, pool and image are about."""
    hard = [disk for disk in guest.disks.values() if not disk.is_cdrom]
    return next((disk for disk in hard if disk.name == BOOT_DISK), hard[0] if hard else None)


def first_cd(guest: Guest) -> Disk | None:
    """Return the CD that a form's ISO is about."""
    others = (disk for disk in guest.disks.values() if not is_configuration(disk) and not is_drivers(disk))
    return next((disk for disk in others if disk.is_cdrom), None)


def disks_of(
    fields: Fields, fleet: Fleet, view: HostView, wish: GuestWish, old: Guest, was: GuestWish | None
) -> dict[str, Disk]:
    """Return the disks of the guest that `old` becomes. was: the wish that `old` answers, None for a new guest."""
    disks = dict(old.disks)
    system = system_disk(old)
    if system is not None:
        _unchanged(fields, wish, system)
    elif wish.disk.strip():
        _add_disk(fields, fleet, view, wish, disks)
    elif wish.boot is BootChoice.IMAGE or (wish.boot is BootChoice.EMPTY and was is None):
        fields.blame("disk", 'a size is needed to boot from a disk. Write "20 GiB".')
    if was is None and wish.kind == "nixos" and wish.boot is BootChoice.IMAGE and BASE.match(wish.image):
        disks = configuration_disks(wish.name, disks)
    cd = first_cd(old)
    if wish.boot is BootChoice.ISO:
        if was is None or cd is None or was.iso != wish.iso:
            new = _cd(fields, fleet, view, wish, disks, cd)
            disks[new.name] = new
    elif was is not None and was.boot is BootChoice.ISO and cd is not None:
        del disks[cd.name]
    return disks


def check_volumes(fields: Fields, view: HostView, guest: Guest, old: Guest) -> None:
    """Blame the name when a volume of a new disk exists already, or belongs to another guest of the inventory."""
    present = {(p.name, v.name) for p in (view.seen.facts.pools if view.seen.facts else ()) for v in p.volumes}
    owners = {
        (disk.pool, volume_name(other, disk)): other.name
        for other in view.wanted.guests.values()
        for disk in other.disks.values()
        if other.uuid != guest.uuid and not disk.is_cdrom
    }
    for disk in guest.disks.values():
        if disk.is_cdrom or disk.name in old.disks:
            continue
        volume = volume_name(guest, disk)
        if owner := owners.get((disk.pool, volume)):
            fields.blame("name", f"its disk would be {volume} in pool {disk.pool}, which is {owner}'s. Choose another.")
        elif (disk.pool, volume) in present:
            fields.blame(
                "name",
                f"pool {disk.pool} already holds {volume}, perhaps of a removed guest. It is not touched: "
                "choose another name, or delete the volume on the host.",
            )


def _unchanged(fields: Fields, wish: GuestWish, disk: Disk) -> None:
    if not wish.disk.strip():
        fields.blame("disk", "an existing disk stays with its guest.")
    elif fields.parse("disk", wish.disk, values.parse_size_kib, 0) not in (disk.size_kib, 0):
        size = values.format_size_kib(disk.size_kib)
        fields.blame("disk", f"the size of an existing disk cannot be changed here; it has {size}.")
    if wish.pool.strip() not in ("", disk.pool):
        fields.blame("pool", f"an existing disk stays in its pool, which is {disk.pool}.")
    if wish.boot is not BootChoice.IMAGE:
        return
    if disk.source.kind is not model.SourceKind.IMAGE or wish.image.strip() != disk.source.value:
        came = f"came from {disk.source.value}" if disk.source.value else "was made empty"
        fields.blame("image", f"an existing disk keeps its content: it {came}.")
    elif wish.image_mode != disk.source.mode.value:
        fields.blame("image_mode", f"an existing disk stays what it is, which is {disk.source.mode.value}.")


def _add_disk(fields: Fields, fleet: Fleet, view: HostView, wish: GuestWish, disks: dict[str, Disk]) -> None:
    size = fields.parse("disk", wish.disk, values.parse_size_kib, 1)
    pool = _pool(fields, fleet, view, wish.pool)
    name = _free(BOOT_DISK, disks)
    source = _source(fields, view, wish, pool, size)
    disks[name] = Disk(name=name, size_kib=size, pool=pool, target=free_target("vd", disks), source=source)


def _cd(
    fields: Fields, fleet: Fleet, view: HostView, wish: GuestWish, disks: dict[str, Disk], old: Disk | None
) -> Disk:
    iso = fields.parse("iso", wish.iso, values.parse_volume_or_path, "") if wish.iso else ""
    if not wish.iso:
        fields.blame("iso", "is missing. Write a volume of a pool, or a path on the host.")
    pool = old.pool if old else wish.pool.strip() or preferred([], fleet.pools, "default")
    if iso and not iso.startswith("/"):
        pool = _holder(fields, view, iso, pool)
    name, target = (old.name, old.target) if old else (_free(CD, disks), free_target("sd", disks))
    return Disk(
        name=name,
        size_kib=0,
        pool=fields.parse("pool", pool, values.parse_name, "default"),
        target=target,
        source=model.Source(kind=model.SourceKind.ISO, value=iso),
    )


def _holder(fields: Fields, view: HostView, iso: str, wanted: str) -> str:
    """Return the pool that has the ISO, the wanted one if it does."""
    facts = view.seen.facts
    if facts is None:
        return wanted
    holders = [pool.name for pool in facts.pools if any(volume.name == iso for volume in pool.volumes)]
    if not holders:
        fields.blame("iso", f"no pool of {view.name} has a volume {iso}.")
    return wanted if wanted in holders or not holders else holders[0]


def _source(fields: Fields, view: HostView, wish: GuestWish, pool: str, size_kib: int) -> model.Source:
    if wish.boot is not BootChoice.IMAGE:
        return model.Source()
    if not wish.image:
        fields.blame("image", "is missing. Write the name of a volume of the pool.")
        return model.Source()
    image = fields.parse("image", wish.image, values.parse_volume, "")
    mode = fields.parse("image_mode", wish.image_mode, one_of(model.ImageMode), model.ImageMode.OVERLAY)
    found = next((p for p in (view.seen.facts.pools if view.seen.facts else ()) if p.name == pool), None)
    if image and found is not None and found.active:
        volume = next((v for v in found.volumes if v.name == image), None)
        if volume is None:
            fields.blame("image", f"pool {pool} of {view.name} has no volume {image}.")
        elif volume.capacity_bytes > size_kib * 1024:
            needs = values.format_size_kib(-(-volume.capacity_bytes // 1024**2) * 1024)
            fields.blame("disk", f"{image} needs at least {needs}.")
    return model.Source(kind=model.SourceKind.IMAGE, value=image, mode=mode)


def _pool(fields: Fields, fleet: Fleet, view: HostView, wanted: str) -> str:
    found: tuple[StoragePool, ...] = view.seen.facts.pools if view.seen.facts else ()
    name = wanted.strip() or preferred([p.name for p in found if p.active], fleet.pools, "default")
    fields.parse("pool", name, values.parse_name, "")
    pool = next((p for p in found if p.name == name), None)
    if view.seen.facts is not None and pool is None:
        has = ", ".join(p.name for p in found) or "none"
        fields.blame("pool", f"{view.name} has no pool {values.shown(name)}. It has: {has}.")
    elif pool is not None and not pool.active:
        fields.blame("pool", f"pool {name} of {view.name} is not active. Start it on the host first.")
    elif pool is not None and name in fleet.pools and pool.path not in (None, fleet.pools[name].path):
        fields.blame("pool", f"pool {name} is at {pool.path} on {view.name}, fleet.toml says {fleet.pools[name].path}.")
    elif name not in fleet.pools and (pool is None or not pool.path):
        known = ", ".join(fleet.pools) or "none"
        fields.blame("pool", f"{values.shown(name)} is no pool of fleet.toml. Known: {known}.")
    return name


def _free(name: str, disks: dict[str, Disk]) -> str:
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 100))) if n not in disks)
