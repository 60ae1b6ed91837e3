"""Reading what a host is. Runs on the connection's thread; what cannot be read is left out and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import libvirt

from console.domain.model import Accel
from console.domain.observed import HostFacts, HostNetwork, PciDevice, StoragePool, Volume
from console.drivers.libvirt.markup import BadXml, clean, number, parse, word

log = logging.getLogger(__name__)

T = TypeVar("T")

DEVICE_LIMIT = 4096
VOLUME_LIMIT = 20_000
"""No host has as many; a hostile one must not fill our memory."""

TEST = "TEST"
"""The type of libvirt's test driver."""


def read_facts(conn: Any) -> HostFacts:
    """Return the host's facts but for devices, pools and networks, which have readers of their own.

    `accel` is TEST, TCG, or None: then KVM is advertised and must be tried, or nothing is known (`accel_note`).
    """
    driver = clean(conn.getType(), 40)
    capabilities = _tried("capabilities", lambda: parse(conn.getCapabilities()))
    info = _tried("node info", conn.getInfo) or [None] * 8
    test = driver == TEST
    accel, note = _accel(driver, capabilities)
    return HostFacts(
        hostname=clean(_tried("host name", conn.getHostname) or "", 255),
        driver=driver,
        libvirt_version=_version(_tried("libvirt's version", conn.getLibVersion)) or "",
        # The test driver says "2", which is nobody's version.
        hypervisor_version=None if test else _version(_tried("hypervisor's version", conn.getVersion)),
        cpu_model=_cpu_model(conn, capabilities, info[0], test=test),
        cpus=info[2],
        memory_kib=_memory_kib(conn, info[1], test=test),
        numa_nodes=_numa_nodes(capabilities, info[4], test=test),
        accel=accel,
        accel_note=note,
        uefi=None if test else _uefi(conn, capabilities),
    )


def _tried(what: str, read: Callable[[], T]) -> T | None:
    """Return read(), or None with a note in the log: one unreadable fact must not cost the others."""
    try:
        return read()
    except BadXml as error:
        log.warning("%s: %s", what, clean(str(error)))
    except libvirt.libvirtError as error:
        # A lost connection is no missing fact: it ends the reading.
        if error.get_error_domain() == libvirt.VIR_FROM_RPC:
            raise
        level = logging.DEBUG if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT else logging.WARNING
        log.log(level, "%s: %s", what, clean(str(error)))
    return None


def _version(value: int | None) -> str | None:
    return None if value is None else f"{value // 1_000_000}.{value // 1000 % 1000}.{value % 1000}"


def host_arch(capabilities: Element | None) -> str | None:
    """Return the host's architecture ("x86_64")."""
    return None if capabilities is None else word(capabilities, "host/cpu/arch")


def _accel(driver: str, capabilities: Element | None) -> tuple[Accel | None, str]:
    if driver == TEST:
        return Accel.TEST, "libvirt's test driver runs nothing"
    if capabilities is None or driver != "QEMU":
        return None, "the host does not say what it can run"
    if capabilities.find("guest/arch/domain[@type='kvm']") is None:
        return Accel.TCG, "the host does not offer KVM"
    return None, ""


def _cpu_model(conn: Any, capabilities: Element | None, fallback: str | None, *, test: bool) -> str | None:
    if not test:
        sysinfo = _tried("system information", lambda: parse(conn.getSysinfo(0)))
        for entry in () if sysinfo is None else sysinfo.findall("processor/entry[@name='version']"):
            if text := clean((entry.text or "").strip(), 120):
                return text
        if capabilities is not None and (model := word(capabilities, "host/cpu/model")):
            return model
    return clean(fallback, 120) if fallback else None


def _memory_kib(conn: Any, info_mib: int | None, *, test: bool) -> int | None:
    if not test:
        stats = _tried("memory", lambda: conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS))
        if stats and "total" in stats:
            return int(stats["total"])
    return None if info_mib is None else info_mib * 1024


def _numa_nodes(capabilities: Element | None, info_nodes: int | None, *, test: bool) -> int | None:
    if not test and capabilities is not None:
        cells = capabilities.find("host/topology/cells")
        if cells is not None and (count := number(cells.get("num"))):
            return count
    return info_nodes


def _uefi(conn: Any, capabilities: Element | None) -> bool | None:
    arch = host_arch(capabilities)
    machine = "q35" if arch == "x86_64" else None
    document = _tried("firmware", lambda: parse(conn.getDomainCapabilities(None, arch, machine, None, 0)))
    if document is None:
        return None
    return any(value.text == "efi" for value in document.findall("os/enum[@name='firmware']/value"))


