"""A host as one plain NixOS module: it says of the machine what the library says, and needs nothing of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.domain.model import Fleet, User
from console.generate.nix import generated_files
from console.generate.plain_module import plain_module
from console.inventory.files import read_inventory
from tests.nix.test_library import KEY, RICH

ROOT = Path(__file__).parents[2]
DEMO = read_inventory(ROOT / "demo" / "fleet").fleet
AWKWARD = replace(
    RICH,
    hosts={
        "with.dot": replace(
            RICH.hosts["vhost-b"],
            name="with.dot",
            system="aarch64-linux",
            disk=None,
            address="10.0.20.5/24",
            uplinks={},
        )
    },
    users={"only-viewer": User(name="only-viewer", keys=(KEY,)), "root": User(name="root", keys=(KEY,))},
)


@pytest.fixture(scope="module", autouse=True)
def nix() -> None:
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")


def evaluated(expression: str) -> Any:
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


LIBRARY = {
    ("disko",),
    ("fileSystems",),
    ("services", "quarterdeck"),
    ("systemd", "services"),
    ("environment", "etc", "fleet/list"),
    ("boot", "initrd", "preDeviceCommands"),
}
"""What the library does by itself, or in other words."""


def said(settings: Any, path: tuple[str, ...] = ()) -> Any:
    """Return settings without what is the library's own, and without sets that say nothing."""
    if not isinstance(settings, dict):
        return settings
    found = {key: said(value, (*path, key)) for key, value in settings.items() if (*path, key) not in LIBRARY}
    return {key: value for key, value in found.items() if value != {}}


@pytest.mark.nix
@pytest.mark.parametrize(
    ("fleet", "host"),
    [
        *((DEMO, name) for name in DEMO.hosts),
        *((RICH, name) for name in RICH.hosts),
        *((AWKWARD, name) for name in AWKWARD.hosts),
    ],
)
def test_it_sets_what_the_library_sets(tmp_path: Path, fleet: Fleet, host: str) -> None:
    for path, text in generated_files(fleet).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    text = plain_module(fleet, fleet.hosts[host])
    (tmp_path / "plain.nix").write_text(text, encoding="utf-8")
    ours, plain = evaluated(
        f"let standin = import {ROOT}/tests/nix/standin; in [ "
        f'(standin.fleet {tmp_path}).nixosConfigurations."{host}".settings '
        f"(standin.nixosSystem {{ modules = [ {tmp_path}/plain.nix ]; }}).settings ]"
    )
    assert "services" not in plain["systemd"]
    assert said(plain) == said(ours)
    for word in ("mkFleet", "imports", "builtins", "disko.devices", "config.fleet"):
        assert word not in text


def test_a_card_that_is_there_twice_is_held_by_its_address(tmp_path: Path) -> None:
    text = plain_module(RICH, RICH.hosts["vhost-a"])
    assert "bind 0000:65:00.0 10de:2206\n" in text and "bind 0000:65:00.1 10de:1aef\n" in text
    assert "bind 0000:b3:00" not in text and "vfio-pci.ids=10de:24b0" in text


def test_the_commands_that_hold_a_card_hold_that_card_alone(tmp_path: Path) -> None:
    found = evaluated(f"({plain_file(tmp_path)} {{ }}).boot.initrd.preDeviceCommands")
    sys = tmp_path / "sys/bus/pci"
    for address, model in (("0000:65:00.0", "0x2206"), ("0000:65:00.1", "0xffff"), ("0000:66:00.0", "0x2206")):
        card = sys / "devices" / address
        card.mkdir(parents=True)
        (card / "vendor").write_text("0x10de\n")
        (card / "device").write_text(f"{model}\n")
    script = found.replace("/sys/", f"{tmp_path}/sys/")
    subprocess.run(["sh", "-eu", "-c", script], check=True)
    held = {path.parent.name: path.read_text() for path in sys.glob("devices/*/driver_override")}
    # The second function is not the one that it was.
    assert held == {"0000:65:00.0": "vfio-pci\n"}
    assert (sys / "drivers_probe").read_text() == "0000:65:00.0\n"


def plain_file(folder: Path) -> str:
    path = folder / "plain.nix"
    path.write_text(plain_module(RICH, RICH.hosts["vhost-a"]), encoding="utf-8")
    return f"import {path}"


@pytest.mark.nix
def test_what_it_does_not_do_is_said_at_its_head() -> None:
    text = plain_module(RICH, RICH.hosts["vhost-a"])
    head = text[: text.index("{ ... }:")]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "machines/vhost-a.nix" in head and "#   virsh autostart twin\n" in head
    assert "fleet-parts.service" not in head
    assert "fleet-parts.service" in plain_module(RICH, RICH.hosts["vhost-b"])
    assert "hardware-configuration.nix" in plain_module(AWKWARD, AWKWARD.hosts["with.dot"])
