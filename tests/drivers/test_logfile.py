"""The log: private, bounded, harmless to show, and silent when it cannot be written."""

from __future__ import annotations

import gc
import logging
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.drivers.logfile import MAX_BYTES, LogFile, start_log, stop_log

log = logging.getLogger("console.test")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    yield start_log(tmp_path / "state" / "qd.log")
    stop_log()


def test_it_is_made_with_the_first_warning_and_for_its_operator_alone(file: LogFile) -> None:
    log.info("nothing of importance")
    assert not file.path.exists()
    log.warning("vhost-a is late")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert file.path.read_text().endswith("console.test: vhost-a is late\n")
    assert "WARNING" in file.path.read_text()


def test_exceptions_have_their_traceback_and_escape_sequences_are_spelled_out(file: LogFile) -> None:
    try:
        raise ValueError("from a host: \x1b[2J\u202e")
    except ValueError:
        log.exception("unexpected")
    text = file.path.read_text()
    assert "Traceback" in text and "test_logfile.py" in text
    assert "\\x1b[2J\\u202e" in text
    assert "\x1b" not in text


def test_a_full_log_is_kept_once(file: LogFile) -> None:
    log.warning("old")
    with file.path.open("a") as stream:
        stream.write("x" * MAX_BYTES)
    log.warning("new")
    old = file.path.with_name("qd.log.1")
    assert "old" in old.read_text()
    assert file.path.read_text().count("\n") == 1
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_file_that_another_process_moved_aside_is_not_written_to(file: LogFile) -> None:
    log.warning("first")
    file.path.replace(file.path.with_name("qd.log.1"))
    log.warning("second")
    assert "second" in file.path.read_text()


def test_a_log_that_cannot_be_written_is_silent_and_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    made = start_log(tmp_path / "file" / "qd.log")
    try:
        log.error("lost")
        assert "qd.log" in made.fault
        assert capfd.readouterr() == ("", "")
    finally:
        stop_log()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "qd.log").symlink_to(tmp_path / "elsewhere")
    made = start_log(tmp_path / "qd.log")
    try:
        log.error("lost")
        assert made.fault
        assert not (tmp_path / "elsewhere").exists()
    finally:
        stop_log()


def test_what_threads_and_destructors_raise_is_logged_not_printed(
    file: LogFile, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("in a thread")

    class Falls:
        def __del__(self) -> None:
            raise RuntimeError("in a destructor")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Falls()
    gc.collect()
    text = file.path.read_text()
    assert "in a thread" in text and "worker" in text and "in a destructor" in text
    assert capfd.readouterr() == ("", "")
