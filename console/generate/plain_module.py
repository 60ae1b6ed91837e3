"""A host as one NixOS module that needs neither the library nor the inventory: for whoever wants to leave.

It says in NixOS's own options what nix/modules/ makes of a host's data, and evaluates to the same settings. What the
library does by programs of its own (defining guests on a new machine, netboot, the console as a service) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from console.domain.model import Device, Fleet, Host, Network
from console.domain.values import is_inside
from console.generate.domain_xml import domain_xml
from console.generate.nix import own_fleet
from console.generate.nix_value import Value, nix_value

HEAD = """\
# {name} as one plain NixOS module, printed by Quarterdeck. It needs nothing of Quarterdeck's: import it in a
# configuration of your own, together with machines/{name}.nix where you have one; what that says of `fleet.*` and
# `services.quarterdeck.*` is to be taken out.
#
# Its guests stay as libvirt has them. A machine that is installed anew has their files, and is told of them once:
#   for file in /etc/fleet/networks/*.xml; do virsh net-define "$file"; done
#   for file in /etc/fleet/pools/*.xml; do virsh pool-define "$file"; done
#   for file in /etc/fleet/guests/*.xml; do virsh define "$file"; done
# then `virsh net-autostart`, `net-start`, `pool-autostart` and `pool-start` for each of their names{starts}
#
{disk}
"""

LAID_OUT = """\
# The file systems are those of the disk layout that Quarterdeck's library makes. Where the disk was laid out
# otherwise, put yours in their place."""

NO_DISK = """\
# It has no file systems: import the machine's hardware-configuration.nix, which nixos-generate-config writes."""

NO_PARTS = """
#
# Its cards' virtual functions, vGPU types and mediated devices are not made at boot: fleet-parts.service did that."""

BOOT_MODULES = (
    "ahci",
    "nvme",
    "sd_mod",
    "usb_storage",
    "usbhid",
    "virtio_blk",
    "virtio_pci",
    "virtio_scsi",
    "xhci_pci",
)
SERVER_MODULES = ("megaraid_sas", "mpt3sas")
X86 = "x86_64-linux"

BIND = """\
# Held for guests before a driver of the host takes them. With boot.initrd.systemd make a service of the initrd of it.
bind() {
  device=/sys/bus/pci/devices/$1
  [ -e "$device" ] || return 0
  read -r vendor <"$device/vendor"
  read -r model <"$device/device"
  [ "${vendor#0x}:${model#0x}" = "$2" ] || return 0
  echo vfio-pci >"$device/driver_override"
  if [ -e "$device/driver" ]; then echo "$1" >"$device/driver/unbind"; fi
  echo "$1" >/sys/bus/pci/drivers_probe
}
"""


def plain_module(fleet: Fleet, host: Host) -> str:
    """Return the text of the module. Raises FleetError for a guest that cannot be defined."""
    starts = [f"\n#   virsh autostart {guest.name}" for guest in host.guests.values() if guest.autostart]
    head = HEAD.format(
        name=host.name,
        starts=f", and{''.join(starts)}" if starts else ".",
        disk=(LAID_OUT if host.disk else NO_DISK) + (NO_PARTS if _has_parts(host) else ""),
    )
    return f"{head}{{ ... }}:\n\n{nix_value(_settings(own_fleet(fleet, host), fleet, host))}\n"


