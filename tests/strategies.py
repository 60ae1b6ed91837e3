"""Hypothesis strategies for the values of the model: everything that the inventory may hold, at its most awkward."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from console.domain.hardware import cpu_list
from console.domain.model import (
    Accel,
    Device,
    Disk,
    Display,
    Firmware,
    Fleet,
    Guest,
    Hardware,
    Host,
    ImageMode,
    Kernel,
    Kind,
    Network,
    Nic,
    OwnDevice,
    Pool,
    Profile,
    Resource,
    Source,
    SourceKind,
    Usb,
    User,
)
from console.domain.preflight.names import RULE_NAMES

V = TypeVar("V")

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
AWKWARD_PIECES = ("''", "'", "${", "$$", "$", "\\", '"', "</a>", "&", "]]>", "<!--", "  ", "é", "日本", "🚀", "-", "/")
AWKWARD_NAMES = ("in", "with.dot", "with", "or", "1a", "a_b", "a.b", "a-b", "null", "_".join("ab"), "x" * 63)


def names() -> st.SearchStrategy[str]:
    """Names as values.parse_name accepts them, among them words and letters that mean something elsewhere."""
    free = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(st.sampled_from(LETTERS + "._-"), max_size=30))
    return st.sampled_from(AWKWARD_NAMES) | free


def lines() -> st.SearchStrategy[str]:
    """One printable line, with whatever markup or quotes it likes."""
    printable = st.text(st.characters(exclude_categories=("C", "Z")), max_size=8)
    return st.lists(st.sampled_from(AWKWARD_PIECES) | printable | st.just(" "), max_size=6).map("".join)


def paths() -> st.SearchStrategy[str]:
    """Absolute paths on a host as values.parse_absolute_path accepts them."""
    parts = st.lists(lines().map(lambda line: line.replace("/", "")), min_size=1, max_size=3)
    return parts.map(lambda found: "/" + "/".join(p for p in found if p and p != "..")).map(
        lambda path: path.rstrip("/") or "/srv"
    )


def volumes() -> st.SearchStrategy[str]:
    """Names of storage volumes."""
    return st.sampled_from(("debian-13.qcow2", "a b+c@d.img", "_x.iso")) | names()


def uuids() -> st.SearchStrategy[str]:
    """Uuids in their canonical form."""
    return st.integers(0, 2**128 - 1).map(lambda number: str(uuid.UUID(int=number)))


def macs() -> st.SearchStrategy[str]:
    """Unicast MAC addresses in QEMU's range."""
    return st.tuples(*[st.integers(0, 255)] * 3).map(lambda tail: "52:54:00:" + ":".join(f"{n:02x}" for n in tail))


def addresses() -> st.SearchStrategy[str]:
    """Interface addresses with their prefix."""
    return st.integers(1, 254).map(lambda n: f"10.0.0.{n}/24") | st.just("fd00::11/64")


def named(items: Iterable[V], name: Callable[[V], str]) -> dict[str, V]:
    """The table of these items by name; of two with one name the later stays."""
    return {name(item): item for item in items}


def kernels() -> st.SearchStrategy[Kernel]:
    """Direct kernel boots."""
    return st.builds(Kernel, path=paths(), initrd=st.none() | paths(), cmdline=lines())


@st.composite
def disks(draw: st.DrawFn, pools: tuple[str, ...]) -> dict[str, Disk]:
    """The disks and CDs of one guest: names and targets are its own."""
    found: dict[str, Disk] = {}
    targets = {bus: iter(draw(st.permutations([f"{bus}{letter}" for letter in "abcdz"]))) for bus in ("vd", "sd")}
    for name in draw(st.lists(names(), max_size=4, unique=True)):
        kind = draw(st.sampled_from(SourceKind))
        value = {
            SourceKind.EMPTY: st.just(""),
            SourceKind.IMAGE: volumes(),
            SourceKind.ISO: volumes() | paths(),
        }[kind]
        iso = kind is SourceKind.ISO
        found[name] = Disk(
            name=name,
            size_kib=0 if iso else draw(st.integers(1, 2**42)),
            pool=draw(st.sampled_from(pools)),
            target=next(targets["sd" if iso or draw(st.booleans()) else "vd"]),
            source=Source(kind=kind, value=draw(value), mode=draw(st.sampled_from(ImageMode))),
        )
    return found


