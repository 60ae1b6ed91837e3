"""What the hosts report, each fact with the time it was seen. None always means "not reported", never zero.

These types travel between the libvirt process and the console as they are (msgspec encodes dataclasses).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from console.domain.model import Accel


class HostState(StrEnum):
    """Where the connection to a host stands."""

    UNKNOWN = "unknown"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class DownReason(StrEnum):
    """Why a host is down, in one word for the list; HostObservation.error has the sentence."""

    NONE = ""
    SILENT = "silent"
    REFUSED = "refused"
    HOST_KEY = "wrong key"
    LOGIN = "login refused"
    UNPINNED = "no key"
    FAILED = "failed"


class GuestState(StrEnum):
    """What libvirt says a domain is doing."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    OFF = "off"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting down"
    CRASHED = "crashed"
    SUSPENDED = "suspended"


class AddressSource(StrEnum):
    """Who knows a guest's address."""

    LEASE = "lease"
    AGENT = "agent"
    INVENTORY = "inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice:
    """One PCI function of a host. address "0000:65:00.0"; class_code "0x030000" or None."""

    address: str
    vendor_id: str
    device_id: str
    vendor: str = ""
    product: str = ""
    class_code: str | None = None
    driver: str | None = None
    iommu_group: int | None = None
    group_members: tuple[str, ...] = ()
    numa_node: int | None = None

    @property
    def slot(self) -> str:
        """The slot without the function ("0000:65:00")."""
        return self.address.rpartition(".")[0]

    @property
    def function(self) -> int:
        """The function's number, 0 to 7."""
        return int(self.address.rpartition(".")[2])

    @property
    def pci_id(self) -> str:
        """vendor:device ("10de:2206")."""
        return f"{self.vendor_id}:{self.device_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume of a pool. format such as "qcow2", "raw", "iso"; None when not reported."""

    name: str
    path: str
    capacity_bytes: int
    allocation_bytes: int
    format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePool:
    """One storage pool of a host; volumes of an inactive pool are not known."""

    name: str
    active: bool
    path: str | None = None
    capacity_bytes: int | None = None
    available_bytes: int | None = None
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """One libvirt network of a host."""

    name: str
    active: bool
    bridge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host is: read when the connection opens and when it changes."""

    hostname: str
    driver: str
    libvirt_version: str
    hypervisor_version: str | None = None
    cpu_model: str | None = None
    cpus: int | None = None
    memory_kib: int | None = None
    numa_nodes: int | None = None
    accel: Accel | None = None
    accel_note: str = ""
    uefi: bool | None = None
    pci: tuple[PciDevice, ...] = ()
    pools: tuple[StoragePool, ...] = ()
    networks: tuple[HostNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSample:
    """Live figures of one guest. cpu_percent is of its own vCPUs (0 to 100); rates are bytes a second."""

    at: datetime
    cpu_percent: float | None = None
    memory_used_kib: int | None = None
    disk_read_bps: float | None = None
    disk_write_bps: float | None = None
    net_rx_bps: float | None = None
    net_tx_bps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """Live figures of one host. cpu_percent is of all its CPUs; disk and network are the sum of its guests."""

    at: datetime
    cpu_percent: float | None = None
    memory_used_kib: int | None = None
    disk_bps: float | None = None
    net_bps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAddress:
    """One address of a guest and who knows it."""

    address: str
    source: AddressSource


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestObservation:
    """One domain as a host reports it.

    shape: the persistent definition in comparable form (console.domain.shape.shape_of), what the next boot uses.
    active_shape: the same of the running domain, None when it is off.
    inventory_id, digest: Quarterdeck's own metadata, None when the domain carries none.
    cpu_history: recent cpu_percent values, oldest first (None = not reported).
    answers: False while its host's libvirt has been waiting for its QEMU process for seconds.
    pci: functions ("0000:65:00.0") that the definition passes through.
    """

    uuid: str
    name: str
    state: GuestState
    persistent: bool = True
    autostart: bool | None = None
    vcpus: int | None = None
    memory_kib: int | None = None
    shape: dict[str, str] = field(default_factory=dict)
    active_shape: dict[str, str] | None = None
    inventory_id: str | None = None
    digest: str | None = None
    pci: tuple[str, ...] = ()
    addresses: tuple[GuestAddress, ...] = ()
    answers: bool = True
    sample: GuestSample | None = None
    cpu_history: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostObservation:
    """Everything known about one host. After it went down, facts and guests stay as they were last seen.

    seen_at: when it last answered, None when it never did. retry_at: when the next try is due, while down.
    offered_key: the fingerprint of the SSH key that it showed instead of the pinned one, while that is why it is down.
    """

    name: str
    state: HostState = HostState.UNKNOWN
    reason: DownReason = DownReason.NONE
    error: str = ""
    offered_key: str = ""
    seen_at: datetime | None = None
    retry_at: datetime | None = None
    facts: HostFacts | None = None
    guests: tuple[GuestObservation, ...] = ()
    sample: HostSample | None = None
    cpu_history: tuple[float | None, ...] = ()
