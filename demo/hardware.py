"""What the hosts of the demo fleet are made of, and what is on them: the data behind demo/make_hosts.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RUNNING, PAUSED, OFF = 1, 3, 5  # virDomainState

VENDORS = {
    "1002": "Advanced Micro Devices, Inc. [AMD/ATI]",
    "1022": "Advanced Micro Devices, Inc. [AMD]",
    "10de": "NVIDIA Corporation",
    "144d": "Samsung Electronics Co Ltd",
    "1a03": "ASPEED Technology, Inc.",
    "8086": "Intel Corporation",
}
BRIDGE, DISPLAY, AUDIO, ETHERNET, NVME, SATA, USB = (
    "0x060400", "0x030000", "0x040300", "0x020000", "0x010802", "0x010601", "0x0c0330",
)  # fmt: skip


@dataclass(frozen=True)
class Pci:
    """One PCI function of a host. parent: the address of the bridge above it, None below the root complex."""

    address: str
    code: str
    ids: str
    product: str
    group: int
    numa: int | None = None
    parent: str | None = None


@dataclass(frozen=True)
class Machine:
    """What one host is made of, and what is on it.

    states: the run state of each guest of the inventory that exists here.
    drift: what differs from the inventory.
    stray: guests that are not in the inventory, as tables of its format, with their `state`.
    """

    cpu: str
    mhz: int
    numa_nodes: int
    sockets: int
    cores: int
    memory_gib: int
    nic: str
    pci: tuple[Pci, ...]
    states: dict[str, int]
    stray: dict[str, dict[str, Any]]
    drift: dict[str, dict[str, Any]]


XEON_BOARD = (
    Pci("0000:00:17.0", SATA, "8086:a182", "C620 Series Chipset SATA Controller [AHCI mode]", 11, 0),
    Pci("0000:00:1c.0", BRIDGE, "8086:a190", "C620 Series Chipset PCI Express Root Port #1", 12, 0),
    # The board's own console chip is a display controller too, and nobody's GPU.
    Pci("0000:02:00.0", DISPLAY, "1a03:2000", "ASPEED Graphics Family", 13, 0, "0000:00:1c.0"),
    Pci("0000:3a:00.0", BRIDGE, "8086:2030", "Sky Lake-E PCI Express Root Port A", 20, 0),
    Pci(
        "0000:3b:00.0",
        ETHERNET,
        "8086:1572",
        "Ethernet Controller X710 for 10GbE SFP+",
        21,
        0,
        "0000:3a:00.0",
    ),
    Pci(
        "0000:3b:00.1",
        ETHERNET,
        "8086:1572",
        "Ethernet Controller X710 for 10GbE SFP+",
        22,
        0,
        "0000:3a:00.0",
    ),
    Pci("0000:5d:00.0", BRIDGE, "8086:2030", "Sky Lake-E PCI Express Root Port A", 23, 0),
    Pci("0000:5e:00.0", NVME, "144d:a808", "NVMe SSD Controller SM981/PM981/PM983", 24, 0, "0000:5d:00.0"),
)


def card(
    root: str, slot: str, group: int, numa: int, display: tuple[str, str], audio: tuple[str, str]
) -> tuple[Pci, ...]:
    """A card with its audio function in one IOMMU group, and the root port above it in the one before."""
    return (
        Pci(root, BRIDGE, "8086:2030", "Sky Lake-E PCI Express Root Port A", group - 1, numa),
        Pci(f"{slot}.0", DISPLAY, *display, group, numa, root),
        Pci(f"{slot}.1", AUDIO, *audio, group, numa, root),
    )


RTX_3080 = (
    ("10de:2206", "GA102 [GeForce RTX 3080]"),
    ("10de:1aef", "GA102 High Definition Audio Controller"),
)
RTX_A4000 = (("10de:24b0", "GA104GL [RTX A4000]"), ("10de:228b", "GA104 High Definition Audio Controller"))

MACHINES = {
    "vhost-a": Machine(
        cpu="Intel Xeon Gold 6130",
        mhz=2100,
        numa_nodes=2,
        sockets=1,
        cores=16,
        memory_gib=192,
        nic="eno1",
        pci=XEON_BOARD
        + card("0000:64:00.0", "0000:65:00", 28, 1, *RTX_3080)
        + card("0000:b2:00.0", "0000:b3:00", 41, 1, *RTX_A4000),
        states={"web-1": RUNNING, "web-2": RUNNING, "mail": RUNNING, "win-lab": OFF},
        stray={
            "legacy-ftp": {
                "uuid": "1ef07ff9-0368-40d8-92d6-1e34bd95551f",
                "vcpus": 1,
                "memory": "1 GiB",
                "firmware": "bios",
                "boot": ["disk:boot"],
                "disks": {"boot": {"size": "8 GiB", "pool": "default", "target": "vda"}},
                "nics": {"lan": {"network": "lan", "mac": "52:54:00:0f:70:01"}},
                "state": RUNNING,
            }
        },
        drift={"win-lab": {"memory": "16 GiB"}},
    ),
    "vhost-b": Machine(
        cpu="Intel Xeon Gold 6130",
        mhz=2100,
        numa_nodes=2,
        sockets=1,
        cores=16,
        memory_gib=192,
        nic="eno1",
        pci=XEON_BOARD + card("0000:16:00.0", "0000:17:00", 9, 0, *RTX_3080),
        states={"db-1": RUNNING, "db-2": PAUSED, "render-1": RUNNING, "backup": OFF},
        stray={},
        drift={},
    ),
    "vhost-c": Machine(
        cpu="AMD Ryzen 9 5950X",
        mhz=3400,
        numa_nodes=1,
        sockets=1,
        cores=16,
        memory_gib=64,
        nic="enp7s0",
        pci=(
            # A desktop board without ACS: the card shares its group with the bridges above it.
            Pci("0000:00:03.1", BRIDGE, "1022:1483", "Starship/Matisse GPP Bridge", 1),
            Pci("0000:01:00.0", BRIDGE, "1002:1478", "Navi 10 XL Upstream Port", 1, None, "0000:00:03.1"),
            Pci("0000:02:00.0", BRIDGE, "1002:1479", "Navi 10 XL Downstream Port", 1, None, "0000:01:00.0"),
            Pci("0000:03:00.0", DISPLAY, "1002:73e3", "Navi 23 [Radeon PRO W6600]", 1, None, "0000:02:00.0"),
            Pci("0000:03:00.1", AUDIO, "1002:ab28", "Navi 21/23 HDMI/DP Audio", 1, None, "0000:02:00.0"),
            Pci("0000:05:00.0", NVME, "144d:a80a", "NVMe SSD Controller PM9A1/PM9A3/980PRO", 15),
            Pci("0000:07:00.0", ETHERNET, "8086:15f3", "Ethernet Controller I225-V", 16),
            Pci("0000:0b:00.3", USB, "1022:149c", "Matisse USB 3.0 Host Controller", 22),
        ),
        states={"cache-1": RUNNING, "ci-runner": RUNNING},
        stray={
            "scratch": {
                "uuid": "f1730502-aeab-41e8-a4fd-8296e8de12b2",
                "vcpus": 2,
                "memory": "2 GiB",
                "firmware": "uefi",
                "boot": ["disk:boot"],
                "disks": {"boot": {"size": "20 GiB", "pool": "default", "target": "vda"}},
                "nics": {"lab": {"network": "lab", "mac": "52:54:00:0f:70:02"}},
                "state": OFF,
            }
        },
        drift={},
    ),
}  # fmt: skip