def nics(networks: tuple[str, ...]) -> st.SearchStrategy[dict[str, Nic]]:
    """The network cards of one guest."""
    nic = st.builds(
        Nic,
        name=names(),
        network=st.sampled_from(networks),
        mac=macs(),
        address=st.none() | addresses(),
        default_route=st.booleans(),
    )

    def one_way_out(found: list[Nic]) -> dict[str, Nic]:
        ways_out = [each.name for each in found if each.default_route]
        one = [replace(each, default_route=each.name in ways_out[:1]) for each in found]
        return named(one, lambda n: n.name)

    return st.lists(nic, max_size=3, unique_by=(lambda n: n.name, lambda n: n.mac)).map(one_way_out)


@st.composite
def devices(draw: st.DrawFn) -> dict[str, Device]:
    """What a guest has of the host's cards: whole slots with one to eight functions, virtual functions, parts."""
    found: dict[str, Device] = {}
    slots = draw(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 31)), max_size=2, unique=True))
    for number, (bus, slot) in enumerate(slots):
        whole = draw(st.booleans())
        numbers = sorted(draw(st.sets(st.integers(0, 7), min_size=1, max_size=4 if whole else 1)))
        name = f"dev{number}.{draw(names())[:20]}"
        device = Device(
            name=name,
            pci=f"0000:{bus:02x}:{slot:02x}",
            functions=tuple("10de:2206" for _ in numbers),
            function_numbers=tuple(numbers),
            gpu=draw(st.booleans()),
            accepted=tuple(draw(st.lists(st.sampled_from(RULE_NAMES), max_size=2, unique=True))),
        )
        part = draw(st.sampled_from(("virtual", "mdev", "vgpu")))
        if whole:
            device = replace(device, rom=draw(st.sampled_from(("", "off")) | paths()))
        elif part == "mdev":
            kind = draw(st.sampled_from(("nvidia-63", "i915-GVTg_V5_4")))
            device = replace(device, mdev=kind, mdev_uuid=draw(uuids()))
        else:
            device = replace(device, virtual_of=f"0000:{bus:02x}:{slot:02x}.0")
            if part == "vgpu":
                device = replace(device, vgpu=draw(st.integers(1, 65535)))
        found[name] = device
    return found


USB_IDS = ("046d:c52b", "0bda:8153", "1d6b:0002")
EXTRA = (
    "",
    '<watchdog model="i6300esb" action="reset"/>',
    """
    <!-- for the sound -->
    <sound model="ich9"/><input type="keyboard" bus="usb"/>
    """,
)


@st.composite
def machines(draw: st.DrawFn, vcpus: int, kind: Kind) -> dict[str, object]:
    """What a guest's processors, memory and firmware can be besides."""
    profile = Profile.GENERIC if kind is Kind.NIXOS else draw(st.sampled_from(Profile))
    firsts = draw(st.integers(0, 100))
    return {
        "profile": profile,
        "firmware": Firmware.UEFI if profile is Profile.WINDOWS else draw(st.sampled_from(Firmware)),
        "memory_kib": draw(st.integers(1, 2048)) * 1024 * 1024,
        "hugepages_kib": draw(st.sampled_from((0, 2048, 1024 * 1024))),
        "cpus": draw(st.sampled_from(("", cpu_list(range(firsts, firsts + 2 * vcpus, 2))))),
        "numa": draw(st.none() | st.integers(0, 7)),
        "hide_kvm": draw(st.booleans()),
        "extra_xml": draw(st.sampled_from(EXTRA)),
    }


