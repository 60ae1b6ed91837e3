"""Quarterdeck on a real hypervisor: what is created boots, what fails leaves nothing, applying twice does nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import pytest

from console import wiring
from console.domain.errors import FleetError
from console.domain.observed import GuestState
from console.domain.plan import ApplyMode
from console.domain.standing import Standing
from console.domain.verbs import Verb
from console.drivers.base import Hypervisors
from console.services.session import Session
from console.services.wishes import BootChoice, GuestWish, PowerAction
from tests.fakes import FakeHardware, FakeRunner
from tests.lab.guests import BOOTED, Lab
from tests.lab.serial import read_until
from tests.pty.place import end, libvirt_processes

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Place:
    """An inventory of the lab of its own, and the environment in which its state and sockets are its own."""

    inventory: Path
    environment: Mapping[str, str]

    def qd(self, *arguments: str, status: int = 0) -> str:
        """What `qd` prints; the test fails when it exits otherwise than said."""
        command = [sys.executable, "-m", "console", "--inventory", str(self.inventory), *arguments]
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, check=False)
        assert done.returncode == status, f"qd {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def place(lab: Lab, connection: libvirt.virConnect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="qdp-", dir="/tmp"))  # short: a socket is made in it
    for name in ("STATE_HOME", "RUNTIME_DIR", "CONFIG_HOME"):
        (folder / name).mkdir(mode=0o700)
        monkeypatch.setenv(f"XDG_{name}", str(folder / name))
    inventory = folder / "inventory"
    shutil.copytree(lab.inventory, inventory)
    place = Place(inventory, dict(os.environ))
    place.qd("generate")
    try:
        yield place
    finally:
        for number in libvirt_processes(folder):
            end(number)
        shutil.rmtree(folder)


@pytest.fixture
async def session(place: Place) -> AsyncIterator[Session]:
    opened = wiring.open_session(place.inventory)
    await opened.start()
    try:
        await opened.observe(["lab-a"], timeout_s=10)
        yield opened
    finally:
        await opened.close()


def wish(lab: Lab, name: str, **facts: object) -> GuestWish:
    base = GuestWish(
        host="lab-a",
        name=name,
        vcpus="1",
        memory="128 MiB",
        boot=BootChoice.KERNEL,
        kernel=str(lab.kernel),
        initrd=str(lab.initrd),
        cmdline=f"{lab.cmdline} qd.name={name}",
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def listing(connection: libvirt.virConnect) -> tuple[list[str], list[str]]:
    pool = connection.storagePoolLookupByName("default")
    pool.refresh()
    return (
        sorted(f"{domain.name()} {domain.state()[0]}" for domain in connection.listAllDomains()),
        sorted(volume.name() for volume in pool.listAllVolumes()),
    )


def test_a_guest_created_by_command_boots(lab: Lab, connection: libvirt.virConnect, place: Place) -> None:
    kernel = ["--kernel", str(lab.kernel), "--initrd", str(lab.initrd), "--cmdline", f"{lab.cmdline} qd.name=hello"]
    size = ["--vcpus", "1", "--memory", "128MiB", "--disk", "64MiB"]
    place.qd("guest", "create", "hello", "--host", "lab-a", *size, *kernel, "--start")
    read_until(connection, "hello", BOOTED)
    (shown,) = json.loads(place.qd("guest", "list", "--json"))
    assert (shown["name"], shown["host"], shown["state"]) == ("hello", "lab-a", "running")
    assert (shown["vcpus"], shown["memory_mib"], shown["devices"]) == (1, 128, [])
    xml = connection.lookupByName("hello").XMLDesc()
    assert str(lab.kernel) in xml and "quarterdeck" in xml and "hello-boot.qcow2" in xml
    assert "nothing to do" in place.qd("apply")
    place.qd("generate", "--check")
    refused = place.qd("guest", "remove", "hello", status=1)
    assert "It is running" in refused and "force it off" in refused
    place.qd("guest", "force-off", "hello")
    assert "hello-boot.qcow2 stay" in place.qd("guest", "remove", "hello")
    assert listing(connection)[1] == ["hello-boot.qcow2", "tiny.iso", "tiny.qcow2"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("overlay", ["--disk", "64MiB", "--image", "tiny.qcow2"]),
        ("copy", ["--disk", "64MiB", "--image", "tiny.qcow2", "--image-mode", "copy"]),
        ("iso", ["--disk", "64MiB", "--iso", "tiny.iso"]),
        ("uefi", ["--disk", "64MiB", "--image", "tiny.qcow2", "--firmware", "uefi"]),
    ],
)
def test_every_boot_source_boots(connection: libvirt.virConnect, place: Place, name: str, arguments: list[str]) -> None:
    size = ["--vcpus", "1", "--memory", "256MiB"]
    place.qd("guest", "create", name, "--host", "lab-a", *size, *arguments, "--start")
    read_until(connection, name, BOOTED)
    assert "nothing to do" in place.qd("plan")


class FailsAt:
    """The real hypervisors, except that the n-th verb is refused. Undoing works."""

    def __init__(self, real: Hypervisors, nth: int) -> None:
        self._real, self._left = real, nth
        self.failed = False

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        if not self.failed:
            self._left -= 1
            if self._left == 0:
                self.failed = True
                raise FleetError("The test says no.")
        await self._real.call(host, verb, timeout_s=timeout_s)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
async def test_a_create_that_fails_leaves_nothing(
    lab: Lab, connection: libvirt.virConnect, place: Place, session: Session, nth: int
) -> None:
    before, files = listing(connection), (place.inventory / "hosts/lab-a.toml").read_text()
    plan = session.plan_create(wish(lab, "doomed", disk="64 MiB", autostart=True), start=True)
    assert len(plan.steps) == 4
    failing = FailsAt(session.hypervisors, nth)
    session.runner = FakeRunner(failing, wiring.repository(), FakeHardware())  # type: ignore[arg-type]
    outcome = await session.apply(plan)
    assert failing.failed and not outcome.ok
    assert len(outcome.undone) == nth, "each step that was done is named as undone, and so is the inventory"
    assert not outcome.left
    assert listing(connection) == before
    assert (place.inventory / "hosts/lab-a.toml").read_text() == files


async def test_applying_twice_writes_once(lab: Lab, place: Place, session: Session) -> None:
    outcome = await session.apply(session.plan_create(wish(lab, "once", disk="64 MiB"), start=False))
    assert outcome.ok
    await session.observe(["lab-a"], timeout_s=10)
    before = dict(await session.hypervisors.write_calls())
    assert before["lab-a"] >= 2
    again = session.plan_fleet()
    assert again.is_empty and (await session.apply(again)).ok
    assert dict(await session.hypervisors.write_calls()) == before


async def test_edits_reach_a_running_guest_when_they_can(lab: Lab, session: Session) -> None:
    await session.apply(session.plan_create(wish(lab, "edited"), start=True))
    (key,) = [view.key for view in session.store.host("lab-a").guests] or [None]
    assert key is not None
    typed = session.wish_of(key)
    refused = session.plan_edit(key, replace(typed, vcpus="2"), ApplyMode.LIVE)
    assert refused.refusals and not refused.steps
    live = await session.apply(session.plan_edit(key, replace(typed, memory="96 MiB"), ApplyMode.LIVE))
    assert live.ok, live
    later = await session.apply(session.plan_edit(key, replace(typed, memory="96 MiB", vcpus="2"), ApplyMode.NEXT_BOOT))
    assert later.ok, later
    assert await session.store.wait_until(lambda store: store.guest(key).restart_needed, 10)
    assert session.store.guest(key).standing is Standing.IN_SYNC
    off = await session.apply(session.plan_power([key], PowerAction.FORCE_OFF))
    assert off.ok
    assert await session.store.wait_until(lambda store: store.guest(key).state is GuestState.OFF, 10)
    assert await session.store.wait_until(lambda store: not store.guest(key).restart_needed, 10)


async def test_two_writers_of_one_host_take_turns(lab: Lab, session: Session) -> None:
    first = session.plan_create(wish(lab, "left"), start=False)
    second = session.plan_create(wish(lab, "right"), start=False)
    outcomes = await asyncio.gather(session.apply(first), session.apply(second))
    assert all(outcome.ok for outcome in outcomes)
    assert {view.key.guest for view in session.store.host("lab-a").guests} == {"left", "right"}
