"""The only place that joins drivers to services, and the only one that knows where things lie on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import console
from console.domain.errors import FleetError
from console.domain.model import Fleet, Host, Ssh
from console.domain.values import shown
from console.drivers import ssh
from console.drivers.base import HostTarget
from console.drivers.git import Git
from console.drivers.logfile import LogFile, current_log, start_log
from console.inventory.sound import SOUND

if TYPE_CHECKING:
    # Whoever opens one loads it: a command that needs none of them is done sooner than they are loaded.
    from console.domain.machine import Machine, Sharing
    from console.drivers.sysfs.reader import KernelFacts
    from console.services.apply import Workplace
    from console.services.session import Session
    from console.services.view import View

CLOCK_S = 10.0
"""How long a host may take to tell its time."""

DEMO_URI = "test:///demo/fleet/"
"""How the shipped demo fleet spells the place of its hosts' files."""


def inventory_folder(given: str | None) -> Path:
    """Return the inventory to work on: the one given, QUARTERDECK_INVENTORY, or the XDG default."""
    chosen = given or os.environ.get("QUARTERDECK_INVENTORY")
    if chosen:
        return user_path(chosen)
    return _xdg("XDG_CONFIG_HOME", ".config") / "inventory"


def user_path(text: str) -> Path:
    """Return a path as a person writes it, absolute. Raises FleetError for the home of nobody."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise FleetError(f"There is no folder {shown(text)}.", "No user of this machine has that name.") from None


def open_session(folder: Path) -> Session:
    """Return the session of an inventory, not yet started. Raises FleetError when it cannot be read."""
    from console.drivers.job_process import JobProcess
    from console.drivers.libvirt.client import LibvirtClient
    from console.drivers.watch import FileWatch
    from console.services.session import Session

    folder = folder.resolve()
    runtime = _runtime_of(folder)
    state = _private(state_folder(folder))
    SOUND.remember(_known_hosts(folder))
    session = Session(
        folder=folder,
        state=state,
        hypervisors=LibvirtClient(runtime, str(folder)),
        repository=repository(),
        host_keys=ssh.OfferedHostKeys(),
        watch=FileWatch(),
        targets=_targets(runtime / "ssh"),
        hardware=_hardware(runtime / "ssh"),
        fingerprint=ssh.fingerprint,
        runner=JobProcess(log_path(folder)),
    )
    SOUND.keep()
    return session


async def clocks_ahead_s(folder: Path, hosts: Iterable[Host], settings: Ssh) -> dict[str, float | None]:
    """Return by how many seconds the hosts' clocks are ahead of ours, None for one that does not tell, or has no shell.

    The hosts' SSH wrappers are there: a session is open.
    """
    place = _runtime_of(folder.resolve()) / "ssh"  # noqa: ASYNC240 - local
    over_ssh = [host for host in hosts if ssh.is_ssh(host.uri)]
    told = await asyncio.gather(
        *(ssh.clock_ahead_s(ssh.shell(host, settings, place), timeout_s=CLOCK_S) for host in over_ssh)
    )
    return {host.name: ahead for host, ahead in zip(over_ssh, told, strict=True)}


def open_workplace(folder: Path) -> Workplace:
    """Return what a job's own process works with. It knows no hosts until it is told their targets."""
    from console.drivers.libvirt.client import LibvirtClient
    from console.services.apply import Workplace

    runtime = _runtime_of(folder)
    SOUND.remember(_known_hosts(folder))
    return Workplace(folder, repository(), LibvirtClient(runtime, str(folder)), _hardware(runtime / "ssh"))


def open_view(folder: Path) -> View:
    """Return the same to be looked at alone, with a libvirt process of its own that knows no verb.

    Nothing is written but the runtime folder; the operator's last known state is used where there is one.
    """
    from console.drivers.libvirt.client import LibvirtClient
    from console.drivers.libvirt.wire import READ_ONLY
    from console.drivers.watch import FileWatch
    from console.services.view import View

    folder = folder.resolve()
    runtime = _runtime_of(folder)
    SOUND.remember(_known_hosts(folder))
    return View(
        folder=folder,
        state=state_folder(folder),
        hypervisors=LibvirtClient(runtime, str(folder), mode=READ_ONLY),
        watch=FileWatch(),
        targets=_targets(runtime / "ssh"),
        hardware=_hardware(runtime / "ssh"),
    )


def _runtime_of(folder: Path) -> Path:
    # Sockets need short paths, and what is run from here must be out of others' reach.
    return _private(_runtime() / short_id(folder))


def short_id(folder: Path) -> str:
    """Return what tells an inventory from others in the names of this machine's files: 12 hex digits."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def state_folder(folder: Path) -> Path:
    """Return where this operator keeps what belongs to an inventory and is no part of it: log, last known state."""
    return _xdg("XDG_STATE_HOME", ".local/state") / short_id(folder)


@contextlib.contextmanager
def known_hosts(folder: Path) -> Iterator[None]:
    """Know what an earlier run has found of an inventory's hosts, and leave to the next what this one has."""
    SOUND.remember(_known_hosts(folder))
    yield
    SOUND.keep()


def _known_hosts(folder: Path) -> Path:
    return state_folder(folder) / "hosts"


def keys_path() -> Path:
    """Return the file with the operator's own keys, whether it is there or not."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "keys.toml"


def settings_path() -> Path:
    """Return the file with the operator's own settings, whether it is there or not."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "settings.toml"


