"""`qd doctor` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from console.drivers.libvirt.leftovers import leftovers
from tests.cli.place import Place, git


def test_the_demo_is_sound_but_for_its_host_that_is_down(place: Place, demo: Path) -> None:
    done = place.qd("doctor", LC_ALL="C.UTF-8")
    assert done.returncode == 1
    bad = [line for line in done.stdout.splitlines() if line.startswith("✖")]
    assert [line.split()[1:3] for line in bad] == [["host", "vhost-d"]], done.stdout
    assert "→" in bad[0]
    assert "qd.log" in done.stdout


def test_as_json_with_what_is_not_committed_and_generated(place: Place, demo: Path) -> None:
    file = demo / "hosts/vhost-a.toml"
    before = file.read_text()
    try:
        file.write_text(before.replace("labels = [", 'labels = ["mended", ', 1))
        done = place.qd("doctor", "--json")
        found = {(each["what"], each["mark"]): each for each in json.loads(done.stdout)}
        assert "vhost-a.toml" in found["history", "warning"]["sentence"]
        assert found["generated", "warning"]["remedy"] == "qd generate"
    finally:
        file.write_text(before)
    assert git(demo, "status", "--short") == ""


def test_without_an_inventory_it_says_how_to_make_one(place: Place) -> None:
    done = place.qd("doctor", "--inventory", str(place.root / "none"))
    assert done.returncode == 1
    assert "qd init" in done.stdout


def test_what_is_not_installed_is_named(place: Place, demo: Path, tmp_path: Path) -> None:
    done = place.qd("doctor", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "▲ ssh" in done.stdout and "▲ git" in done.stdout


def test_a_file_where_a_folder_should_be_is_named_and_the_rest_is_looked_at(
    place: Place, demo: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    done = place.qd("doctor", XDG_STATE_HOME=str(file))
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1] == "state"]
    assert line.startswith("✖") and line.endswith(f"{file}: it is not a folder.  → Move it away: {file}")
    assert "✔ inventory" in done.stdout and "✖ hosts" in done.stdout


def test_a_runtime_folder_that_is_open_to_everybody_is_refused(place: Place, demo: Path) -> None:
    open_to_all = place.root / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    found = place.qd("doctor", "--inventory", str(demo), XDG_RUNTIME_DIR=str(open_to_all)).stdout
    assert f"✖ runtime    Everybody may replace what is in {open_to_all}" in found
    assert f"chmod 700 {open_to_all}" in found
    said = place.refused("guest", "list", "--inventory", str(demo), XDG_RUNTIME_DIR=str(open_to_all))
    assert said.startswith(f"qd: Everybody may replace what is in {open_to_all}.")
    open_to_all.chmod(0o1777)  # as /tmp is
    place.ok("guest", "list", "--inventory", str(demo), XDG_RUNTIME_DIR=str(open_to_all))


def test_libvirt_processes_that_nobody_reaches_are_found(tmp_path: Path) -> None:
    waits = "import sys; print('here', flush=True); sys.stdin.read()"
    # The module's name as an argument after -m, as the real process has it.
    command = [sys.executable, "-c", waits, "-m", "console.drivers.libvirt", str(tmp_path / "gone"), "", "full", "60"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        found = {each.pid: each.why for each in leftovers()}
        process.stdin.close()
    assert "is gone" in found[process.pid]
    assert process.pid not in {each.pid for each in leftovers()}
