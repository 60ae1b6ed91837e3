"""The operator's settings: read with every mistake named, written with the rest of the file kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.services.settings import read_settings, write_setting


def test_what_is_written_is_read_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "quarterdeck" / "settings.toml"
    assert read_settings(file) == {}
    write_setting(file, "theme", "light")
    assert read_settings(file) == {"theme": "light"}
    file.write_text("# mine\n" + file.read_text())
    write_setting(file, "theme", "dark")
    assert file.read_text() == '# mine\ntheme = "dark"\n'
    assert [entry.name for entry in file.parent.iterdir()] == ["settings.toml"]


@pytest.mark.parametrize("broken", [b"theme = 1\n", b"theme = \n", b"\xff", b'colour = "red"\n'])
def test_a_file_that_cannot_be_used_is_named_and_never_written_over(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(broken)
    with pytest.raises(FleetError, match="cannot be used"):
        read_settings(file)
    with pytest.raises(FleetError, match="cannot be used"):
        write_setting(file, "theme", "light")
    assert file.read_bytes() == broken


def test_a_folder_that_cannot_be_written_is_said() -> None:
    with pytest.raises(FleetError, match=r"settings\.toml was not written"):
        write_setting(Path("/proc/quarterdeck/settings.toml"), "theme", "light")
