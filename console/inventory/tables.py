"""Domain values as the plain tables that stand in the TOML files; what equals its default is left out."""

from __future__ import annotations

from typing import Any

from console.domain import model
from console.domain.values import format_size_kib
from console.inventory.schema import default_uri

Table = dict[str, Any]


def _filled(**keys: object) -> Table:
    return {key: value for key, value in keys.items() if value not in (None, "", (), [], {}, False)}


def host_table(host: model.Host) -> Table:
    """Return the content of hosts/NAME.toml."""
    return _filled(
        mac=host.mac,
        address=host.address,
        uri=host.uri if host.uri != default_uri(host.address) else None,
        ssh_host_key=host.ssh_host_key,
        accel=host.accel and host.accel.value,
        labels=list(host.labels),
        state_version=host.state_version,
        system=host.system if host.system != "x86_64-linux" else None,
        disk=host.disk,
        netboot=host.netboot,
        uplinks=dict(host.uplinks),
        sriov=dict(host.sriov),
        own={
            name: _filled(pci=device.pci, functions=list(device.functions), containers=device.containers)
            for name, device in host.own.items()
        },
        hardware=_filled(
            cpu=host.hardware.cpu,
            memory=host.hardware.memory_kib and format_size_kib(host.hardware.memory_kib),
            pci=host.hardware.pci and {slot: list(ids) for slot, ids in host.hardware.pci.items()},
        ),
        guests={name: guest_table(guest) for name, guest in host.guests.items()},
    )


def guest_table(guest: model.Guest) -> Table:
    """Return the content of [guests.NAME]; identity (uuid, MACs, targets) is always written."""
    return (
        _filled(
            uuid=guest.uuid,
            kind=guest.kind.value,
            description=guest.description,
            labels=list(guest.labels),
            vcpus=guest.vcpus,
            memory=format_size_kib(guest.memory_kib),
            machine=guest.machine,
            firmware=guest.firmware.value,
            display=guest.display.value if guest.display is not model.Display.NONE else None,
            autostart=guest.autostart,
            state_version=guest.state_version,
            netboot=guest.netboot,
            profile=guest.profile.value if guest.profile is not model.Profile.GENERIC else None,
            hugepages=guest.hugepages_kib and format_size_kib(guest.hugepages_kib),
            cpus=guest.cpus,
            hide_kvm=guest.hide_kvm,
            extra_xml=guest.extra_xml,
        )
        | ({"numa": guest.numa} if guest.numa is not None else {})
        | _filled(
            kernel=_filled(path=guest.kernel.path, initrd=guest.kernel.initrd, cmdline=guest.kernel.cmdline)
            if guest.kernel
            else None,
            disks={name: _disk(disk) for name, disk in guest.disks.items()},
            nics={
                name: {
                    **_filled(network=nic.network, mac=nic.mac, address=nic.address),
                    **({} if nic.default_route else {"default_route": False}),
                }
                for name, nic in guest.nics.items()
            },
            devices={name: _device(device) for name, device in guest.devices.items()},
            usb={name: {"id": usb.id} for name, usb in guest.usb.items()},
        )
        | {"boot": list(guest.boot)}
    )


def _device(device: model.Device) -> Table:
    counted = tuple(range(len(device.functions)))
    return _filled(
        resource=device.resource,
        pci=device.pci,
        functions=list(device.functions),
        function_numbers=list(device.function_numbers) if device.function_numbers != counted else None,
        gpu=device.gpu,
        rom=device.rom,
        virtual_of=device.virtual_of,
        mdev=device.mdev,
        mdev_uuid=device.mdev_uuid,
        vgpu=device.vgpu,
        accepted=list(device.accepted),
    )


def _disk(disk: model.Disk) -> Table:
    source: Table = {"empty": True}
    if disk.source.kind is model.SourceKind.ISO:
        source = {"iso": disk.source.value}
    elif disk.source.kind is model.SourceKind.IMAGE:
        source = {"image": disk.source.value, "mode": disk.source.mode.value}
    return _filled(
        size=format_size_kib(disk.size_kib) if disk.size_kib else None,
        pool=disk.pool,
        target=disk.target,
        source=source,
    )


def fleet_table(fleet: model.Fleet) -> Table:
    """Return the content of fleet.toml."""
    return {"version": model.INVENTORY_VERSION, "name": fleet.name, "id": fleet.id} | _filled(
        defaults={"state_version": fleet.state_version},
        ssh=_filled(identity=fleet.ssh.identity, jump=fleet.ssh.jump) | ({} if fleet.ssh.agent else {"agent": False}),
        networks={
            name: _filled(bridge=net.bridge, subnet=net.subnet, gateway=net.gateway, dns=list(net.dns), vlan=net.vlan)
            for name, net in fleet.networks.items()
        },
        pools={name: {"path": pool.path} for name, pool in fleet.pools.items()},
        resources={
            name: _filled(
                id=resource.id,
                subsystem=resource.subsystem,
                addresses={host: list(places) for host, places in resource.addresses.items()},
            )
            for name, resource in fleet.resources.items()
        },
        users={
            name: _filled(keys=list(user.keys), role=user.role, labels=list(user.labels))
            for name, user in fleet.users.items()
        },
        netboot=_filled(
            server=fleet.netboot.server,
            network=fleet.netboot.network,
            entries={
                name: _filled(
                    kernel=entry.kernel,
                    kernel_hash=entry.kernel_hash,
                    initrd=entry.initrd,
                    initrd_hash=entry.initrd_hash,
                    cmdline=entry.cmdline,
                )
                for name, entry in fleet.netboot.entries.items()
            },
        ),
    )
