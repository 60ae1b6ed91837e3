"""The console as a package of NixOS: it names what pyproject.toml names, and what the lock file names by hash."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
NAMES = {
    re.split("[<>=]", each)[0]: re.search(r">=([0-9.]+)", each)
    for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
}
NIX_NAMES = {"libvirt-python": "libvirt"}


def dependencies(textual: str) -> Any:
    """What the package depends on where nixpkgs has this Textual."""
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")
    names = [NIX_NAMES.get(name, name) for name in NAMES if name != "textual"]
    others = " ".join(f'"{name}" = {{ pname = "{name}"; }};' for name in [*names, "mdit-py-plugins", "pygments"])
    packages = f"""{{
      buildPythonApplication = given: given;
      fetchPypi = given: given;
      textual = {{
        pname = "textual";
        version = "{textual}";
        overridePythonAttrs = change: old // change old;
      }};
      {others}
    }}"""
    text = f"""let
      old = {{ pname = "textual"; dependencies = [ ]; }};
      lib.versionAtLeast = left: right: builtins.compareVersions left right >= 0;
    in (import {ROOT}/nix/package.nix {{ inherit lib; git = "git"; openssh = "ssh"; python3Packages = {packages}; }})
      .dependencies"""
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.nix
def test_it_depends_on_what_the_project_depends_on() -> None:
    found = [each["pname"] for each in dependencies("6.2.1")]
    assert sorted(found) == sorted(NIX_NAMES.get(name, name) for name in NAMES)


@pytest.mark.nix
def test_a_textual_that_is_too_old_is_the_one_of_the_lock_file() -> None:
    (textual,) = (each for each in dependencies("6.2.1") if each["pname"] == "textual")
    least = NAMES["textual"]
    assert least is not None and f'textual.version "{least[1]}"' in (ROOT / "nix/package.nix").read_text()
    locked = re.search(r"^textual==(\S+) .*((?:\n +--hash=sha256:[0-9a-f]+.*)+)", LOCK, re.MULTILINE)
    assert locked is not None
    assert textual["version"] == textual["src"]["version"] == locked[1]
    digest = base64.b64decode(textual["src"]["hash"].removeprefix("sha256-")).hex()
    assert digest in re.findall("[0-9a-f]{64}", locked[2])
