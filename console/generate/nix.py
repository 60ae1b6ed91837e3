"""The inventory as Nix data: one file for each machine, with nothing in it that is another machine's.

Data only. All logic is in the hand-written library that imports it; a change of one host leaves the files of all
others as they are, so that it rebuilds nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, Host, Kind, Netboot, Ssh
from console.domain.values import NAME
from console.generate.domain_xml import disk_source, domain_xml
from console.generate.header import digest, with_head
from console.generate.nix_value import Value, nix_value, quoted

FOLDER = "generated"
"""The folder of the generated files; it is the console's alone."""

FORMAT = b"4"
"""Counts how often the same inventory was given other files. It is part of what a file says it was made from."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine that has a generated file. guest: None for a host."""

    fleet: Fleet
    host: Host
    guest: Guest | None = None

    @property
    def name(self) -> str:
        """The machine's name, the only one in the fleet."""
        return self.guest.name if self.guest else self.host.name

    @property
    def path(self) -> str:
        """Its file in the inventory."""
        return f"{FOLDER}/{self.name}.nix"

    def source(self) -> str:
        """Return the digest of all that the file is made from: equal for equal files, and far cheaper than one."""
        own = own_fleet(self.fleet, self.host, self.guest)
        host = replace(self.host, guests={}) if self.guest else self.host
        served = _netboot(self.fleet) if not self.guest and self.fleet.netboot.server == self.host.name else None
        return digest(FORMAT, *map(msgspec.json.encode, (own, host, self.guest, served)))

    def body(self) -> str:
        """Return its data as Nix. Raises FleetError for what cannot be defined or written."""
        data = guest_data(self.fleet, self.host, self.guest) if self.guest else machine_data(self.fleet, self.host)
        return nix_value(data) + "\n"

    def text(self) -> str:
        """Return the whole file."""
        return with_head(self.name, self.host.name, self.source(), self.body())


def machines(fleet: Fleet) -> dict[str, Machine]:
    """Return every machine of a fleet by the path of its file, sorted. Raises FleetError for two of one name."""
    found: dict[str, Machine] = {}
    for host in fleet.hosts.values():
        for machine in machines_of(fleet, host):
            if machine.path in found:
                raise FleetError(
                    f"{machine.path} cannot be written.",
                    f"Two machines have its name: on {found[machine.path].host.name} and on {host.name}.",
                    "Rename one: a host or a NixOS guest.",
                )
            found[machine.path] = machine
    return dict(sorted(found.items()))


def machines_of(fleet: Fleet, host: Host) -> Iterator[Machine]:
    """Yield a host and the NixOS guests whose home it is."""
    for name in (host.name, *(guest.name for guest in host.guests.values() if guest.kind is Kind.NIXOS)):
        if not NAME.match(name):
            raise FleetError(f"{name!r} cannot be written.", "It is not a machine's name.")
    yield Machine(fleet, host)
    for guest in host.guests.values():
        if guest.kind is Kind.NIXOS:
            yield Machine(fleet, host, guest)


def generated_files(fleet: Fleet) -> dict[str, str]:
    """Return every generated file of a fleet: path in the inventory -> text, sorted by path."""
    return {path: machine.text() for path, machine in machines(fleet).items()}


def machine_files(fleet: Fleet, host_name: str) -> dict[str, str]:
    """Return the generated files of one host and of the NixOS guests whose home it is: path -> text."""
    return {machine.path: machine.text() for machine in machines_of(fleet, fleet.hosts[host_name])}


def machine_data(fleet: Fleet, host: Host) -> dict[str, Value]:
    """Return what a host's configuration needs, all under `fleet`, as JSON could say it.

    The shape is that of the options in nix/options.nix. Sizes are in KiB. `guests` has each guest with the XML of
    its domain: what a fresh host defines it from. `netboot` is there on the host that serves it.
    Raises FleetError for a guest that cannot be defined, and for two disks that would be one volume.
    """
    _check_volumes(fleet, host)
    served: dict[str, Value] = {"netboot": _netboot(fleet)} if fleet.netboot.server == host.name else {}
    return {
        "fleet": {
            **_surroundings(own_fleet(fleet, host)),
            **served,
            "system": host.system,
            "kind": "host",
            "machine": host.name,
            "host": {
                "mac": host.mac,
                "address": host.address,
                "accel": host.accel.value if host.accel else None,
                "labels": host.labels,
                "sshHostKey": host.ssh_host_key,
                "disk": host.disk,
                "uplinks": host.uplinks,
                "own": {
                    name: {"pci": device.pci, "functions": device.functions, "containers": device.containers}
                    for name, device in host.own.items()
                },
                "sriov": host.sriov,
                "hardware": {
                    "cpu": host.hardware.cpu,
                    "memoryKib": host.hardware.memory_kib,
                    "pci": host.hardware.pci,
                },
            },
            "stateVersion": host.state_version or fleet.state_version,
            "guests": {
                name: {**_guest(fleet, guest), "xml": domain_xml(fleet, host, guest) if guest.is_whole else None}
                for name, guest in host.guests.items()
            },
        }
    }


def guest_data(fleet: Fleet, host: Host, guest: Guest) -> dict[str, Value]:
    """Return what a NixOS guest's own configuration needs, all under `fleet`."""
    return {
        "fleet": {
            **_surroundings(own_fleet(fleet, host, guest)),
            "system": host.system,
            "kind": "guest",
            "machine": guest.name,
            "guest": {"host": host.name, **_guest(fleet, guest)},
            "stateVersion": guest.state_version or fleet.state_version,
        }
    }


def flake_nix(fleet: Fleet) -> str:
    """Return the flake that is written once, with a new inventory; from then on it is the user's."""
    return FLAKE.replace("DESCRIPTION", quoted(f"{fleet.name}: a fleet of NixOS hypervisors"))


