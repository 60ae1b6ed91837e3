"""Several files written as one, never over an edit; and the lock that keeps writers apart."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import threading
from pathlib import Path

import pytest

from console.domain.errors import FleetError
from console.inventory.lock import locked
from console.inventory.writing import EditedMeanwhile, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hosts").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"hosts/{name}.toml").write_text(name)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


CHANGES = {"hosts/a.toml": "A", "hosts/b.toml": None, "generated/a.nix": "new", "hosts/c.toml": "C"}
KNOWN = {"hosts/a.toml": "a", "hosts/b.toml": "b", "generated/a.nix": None, "hosts/c.toml": "c"}


def test_files_are_written_made_and_deleted_together(folder: Path) -> None:
    write_files(folder, CHANGES, KNOWN)
    assert contents(folder) == {"generated/a.nix": "new", "hosts/a.toml": "A", "hosts/c.toml": "C"}


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_holds_something_else_stops_all_of_it(folder: Path, name: str) -> None:
    (folder / "generated").mkdir()
    (folder / name).write_text("by hand")
    before = contents(folder)
    with pytest.raises(EditedMeanwhile, match=name.rpartition("/")[2]):
        write_files(folder, CHANGES, KNOWN)
    assert contents(folder) == before


def test_a_file_that_somebody_removed_stops_it_too(folder: Path) -> None:
    (folder / "hosts/c.toml").unlink()
    before = contents(folder)
    with pytest.raises(EditedMeanwhile, match=r"hosts/c\.toml"):
        write_files(folder, CHANGES, KNOWN)
    assert contents(folder) == before


@pytest.mark.parametrize("last", ["", "and more"])
def test_who_has_a_file_open_for_writing_is_waited_for(folder: Path, last: str) -> None:
    with (folder / "hosts/a.toml").open("a") as stream:

        def finish() -> None:
            stream.write(last)
            stream.close()

        later = threading.Timer(0.3, finish)
        later.start()
        if last:
            with pytest.raises(EditedMeanwhile, match="not written"):
                write_files(folder, CHANGES, KNOWN)
        else:
            write_files(folder, CHANGES, KNOWN)
        later.join()
    assert (folder / "hosts/a.toml").read_text() == (f"a{last}" if last else "A")


def test_a_file_that_stays_open_for_writing_is_not_replaced(folder: Path) -> None:
    before = contents(folder)
    with (folder / "hosts/a.toml").open("a") as stream:
        with pytest.raises(EditedMeanwhile) as caught:
            write_files(folder, CHANGES, KNOWN)
        assert "open for writing" in caught.value.detail and "Look again" in caught.value.hint
        assert contents(folder) == before
        stream.write(", written later")
    assert (folder / "hosts/a.toml").read_text() == "a, written later"


def test_what_a_killed_write_has_left_goes_with_the_next_one(folder: Path) -> None:
    for name in ("hosts/.z.toml.qd-new", ".fleet.toml.qd-new"):
        (folder / name).write_text("half")
    write_files(folder, {"hosts/a.toml": "A"})
    assert set(contents(folder)) == {"hosts/a.toml", "hosts/b.toml", "hosts/c.toml"}


async def test_the_lock_is_waited_for_and_its_holder_named(folder: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        ["flock", str(folder), "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        await asyncio.to_thread(holder.stdout.readline)
        with pytest.raises(FleetError, match="being changed by somebody else") as caught:
            async with locked(folder, wait_s=0.1):
                pytest.fail("two hold it")
        assert f"process {holder.pid} of {pwd.getpwuid(os.getuid()).pw_name}: flock " in caught.value.detail
        waiting = asyncio.ensure_future(hold(folder))
        holder.stdin.close()
        assert await waiting


async def hold(folder: Path) -> bool:
    async with locked(folder, wait_s=60):
        return True


async def test_a_task_that_is_cancelled_while_it_waits_leaves_no_lock(folder: Path) -> None:
    async with locked(folder):
        waiting = asyncio.ensure_future(hold(folder))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await hold(folder)


async def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="There is no inventory"):
        async with locked(tmp_path / "none"):
            pass