@st.composite
def guests(draw: st.DrawFn, pools: tuple[str, ...] = ("default",), networks: tuple[str, ...] = ("default",)) -> Guest:
    """One guest; what it names in its boot order, it has."""
    own_disks, own_nics = draw(disks(pools)), draw(nics(networks))
    bootable = [f"disk:{name}" for name in own_disks] + [f"nic:{name}" for name in own_nics]
    own_devices = draw(devices())
    own_usb = {f"usb{n}": Usb(name=f"usb{n}", id=i) for n, i in enumerate(USB_IDS) if draw(st.booleans())}
    bootable += [f"device:{name}" for name, device in own_devices.items() if not device.mdev]
    bootable += [f"usb:{name}" for name in own_usb]
    order = draw(st.permutations(bootable))
    vcpus = draw(st.integers(1, 16))
    kind = draw(st.sampled_from(Kind))
    return Guest(
        **draw(machines(vcpus, kind)),
        name=draw(names()),
        uuid=draw(uuids()),
        vcpus=vcpus,
        kind=kind,
        display=draw(st.sampled_from(Display)),
        autostart=draw(st.booleans()),
        description=draw(lines()),
        labels=tuple(draw(st.lists(names(), max_size=2))),
        boot=tuple(order[: draw(st.integers(0, len(order)))]),
        kernel=draw(st.none() | kernels()),
        disks=own_disks,
        nics=own_nics,
        devices=own_devices,
        usb=own_usb,
        state_version=draw(st.none() | st.just("25.11")),
    )


@st.composite
def own_devices(draw: st.DrawFn) -> dict[str, OwnDevice]:
    """What a host keeps for itself."""
    slots = draw(st.lists(st.sampled_from(("0000:65:00", "0000:66:00")), max_size=2, unique=True))
    return {
        f"own{place}": OwnDevice(
            name=f"own{place}",
            pci=slot,
            functions=draw(st.sampled_from(((), ("10de:2206", "10de:1aef")))),
            containers=draw(st.booleans()),
        )
        for place, slot in enumerate(slots)
    }


def resources() -> st.SearchStrategy[Resource]:
    """Names for devices, by id."""
    return st.builds(
        Resource,
        name=names(),
        id=st.just("10de:2206"),
        subsystem=st.sampled_from(("", "1043:87ac")),
    )


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """A fleet of up to three hosts; names of machines, uuids and MACs are unique in it."""
    pools = named(draw(st.lists(st.builds(Pool, name=names(), path=paths()), min_size=1, max_size=2)), lambda p: p.name)
    network = st.builds(
        Network,
        name=names(),
        bridge=st.just("br0"),
        subnet=st.none() | st.just("10.0.0.0/24"),
        gateway=st.none() | st.just("10.0.0.1"),
        dns=st.just(()) | st.just(("10.0.0.1", "10.0.0.2")),
        vlan=st.none() | st.integers(1, 4094),
    )
    networks = named(draw(st.lists(network, min_size=1, max_size=2)), lambda n: n.name)
    user = st.builds(
        User,
        name=names(),
        keys=st.just(("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA",)),
        role=st.sampled_from(("operator", "viewer")),
        labels=st.just(()) | st.just(("rack-1",)),
    )
    machines: set[str] = set()
    hosts: dict[str, Host] = {}
    for name in draw(st.lists(names(), max_size=3, unique=True)):
        own = {}
        for guest in draw(st.lists(guests(tuple(pools), tuple(networks)), max_size=3)):
            # Two guests never share a name here, so no disk's volume can belong to both.
            unique = replace(guest, name=f"{len(hosts)}{len(own)}{guest.name}"[:63])
            own[unique.name] = unique
        machines.add(name)
        hosts[name] = Host(
            name=name,
            mac=draw(macs()),
            address=draw(addresses()),
            uri="qemu+ssh://root@10.0.0.11/system",
            accel=draw(st.none() | st.sampled_from(Accel)),
            labels=tuple(draw(st.lists(st.sampled_from(("rack-1", "gpu")), max_size=2, unique=True))),
            hardware=Hardware(cpu=draw(st.none() | lines()), memory_kib=draw(st.none() | st.integers(1, 2**40))),
            guests={key: value for key, value in own.items() if key not in machines},
            state_version=draw(st.none() | st.just("25.05")),
            own=draw(own_devices()),
            sriov=draw(st.dictionaries(st.sampled_from(("0000:3b:00.0", "0000:3b:00.1")), st.integers(1, 64))),
        )
    return Fleet(
        name=draw(names()),
        id=draw(uuids()),
        networks=networks,
        pools=pools,
        resources=named(draw(st.lists(resources(), max_size=2)), lambda r: r.name),
        users=named(draw(st.lists(user, max_size=2)), lambda u: u.name),
        hosts=hosts,
    )
