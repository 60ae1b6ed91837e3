"""The completion scripts, in the shells that they are for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cli.completion import levels
from console.cli.parser import build
from tests.cli.place import Place

Complete = Callable[[str], list[str]]

CALL = """
COMP_WORDS=($2); [ "${2% }" = "$2" ] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_qd; printf '%s\\n' "${COMPREPLY[@]}"
"""
BASH = 'source "$1"' + CALL
# As zsh's own bridge calls it.
ZSH = 'autoload -U compinit; compinit -u -D; source "$1"; [ -n "$_comps[qd]" ] || exit 3\n'
ZSH += f'run() {{ emulate -L sh; setopt kshglob noshglob braceexpand{CALL}}}; run "$1" "$2"'


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, place: Place, demo: Path) -> Complete:
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    script = place.root / f"qd.{request.param}"
    script.write_text(place.ok("completion", request.param))
    bin = place.root / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "qd").write_text(f'#!/bin/sh\nexec {sys.executable} -m console "$@"\n')
    (bin / "qd").chmod(0o755)
    env = place.env | {"PATH": f"{bin}:{place.env['PATH']}"}

    def run(line: str) -> list[str]:
        if request.param == "fish":
            command = [shell, "--no-config", "-c", f"source {script}; complete -C '{line}'"]
        else:
            flags = ["-f"] if request.param == "zsh" else ["--norc"]
            code = BASH if request.param == "bash" else ZSH
            command = [shell, *flags, "-c", code, request.param, str(script), line]
        done = subprocess.run(command, env=env, cwd=place.root, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        words = [word.split("\t")[0] for word in done.stdout.splitlines() if word]
        # Zsh's bridge leaves it to zsh to choose those that begin as what was typed.
        return [word for word in words if request.param != "zsh" or word.startswith(line.rpartition(" ")[2])]

    return run


def test_commands_options_choices_and_names(complete: Complete) -> None:
    assert complete("qd gu") == ["guest"]
    assert {"create", "list", "force-off"} <= set(complete("qd guest "))
    assert complete("qd guest create --firm") == ["--firmware"]
    assert set(complete("qd guest create --firmware ")) == {"bios", "uefi"}
    assert set(complete("qd guest create x --host vhost-")) == {"vhost-a", "vhost-b", "vhost-c", "vhost-d"}
    assert set(complete("qd host show vhost-")) == {"vhost-a", "vhost-b", "vhost-c", "vhost-d"}
    assert complete("qd guest start ci-") == ["ci-runner"]
    assert complete("qd guest start vhost-c/ci-") == ["vhost-c/ci-runner"]
    assert complete("qd completion z") == ["zsh"]
    assert "__names" not in complete("qd ")
    assert "create" not in complete("qd guest show ")


def test_names_come_from_the_inventory_alone(place: Place, demo: Path) -> None:
    assert "vhost-a" in place.ok("__names", "hosts").split()
    assert place.ok("__names", "all", "--inventory", str(place.root / "none")) == ""
    assert "__names" not in place.ok("--help")


def test_every_command_of_the_parser_is_there() -> None:
    paths = {level.path for level in levels(build())}
    assert {("guest", "create"), ("host", "key"), ("history", "show"), ("completion",), ("doctor",)} <= paths
    assert ("__names",) not in paths
