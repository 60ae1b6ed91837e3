"""The pages of the guest form: which fields there are, what they offer, and what is said beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.domain.model import GuestKey
from console.domain.observed import HostState
from console.services.wishes import BootChoice, GuestWish
from screens.choice import Option
from screens.form import ChoiceField, Field, TextField, ToggleField
from screens.guest_options import (
    free_memory_kib,
    gpu_options,
    host_options,
    network_options,
    pool_options,
    pools,
    resource_options,
    size,
    volume_options,
)

if TYPE_CHECKING:
    from console.services.session import Session

PAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "guest",
        ("host", "name", "vcpus", "memory", "profile", "firmware", "display", "autostart", "description"),
    ),
    ("boot and disk", ("boot", "image", "image_mode", "iso", "kernel", "initrd", "cmdline", "disk", "pool", "kind")),
    ("network, GPU", ("network", "address", "mac", "gpu")),
    ("review", ()),
)

FIRMWARES = (
    Option("bios", "BIOS", ("SeaBIOS",)),
    Option("uefi", "UEFI", ("OVMF; Windows 11 and some cards need it",), note="OVMF"),
)
PROFILES = (
    Option("generic", "any system", ("plain virtual hardware",)),
    Option("windows", "Windows", ("TPM, Secure Boot, virtio drivers' CD; needs UEFI",), note="needs UEFI"),
)
DISPLAYS = (
    Option("none", "none", ("serial console only",)),
    Option("vnc", "VNC", ("a screen on the host's loopback",)),
)
KINDS = (
    Option("plain", "plain", ("what is inside is its own affair",)),
    Option("nixos", "NixOS", ("a machine of the flake; Nix builds it",)),
)
BOOTS = (
    Option(BootChoice.IMAGE, "disk image", ("overlay or copy of a volume",)),
    Option(BootChoice.ISO, "install from ISO", ("a CD beside an empty disk",)),
    Option(BootChoice.KERNEL, "kernel and initrd", ("files on the host",)),
    Option(BootChoice.PXE, "network (PXE)", ("from its first network",)),
    Option(BootChoice.EMPTY, "empty disk", ("nothing to boot from",)),
)
MODES = (
    Option("overlay", "overlay", ("small, quick; needs its image",)),
    Option("copy", "copy", ("independent of the image",)),
)
ONLY: dict[str, BootChoice] = {
    "image": BootChoice.IMAGE,
    "image_mode": BootChoice.IMAGE,
    "iso": BootChoice.ISO,
    "kernel": BootChoice.KERNEL,
    "initrd": BootChoice.KERNEL,
    "cmdline": BootChoice.KERNEL,
}
"""Fields that are there for one boot source only."""


def offers(session: Session, wish: GuestWish, editing: GuestKey | None, key: str) -> list[Option]:
    """Return what a choice field offers for this wish; empty where the host never reported."""
    if wish.host not in session.store.fleet.hosts:
        return host_options(session) if key == "host" else []
    if key == "host":
        return host_options(session)
    if key == "pool":
        return pool_options(session, wish)
    if key == "network":
        return network_options(session, wish, editing)
    if key == "gpu":
        return [*gpu_options(session, wish.host, editing), *resource_options(session, wish, editing)]
    return volume_options(session, wish, iso=key == "iso")


def page_fields(session: Session, wish: GuestWish, editing: GuestKey | None, page: int) -> list[Field]:
    """Return the fields of a page, filled in from the wish."""
    known = wish.host in session.store.fleet.hosts and session.store.host(wish.host).seen.facts is not None

    def chosen(key: str, label: str, what: str, *, free: bool = False) -> Field:
        """A choice where the host's facts are known, else free text: what is wanted may be known to the operator."""
        value = str(getattr(wish, key))
        options = offers(session, wish, editing, key) if known else []
        if not known or (not options and free):
            return TextField(key, label, value, hint=f"{what}; the host has reported none" if known else what)
        return ChoiceField(key, label, value, options, free=what if free else "")

    if page == 0:
        first: list[Field] = []
        if editing is None:
            first = [
                ChoiceField("host", "host", wish.host, offers(session, wish, editing, "host")),
                TextField("name", "name", wish.name, max_length=64),
            ]
        return [
            *first,
            TextField("vcpus", "vCPUs", wish.vcpus, max_length=6),
            TextField("memory", "memory", wish.memory, max_length=20),
            ChoiceField("profile", "made for", wish.profile, PROFILES),
            ChoiceField("firmware", "firmware", wish.firmware, FIRMWARES),
            ChoiceField("display", "display", wish.display, DISPLAYS),
            ToggleField("autostart", "autostart", wish.autostart, hint="start it with its host"),
            TextField("description", "description", wish.description, wide=True, max_length=1000),
        ]
    if page == 1:
        return [
            ChoiceField("boot", "boot from", wish.boot, BOOTS),
            chosen("image", "image", "volume of the pool", free=True),
            ChoiceField("image_mode", "use it as", wish.image_mode, MODES),
            chosen("iso", "ISO", "volume, or path on the host", free=True),
            TextField("kernel", "kernel", wish.kernel, wide=True, placeholder="/path/on/the/host/vmlinuz"),
            TextField("initrd", "initrd", wish.initrd, wide=True, placeholder="/path/on/the/host/initrd"),
            TextField("cmdline", "command line", wish.cmdline, wide=True, placeholder="console=ttyS0", max_length=1000),
            TextField("disk", "disk size", wish.disk, max_length=20),
            chosen("pool", "pool", "storage pool of the host"),
            ChoiceField("kind", "kind", wish.kind, KINDS),
        ]
    return [
        chosen("network", "network", "network of fleet.toml, or none"),
        TextField("address", "address", wish.address, max_length=50, placeholder="from DHCP"),
        TextField("mac", "MAC", wish.mac, max_length=20, placeholder="chosen for you"),
        chosen("gpu", "GPU", "PCI slot such as 65:00, a resource, any, or nothing"),
    ]


