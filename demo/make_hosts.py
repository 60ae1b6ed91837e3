"""Writes demo/fleet/test-driver/HOST.xml: what libvirt's test driver pretends to be, for each demo host.

The guests come from demo/fleet/hosts/HOST.toml, all else from demo/hardware.py. Run it after a change:

    .venv/bin/python -m demo.make_hosts

The result is the same each time; a test holds that the files are up to date.
"""

from __future__ import annotations

import tomllib
import uuid
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from console.domain.model import Fleet, Guest, Host
from console.domain.shape import METADATA_NS
from console.generate.domain_xml import domain_xml, volume_name
from console.inventory.files import read_inventory
from console.inventory.schema import HostTable, host_of
from demo.hardware import BRIDGE, MACHINES, VENDORS, Machine, Pci

FLEET = Path(__file__).resolve().parent / "fleet"
TEST_NS = "http://libvirt.org/schemas/domain/test/1.0"

IMAGES = {
    "debian-13.qcow2": ("qcow2", 3, 3),
    "nixos-25.11.qcow2": ("qcow2", 8, 4),
}  # format, GiB, GiB allocated
ISOS = {"windows-11.iso": ("iso", 6, 6), "debian-13.1.0-amd64-netinst.iso": ("iso", 1, 1)}


def node_device(address: str) -> str:
    """Return libvirt's name of a PCI function: pci_0000_65_00_0."""
    return "pci_" + address.replace(":", "_").replace(".", "_")


def hexes(address: str) -> dict[str, str]:
    """Return the attributes of <address> for "0000:65:00.0"."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}


def fixed_uuid(*words: str) -> str:
    """Return a uuid that is the same each time, for what libvirt would give a random one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "quarterdeck:demo:" + "/".join(words)))


def text(parent: Element, tag: str, value: object, **attributes: str) -> Element:
    """Append <tag attributes>value</tag>."""
    element = SubElement(parent, tag, attributes)
    element.text = str(value)
    return element


def domain(fleet: Fleet, host: Host, guest: Guest, state: int, *, managed: bool) -> Element:
    """Return the <domain> that Quarterdeck defines for a guest, with its run state; a stray one bears no mark of it."""
    root = ElementTree.fromstring(domain_xml(fleet, host, guest))
    if not managed and (metadata := root.find("metadata")) is not None:
        root.remove(metadata)
    text(root, f"{{{TEST_NS}}}runstate", state)
    return root


def pool(host: str, name: str, path: str, volumes: dict[str, tuple[str, int, int]]) -> Element:
    """Return a directory pool with its volumes: name -> (format, GiB, GiB allocated)."""
    root = Element("pool", type="dir")
    text(root, "name", name)
    text(root, "uuid", fixed_uuid(host, "pool", name))
    text(SubElement(root, "target"), "path", path)
    for key, (form, size, allocated) in sorted(volumes.items()):
        volume = SubElement(root, "volume")
        text(volume, "name", key)
        text(volume, "capacity", size, unit="GiB")
        text(volume, "allocation", allocated, unit="GiB")
        target = SubElement(volume, "target")
        text(target, "path", f"{path}/{key}")
        SubElement(target, "format", type=form)
    return root


def networks(host: str, fleet: Fleet) -> list[Element]:
    """Return the fleet's bridges as libvirt networks, and the `default` one that libvirt itself brings."""
    found = []
    for name, network in fleet.networks.items():
        root = Element("network")
        text(root, "name", name)
        text(root, "uuid", fixed_uuid(host, "network", name))
        SubElement(root, "forward", mode="bridge")
        SubElement(root, "bridge", name=network.bridge)
        found.append(root)
    root = Element("network")
    text(root, "name", "default")
    text(root, "uuid", fixed_uuid(host, "network", "default"))
    SubElement(root, "forward", mode="nat")
    SubElement(root, "bridge", name="virbr0", stp="on", delay="0")
    ip = SubElement(root, "ip", address="192.168.122.1", netmask="255.255.255.0")
    SubElement(SubElement(ip, "dhcp"), "range", start="192.168.122.2", end="192.168.122.254")
    return [*found, root]


def interfaces(machine: Machine, fleet: Fleet, mac: str) -> list[Element]:
    """Return the host's own network card and its bridges."""
    card_ = Element("interface", type="ethernet", name=machine.nic)
    SubElement(card_, "start", mode="onboot")
    SubElement(card_, "mac", address=mac)
    found = [card_]
    for network in fleet.networks.values():
        bridge = Element("interface", type="bridge", name=network.bridge)
        SubElement(bridge, "start", mode="onboot")
        SubElement(bridge, "bridge")
        found.append(bridge)
    return found


