"""What version control knows of an inventory: its commits, and how it stands to the copy that others share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One recorded change. id: the full name, short: as people write it. ours: it was made by Quarterdeck."""

    id: str
    short: str
    at: datetime
    who: str
    subject: str
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryState:
    """How an inventory's repository stands, as far as this machine knows: nothing is asked of the network.

    present: there is one. operation: what it is in the middle of ("merge", "rebase", ...), else "". upstream: the
    branch that it is compared with ("origin/main"), "" without one. ahead, behind: commits that only this side has,
    and only the upstream. uncommitted: files of the inventory that differ from the last commit, or are not in it, by
    their names in the inventory. locks: the files by which a git command keeps others out: it is at work for long, or
    was killed.
    """

    present: bool = True
    operation: str = ""
    upstream: str = ""
    ahead: int = 0
    behind: int = 0
    uncommitted: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()


def obstacle(state: RepositoryState) -> str:
    """Return why no change must be committed on top of this, in one sentence; empty when it may."""
    if state.operation:
        return f"The inventory's repository is in the middle of a {state.operation}."
    if state.locks:
        there = f"{', '.join(state.locks)} {'exists' if len(state.locks) == 1 else 'exist'}"
        return f"A git command is at work in the inventory's repository, or was killed there: {there}."
    if state.behind and state.ahead:
        return (
            f"The inventory has diverged from {state.upstream}: {_commits(state.ahead)} only here, "
            f"{_commits(state.behind)} only there."
        )
    if state.behind:
        return f"The inventory is {_commits(state.behind)} behind {state.upstream}."
    return ""


def way_out(state: RepositoryState, folder: str) -> str:
    """Return what to run about an obstacle; empty without one."""
    if state.operation:
        return f"End it, or give it up: git -C {folder} status says how."
    if state.locks:
        return f"If no git runs there any more: {remove_locks(state.locks)}"
    if state.behind and state.ahead:
        return f"Bring both together: git -C {folder} pull --rebase"
    if state.behind:
        return f"Take over what others did: git -C {folder} pull --ff-only"
    return ""


def remove_locks(paths: Sequence[str]) -> str:
    """Return the command that removes what a killed git has left."""
    return f"rm {shlex.join(paths)}"


def _commits(number: int) -> str:
    return f"{number} commit{'s' if number != 1 else ''}"
