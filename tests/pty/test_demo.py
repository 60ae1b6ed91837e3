"""The main work on the demo fleet, key by key: a host by its MAC, a guest with a card, a second one refused."""

from __future__ import annotations

import tomllib

import pytest

from tests.pty.place import Inventory
from tests.pty.terminal import Terminal

pytestmark = pytest.mark.pty

CARD = "GeForce RTX 3080"


def fleet(terminal: Terminal) -> Terminal:
    """The fleet is shown, and its hosts that are up have answered."""
    terminal.wait("hosts 3/4 up")
    terminal.wait_line("staging", "◌ pending")
    return terminal


def begin_guest(terminal: Terminal, name: str) -> None:
    """The form for a guest on vhost-a with its first two pages filled; the third is shown."""
    terminal.press("home", "c")
    terminal.wait("Create guest on vhost-a", "^s review")
    terminal.type(name)
    terminal.press("tab")
    terminal.wait(f"Create {name} on vhost-a")
    terminal.press("pagedown")
    terminal.wait("boot from")
    terminal.press("down", "space")
    terminal.wait("enter choose")
    terminal.type("debian")
    terminal.wait_line("image", "debian▏")
    terminal.press("enter")
    terminal.wait_line("image", "debian-13.qcow2", "3 GiB")
    terminal.press("pagedown")
    terminal.wait("network  ", "GPU")


def open_cards(terminal: Terminal, words: str) -> None:
    """The list of cards, filtered."""
    terminal.press("up", "space")
    terminal.wait("enter choose", "RTX A4000")
    terminal.type(words)
    terminal.wait_line("GPU", f"{words}▏")


def keeps_every_line(old: str, new: str) -> bool:
    """Whether all lines of the old text stand in the new one, in their order."""
    left = iter(new.splitlines())
    return all(line in left for line in old.splitlines())


def test_the_first_pictures_are_as_they_stay(demo: Inventory) -> None:
    terminal = demo.open()
    for _, picture in terminal.watch(15):
        footer = next((line for line in picture.splitlines() if line.endswith("? help")), "")
        if footer:
            assert "enter open" in footer and "/ filter" in footer, picture
        if "hosts 3/4 up" in picture:
            break
    fleet(terminal)
    terminal.press("c")
    for _, picture in terminal.watch(15):
        line = next((line for line in picture.splitlines() if line.startswith("          host  vhost-a")), "")
        if line:
            assert line.endswith("GiB free"), f"its note is there, and stays there\n{picture}"
        if "^s review" in picture:
            break
    terminal.press("escape", "q")
    assert terminal.ended() == 0


def test_a_host_is_added_by_its_mac(demo: Inventory) -> None:
    before, commits = demo.texts(), demo.commits()
    terminal = fleet(demo.open())
    terminal.press("a")
    terminal.wait("Add host", "^s review")
    for text in ("vhost-e", "52:54:00:10:00:0E", "10.0.0.15/24", "rack-2 gpu"):
        terminal.type(text)
        terminal.press("tab")
    # Without a key: nothing answers at this address, and what is not proven is not contacted.
    terminal.wait("qemu+ssh://root@10.0.0.15/system")
    terminal.press("pagedown")
    terminal.wait("Fetch the key", "s skip")
    terminal.press("s")
    terminal.wait("What will happen", "hosts/vhost-e.toml", "no pinned SSH host key", "enter add it")
    assert demo.texts() == before, "a review changes nothing"
    terminal.press("enter")
    terminal.wait("✔ Add host vhost-e: done.")
    terminal.press("enter")
    terminal.wait_line("▾ vhost-e", "rack-2", "10.0.0.15")
    terminal.press("q")
    assert terminal.ended() == 0

    assert demo.commits() == ["Add host vhost-e", *commits]
    after = demo.texts()
    host = tomllib.loads(after.pop("hosts/vhost-e.toml"))
    assert (host["mac"], host["address"], host["labels"]) == ("52:54:00:10:00:0e", "10.0.0.15/24", ["rack-2", "gpu"])
    assert after == before, "the other files are as they were, to the letter"
    assert demo.is_whole()


