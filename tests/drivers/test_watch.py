"""Edits by others are noticed, however they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from console.drivers.watch import FileWatch


def in_place(path: Path) -> None:
    path.write_text("name = 'b'\n")


def renamed_over(path: Path) -> None:
    new = path.with_name(".new")
    new.write_text("name = 'c'\n")
    new.replace(path)


def deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("edit", [in_place, renamed_over, deleted])
@pytest.mark.parametrize("file", ["fleet.toml", "hosts/a.toml"])
async def test_an_edit_is_noticed(tmp_path: Path, edit: Callable[[Path], None], file: str) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / file).write_text("name = 'a'\n")
    changes = FileWatch().changes(tmp_path)
    waiting = asyncio.ensure_future(anext(changes))
    try:
        async with asyncio.timeout(20):
            while not waiting.done():
                # Until the watch stands, an edit goes unnoticed: it is made again.
                await asyncio.wait([waiting], timeout=0.5)
                if not waiting.done() and (tmp_path / file).exists():
                    await asyncio.to_thread(edit, tmp_path / file)
                elif not waiting.done():
                    (tmp_path / file).write_text("name = 'a'\n")
            assert waiting.result() is None
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await changes.aclose()  # type: ignore[attr-defined]
