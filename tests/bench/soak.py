"""Two hours of the dashboard on the lab, with hosts that fail and return: how much its memory grows.

The clock is accelerated: for the dashboard and its libvirt process every second lasts 1/20 of one (libfaketime), and
so do all their timers, looks at hosts, deadlines and back-offs: two hours of work are done in six minutes. The hosts
themselves live in real time, and are reached by their unix sockets, whose answers take milliseconds even so.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt

from tests.bench.figures import QD, Screen, figure, libvirt_processes, resident_mb, scratch
from tests.lab.guests import Lab, domain_xml, kernel_boot, lab_command
from tests.peers import peer, silent

SPEED = 20
WARM_MIN, WINDOW_MIN = 10, 5
EVERY_S = 1.0
FLEET = """version = 1
name = "soak"
[networks.lan]
bridge = "br0"
[pools.default]
path = "/var/lib/libvirt/images"
"""
HOST = """mac = "52:54:00:00:00:{number:02x}"
address = "10.77.9.{number}/24"
uri = "{uri}"
accel = "tcg"
"""


def library() -> Path | None:
    """Return libfaketime, None where it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a moment looked like. minute: of the accelerated clock. Sizes: resident sets in MB."""

    minute: float
    dashboard_mb: float
    libvirt_mb: float
    shown: str


def faults(lab: Lab) -> Iterator[Callable[[], object]]:
    """Yield what is done to the hosts, one after another, for ever; each one is mended by a later one."""
    first, second = lab.hosts[:2]
    while True:
        yield lambda: lab_command("restart-daemon", lab.dir, first)
        yield lambda: lab_command("kill", lab.dir, second)
        yield lambda: lab_command("start", lab.dir, second)
        pid = lab_command("exec", lab.dir, first, "pidof", "libvirtd").strip()
        yield lambda pid=pid: lab_command("exec", lab.dir, first, "busybox", "kill", "-STOP", pid)  # type: ignore[misc]
        yield lambda pid=pid: lab_command("exec", lab.dir, first, "busybox", "kill", "-CONT", pid)  # type: ignore[misc]
        yield lambda: lab_command("restart-daemon", lab.dir, second)


def write(folder: Path, lab: Lab, silent_uri: str) -> None:
    """Write an inventory of the lab's hosts, one that never answers and one that is never there."""
    (folder / "hosts").mkdir(parents=True)
    (folder / "fleet.toml").write_text(FLEET)
    uris = {**lab.uris, "silent": silent_uri, "refusing": "qemu+tcp://127.0.0.1:1/system"}
    for number, (name, uri) in enumerate(uris.items(), 1):
        (folder / f"hosts/{name}.toml").write_text(HOST.format(number=number, uri=uri))


def define_guests(lab: Lab) -> None:
    """A guest that runs, and some that do not."""
    connection = libvirt.open(lab.uri)
    for number in range(6):
        os_xml = kernel_boot(lab, "")
        mac = f"52:54:00:78:01:{number:02x}"
        xml = domain_xml(f"soak-{number}", mac=mac, log=lab.dir / f"soak-{number}.log", os=os_xml)
        domain = connection.defineXML(xml)
        if number == 0:
            domain.create()
    connection.close()


def soak(lab: Lab, minutes: float, fault_min: float = 2.5) -> list[Sample]:
    """Run the dashboard for so many accelerated minutes; something happens to a host every `fault_min`."""
    found = library()
    if found is None:
        raise SystemExit("libfaketime is missing: apt-get install faketime")
    define_guests(lab)
    samples: list[Sample] = []
    with scratch() as environment, peer(silent) as quiet:
        folder = Path(environment["XDG_STATE_HOME"], "soak")
        write(folder, lab, quiet.uri)
        fast = {"LD_PRELOAD": str(found), "FAKETIME": f"+0 x{SPEED}", "FAKETIME_DONT_RESET": "1"}
        screen = Screen([*QD, "dashboard", "--inventory", str(folder)], {**environment, **fast})
        screen.until(lambda text: "soak" in text)
        place = str(Path(environment["XDG_RUNTIME_DIR"]).parent)
        # It is there once a host is up; before, its launcher looks like it.
        screen.until(lambda text: "● lab-a" in text and "● lab-b" in text, seconds=60)
        (helper,) = libvirt_processes(place)
        todo = faults(lab)
        begun = time.monotonic()
        next_fault = fault_min
        while (minute := (time.monotonic() - begun) * SPEED / 60) < minutes:
            if minute >= next_fault:
                next(todo)()
                next_fault += fault_min
            until = time.monotonic() + EVERY_S
            while (left := until - time.monotonic()) > 0:
                screen.read(left)
            shown = "\n".join(screen.screen.display)
            samples.append(Sample(minute, resident_mb(screen.child.pid), resident_mb(helper), shown))
        screen.close()
    return samples


def growth(samples: list[Sample], what: Callable[[Sample], float]) -> float:
    """Return by how many MB something grew from the minutes after WARM_MIN to the last ones."""
    end = samples[-1].minute
    early = [what(s) for s in samples if WARM_MIN <= s.minute < WARM_MIN + WINDOW_MIN]
    late = [what(s) for s in samples if s.minute >= end - WINDOW_MIN]
    return statistics.median(late) - statistics.median(early)


def main() -> None:
    """Measure and print, with the series."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    parser.add_argument("--minutes", type=float, default=120.0, help="accelerated minutes (default: %(default)s)")
    minutes = parser.parse_args().minutes
    lab_folder = Path(tempfile.mkdtemp(prefix="qdlab-", dir="/tmp"))
    try:
        lab_command("up", lab_folder)
        samples = soak(Lab.of(lab_folder), minutes)
    finally:
        lab_command("down", lab_folder, "--purge")
    print("minute  dashboard MB  libvirt process MB")
    step = max(1, len(samples) // 24)
    for sample in samples[::step]:
        print(f"{sample.minute:6.1f}  {sample.dashboard_mb:12.1f}  {sample.libvirt_mb:18.1f}")
    figure("soak, dashboard grows", growth(samples, lambda s: s.dashboard_mb), "MB", "< 2 after 10 minutes")
    figure("soak, libvirt process grows", growth(samples, lambda s: s.libvirt_mb), "MB", "")


if __name__ == "__main__":
    main()
