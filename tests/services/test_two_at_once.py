"""Two operators change one inventory as fast as they can, while a third edits its files by hand: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import random
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.inventory.files import read_inventory
from console.inventory.writing import is_aside
from console.services.change import generated_findings, regenerate
from console.wiring import repository
from tests.drivers.test_git import git

ROOT = Path(__file__).resolve().parents[2]
EDITING = str(Path(__file__).with_name("editing.py"))
FLEET = 'version = 1\nname = "cellar"\n\n[networks.lan]\nbridge = "br0"\n\n[pools.default]\npath = "/srv"\n'
AT_FDCWD, EXCHANGE = -100, 2

PAUSE_S = 0.1
"""An edit by hand may come so long after a change: at any time of the next one."""

REFUSED = 0.2
"""So large a part of the changes may be refused: what others do to the same guest in between stays."""


@dataclass(slots=True)
class ByHand:
    """Somebody who adds guests with an editor, which knows of no lock: in place, or by a new file renamed over.

    added: the guests by file. overwritten: guests that the editor itself has put back to what it had read before.
    """

    folder: Path
    random: random.Random
    added: list[tuple[str, str]] = field(default_factory=list)
    overwritten: set[tuple[str, str]] = field(default_factory=set)

    def edit(self) -> None:
        path = self.random.choice(sorted((self.folder / "hosts").glob("*.toml")))
        guest = f"hand-{len(self.added)}"
        table = f'\n# Number {len(self.added)}.\n[guests.{guest}]\nvcpus = 1\nmemory = "1 GiB"\n'
        if self.random.random() < 0.5:
            with path.open("a") as stream:
                stream.write(table)
        else:
            self.rename(path, table)
        self.added.append((path.stem, guest))

    def rename(self, path: Path, table: str) -> None:
        """Put a new file in its place; what it took out tells what others had written since it was read."""
        text, new = path.read_text(), path.with_name(f"{path.name}~")
        new.write_text(text + table)
        assert ctypes.CDLL(None).renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), EXCHANGE) == 0
        read, out = (tomllib.loads(each).get("guests", {}) for each in (text, new.read_text()))
        new.unlink()
        self.overwritten |= {(path.stem, name) for name in read.keys() | out.keys() if read.get(name) != out.get(name)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(runtime))
    made = tmp_path / "cellar"
    (made / "hosts").mkdir(parents=True)
    (made / "fleet.toml").write_text(FLEET)
    for number in (1, 2):
        text = f'mac = "52:54:00:10:00:0{number}"\naddress = "10.0.0.{number}/24"\nuri = "test:///none"\n'
        (made / f"hosts/vhost-{number}.toml").write_text(text)
    return made


async def begin(folder: Path) -> None:
    await repository().init(folder)
    await regenerate(folder, repository())
    await repository().commit(folder, ["."], "Begin", by_hand=True)


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_each_edit_is_there_or_was_refused_aloud(folder: Path, count: int, tmp_path: Path) -> None:
    asyncio.run(begin(folder))
    hand = ByHand(folder, random.Random(count))
    told = [tmp_path / name for name in ("anna", "bert")]
    operators = []
    for seed, path in enumerate(told):
        words = (str(folder), path.name, str(count), str(count + seed))
        with path.open("w") as stream:
            operators.append(
                subprocess.Popen(
                    [sys.executable, EDITING, *words], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=stream
                )
            )
    while any(operator.poll() is None for operator in operators):
        # As many edits by hand as changes, however fast those are here.
        if sum(path.read_text().count("\n") for path in told) > len(hand.added):
            hand.edit()
        for operator in operators:
            with contextlib.suppress(subprocess.TimeoutExpired):
                operator.wait(hand.random.uniform(0, PAUSE_S))
    assert [operator.returncode for operator in operators] == [0, 0]
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in told]
    assert [len(each) for each in lines] == [count, count]
    made = [line for each in lines for line in each if "guest" in line]
    refused = [line["refused"] for each in lines for line in each if "refused" in line]
    print(f"{len(made)} made, {len(refused)} refused, {len(hand.added)} by hand, {len(hand.overwritten)} overwritten")
    for said in sorted(set(refused)):
        print("  refused:", said.replace("\n", " "))
    assert all(refused) and len(refused) <= REFUSED * 2 * count

    inventory = read_inventory(folder)
    inventory.require_sound()
    guests = {
        (host.name, name): guest.vcpus for host in inventory.fleet.hosts.values() for name, guest in host.guests.items()
    }
    wanted: dict[tuple[str, str], int | None] = {}
    for line in made:
        host, _, name = line["guest"].partition("/")
        wanted[host, name] = line["vcpus"]
    lost = {key: (guests.get(key), vcpus) for key, vcpus in wanted.items() if guests.get(key) != vcpus}
    assert {key: both for key, both in lost.items() if key not in hand.overwritten} == {}
    # Where an edit came in just as another one was put back, it was set aside, and that was told.
    aside = list(folder.rglob("*.edited"))
    assert all(any(str(path) in said for said in refused) for path in aside)
    texts = "".join((*inventory.texts.values(), *(path.read_text() for path in aside)))
    assert [name for _, name in hand.added if f"[guests.{name}]" not in texts] == []
    assert all(f"# Number {number}.\n" in texts for number in range(len(hand.added)))

    assert [line for line in made if line["warning"] or not line["commit"]] == []
    ours = [commit.subject for commit in asyncio.run(repository().log(folder, 9999)) if commit.ours]
    assert Counter(ours) == Counter(["Generate", *(line["subject"] for line in made)]), "one commit for each change"
    git(folder, "fsck", "--strict")
    asyncio.run(regenerate(folder, repository()))
    assert not generated_findings(folder).stale
    assert [path.name for path in folder.rglob(".*") if is_aside(path.name)] == []
    assert {path.name for path in (folder / "hosts").iterdir() if path not in aside} == {"vhost-1.toml", "vhost-2.toml"}
