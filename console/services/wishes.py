"""What an operator typed for a guest or a host, as text: the same for the form and for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BootChoice(StrEnum):
    """Where a new guest's first boot comes from."""

    IMAGE = "image"
    ISO = "iso"
    KERNEL = "kernel"
    PXE = "pxe"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWish:
    """A guest as typed. Empty text means "not given": a default where there is one, else nothing.

    disk: size of the boot disk ("80 GiB"), empty for none. pool, network: empty for the host's first active one.
    address: "10.0.0.51" (the network's prefix length is added) or "10.0.0.51/24". gpu: "", "any", a PCI slot
    or the name of a resource. accept: names of the preflight's rules whose warnings may stay; "none" for no more.
    image: a volume of the pool; image_mode: "overlay" or "copy". iso: a volume or an absolute path on the host.
    kernel, initrd: absolute paths on the host. cpus ("16-23"), numa ("1"), hugepages ("1 GiB"): of the host; "none" for
    no longer. profile: "generic" or "windows"; drivers: the ISO of Windows' drivers, a
    volume or a path, empty for what a pool has. kind: "plain" or "nixos", which is a machine of the flake.
    """

    host: str
    name: str = ""
    kind: str = "plain"
    vcpus: str = "2"
    memory: str = "2 GiB"
    disk: str = ""
    pool: str = ""
    network: str = ""
    address: str = ""
    mac: str = ""
    gpu: str = ""
    accept: str = ""
    boot: BootChoice = BootChoice.EMPTY
    image: str = ""
    image_mode: str = "overlay"
    iso: str = ""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    cpus: str = ""
    numa: str = ""
    hugepages: str = ""
    profile: str = "generic"
    drivers: str = ""
    firmware: str = "bios"
    display: str = "none"
    autostart: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWish:
    """A host as typed. uri: empty for qemu+ssh://root@ADDRESS/system. labels: separated by commas or spaces.

    disk: where NixOS is installed ("/dev/disk/by-id/..."), empty for nowhere. netboot: "installer", or an entry of
    fleet.toml; empty for its own disk.
    """

    name: str = ""
    mac: str = ""
    address: str = ""
    uri: str = ""
    labels: str = ""
    ssh_host_key: str = ""
    disk: str = ""
    netboot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserWish:
    """A person with access as typed. keys: public SSH keys, one a line or separated by commas. labels: as of a host,
    none for all hosts."""

    name: str = ""
    keys: str = ""
    role: str = "viewer"
    labels: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepWish:
    """A slot that a host is to keep for itself, as typed. name: of the device, "" for as it is, else a free one.

    containers: the host's containers may use it; None for as it is.
    """

    host: str
    slot: str
    name: str = ""
    containers: bool | None = None


class PowerAction(StrEnum):
    """What can be done to a guest's power."""

    START = "start"
    SHUTDOWN = "shutdown"
    FORCE_OFF = "force-off"
    REBOOT = "reboot"
    RESET = "reset"
    SUSPEND = "suspend"
    RESUME = "resume"

    @property
    def words(self) -> str:
        """What it is called in sentences and on keys: "shut down", "force off"."""
        return "shut down" if self is PowerAction.SHUTDOWN else self.value.replace("-", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuChoice:
    """One card of a host, for the form.

    slot: "0000:65:00". title: "NVIDIA GA102 [GeForce RTX 3080]". functions: ("10de:2206", ...) by function number.
    driver: of the host, empty when none is bound, None when not reported.
    owner: the guest that has it ("vhost-a/trainer"), None when free. refusal: why it cannot be chosen, empty when
    it can.
    """

    slot: str
    title: str
    functions: tuple[str, ...]
    function_numbers: tuple[int, ...]
    iommu_group: int | None
    numa_node: int | None
    driver: str | None
    owner: str | None
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """An SSH host key as a host offers it, and its fingerprint as ssh shows it ("SHA256:...")."""

    key: str
    fingerprint: str
