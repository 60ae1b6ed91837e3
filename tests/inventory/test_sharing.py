"""What is made in a shared folder is for all its members, whatever the umask of who makes it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.inventory.files import write_files
from console.inventory.sharing import make_folder, open_file

GROUP = 60100


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o077, 0o022, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(("of_folder", "of_file"), [(0o2775, 0o664), (0o2770, 0o660), (0o770, 0o660)])
def test_in_a_shared_folder_its_mode_decides(tmp_path: Path, umask: int, of_folder: int, of_file: int) -> None:
    tmp_path.chmod(of_folder)
    if os.getuid() == 0:
        os.chown(tmp_path, -1, GROUP)
        tmp_path.chmod(of_folder)
    make_folder(tmp_path / "deep/er")
    os.close(open_file(tmp_path / "deep/lock", os.O_RDWR | os.O_APPEND))
    write_files(tmp_path, {"hosts/a.toml": "a", "fleet.toml": "f"})
    for folder in ("deep", "deep/er", "hosts"):
        assert mode(tmp_path / folder) == of_folder | stat.S_ISGID
    for file in ("deep/lock", "hosts/a.toml", "fleet.toml"):
        assert mode(tmp_path / file) == of_file
    assert {path.stat().st_gid for path in tmp_path.rglob("*")} == {tmp_path.stat().st_gid}
    assert not [path for path in tmp_path.rglob(".*")]


@pytest.mark.parametrize("of_folder", [0o755, 0o1777])
def test_elsewhere_the_umask_decides(tmp_path: Path, umask: int, of_folder: int) -> None:
    tmp_path.chmod(of_folder)
    make_folder(tmp_path / "deep")
    os.close(open_file(tmp_path / "deep/lock", os.O_RDWR))
    write_files(tmp_path, {"fleet.toml": "f"})
    assert mode(tmp_path / "deep") == 0o777 & ~umask
    assert mode(tmp_path / "deep/lock") == mode(tmp_path / "fleet.toml") == 0o666 & ~umask


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "mine").chmod(0o700)
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "notes").chmod(0o640)
    make_folder(tmp_path / "mine")
    with os.fdopen(open_file(tmp_path / "notes", os.O_WRONLY | os.O_APPEND), "a") as stream:
        stream.write(", still")
    assert (mode(tmp_path / "mine"), mode(tmp_path / "notes")) == (0o700, 0o640)
    assert (tmp_path / "notes").read_text() == "mine, still"


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("")
    with pytest.raises(OSError):
        make_folder(tmp_path / "way/in")
