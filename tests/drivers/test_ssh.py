"""The ssh that libvirt is given: what it is called with, that nothing widens the pin; and host keys as offered."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncssh
import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.model import Host, Ssh
from console.drivers.ssh import OfferedHostKeys, fingerprint, is_ssh, ssh_options, wrapped_uri
from tests.drivers.world import ended

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"


def host(**facts: str) -> Host:
    given = {
        "name": "vhost-a",
        "mac": "52:54:00:10:00:0a",
        "address": "10.0.0.11/24",
        "uri": "qemu+ssh://root@10.0.0.11/system",
        "ssh_host_key": KEY,
    }
    return Host(**(given | facts))  # type: ignore[arg-type]


def wrapper_of(uri: str) -> Path:
    return Path(parse_qs(urlsplit(uri).query)["command"][0])


def run_wrapper(wrapper: Path, tmp_path: Path, *arguments: str) -> list[str]:
    """Run the wrapper with an ssh in PATH that only writes down what it was given."""
    fake = tmp_path / "fake bin"
    fake.mkdir(exist_ok=True)
    (fake / "ssh").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    (fake / "ssh").chmod(0o755)
    environment = {"PATH": f"{fake}:{os.environ['PATH']}"}
    said = subprocess.run([str(wrapper), *arguments], env=environment, check=True, capture_output=True, text=True)
    return said.stdout.split("\0")[:-1]


def options_of(argv: list[str]) -> dict[str, str]:
    return dict(argv[i + 1].split("=", 1) for i, word in enumerate(argv) if word == "-o")


def test_the_wrapper_pins_the_key_and_never_asks(tmp_path: Path) -> None:
    uri = wrapped_uri(host(), Ssh(), tmp_path / "run dir")
    assert urlsplit(uri)[:3] == ("qemu+ssh", "root@10.0.0.11", "/system")
    argv = run_wrapper(wrapper_of(uri), tmp_path, "-T", "-e", "none", "--", "10.0.0.11", "sh -c 'nc -U \"$x\"'")
    assert argv[-6:] == ["-T", "-e", "none", "--", "10.0.0.11", "sh -c 'nc -U \"$x\"'"]
    options = options_of(argv)
    assert argv[:2] == ["-F", "none"]
    assert options["StrictHostKeyChecking"] == "yes"
    assert options["BatchMode"] == "yes"
    assert options["GlobalKnownHostsFile"] == "/dev/null"
    assert options["HostKeyAlias"] == "vhost-a"
    assert options["HostKeyAlgorithms"] == "ssh-ed25519"
    assert {options[k] for k in ("VerifyHostKeyDNS", "UpdateHostKeys", "ForwardAgent", "PasswordAuthentication")} == {
        "no"
    }
    assert Path(options["UserKnownHostsFile"]).read_text() == f"vhost-a {KEY}\n"


def test_ssh_itself_understands_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my key").touch()
    ssh = Ssh(identity="~/my key", agent=False, jump="ops@gate:2222")
    wrapper = wrapper_of(wrapped_uri(host(), ssh, tmp_path / "r"))
    said = subprocess.run([str(wrapper), "-G", "10.0.0.11"], check=True, capture_output=True, text=True).stdout
    for line in (
        "stricthostkeychecking true",
        "batchmode yes",
        f"userknownhostsfile {tmp_path}/r/vhost-a.known_hosts",
        "identityagent none",
        "identitiesonly yes",
        f"identityfile {tmp_path}/my key",
    ):
        assert line in said.splitlines()


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB", "rsa-sha2-512,rsa-sha2-256"),
        ("ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQ", "ecdsa-sha2-nistp384"),
    ],
)
def test_only_the_pinned_kind_of_key_is_asked_for(key: str, algorithms: str) -> None:
    options = options_of(ssh_options(host(ssh_host_key=key), Ssh(), Path("/k")))
    assert options["HostKeyAlgorithms"] == algorithms


def test_odd_identities_and_folders_stay_one_argument(tmp_path: Path) -> None:
    odd = '/keys/it\'s $(mine) "and" ; `yours`\\'
    folder = tmp_path / "a b'c & d?e=f%20"
    uri = wrapped_uri(host(), Ssh(identity=odd), folder)
    wrapper = wrapper_of(uri)
    assert wrapper == folder / "vhost-a.ssh"
    argv = run_wrapper(wrapper, tmp_path, "x")
    assert argv[argv.index("-i") + 1] == odd
    assert options_of(argv)["UserKnownHostsFile"] == str(folder / "vhost-a.known_hosts")


def test_an_ipv6_uri_keeps_its_brackets_port_and_query(tmp_path: Path) -> None:
    uri = wrapped_uri(host(uri="qemu+ssh://root@[fd00::11]:2222/system?socket=/run/x"), Ssh(), tmp_path / "r")
    assert uri.startswith("qemu+ssh://root@[fd00::11]:2222/system?socket=/run/x&command=/")


def test_what_is_written_is_for_its_owner_alone_and_follows_the_pin(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    old = os.umask(0)
    try:
        wrapped_uri(host(), Ssh(), folder)
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"r": 0o700, "vhost-a.known_hosts": 0o600, "vhost-a.ssh": 0o700}
    other = KEY.replace("yAH", "yAA")
    wrapped_uri(host(ssh_host_key=other), Ssh(), folder)
    assert (folder / "vhost-a.known_hosts").read_text() == f"vhost-a {other}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["vhost-a.known_hosts", "vhost-a.ssh"]


def test_a_jump_host_is_reached_without_questions_too(tmp_path: Path) -> None:
    """ssh -J hands its own -o options to no one: without them the way there could ask, or trust anyone."""
    argv = run_wrapper(
        wrapper_of(wrapped_uri(host(), Ssh(jump="ops@gate.example:2222"), tmp_path / "r")), tmp_path, "x"
    )
    assert "-J" not in argv
    way = shlex.split(options_of(argv)["ProxyCommand"])
    assert way[0] == "ssh" and way[-1] == "gate.example"
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"} <= set(way)
    assert way[way.index("-p") + 1] == "2222" and way[way.index("-l") + 1] == "ops"
    assert way[way.index("-W") + 1] == "[%h]:%p"


def test_without_a_pinned_key_there_is_no_uri(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no pinned SSH host key"):
        wrapped_uri(host(ssh_host_key=""), Ssh(), tmp_path / "r")


def test_a_wrong_pin_is_refused_by_ssh_itself_and_the_right_one_accepted(tmp_path: Path) -> None:
    """With the real ssh against a real server on loopback."""
    right, wrong = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))

    async def attempt(pinned: asyncssh.SSHKey) -> str:
        async with server(right) as port:
            pin = pinned.export_public_key().decode().strip()
            wrapper = wrapper_of(
                wrapped_uri(
                    host(uri=f"qemu+ssh://root@127.0.0.1:{port}/system", ssh_host_key=pin),
                    Ssh(agent=False),
                    tmp_path / "r",
                )
            )
            process = await asyncio.create_subprocess_exec(
                str(wrapper),
                "-p",
                str(port),
                "root@127.0.0.1",
                "true",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "HOME": str(tmp_path)},
            )
            async with asyncio.timeout(30):
                _, said = await process.communicate()
            assert process.returncode == 255
            return said.decode()

    # The server lets nobody in: to be asked for a login means that its key was accepted.
    assert "Permission denied" in asyncio.run(attempt(right))
    refused = asyncio.run(attempt(wrong))
    assert "Host key verification failed" in refused and "Permission denied" not in refused


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    for algorithm in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"):
        key = asyncssh.generate_private_key(algorithm).export_public_key().decode().strip()
        file = tmp_path / "key.pub"
        file.write_text(key + "\n")
        said = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
        assert fingerprint(key) == said.split()[1]


def test_only_qemu_over_ssh_is_ssh() -> None:
    assert is_ssh("qemu+ssh://root@10.0.0.11/system")
    assert not is_ssh("qemu+tcp://127.0.0.1/system") and not is_ssh("test:///x")


class Nobody(asyncssh.SSHServer):
    """Lets nobody in."""

    def begin_auth(self, username: str) -> bool:
        return True


@asynccontextmanager
async def server(*keys: asyncssh.SSHKey) -> AsyncIterator[int]:
    """A real SSH server on loopback with these host keys; gives its port."""
    listening = await asyncssh.listen("127.0.0.1", 0, server_host_keys=list(keys), server_factory=Nobody)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def test_the_offered_key_is_the_servers() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with server(key) as port:
        offered = await OfferedHostKeys().fetch(f"qemu+ssh://root@127.0.0.1:{port}/system", Ssh(), timeout_s=20)
    assert offered == " ".join(key.export_public_key().decode().split()[:2])


async def test_the_safest_of_several_keys_is_taken() -> None:
    keys = [asyncssh.generate_private_key(kind) for kind in ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519")]
    async with server(*keys) as port:
        offered = await OfferedHostKeys().fetch(f"qemu+ssh://127.0.0.1:{port}/system", Ssh(), timeout_s=20)
    assert offered.startswith("ssh-ed25519 ")


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp384", "ssh-rsa"])
async def test_a_server_with_another_kind_of_key_is_pinned_by_that(kind: str) -> None:
    key = asyncssh.generate_private_key(kind)
    async with server(key) as port:
        offered = await OfferedHostKeys().fetch(f"qemu+ssh://127.0.0.1:{port}/system", Ssh(), timeout_s=20)
    assert offered == " ".join(key.export_public_key().decode().split()[:2])


@asynccontextmanager
async def speaker(greeting: bytes | None) -> AsyncIterator[int]:
    """A server on loopback that says something and waits, or (None) hangs up at once."""
    done = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is not None:
            writer.write(greeting)
            await done.wait()
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        done.set()
        made.close()
        await made.wait_closed()


async def test_a_silent_server_ends_in_a_sentence_at_the_deadline() -> None:
    async with speaker(b"") as port:
        with pytest.raises(HostUnreachable) as caught:
            await OfferedHostKeys().fetch(f"qemu+ssh://127.0.0.1:{port}/system", Ssh(), timeout_s=0.2)
    assert f"127.0.0.1 port {port} did not answer within 0.2 s." in str(caught.value)
    assert "switched on" in caught.value.hint


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 500, b"\x00\xff\x1b[31m\r\n" * 3000, None])
async def test_what_is_no_ssh_server_ends_in_a_sentence(greeting: bytes | None) -> None:
    async with speaker(greeting) as port:
        with pytest.raises(HostUnreachable) as caught:
            await OfferedHostKeys().fetch(f"qemu+ssh://127.0.0.1:{port}/system", Ssh(), timeout_s=5)
    assert f"127.0.0.1 port {port}" in str(caught.value) and "\x1b" not in str(caught.value)


async def test_a_closed_port_ends_in_a_sentence() -> None:
    with pytest.raises(HostUnreachable, match=r"No SSH host key was had from 127\.0\.0\.1 port 1\."):
        await OfferedHostKeys().fetch("qemu+ssh://127.0.0.1:1/system", Ssh(), timeout_s=5)


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+tcp://127.0.0.1/system",
        "test:///x",
        "",
        "qemu+ssh:///system",
        "qemu+ssh://[::1/system",
        "qemu+ssh://h:99999/system",
    ],
)
async def test_a_uri_without_ssh_has_no_key(uri: str) -> None:
    with pytest.raises(FleetError):
        await OfferedHostKeys().fetch(uri, Ssh(), timeout_s=5)


RELAY = """\
#!{python}
import os, select, socket, sys
place = sys.argv[sys.argv.index("-W") + 1]
print(*sys.argv[1:], file=open({told!r}, "w"), flush=True)
name, _, port = place.rpartition(":")
peer = socket.create_connection((name.strip("[]"), int(port)))
while True:
    for ready in select.select([0, peer], [], [])[0]:
        data = os.read(0, 4096) if ready == 0 else peer.recv(4096)
        if not data:
            sys.exit()
        peer.sendall(data) if ready == 0 else os.write(1, data)
