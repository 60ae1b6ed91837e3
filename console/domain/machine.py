"""Facts about the machine that Quarterdeck itself runs on, as they were found. Judged in console.services.doctor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program or library. version: "" when it is not there or does not run, then fault says why."""

    version: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where this process was started. colours: as terminfo says, None when it does not know TERM.

    columns, lines: 0 when there is no terminal. locale: the setting that decides about characters ("C.UTF-8").
    """

    term: str = ""
    colours: int | None = None
    columns: int = 0
    lines: int = 0
    locale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of ours. mode: its permission bits, None while it does not exist. fault: why it cannot be used.

    open_above: the folder that it is in, where everybody may put another one in its place; "" where nobody may.
    """

    what: str
    path: str
    mode: int | None = None
    mine: bool = True
    writable: bool = True
    fault: str = ""
    open_above: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Whose an inventory's folder is. owner, group: names, or numbers without one. members: some of the group's.

    shared: the group works in it. writable, member: what the operator may, and is. unshared: files and folders in it
    that not every member can use. git: git makes its files for all of them, None without a repository.
    """

    path: str
    owner: str
    group: str
    mode: int
    shared: bool
    members: tuple[str, ...] = ()
    member: bool = True
    writable: bool = True
    unshared: tuple[str, ...] = ()
    git: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleProcess:
    """A libvirt process that no console can reach any more, and why that is."""

    pid: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Everything. log: the path of the inventory's log; log_bytes: None while there is none."""

    python: str
    libvirt: Program
    git: Program
    git_identity: str
    ssh: Program
    terminal: Terminal
    folders: tuple[Folder, ...]
    log: str
    log_bytes: int | None
    stale: tuple[StaleProcess, ...] = ()
