"""The script that reads a host's hardware, and what is made of its words."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.errors import FleetError
from console.domain.hardware import DeviceUser, HugePages, MdevType, NumaNode, Use, VgpuType, cpu_numbers
from console.drivers.sysfs.parse import parse_hardware
from tests.sysfs import BRIDGE, DISK, GIB, HOST, MIB, NIC, NOW, SCRIPT, Pci, Tree, rtx


def test_a_card_with_its_audio_function(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, node=1, cpus="16-31", files={"resource1_resize": "0000000000000fc0"})])
    card, audio = tree.read().slot("0000:65:00")
    assert (card.pci_id, card.subsystem, card.driver, card.group) == ("10de:2206", "10de:1467", "vfio-pci", 28)
    assert (card.base_class, card.numa_node, card.cpus, card.boot_vga, card.has_rom) == (3, 1, "16-31", False, True)
    assert [(bar.index, bar.size_bytes) for bar in card.bars] == [(0, 16 * MIB), (1, 256 * MIB), (3, 32 * MIB)]
    assert card.bars[1].resizable_bytes == tuple(MIB << bit for bit in range(6, 12))
    assert card.reset_methods == ("flr", "bus")
    assert card.d3cold_allowed is True
    assert (audio.number, audio.class_code, audio.has_rom) == (1, 0x040300, False)
    assert [function.address for function in tree.read().group(28)] == ["0000:65:00.0", "0000:65:00.1"]


def test_the_host_itself(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [])
    tree.node(0, "0-7", hugepages=(16, 12))
    tree.node(1, "8-15")
    tree.write("proc/fb", "0 EFI VGA\n")
    found = tree.read()
    assert (found.kernel, found.cpu_vendor, found.physical_bits) == ("6.12.8", "GenuineIntel", 46)
    assert found.cmdline.endswith("intel_iommu=on")
    assert (found.memory_available_kib, found.framebuffer) == (100 * GIB // 1024, "EFI VGA")
    assert (found.iommu, found.interrupt_remapping) == (False, True)
    assert found.nodes == (
        NumaNode(id=0, cpus="0-7", memory_kib=100663296),
        NumaNode(id=1, cpus="8-15", memory_kib=100663296),
    )
    assert found.hugepages[0] == HugePages(node=0, size_kib=1048576, total=16, free=12)


def test_what_the_host_itself_hangs_on(tmp_path: Path) -> None:
    """The root file system through a volume manager, the SSH connection through a bridge on a VLAN."""
    tree = Tree(tmp_path, HOST)
    for name, number in (("dm-0", "253:0"), ("dm-1", "253:1")):
        tree.write(f"sys/devices/virtual/block/{name}/dev", f"{number}\n")
        tree.link(f"sys/class/block/{name}", f"sys/devices/virtual/block/{name}")
        tree.write(f"sys/devices/virtual/block/{name}/slaves/{'nvme0n1p2' if name == 'dm-0' else 'dm-0'}", "")
    for name, lower in (("br0", "vlan20"), ("vlan20", "eno1")):
        tree.write(f"sys/devices/virtual/net/{name}/lower_{lower}", "")
        tree.link(f"sys/class/net/{name}", f"sys/devices/virtual/net/{name}")
    tree.mount("/", "mapper/vg-root", "253:1")
    tree.mount("/boot", "nvme0n1p1", "0:99")
    tree.reached_through("br0")
    found = {function.address: function for function in tree.read().functions}
    assert found[DISK.address].disks == ("nvme0n1",)
    assert found[DISK.address].carries == ("the root file system (nvme0n1p2)",)
    assert found[NIC.address].networks == ("eno1",)
    assert found[NIC.address].carries == ("the SSH connection to this console (eno1)",)
    assert tree.read().root_known


@pytest.mark.skipif(os.getuid() != 0, reason="who holds a device is told to root alone")
def test_who_holds_a_card(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, driver="nvidia"), *rtx("66", 29)])
    tree.write("proc/driver/nvidia/gpus/0000:65:00.0/information", "Model: RTX 3080\nDevice Minor: \t 0\n")
    tree.process(700, "ollama", "/dev/nvidia0", "/dev/nvidiactl", "/dev/null")
    tree.process(701, "Xorg", "/dev/dri/card1")
    tree.process(702, "qemu-system-x86", "/dev/vfio/29")
    found = {function.address: function.users for function in tree.read().functions}
    assert found["0000:65:00.0"] == (
        DeviceUser(pid=700, process="ollama", path="/dev/nvidia0"),
        DeviceUser(pid=701, process="Xorg", path="/dev/dri/card1"),
    )
    assert found["0000:66:00.0"] == (DeviceUser(pid=702, process="qemu-system-x86", path="/dev/vfio/29"),)
    assert found[BRIDGE.address] == ()


def test_virtual_functions_mediated_devices_and_vgpu_types(tmp_path: Path) -> None:
    tesla = {
        "mdev_supported_types/nvidia-63/name": "GRID P40-1Q",
        "mdev_supported_types/nvidia-63/available_instances": "7",
    }
    card = Pci(
        address="0000:81:00.0", id="10de:26b9", kind=0x030200, driver="nvidia", group=40, virtual=("0000:81:00.4",),
        files={"sriov_totalvfs": "32", "sriov_numvfs": "1"},
    )  # fmt: skip
    function = Pci(
        address="0000:81:00.4", id="10de:26b9", kind=0x030200, driver="nvidia", group=41, physical="0000:81:00.0",
        files={
            "nvidia/creatable_vgpu_types": "ID    : vGPU Name\n1155  : NVIDIA L40S-1Q",
            "nvidia/current_vgpu_type": "0",
        },
    )  # fmt: skip
    tree = Tree(tmp_path, [card, function, *rtx("82", 42, files=tesla)])
    tree.link(
        "sys/bus/mdev/devices/4b20d080-1b54-4048-85b3-a6a62d165c01",
        "sys/devices/pci0000:00/0000:82:00.0/4b20d080-1b54-4048-85b3-a6a62d165c01",
    )
    physical, virtual, gpu, _ = tree.read().functions
    assert (physical.sriov_total, physical.sriov_active, physical.virtual) == (32, 1, ("0000:81:00.4",))
    assert (virtual.physical, virtual.vgpu_current) == ("0000:81:00.0", 0)
    assert virtual.vgpu_types == (VgpuType(id=1155, name="NVIDIA L40S-1Q"),)
    assert gpu.mdev_types == (MdevType(id="nvidia-63", name="GRID P40-1Q", available=7),)
    assert gpu.mdevs == ("4b20d080-1b54-4048-85b3-a6a62d165c01",)


def test_this_machine(tmp_path: Path) -> None:
    """The real /sys of wherever the tests run: each device that is there is told, with its driver."""
    said = subprocess.run(["sh", SCRIPT], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    there = Path("/sys/bus/pci/devices")
    if not there.is_dir():
        pytest.skip("this machine has no PCI bus")
    found = {function.address: function for function in parse_hardware(said.stdout, NOW).functions}
    assert set(found) == {path.name for path in there.iterdir()}
    for address, function in found.items():
        assert function.pci_id == ":".join((there / address / name).read_text()[2:6] for name in ("vendor", "device"))
        driver = there / address / "driver"
        assert function.driver == (driver.readlink().name if driver.exists() else None)


@pytest.mark.parametrize(
    "text", ["", "bash: sh: command not found\n", "== user\n0\n== values\n0000:00:00.0/vendor:0x8086\n"]
)
def test_half_an_answer_is_refused(text: str) -> None:
    with pytest.raises(FleetError, match="did not tell its hardware"):
        parse_hardware(text, NOW)


@given(st.text(max_size=300), st.lists(st.text(alphabet="0123456789abcdef:./x \n=→-", max_size=80), max_size=8))
def test_no_answer_breaks_it(text: str, lines: list[str]) -> None:
    """A hostile host's words make no function that could be mistaken, and no exception but ours."""
    hostile = "\n".join(["== values", *(f"0000:65:00.0/{line}" for line in lines), text, "== holders", text, "== end"])
    for function in parse_hardware(hostile, NOW).functions:
        assert function.address == "0000:65:00.0"
        assert (function.driver or "").isprintable()


