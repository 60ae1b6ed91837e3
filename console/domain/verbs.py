"""What can be asked of a hypervisor: one frozen value per libvirt write, so that a plan is data.

A verb travels to the libvirt process as it is; `undo` of a step is simply another verb. Domains are named by
uuid, so that a renamed or re-created domain is never hit by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Define:
    """Define the domain of this XML, or replace its persistent definition.

    validate: refuse what the host's own schema does not know, which libvirt else passes over.
    """

    xml: str
    validate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefine:
    """Forget an inactive domain, with its NVRAM and managed save. Its disks stay."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Boot a defined domain."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Ask the guest to shut down; returns once asked."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceOff:
    """Cut the guest's power. True afterwards: it is off."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """Ask the guest to reboot; returns once asked."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Press the guest's reset button."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Pause the guest's CPUs."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Let a paused guest go on."""

    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAutostart:
    """Start the guest with its host, or not."""

    uuid: str
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMemory:
    """Give a running guest this much memory by its balloon, now (at most its defined memory)."""

    uuid: str
    memory_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDevice:
    """Plug the device of this XML into a running guest, now; the persistent definition stays as it is."""

    uuid: str
    xml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachDevice:
    """Unplug the device of this XML from a running guest, now; the persistent definition stays as it is."""

    uuid: str
    xml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    """Create a volume of a pool. True afterwards: it did not exist before and exists now.

    format: "qcow2" or "raw". backing: the volume of the same pool that a qcow2 overlay is backed by.
    copy_of: the volume of the same pool whose content is copied. Neither: empty.
    """

    pool: str
    name: str
    capacity_bytes: int
    format: str = "qcow2"
    backing: str | None = None
    copy_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume:
    """Delete a volume of a pool, with its data."""

    pool: str
    name: str


Verb = (
    Define
    | Undefine
    | Start
    | Shutdown
    | ForceOff
    | Reboot
    | Reset
    | Suspend
    | Resume
    | SetAutostart
    | SetMemory
    | AttachDevice
    | DetachDevice
    | CreateVolume
    | DeleteVolume
)
"""Everything that changes something on a host."""
