"""What is missing or wrong, and how to mend it: judged from facts alone, nothing is read or changed here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from console.domain.errors import Fault, FleetError, InventoryError
from console.domain.machine import Folder, Machine, Sharing, Terminal
from console.domain.model import Accel, Fleet
from console.domain.observed import DownReason, HostState
from console.domain.record import RepositoryState, obstacle, way_out
from console.domain.standing import HostView
from console.domain.values import shown
from console.inventory.writing import KEPT
from console.services.generated import Findings
from console.services.hosts import needs_key, other_key

LEAST_COLUMNS, LEAST_LINES = 80, 24
LEAST_COLOURS = 8
CLOCK_LIMIT_S = 60.0
"""Clocks that differ by more than this are told of."""

NAMED = 6
"""So many files have room in one command."""


class Mark(StrEnum):
    """How bad it is: BAD must be mended, WARN may stay."""

    GOOD = "good"
    WARN = "warning"
    BAD = "problem"


SIGNS = {Mark.GOOD: "✔", Mark.WARN: "▲", Mark.BAD: "✖"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it (empty when it is good)."""

    mark: Mark
    what: str
    sentence: str
    remedy: str = ""


def machine_findings(machine: Machine, fleet: Fleet | None) -> list[Finding]:
    """Judge programs, terminal, folders and processes. fleet: decides whether SSH is needed."""
    over_ssh = fleet is None or any(needs_key(host.uri) for host in fleet.hosts.values())
    return [
        Finding(Mark.GOOD, "python", f"Python {machine.python}."),
        _libvirt(machine),
        *_git(machine),
        _ssh(machine, over_ssh),
        *terminal_findings(machine.terminal),
        *(_folder(folder) for folder in machine.folders),
        Finding(Mark.GOOD, "log", f"{machine.log}, {_size(machine.log_bytes)}."),
        *_stale(machine),
    ]


def terminal_findings(terminal: Terminal) -> list[Finding]:
    """Judge the terminal and its locale."""
    found = []
    if terminal.term in ("", "dumb"):
        why = f"TERM is {terminal.term or 'not set'}: the console cannot be shown."
        found.append(Finding(Mark.WARN, "terminal", why, "Set TERM, for example: export TERM=xterm-256color"))
    elif terminal.colours is None:
        why = f"TERM is {shown(terminal.term)}, which this machine does not know."
        found.append(Finding(Mark.WARN, "terminal", why, "Install its terminfo (Debian: apt install ncurses-term)."))
    elif terminal.colours < LEAST_COLOURS:
        why = f"TERM is {terminal.term}, with {terminal.colours} colours; states are told by signs and words alone."
        found.append(Finding(Mark.WARN, "terminal", why, "If it can do more: export TERM=xterm-256color"))
    else:
        found.append(Finding(Mark.GOOD, "terminal", f"TERM is {terminal.term}, {terminal.colours} colours."))
    if terminal.columns:
        small = terminal.columns < LEAST_COLUMNS or terminal.lines < LEAST_LINES
        size = f"{terminal.columns} by {terminal.lines} characters."
        remedy = f"Make it at least {LEAST_COLUMNS} by {LEAST_LINES}." if small else ""
        found.append(Finding(Mark.WARN if small else Mark.GOOD, "size", size, remedy))
    if "utf8" in terminal.locale.lower().replace("-", ""):
        found.append(Finding(Mark.GOOD, "locale", f"{terminal.locale}."))
    else:
        why = f"{shown(terminal.locale) if terminal.locale else 'None'} is set, which is not UTF-8: signs may be wrong."
        found.append(Finding(Mark.WARN, "locale", why, "export LC_ALL=C.UTF-8"))
    return found


def inventory_findings(folder: str, failure: FleetError | None, faults: Sequence[Fault]) -> list[Finding]:
    """Judge whether the inventory was found and read. failure: why it could not be read at all."""
    if isinstance(failure, InventoryError):
        faults = failure.faults
    elif failure is not None:
        return [Finding(Mark.BAD, "inventory", " ".join(f"{failure.title} {failure.detail}".split()), failure.hint)]
    if not faults:
        return [Finding(Mark.GOOD, "inventory", f"{folder}: no mistakes.")]
    return [Finding(Mark.BAD, "inventory", str(fault), f"Edit {folder}/{fault.file}") for fault in faults]


def generated_findings(found: Findings) -> list[Finding]:
    """Judge the generated files."""
    findings = []
    for files, what, remedy in (
        (list(found.stale), "Not what the inventory says", "qd generate"),
        (list(found.edited), "Edited by hand, so that changes of their machines are refused", "qd generate --check"),
        (found.foreign, "Of no machine, and not written by Quarterdeck: left alone", "Delete what you do not need"),
    ):
        if files:
            names = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
            findings.append(Finding(Mark.WARN, "generated", f"{what}: {names}.", remedy))
    return findings or [Finding(Mark.GOOD, "generated", "The generated files are what the inventory says.")]