def read_pci(conn: Any) -> tuple[PciDevice, ...]:
    """Return the host's PCI functions in the order of their addresses."""
    devices = _tried("node devices", lambda: conn.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV))
    found = []
    for device in (devices or ())[:DEVICE_LIMIT]:
        pci = _tried("a node device", lambda device=device: pci_device(parse(device.XMLDesc(0))))  # type: ignore[misc]
        if pci is not None:
            found.append(pci)
    return tuple(sorted(found, key=lambda pci: pci.address))


def pci_device(document: Element) -> PciDevice:
    """Return the device of a node device's XML. Raises BadXml when it has no address or id."""
    capability = document.find("capability[@type='pci']")
    if capability is None:
        raise BadXml("a node device without its PCI part")
    parts = [number(word(capability, tag)) for tag in ("domain", "bus", "slot", "function")]
    vendor, product = capability.find("vendor"), capability.find("product")
    if vendor is None or product is None:
        raise BadXml("a PCI device without ids")
    group = capability.find("iommuGroup")
    members = () if group is None else tuple(_address(member) for member in group.findall("address"))
    numa = capability.find("numa")
    class_code = number(word(capability, "class"))
    return PciDevice(
        address=_format_address(parts),
        vendor_id=_id(vendor),
        device_id=_id(product),
        vendor=clean((vendor.text or "").strip(), 120),
        product=clean((product.text or "").strip(), 120),
        class_code=None if class_code is None else f"0x{class_code & 0xFFFFFF:06x}",
        driver=word(document, "driver/name"),
        iommu_group=None if group is None else number(group.get("number")),
        group_members=members,
        numa_node=None if numa is None else number(numa.get("node")),
    )


def _address(element: Element) -> str:
    return _format_address([number(element.get(name)) for name in ("domain", "bus", "slot", "function")])


def _format_address(parts: list[int | None]) -> str:
    domain, bus, slot, function = parts
    if domain is None or bus is None or slot is None or function is None:
        raise BadXml("a PCI device without an address")
    if not (0 <= domain <= 0xFFFFFFFF and 0 <= bus <= 0xFF and 0 <= slot <= 0x1F and 0 <= function <= 7):
        raise BadXml("a PCI device with an impossible address")
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


def _id(element: Element) -> str:
    value = number(element.get("id"))
    if value is None or not 0 <= value <= 0xFFFF:
        raise BadXml("a PCI device without an id")
    return f"{value:04x}"


def read_pools(conn: Any) -> tuple[StoragePool, ...]:
    """Return the storage pools by name; volumes only of active ones."""
    pools = _tried("storage pools", lambda: conn.listAllStoragePools(0)) or ()
    read = (_tried("a storage pool", lambda pool=pool: _pool(pool)) for pool in pools)  # type: ignore[misc]
    return tuple(sorted((pool for pool in read if pool is not None), key=lambda pool: pool.name))


def _pool(pool: Any) -> StoragePool:
    name = clean(pool.name(), 200)
    active = bool(pool.isActive())
    path = _tried(f"the path of pool {name}", lambda: word(parse(pool.XMLDesc(0)), "target/path"))
    if not active:
        return StoragePool(name=name, active=False, path=path)
    _state, capacity, _allocation, available = pool.info()
    volumes = _tried(f"the volumes of pool {name}", lambda: pool.listAllVolumes(0)) or ()
    read = (
        _tried(f"a volume of pool {name}", lambda volume=volume: _volume(volume))  # type: ignore[misc]
        for volume in volumes[:VOLUME_LIMIT]
    )
    return StoragePool(
        name=name,
        active=True,
        path=path,
        capacity_bytes=capacity,
        available_bytes=available,
        volumes=tuple(sorted((volume for volume in read if volume is not None), key=lambda volume: volume.name)),
    )


def _volume(volume: Any) -> Volume:
    document = parse(volume.XMLDesc(0))
    kind = document.find("target/format")
    return Volume(
        name=clean(volume.name(), 255),
        path=word(document, "target/path") or "",
        capacity_bytes=number(word(document, "capacity")) or 0,
        allocation_bytes=number(word(document, "allocation")) or 0,
        format=None if kind is None else clean(kind.get("type") or "", 40) or None,
    )


def read_networks(conn: Any) -> tuple[HostNetwork, ...]:
    """Return the libvirt networks by name."""
    networks = _tried("networks", lambda: conn.listAllNetworks(0)) or ()
    read = (_tried("a network", lambda net=net: _network(net)) for net in networks)  # type: ignore[misc]
    return tuple(sorted((net for net in read if net is not None), key=lambda net: net.name))


def _network(network: Any) -> HostNetwork:
    bridge = parse(network.XMLDesc(0)).find("bridge")
    return HostNetwork(
        name=clean(network.name(), 200),
        active=bool(network.isActive()),
        bridge=None if bridge is None else clean(bridge.get("name") or "", 60) or None,
    )