"""


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """This script is what is run as ssh."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


async def test_the_key_of_a_host_behind_a_jump_host_is_had_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    stand_in(tmp_path, monkeypatch, RELAY.format(python=sys.executable, told=str(told)))
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with server(key) as port:
        way = Ssh(jump="ops@gate.example:2222")
        offered = await OfferedHostKeys().fetch(f"qemu+ssh://root@127.0.0.1:{port}/system", way, timeout_s=20)
    assert offered == " ".join(key.export_public_key().decode().split()[:2])
    words = told.read_text().split()
    assert words[-3:] == [f"[127.0.0.1]:{port}", "--", "gate.example"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "2222", "ops"} <= set(words)


async def test_a_jump_host_that_refuses_is_named_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "ops@gate.example: Permission denied (publickey)."
    log = 'while [ "$1" != -E ]; do shift; done'
    stand_in(tmp_path, monkeypatch, f"#!/bin/sh\n{log}\necho '{words}' >\"$2\"\nexit 255\n")
    with pytest.raises(HostUnreachable) as caught:
        await OfferedHostKeys().fetch("qemu+ssh://10.0.0.1/system", Ssh(jump="ops@gate.example"), timeout_s=20)
    assert caught.value.title == "No SSH host key was had from 10.0.0.1 port 22 (through ops@gate.example)."
    assert "Permission denied (publickey)" in caught.value.detail


async def test_a_jump_host_that_hangs_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    stand_in(tmp_path, monkeypatch, f"#!/bin/sh\necho $$ >{pid}.new; mv {pid}.new {pid}\nexec sleep 60\n")
    with pytest.raises(HostUnreachable, match="did not answer within 2 s"):
        await OfferedHostKeys().fetch("qemu+ssh://10.0.0.1/system", Ssh(jump="ops@gate.example"), timeout_s=2)
    await ended(int(pid.read_text()))
    async with asyncio.timeout(10):
        while any("waitpid" in thread.name for thread in threading.enumerate()):  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.01)  # until asyncio itself knows


def test_the_agent_of_this_login_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/ssh-100%/agent")
    host = Host(
        name="a",
        mac="52:54:00:00:00:01",
        address="10.0.0.1/24",
        uri="qemu+ssh://root@10.0.0.1/system",
        ssh_host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA",
    )
    assert "IdentityAgent=/tmp/ssh-100%%/agent" in ssh_options(host, Ssh(), tmp_path / "known")
    assert "IdentityAgent=none" in ssh_options(host, Ssh(agent=False), tmp_path / "known")