def log_path(folder: Path) -> Path:
    """Return the log of an inventory."""
    return state_folder(folder) / "qd.log"


def open_log(folder: Path) -> LogFile:
    """Have warnings and errors written to the log of an inventory, whether the inventory is there or not."""
    return start_log(log_path(folder))


def log_in_use() -> LogFile | None:
    """Return the log that is open, None before there is one."""
    return current_log()


def repository() -> Git:
    """Return the version control of inventories."""
    return Git()


async def machine(folder: Path) -> Machine:
    """Return what this machine has for working on an inventory."""
    from console.domain.machine import Machine
    from console.drivers import machine as machine_driver
    from console.drivers.libvirt.leftovers import leftovers

    libvirt, git_program, ssh_program = await asyncio.gather(
        machine_driver.libvirt_library(),
        machine_driver.program("git", "--version"),
        machine_driver.program("ssh", "-V"),
    )
    there = folder if folder.is_dir() else Path.home()  # noqa: ASYNC240 - local
    return Machine(
        python=machine_driver.python_version(),
        libvirt=libvirt,
        git=git_program,
        git_identity=await repository().identity(there) if git_program.version else "",
        ssh=ssh_program,
        terminal=machine_driver.terminal(os.environ),
        folders=(
            machine_driver.folder("state", state_folder(folder)),
            machine_driver.folder("runtime", _runtime_folder() / short_id(folder), above=_runtime_folder().parent),
        ),
        log=str(log_path(folder)),
        log_bytes=machine_driver.size_of(log_path(folder)),
        stale=leftovers(),
    )


async def sharing(folder: Path) -> Sharing:
    """Return whose an inventory is, and who can use what is in it. Raises OSError."""
    from console.drivers import sharing as sharing_driver

    try:
        git = await repository().shares(folder)
    except FleetError:
        git = None  # told with the repository itself
    return await asyncio.to_thread(sharing_driver.sharing, folder, git)


def demo_folder(*, fresh: bool) -> Path:
    """Return the scratch copy of the demo fleet, made on first use; `fresh` makes another one.

    It stays between runs: what was created in the demo is still there the next time.
    """
    root = _private(_xdg("XDG_STATE_HOME", ".local/state") / "demo")
    pointer = root / "current"
    if pointer.is_file() and not fresh:
        folder = root / pointer.read_text().strip()
        if (folder / "fleet.toml").is_file():
            return folder
    folder = root / secrets.token_hex(4)
    shutil.copytree(Path(console.__file__).parent / "_demo", folder)
    for path in (folder / "hosts").glob("*.toml"):
        path.write_text(path.read_text(encoding="utf-8").replace(DEMO_URI, f"test://{folder}/"), encoding="utf-8")
    # What the test hosts hold is the world's state, not what is wanted of it.
    (folder / ".gitignore").write_text("/test-driver/\n")
    pointer.write_text(folder.name)
    return folder


def _targets(folder: Path) -> Callable[[Fleet], tuple[HostTarget, ...]]:
    def targets(fleet: Fleet) -> tuple[HostTarget, ...]:
        found = []
        for host in fleet.hosts.values():
            uri, refusal = host.uri, ""
            if ssh.is_ssh(host.uri) and not host.ssh_host_key:
                refusal = f"{host.name} has no pinned SSH host key. Pin it with: qd host key {host.name}"
            elif ssh.is_ssh(host.uri):
                uri = ssh.wrapped_uri(host, fleet.ssh, folder)
            found.append(HostTarget(name=host.name, uri=uri, refusal=refusal, accel=host.accel))
        return tuple(found)

    return targets


def _hardware(folder: Path) -> KernelFacts:
    from console.drivers.sysfs.reader import KernelFacts

    def command(host: Host, settings: Ssh) -> list[str]:
        if ssh.is_ssh(host.uri):
            return ssh.shell(host, settings, folder)
        if host.uri.startswith("qemu:///"):
            return ["sh", "-s"]
        raise FleetError(
            f"The kernel of {host.name} cannot be asked for its devices.",
            f"{shown(host.uri)} gives no shell there.",
            "What libvirt tells of them is used alone.",
        )

    return KernelFacts(command)


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path is invalid and ignored.
    return (Path(base) if base.startswith("/") else Path.home() / fallback) / "quarterdeck"


def _runtime() -> Path:
    from console.drivers import machine as machine_driver

    folder = _runtime_folder()
    if machine_driver.is_open(folder.parent):
        raise FleetError(
            f"Everybody may replace what is in {folder.parent}.",
            "Quarterdeck keeps its sockets there.",
            f"Run: chmod 700 {shlex.quote(str(folder.parent))}, or set XDG_RUNTIME_DIR to a folder of yours alone.",
        )
    return _private(folder)


def _runtime_folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "quarterdeck" if base.startswith("/") else Path(f"/tmp/quarterdeck-{os.getuid()}")
    # sun_path holds 108 bytes: a deep runtime folder would make every socket fail.
    if len(os.fsencode(folder)) > 60:
        folder = Path(tempfile.gettempdir()) / f"quarterdeck-{os.getuid()}"
    return folder


def _private(folder: Path) -> Path:
    """Make a folder that only we can enter; refuse one that somebody else has made for us."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise FleetError(f"{folder} belongs to somebody else.", "Quarterdeck keeps its sockets there.", "Remove it.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def safe_name(text: str) -> str:
    """Return a fleet's name made from a folder's name."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", text).strip("-._")[:63] or "fleet"