def _settings(own: Fleet, fleet: Fleet, host: Host) -> dict[str, Value]:
    name, _, domain = host.name.partition(".")
    networking: dict[str, Value] = {
        "hostName": name,
        "useNetworkd": True,
        "useDHCP": False,
        "firewall": {"enable": True, "allowedTCPPorts": [22]},
    }
    if domain:
        networking["domain"] = domain
    settings: dict[str, Value] = {
        "networking": networking,
        "nixpkgs": {"hostPlatform": host.system},
        "system": {"stateVersion": host.state_version or fleet.state_version},
        "services": {
            **({"xserver": {"videoDrivers": ["nvidia"]}} if _has_container_gpu(host) else {}),
            "openssh": {
                "enable": True,
                "openFirewall": False,
                "settings": {
                    "PermitRootLogin": "prohibit-password",
                    "PasswordAuthentication": False,
                    "KbdInteractiveAuthentication": False,
                },
            },
        },
        "users": {"mutableUsers": False, "users": _accounts(own)},
        "virtualisation": {
            "libvirtd": {
                "enable": True,
                "qemu": {"swtpm": {"enable": True}},
                "onBoot": "ignore",
                "onShutdown": "shutdown",
            }
        },
        "hardware": _hardware(host),
        "boot": _boot(host),
        "systemd": {"network": {"enable": True, **_links(own, host)}},
        "environment": {"etc": {f"fleet/{path}": {"text": text} for path, text in _files(fleet, host)}},
    }
    if host.disk:
        settings["fileSystems"] = {
            "/": {"device": "/dev/disk/by-partlabel/disk-main-root", "fsType": "ext4"},
            "/boot": {
                "device": "/dev/disk/by-partlabel/disk-main-ESP",
                "fsType": "vfat",
                "options": ["umask=0077"],
            },
        }
    return settings


def _accounts(own: Fleet) -> dict[str, Value]:
    users: dict[str, Value] = {
        name: {
            "isNormalUser": True,
            "extraGroups": ["libvirtd"] if user.role == "operator" else [],
            "openssh": {"authorizedKeys": {"keys": user.keys}},
        }
        for name, user in sorted(own.users.items())
        if name != "root"
    }
    keys = [key for _, user in sorted(own.users.items()) if user.role == "operator" for key in user.keys]
    users["root"] = {"hashedPassword": "!", "openssh": {"authorizedKeys": {"keys": keys}}}
    return users


def _vendor(host: Host) -> str | None:
    cpu = host.hardware.cpu or ""
    return "intel" if "Intel" in cpu else "amd" if "AMD" in cpu else None


def _hardware(host: Host) -> dict[str, Value]:
    found: dict[str, Value] = {"enableRedistributableFirmware": True}
    vendor = _vendor(host)
    if vendor is not None:
        found["cpu"] = {vendor: {"updateMicrocode": True}}
    if _has_container_gpu(host):
        found |= {"nvidia-container-toolkit": {"enable": True}, "graphics": {"enable": True}}
    return found


def _has_container_gpu(host: Host) -> bool:
    nvidia = (device for device in host.own.values() if any(known.startswith("10de:") for known in device.functions))
    return any(device.containers for device in nvidia)


def _has_parts(host: Host) -> bool:
    return bool(host.sriov) or any(
        device.is_part for guest in host.guests.values() for device in guest.devices.values()
    )


def _boot(host: Host) -> dict[str, Value]:
    ids, functions = _held(host)
    x86 = host.system == X86
    params = ["intel_iommu=on"] if x86 and _vendor(host) != "amd" else []
    params += ["iommu=pt"] if x86 else []
    params += [f"vfio-pci.ids={','.join(ids)}"] if ids else []
    initrd: dict[str, Value] = {"availableKernelModules": [*BOOT_MODULES, *(SERVER_MODULES if x86 else ())]}
    if ids or functions:
        initrd["kernelModules"] = ["vfio_pci", "vfio_iommu_type1"]
    if functions:
        initrd["preDeviceCommands"] = BIND + "".join(f"bind {address} {known}\n" for address, known in functions)
    return {
        "loader": {"systemd-boot": {"enable": True}, "efi": {"canTouchEfiVariables": True}},
        "kernelParams": params,
        "initrd": initrd,
    }


