"""A round of power actions and edits on the demo fleet, key by key."""

from __future__ import annotations

import tomllib

import pytest

from tests.pty.place import Inventory
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty


@pytest.fixture
def console(demo: Inventory) -> Terminal:
    """The fleet, its hosts up."""
    terminal = demo.open()
    terminal.wait("hosts 3/4 up")
    terminal.wait_line("staging", "◌ pending")
    return terminal


def go_to(terminal: Terminal, guest: str) -> None:
    """The cursor is on a guest."""
    terminal.press(":")
    terminal.wait("enter choose")
    terminal.type(guest)
    terminal.wait_line("▸", f"/{guest}")
    terminal.press("enter")
    terminal.wait_gone("enter choose")
    terminal.wait_line(f"/{guest}  ", "vCPU")


def guest_of(inventory: Inventory, host: str, guest: str) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads(inventory.texts()[f"hosts/{host}.toml"])["guests"][guest]
    return table


def test_power_by_keys(demo: Inventory, console: Terminal) -> None:
    texts, commits = demo.texts(), demo.commits()
    go_to(console, "mail")

    console.press("x")
    console.wait("Shut down vhost-a/mail", "shut mail down", "y yes")
    console.press("enter")
    console.wait("Press y to do it.")
    console.press("escape")
    console.wait_gone("y yes")
    console.wait_line("mail", "● running")
    console.press("x")
    console.wait("y yes")
    console.press("y")
    console.wait("✔ Shut down vhost-a/mail: done.")
    console.wait_line(" mail", "○ off")

    console.press("s")
    console.wait("✔ Start vhost-a/mail: done.")
    console.wait_line(" mail", "● running")
    console.press("z")
    console.wait("✔ Suspend vhost-a/mail: done.", "Z resume")
    console.wait_line(" mail", "◐ paused")
    console.press("Z")
    console.wait("✔ Resume vhost-a/mail: done.")
    console.wait_line(" mail", "● running")

    console.press("X")
    console.wait("Force off vhost-a/mail", "y yes")
    console.press("n")
    console.wait_gone("y yes")
    console.wait_line(" mail", "● running")
    console.press("X")
    console.wait("y yes")
    console.press("y")
    console.wait("✔ Force off vhost-a/mail: done.")
    console.wait_line(" mail", "○ off")

    assert (demo.texts(), demo.commits()) == (texts, commits), "power is no change of what is wanted"
    assert '"state": "off"' in demo.qd("guest", "show", "mail", "--json")


def test_autostart_by_key(demo: Inventory, console: Terminal) -> None:
    commits = demo.commits()
    go_to(console, "mail")
    console.press("t")
    console.wait("✔ Start vhost-a/mail with its host: done.")
    assert guest_of(demo, "vhost-a", "mail")["autostart"] is True
    assert len(demo.commits()) == len(commits) + 1 and demo.is_whole()
    console.press("t")
    console.wait("✔ Do not start vhost-a/mail with its host: done.")
    assert not guest_of(demo, "vhost-a", "mail").get("autostart", False)
    assert len(demo.commits()) == len(commits) + 2 and demo.is_whole()


def test_an_edit_waits_for_the_next_boot(demo: Inventory, console: Terminal) -> None:
    before, commits = demo.texts(), demo.commits()
    go_to(console, "mail")
    console.press("e")
    console.wait("Edit vhost-a/mail", "^s review")
    console.type("6")
    console.wait_line("vCPUs", "6  ")
    console.press("ctrl+s")
    console.wait("How to apply it", "cannot change vcpus live", "enter next boot")
    console.press("enter")
    console.wait("✔ Edit vhost-a/mail: done.")
    console.press("enter")
    console.wait("▲ runs with an older definition")
    assert guest_of(demo, "vhost-a", "mail")["vcpus"] == 6
    assert demo.commits() == ["Edit vhost-a/mail", *commits] and demo.is_whole()
    old, new = (texts["hosts/vhost-a.toml"].splitlines() for texts in (before, demo.texts()))
    assert [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]] == [("vcpus = 2", "vcpus = 6")]

    console.press("X")
    console.wait("y yes")
    console.press("y")
    console.wait("✔ Force off vhost-a/mail: done.")
    console.press("s")
    console.wait("✔ Start vhost-a/mail: done.", "✔ as the inventory wants it")
    console.wait_line("vhost-a/mail", "6 vCPUs")


def test_remove_keeps_the_disks(demo: Inventory, console: Terminal) -> None:
    before, commits = demo.texts(), demo.commits()
    go_to(console, "mail")
    console.press("D")
    console.wait("vhost-a/mail was not removed.", "Shut it down or force it off first.")
    console.press("escape")
    console.wait_gone("was not removed")
    console.press("X")
    console.wait("y yes")
    console.press("y")
    console.wait("✔ Force off vhost-a/mail: done.")
    console.press("D")
    console.wait("Remove vhost-a/mail", "undefine mail", "mail-boot.qcow2, mail-spool.qcow2 stay on vhost-a")
    console.press("enter")
    console.wait("y yes")
    console.press("enter")
    console.wait("Press y to do it.")
    console.press("escape")
    console.wait_gone("y yes")
    assert demo.texts() == before
    console.press("enter")
    console.wait("y yes")
    console.press("y")
    console.wait("any key go on")
    console.press("escape")
    console.wait("✔ Remove vhost-a/mail: done.")
    console.until(lambda text: " mail " not in text, "mail is gone from the list")
    assert demo.commits() == ["Remove vhost-a/mail", *commits] and demo.is_whole()
    new = demo.texts()["hosts/vhost-a.toml"]
    assert "mail" not in tomllib.loads(new)["guests"]
    left = iter(before["hosts/vhost-a.toml"].splitlines())
    assert all(line in left for line in new.splitlines()), "nothing but the guest's own lines is gone"
    assert "# The shop's front door. web-2 is its twin; restart one at a time." in new
    assert "# Off most of the year." in new and "# Rack 1, bottom." in new

    # Its volume is still there: a guest that would take it over is refused, and told why.
    wanted = ["--vcpus", "1", "--memory", "1GiB", "--disk", "10GiB", "--image", "debian-13.qcow2"]
    refused = demo.qd("guest", "create", "mail", "--host", "vhost-a", *wanted, status=1)
    assert "mail-boot.qcow2" in refused and "perhaps of a removed guest" in " ".join(refused.split())


def test_letters_that_follow_at_once_are_typed_not_done(demo: Inventory, console: Terminal) -> None:
    """A burst such as a paste, or a slow line that delivers late: what follows / is the filter's."""
    before, commits = demo.texts(), demo.commits()
    go_to(console, "mail")
    console.type("/zt")
    console.wait("/ zt", "0 of 14 guests")
    console.press("escape")
    console.wait_line("mail", "● running")
    console.type(":zt")
    console.wait("enter choose", "zt")
    console.press("escape")
    console.wait_gone("enter choose")
    console.type("ctz-1")
    console.wait("Create tz-1 on vhost-a")
    assert demo.texts() == before and demo.commits() == commits
