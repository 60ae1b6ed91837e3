"""What nobody foresaw: one sentence with the log's place, exit status 1, no traceback unless asked for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

BREAK = """
import sys
from console.cli import main
import console.cli.files
def broken(options):
    raise LookupError("nobody foresaw \\x1b[2J this")
console.cli.files.check = broken
sys.exit(main(["check"]))
"""


def run(state: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state / "config"), **more}
    environment.pop("QUARTERDECK_INVENTORY", None)
    return subprocess.run([sys.executable, "-c", BREAK], env=environment, capture_output=True, text=True, check=False)


def test_one_sentence_names_the_log_which_has_the_traceback(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "defect of Quarterdeck (LookupError" in done.stderr
    assert "\x1b" not in done.stderr
    [log] = tmp_path.glob("quarterdeck/*/qd.log")
    assert str(log) in done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert "Traceback" in text and "LookupError" in text and "Unexpected" in text


def test_with_debug_the_traceback_is_printed_too(tmp_path: Path) -> None:
    done = run(tmp_path, QUARTERDECK_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("qd: ")


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "quarterdeck").write_text("in the way")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "its log cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["check"], ["history"]])
def test_what_is_refused_is_no_defect(arguments: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "QUARTERDECK_INVENTORY": str(tmp_path / "none")}
    command = [sys.executable, "-m", "console", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "defect" not in done.stderr
    assert not list(tmp_path.glob("quarterdeck/*/qd.log"))
