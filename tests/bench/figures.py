"""The figures of the console on the demo fleet, in a real pty, as whole processes see them.

start            from exec to the first screen that shows the fleet's hosts
help             `qd --help`
idle CPU         of the console and of the libvirt process, with the demo's 12 guests on screen
memory           resident sets of all processes, added up
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
QD = [sys.executable, "-m", "console"]
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("vhost-a vhost-b vhost-c vhost-d")
Bare().run()
"""


class Screen:
    """A program in a pty, and the screen that its output makes."""

    def __init__(self, arguments: list[str], environment: dict[str, str], columns: int = 128, lines: int = 40) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.started = time.perf_counter()
        self.child = pexpect.spawn(
            arguments[0], arguments[1:], env=environment, dimensions=(lines, columns), cwd=str(ROOT), timeout=30
        )

    def read(self, seconds: float) -> int:
        """Feed what arrives within the time to the screen; return its bytes."""
        count, end = 0, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            try:
                data = self.child.read_nonblocking(65536, timeout=left)
            except (pexpect.TIMEOUT, pexpect.EOF):
                break
            self._stream.feed(data)
            count += len(data)
        return count

    def until(self, shown: Callable[[str], bool], seconds: float = 30.0) -> float:
        """Return the seconds from exec until the screen shows it."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.read(0.005)
            if shown("\n".join(self.screen.display)):
                return time.perf_counter() - self.started
        raise SystemExit("The screen never showed it:\n" + "\n".join(self.screen.display))

    def close(self) -> None:
        """End the program."""
        self.child.send("q")
        self.read(1.0)
        self.child.close(force=True)


def figure(name: str, value: float, unit: str, target: str) -> None:
    """Print one figure."""
    print(f"{name:<34} {value:>8.2f} {unit:<4} {target}", flush=True)


@contextmanager
def scratch() -> Iterator[dict[str, str]]:
    """Give an environment of its own, whose libvirt processes are ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="qdb-") as folder:
        names = {"XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config"}
        environment = {**os.environ, "TERM": "xterm-256color", **{k: f"{folder}/{v}" for k, v in names.items()}}
        environment.pop("QUARTERDECK_INVENTORY", None)
        for name in names.values():
            Path(folder, name).mkdir(mode=0o700)
        try:
            yield environment
        finally:
            for pid in libvirt_processes(folder):
                os.kill(pid, signal.SIGTERM)


def libvirt_processes(folder: str) -> list[int]:
    """Return the libvirt processes that were started for this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if "console.drivers.libvirt" in command and folder in command:
            found.append(int(entry.name))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return a process's resident set."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start_of(arguments: list[str], environment: dict[str, str], word: str) -> float:
    """Return the seconds from exec until the screen shows a word."""
    screen = Screen(arguments, environment)
    try:
        return screen.until(lambda text: word in text)
    finally:
        screen.close()


def main() -> None:
    """Measure and print everything."""
    idle_s = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    help_s = []
    for _ in range(7):
        begun = time.perf_counter()
        subprocess.run([*QD, "--help"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        help_s.append(time.perf_counter() - begun)
    figure("qd --help", statistics.median(help_s), "s", "<= 0.25")
    with scratch() as environment:
        subprocess.run([*QD, "demo", "--path"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
        bare = [start_of([sys.executable, "-c", BARE], environment, "vhost-d") for _ in range(5)]
        figure("start, bare Textual", statistics.median(bare), "s", "(what Textual itself takes)")
    cold, warm = [], []
    for _ in range(5):
        with scratch() as environment:
            subprocess.run([*QD, "demo", "--path"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
            cold.append(start_of([*QD, "demo"], environment, "vhost-d"))
            warm.append(start_of([*QD, "demo"], environment, "legacy-ftp"))
    figure("start to fleet, no libvirt process", statistics.median(cold), "s", "<= 0.80 (closest peer 1.5 to 2.2)")
    figure("start to observed guests, shared", statistics.median(warm), "s", "(libvirt process already there)")
    with scratch() as environment:
        screen = Screen([*QD, "demo"], environment)
        screen.until(lambda text: "legacy-ftp" in text)
        screen.read(5.0)
        helpers = libvirt_processes(str(Path(environment["XDG_RUNTIME_DIR"]).parent))
        before = {pid: cpu_seconds(pid) for pid in (screen.child.pid, *helpers)}
        begun = time.perf_counter()
        sent = screen.read(idle_s)
        while time.perf_counter() - begun < idle_s:
            sent += screen.read(idle_s - (time.perf_counter() - begun))
        elapsed = time.perf_counter() - begun
        used = {pid: 100 * (cpu_seconds(pid) - before[pid]) / elapsed for pid in before}
        figure("idle CPU, console", used[screen.child.pid], "%", "<= 1.5 (closest peer 4.5)")
        figure("idle CPU, libvirt process", sum(used[pid] for pid in helpers), "%", "<= 1.5")
        figure("idle output", sent / elapsed / 1000, "kB/s", "(closest peer 8 to 9)")
        figure("memory, console", resident_mb(screen.child.pid), "MB", "")
        figure("memory, libvirt process", sum(resident_mb(pid) for pid in helpers), "MB", "")
        total = sum(resident_mb(pid) for pid in before)
        figure("memory, all processes", total, "MB", "<= 110 (closest peer 94 to 109)")
        screen.close()


if __name__ == "__main__":
    main()
