"""`qd history` and `qd undo` in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.place import Place, git


def test_history_diff_and_undo(place: Place, demo: Path) -> None:
    place.ok("host", "add", "spare", "--mac", "52:54:00:99:00:01", "--address", "10.0.0.99/24")
    newest = json.loads(place.ok("history", "-n", "1", "--json"))
    assert [(each["what"], each["by_quarterdeck"]) for each in newest] == [("Add host spare", True)]
    assert "Add host spare" in place.ok("history")
    shown = place.ok("history", "show", newest[0]["commit"])
    assert "+++ b/hosts/spare.toml" in shown and '+mac = "52:54:00:99:00:01"' in shown
    before = git(demo, "rev-parse", "HEAD")
    assert "hosts/spare.toml  (deleted)" in place.ok("undo", "--plan")
    assert git(demo, "rev-parse", "HEAD") == before
    assert "Undo: Add host spare" in place.ok("undo")
    assert not (demo / "hosts/spare.toml").exists()
    assert git(demo, "status", "--short") == ""
    place.ok("undo")
    assert (demo / "hosts/spare.toml").exists()
    place.ok("undo")


def test_what_is_refused(place: Place, demo: Path) -> None:
    assert "There is no commit" in place.refused("history", "show", "nothing")
    assert "-n must be" in place.refused("history", "-n", "0")
    folder = place.root / "new"
    place.ok("init", str(folder))
    assert "nothing to undo" in place.refused("undo", "--inventory", str(folder))


def test_people_are_told_from_quarterdeck(place: Place, demo: Path) -> None:
    (demo / "hosts/vhost-b.toml").write_text((demo / "hosts/vhost-b.toml").read_text() + "# by hand\n")
    git(demo, "-c", "user.name=A\x1b[2J", "-c", "user.email=a@b", "commit", "-qam", "Mine")
    line = place.ok("history", "-n", "1").splitlines()[1]
    assert "(by hand)" in line and "\x1b" not in line
