"""Runs read.sh where a host's kernel is: there by SSH, or here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from console.domain.errors import FleetError, HostUnreachable
from console.domain.hardware import HostHardware, Use
from console.domain.model import Host, Ssh
from console.domain.values import shown
from console.drivers.sysfs.parse import parse_hardware
from console.drivers.sysfs.use import NVIDIA, nvidia_use

SCRIPT = Path(__file__).with_name("read.sh")

LIMIT = 8 * 1024 * 1024
"""Bytes of an answer. A host with 500 PCI functions and 2,000 processes says about 1 MB."""


class KernelFacts:
    """Reads hosts' hardware. command: gives the words that run a POSIX shell on a host, which reads its standard input.

    The command raises FleetError for a host without a kernel of its own to ask (libvirt's test driver).
    """

    def __init__(self, command: Callable[[Host, Ssh], Sequence[str]], limit: int = LIMIT) -> None:
        self._command = command
        self._limit = limit

    async def read(self, host: Host, ssh: Ssh, *, timeout_s: float) -> HostHardware:
        """Return what the host's kernel says now; see console.drivers.base.HardwareReader."""
        said = await self._say(host, ssh, await asyncio.to_thread(SCRIPT.read_bytes), timeout_s, end=b"== end")
        return parse_hardware(said, datetime.now(UTC))

    async def use(self, host: Host, ssh: Ssh, *, timeout_s: float) -> Mapping[str, Use]:
        """Return how much cards of NVIDIA's driver work now; see console.drivers.base.HardwareReader."""
        return nvidia_use(await self._say(host, ssh, NVIDIA, timeout_s))

    async def _say(self, host: Host, ssh: Ssh, script: bytes, timeout_s: float, end: bytes | None = None) -> str:
        """Return what a script prints on a host. end: what its text has when it is whole, however it ended."""
        words = await asyncio.to_thread(self._command, host, ssh)  # it may write the SSH wrapper
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # nothing that it starts may ask on our terminal
        )
        try:
            async with asyncio.timeout(timeout_s):
                said, errors = await _talk(process, script, self._limit)
        except TimeoutError:
            raise HostUnreachable(
                f"{host.name} did not tell its hardware within {timeout_s:g} s.", "", "Try again when it answers."
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode and len(said) < self._limit and (end is None or end not in said):
            why = errors.decode(errors="replace").strip().splitlines()
            raise HostUnreachable(
                f"{host.name} did not tell its hardware.",
                shown(why[-1], 300) if why else f"The command ended with status {process.returncode}.",
                "Log in by SSH must work there, and give a shell.",
            )
        if len(said) >= self._limit:
            raise FleetError(f"{host.name} said more than {self._limit} bytes of its hardware.")
        return said.decode(errors="replace")


async def _talk(process: asyncio.subprocess.Process, script: bytes, limit: int) -> tuple[bytes, bytes]:
    """Return what a shell said and complained of; whoever says too much is not listened to until the end."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None

    async def ask(stdin: asyncio.StreamWriter) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its last words tell why
            stdin.write(script)
            await stdin.drain()
        stdin.close()

    async def some(stream: asyncio.StreamReader, limit: int) -> bytes:
        heard = bytearray()
        while len(heard) < limit and (more := await stream.read(65536)):
            heard += more
        return bytes(heard)

    asking = asyncio.create_task(ask(process.stdin))
    complaints = asyncio.create_task(some(process.stderr, 65536))
    try:
        said = await some(process.stdout, limit)
        if len(said) >= limit:
            return said, b""
        await asking
        errors = await complaints
        await process.wait()
        return said, errors
    finally:
        asking.cancel()
        complaints.cancel()