def repository_findings(folder: str, state: RepositoryState | FleetError) -> list[Finding]:
    """Judge the inventory's repository. A FleetError is why it could not be read."""
    if isinstance(state, FleetError):
        why = " ".join(f"{state.title} {state.detail}".split())
        return [Finding(Mark.BAD, "history", why, state.hint)]
    if not state.present:
        remedy = f"git -C {folder} init && git -C {folder} add . && git -C {folder} commit -m Begin"
        return [Finding(Mark.WARN, "history", "The inventory is in no git repository: no history, no undo.", remedy)]
    found = []
    if why := obstacle(state):
        found.append(Finding(Mark.BAD, "history", f"{why} Changes are refused.", way_out(state, folder)))
    kept = [name for name in state.uncommitted if name.endswith(KEPT)]
    if loose := [name for name in state.uncommitted if name not in kept]:
        all_names = " ".join(shlex.quote(name) for name in loose) if len(loose) <= NAMED else "."
        remedy = f"git -C {folder} add -- {all_names} && git -C {folder} commit"
        found.append(Finding(Mark.WARN, "history", f"Not committed: {_names(loose)}.", remedy))
    if kept:
        remedy = "Compare each with the file that it is named after, take over what is missing there, remove it."
        text = f"Edits that came in while a change was put back: {_names(kept)}."
        found.append(Finding(Mark.WARN, "history", text, remedy))
    if state.ahead and not state.behind:
        text = f"{state.ahead} not yet in {state.upstream}."
        found.append(Finding(Mark.WARN, "history", f"Commits: {text}", f"git -C {folder} push"))
    whole = f"In git, up to date with {state.upstream}." if state.upstream else "In git, without an upstream."
    return found or [Finding(Mark.GOOD, "history", whole)]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown(name)[1:-1] for name in names[:3]) + more


def sharing_findings(sharing: Sharing) -> list[Finding]:
    """Judge who can work on the inventory, and whether all who should can use all of it."""
    folder, group = shlex.quote(sharing.path), sharing.group
    found = []
    if not sharing.writable:
        why = f"It belongs to {sharing.owner}, group {group}, mode {sharing.mode:o}: you may only look."
        remedy = f"Have {sharing.owner} share it; see docs/ssh.md."
        if sharing.shared and not sharing.member:
            remedy = f"As root: usermod -aG {group} USER, then log in again."
        found.append(Finding(Mark.WARN, "sharing", why, remedy))
    if sharing.unshared:
        names = ", ".join(shown(name)[1:-1] for name in sharing.unshared[:3])
        more = f" and {len(sharing.unshared) - 3} more" if len(sharing.unshared) > 3 else ""
        why = f"Not every member of {group} can use {names}{more}."
        remedy = (
            f"As their owner or root: chgrp -R {group} {folder} && chmod -R g+rwX {folder} && "
            f"find {folder} -type d -exec chmod g+s {{}} +"
        )
        found.append(Finding(Mark.WARN, "sharing", why, remedy))
    if sharing.shared and sharing.git is False:
        why = f"Git does not know that {group} shares the inventory: others cannot add to what one has committed."
        found.append(Finding(Mark.WARN, "sharing", why, f"git -C {folder} config core.sharedRepository group"))
    if found:
        return found
    who = f" ({', '.join(sharing.members)})" if sharing.members else ""
    whole = f"Shared with group {group}{who}." if sharing.shared else f"Only {sharing.owner} changes it."
    return [Finding(Mark.GOOD, "sharing", whole)]


def host_findings(views: Iterable[HostView]) -> list[Finding]:
    """Judge each host: reachable, key pinned, login, how it runs guests."""
    found = []
    for view in views:
        what, seen = f"host {view.name}", view.seen
        if needs_key(view.wanted.uri) and not view.wanted.ssh_host_key:
            remedy = f"qd host key {view.name}"
            found.append(Finding(Mark.BAD, what, "It has no pinned SSH host key: it is not contacted.", remedy))
        elif seen.state is not HostState.UP:
            why = " ".join((seen.error or f"It is {seen.state.value}.").split())
            why += "".join(f" {label.capitalize()}: {key}." for label, key in other_key(view)[:2])
            found.append(Finding(Mark.BAD, what, why, _host_remedy(view)))
        else:
            found.append(_accel(what, view))
    return found


def clock_findings(views: Iterable[HostView], ahead_s: Mapping[str, float | None]) -> list[Finding]:
    """Judge the clocks of the hosts that are up. ahead_s: by how much each is ahead of ours; not all tell."""
    found = []
    for name in (view.name for view in views if view.seen.state is HostState.UP):
        what, ahead = f"clock {name}", ahead_s.get(name)
        if ahead is None:
            found.append(Finding(Mark.GOOD, what, "Not reported: only a shell over SSH tells it."))
        elif abs(ahead) > CLOCK_LIMIT_S:
            by = f"{abs(ahead) / 60:.0f} min {'ahead of' if ahead > 0 else 'behind'} this machine's"
            remedy = f"Set the time where it is wrong, and have it kept: timedatectl set-ntp true (here or on {name})"
            found.append(
                Finding(Mark.WARN, what, f"Its clock is {by}: logs and leases there tell other times.", remedy)
            )
        else:
            found.append(Finding(Mark.GOOD, what, "Within a minute of this machine's."))
    return found