@pytest.mark.parametrize(("text", "cpus"), [("", set()), ("3", {3}), ("0-2,8", {0, 1, 2, 8})])
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert cpu_numbers(text) == cpus


@pytest.mark.parametrize("text", ["a", "3-1", "0-99999999", "-1"])
def test_what_is_no_list_of_cpus(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cpu_numbers(text)


def test_how_much_a_card_works_for_its_host(tmp_path: Path) -> None:
    """An AMD card's driver tells, one that sleeps refuses to, and a fan controller elsewhere is no card's."""
    files = {
        "gpu_busy_percent": "87",
        "mem_info_vram_used": str(3 * GIB),
        "mem_info_vram_total": str(8 * GIB),
        "hwmon/hwmon3/power1_average": "249630000",
        "hwmon/hwmon3/temp1_input": "65000",
    }
    radeon = Pci(address="0000:c1:00.0", id="1002:7312", kind=0x030000, driver="amdgpu", files=files)
    disk = replace(DISK, files={"hwmon/hwmon1/temp1_input": "41850"})
    tree = Tree(tmp_path, [radeon, disk, *rtx("65", 28)])
    ((card,), (other,)) = tree.read().slot("0000:c1:00"), tree.read().slot(disk.address[:-2])
    assert card.use == Use(
        busy_percent=87, power_w=249.63, temperature_c=65.0, memory_used_bytes=3 * GIB, memory_bytes=8 * GIB
    )
    assert other.use is None
    assert tree.read().slot("0000:65:00")[0].use is None
    tree.write("sys/devices/pci0000:00/0000:c1:00.0/gpu_busy_percent", "-7\n")
    tree.write("sys/devices/pci0000:00/0000:c1:00.0/hwmon/hwmon3/temp1_input", "hot\n")
    (odd,) = tree.read().slot("0000:c1:00")
    assert odd.use is not None and (odd.use.busy_percent, odd.use.temperature_c) == (None, None)


def test_the_power_state_is_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path, rtx("65", 28, files={"power_state": "D3cold"}))
    card, audio = tree.read().slot("0000:65:00")
    assert (card.power, audio.power) == ("D3cold", "")
