"""qd init, check, generate, export: what needs the inventory's files and no host."""

from __future__ import annotations

import asyncio
import shlex
import sys
import uuid
from argparse import Namespace
from pathlib import Path

from console.cli.output import counted, safe
from console.domain.errors import FleetError
from console.domain.model import Fleet
from console.domain.values import shown
from console.wiring import inventory_folder, known_hosts, repository, safe_name, user_path


def init(options: Namespace) -> int:
    """qd init DIR: a new inventory in a git repository."""
    from console.generate.nix import flake_nix
    from console.inventory.edit import new_text
    from console.inventory.files import FLEET_FILE
    from console.inventory.sharing import make_folder, share_folder
    from console.inventory.tables import fleet_table
    from console.inventory.writing import write_files

    folder = user_path(options.folder)
    if (folder / FLEET_FILE).exists():
        raise FleetError(f"{folder} already holds an inventory.", "", f"Open it with: qd --inventory {folder}")
    name = options.name or safe_name(folder.name)
    fleet = Fleet(name=safe_name(name), id=str(uuid.uuid4()))
    if options.name and fleet.name != options.name:
        raise FleetError(f"{shown(options.name)} is not a name.", "", "Use letters, digits, '-', '_' or '.'.")
    heading = f"{fleet.name}: a fleet of NixOS hypervisors, kept by Quarterdeck (qd). Edit it by hand or with qd."
    try:
        if options.shared:
            share_folder(folder, options.shared)
        make_folder(folder / "hosts")
    except OSError as error:
        raise FleetError(f"{folder} was not made.", f"{error.strerror} ({error.filename}).") from None
    files: dict[str, str | None] = {FLEET_FILE: new_text(fleet_table(fleet), heading)}
    if not (folder / "flake.nix").exists():
        files["flake.nix"] = flake_nix(fleet)
    write_files(folder, files)
    begin = f"Begin the inventory of {fleet.name}"
    asyncio.run(make_repository(folder, list(files), begin, shared=bool(options.shared)))
    print(f"Made {folder}. Add the first host with:")
    print(f"  qd --inventory {folder} host add NAME --mac MAC --address CIDR")
    if options.shared:
        print(f"Each other member of {options.shared} says once that git may trust it:")
        print(f"  git config --global --add safe.directory {shlex.quote(str(folder))}")
    return 0


async def make_repository(
    folder: Path, files: list[str], message: str, *, own: bool = False, shared: bool = False
) -> None:
    git = repository()
    try:
        await git.init(folder, own=own, shared=shared)
        await git.commit(folder, files, message)
    except FleetError as error:
        print(f"qd: {error.title} The inventory works without history.", file=sys.stderr)


def check(options: Namespace) -> int:
    """qd check: every mistake of every file."""
    from console.inventory.files import read_inventory

    inventory = read_inventory(inventory_folder(options.inventory))
    inventory.require_sound()
    guests = sum(len(host.guests) for host in inventory.fleet.hosts.values())
    hosts = counted(len(inventory.fleet.hosts), "host")
    print(f"{inventory.fleet.name}: {hosts}, {counted(guests, 'guest')}, no mistakes.")
    without = [host.name for host in inventory.fleet.hosts.values() if host.disk is None]
    if bare := [name for name in without if not (inventory.folder / f"machines/{name}.nix").exists()]:
        # No mistake: it may run something else than NixOS, or not have reported its disks yet.
        names = ", ".join(bare[:5]) + (" ..." if len(bare) > 5 else "")
        print(f"{counted(len(bare), 'host')} without a disk for NixOS: {names}. Name it: qd host set HOST --disk DISK")
    return 0


def generate(options: Namespace) -> int:
    """qd generate [--check | --overwrite]: the generated files from the inventory."""
    from console.services.change import regenerate

    folder = inventory_folder(options.inventory)
    with known_hosts(folder):
        if options.check:
            return _check_generated(folder)
        done = asyncio.run(regenerate(folder, repository(), overwrite=options.overwrite))
    if done.warning:
        print(f"qd: {safe(done.warning)}", file=sys.stderr)
    print(f"{counted(len(done.files), 'file')} written." if done.files else "Nothing to write: all is up to date.")
    return 0


def export(options: Namespace) -> int:
    """qd export HOST: it as one NixOS module that needs neither the library nor the inventory."""
    from console.generate.plain_module import plain_module
    from console.inventory.files import read_inventory

    inventory = read_inventory(inventory_folder(options.inventory))
    inventory.require_sound()
    hosts = inventory.fleet.hosts
    if options.host not in hosts:
        known = ", ".join(hosts) or "none yet"
        raise FleetError(f"There is no host {shown(options.host)} in the inventory.", f"Known hosts: {known}.")
    sys.stdout.write(plain_module(inventory.fleet, hosts[options.host]))
    return 0


def _check_generated(folder: Path) -> int:
    from console.services.change import generated_findings

    found = generated_findings(folder)
    for file in found.stale_diffs():
        sys.stdout.write(safe(file.diff))
    for file in found.edited_diffs():
        print(f"{file.name} was edited by hand, from what the inventory says (-) to what is there (+):")
        sys.stdout.write(safe(file.diff))
    for name in found.foreign:
        print(f"{name} is of no machine, and not written by Quarterdeck: it is left alone.")
    if not found.stale and not found.edited:
        return 0
    lines = [f"{name}: stale. Write it with: qd generate" for name in found.stale]
    lines += [
        f"{name}: edited by hand. Keep the edit in machines/{name.rpartition('/')[2]}, or give it up: "
        "qd generate --overwrite"
        for name in found.edited
    ]
    count = counted(len(found.stale) + len(found.edited), "generated file")
    raise FleetError(f"{count} not as the inventory says.", "\n".join(lines))
