"""The system calls of a program and all that it starts, as strace saw them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

OPENS = ("open", "openat", "openat2", "creat")
CHANGES = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "truncate", "ftruncate"),
    *(
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "chmod",
        "fchmod",
        "fchmodat",
        "chown",
        "fchown",
        "fchownat",
        "mknodat",
    ),
    *("utimensat", "fallocate", "pwrite64", "setxattr"),
)
STRACE = (
    *("-f", "-qq", "--seccomp-bpf", "-y", "-s", "4096"),
    *("-e", "trace=" + ",".join(f"?{name}" for name in (*OPENS, *CHANGES, "connect", "execve"))),
)

CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
PLACED = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>, "((?:[^"\\]|\\.)*)"')
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPEN_FILE = re.compile(r"^\d+<([^>]*)>")
SOCKET = re.compile(r'sun_path="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its name, its arguments as strace writes them, and the files that it names, absolute."""

    name: str
    text: str
    paths: tuple[str, ...]

    @property
    def writes(self) -> bool:
        """Whether it can change a file that it names."""
        return (
            self.name in CHANGES
            or self.name == "creat"
            or re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", self.text) is not None
        )

    def touches(self, folder: Path) -> bool:
        """Whether it names something in a folder."""
        return any(Path(path).is_relative_to(folder) for path in self.paths)


def read_calls(log: Path) -> list[Call]:
    """Return what strace wrote; calls that another thread interrupted are whole where they began."""
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        name, text = found.groups()
        paths = [str(Path(folder) / path) for folder, path in PLACED.findall(text)]
        paths += [path for path in PATH.findall(text) if path.startswith("/")]
        paths += OPEN_FILE.findall(text)
        calls.append(Call(name, text, tuple(paths)))
    return calls


def sockets(calls: list[Call]) -> set[str]:
    """Return the unix sockets that were connected to."""
    return {path for call in calls if call.name == "connect" for path in SOCKET.findall(call.text)}
