"""A domain's XML as comparable facts: the same for what is defined and what libvirt makes of it."""

from __future__ import annotations

import pytest

from console.domain.errors import FleetError
from console.domain.shape import (
    METADATA_NS,
    XML_LIMIT,
    Effect,
    effect_of,
    identity_of,
    pci_of,
    shape_difference,
    shape_of,
)

OURS = f"""
<domain type="qemu" xmlns:qd="{METADATA_NS}">
  <name>web</name>
  <metadata><qd:guest inventory="1f" digest="sha256-aa"/></metadata>
  <memory unit="GiB">2</memory>
  <vcpu>4</vcpu>
  <os firmware="efi"><type arch="x86_64" machine="q35">hvm</type></os>
  <cpu mode="custom" match="exact"><model>Nehalem</model></cpu>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" discard="unmap"/><source file="/p/web.qcow2"/><target dev="vda" bus="virtio"/>
      <boot order="1"/>
    </disk>
    <interface type="network">
      <mac address="52:54:00:AA:00:01"/><source network="lan"/><model type="virtio"/><boot order="2"/>
    </interface>
    <memballoon model="virtio"><stats period="5"/></memballoon>
  </devices>
</domain>
"""

LIVE = """
<domain type='qemu' id='7'>
  <name>web</name>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu placement='static'>4</vcpu>
  <resource><partition>/machine</partition></resource>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
  </os>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>Nehalem</model><feature policy='require' name='hypervisor'/>
  </cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
    <interface type='bridge'>
      <mac address='52:54:00:aa:00:01'/><source network='lan' portid='0f' bridge='br0'/><target dev='vnet3'/>
      <model type='virtio'/><boot order='2'/><alias name='net0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/><source file='/p/web.qcow2' index='1'/>
      <backingStore type='file' index='2'><format type='qcow2'/><source file='/p/base.qcow2'/></backingStore>
      <target dev='vda' bus='virtio'/><boot order='1'/><alias name='ua-disk-boot'/>
    </disk>
    <input type='mouse' bus='ps2'/>
    <audio id='1' type='none'/>
    <watchdog model='itco' action='reset'/>
    <memballoon model='virtio'><stats period='5'/><alias name='balloon0'/></memballoon>
  </devices>
  <seclabel type='dynamic' model='dac' relabel='yes'/>
</domain>
"""


def with_device(xml: str) -> str:
    return OURS.replace("</devices>", f"{xml}</devices>")


def test_what_libvirt_adds_is_left_out() -> None:
    assert shape_difference(shape_of(OURS), shape_of(LIVE)) == []


def test_the_facts_read_well() -> None:
    shape = shape_of(OURS)
    assert shape["memory"] == "2 GiB"
    assert shape["accel"] == "tcg"
    assert shape["disk vda"] == "/p/web.qcow2 (qcow2, virtio, discard unmap)"
    assert shape["nic 52:54:00:aa:00:01"] == "network lan (virtio)"
    assert shape["boot"] == "disk vda, nic 52:54:00:aa:00:01"
    assert shape["firmware"] == "uefi"
    assert shape["display"] == "none"


@pytest.mark.parametrize(
    ("old", "new", "key", "seen"),
    [
        ("<vcpu>4", "<vcpu cpuset='0-3'>4", "vcpus", "4 on CPUs 0-3"),
        ("<vcpu>4", "<vcpu current='2'>4", "vcpus", "2 of 4"),
        ('unit="GiB">2', 'unit="GiB">3', "memory", "3 GiB"),
        ("<vcpu>", "<currentMemory>1048576</currentMemory><vcpu>", "memory now", "1 GiB"),
        ("web.qcow2", "evil.qcow2", "disk vda", "/p/evil.qcow2 (qcow2, virtio, discard unmap)"),
        ('network="lan"', 'network="dmz"', "nic 52:54:00:aa:00:01", "network dmz (virtio)"),
        ('"q35"', '"pc-i440fx-7.2"', "machine", "pc"),
        (' firmware="efi"', "", "firmware", "bios"),
        ("<memory ", "<cputune><shares>5</shares></cputune><memory ", "cputune", "shares 5"),
        ("<devices>", "<on_crash>preserve</on_crash><devices>", "on crash", "preserve"),
        ("</devices>", "<tpm model='tpm-crb'/></devices>", "tpm", "tpm-crb"),
        ("</devices>", "<sound model='b'/><sound model='a'/></devices>", "sound", "model=a, model=b"),
        ("</devices>", "<graphics type='vnc' port='5907' listen='0.0.0.0'/></devices>", "display",
         "vnc on 0.0.0.0 port 5907"),
        ("<boot order=\"2\"/>", "", "boot", "disk vda"),
    ],
)  # fmt: skip
def test_a_change_by_hand_is_seen(old: str, new: str, key: str, seen: str) -> None:
    changed = OURS.replace(old, new)
    assert changed != OURS
    assert [(k, s) for k, s, _ in shape_difference(shape_of(OURS), shape_of(changed))] == [(key, seen)]


