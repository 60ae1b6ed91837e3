"""What a guest's agent says of the guest's card: by a fake agent, by hostile ones, and by QEMU's own on a socket."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.domain.hardware import SeenByGuest, Use
from console.drivers.libvirt.agent import Ask, Layout, Refused, Silent, answer, layout_of, seen_by_guest

CARD = "0000:65:00.0"
IDS = {CARD: "1002:73e3"}

DOMAIN = """<domain><devices>
  <controller type='pci' index='0' model='pcie-root'/>
  <controller type='pci' index='1' model='pcie-root-port'>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0' multifunction='on'/></controller>
  <controller type='pci' index='6' model='pcie-root-port'>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x5'/></controller>
  <hostdev mode='subsystem' type='pci' managed='yes'>
    <source><address domain='0x0000' bus='0x65' slot='0x00' function='0x0'/></source>
    <address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x0'/></hostdev>
  <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>
</devices></domain>"""

PORT = "/sys/bus/pci/devices/0000:00:02.5"
FOLDER = "/sys/bus/pci/devices/0000:03:00.0"
FILES = {
    f"{PORT}/secondary_bus_number": "3\n",
    f"{FOLDER}/uevent": "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:73E3\nPCI_SLOT_NAME=0000:03:00.0\n",
    f"{FOLDER}/gpu_busy_percent": "87\n",
    f"{FOLDER}/mem_info_vram_used": f"{3 << 30}\n",
    f"{FOLDER}/mem_info_vram_total": f"{8 << 30}\n",
}
ALL = ("guest-info", "guest-file-open", "guest-file-read", "guest-file-close")


class Agent:
    """An agent with these files. asked: the commands it was given. silent_at: it stops answering there."""

    def __init__(
        self, files: dict[str, str], offers: tuple[str, ...] = ALL, devices: object = None, silent_at: str = ""
    ) -> None:
        self.files = files
        self.offers = offers
        self.devices = devices
        self.silent_at = silent_at
        self.asked: list[str] = []
        self.open: dict[int, str] = {}

    def __call__(self, command: str, **arguments: Any) -> Any:
        self.asked.append(command)
        if command == self.silent_at:
            raise Silent
        match command:
            case "guest-info":
                listed = [{"name": name, "enabled": name in self.offers} for name in (*ALL, "guest-get-devices")]
                return {"version": "9.2.0", "supported_commands": [*listed, {"name": "guest-exec", "enabled": True}]}
            case "guest-file-open" if arguments["path"] in self.files:
                assert arguments["mode"] == "r"
                number = 1000 + len(self.asked)
                self.open[number] = arguments["path"]
                return number
            case "guest-file-read":
                text = self.files[self.open[arguments["handle"]]].encode()[: arguments["count"]]
                return {"count": len(text), "buf-b64": base64.b64encode(text).decode(), "eof": True}
            case "guest-file-close":
                del self.open[arguments["handle"]]
                return {}
            case "guest-get-devices" if self.devices is not None:
                return self.devices
        raise Refused(f"{command}: no")


def seen(agent: Ask, xml: str = DOMAIN) -> SeenByGuest:
    return seen_by_guest(agent, layout_of(xml), IDS)[CARD]


def test_figures_come_from_the_drivers_files() -> None:
    agent = Agent(FILES)
    assert seen(agent) == SeenByGuest(
        driver="amdgpu", use=Use(busy_percent=87, memory_used_bytes=3 << 30, memory_bytes=8 << 30)
    )
    assert agent.open == {}, "every file is closed"
    assert set(agent.asked) == set(ALL), "nothing else is asked for, and nothing is run"


def test_the_buses_are_those_of_the_guest() -> None:
    """libvirt's bus 6 is the guest's bus 3: its port knows that."""
    port = FILES | {f"{PORT}/secondary_bus_number": "4\n"}
    assert seen(Agent(port)).why_not == "the guest does not show the card in its /sys"
    deep = DOMAIN.replace(
        "<hostdev mode='subsystem' type='pci'",
        """<controller type='pci' index='7'>
    <address type='pci' bus='0x06' slot='0x1f' function='0x0'/></controller><hostdev mode='subsystem' type='pci'""",
    )
    deep = deep.replace("bus='0x06' slot='0x00'", "bus='0x07' slot='0x00'")
    moved = {path.replace("0000:03:00.0", "0000:09:00.0"): text for path, text in FILES.items()}
    moved["/sys/bus/pci/devices/0000:03:1f.0/secondary_bus_number"] = "9"
    assert seen(Agent(moved), deep).driver == "amdgpu"


@pytest.mark.parametrize(
    ("files", "driver", "why"),
    [
        (FILES | {f"{FOLDER}/uevent": "DRIVER=nvidia\nPCI_ID=10DE:2206\n"}, "", "shows another device in its place"),
        (FILES | {f"{FOLDER}/uevent": "PCI_ID=1002:73E3\n"}, "", "no driver of the guest has it"),
        (FILES | {f"{FOLDER}/uevent": "DRIVER=\x1b[2J\nPCI_ID=1002:73E3\n"}, "", "no driver of the guest has it"),
        ({path: FILES[path] for path in list(FILES)[:2]}, "amdgpu", "its files tell no figures"),
        ({}, "", "the guest does not show the card in its /sys"),
    ],
)
def test_what_is_not_told_says_why(files: dict[str, str], driver: str, why: str) -> None:
    told = seen(Agent(files))
    assert (told.driver, told.use) == (driver, None) and why in told.why_not


@pytest.mark.parametrize("text", ["101", "-1", "1e3", "9" * 30, "٣", "", "\x00", "8 7"])
def test_a_figure_that_cannot_be_is_none(text: str) -> None:
    told = seen(Agent(FILES | {f"{FOLDER}/gpu_busy_percent": text}))
    assert told.use == Use(busy_percent=None, memory_used_bytes=3 << 30, memory_bytes=8 << 30)


def test_an_agent_that_does_not_offer_files_is_asked_for_none() -> None:
    agent = Agent(FILES, offers=("guest-info",))
    assert seen(agent) == SeenByGuest(why_not="the guest's agent does not offer it")
    assert agent.asked == ["guest-info"]
    part = Agent(FILES, offers=ALL[:-1])
    assert seen(part).why_not == "the guest's agent does not offer it" and part.asked == ["guest-info"]


def test_an_agent_on_windows_tells_the_driver_alone() -> None:
    entries = [
        {"driver-name": "VirtIO SCSI", "id": {"type": "pci", "vendor-id": 0x1AF4, "device-id": 0x1048}},
        {"driver-name": "AMD Radeon\x1b[31m", "driver-version": "31.0.1", "driver-date": 1, "id": ID},
    ]
    told = seen(Agent({}, offers=(*ALL, "guest-get-devices"), devices=entries))
    assert told == SeenByGuest(driver="AMD Radeon\\x1b[31m 31.0.1", why_not="its agent tells the driver alone")


ID = {"type": "pci", "vendor-id": 0x1002, "device-id": 0x73E3}


@pytest.mark.parametrize(
    "entries", [{}, "x", [None], [{"id": None}], [{"id": {"type": "pci", "vendor-id": "a", "device-id": []}}], [[]]]
)
def test_a_list_that_is_none_names_nothing(entries: object) -> None:
    told = seen(Agent({}, offers=(*ALL, "guest-get-devices"), devices=entries))
    assert told == SeenByGuest(why_not="its agent names no driver for it")


@pytest.mark.parametrize("command", ALL)
def test_an_agent_that_falls_silent_is_not_asked_again(command: str) -> None:
    agent = Agent(FILES, silent_at=command)
    assert seen(agent) == SeenByGuest(why_not="the guest's agent does not answer")
    assert agent.asked.count(command) <= 2, "a file may still be closed"


@pytest.mark.parametrize("said", [None, 1, "x", [], {}, {"supported_commands": 3}, {"supported_commands": [[], 1]}])
def test_an_answer_that_is_none_offers_nothing(said: object) -> None:
    told = seen(lambda command, **arguments: said)
    assert told == SeenByGuest(why_not="the guest's agent does not say what it offers")


@pytest.mark.parametrize("said", [None, "x", {}, {"buf-b64": 7}, {"buf-b64": "?"}, {"buf-b64": "/////w=="}])
def test_a_file_that_is_no_text_is_not_believed(said: object) -> None:
    whole = Agent(FILES)

    def agent(command: str, **arguments: Any) -> Any:
        return said if command == "guest-file-read" else whole(command, **arguments)

    assert seen(agent).use is None and whole.open == {}


@pytest.mark.parametrize(
    "said", ["", "{", "[1]", '{"error": {"class": "GenericError"}}', "[" * 100_000, '{"return": ' + "9" * 70_000 + "}"]
)
def test_what_is_no_answer_is_refused(said: str) -> None:
    with pytest.raises(Refused):
        answer(said)


def test_bridges_that_lead_to_themselves_lead_nowhere() -> None:
    ring = DOMAIN.replace("bus='0x00' slot='0x02' function='0x5'", "bus='0x06' slot='0x02' function='0x5'")
    assert seen(Agent(FILES), ring).why_not == "the guest does not show the card in its /sys"
    assert layout_of("<domain/>") == Layout({}, {})


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Ask]:
    """QEMU's own agent, on a socket in place of the guest's channel."""
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin:/run/current-system/sw/bin:/var/cache/quarterdeck-lab")
    if program is None:
        pytest.skip("qemu-ga is not here. Run: demo/lab install, or install qemu-guest-agent")
    place = tmp_path / "agent"
    words = [program, "-m", "unix-listen", "-p", str(place), "-t", str(tmp_path), "-f", str(tmp_path / "pid")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(10)
    try:
        ends_at = time.monotonic() + 20
        while True:
            try:
                channel.connect(str(place))
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < ends_at
                time.sleep(0.05)

        def ask(command: str, **arguments: object) -> Any:
            channel.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            said = b""
            while not said.endswith(b"\n"):
                said += channel.recv(65536)
            return answer(said.decode())

        yield ask
    finally:
        channel.close()
        process.terminate()
        process.wait()


def test_qemus_own_agent_tells_it(real: Ask, tmp_path: Path) -> None:
    for path, text in FILES.items():
        place = Path(f"{tmp_path}/root{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    told = seen_by_guest(real, layout_of(DOMAIN), IDS, root=f"{tmp_path}/root")
    assert told == {
        CARD: SeenByGuest(driver="amdgpu", use=Use(busy_percent=87, memory_used_bytes=3 << 30, memory_bytes=8 << 30))
    }


def test_qemus_own_agent_reads_this_machines_own_files(real: Ask) -> None:
    """A card that is not there: the agent is asked for it all the same, and stays well."""
    assert seen_by_guest(real, layout_of(DOMAIN), IDS)[CARD].use is None
    assert real("guest-ping") == {}
