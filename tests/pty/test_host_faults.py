"""Hosts that answer wrongly, as the operator meets them on a terminal: nothing asks there, and each says what to do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from console.domain.observed import GuestObservation, GuestState, HostObservation, HostState
from console.domain.ssh_key import fingerprint
from console.services.memory import remember
from console.wiring import short_id
from tests.lab.guests import eventually
from tests.peers import public, ssh_server
from tests.pty.place import Inventory, Place, libvirt_processes

pytestmark = pytest.mark.pty

FLEET = 'version = 1\nname = "faulty"\n[networks.lan]\nbridge = "br0"\n[pools.default]\npath = "/p"\n'
HOST = 'mac = "52:54:00:10:00:{number:02x}"\naddress = "10.0.0.{number}/24"\nuri = "{uri}"\n'
QUESTIONS = ("assphrase", "assword", "yes/no", "One-time", "(yes")


@pytest.fixture
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def asking(place: Place, key: asyncssh.SSHKey) -> Iterator[int]:
    """A server that asks for passwords and codes; what would ask for one on a desktop notes that it was run."""
    program = place.folder / "askpass"
    program.write_text(f"#!/bin/sh\ntouch {place.folder}/asked\necho secret\n")
    program.chmod(0o755)
    place.environment |= {"SSH_ASKPASS": str(program), "DISPLAY": ":0", "SSH_ASKPASS_REQUIRE": "prefer"}
    with ssh_server(key, banner="Who goes there?\x1b[7;77;777m\n") as port:
        yield port


def faulty(place: Place, port: int, pinned: asyncssh.SSHKey, ssh: str = "agent = false\n") -> Inventory:
    """An inventory with one host behind SSH."""
    folder = place.folder / "faulty"
    (folder / "hosts").mkdir(parents=True)
    (folder / "fleet.toml").write_text(f"{FLEET}[ssh]\n{ssh}")
    text = HOST.format(number=11, uri=f"qemu+ssh://root@127.0.0.1:{port}/system")
    (folder / "hosts/vhost-a.toml").write_text(f'{text}ssh_host_key = "{public(pinned)}"\n')
    return Inventory(place, folder)


def test_another_host_key_is_refused_and_both_fingerprints_are_shown(
    place: Place, asking: int, key: asyncssh.SSHKey
) -> None:
    pinned = asyncssh.generate_private_key("ssh-ed25519")
    ours, theirs = fingerprint(public(pinned)), fingerprint(public(key))
    inventory = faulty(place, asking, pinned)
    terminal = inventory.open(columns=160, lines=48)
    terminal.wait("another SSH key", ours, theirs, "Compare it on", "qd host key vhost-a --pin")
    terminal.press("enter")
    terminal.wait("host key", ours, theirs)
    terminal.resize(80, 24)
    terminal.wait(ours, theirs, "qd host key vhost-a")
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a")
    terminal.press("q")
    assert terminal.ended() == 0

    said = inventory.qd("host", "show", "vhost-a")
    assert ours in said and theirs in said and f"qd host key vhost-a --pin {theirs}" in said
    shown = json.loads(inventory.qd("host", "show", "vhost-a", "--json"))
    assert (shown["reason"], shown["offered_key"]) == ("wrong key", theirs)
    told = inventory.qd("doctor", status=1)
    assert ours in told and theirs in told


@pytest.mark.parametrize("identity", ["none", "encrypted", "unknown"])
def test_no_key_password_or_code_is_ever_asked_for_on_the_terminal(
    place: Place, asking: int, key: asyncssh.SSHKey, identity: str
) -> None:
    ssh = "agent = false\n"
    if identity != "none":
        file = place.folder / "identity"
        phrase = "secret" if identity == "encrypted" else ""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", file], check=True)
        ssh += f'identity = "{file}"\n'
    inventory = faulty(place, asking, key, ssh)
    terminal = inventory.open()
    terminal.wait("refused the login")
    # What is typed while ssh tries is the console's: the help opens, and the filter takes letters.
    terminal.press("?")
    terminal.wait("Keys and signs")
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a")
    terminal.press("/")
    terminal.type("yes")
    terminal.wait("No host or guest matches “yes”")
    (number,) = libvirt_processes(place.folder)
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    assert fields[4] == "0", "the libvirt process, and so every ssh, has no terminal to ask on"
    assert not [fd for fd in Path(f"/proc/{number}/fd").iterdir() if str(fd.resolve()).startswith("/dev/pts/")]
    terminal.press("escape")
    terminal.wait_line("▾ vhost-a")
    terminal.press("q")
    assert terminal.ended() == 0
    text = terminal.raw.decode(errors="replace")
    assert not [question for question in QUESTIONS if question in text]
    assert not (place.folder / "asked").exists()


def test_a_libvirt_process_that_is_killed_comes_back_and_nothing_is_done_twice(demo: Inventory) -> None:
    terminal = demo.open()
    terminal.wait_line("web-1", "● running")
    before = demo.qd("guest", "list")
    (number,) = libvirt_processes(demo.place.folder)
    terminal.press("down", "down")
    os.kill(number, signal.SIGKILL)
    seen = [text for _, text in terminal.watch(0.2)]
    terminal.wait("hosts 3/4 up")
    terminal.wait_line("web-1", "● running")
    assert all("web-1" in text for text in seen), "the guests stayed on screen meanwhile"
    (again,) = eventually(lambda: libvirt_processes(demo.place.folder), "another one runs", 20)
    assert again != number
    assert demo.qd("guest", "list") == before
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_shows_no_nonsense(demo: Inventory, hours: int) -> None:
    """What was last known was written by a clock an hour before or behind ours: ages are never negative."""
    state = Path(demo.place.environment["XDG_STATE_HOME"], "quarterdeck", short_id(demo.folder))
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    at = datetime.now(UTC) + timedelta(hours=hours)
    guest = GuestObservation(uuid="x", name="old", state=GuestState.RUNNING)
    remember(state, {"vhost-d": HostObservation(name="vhost-d", state=HostState.UP, seen_at=at, guests=(guest,))})
    terminal = demo.open(lines=40)
    terminal.wait("hosts 3/4 up")
    row = terminal.wait_line("vhost-d", "☾")
    assert not re.search(r"-\d+[smhd]", row)
    assert ("1h" in row) == (hours < 0)
    shown = json.loads(demo.qd("host", "show", "vhost-d", "--json"))
    assert shown["seen_at"] is not None
    terminal.press("q")
    assert terminal.ended() == 0
