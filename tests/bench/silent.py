"""A fleet of 100 hosts of which 30 accept connections and never answer: start, and the event loop's longest stall."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import QD, Screen, figure, libvirt_processes, scratch

HOSTS, SILENT = 100, 30
EVERY_S = 0.002

FLEET = (
    'version = 1\nname = "wide"\n[networks.lan]\nbridge = "br0"\n[pools.default]\npath = "/var/lib/libvirt/images"\n'
)
NODE = """<node>
  <domain type='test'><name>guest</name><uuid>{uuid}</uuid><memory unit='MiB'>512</memory>
    <vcpu>1</vcpu><os><type>hvm</type></os></domain>
  <network><name>lan</name><bridge name='br0'/></network>
  <pool type='dir'><name>default</name><target><path>/var/lib/libvirt/images</path></target></pool>
</node>
"""


@contextmanager
def silence() -> Iterator[int]:
    """Listen on a port of 127.0.0.1: the kernel accepts, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        yield listening.getsockname()[1]


def write(folder: Path, port: int) -> None:
    """Write the inventory. Every third host is silent, as long as there are silent ones."""
    (folder / "hosts").mkdir(parents=True)
    (folder / "fleet.toml").write_text(FLEET)
    silent = set(itertools.islice(range(0, HOSTS, 3), SILENT))
    for number in range(HOSTS):
        node = folder / f"node-{number}.xml"
        node.write_text(NODE.format(uuid=f"00000000-0000-0000-0000-{number:012d}"))
        uri = f"qemu+tcp://127.0.0.1:{port}/system" if number in silent else f"test://{node}"
        (folder / f"hosts/host-{number:03d}.toml").write_text(
            f'mac = "52:54:00:00:00:{number:02x}"\naddress = "10.0.0.{number + 1}/24"\nuri = "{uri}"\naccel = "test"\n'
        )


async def longest_stall(folder: Path, seconds: float) -> tuple[float, int]:
    """Run the console without a terminal; return its event loop's longest stall in ms, and the hosts that were up."""
    from console.wiring import open_session
    from screens.app import QuarterdeckApp

    session = open_session(folder)
    app = QuarterdeckApp(session)
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(EVERY_S)
            stalls.append(time.perf_counter() - before - EVERY_S)

    async with app.run_test(size=(160, 48)) as pilot:
        watching = asyncio.create_task(watch())
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await pilot.press("down")
            await asyncio.sleep(0.1)
        watching.cancel()
        up = sum(host.seen.state.value == "up" for host in session.store.hosts())
    return max(stalls) * 1000, up


def main() -> None:
    """Measure and print."""
    with scratch() as environment, silence() as port:
        folder = Path(environment["XDG_STATE_HOME"], "wide")
        write(folder, port)
        starts = []
        for _ in range(5):
            screen = Screen([*QD, "--inventory", str(folder)], environment)
            starts.append(screen.until(lambda text: "host-005" in text))
            screen.close()
            for pid in libvirt_processes(str(Path(environment["XDG_RUNTIME_DIR"]).parent)):
                os.kill(pid, signal.SIGTERM)
        figure("start, 100 hosts, 30 silent", statistics.median(starts), "s", "<= 0.80 (peer, 3 silent: 123)")
        os.environ.update({name: value for name, value in environment.items() if name.startswith("XDG_")})
        stall, up = asyncio.run(longest_stall(folder, 20.0))
        figure("longest stall of the event loop", stall, "ms", "<= 50 (peer, 3 silent: 15,000)")
        figure("hosts up beside the silent", up, "", f"{HOSTS - SILENT}")


if __name__ == "__main__":
    sys.exit(main())
