"""The read-only libvirt process on a real libvirtd: it sees all that the other one sees, and can change nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import libvirt
import pytest

from console.domain.errors import FleetError
from console.domain.observed import GuestState, HostState
from console.domain.verbs import Start
from console.drivers.base import HostTarget
from console.drivers.libvirt import wire
from console.drivers.libvirt.client import LibvirtClient
from console.drivers.libvirt.link import Link
from console.drivers.libvirt.place import Place
from tests.drivers.world import World, until
from tests.lab.guests import Lab, domain_xml, kernel_boot

pytestmark = pytest.mark.lab


@pytest.fixture
async def world(lab: Lab) -> AsyncIterator[World]:
    world = World(lab.dir / "viewer")
    try:
        yield world
    finally:
        await world.close()


def viewer(world: World) -> LibvirtClient:
    client = LibvirtClient(world.runtime, "", mode=wire.READ_ONLY)
    world.clients.append(client)
    return client


async def test_it_sees_guests_and_live_figures_and_tries_no_kvm(
    world: World, lab: Lab, connection: libvirt.virConnect
) -> None:
    identity = str(uuid.uuid4())
    xml = domain_xml("seen", mac="52:54:00:78:01:01", log=lab.dir / "seen.log", os=kernel_boot(lab, "qd.burn=1"))
    domain = await asyncio.to_thread(connection.defineXML, xml.replace("</name>", f"</name><uuid>{identity}</uuid>"))
    await asyncio.to_thread(domain.create)
    looking = viewer(world)
    await looking.set_targets((HostTarget(name="lab", uri=lab.uri),))
    seen = await until(
        looking,
        lambda hosts: (
            any(
                guest.name == "seen" and guest.sample is not None and guest.sample.cpu_percent is not None
                for guest in hosts["lab"].guests
            )
            and hosts["lab"].sample is not None
        ),
        60,
    )
    host = await looking.observe("lab", timeout_s=30)
    (found,) = (guest for guest in host.guests if guest.uuid == identity)
    assert (host.state, found.state) == (HostState.UP, GuestState.RUNNING)
    assert found.shape and found.active_shape
    assert host.facts is not None and host.facts.memory_kib and host.facts.pools
    assert host.facts.accel_note in ("the host does not offer KVM", "a read-only console does not try KVM")
    assert seen["lab"].sample is not None and seen["lab"].sample.memory_used_kib
    names = {each.name() for each in await asyncio.to_thread(connection.listAllDomains)}
    assert not [name for name in names if name.startswith("quarterdeck-probe-")]
    log = Place(world.runtime, "", wire.READ_ONLY).log.read_text()
    assert "trial" not in log and "Traceback" not in log and "read-only" not in log.lower()


async def test_libvirt_itself_refuses_what_is_asked_on_such_a_connection(
    world: World, lab: Lab, connection: libvirt.virConnect
) -> None:
    xml = domain_xml("kept", mac="52:54:00:78:01:02", log=lab.dir / "kept.log", os=kernel_boot(lab, "qd.name=kept"))
    domain = await asyncio.to_thread(connection.defineXML, xml)
    libvirt.virEventRegisterDefaultImpl()
    link = await Link.open(lab.uri, timeout_s=15, stuck=[], read_only=True)
    try:
        for change in (
            lambda conn: conn.defineXML(xml),
            lambda conn: conn.lookupByName("kept").create(),
            lambda conn: conn.lookupByName("kept").undefine(),
            lambda conn: conn.storagePoolLookupByName("default").refresh(0),
        ):
            with pytest.raises(libvirt.libvirtError) as refused:
                await link.call(change, 10)
            assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    finally:
        await link.close()
    assert not domain.isActive()
    looking = viewer(world)
    await looking.set_targets((HostTarget(name="lab", uri=lab.uri),))
    with pytest.raises(FleetError, match="only looks"):
        await looking.call("lab", Start(uuid=domain.UUIDString()), timeout_s=10)
