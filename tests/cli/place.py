"""`qd` in processes of its own, with folders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Place:
    """Where `qd` finds nothing of this machine's user. python: what runs it."""

    root: Path
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, python: str = sys.executable) -> Place:
        # Short, since sockets are in it.
        root = Path(tempfile.mkdtemp(prefix="qd-cli-", dir="/tmp"))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "QUARTERDECK_", "XDG_"))}
        env = kept | {
            "HOME": str(root),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "XDG_STATE_HOME": str(root / "state"),
            "XDG_CONFIG_HOME": str(root / "config"),
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
        }
        (root / "run").mkdir(mode=0o700)
        return cls(root, python, env)

    def qd(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `qd`; whatever happens, it shows no traceback."""
        done = subprocess.run(
            [self.python, "-m", "console", *arguments],
            env=self.env | env,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    def ok(self, *arguments: str, **env: str) -> str:
        """Run `qd`, which must succeed; return what it printed."""
        done = self.qd(*arguments, **env)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run `qd ... --json`; return the data."""
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, *arguments: str, status: int = 1, **env: str) -> str:
        """Run `qd`, which must refuse; return what it said on stderr."""
        done = self.qd(*arguments, **env)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.strip()
        assert all(char.isprintable() or char == "\n" for char in done.stderr), done.stderr
        return done.stderr

    def close(self) -> None:
        """End the libvirt processes that were started here."""
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"console.drivers.libvirt" in words and any(word.startswith(bytes(self.root)) for word in words):
                os.kill(int(entry.name), signal.SIGTERM)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
