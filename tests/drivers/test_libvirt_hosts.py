"""Hosts on libvirt's test driver through a real libvirt process: what is seen, each verb, what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.model import Accel
from console.domain.observed import (
    DownReason,
    GuestState,
    HostNetwork,
    HostObservation,
    HostState,
    PciDevice,
)
from console.domain.verbs import (
    AttachDevice,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ForceOff,
    Reboot,
    Reset,
    Resume,
    SetAutostart,
    SetMemory,
    Shutdown,
    Start,
    Suspend,
    Undefine,
    Verb,
)
from console.drivers.base import HostTarget
from console.drivers.libvirt.client import LibvirtClient
from tests.drivers.world import DB, HOST, HOSTILE_DEVICE, NEW, WEB, World, domain_xml, guest, until


async def observed(client: LibvirtClient, host: str = "a") -> HostObservation:
    seen = await client.observe(host, timeout_s=10)
    assert seen.state is HostState.UP, seen.error
    return seen


async def state_after(client: LibvirtClient, verb: Verb, name: str = "web") -> GuestState:
    """The state that updates tell of once the verb has returned, without another look at the host."""
    await client.call("a", verb, timeout_s=10)
    told = await until(client, lambda _: True)
    return guest(told["a"], name).state


@pytest.fixture
async def client(world: World) -> LibvirtClient:
    client = world.client()
    await client.set_targets((world.host("a"),))
    await until(client, lambda seen: seen["a"].state is HostState.UP)
    return client


async def test_facts(client: LibvirtClient) -> None:
    facts = (await observed(client)).facts
    assert facts is not None
    assert (facts.driver, facts.accel, facts.uefi, facts.hypervisor_version) == ("TEST", Accel.TEST, None, None)
    assert (facts.cpu_model, facts.cpus, facts.memory_kib) == ("Intel Xeon Gold 6130", 64, 201326592)
    assert facts.numa_nodes == 2
    assert facts.pci == (
        PciDevice(
            address="0000:65:00.0",
            vendor_id="10de",
            device_id="2206",
            vendor="NVIDIA Corporation",
            product="GA102 [GeForce RTX 3080]",
            class_code="0x030000",
            iommu_group=28,
            group_members=("0000:65:00.0", "0000:65:00.1"),
            numa_node=1,
        ),
    )
    assert facts.networks == (HostNetwork(name="lan", active=True, bridge="br0"),)
    (pool,) = facts.pools
    assert (pool.name, pool.active, pool.path) == ("fast", True, "/srv/fast")
    assert [(v.name, v.path, v.capacity_bytes, v.format) for v in pool.volumes] == [
        ("base.qcow2", "/srv/fast/base.qcow2", 1073741824, "qcow2")
    ]


async def test_guests_and_nothing_made_up(client: LibvirtClient) -> None:
    host = await observed(client)
    web, db = guest(host, "web"), guest(host, "db")
    assert (web.state, db.state) == (GuestState.RUNNING, GuestState.OFF)
    assert (web.uuid, web.vcpus, web.memory_kib, web.persistent, web.autostart) == (WEB, 2, 1048576, True, False)
    assert web.pci == ("0000:65:00.0",)
    assert web.shape["disk vda"].startswith("/srv/fast/web.qcow2")
    assert web.active_shape == web.shape
    assert db.active_shape is None
    # The driver invents figures and addresses; we report none.
    assert (web.sample, web.cpu_history, web.addresses) == (None, (), ())
    assert (host.sample, host.cpu_history) == (None, ())


async def test_hostile_text_is_escaped(world: World) -> None:
    # The driver takes this device; its vendor's name holds a control character.
    client = world.client()
    await client.set_targets((world.host("a", HOST.replace("</node>", HOSTILE_DEVICE + "</node>")),))
    facts = (await observed(client)).facts
    assert facts is not None
    assert [(device.address, device.vendor) for device in facts.pci] == [
        ("0000:01:00.0", "Intel\\x7f"),
        ("0000:65:00.0", "NVIDIA Corporation"),
    ]


async def test_power(client: LibvirtClient) -> None:
    assert await state_after(client, Suspend(uuid=WEB)) is GuestState.PAUSED
    assert await state_after(client, Resume(uuid=WEB)) is GuestState.RUNNING
    assert await state_after(client, Reset(uuid=WEB)) is GuestState.RUNNING
    assert await state_after(client, Reboot(uuid=WEB)) is GuestState.RUNNING
    assert await state_after(client, Shutdown(uuid=WEB)) is GuestState.OFF
    assert await state_after(client, Start(uuid=WEB)) is GuestState.RUNNING
    assert await state_after(client, ForceOff(uuid=WEB)) is GuestState.OFF
    assert (await client.write_calls())["a"] == 7


async def test_force_off_of_what_is_off_is_done_and_writes_nothing(client: LibvirtClient) -> None:
    assert await state_after(client, ForceOff(uuid=DB), "db") is GuestState.OFF
    assert (await client.write_calls())["a"] == 0


async def test_define_start_undefine(client: LibvirtClient) -> None:
    await client.call("a", Define(xml=domain_xml("new", NEW)), timeout_s=10)
    assert guest(await observed(client), "new").state is GuestState.OFF
    await client.call("a", Start(uuid=NEW), timeout_s=10)
    with pytest.raises(FleetError, match="new was not undefined") as refused:
        await client.call("a", Undefine(uuid=NEW), timeout_s=10)
    assert "running" in refused.value.detail
    await client.call("a", ForceOff(uuid=NEW), timeout_s=10)
    await client.call("a", Undefine(uuid=NEW), timeout_s=10)
    assert {guest.name for guest in (await observed(client)).guests} == {"web", "db"}
    assert (await client.write_calls())["a"] == 4


async def test_a_redefinition_waits_for_the_next_boot(client: LibvirtClient) -> None:
    before = guest(await observed(client), "web")
    await client.call("a", Define(xml=domain_xml("web", WEB, memory_kib=4194304)), timeout_s=10)
    web = guest(await observed(client), "web")
    assert web.active_shape == before.shape
    assert web.shape != before.shape
    assert web.pci == ()


async def test_autostart(client: LibvirtClient) -> None:
    await client.call("a", SetAutostart(uuid=DB, on=True), timeout_s=10)
    assert guest(await observed(client), "db").autostart is True
    await client.call("a", SetAutostart(uuid=DB, on=False), timeout_s=10)
    assert guest(await observed(client), "db").autostart is False


async def test_memory_of_a_running_guest(client: LibvirtClient) -> None:
    await client.call("a", SetMemory(uuid=WEB, memory_kib=524288), timeout_s=10)
    with pytest.raises(FleetError, match="the memory of db was not changed"):
        await client.call("a", SetMemory(uuid=DB, memory_kib=524288), timeout_s=10)


@pytest.mark.parametrize("verb", [AttachDevice, DetachDevice])
async def test_what_the_driver_cannot_do_live(client: LibvirtClient, verb: type[AttachDevice | DetachDevice]) -> None:
    xml = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
    with pytest.raises(FleetError, match=r"was not (at|de)tached (to|from) web") as refused:
        await client.call("a", verb(uuid=WEB, xml=xml), timeout_s=10)
    assert refused.value.detail


async def test_volumes(client: LibvirtClient) -> None:
    gib = 1 << 30
    await client.call("a", CreateVolume(pool="fast", name="empty.raw", capacity_bytes=gib, format="raw"), timeout_s=10)
    await client.call(
        "a", CreateVolume(pool="fast", name="over.qcow2", capacity_bytes=2 * gib, backing="base.qcow2"), timeout_s=10
    )
    await client.call(
        "a", CreateVolume(pool="fast", name="copy.qcow2", capacity_bytes=gib, copy_of="base.qcow2"), timeout_s=10
    )
    # The pool as it is now is told of before the verb returns.
    told = (await until(client, lambda _: True))["a"]
    assert told.facts is not None
    volumes = {volume.name: volume for volume in told.facts.pools[0].volumes}
    assert volumes.keys() == {"base.qcow2", "empty.raw", "over.qcow2", "copy.qcow2"}
    assert (volumes["over.qcow2"].capacity_bytes, volumes["empty.raw"].format) == (2 * gib, "raw")
    await client.call("a", DeleteVolume(pool="fast", name="over.qcow2"), timeout_s=10)
    facts = (await observed(client)).facts
    assert facts is not None
    assert "over.qcow2" not in {volume.name for volume in facts.pools[0].volumes}
    assert (await client.write_calls())["a"] == 4


STRANGE = domain_xml("new", NEW).replace("</domain>", "<devices><kennel /></devices></domain>")
"""Well-formed, and nothing that libvirt's schema has; libvirt itself passes over what it does not know."""


