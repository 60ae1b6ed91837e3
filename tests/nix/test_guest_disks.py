"""The two disks that a NixOS guest reads its configuration from, built for real: what is on them, and what is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

NIX = Path(__file__).parents[2] / "nix"

# Of nixpkgs, what the expression needs: a build is a shell script with Debian's programs.
STAND_IN = """
let
  lib = rec {
    hasSuffix = suffix: text: builtins.match ".*${suffix}" (toString text) != null;
    escapeShellArg = text: "'${text}'";
    inherit (builtins) concatStringsSep;
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
    optional = wanted: item: if wanted then [ item ] else [ ];
    optionalAttrs = wanted: set: if wanted then set else { };
  };
  pkgs = {
    xorriso = "";
    runCommand = name: _: script: derivation {
      inherit name script;
      system = builtins.currentSystem;
      builder = "/bin/sh";
      PATH = "/usr/local/bin:/usr/bin:/bin";
      passAsFile = [ "script" ];
      args = [ "-e" "-c" "mkdir work; cd work; . $scriptPath" ];
    };
  };
in
import NIX/images/guest-disks.nix { inherit lib pkgs; }
"""

SETTINGS = "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nsubstituters =\n"


def nix(*words: str) -> str:
    done = subprocess.run(words, env=os.environ | {"NIX_CONFIG": SETTINGS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def disks(what: str) -> str:
    return f"({STAND_IN.replace('NIX', str(NIX))}).{what}"


def self_of(inventory: Path, machine: str, extra: str = "{ }") -> str:
    own = inventory / "machines" / f"{machine}.nix"
    return disks(
        f'self {{ machine = "{machine}"; generated = {inventory}/generated/{machine}.nix; '
        f"own = {own if own.exists() else 'null'}; extra = {extra}; }}"
    )


def derivation(expression: str) -> str:
    return nix("nix-instantiate", "--expr", expression)


def content(expression: str, into: Path) -> dict[str, str]:
    """Build a disk and read it: file -> text."""
    image = nix("nix-build", "--no-out-link", "--expr", expression)
    done = subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", into],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    label = [line for line in done.stderr.splitlines() if line.startswith("Volume id")]
    return {"label": label[0].split("'")[1]} | {
        str(path.relative_to(into)): path.read_text() for path in into.rglob("*") if path.is_file()
    }


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    for place, text in {
        "generated/web.nix": '{ fleet.machine = "web"; }\n',
        "generated/db.nix": '{ fleet.machine = "db"; } # a neighbour\n',
        "machines/web.nix": "{ imports = [ ../common/base.nix ]; }\n",
        "common/base.nix": "{ }\n",
        "fleet.toml": 'name = "cellar"\n',
    }.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    return folder


@pytest.mark.nix
@pytest.mark.lab
def test_a_guests_own_disk_has_its_own_files_and_no_others(can_run_labs: None, tmp_path: Path, inventory: Path) -> None:
    extra = f'{{ "common/base.nix" = {inventory}/common/base.nix; }}'
    found = content(self_of(inventory, "web", extra), tmp_path / "disk")
    assert found == {
        "label": "FLEET_SELF",
        "default.nix": "{ imports = [ ./generated/web.nix ./machines/web.nix ]; }\n",
        "generated/web.nix": '{ fleet.machine = "web"; }\n',
        "machines/web.nix": "{ imports = [ ../common/base.nix ]; }\n",
        "common/base.nix": "{ }\n",
    }
    assert content(self_of(inventory, "db"), tmp_path / "other") == {
        "label": "FLEET_SELF",
        "default.nix": "{ imports = [ ./generated/db.nix ]; }\n",
        "generated/db.nix": '{ fleet.machine = "db"; } # a neighbour\n',
    }


@pytest.mark.nix
@pytest.mark.lab
def test_only_its_own_files_change_a_guests_disk(can_run_labs: None, inventory: Path) -> None:
    before = derivation(self_of(inventory, "web"))
    (inventory / "generated" / "db.nix").write_text("{ }\n")
    (inventory / "fleet.toml").write_text("\n")
    assert derivation(self_of(inventory, "web")) == before
    (inventory / "machines" / "web.nix").write_text("{ }\n")
    assert derivation(self_of(inventory, "web")) != before


@pytest.mark.nix
@pytest.mark.lab
def test_the_library_disk_has_the_library_alone(can_run_labs: None, tmp_path: Path) -> None:
    found = content(disks("library"), tmp_path / "disk")
    assert found.pop("label") == "FLEET_LIBRARY"
    assert found.pop("configuration.nix") == "{ imports = [ ./fleet/images/guest.nix ./hosts/self ]; }\n"
    # A place to mount the other disk at, which a read-only disk cannot get later.
    assert (tmp_path / "disk" / "hosts" / "self").is_dir()
    library = {f"fleet/{path.relative_to(NIX)}": path for kind in ("nix", "sh") for path in NIX.rglob(f"*.{kind}")}
    assert set(found) == set(library)
    assert all(found[place] == path.read_text() for place, path in library.items())