def _check_volumes(fleet: Fleet, host: Host) -> None:
    """Refuse guests that would write to one file: disk b of web-a and disk a-b of web are both web-a-b.qcow2."""
    owners: dict[str, str] = {}
    for guest in host.guests.values():
        for disk in guest.disks.values():
            if disk.is_cdrom:
                continue
            path, owner = disk_source(fleet, guest, disk), f"disk {disk.name} of {guest.name}"
            if path in owners:
                raise FleetError(
                    f"{path} would be the disk of two guests on {host.name}.",
                    f"It is both {owners[path]} and {owner}.",
                    "Rename one of the disks, or keep it in another pool.",
                )
            owners[path] = owner


def own_fleet(fleet: Fleet, host: Host, guest: Guest | None = None) -> Fleet:
    """Return of a fleet what is one machine's own: no host, and the users who may use this one.

    A host has every network and pool, ready for its next guest; a NixOS guest those that it is on.
    """
    users = {name: user for name, user in fleet.users.items() if not user.labels or set(user.labels) & set(host.labels)}
    networks, pools = fleet.networks, fleet.pools
    if guest is not None:
        on = {nic.network for nic in guest.nics.values()}
        holding = {disk.pool for disk in guest.disks.values()}
        networks = {name: network for name, network in networks.items() if name in on}
        pools = {name: pool for name, pool in pools.items() if name in holding}
    return replace(
        fleet, ssh=Ssh(), netboot=Netboot(), users=users, networks=networks, pools=pools, resources={}, hosts={}
    )


def _netboot(fleet: Fleet) -> dict[str, Value]:
    """Return what the host that serves netboot adds to the data of all hosts: the entries, and who boots which."""
    machines: dict[str, Value] = {}
    for host in fleet.hosts.values():
        if host.netboot:
            machines[host.name] = {"mac": host.mac, "address": host.address, "entry": host.netboot}
        for guest in host.guests.values():
            card = next((nic for nic in guest.nics.values() if nic.address), None)
            if guest.netboot and card is not None:
                machines[f"{host.name}/{guest.name}"] = {
                    "mac": card.mac,
                    "address": card.address,
                    "entry": guest.netboot,
                }
    return {
        "enable": True,
        **({"network": fleet.netboot.network} if fleet.netboot.network else {}),
        "machines": machines,
        "entries": {
            name: {
                "kernel": entry.kernel,
                "kernelHash": entry.kernel_hash,
                "initrd": entry.initrd,
                "initrdHash": entry.initrd_hash,
                "cmdline": entry.cmdline,
            }
            for name, entry in fleet.netboot.entries.items()
        },
    }


def _surroundings(fleet: Fleet) -> dict[str, Value]:
    """Return what a machine has from fleet.toml."""
    return {
        "name": fleet.name,
        "id": fleet.id,
        "networks": {
            name: {
                "bridge": network.bridge,
                "subnet": network.subnet,
                "gateway": network.gateway,
                "dns": network.dns,
                "vlan": network.vlan,
            }
            for name, network in fleet.networks.items()
        },
        "pools": {name: {"path": pool.path} for name, pool in fleet.pools.items()},
        "users": {name: {"keys": user.keys, "role": user.role} for name, user in fleet.users.items()},
    }


def _guest(fleet: Fleet, guest: Guest) -> dict[str, Value]:
    kernel: Value = None
    if guest.kernel is not None:
        kernel = {"path": guest.kernel.path, "initrd": guest.kernel.initrd, "cmdline": guest.kernel.cmdline}
    return {
        "name": guest.name,
        "uuid": guest.uuid,
        "kind": guest.kind.value,
        "vcpus": guest.vcpus,
        "memoryKib": guest.memory_kib,
        "machine": guest.machine,
        "firmware": guest.firmware.value,
        "display": guest.display.value,
        "autostart": guest.autostart,
        "description": guest.description,
        "labels": guest.labels,
        "boot": guest.boot,
        "kernel": kernel,
        "disks": {
            name: {
                "sizeKib": disk.size_kib,
                "pool": disk.pool,
                "target": disk.target,
                "path": disk_source(fleet, guest, disk),
                "source": {
                    "kind": disk.source.kind.value,
                    "value": disk.source.value,
                    "mode": disk.source.mode.value,
                },
            }
            for name, disk in guest.disks.items()
        },
        "nics": {
            name: {
                "network": nic.network,
                "mac": nic.mac,
                "address": nic.address,
                **({} if nic.default_route else {"defaultRoute": False}),
            }
            for name, nic in guest.nics.items()
        },
        "devices": {
            name: {
                "pci": device.pci,
                "functions": device.functions,
                "functionNumbers": device.function_numbers,
                "gpu": device.gpu,
                "part": device.is_part,
                "virtualOf": device.virtual_of or None,
                "mdev": device.mdev or None,
                "mdevUuid": device.mdev_uuid or None,
                "vgpu": device.vgpu,
            }
            for name, device in guest.devices.items()
            if device.is_picked
        },
        "stateVersion": guest.state_version,
    }


FLAKE = """\
# Written once by Quarterdeck; from now on it is yours. The console writes only to generated/.
{
  description = DESCRIPTION;

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    # Where you have Quarterdeck from: "path:/srv/quarterdeck" will do too.
    quarterdeck.url = "github:quarterdeck/quarterdeck";
    quarterdeck.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { quarterdeck, ... }:
    {
      # nixosConfigurations: one for each file of generated/, with machines/<machine>.nix where you have written one.
      # fleet: what Quarterdeck knows of each machine. packages: the installer's images.
      inherit (quarterdeck.lib.mkFleet { inventory = ./.; }) fleet nixosConfigurations packages;
    };
}
"""
