"""Reading a host's hardware where it is: by a shell that answers, that does not, and that answers nonsense."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.model import Host, Ssh
from console.drivers.sysfs.reader import KernelFacts
from tests.sysfs import HOST, Tree, rtx

VHOST = Host(name="vhost-a", mac="52:54:00:10:00:0a", address="10.0.0.11/24", uri="qemu+ssh://root@10.0.0.11/system")


def facts(words: Sequence[str]) -> KernelFacts:
    return KernelFacts(lambda host, ssh: words)


async def test_a_host_tells_its_hardware(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [*HOST, *rtx("65", 28)])
    words = ["env", *(f"{name}={value}" for name, value in tree.environment.items()), "sh", "-s"]
    found = await facts(words).read(VHOST, Ssh(), timeout_s=20)
    assert [function.address for function in found.slot("0000:65:00")] == ["0000:65:00.0", "0000:65:00.1"]


async def test_a_silent_host_is_given_up_and_its_command_ended(tmp_path: Path) -> None:
    word = tmp_path / "pid"
    with pytest.raises(HostUnreachable, match=r"did not tell its hardware within 0\.5 s"):
        await facts(["sh", "-c", f"echo $$ > {word}; exec sleep 600"]).read(VHOST, Ssh(), timeout_s=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int(word.read_text()), 0)


async def test_who_stops_waiting_leaves_no_command_behind(tmp_path: Path) -> None:
    word = tmp_path / "pid"
    waiting = asyncio.ensure_future(
        facts(["sh", "-c", f"echo $$ > {word}; exec sleep 600"]).read(VHOST, Ssh(), timeout_s=600)
    )
    async with asyncio.timeout(20):
        while not (word.exists() and word.read_text()):  # noqa: ASYNC110 - the shell's word is a file
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ProcessLookupError):
        os.kill(int(word.read_text()), 0)


async def test_a_refused_login_says_why() -> None:
    refused = facts(["sh", "-c", "echo 'root@10.0.0.11: Permission denied (publickey).' >&2; exit 255"])
    with pytest.raises(HostUnreachable) as error:
        await refused.read(VHOST, Ssh(), timeout_s=20)
    assert "Permission denied (publickey)" in str(error.value)


async def test_a_host_that_babbles_is_cut_short() -> None:
    with pytest.raises(FleetError, match="said more than"):
        await KernelFacts(lambda host, ssh: ["yes"], limit=100_000).read(VHOST, Ssh(), timeout_s=20)


async def test_another_answer_is_refused() -> None:
    with pytest.raises(FleetError, match="did not tell its hardware"):
        await facts(["echo", "This account is for transfers only."]).read(VHOST, Ssh(), timeout_s=20)
