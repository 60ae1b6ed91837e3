"""What a host does with its own devices: keeps one for itself, gives it back, parts a card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.domain.hardware import HostHardware
from console.domain.model import OwnDevice
from console.services.keeping import wish_to_keep
from console.services.wishes import KeepWish
from tests.services.world import ASPEED, RTX, World
from tests.sysfs import BRIDGE, HOST, Pci, Tree, rtx

NIC = "0000:3b:00"
VIRTUAL = tuple(f"0000:3b:02.{number}" for number in range(4))


@pytest.fixture
def hardware(tmp_path: Path) -> HostHardware:
    """What the kernel of vhost-a says: a card for guests, and a network card that is parted in four of eight."""
    card = Pci(
        address=f"{NIC}.0", id="8086:1572", kind=0x020000, driver="i40e", group=21, virtual=VIRTUAL,
        files={"sriov_totalvfs": "8", "sriov_numvfs": "4"},
    )  # fmt: skip
    parts = [
        Pci(address=address, id="8086:154c", kind=0x020000, group=50 + number, physical=card.address)
        for number, address in enumerate(VIRTUAL)
    ]
    return Tree(tmp_path / "root", [*HOST, *rtx("65", 28), card, *parts]).read()


@pytest.fixture
async def asked(world: World, hardware: HostHardware) -> World:
    """The world, with the kernel of vhost-a asked."""
    world.hardware.told["vhost-a"] = hardware
    await world.session.devices.read(["vhost-a"], timeout_s=1)
    return world


def keep(slot: str = RTX, *, name: str = "", containers: bool | None = None) -> KeepWish:
    return KeepWish(host="vhost-a", slot=slot, name=name, containers=containers)


def own(world: World) -> dict[str, OwnDevice]:
    return dict(world.session.store.fleet.hosts["vhost-a"].own)


def virtual_function(number: int) -> str:
    """A device of a guest, as it stands in the inventory."""
    slot, _, function = VIRTUAL[number].rpartition(".")
    return (
        f'\n[guests.web.devices.nic0]\npci = "{slot}"\nfunctions = ["8086:154c"]\nfunction_numbers = [{function}]\n'
        f'virtual_of = "{NIC}.0"\n'
    )


async def give(world: World, number: int) -> None:
    """web has a virtual function from now on."""
    file = world.folder / "hosts/vhost-a.toml"
    file.write_text(file.read_text() + virtual_function(number))
    await world.session.reread()


async def test_a_device_is_kept_named_and_given_back(asked: World) -> None:
    before = asked.files()
    assert (await asked.apply(asked.session.plan_keep(keep(containers=True)))).ok
    kept = OwnDevice(name="gpu0", pci=RTX, functions=("10de:2206", "10de:1aef"), containers=True)
    assert own(asked) == {"gpu0": kept}
    assert "containers = true" in asked.files()["generated/vhost-a.nix"]
    assert (await asked.apply(asked.session.plan_keep(keep(name="models")))).ok
    assert own(asked) == {"models": replace(kept, name="models")}, "what was not said stays"
    assert asked.session.plan_keep(keep()).is_empty
    assert (await asked.apply(asked.session.plan_give_back("vhost-a", RTX))).ok
    assert asked.files()["hosts/vhost-a.toml"] == before["hosts/vhost-a.toml"]
    assert "Give 0000:65:00 of vhost-a back" in [what for what, *_ in asked.repository.commits]  # type: ignore[attr-defined]


async def test_what_keeping_means_for_the_host_is_said(asked: World, hardware: HostHardware) -> None:
    plain, toolkit = (asked.session.plan_keep(keep(containers=each)).warnings for each in (False, True))
    assert plain[0].startswith("No guest gets ") and "on vfio-pci now. Deploy vhost-a, then reboot it" in plain[1]
    assert "CDI and brings NVIDIA's driver and container toolkit" in toolkit[-1]
    (_, driver) = asked.session.plan_keep(keep(NIC)).warnings
    assert driver == "The configuration of vhost-a says so at its next deployment; nothing is rebooted."


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (keep("0000:99:00"), "vhost-a has no device at 0000:99:00."),
        (keep(BRIDGE.address.removesuffix(".0")), "is a bridge: no guest gets it anyway."),
        (keep(name="a b"), "is not a name"),
        (keep(ASPEED), "vhost-a has no device at 0000:02:00."),
    ],
    ids=str,
)
async def test_what_cannot_be_kept(asked: World, wish: KeepWish, why: str) -> None:
    with pytest.raises(FleetError) as error:
        asked.session.plan_keep(wish)
    assert why in error.value.detail


async def test_a_device_of_a_guest_is_not_kept(asked: World) -> None:
    await asked.create(gpu=RTX)
    with pytest.raises(FleetError) as error:
        asked.session.plan_keep(keep())
    assert "It belongs to vhost-a/new (off). Take it from the guest first." in error.value.detail


async def test_a_name_stands_for_one_device(asked: World) -> None:
    await asked.apply(asked.session.plan_keep(keep(name="card")))
    assert asked.session.keep_problems(keep(NIC, name="card")) == {
        "name": f"own.card of vhost-a is {RTX} already. Choose another name."
    }
    assert asked.session.keep_problems(keep(NIC)) == {}


async def test_only_what_is_kept_is_given_back(asked: World) -> None:
    await asked.apply(asked.session.plan_keep(keep(NIC)))
    with pytest.raises(FleetError) as error:
        asked.session.plan_give_back("vhost-a", RTX)
    assert error.value.detail == f"It keeps {NIC} (own.device0)."


async def test_a_host_that_never_told_its_devices_keeps_what_its_report_has(world: World) -> None:
    world.fake.hosts["vhost-a"].pci = ()
    await world.see()
    assert world.session.keep_problems(keep())["slot"].startswith("The devices of vhost-a are not known.")
    file = world.folder / "hosts/vhost-a.toml"
    file.write_text(file.read_text() + f'\n[hardware.pci]\n"{RTX}" = ["10de:2206", "10de:1aef"]\n')
    await world.session.reread()
    await world.apply(world.session.plan_keep(keep()))
    assert [(each.name, each.functions) for each in own(world).values()] == [("device0", ("10de:2206", "10de:1aef"))]


async def test_a_form_begins_with_what_suits_the_device(asked: World, hardware: HostHardware) -> None:
    host = asked.session.store.fleet.hosts["vhost-a"]
    assert wish_to_keep(host, RTX, hardware.slot(RTX)) == keep(name="gpu0", containers=True)
    assert wish_to_keep(host, NIC, hardware.slot(NIC)) == keep(NIC, name="device0", containers=False)
    await asked.apply(asked.session.plan_keep(keep(name="card")))
    host = asked.session.store.fleet.hosts["vhost-a"]
    assert wish_to_keep(host, RTX, hardware.slot(RTX)) == keep(name="card", containers=False)


async def test_virtual_functions_are_set_and_taken_away(asked: World) -> None:
    plan = asked.session.plan_parts("vhost-a", NIC, "8")
    assert plan.warnings == (
        "It has 4 now. Deploy vhost-a, then reboot it: the number is set at boot alone, never while guests may have "
        "some.",
    )
    before = asked.files()["hosts/vhost-a.toml"]
    assert (await asked.apply(plan)).ok
    assert asked.session.store.fleet.hosts["vhost-a"].sriov == {f"{NIC}.0": 8}
    assert f'"{NIC}.0" = 8' in asked.files()["hosts/vhost-a.toml"]
    assert asked.session.plan_parts("vhost-a", f"{NIC}.0", "8").is_empty
    assert "It has 4 now, and after each boot" in asked.session.plan_parts("vhost-a", NIC, "4").warnings[0]
    assert (await asked.apply(asked.session.plan_parts("vhost-a", NIC, "0"))).ok
    assert asked.files()["hosts/vhost-a.toml"] == before


@pytest.mark.parametrize(
    ("place", "count", "why"),
    [
        (NIC, "9", "can have at most 8 virtual functions"),
        (NIC, "-1", "is no number of virtual functions. Write 0 for none."),
        (NIC, "", "is no number of virtual functions"),
        (NIC, "٣", "is no number of virtual functions"),
        (NIC, "9" * 5000, "is no number of virtual functions"),
        (RTX, "1", "can have no virtual functions: it has no SR-IOV"),
        (VIRTUAL[0], "1", "is itself a virtual function, of 0000:3b:00.0"),
        ("0000:99:00.0", "1", "vhost-a has no 0000:99:00.0."),
    ],
)
async def test_virtual_functions_that_cannot_be(asked: World, place: str, count: str, why: str) -> None:
    with pytest.raises(FleetError) as error:
        asked.session.plan_parts("vhost-a", place, count)
    assert why in error.value.detail and len(str(error.value)) < 500


async def test_a_virtual_function_of_a_guest_is_not_taken_away(asked: World) -> None:
    await asked.apply(asked.session.plan_parts("vhost-a", NIC, "4"))
    await give(asked, 2)
    for count in ("2", "0"):
        why = asked.session.parts_problem("vhost-a", f"{NIC}.0", count)
        assert why == "vhost-a/web (running) has 0000:3b:02.2, which would be gone. Take it from the guest first."
    assert asked.session.parts_problem("vhost-a", f"{NIC}.0", "3") == "", "the third one stays"


async def test_one_that_only_runs_with_it_keeps_it_too(asked: World) -> None:
    """libvirt tells of a guest that nobody wrote into the inventory."""
    observed = asked.session.store.host("vhost-a").seen
    guests = tuple(replace(each, pci=(VIRTUAL[3],)) for each in observed.guests)
    asked.session.store.set_observed({"vhost-a": replace(observed, guests=guests)})
    why = asked.session.parts_problem("vhost-a", f"{NIC}.0", "3")
    assert why.startswith("vhost-a/web (running) has 0000:3b:02.3"), "though the inventory says nothing of its number"
    assert asked.session.parts_problem("vhost-a", f"{NIC}.0", "4") == ""


async def test_a_card_that_is_a_guests_is_not_parted(asked: World, hardware: HostHardware) -> None:
    await asked.create(gpu=NIC)
    assert "It belongs to vhost-a/new (off) itself" in asked.session.parts_problem("vhost-a", f"{NIC}.0", "2")


async def test_a_card_that_is_gone_keeps_no_number(asked: World, hardware: HostHardware) -> None:
    await asked.apply(asked.session.plan_parts("vhost-a", NIC, "4"))
    await give(asked, 0)
    gone = tuple(each for each in hardware.functions if not each.address.startswith("0000:3b:"))
    asked.hardware.told["vhost-a"] = replace(hardware, functions=gone)
    await asked.session.devices.read(["vhost-a"], timeout_s=1)
    assert "vhost-a/web (running) has 0000:3b:02.0" in asked.session.parts_problem("vhost-a", f"{NIC}.0", "0")
    assert "vhost-a has no" in asked.session.parts_problem("vhost-a", f"{NIC}.0", "5")


async def test_without_the_kernels_word_no_number_is_changed(world: World) -> None:
    with pytest.raises(FleetError) as error:
        world.session.plan_parts("vhost-a", NIC, "0")
    assert error.value.detail.startswith("The kernel of vhost-a was not asked")