def visible(wish: GuestWish, key: str) -> bool:
    """Return whether a field means anything for this wish."""
    if key in ("address", "mac") and wish.network == "none":
        return False
    return key not in ONLY or ONLY[key] is wish.boot


def hint(session: Session, wish: GuestWish, key: str) -> str:
    """Return what is worth knowing beside a field, from the host's facts; the chosen option's facts are not in it."""
    if wish.host not in session.store.fleet.hosts:
        return ""
    view = session.store.host(wish.host)
    facts = view.seen.facts
    if key == "vcpus" and facts and facts.cpus:
        return f"of {facts.cpus} CPUs"
    if key == "memory" and facts and facts.memory_kib:
        free = free_memory_kib(view)
        return f"{size(free, 1024)} free of {size(facts.memory_kib, 1024)}" if free is not None else ""
    if key == "address":
        network = session.store.fleet.networks.get(wish.network)
        where = f"in {network.subnet}" if network and network.subnet else "with its prefix length"
        return f"{where}, for the record"
    if key == "disk":
        pool = next((p for p in pools(session, wish.host) if p.name == wish.pool), None)
        free_here = f"{size(pool.available_bytes)} free in {pool.name}" if pool and pool.available_bytes else ""
        if wish.boot in (BootChoice.KERNEL, BootChoice.PXE, BootChoice.ISO):
            return f"{free_here}; empty for no disk" if free_here else "empty for no disk"
        return free_here
    return ""


def choice_hint(field: ChoiceField) -> str:
    """Return the facts of the chosen option in one line."""
    option = field.control.chosen
    if option is None:
        return ""
    return option.refusal or option.note or ", ".join(fact for fact in option.facts if fact and fact != "—")


def host_notice(session: Session, wish: GuestWish) -> str:
    """Return a sentence when the host cannot make the guest now, else an empty string."""
    if wish.host not in session.store.fleet.hosts:
        return ""
    view = session.store.host(wish.host)
    if view.seen.state is HostState.UP:
        return ""
    why = f" ({view.seen.reason.value})" if view.seen.reason.value else ""
    state = "is not up now" if view.seen.facts else "has never reported"
    known = "its last known facts are shown" if view.seen.facts else "pools, networks and cards are typed, on trust"
    return f"{wish.host} {state}{why}: the guest stays pending until it is up and applied; {known}."
