"""Hosts that were found sound are known to later runs, as they were; and only by what they were read from."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from console.domain.model import Fleet, Host
from console.inventory.sound import WORTH_KEEPING_BYTES, SoundHosts, key_of
from tests.strategies import fleets

HOST = Host(name="vhost-a", mac="52:54:00:10:00:0a", address="10.0.0.11/24", uri="test:///default")
KEY = key_of("fleet", "vhost-a", "host")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, in a folder that is not there yet."""
    return tmp_path / "state" / "hosts"


def run(path: Path) -> SoundHosts:
    """Return what a new process has."""
    found = SoundHosts()
    found.remember(path)
    return found


def filled(path: Path) -> SoundHosts:
    """Return one run that has kept a host."""
    first = run(path)
    assert first.find(KEY) is None
    first.add(KEY, HOST, WORTH_KEEPING_BYTES)
    first.keep()
    return first


def test_the_next_run_knows_what_was_kept_and_nobody_else_may_read_it(path: Path) -> None:
    assert filled(path).find(KEY) == HOST
    later = run(path)
    assert later.find(KEY) == HOST and later.find(KEY) == HOST
    assert later.find(key_of("fleet", "vhost-a", "host of another kind")) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["hosts"]


@given(fleets())
def test_every_host_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> None:
    path = tmp_path_factory.mktemp("sound") / "hosts"
    first = run(path)
    for name, host in fleet.hosts.items():
        first.add(key_of(name), host, WORTH_KEEPING_BYTES)
    first.keep()
    later = run(path)
    assert all(later.find(key_of(name)) == host for name, host in fleet.hosts.items())


def test_little_is_not_worth_a_file(path: Path) -> None:
    small = run(path)
    small.add(KEY, HOST, WORTH_KEEPING_BYTES - 1)
    small.keep()
    assert not path.exists()
    nowhere = SoundHosts()
    nowhere.add(KEY, HOST, WORTH_KEEPING_BYTES)
    nowhere.keep()
    assert nowhere.find(KEY) == HOST


def test_what_other_code_found_sound_is_forgotten(path: Path) -> None:
    filled(path)
    code, hosts = msgspec.msgpack.decode(path.read_bytes())
    path.write_bytes(msgspec.msgpack.encode((code[::-1], hosts)))
    assert run(path).find(KEY) is None


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"[1, 2]"], ids=["empty", "garbage", "text"])
def test_a_damaged_file_is_told_to_the_log_and_made_anew(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    filled(path)
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert run(path).find(KEY) is None
    assert str(path) in caplog.text
    filled(path)
    assert run(path).find(KEY) == HOST


def test_a_host_that_is_damaged_in_a_whole_file_is_read_from_its_toml(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(path)
    code, _hosts = msgspec.msgpack.decode(path.read_bytes())
    path.write_bytes(msgspec.msgpack.encode((code, {KEY: {"name": 7}})))
    with caplog.at_level(logging.WARNING):
        assert run(path).find(KEY) is None
    assert "parsed anew" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file where the folder is to be")
    with caplog.at_level(logging.WARNING):
        filled(tmp_path / "state" / "hosts")
    assert "The next start parses the inventory anew" in caplog.text


def test_the_oldest_are_forgotten_first() -> None:
    found = SoundHosts()
    for number in range(10):
        found.add(key_of(str(number)), HOST, 1)
    assert found.find(key_of("0")) == HOST
    found.trim(2)
    assert [number for number in range(10) if found.find(key_of(str(number)))] == [0, 6, 7, 8, 9]