def test_a_guest_gets_the_card_and_a_second_one_is_refused_it(demo: Inventory) -> None:
    before, commits = demo.texts(), demo.commits()
    terminal = fleet(demo.open())
    begin_guest(terminal, "trainer")
    open_cards(terminal, "3080")
    terminal.wait_line(CARD, "65:00", "group 28", "NUMA 1", "free")
    terminal.press("enter")
    terminal.wait_line("GPU", CARD, "65:00, group 28")
    terminal.press("ctrl+s")
    terminal.wait("What will happen", "define trainer", "start trainer", "enter create and start")
    terminal.wait_line("gpu", CARD, "65:00", "functions .0 .1", "group 28", "NUMA 1")
    assert demo.texts() == before and demo.commits() == commits, "a review changes nothing"
    terminal.press("enter")
    terminal.wait("✔ Create trainer on vhost-a: done.")
    terminal.press("enter")
    terminal.wait_line("trainer", "◆", "● running")
    terminal.wait("as the inventory wants it")

    assert demo.commits() == ["Create vhost-a/trainer", *commits]
    after = demo.texts()
    assert keeps_every_line(before["hosts/vhost-a.toml"], after["hosts/vhost-a.toml"])
    guest = tomllib.loads(after["hosts/vhost-a.toml"])["guests"]["trainer"]
    (device,) = guest["devices"].values()
    assert (device["pci"], device["functions"]) == ("0000:65:00", ["10de:2206", "10de:1aef"])
    assert {name for name in after if after[name] != before[name]} == {"hosts/vhost-a.toml"}
    assert demo.is_whole()

    taken = "taken by vhost-a/trainer (running)"
    begin_guest(terminal, "thief")
    open_cards(terminal, "3080")
    terminal.wait_line(CARD, taken)
    terminal.press("enter")
    terminal.wait_line("✖", CARD, taken)
    # Tab would take what the list is filtered to: it is refused the same way, and the list stays.
    terminal.press("tab")
    terminal.wait("enter choose", taken)
    terminal.press("escape")
    terminal.wait_line("GPU", "none")
    terminal.press("escape")
    terminal.wait("boot from")
    terminal.press("escape")
    terminal.wait("firmware")
    terminal.press("escape")
    terminal.wait("throws away")
    terminal.press("escape")
    terminal.wait_line("trainer", "● running")
    assert "thief" not in terminal.text

    # Nor by command, for which there is no list to look into.
    wanted = ["--vcpus", "1", "--memory", "1GiB", "--disk", "10GiB", "--image", "debian-13.qcow2", "--gpu", "65:00"]
    assert taken in demo.qd("guest", "create", "thief", "--host", "vhost-a", *wanted, status=1)
    assert "thief" not in demo.qd("guest", "list")
    assert (demo.texts(), demo.commits()) == (after, ["Create vhost-a/trainer", *commits])
    assert demo.is_whole()


def test_a_card_that_was_taken_since_the_review_is_refused(demo: Inventory) -> None:
    terminal = fleet(demo.open())
    begin_guest(terminal, "late")
    open_cards(terminal, "3080")
    terminal.press("enter")
    terminal.wait_line("GPU", CARD, "65:00, group 28")
    terminal.press("ctrl+s")
    terminal.wait("enter create and start")
    wanted = ["--vcpus", "1", "--memory", "1GiB", "--disk", "10GiB", "--image", "debian-13.qcow2", "--gpu", "any"]
    demo.qd("guest", "create", "early", "--host", "vhost-a", *wanted)
    texts, commits = demo.texts(), demo.commits()
    terminal.press("enter")
    terminal.wait("✖ failed", "0000:65:00", "belongs to vhost-a/early", "Nothing was changed.")
    terminal.press("enter")
    terminal.wait("late was not created", "is taken by vhost-a/early (off)")
    assert (demo.texts(), demo.commits()) == (texts, commits)
    assert "late" not in demo.qd("guest", "list")
    assert demo.is_whole()
