"""Reading a host's hardware where it is: by a shell that answers, that does not, and that answers nonsense."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.domain.errors import FleetError, HostUnreachable
from console.domain.hardware import Use
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


async def test_nvidias_tool_tells_how_busy_its_cards_are(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--query-gpu=pci.bus_id,*) ;; *) exit 3 ;; esac\n'
        "echo '00000000:65:00.0, 87, 249.63, 65, 3072, 10240'\n"
        "echo '00000000:B3:00.0, [N/A], [Not Supported], 41, 0, 8192'\n"
        "echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'\n"
        "echo '00000000:zz:00.0, 1, 2, 3, 4, 5'\n"
    )
    tool.chmod(0o755)
    asked = facts(["env", f"PATH={tmp_path}:{os.environ['PATH']}", "sh", "-s"])
    found = await asked.use(VHOST, Ssh(), timeout_s=20)
    assert found == {
        "0000:65:00.0": Use(
            busy_percent=87, power_w=249.63, temperature_c=65, memory_used_bytes=3 << 30, memory_bytes=10 << 30
        ),
        "0000:b3:00.0": Use(temperature_c=41, memory_used_bytes=0, memory_bytes=8 << 30),
    }


async def test_a_host_without_nvidias_tool_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    asked = facts(["env", f"PATH={tmp_path}", "sh", "-s"])
    assert await asked.use(VHOST, Ssh(), timeout_s=20) == {}


async def test_a_tool_that_hangs_with_its_card_is_given_up(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec sleep 600\n")
    tool.chmod(0o755)
    asked = facts(["env", f"PATH={tmp_path}:{os.environ['PATH']}", "sh", "-s"])
    with pytest.raises(HostUnreachable):
        await asked.use(VHOST, Ssh(), timeout_s=0.5)
