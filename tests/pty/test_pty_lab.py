"""The guest form on a real hypervisor, key by key: what it makes boots, and who burns CPU is seen to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt
import pytest

from console.drivers.libvirt.host import FOCUSED_S
from screens.app import PAINT_EVERY_S
from tests.lab.guests import BOOTED, Lab
from tests.lab.serial import read_until
from tests.pty.place import Inventory, Place
from tests.pty.terminal import Terminal

pytestmark = [pytest.mark.pty, pytest.mark.lab]

TICKS = 3
BUSY = 80


@pytest.fixture
def inventory(place: Place, lab: Lab, connection: libvirt.virConnect) -> Inventory:
    """A copy of the lab's inventory."""
    shutil.copytree(lab.inventory, place.folder / "inventory")
    inventory = Inventory(place, place.folder / "inventory")
    inventory.qd("generate")
    return inventory


def create(terminal: Terminal, lab: Lab, name: str, words: str = "") -> None:
    """A guest that boots the lab's kernel is created by keys and has started."""
    terminal.press("c")
    terminal.wait("Create guest on lab-a", "^s review")
    for text in (name, "1", "128 MiB"):
        terminal.type(text)
        terminal.press("tab")
    terminal.wait(f"Create {name} on lab-a", "128 MiB")
    terminal.press("pagedown")
    terminal.wait("boot from")
    terminal.press("space")
    terminal.wait("enter choose")
    terminal.type("kernel")
    terminal.wait_line("boot from", "kernel▏")
    terminal.press("enter")
    terminal.wait("initrd  ", "command line")
    terminal.press("tab")
    for text in (str(lab.kernel), str(lab.initrd), f"{lab.cmdline} qd.name={name} {words}".strip(), "64 MiB"):
        terminal.type(text)
        terminal.press("tab")
    terminal.wait("64 MiB")
    terminal.press("ctrl+s")
    terminal.wait("What will happen", f"create {name}-boot.qcow2", f"start {name}", "enter create and start")
    terminal.press("enter")
    terminal.wait(f"✔ Create {name} on lab-a: done.", seconds=30)
    terminal.press("enter")
    terminal.wait_line(name, "● running")


def boot(terminal: Terminal, lab: Lab, name: str) -> str:
    """What the guest says on its serial console until it has booted; the terminal is read meanwhile."""

    def said() -> str:
        opened = libvirt.open(lab.uri)
        try:
            return read_until(opened, name, BOOTED)
        finally:
            opened.close()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(said)
        terminal.until(lambda _: asked.done(), f"{name} boots", 95)
        return asked.result()


def put_first(lab: Lab, name: str) -> None:
    """A guest gets the core it asks for whatever else runs here: the console is tested, not the machine's load."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"guest={name},".encode() in command and os.fsencode(lab.dir) in command:
            if (entry / "autogroup").exists():
                (entry / "autogroup").write_text("-19")  # with it, nice has a say within one session only
            for thread in (entry / "task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), -19)
            return
    raise AssertionError(f"{name} has no process")


def cpu(text: str, name: str) -> int | None:
    """The CPU percentage of a guest's row, None while it has none."""
    found = re.search(rf"^.*\b{name}\b.*● running +(\d+)%", text, re.MULTILINE)
    return int(found[1]) if found else None


def test_a_guest_made_by_keys_boots_and_a_burning_one_stands_out(lab: Lab, inventory: Inventory) -> None:
    commits = inventory.commits()
    terminal = inventory.open()
    terminal.wait("hosts 2/2 up")
    create(terminal, lab, "calm")
    assert BOOTED in boot(terminal, lab, "calm")
    seen = subprocess.run(
        ["virsh", "-c", lab.uri, "dumpxml", "calm"], capture_output=True, text=True, check=True
    ).stdout
    assert f"<kernel>{lab.kernel}</kernel>" in seen and f"<initrd>{lab.initrd}</initrd>" in seen
    assert "qd.name=calm" in seen and "calm-boot.qcow2" in seen and "<hostdev" not in seen
    terminal.until(lambda text: (cpu(text, "calm") or BUSY) < 20, "calm is idle after its boot", 30)

    create(terminal, lab, "burner", "qd.burn=1")
    put_first(lab, "burner")
    boot(terminal, lab, "burner")
    # A tick is the console's look at the host that has the cursor. The first one still counts what the boot took.
    burning, calm = [], []
    for past, text in terminal.watch(TICKS * FOCUSED_S + PAINT_EVERY_S):
        calm.append(cpu(text, "calm"))
        if past > FOCUSED_S:
            burning.append(cpu(text, "burner"))
    assert max(figure or 0 for figure in burning) > BUSY, f"{burning}\n{terminal.framed()}"
    assert all(figure is not None and figure < BUSY for figure in calm), f"{calm}\n{terminal.framed()}"
    assert terminal.line("burner").count("●") == 1 and inventory.commits() == [
        "Create lab-a/burner",
        "Create lab-a/calm",
        *commits,
    ]
    assert inventory.is_whole()
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_create_that_fails_is_undone_and_the_form_is_still_filled(
    lab: Lab, inventory: Inventory, connection: libvirt.virConnect
) -> None:
    pool = connection.storagePoolLookupByName("default")
    texts = inventory.texts()
    terminal = inventory.open()
    terminal.wait("hosts 2/2 up")
    terminal.press("c")
    terminal.wait("Create guest on lab-a", "^s review")
    terminal.type("doomed")
    terminal.press("pagedown")
    terminal.wait("boot from")
    terminal.press("space")
    terminal.wait("enter choose")
    terminal.type("kernel")
    terminal.wait_line("boot from", "kernel▏")
    terminal.press("enter")
    terminal.wait("command line")
    terminal.press("tab")
    # Only QEMU finds out that there is no such file: at the last of the steps.
    terminal.type("/nowhere/vmlinuz")
    terminal.press("ctrl+s")
    terminal.wait("What will happen", "define doomed", "enter create and start")
    before = sorted(volume.name() for volume in pool.listAllVolumes())
    terminal.press("enter")
    terminal.wait("✖ failed", "/nowhere/vmlinuz", "taken back", "the inventory is as it was", seconds=30)
    assert re.search(r"undefine doomed|doomed.*undefined", terminal.text)
    assert inventory.texts() == texts and inventory.is_whole()
    assert [domain.name() for domain in connection.listAllDomains()] == []
    pool.refresh()
    assert sorted(volume.name() for volume in pool.listAllVolumes()) == before
    terminal.press("enter")
    terminal.wait("Create doomed on lab-a", "What will happen", "enter create and start")
    terminal.press("b")
    terminal.wait("network  ", "GPU")
    terminal.press("pageup")
    terminal.wait("/nowhere/vmlinuz")
    terminal.press("pageup")
    terminal.wait_line("name", "doomed")