@pytest.mark.parametrize(
    ("verb", "title", "words", "writes"),
    [
        (Start(uuid=WEB), "web was not started", "running already", 1),
        (Start(uuid=NEW), f"domain {NEW} was not started", "no such domain", 0),
        (Define(xml=STRANGE, validate=True), "new was not defined", "does not accept", 1),
        (Define(xml="<domain"), "the domain was not defined", "does not accept", 1),
        (Resume(uuid=WEB), "web was not resumed", "not in the state", 1),
        (
            CreateVolume(pool="fast", name="base.qcow2", capacity_bytes=1),
            "volume base.qcow2 was not created",
            "exists already",
            0,
        ),
        (CreateVolume(pool="none", name="x", capacity_bytes=1), "volume x was not created", "no such storage pool", 0),
        (
            CreateVolume(pool="fast", name="x", capacity_bytes=1, backing="none"),
            "volume x was not created",
            'no volume "none"',
            0,
        ),
        (
            CreateVolume(pool="fast", name="x", capacity_bytes=1, format="raw", backing="base.qcow2"),
            "volume x was not created",
            "Only a qcow2 volume",
            0,
        ),
        (
            CreateVolume(pool="fast", name="x", capacity_bytes=1 << 20, backing="base.qcow2"),
            "volume x was not created",
            "larger than the 1 MiB",
            0,
        ),
        (DeleteVolume(pool="fast", name="none"), "volume none was not deleted", "no such volume", 0),
    ],
)
async def test_refusals(client: LibvirtClient, verb: Verb, title: str, words: str, writes: int) -> None:
    before = await observed(client)
    with pytest.raises(FleetError) as refused:
        await client.call("a", verb, timeout_s=10)
    assert refused.value.title == title
    assert words in refused.value.detail
    assert not isinstance(refused.value, HostUnreachable)
    assert (await client.write_calls())["a"] == writes
    after = await observed(client)
    assert (after.guests, after.facts) == (before.guests, before.facts)


