"""An operator's own folders: consoles and commands that run in them, and nothing of them left behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.pty.terminal import ROOT, Terminal

QD = (sys.executable, "-m", "console")
END_S = 10.0


@dataclass
class Place:
    """A folder with the operator's XDG folders in it."""

    folder: Path
    environment: dict[str, str]
    terminals: list[Terminal] = field(default_factory=list)

    def open(self, *command: str | Path, columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
        """A terminal with a command in it: `qd` with these words, or what a first word with a slash names."""
        words = [str(word) for word in command]
        if not words or "/" not in words[0]:
            words = [*QD, *words]
        terminal = Terminal(words, {**self.environment, **environment}, columns, lines)
        self.terminals.append(terminal)
        return terminal

    def qd(self, *words: str | Path, status: int = 0) -> str:
        """What `qd` prints on both streams; the test fails when it exits otherwise than said."""
        command = [*QD, *map(str, words)]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"qd {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def demo(self) -> Inventory:
        """The demo's inventory."""
        return Inventory(self, Path(self.qd("demo", "--path").strip()))


@dataclass
class Inventory:
    """An inventory in a git repository."""

    place: Place
    folder: Path

    def open(self, **size: int) -> Terminal:
        """A console on it."""
        return self.place.open("--inventory", self.folder, **size)  # type: ignore[arg-type]

    def qd(self, *words: str | Path, status: int = 0) -> str:
        """What `qd` says of it."""
        return self.place.qd("--inventory", self.folder, *words, status=status)

    def git(self, *words: str) -> list[str]:
        """The lines that git prints."""
        command = ["git", "-C", str(self.folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def commits(self) -> list[str]:
        """The first lines of all commits, newest first."""
        return self.git("log", "--format=%s")

    def texts(self) -> dict[str, str]:
        """The files that people write: name -> text."""
        files = [self.folder / "fleet.toml", *sorted((self.folder / "hosts").iterdir())]
        return {str(path.relative_to(self.folder)): path.read_text(encoding="utf-8") for path in files}

    def is_whole(self) -> bool:
        """Whether nothing is uncommitted, and the generated files say the same as the inventory: no word, exit 0."""
        return self.git("status", "--short") == [] and self.qd("generate", "--check") == ""


@contextmanager
def made() -> Iterator[Place]:
    """A place; what was started in it is ended afterwards, each by its number."""
    folder = Path(tempfile.mkdtemp(prefix="qdt-", dir="/tmp"))  # short: sockets are made in it
    place = Place(folder, {name: value for name, value in os.environ.items() if not name.startswith("QUARTERDECK_")})
    place.environment["TERM"] = "xterm-256color"
    for name in ("STATE_HOME", "RUNTIME_DIR", "CONFIG_HOME"):
        (folder / name).mkdir(mode=0o700)
        place.environment[f"XDG_{name}"] = str(folder / name)
    try:
        yield place
    finally:
        for terminal in place.terminals:
            terminal.close()
        for number in libvirt_processes(folder):
            end(number)
        shutil.rmtree(folder)


def libvirt_processes(folder: Path) -> list[int]:
    """The libvirt processes whose sockets lie in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"console.drivers.libvirt" in words and any(word.startswith(os.fsencode(folder) + b"/") for word in words):
            found.append(int(entry.parent.name))
    return found


def end(number: int) -> None:
    """A process is gone: asked first, then made to."""
    try:
        handle = os.pidfd_open(number)
    except ProcessLookupError:
        return
    try:
        for how in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, how)
            if select.select([handle], [], [], END_S)[0]:
                return
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