def _accel(what: str, view: HostView) -> Finding:
    accel = view.seen.facts.accel if view.seen.facts else None
    if accel is None:
        return Finding(Mark.WARN, what, "Up; whether it has KVM is not known.", f"qd host show {view.name}")
    if accel is Accel.TCG:
        remedy = "Switch virtualization on in its firmware, and load kvm_intel or kvm_amd."
        return Finding(Mark.WARN, what, "Up, without KVM: guests run slowly, in software.", remedy)
    how = "with KVM" if accel is Accel.KVM else "libvirt's test driver"
    key = ", key pinned" if view.wanted.ssh_host_key else ""
    return Finding(Mark.GOOD, what, f"Up, {how}{key}.")


def _host_remedy(view: HostView) -> str:
    name, address = view.name, view.wanted.address.partition("/")[0]
    return {
        DownReason.SILENT: f"Is it switched on, and connected? ping {address}",
        DownReason.REFUSED: "Is sshd running there, and libvirtd?",
        DownReason.HOST_KEY: f"If it was installed anew, compare and pin its new key: qd host key {name}",
        DownReason.LOGIN: f"Give {name} your public key, or set the identity under [ssh] in fleet.toml.",
        DownReason.UNPINNED: f"qd host key {name}",
    }.get(view.seen.reason, f"Try it by hand: virsh -c '{view.wanted.uri}' list")


def _libvirt(machine: Machine) -> Finding:
    if machine.libvirt.version:
        return Finding(Mark.GOOD, "libvirt", f"Library {machine.libvirt.version}.")
    remedy = "Install libvirt's library (Debian: apt install libvirt0) and the Python package libvirt-python."
    return Finding(Mark.BAD, "libvirt", f"The library cannot be used: {machine.libvirt.fault}.", remedy)


def _git(machine: Machine) -> list[Finding]:
    if not machine.git.version:
        why = f"git cannot be used: {machine.git.fault}. The inventory has no history."
        return [Finding(Mark.WARN, "git", why, "Install git (Debian: apt install git).")]
    if not machine.git_identity:
        remedy = 'git config --global user.name "…" and user.email "…"'
        why = f"git {machine.git.version}; it was not told who you are: commits name your login."
        return [Finding(Mark.WARN, "git", why, remedy)]
    return [Finding(Mark.GOOD, "git", f"git {machine.git.version}, as {shown(machine.git_identity)[1:-1]}.")]


def _ssh(machine: Machine, needed: bool) -> Finding:
    if machine.ssh.version:
        return Finding(Mark.GOOD, "ssh", f"OpenSSH {machine.ssh.version}.")
    remedy = "Install the SSH client (Debian: apt install openssh-client)."
    mark = Mark.BAD if needed else Mark.WARN
    return Finding(mark, "ssh", f"ssh cannot be used: {machine.ssh.fault}.", remedy)


def _folder(folder: Folder) -> Finding:
    if folder.fault:
        return Finding(Mark.BAD, folder.what, f"{folder.path}: {folder.fault}.", f"Move it away: {folder.path}")
    if folder.open_above:
        why = f"Everybody may replace what is in {folder.open_above}: no socket of yours is safe there."
        remedy = f"chmod 700 {shlex.quote(folder.open_above)}, or name another folder: XDG_RUNTIME_DIR"
        return Finding(Mark.BAD, folder.what, why, remedy)
    if folder.mode is None:
        return Finding(Mark.GOOD, folder.what, f"{folder.path}, made when it is needed.")
    if not folder.mine:
        return Finding(Mark.BAD, folder.what, f"{folder.path} belongs to somebody else.", f"Remove {folder.path}")
    if not folder.writable:
        return Finding(Mark.BAD, folder.what, f"{folder.path} cannot be written.", f"chmod 700 {folder.path}")
    if folder.mode & 0o077:
        return Finding(Mark.WARN, folder.what, f"{folder.path} is open to others.", f"chmod 700 {folder.path}")
    return Finding(Mark.GOOD, folder.what, f"{folder.path}.")


def _stale(machine: Machine) -> list[Finding]:
    return [
        Finding(
            Mark.WARN, "process", f"Libvirt process {process.pid} is left over: {process.why}.", f"kill {process.pid}"
        )
        for process in machine.stale
    ]


def _size(size: int | None) -> str:
    return "nothing written yet" if not size else f"{size} bytes" if size < 10_000 else f"{size // 1024} KiB"