def _held(host: Host) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what is held for guests: ids that no other card of the host has; (address, id) of all other functions."""
    own = {device.pci for device in host.own.values()}
    wanted: dict[str, Device] = {
        device.pci: device
        for guest in host.guests.values()
        for device in guest.devices.values()
        if device.is_picked and not device.is_part and not device.virtual_of and device.pci not in own
    }
    report = host.hardware.pci
    others = {each for slot, found in (report or {}).items() if slot not in wanted for each in found}
    ids: dict[str, None] = {}
    functions: list[tuple[str, str]] = []
    for slot, device in sorted(wanted.items()):
        if report is not None and others.isdisjoint(device.functions):
            ids.update(dict.fromkeys(device.functions))
            continue
        numbers = device.function_numbers or range(len(device.functions))
        functions += [(f"{slot}.{number}", known) for number, known in zip(numbers, device.functions, strict=True)]
    return list(ids), functions


def _links(own: Fleet, host: Host) -> dict[str, Value]:
    """Return the bridges, their VLANs and the cards that carry them, known by the cards' own addresses."""
    networks = dict(sorted(own.networks.items()))
    address = host.address.partition("/")[0]
    home = next((name for name, net in networks.items() if net.subnet and is_inside(address, net.subnet)), None)

    def card(net: Network) -> str | None:
        return host.uplinks.get(net.name) or (host.mac if net.name == home or net.vlan is not None else None)

    netdevs: dict[str, Value] = {}
    links: dict[str, Value] = {}
    carried: dict[str, list[Network]] = {}
    for net in networks.values():
        mac = card(net)
        bridge: dict[str, Value] = {"Kind": "bridge", "Name": net.bridge}
        if mac is not None:
            carried.setdefault(mac, []).append(net)
            if net.vlan is None:
                bridge["MACAddress"] = mac
            else:
                vlan = f"vlan{net.vlan}"
                netdevs[f"15-{vlan}"] = {
                    "netdevConfig": {"Kind": "vlan", "Name": vlan},
                    "vlanConfig": {"Id": net.vlan},
                }
                links[f"15-{vlan}"] = {
                    "matchConfig": {"Name": vlan},
                    "networkConfig": {"LinkLocalAddressing": "no", "Bridge": net.bridge},
                    "linkConfig": {"RequiredForOnline": "no"},
                }
        netdevs[f"20-{net.bridge}"] = {
            "netdevConfig": bridge,
            "bridgeConfig": {"STP": False, "ForwardDelaySec": 0},
        }
        links[f"20-{net.bridge}"] = _bridge(net, host) if net.name == home else _bridge_without_address(net)
    for mac, nets in carried.items():
        links[f"10-card-{mac.replace(':', '')}"] = _card(mac, nets)
    return {"netdevs": netdevs, "networks": links}


def _card(mac: str, nets: list[Network]) -> Value:
    untagged = [net.bridge for net in nets if net.vlan is None]
    return {
        "matchConfig": {"PermanentMACAddress": mac},
        "networkConfig": {"LinkLocalAddressing": "no", **({"Bridge": untagged[0]} if untagged else {})},
        "vlan": [f"vlan{net.vlan}" for net in nets if net.vlan is not None],
        "linkConfig": {"RequiredForOnline": "enslaved" if untagged else "carrier"},
    }


def _bridge(net: Network, host: Host) -> Value:
    return {
        "matchConfig": {"Name": net.bridge},
        "networkConfig": {"IPv6AcceptRA": False},
        "linkConfig": {"RequiredForOnline": "routable"},
        "address": [host.address],
        "gateway": [net.gateway] if net.gateway else [],
        "dns": net.dns,
    }


def _bridge_without_address(net: Network) -> Value:
    return {
        "matchConfig": {"Name": net.bridge},
        "networkConfig": {"LinkLocalAddressing": "no", "IPv6AcceptRA": False, "ConfigureWithoutCarrier": True},
        "linkConfig": {"RequiredForOnline": "no"},
    }


def _files(fleet: Fleet, host: Host) -> Iterator[tuple[str, str]]:
    """Yield what libvirt is told on a new machine: path below /etc/fleet -> XML."""
    for name, net in fleet.networks.items():
        yield (
            f"networks/{name}.xml",
            f'<network>\n  <name>{escape(name)}</name>\n  <forward mode="bridge"/>\n'
            f'  <bridge name="{escape(net.bridge)}"/>\n</network>\n',
        )
    for name, pool in fleet.pools.items():
        yield (
            f"pools/{name}.xml",
            f'<pool type="dir">\n  <name>{escape(name)}</name>\n  <target>\n'
            f"    <path>{escape(pool.path)}</path>\n  </target>\n</pool>\n",
        )
    for name, guest in host.guests.items():
        if not guest.is_whole:
            continue
        yield f"guests/{name}.xml", domain_xml(fleet, host, guest)