async def test_a_restarted_process_finds_the_hosts_as_they_were(world: World, client: LibvirtClient) -> None:
    for verb in (
        Define(xml=domain_xml("new", NEW)),
        Start(uuid=NEW),
        Suspend(uuid=NEW),
        SetAutostart(uuid=DB, on=True),
        Define(xml=domain_xml("web", WEB, memory_kib=4194304)),
        CreateVolume(pool="fast", name="disk.qcow2", capacity_bytes=1 << 30, backing="base.qcow2"),
    ):
        await client.call("a", verb, timeout_s=10)
    before = await observed(client)
    pid = await world.pid(client)
    await world.kill(client)
    after = await observed(client)
    assert await world.pid(client) != pid
    assert after.guests == before.guests
    assert after.facts == before.facts
    assert guest(after, "new").state is GuestState.PAUSED
    assert guest(after, "web").shape != guest(after, "web").active_shape
    kept = world.file("a")
    assert kept.startswith("<!-- One host. -->\n<node")
    assert "<!-- The guests. -->" in kept
    assert "other:thing" in kept or "urn:other" in kept
    assert "<numa node=" in kept


async def test_a_host_that_is_only_looked_at_keeps_its_file(world: World, client: LibvirtClient) -> None:
    await observed(client)
    with pytest.raises(FleetError):
        await client.call("a", Start(uuid=WEB), timeout_s=10)
    assert world.file("a") == HOST


async def test_a_pinned_key_that_is_missing(world: World) -> None:
    client = world.client()
    # A port where nothing listens: had it been contacted, the reason would be another.
    await client.set_targets(
        (HostTarget(name="a", uri="qemu+tcp://127.0.0.1:1/system", refusal="a's SSH key is not pinned."),)
    )
    host = await client.observe("a", timeout_s=10)
    assert (host.state, host.reason, host.error) == (HostState.DOWN, DownReason.UNPINNED, "a's SSH key is not pinned.")
    with pytest.raises(HostUnreachable, match="was not started"):
        await client.call("a", Start(uuid=WEB), timeout_s=10)


async def test_a_file_that_is_no_host(world: World) -> None:
    client = world.client()
    good, bad = world.host("a"), world.host("b", "<node><domain/></node>")
    missing = HostTarget(name="c", uri="test:///nowhere/c.xml")
    await client.set_targets((good, bad, missing))
    assert (await client.observe("b", timeout_s=10)).reason is DownReason.FAILED
    assert (await client.observe("c", timeout_s=10)).state is HostState.DOWN
    await observed(client)


async def test_targets_replace_one_another(world: World) -> None:
    client = world.client()
    a, b = world.host("a"), world.host("b")
    await client.set_targets((a,))
    await client.call("a", ForceOff(uuid=WEB), timeout_s=10)
    await client.set_targets((replace(a, accel=Accel.TEST), b))
    # The connection was kept: the state in memory is the same, and so is the count.
    assert guest(await observed(client), "web").state is GuestState.OFF
    assert await client.write_calls() == {"a": 1, "b": 0}
    await client.set_targets((b,))
    with pytest.raises(FleetError, match="a is not observed"):
        await client.observe("a", timeout_s=10)
    assert (await until(client, lambda seen: seen["b"].state is HostState.UP)).keys() == {"b"}
