"""What guests' agents tell, by QEMU's own agent in a guest of a real libvirtd."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import time
from pathlib import Path

import libvirt
import pytest

from console.domain.hardware import SeenByGuest
from console.drivers.libvirt.agent import Layout, Place, asker, layout_of, seen_by_guest
from console.drivers.libvirt.markup import parse
from tests.lab.guests import Lab, eventually, started

pytestmark = pytest.mark.lab

TAINTED = "tainted: custom guest agent control commands issued"
START = """\
#!/bin/busybox sh
# Process 1: starts the agent as soon as its channel is there, and goes on as the lab's own guest does.
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox sh -c 'while ! name=$(/bin/busybox grep -l org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name); do
        /bin/busybox usleep 100000
    done 2>/dev/null
    port=${name%/name}
    exec /sbin/qemu-ga -p /dev/${port##*/} -f /agent.pid -t / WORDS' &
exec /init
"""


def initrd(lab: Lab, *words: str) -> Path:
    """The lab's initial RAM disk with the agent and the libraries that it needs; the kernel unpacks two in a row."""
    if lab.agent is None:
        pytest.skip("The guests' agent is missing. Run: demo/lab install")
    root = lab.dir / "agent-root"
    shutil.rmtree(root, ignore_errors=True)
    needs = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", lab.agent], capture_output=True, text=True, check=True).stdout
    )
    for source, target in (*((each, each) for each in needs), (lab.agent, "/sbin/qemu-ga")):
        place = Path(f"{root}{target}")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    (root / "agent-init").write_text(START.replace("WORDS", " ".join(words)))
    (root / "agent-init").chmod(0o755)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    pack = ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"]
    more = subprocess.run(pack, cwd=root, input=names.encode() + b"\n", capture_output=True, check=True).stdout
    made = lab.dir / "agent-initrd"
    made.write_bytes(lab.initrd.read_bytes() + gzip.compress(more, 1))
    return made


def guest(lab: Lab, connection: libvirt.virConnect, number: int, *words: str) -> libvirt.virDomain:
    """A guest that runs, and whose agent answers."""
    os = (
        f"<kernel>{lab.kernel}</kernel><initrd>{initrd(lab, *words)}</initrd>"
        f"<cmdline>{lab.cmdline} rdinit=/agent-init</cmdline>"
    )
    domain, log = started(lab, connection, f"agent-{number}", os, number)

    def answers() -> bool:
        root = parse(domain.XMLDesc())
        return root.find("devices/channel/target[@state='connected']") is not None

    eventually(answers, f"the agent answers, see {log}", 90)
    return domain


def network_card(domain: libvirt.virDomain) -> Layout:
    """The guest's network card in place of a passed-through one, behind the root port that libvirt gave it."""
    xml = domain.XMLDesc()
    address = parse(xml).find("devices/interface/address")
    assert address is not None and address.get("bus") != "0x00", "it is behind a port"
    place = Place(*(int(address.get(key) or "", 16) for key in ("bus", "slot", "function")))
    return Layout({"0000:65:00.0": place}, layout_of(xml).bridges)


def ask(domain: libvirt.virDomain, layout: Layout, ids: str) -> SeenByGuest:
    asked = asker(domain, time.monotonic() + 10)
    return seen_by_guest(asked, layout, {"0000:65:00.0": ids})["0000:65:00.0"]


def test_a_guest_tells_the_driver_of_its_device(lab: Lab, connection: libvirt.virConnect) -> None:
    domain = guest(lab, connection, 60)
    layout = network_card(domain)
    assert ask(domain, layout, "1af4:1041") == SeenByGuest(driver="virtio-pci", why_not="its files tell no figures")
    assert ask(domain, layout, "10de:2206").why_not == "the guest's agent shows another device in its place"
    assert TAINTED in domain.messages(libvirt.VIR_DOMAIN_MESSAGE_TAINTING), "as docs/gpu-board.md says"
    elsewhere = Layout({"0000:65:00.0": Place(8, 3, 0)}, layout.bridges)
    assert ask(domain, elsewhere, "1af4:1041").why_not == "the guest does not show the card in its /sys"
    domain.suspend()
    assert ask(domain, layout, "1af4:1041").use is None, "a paused guest is an answer as well"
    domain.resume()


def test_an_agent_without_files_is_not_asked_for_any(lab: Lab, connection: libvirt.virConnect) -> None:
    domain = guest(lab, connection, 61, "-b guest-file-open")
    assert ask(domain, network_card(domain), "1af4:1041").why_not == "the guest's agent does not offer it"
