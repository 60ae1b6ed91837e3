"""How long generating takes on an inventory of 10,000 guests on 400 hosts, and a change of one of them.

cold             `qd generate` as a process, with nothing generated yet and no file of the inventory known;
                 writing and the start of Python are in it
nothing changed  the same again
one host changed the same after an edit of one host's file
change           a change of one guest in a console that is open: read, checked, generated, written, read again
evaluation       of one host's data with its 25 guests, over that of nothing; the best of five, where Nix is there
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

import tomli_w

from console.domain.model import (
    Accel,
    Disk,
    Firmware,
    Fleet,
    Guest,
    Hardware,
    Host,
    ImageMode,
    Network,
    Nic,
    Pool,
    Source,
    SourceKind,
    User,
)
from console.domain.move import inventory_change
from console.inventory.files import read_inventory
from console.inventory.tables import fleet_table, host_table
from console.services.change import preview_change
from console.services.generated import examine
from tests.bench.figures import ROOT, figure

HOSTS, GUESTS = 400, 25
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA"


def guest(number: int) -> Guest:
    """Return one guest of the fleet; number: 0 and up."""
    source = Source(kind=SourceKind.IMAGE, value="debian-13.qcow2", mode=ImageMode.OVERLAY)
    high, low = divmod(number, 250)
    nic = Nic(
        name="lan",
        network="lan",
        mac=f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
        address=f"10.{100 + (high >> 8)}.{high & 255}.{low + 1}/8",
    )
    return Guest(
        name=f"guest-{number:05d}",
        uuid=str(uuid.UUID(int=number)),
        vcpus=4,
        memory_kib=8 * 2**20,
        firmware=Firmware.UEFI,
        labels=("shop",),
        boot=("disk:boot",),
        disks={"boot": Disk(name="boot", size_kib=40 * 2**20, pool="default", target="vda", source=source)},
        nics={"lan": nic},
    )


def host(number: int) -> Host:
    """Return one host with its guests."""
    own = [guest(number * GUESTS + place) for place in range(GUESTS)]
    return Host(
        name=f"vhost-{number:03d}",
        mac=f"52:55:00:00:{number >> 8:02x}:{number & 255:02x}",
        address=f"10.1.{number // 250}.{number % 250 + 1}/8",
        uri=f"qemu+ssh://root@10.1.{number // 250}.{number % 250 + 1}/system",
        ssh_host_key=KEY,
        accel=Accel.KVM,
        labels=("rack-1",),
        hardware=Hardware(cpu="Intel Xeon Gold 6130", memory_kib=192 * 2**20),
        guests={each.name: each for each in own},
        state_version="25.11",
    )


def fleet() -> Fleet:
    """Return the whole fleet."""
    network = Network(name="lan", bridge="br0", subnet="10.0.0.0/8", gateway="10.0.0.1", dns=("10.0.0.1",))
    hosts = [host(number) for number in range(HOSTS)]
    return Fleet(
        name="large",
        id=str(uuid.UUID(int=7)),
        networks={"lan": network},
        pools={"default": Pool(name="default", path="/var/lib/libvirt/images")},
        users={"ops": User(name="ops", keys=(KEY,), role="operator")},
        hosts={each.name: each for each in hosts},
    )


def write(folder: Path) -> None:
    """Write the inventory."""
    (folder / "hosts").mkdir(parents=True)
    whole = fleet()
    (folder / "fleet.toml").write_text(tomli_w.dumps(fleet_table(whole)))
    for each in whole.hosts.values():
        (folder / f"hosts/{each.name}.toml").write_text(tomli_w.dumps(host_table(each)))


def generate(folder: Path) -> float:
    """Run `qd generate`; return the seconds."""
    environment = {**os.environ, "XDG_STATE_HOME": str(folder.parent), "XDG_RUNTIME_DIR": str(folder.parent)}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "console", "--inventory", str(folder), "generate"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    return time.perf_counter() - begun


def evaluation(expression: str) -> float:
    """Evaluate an expression with Nix; return the seconds that the fastest of five took."""
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", expression]
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    """Measure and print everything."""
    with tempfile.TemporaryDirectory(prefix="qdb-") as scratch:
        folder = Path(scratch, "inventory")
        write(folder)
        subprocess.run([sys.executable, "-m", "compileall", "-q", "console"], check=True, cwd=ROOT)
        figure("generate 10,000 guests, cold", generate(folder), "s", "<= 3")
        figure("generate, nothing changed", generate(folder), "s", "")
        path, taken = folder / "hosts/vhost-007.toml", []
        for vcpus in range(4, 9):
            path.write_text(path.read_text().replace(f"vcpus = {vcpus}", f"vcpus = {vcpus + 1}", 1))
            taken.append(generate(folder))
        figure("generate, one host changed", statistics.median(taken), "s", "<= 0.3")
        if shutil.which("nix-instantiate"):
            over = evaluation(f"import {folder}/generated/vhost-007.nix") - evaluation("{ }")
            figure("evaluation of one host's data", over * 1000, "ms", "<= 50")
        before = read_inventory(folder).fleet
        begun = time.perf_counter()
        examine(read_inventory(folder).fleet, folder)
        figure("the same in an open console, read", time.perf_counter() - begun, "s", "<= 0.3")
        home = before.hosts["vhost-007"]
        guests = {**home.guests, "guest-00175": replace(home.guests["guest-00175"], vcpus=6)}
        after = replace(before, hosts={**before.hosts, home.name: replace(home, guests=guests)})
        begun = time.perf_counter()
        preview_change(folder, inventory_change("Edit", before, after))
        figure("a change of one guest, worked out", time.perf_counter() - begun, "s", "<= 0.3")


if __name__ == "__main__":
    main()
