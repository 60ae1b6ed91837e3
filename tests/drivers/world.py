"""What the tests of the libvirt process share: hosts in files, clients, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import libvirt

from console.domain.observed import GuestObservation, HostObservation
from console.drivers.base import HostTarget
from console.drivers.libvirt.client import LibvirtClient

WEB = "03dd873c-3bb7-4a79-b514-052cbd8e0b01"
DB = "03dd873c-3bb7-4a79-b514-052cbd8e0b02"
NEW = "03dd873c-3bb7-4a79-b514-052cbd8e0b03"

HOSTILE_DEVICE = """<device>
    <name>pci_0000_01_00_0</name><parent>computer</parent>
    <capability type="pci">
      <class>0x020000</class><domain>0</domain><bus>1</bus><slot>0</slot><function>0</function>
      <product id="0x1533"/><vendor id="0x8086">Intel\x7f</vendor>
    </capability>
  </device>"""

HOST = """<!-- One host. -->
<node xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <cpu>
    <mhz>2100</mhz><model>Intel Xeon Gold 6130</model><active>64</active>
    <nodes>2</nodes><sockets>1</sockets><cores>16</cores><threads>2</threads>
  </cpu>
  <memory>201326592</memory>
  <!-- The guests. -->
  <domain type="test">
    <name>web</name>
    <uuid>03dd873c-3bb7-4a79-b514-052cbd8e0b01</uuid>
    <metadata><other:thing xmlns:other="urn:other">kept</other:thing></metadata>
    <memory unit="KiB">1048576</memory>
    <vcpu>2</vcpu>
    <os><type arch="x86_64" machine="q35">hvm</type></os>
    <devices>
      <disk type="file" device="disk">
        <driver name="qemu" type="qcow2"/><source file="/srv/fast/web.qcow2"/><target dev="vda" bus="virtio"/>
      </disk>
      <hostdev mode="subsystem" type="pci" managed="yes">
        <source><address domain="0x0000" bus="0x65" slot="0x00" function="0x0"/></source>
      </hostdev>
    </devices>
    <test:runstate>1</test:runstate>
  </domain>
  <domain type="test">
    <name>db</name>
    <uuid>03dd873c-3bb7-4a79-b514-052cbd8e0b02</uuid>
    <memory unit="KiB">2097152</memory>
    <vcpu>4</vcpu>
    <os><type arch="x86_64" machine="q35">hvm</type></os>
    <test:runstate>5</test:runstate>
  </domain>
  <network>
    <name>lan</name><uuid>4f1b6f0c-5a3e-4b7e-9d5c-0d0e8f6b7a10</uuid>
    <forward mode="bridge"/><bridge name="br0"/>
  </network>
  <pool type="dir">
    <name>fast</name><uuid>5f1b6f0c-5a3e-4b7e-9d5c-0d0e8f6b7a11</uuid>
    <target><path>/srv/fast</path></target>
    <volume type="file">
      <name>base.qcow2</name><capacity unit="bytes">1073741824</capacity>
      <target><format type="qcow2"/></target>
    </volume>
  </pool>
  <device>
    <name>computer</name>
    <capability type="system">
      <hardware><vendor>v</vendor><uuid>11111111-2222-3333-4444-555555555555</uuid></hardware><firmware/>
    </capability>
  </device>
  <device>
    <name>pci_0000_65_00_0</name><parent>computer</parent>
    <capability type="pci">
      <class>0x030000</class><domain>0</domain><bus>101</bus><slot>0</slot><function>0</function>
      <product id="0x2206">GA102 [GeForce RTX 3080]</product><vendor id="0x10de">NVIDIA Corporation</vendor>
      <iommuGroup number="28">
        <address domain="0x0000" bus="0x65" slot="0x00" function="0x0"/>
        <address domain="0x0000" bus="0x65" slot="0x00" function="0x1"/>
      </iommuGroup>
      <numa node="1"/>
    </capability>
  </device>
</node>
"""


def domain_xml(name: str, uuid: str, *, memory_kib: int = 1048576) -> str:
    """A small domain for the test driver."""
    return (
        f"<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='KiB'>{memory_kib}</memory>"
        "<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    )


class World:
    """A scratch folder with hosts; clients made here are closed, and their process ended, by `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.clients: list[LibvirtClient] = []
        self.pids: set[int] = set()

    def host(self, name: str, content: str = HOST) -> HostTarget:
        """A host on the test driver, with this state in a file of its own."""
        file = self.folder / f"{name}.xml"
        file.write_text(content)
        return HostTarget(name=name, uri=f"test://{file}")

    def file(self, name: str) -> str:
        return (self.folder / f"{name}.xml").read_text()

    def client(self, *, idle_s: float = 60, inventory: str = "") -> LibvirtClient:
        client = LibvirtClient(self.runtime, inventory, idle_s=idle_s)
        self.clients.append(client)
        return client

    async def pid(self, client: LibvirtClient) -> int:
        """The process that serves the client now."""
        await client.write_calls()
        assert client.pid is not None
        self.pids.add(client.pid)
        return client.pid

    async def kill(self, client: LibvirtClient) -> None:
        """The process is dead, as after a crash."""
        pid = await self.pid(client)
        await ended(pid, signal.SIGKILL)

    async def close(self) -> None:
        for client in self.clients:
            if client.pid is not None:
                self.pids.add(client.pid)
            await client.close()
        for pid in self.pids:
            await ended(pid, signal.SIGTERM)


async def ended(pid: int, number: int | None = None, timeout_s: float = 20) -> None:
    """The process has ended; `number`: a signal to send it first."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if number is not None:
            signal.pidfd_send_signal(descriptor, number)
        readable, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], timeout_s)
        assert readable, f"process {pid} has not ended within {timeout_s} s"
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


async def until(
    client: LibvirtClient, fits: Callable[[Mapping[str, HostObservation]], bool], timeout_s: float = 15
) -> dict[str, HostObservation]:
    """What the client's updates have told when it first fits."""
    seen: dict[str, HostObservation] = {}
    async with asyncio.timeout(timeout_s):
        async for changed in client.updates():
            seen.update(changed)
            if fits(seen):
                break
    return seen


def guest(host: HostObservation, name: str) -> GuestObservation:
    return next(guest for guest in host.guests if guest.name == name)


def error(code: int, text: str) -> libvirt.libvirtError:
    """Return what libvirt raises."""
    failure = libvirt.libvirtError("")
    failure.err = (code, libvirt.VIR_FROM_QEMU, text, libvirt.VIR_ERR_ERROR, "", "", "", 0, 0)
    return failure
