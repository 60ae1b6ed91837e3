"""The inventory as Nix data: one file for each machine, with nothing in it that is another machine's.

Data only. All logic is in the hand-written library that imports it; a change of one host leaves the files of all
others as they are, so that it rebuilds nothing else.
"""

from __future__ import annotations

import hashlib

from console.domain.errors import FleetError
from console.domain.model import Fleet, Guest, Host, Kind
from console.domain.values import NAME
from console.generate.domain_xml import disk_source, domain_xml
from console.generate.nix_value import Value, nix_value, quoted

FOLDER = "generated"
"""The folder of the generated files; it is the console's alone."""


def generated_files(fleet: Fleet) -> dict[str, str]:
    """Return every generated file of a fleet: path in the inventory -> text, sorted by path."""
    files: dict[str, str] = {}
    for name in fleet.hosts:
        for path, text in machine_files(fleet, name).items():
            if path in files:
                raise FleetError(
                    f"{path} cannot be written.", "Two machines have its name.", "Rename one: a host or a NixOS guest."
                )
            files[path] = text
    return dict(sorted(files.items()))


def machine_files(fleet: Fleet, host_name: str) -> dict[str, str]:
    """Return the generated files of one host and of the NixOS guests whose home it is: path -> text."""
    host = fleet.hosts[host_name]
    guests = [guest for guest in host.guests.values() if guest.kind is Kind.NIXOS]
    texts = {host.name: _file(host, host.name, machine_data(fleet, host))}
    for guest in guests:
        texts[guest.name] = _file(host, guest.name, guest_data(fleet, host, guest))
    if len(texts) <= len(guests):
        raise FleetError(
            f"The machines of {host.name} cannot be written.",
            "Two of them have one name.",
            "Rename one: a host or a NixOS guest.",
        )
    return {f"{FOLDER}/{name}.nix": text for name, text in sorted(texts.items())}


def machine_file(fleet: Fleet, machine: str) -> str:
    """Return the generated file of one machine, a host or a NixOS guest. Raises KeyError where there is none."""
    path = f"{FOLDER}/{machine}.nix"
    if machine in fleet.hosts:
        return machine_files(fleet, machine)[path]
    return generated_files(fleet)[path]


def machine_data(fleet: Fleet, host: Host) -> dict[str, Value]:
    """Return what a host's configuration needs, all under `fleet`, as JSON could say it.

    The shape is that of the options in nix/options.nix. Sizes are in KiB. `guests` has each guest with the XML of
    its domain: what a fresh host defines it from.
    Raises FleetError for a guest that cannot be defined, and for two disks that would be one volume.
    """
    _check_volumes(fleet, host)
    return {
        "fleet": {
            **_surroundings(fleet, host),
            "kind": "host",
            "machine": host.name,
            "host": {
                "mac": host.mac,
                "address": host.address,
                "accel": host.accel.value if host.accel else None,
                "labels": host.labels,
                "hardware": {"cpu": host.hardware.cpu, "memoryKib": host.hardware.memory_kib},
            },
            "stateVersion": host.state_version or fleet.state_version,
            "guests": {
                name: {**_guest(fleet, guest), "xml": domain_xml(fleet, host, guest)}
                for name, guest in host.guests.items()
            },
        }
    }


def guest_data(fleet: Fleet, host: Host, guest: Guest) -> dict[str, Value]:
    """Return what a NixOS guest's own configuration needs, all under `fleet`."""
    return {
        "fleet": {
            **_surroundings(fleet, host),
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


def _surroundings(fleet: Fleet, host: Host) -> dict[str, Value]:
    """Return what a machine has from fleet.toml: every network and pool, and the users who may use this host."""
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
        "users": {
            name: {"keys": user.keys, "role": user.role}
            for name, user in fleet.users.items()
            if not user.labels or set(user.labels) & set(host.labels)
        },
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
            name: {"network": nic.network, "mac": nic.mac, "address": nic.address} for name, nic in guest.nics.items()
        },
        "devices": {
            name: {
                "pci": device.pci,
                "functions": device.functions,
                "functionNumbers": device.function_numbers,
                "gpu": device.gpu,
            }
            for name, device in guest.devices.items()
        },
        "stateVersion": guest.state_version,
    }


def _file(host: Host, machine: str, data: dict[str, Value]) -> str:
    if not (NAME.match(machine) and NAME.match(host.name)):
        raise FleetError(f"{machine!r} cannot be written.", "It is not a machine's name.")
    body = nix_value(data) + "\n"
    digest = hashlib.sha256(body.encode()).hexdigest()
    return (
        f"# Written by Quarterdeck from fleet.toml and hosts/{host.name}.toml, anew with each change: do not edit.\n"
        f"# Your own settings go to machines/{machine}.nix.\n"
        f"# digest: sha256-{digest}\n"
        f"{body}"
    )


FLAKE = """\
# Written once by Quarterdeck; from now on it is yours. The console writes only to generated/.
{
  description = DESCRIPTION;

  outputs =
    { self }:
    let
      # Flakes see only the files that git knows; Quarterdeck adds the ones it writes.
      entries = if builtins.pathExists ./generated then builtins.readDir ./generated else { };
      machine = file: builtins.match "(.*)\\\\.nix" file;
      files = builtins.filter (file: machine file != null) (builtins.attrNames entries);
    in
    {
      # What Quarterdeck knows of each machine: `nix eval .#fleet.HOST.host.address`.
      fleet = builtins.listToAttrs (
        map (file: {
          name = builtins.head (machine file);
          value = (import (./generated + "/${file}")).fleet;
        }) files
      );

      # The place for nixosConfigurations: one for each machine, from its data above and from
      # machines/<machine>.nix where you have written one.
    };
}
"""
