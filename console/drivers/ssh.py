"""SSH as the console uses it: pinned host keys, no prompt, no settings but the inventory's own.

libvirt starts ssh by a `command=` of ours. That wrapper is written here, with the host's pinned key beside it, so
that nothing in the operator's own ssh_config or known_hosts can widen what is trusted.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from console.domain.errors import FleetError, HostUnreachable
from console.domain.model import Host, Ssh
from console.domain.ssh_key import fingerprint as fingerprint
from console.domain.values import parse_ssh_key, parse_uri, shown

CONNECT_TIMEOUT_S = 5

PINNED_KINDS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512"]
"""The kinds of host keys that can be pinned, the one to prefer first."""


def is_ssh(uri: str) -> bool:
    """Return whether a libvirt URI goes over SSH."""
    return urlsplit(uri).scheme == "qemu+ssh"


def wrapped_uri(host: Host, ssh: Ssh, folder: Path) -> str:
    """Write the host's ssh wrapper and known_hosts into `folder` (made 0700); return the URI that uses them.

    The host must have a pinned key.
    """
    parts = urlsplit(host.uri)
    if not host.ssh_host_key or not parts.hostname:
        raise FleetError(f"{host.name} has no pinned SSH host key.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known_hosts, wrapper = folder / f"{host.name}.known_hosts", folder / f"{host.name}.ssh"
    # HostKeyAlias makes the pin independent of the port and of how the URI spells the address.
    _write(known_hosts, f"{host.name} {host.ssh_host_key}\n", 0o600)
    _write(wrapper, _wrapper(host, ssh, known_hosts), 0o700)
    query = f"{parts.query}&" if parts.query else ""
    return f"{parts._replace(query='', fragment='').geturl()}?{query}command={quote(str(wrapper), safe='/')}"


def shell(host: Host, ssh: Ssh, folder: Path) -> list[str]:
    """Return the words that run `sh -s` on a host, by the wrapper and with the pinned key of wrapped_uri."""
    wrapped_uri(host, ssh, folder)
    parts = urlsplit(host.uri)
    words = [str(folder / f"{host.name}.ssh"), "-T"]
    words += ["-p", str(parts.port)] if parts.port else []
    words += ["-l", unquote(parts.username)] if parts.username else []
    return [*words, "--", parts.hostname or "", "exec sh -s"]


async def clock_ahead_s(command: Sequence[str], *, timeout_s: float) -> float | None:
    """Return by how many seconds a host's clock is ahead of ours, None where it does not tell. command: of `shell`.

    Right to the second and half the time that the answer took. What the host says is believed only if it is a number.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        return None
    before = time.time()
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate(b"date +%s\n")
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    text = said.strip()
    return int(text) + 0.5 - (before + time.time()) / 2 if text.isdigit() and len(text) < 12 else None


def ssh_options(host: Host, ssh: Ssh, known_hosts: Path) -> list[str]:
    """Return the ssh arguments that make a connection to this host safe and silent."""
    algorithm = (host.ssh_host_key or "").split()[0]
    algorithms = "rsa-sha2-512,rsa-sha2-256" if algorithm == "ssh-rsa" else algorithm
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": host.name,
        "HostKeyAlgorithms": algorithms,
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "ConnectTimeout": str(CONNECT_TIMEOUT_S),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "2",
        "ControlMaster": "no",
        "ControlPath": "none",
    }
    if ssh.jump:
        # ssh expands "%" in the command, and a shell reads it.
        *words, gate = _way(ssh.jump, ssh)
        plain = shlex.join(words).replace("%", "%%")
        options["ProxyCommand"] = f"{plain} -W {shlex.quote('[%h]:%p')} -- {gate}"
    return ["-F", "none", *_given(options), *_login(ssh)]


def _given(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _login(ssh: Ssh) -> list[str]:
    arguments = []
    if ssh.identity:
        arguments += ["-i", os.path.expanduser(ssh.identity), "-o", "IdentitiesOnly=yes"]  # noqa: PTH111 - "~" only
    if not ssh.agent:
        arguments += ["-o", "IdentityAgent=none"]
    elif agent := os.environ.get("SSH_AUTH_SOCK"):
        # Said here, since the libvirt process outlives the login whose environment it has.
        arguments += ["-o", f"IdentityAgent={agent.replace('%', '%%')}"]
    return arguments


def _way(jump: str, ssh: Ssh) -> list[str]:
    """Return the words of ssh to a jump host ("user@gate:22"), its name last; the operator's known_hosts has its key.

    Not `-J`: the ssh that it starts is given none of our options, so it could ask, or trust a new key.
    """
    user, _, place = jump.rpartition("@")
    name, _, port = place.partition(":")
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "ForwardAgent": "no",
        "ConnectTimeout": str(CONNECT_TIMEOUT_S),
    }
    login = [*_login(ssh), *(["-l", user] if user else []), *(["-p", port] if port else [])]
    return ["ssh", "-F", "none", *_given(options), *login, name]


def _wrapper(host: Host, ssh: Ssh, known_hosts: Path) -> str:
    return f'#!/bin/sh\nexec {shlex.join(["ssh", *ssh_options(host, ssh, known_hosts)])} "$@"\n'


def _write(path: Path, text: str, mode: int) -> None:
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=mode)
    temporary.write_text(text)
    temporary.replace(path)


@contextmanager
def _reached(name: str, port: int, ssh: Ssh) -> Iterator[dict[str, Any]]:
    """Give asyncssh's words for the way to a server, through the jump host where there is one.

    Raises OSError with what ssh said where the jump host let nobody through.
    """
    if not ssh.jump:
        yield {}
        return
    *words, gate = _way(ssh.jump, ssh)
    with tempfile.NamedTemporaryFile() as said:
        # asyncssh would take what ssh says to people, on stderr, for the server's own words.
        aside = ["-E", said.name, "-o", "LogLevel=ERROR"]
        try:
            yield {"proxy_command": [*words, *aside, "-W", f"[{name}]:{port}", "--", gate]}
        except Exception as error:
            raise OSError(" ".join(said.read().decode(errors="replace").split()) or str(error)) from error


class OfferedHostKeys:
    """Asks a host which key it has, by asyncssh; nobody vouches for the answer but the operator."""

    async def fetch(self, uri: str, ssh: Ssh, *, timeout_s: float) -> str:
        """Return the host's public key; see console.drivers.base.HostKeys."""
        import asyncssh  # 0.1 s of import that only adding a host needs

        try:
            name, port = urlsplit(parse_uri(uri)).hostname, urlsplit(uri).port or 22
        except ValueError as error:
            raise FleetError("No SSH host key can be asked for.", str(error)) from None
        if not is_ssh(uri) or not name:
            raise FleetError(f"{shown(uri)} does not go over SSH.", "It has no SSH host key.", "Leave the key out.")
        place = f"{name} port {port}" + (f" (through {ssh.jump})" if ssh.jump else "")
        try:
            async with asyncio.timeout(timeout_s):
                with _reached(name, port, ssh) as way:
                    key = await asyncssh.get_server_host_key(
                        name, port, config=None, server_host_key_algs=PINNED_KINDS, **way
                    )
        except TimeoutError:
            raise HostUnreachable(
                f"{place} did not answer within {timeout_s:g} s.", "", "Is it switched on, and the address right?"
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise HostUnreachable(
                f"No SSH host key was had from {place}.", shown(str(error), 300), "Is it switched on, with sshd?"
            ) from None
        if key is None:
            raise FleetError(f"{place} offered no SSH host key of a kind that can be pinned.")
        return parse_ssh_key(key.export_public_key().decode())