def test_devices_of_every_kind_that_take_a_pci_function_are_found() -> None:
    place = "<source><address type='pci' domain='0x0000' bus='0x{}' slot='0x00' function='0x{}'/></source>"
    xml = with_device(
        f"<hostdev mode='subsystem' type='pci' managed='yes'>{place.format('65', 1)}</hostdev>"
        f"<hostdev mode='subsystem' type='pci' managed='yes'>{place.format('65', 0)}</hostdev>"
        f"<interface type='hostdev'>{place.format('0a', 2)}</interface>"
        f"<disk type='nvme' device='disk'>{place.format('0b', 0)}<target dev='vdb' bus='virtio'/></disk>"
        "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>"
    )
    assert pci_of(xml) == ("0000:0a:00.2", "0000:0b:00.0", "0000:65:00.0", "0000:65:00.1")
    assert shape_of(xml)["pci 0000:65:00.1"] == "managed"
    assert shape_of(xml)["hostdev usb"] != ""


def test_identity_is_ours_or_nothing() -> None:
    assert identity_of(OURS) == ("1f", "sha256-aa")
    assert identity_of(LIVE) == (None, None)
    assert identity_of(OURS.replace(METADATA_NS, "https://else.invalid/")) == (None, None)


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "garbage",
        "<domain>",
        "<network/>",
        "<domain>\x00</domain>",
        "<domain>\ud800</domain>",
        '<!DOCTYPE domain [<!ENTITY a "b">]><domain><name>&a;</name></domain>',
        '<!DOCTYPE domain SYSTEM "file:///etc/passwd"><domain/>',
        f"<domain><name>{'a' * XML_LIMIT}</name></domain>",
    ],
    ids=["empty", "text", "open", "other", "nul", "surrogate", "entity", "external", "large"],
)
def test_hostile_xml_is_refused(xml: str) -> None:
    for read in (shape_of, identity_of, pci_of):
        with pytest.raises(FleetError):
            read(xml)


def test_odd_values_from_a_host_do_no_harm() -> None:
    assert shape_of("<domain/>")["vcpus"] == "1"
    deep = f"<domain>{'<a>' * 100_000}{'</a>' * 100_000}</domain>"
    assert "a" in shape_of(deep)
    odd = with_device(
        "<disk><boot order='x'/></disk><hostdev type='pci'><source><address slot='zz'/></source></hostdev>"
    )
    assert pci_of(odd) == ("0000:00:00.0",)
    shape_of(odd.replace('unit="GiB">2', 'unit="parsec">2'))
    assert shape_of(OURS.replace("<name>web", "<name>w&#x9b;31m\nx"))["name"] == "w\\x9b31m\\nx"


@pytest.mark.parametrize(
    ("key", "seen", "wanted", "effect"),
    [
        ("description", None, "a", Effect.LIVE),
        ("memory", "4 GiB", "2 GiB", Effect.LIVE),
        ("memory", "2 GiB", "4 GiB", Effect.NEXT_BOOT),
        ("memory now", None, "4 GiB", Effect.NEXT_BOOT),
        ("vcpus", "2", "4", Effect.NEXT_BOOT),
        ("disk vdb", None, "/a (b).qcow2 (qcow2, virtio, serial data)", Effect.LIVE),
        ("disk vdb", "/a.qcow2 (qcow2, virtio)", None, Effect.LIVE),
        ("disk vdb", "/a.qcow2 (qcow2, virtio)", "/b.qcow2 (qcow2, virtio)", Effect.NEXT_BOOT),
        ("disk sda", None, "/a virtio.iso (raw, sata, cdrom)", Effect.NEXT_BOOT),
        ("nic 52:54:00:00:00:01", None, "network lan (virtio)", Effect.LIVE),
        ("nic 52:54:00:00:00:01", "network lan (e1000e)", None, Effect.NEXT_BOOT),
        ("pci 0000:65:00.0", None, "managed", Effect.NEXT_BOOT),
        ("boot", "disk vda", None, Effect.NEXT_BOOT),
    ],
)
def test_effects(key: str, seen: str | None, wanted: str | None, effect: Effect) -> None:
    assert effect_of(key, seen, wanted) is effect