def computer(host: str) -> Element:
    """Return the root of the node devices. Without <hardware> and its <uuid> libvirt refuses the file."""
    root = Element("device")
    text(root, "name", "computer")
    capability = SubElement(root, "capability", type="system")
    hardware = SubElement(capability, "hardware")
    text(hardware, "vendor", "Quarterdeck")
    text(hardware, "version", "demo")
    text(hardware, "serial", host)
    text(hardware, "uuid", fixed_uuid(host, "hardware"))
    SubElement(capability, "firmware")
    return root


def node_pci(function: Pci, group: list[Pci]) -> Element:
    """Return the node device of a PCI function. group: all functions of its IOMMU group."""
    root = Element("device")
    text(root, "name", node_device(function.address))
    text(root, "parent", node_device(function.parent) if function.parent else "computer")
    capability = SubElement(root, "capability", type="pci")
    text(capability, "class", function.code)
    for tag, number in hexes(function.address).items():
        text(capability, tag, int(number, 16))
    vendor, product = function.ids.split(":")
    text(capability, "product", function.product, id=f"0x{product}")
    text(capability, "vendor", VENDORS[vendor], id=f"0x{vendor}")
    if function.code == BRIDGE:
        SubElement(capability, "capability", type="pci-bridge")
    members = SubElement(capability, "iommuGroup", number=str(function.group))
    for member in group:
        SubElement(members, "address", hexes(member.address))
    if function.numa is not None:
        SubElement(capability, "numa", node=str(function.numa))
    return root


def host_xml(machine: Machine, fleet: Fleet, host: Host) -> str:
    """Return the whole file of one host. `host` has the guests as they are there, not as they are wanted."""
    root = Element("node")
    cpu = SubElement(root, "cpu")
    text(cpu, "mhz", machine.mhz)
    text(cpu, "model", machine.cpu)
    text(cpu, "active", machine.numa_nodes * machine.sockets * machine.cores * 2)
    text(cpu, "nodes", machine.numa_nodes)
    text(cpu, "sockets", machine.sockets)
    text(cpu, "cores", machine.cores)
    text(cpu, "threads", 2)
    text(root, "memory", machine.memory_gib * 1024**2)
    volumes: dict[str, dict[str, tuple[str, int, int]]] = {name: {} for name in fleet.pools}
    volumes["default"] = IMAGES | ISOS
    volumes["fast"] = dict(IMAGES)
    for name, guest in host.guests.items():
        stray = machine.stray.get(name)
        state = stray["state"] if stray else machine.states[name]
        root.append(domain(fleet, host, guest, state, managed=stray is None))
        for disk in guest.disks.values():
            if not disk.is_cdrom:
                volumes[disk.pool][volume_name(guest, disk)] = ("qcow2", disk.size_kib // 1024**2, 2)
    root.extend(networks(host.name, fleet))
    root.extend(interfaces(machine, fleet, host.mac))
    root.extend(pool(host.name, name, entry.path, volumes[name]) for name, entry in fleet.pools.items())
    root.append(computer(host.name))
    root.extend(node_pci(each, [p for p in machine.pci if p.group == each.group]) for each in machine.pci)
    ElementTree.register_namespace("test", TEST_NS)
    ElementTree.register_namespace("qd", METADATA_NS)
    ElementTree.indent(root)
    head = f"<!-- {host.name} as libvirt's test driver has it. Written by demo/make_hosts.py: change that. -->\n"
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_it_is(machine: Machine, fleet: Fleet, name: str) -> Host:
    """Return a host with the guests that are on it: without the pending, drifted ones drifted, strays added."""
    table = tomllib.loads((FLEET / "hosts" / f"{name}.toml").read_text(encoding="utf-8"))
    guests = {key: table["guests"][key] | machine.drift.get(key, {}) for key in machine.states}
    strays = {key: {k: v for k, v in stray.items() if k != "state"} for key, stray in machine.stray.items()}
    return host_of(name, HostTable.model_validate(table | {"guests": guests | strays}), fleet)


def files() -> dict[Path, str]:
    """Return path -> content of every file that this script writes."""
    fleet = read_inventory(FLEET).fleet
    return {
        FLEET / "test-driver" / f"{name}.xml": host_xml(machine, fleet, as_it_is(machine, fleet, name))
        for name, machine in MACHINES.items()
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
