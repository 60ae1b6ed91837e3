"""Each rule of the preflight on hosts as their kernels would tell them: what is fine, what warns, what blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.hardware import cpu_list
from console.domain.model import Device, Firmware, Guest
from console.domain.preflight import RULES, Case, Finding, Verdict, blocks, preflight, warnings
from console.domain.preflight.names import RULE_NAMES
from tests.sysfs import BRIDGE, DISK, GIB, HOST, MIB, NIC, Pci, Tree, rtx

OK, UNKNOWN, WARNING, BLOCK = Verdict.OK, Verdict.UNKNOWN, Verdict.WARNING, Verdict.BLOCK
GIB_KIB = 1024 * 1024
RTX = Device(name="gpu0", pci="0000:65:00", functions=("10de:2206", "10de:1aef"), function_numbers=(0, 1), gpu=True)
GUEST = Guest(name="trainer", uuid="u", vcpus=4, memory_kib=32 * GIB_KIB, firmware=Firmware.UEFI)

Change = Callable[[Case], Case]


def case(tree: Tree, device: Device = RTX, **guest: object) -> Case:
    return Case(host="vhost-a", hardware=tree.read(), guest=replace(GUEST, **guest), device=device)  # type: ignore[arg-type]


def found(case: Case, rule: str) -> Finding:
    (finding,) = (finding for finding in preflight(case) if finding.rule == rule)
    return finding


def verdict(case: Case, rule: str) -> Verdict:
    """The verdict of a rule, which must say what to do when something is not as it should be."""
    finding = found(case, rule)
    assert finding.sentence.endswith(".")
    assert bool(finding.remedy) == (finding.verdict in (WARNING, BLOCK)) or finding.verdict is UNKNOWN
    return finding.verdict


def test_a_card_made_ready_for_guests_passes(tmp_path: Path) -> None:
    """An RTX 3080 with its audio, bound at boot, in a group of its own, behind a root port."""
    findings = preflight(case(Tree(tmp_path, [*HOST, *rtx("65", 28, files={"d3cold_allowed": "0"})])))
    assert len(findings) == len(RULES) == len({finding.rule for finding in findings})
    assert [(finding.rule, finding.sentence) for finding in findings if finding.verdict is not OK] == []


@pytest.mark.parametrize(("cpu", "name"), [("GenuineIntel", "VT-d"), ("AuthenticAMD", "AMD-Vi")])
def test_an_iommu_that_is_off(tmp_path: Path, cpu: str, name: str) -> None:
    off = case(Tree(tmp_path, [*HOST, *rtx("65", 28)], cpu=cpu, iommu=False))
    assert verdict(off, "iommu") is BLOCK
    assert name in found(off, "iommu").remedy
    assert verdict(replace(off, hardware=replace(off.hardware, iommu=None)), "iommu") is UNKNOWN


def test_interrupts_that_are_not_remapped(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)])
    assert verdict(case(tree), "interrupt-remapping") is OK
    tree.write("proc/interrupts", "           CPU0\n 1:  9  IO-APIC    1-edge  i8042\n")
    tree.write("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n")
    assert verdict(case(tree), "interrupt-remapping") is WARNING
    assert "allow_unsafe_interrupts = Y" in found(case(tree), "interrupt-remapping").evidence
    (tree.root / "proc/interrupts").unlink()
    assert verdict(case(tree), "interrupt-remapping") is UNKNOWN


def test_a_group_that_holds_the_ssh_card(tmp_path: Path) -> None:
    """A shared root port without ACS: the graphics card and the network card are one group."""
    tree = Tree(tmp_path, [BRIDGE, replace(NIC, group=28), DISK, *rtx("65", 28)])
    tree.reached_through("eno1")
    shared = case(tree)
    assert verdict(shared, "group") is BLOCK
    assert "0000:04:00.0" in found(shared, "group").sentence
    assert verdict(shared, "acs") is WARNING
    assert verdict(shared, "critical") is BLOCK
    assert "the SSH connection to this console (eno1): vhost-a would be lost" in found(shared, "critical").sentence


def test_a_group_whose_others_nobody_holds(tmp_path: Path) -> None:
    idle = Pci(address="0000:04:00.1", id="8086:1521", kind=0x020000, driver="vfio-pci", group=28)
    shared = case(Tree(tmp_path, [*HOST, idle, *rtx("65", 28)]))
    assert (verdict(shared, "group"), verdict(shared, "acs"), verdict(shared, "critical")) == (OK, WARNING, OK)
    taken = replace(shared, owners={"0000:04:00.1": "vhost-a/router (running)"})
    assert verdict(taken, "in-use") is BLOCK
    assert "vhost-a/router" in found(taken, "in-use").sentence


def test_half_a_card(tmp_path: Path) -> None:
    half = case(Tree(tmp_path, [*HOST, *rtx("65", 28)]), replace(RTX, functions=("10de:2206",), function_numbers=(0,)))
    assert verdict(half, "functions") is BLOCK
    apart = Tree(tmp_path / "apart", [*HOST, rtx("65", 28)[0], replace(rtx("65", 28)[1], group=29)])
    assert verdict(case(apart, half.device), "functions") is WARNING


def test_a_card_that_moved_to_another_slot(tmp_path: Path) -> None:
    moved = case(Tree(tmp_path / "moved", [*HOST, *rtx("b3", 28)]))
    assert verdict(moved, "hardware-changed") is BLOCK
    assert "0000:65:00 on vhost-a is empty" in found(moved, "hardware-changed").sentence
    assert "0000:b3:00" in found(moved, "hardware-changed").remedy
    swapped = [
        replace(function, id="10de:2204") if function.id == "10de:2206" else function for function in rtx("65", 28)
    ]
    other = case(Tree(tmp_path / "other", [*HOST, *swapped]))
    assert verdict(other, "hardware-changed") is BLOCK
    assert "holds 10de:2204, 10de:1aef" in found(other, "hardware-changed").sentence
    new = replace(RTX, functions=(), function_numbers=())
    assert verdict(case(Tree(tmp_path / "new", [*HOST, *rtx("65", 28)]), new), "hardware-changed") is OK


def test_a_resource_that_was_not_picked_yet(tmp_path: Path) -> None:
    wish = case(Tree(tmp_path, [*HOST, *rtx("65", 28)]), Device(name="gpu0", pci="", resource="rtx3080"))
    assert verdict(wish, "hardware-changed") is UNKNOWN
    assert blocks(preflight(wish)) == ()


def test_two_cards_alike(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28), *rtx("b3", 29, driver="nvidia")])
    assert verdict(case(tree), "identical-cards") is OK
    tree.write("proc/cmdline", "intel_iommu=on vfio-pci.ids=10de:2206,10de:1aef\n")
    assert verdict(case(tree), "identical-cards") is BLOCK
    assert "0000:b3:00.0 too" in found(case(tree), "identical-cards").sentence
    both = replace(case(tree), owners={f"0000:b3:00.{n}": "vhost-a/other (off)" for n in (0, 1)})
    assert verdict(both, "identical-cards") is OK


def test_a_driver_that_has_the_card(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, driver="nvidia")])
    idle = case(tree)
    if idle.functions[0].users is not None:
        assert "nobody uses it now" in found(idle, "binding").sentence
    assert verdict(idle, "binding") is WARNING
    tree.process(700, "ollama", "/dev/dri/card1")
    busy = case(tree)
    if busy.functions[0].users is not None:
        assert verdict(busy, "binding") is BLOCK
        assert "ollama (700)" in found(busy, "binding").sentence
    harmless = Tree(
        tmp_path / "disk", [*HOST, Pci(address="0000:65:00.0", id="144d:a80a", kind=0x010802, driver="nvme")]
    )
    assert verdict(case(harmless, replace(RTX, functions=(), function_numbers=(0,))), "binding") is OK


def test_a_card_that_another_has(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)])
    free = case(tree)
    assert verdict(free, "in-use") is OK
    taken = replace(free, owners={"0000:65:00.1": "vhost-a/win-lab (off)"})
    assert verdict(taken, "in-use") is BLOCK
    assert found(taken, "in-use").sentence == "0000:65:00.1 belongs to vhost-a/win-lab (off)."
    tree.process(702, "qemu-system-x86", "/dev/vfio/28")
    if case(tree).functions[0].users is not None:
        assert verdict(case(tree), "in-use") is BLOCK
        assert verdict(replace(case(tree), running=True), "in-use") is OK


def test_a_card_that_the_host_keeps_for_itself(tmp_path: Path) -> None:
    kept = replace(case(Tree(tmp_path, [*HOST, *rtx("65", 28)])), kept={"0000:65:00.0": "own.gpu0, for containers"})
    assert verdict(kept, "in-use") is BLOCK
    assert "vhost-a keeps 0000:65:00.0 for itself (own.gpu0, for containers): no guest gets it." in (
        found(kept, "in-use").sentence
    )
    assert "qd gpu release vhost-a/0000:65:00" in found(kept, "in-use").remedy


def test_the_card_the_machine_boots_on(tmp_path: Path) -> None:
    only = Tree(tmp_path / "only", [BRIDGE, NIC, DISK, *rtx("65", 28, driver="nouveau", boot_vga=1)])
    only.write("proc/fb", "0 EFI VGA\n")
    assert verdict(case(only), "boot-gpu") is BLOCK
    assert "/proc/fb: EFI VGA" in found(case(only), "boot-gpu").evidence
    assert verdict(case(only), "rom") is WARNING
    given_up = case(Tree(tmp_path / "given", [BRIDGE, NIC, DISK, *rtx("65", 28, boot_vga=1)]))
    assert verdict(given_up, "boot-gpu") is WARNING
    assert "Fit a second card" in found(given_up, "boot-gpu").remedy
    assert verdict(case(Tree(tmp_path / "second", [*HOST, *rtx("65", 28)])), "boot-gpu") is OK


def test_the_disk_that_the_host_runs_from(tmp_path: Path) -> None:
    tree = Tree(tmp_path, HOST)
    disk = Device(name="disk", pci="0000:05:00", function_numbers=(0,))
    assert verdict(case(tree, disk), "critical") is WARNING, "nobody knows what the host runs from"
    tree.mount("/", "nvme0n1p2", "259:2")
    assert verdict(case(tree, disk), "critical") is BLOCK
    assert "the root file system (nvme0n1p2)" in found(case(tree, disk), "critical").sentence
    assert verdict(case(tree, replace(disk, pci="0000:04:00")), "critical") is OK


def test_a_card_that_is_split(tmp_path: Path) -> None:
    split = {"sriov_totalvfs": "16", "sriov_numvfs": "1"}
    card = Pci(address="0000:65:00.0", id="8086:10c9", kind=0x020000, group=28, virtual=("0000:65:10.0",), files=split)
    part = Pci(address="0000:65:10.0", id="8086:10ca", kind=0x020000, group=30, physical="0000:65:00.0")
    tree = Tree(tmp_path, [*HOST, card, part])
    whole = case(tree, Device(name="nic", pci="0000:65:00", function_numbers=(0,)))
    assert verdict(whole, "whole-card") is BLOCK
    assert "0000:65:10.0" in found(whole, "whole-card").evidence
    one = case(tree, Device(name="nic", pci="0000:65:10", functions=("8086:10ca",), function_numbers=(0,)))
    assert verdict(one, "sr-iov") is WARNING
    assert "qd gpu vfs vhost-a/0000:65:00.0 1, then deploy" in found(one, "sr-iov").remedy
    one = replace(one, sriov={"0000:65:00.0": 1})
    assert (verdict(one, "whole-card"), verdict(one, "sr-iov"), verdict(one, "functions")) == (OK, OK, OK)
    gone = case(Tree(tmp_path / "gone", [*HOST, replace(card, virtual=()), part]), one.device)
    assert verdict(gone, "sr-iov") is BLOCK


def test_mediated_devices(tmp_path: Path) -> None:
    kind = "mdev_supported_types/nvidia-63"
    for free, expected in (("7", OK), ("0", BLOCK)):
        files = {f"{kind}/name": "GRID P40-1Q", f"{kind}/available_instances": free}
        tree = Tree(tmp_path / free, [*HOST, *rtx("65", 28, driver="nvidia", files=files)])
        assert verdict(case(tree, replace(RTX, mdev="nvidia-63")), "mdev") is expected
    assert verdict(case(tree, replace(RTX, mdev="nvidia-64")), "mdev") is BLOCK
    assert verdict(case(tree), "mdev") is OK
    part = case(tree, replace(RTX, mdev="nvidia-63"))
    assert (verdict(part, "binding"), verdict(part, "whole-card")) == (OK, OK)
    uuid = "4b20d080-1b54-4048-85b3-a6a62d165c01"
    tree.link(f"sys/bus/mdev/devices/{uuid}", f"sys/devices/pci0000:00/0000:65:00.0/{uuid}")
    assert verdict(case(tree, replace(RTX, mdev="nvidia-63", mdev_uuid=uuid)), "mdev") is OK
    assert verdict(case(tree), "whole-card") is BLOCK


def test_what_a_card_would_cost_its_host_is_no_matter_to_a_mediated_device(tmp_path: Path) -> None:
    files = {"mdev_supported_types/nvidia-63/available_instances": "7", "boot_vga": "1"}
    cards = rtx("65", 28, driver="nvidia", files=files)
    tree = Tree(tmp_path, [BRIDGE, replace(NIC, group=28), DISK, *cards])
    tree.reached_through("eno1")
    whole, part = case(tree), case(tree, replace(RTX, mdev="nvidia-63"), firmware=Firmware.BIOS)
    assert {"group", "critical", "boot-gpu"} <= {finding.rule for finding in blocks(preflight(whole))}
    assert [finding for finding in preflight(part) if finding.verdict is not OK] == []
    assert verdict(replace(part, hardware=replace(part.hardware, iommu=False)), "iommu") is OK


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [("0", 1155, OK), ("1155", 1155, OK), ("1156", 1155, BLOCK), ("0", 1157, BLOCK), ("0", None, BLOCK)],
)
def test_vgpu_types_of_a_virtual_function(tmp_path: Path, current: str, wanted: int | None, expected: Verdict) -> None:
    types = {
        "nvidia/creatable_vgpu_types": "ID : vGPU Name\n1155 : NVIDIA L40S-1Q",
        "nvidia/current_vgpu_type": current,
    }
    card = Pci(address="0000:81:00.0", id="10de:26b9", kind=0x030200, driver="nvidia", virtual=("0000:81:00.4",))
    part = Pci(
        address="0000:81:00.4",
        id="10de:26b9",
        kind=0x030200,
        driver="nvidia",
        group=4,
        physical=card.address,
        files=types,
    )
    device = Device(name="vgpu", pci="0000:81:00", functions=("10de:26b9",), function_numbers=(4,), vgpu=wanted)
    assert verdict(case(Tree(tmp_path, [*HOST, card, part]), device), "vgpu") is expected


def test_a_vgpu_where_no_driver_makes_any(tmp_path: Path) -> None:
    assert verdict(case(Tree(tmp_path, [*HOST, *rtx("65", 28)]), replace(RTX, vgpu=1155)), "vgpu") is BLOCK


def test_the_guest_s_machine_and_firmware(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)])
    assert verdict(case(tree, machine="pc-i440fx-9.2"), "machine") is BLOCK
    assert verdict(case(tree, firmware=Firmware.BIOS), "firmware") is WARNING
    network = Device(name="nic", pci="0000:04:00", function_numbers=(0,))
    assert verdict(case(tree, network, firmware=Firmware.BIOS), "firmware") is OK
    assert verdict(case(tree, hide_kvm=True), "hidden-kvm") is OK
    assert verdict(case(tree, network, hide_kvm=True), "hidden-kvm") is WARNING


def test_roms(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, rom=False)])
    assert verdict(case(tree), "rom") is WARNING
    assert verdict(case(tree, replace(RTX, rom="off")), "rom") is OK
    assert verdict(case(tree, replace(RTX, rom="/var/lib/rtx.rom")), "rom") is UNKNOWN


@pytest.mark.parametrize(
    ("bars", "expected"), [((256 * MIB,), OK), ((32 * GIB,), WARNING), ((128 * GIB,), WARNING), ((32768 * GIB,), BLOCK)]
)
def test_large_regions(tmp_path: Path, bars: tuple[int, ...], expected: Verdict) -> None:
    assert verdict(case(Tree(tmp_path, [*HOST, *rtx("65", 28, bars=bars)])), "bar-window") is expected


def test_a_region_that_can_be_resized(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, files={"resource1_resize": "0000000000000fc0"})])
    assert verdict(case(tree), "resizable-bar") is WARNING


def test_memory(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)])
    assert verdict(case(tree), "memory") is OK
    tree.memory(33 * GIB)
    assert verdict(case(tree), "memory") is BLOCK
    assert verdict(replace(case(tree), running=True), "memory") is OK
    assert verdict(case(tree, hugepages_kib=GIB_KIB), "memory") is OK
    assert verdict(case(tree, memory_kib=600 * GIB_KIB), "memory-lock") is OK
    tree.write("proc/meminfo", "")
    assert verdict(case(tree), "memory") is UNKNOWN


def test_huge_pages_where_the_card_is(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, node=1, cpus="8-15")])
    tree.node(0, "0-7", hugepages=(64, 64))
    tree.node(1, "8-15", hugepages=(64, 16))
    assert verdict(case(tree, hugepages_kib=GIB_KIB), "hugepages") is BLOCK
    assert "16 are free on node 1" in found(case(tree, hugepages_kib=GIB_KIB), "hugepages").sentence
    assert verdict(case(tree, hugepages_kib=GIB_KIB, memory_kib=16 * GIB_KIB), "hugepages") is OK
    assert verdict(case(tree, hugepages_kib=GIB_KIB, numa=0), "hugepages") is OK
    assert verdict(case(tree), "hugepages") is OK


def test_pins_beside_the_card(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28, node=1, cpus="8-15")])
    tree.node(0, "0-7")
    tree.node(1, "8-15")
    far = case(tree)
    assert verdict(far, "numa") is WARNING
    assert 'cpus = "8-11"' in found(far, "numa").remedy
    assert 'cpus = "9-12"' in found(replace(far, pinned={8: "vhost-a/db"}), "numa").remedy
    assert verdict(case(tree, cpus="0-3"), "numa") is WARNING
    assert verdict(case(tree, cpus="8-11"), "numa") is verdict(case(tree, cpus="8-11", numa=1), "numa") is OK
    assert "numa = 1" in found(case(tree, cpus="8-11", numa=0), "numa").remedy
    owned = replace(case(tree, cpus="8-11"), pinned={9: "vhost-a/db"})
    assert verdict(owned, "numa") is BLOCK
    assert "CPU 9" in found(owned, "numa").sentence


@pytest.mark.parametrize(
    ("id", "resets", "expected"),
    [
        ("1002:731f", "bus", WARNING),
        ("1002:687f", "", WARNING),
        ("10de:2c05", "flr", WARNING),
        ("1002:744c", "bus", OK),
    ],
)
def test_cards_that_do_not_reset(tmp_path: Path, id: str, resets: str, expected: Verdict) -> None:
    card = Pci(address="0000:65:00.0", id=id, kind=0x030000, driver="vfio-pci", group=28, resets=resets, rom=True)
    assert verdict(case(Tree(tmp_path, [*HOST, card]), Device(name="gpu0", pci="0000:65:00")), "reset") is expected


def test_a_card_without_any_reset(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *(replace(function, resets="") for function in rtx("65", 28))])
    assert verdict(case(tree), "reset") is WARNING
    for function in rtx("65", 28):
        (tree.root / "sys/devices/pci0000:00" / BRIDGE.address / function.address / "reset_method").unlink()
    assert verdict(case(tree), "reset") is UNKNOWN


def test_deep_sleep(tmp_path: Path) -> None:
    assert verdict(case(Tree(tmp_path, [*HOST, *rtx("65", 28)])), "d3cold") is WARNING


def test_a_warning_is_accepted_and_a_block_is_not(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)], iommu=False)
    accepted = case(tree, replace(RTX, accepted=("d3cold", "iommu")))
    assert found(accepted, "d3cold").accepted and not found(accepted, "iommu").accepted
    assert [finding.rule for finding in warnings(preflight(accepted))] == []
    assert [finding.rule for finding in blocks(preflight(accepted))] == ["iommu"]


def test_every_rule_has_its_name_in_the_inventory(tmp_path: Path) -> None:
    assert tuple(finding.rule for finding in preflight(case(Tree(tmp_path, HOST)))) == RULE_NAMES


def test_what_was_not_asked_is_not_called_well(tmp_path: Path) -> None:
    """libvirt alone does not tell what hangs on a card, who uses it, or how it is reset."""
    whole = case(Tree(tmp_path, [*HOST, *rtx("65", 28, files={"d3cold_allowed": "0"})]))
    in_part = replace(whole, hardware=replace(whole.hardware, whole=False))
    assert {finding.rule for finding in preflight(in_part) if finding.verdict is UNKNOWN} >= {"critical", "binding"}
    assert verdict(in_part, "hardware-changed") is OK
    assert blocks(preflight(replace(in_part, owners={"0000:65:00.0": "vhost-a/other (off)"})))


def test_no_host_breaks_a_rule(tmp_path: Path) -> None:
    """What was asked for is not there at all, on a host that tells next to nothing."""
    for tree in (Tree(tmp_path, []), Tree(tmp_path / "b", [BRIDGE])):
        for device in (RTX, Device(name="x", pci="0000:00:01"), replace(RTX, mdev="a", vgpu=3, rom="/x")):
            assert {"hardware-changed"} <= {
                finding.rule for finding in blocks(preflight(case(tree, device)))
            } or device.pci
            for finding in preflight(replace(case(tree, device), owners={"0000:00:01.0": "h/g (off)"})):
                assert finding.sentence


@pytest.mark.parametrize(("cpus", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 8], "0-2,8"), ([1, 3], "1,3")])
def test_lists_of_cpus_are_short(cpus: list[int], text: str) -> None:
    assert cpu_list(cpus) == text
