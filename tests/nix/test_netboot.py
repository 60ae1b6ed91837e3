"""The netboot server: what it answers is worked out by Nix, written by a script, and served by dnsmasq and nginx."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from console.generate.nix_value import nix_value

NIX = Path(__file__).parents[2] / "nix"
HOST, NEW, GUEST, STRANGER = "52:54:00:77:00:10", "52:54:00:77:00:20", "52:54:00:77:01:10", "52:54:00:77:66:66"
KEY = "ssh-ed25519 AAAA host"


@pytest.fixture(scope="module")
def nix() -> None:
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")


def evaluated(*words: str | Path) -> Any:
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return json.loads(done.stdout)


def subnet(text: str) -> Any:
    return evaluated("--expr", f"import {NIX}/netboot/subnet.nix {json.dumps(text)}")


def host(name: str, mac: str, address: str | None, key: str | None = None, guests: Any = None) -> dict[str, Any]:
    own = {"mac": mac, "address": address, "sshHostKey": key}
    return {"fleet": {"kind": "host", "machine": name, "host": own, "guests": guests or {}}}


ENTRIES = {
    "installer": {"title": "Install NixOS", "cmdline": "init=/nix/store/x/init quiet", "initrd": True},
    "memtest": {"title": "Memory test", "cmdline": "", "initrd": False},
}


class Inventory:
    """An inventory's generated files, and what the server makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "generated").mkdir(parents=True)
        self.settings: dict[str, Any] = {
            "server": {
                "subnet": {"address": "10.77.0.1", "first": [10, 77, 0, 0], "mask": [255, 255, 255, 0]},
                "port": 8077,
            },
            "timeoutS": 5,
            "installer": "installer",
            "machines": {},
            "entries": ENTRIES,
        }

    def write(self, name: str, data: dict[str, Any]) -> None:
        (self.folder / "generated" / f"{name}.nix").write_text(nix_value(data))

    def answers(self) -> dict[str, tuple[str, str]]:
        """MAC -> address and menu, of each card that is answered."""
        found = self.text()
        return {machine["mac"]: (machine["address"], machine["menu"]) for machine in json.loads(found)}

    def text(self) -> str:
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        words = ("--argstr", "settings", self.folder / "settings.json", "--argstr", "inventory", self.folder)
        return json.dumps(evaluated(NIX / "netboot" / "machines.nix", *words))


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    made = Inventory(tmp_path / "fleet")
    cards = {
        "lan": {"network": "lan", "mac": GUEST, "address": "10.77.0.50/24"},
        "dhcp": {"network": "lan", "mac": "52:54:00:77:01:11", "address": None},
        "lab": {"network": "lab", "mac": "52:54:00:77:01:12", "address": "10.78.0.50/24"},
    }
    made.write("vhost-a", host("vhost-a", HOST, "10.77.0.10/24", KEY, {"web": {"name": "web", "nics": cards}}))
    made.write("web", {"fleet": {"kind": "guest", "machine": "web"}})
    return made


@pytest.mark.nix
def test_an_address_with_its_prefix_is_a_subnet(nix: None) -> None:
    assert subnet("10.1.2.3/20") == {
        "address": "10.1.2.3",
        "first": [10, 1, 0, 0],
        "mask": [255, 255, 240, 0],
    }
    assert subnet("10.0.0.9/29")["first"] == [10, 0, 0, 8]
    for bad in ("10.0.0.1", "10.0.0.256/24", "10.0.0.1/33", "10.0.0.01/24", "fd00::1/64", "", "10.0.0.1/24\n"):
        assert subnet(bad) is None


@pytest.mark.nix
def test_every_card_of_the_served_subnet_is_known_and_no_other(nix: None, inventory: Inventory) -> None:
    assert {mac: address for mac, (address, _) in inventory.answers().items()} == {
        HOST: "10.77.0.10",
        GUEST: "10.77.0.50",
    }


@pytest.mark.nix
@pytest.mark.parametrize("text", ["{ networking.hostName = ''mine''; }", "{ ... }: { }"])
def test_a_file_of_somebody_else_takes_no_machine_its_answer(nix: None, inventory: Inventory, text: str) -> None:
    (inventory.folder / "generated/mine.nix").write_text(text)
    assert set(inventory.answers()) == {HOST, GUEST}


def first_choice(menu: str) -> str:
    (line,) = [line for line in menu.splitlines() if line.startswith("choose ")]
    assert line == f"choose --default {line.split()[2]} --timeout 5000 chosen || goto {line.split()[2]}"
    return line.split()[2]


@pytest.mark.nix
def test_a_host_boots_the_installer_until_its_key_is_pinned(nix: None, inventory: Inventory) -> None:
    inventory.write("vhost-b", host("vhost-b", NEW, "10.77.0.20/24"))
    answers = inventory.answers()
    assert first_choice(answers[NEW][1]) == "entry-installer"
    assert first_choice(answers[HOST][1]) == "disk"
    assert first_choice(answers[GUEST][1]) == "disk"


@pytest.mark.nix
def test_a_menu_is_a_script_of_ipxe_with_every_entry(nix: None, inventory: Inventory) -> None:
    assert inventory.answers()[HOST][1] == (
        "#!ipxe\n"
        "# vhost-a, 52:54:00:77:00:10\n"
        ":start\n"
        "menu vhost-a (52:54:00:77:00:10)\n"
        "item disk Its own disk\n"
        "item entry-installer Install NixOS\n"
        "item entry-memtest Memory test\n"
        "choose --default disk --timeout 5000 chosen || goto disk\n"
        "goto ${chosen}\n"
        "\n"
        ":disk\n"
        "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||\n"
        "exit 1\n"
        "\n"
        ":entry-installer\n"
        "kernel http://10.77.0.1:8077/installer/kernel init=/nix/store/x/init quiet initrd=initrd || goto failed\n"
        "initrd --name initrd http://10.77.0.1:8077/installer/initrd || goto failed\n"
        "boot || goto failed\n"
        "\n"
        ":entry-memtest\n"
        "kernel http://10.77.0.1:8077/memtest/kernel || goto failed\n"
        "boot || goto failed\n"
        "\n"
        ":failed\n"
        "echo This did not work. Once more in 10 seconds.\n"
        "sleep 10\n"
        "goto start\n"
    )


@pytest.mark.nix
def test_what_fleet_toml_has_a_machine_boot_wins_and_the_servers_own_word_over_it(
    nix: None, inventory: Inventory
) -> None:
    data = host("control", NEW, "10.77.0.20/24", KEY)
    data["fleet"]["netboot"] = {
        "machines": {
            "vhost-a": {"mac": HOST, "address": "10.77.0.10/24", "entry": "memtest"},
            "vhost-a/web": {"mac": GUEST, "address": "10.77.0.50/24", "entry": "gone"},
        }
    }
    inventory.write("control", data)
    answers = inventory.answers()
    assert first_choice(answers[HOST][1]) == "entry-memtest"
    assert first_choice(answers[GUEST][1]) == "disk"  # an entry that this server does not have
    inventory.settings["machines"] = {"a": {"mac": HOST, "address": "10.77.0.99", "entry": "installer"}}
    address, menu = inventory.answers()[HOST]
    assert (address, first_choice(menu)) == ("10.77.0.99", "entry-installer")


@pytest.mark.nix
@pytest.mark.parametrize(
    ("name", "mac", "address"),
    [
        ("a\n:start", NEW, "10.77.0.20/24"),
        ("${net0/mac}", NEW, "10.77.0.20/24"),
        ("vhost-b", f"{NEW},10.77.0.66", "10.77.0.20/24"),
        ("vhost-b", f"{NEW}\n{STRANGER}", "10.77.0.20/24"),
        ("vhost-b", "../../../../etc", "10.77.0.20/24"),
        ("vhost-b", NEW, "10.77.0.20,ignore"),
        ("vhost-b", NEW, "10.77.0.300/24"),
        ("vhost-b", NEW, "10.77.1.20/24"),
    ],
)
def test_a_line_that_would_be_more_than_one_machine_is_not_served(
    nix: None, inventory: Inventory, name: str, mac: str, address: str
) -> None:
    inventory.write("vhost-b", host(name, mac, address))
    assert set(inventory.answers()) == {HOST, GUEST}


# The files


class Server:
    """The folder of a server, written by the script that its service runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        for name in ("loaders", "images"):
            (folder / name).mkdir()
        for program in ("undionly.kpxe", "ipxe-x86_64.efi", "ipxe-arm64.efi"):
            (folder / "loaders" / program).write_text(f"the program {program}")
        (folder / "images" / "installer").mkdir()
        (folder / "images" / "installer" / "kernel").write_text("the kernel")
        self.env = os.environ | {
            "FOLDER": str(self.folder),
            "LOADERS": str(folder / "loaders"),
            "IMAGES": str(folder / "images"),
        }

    def sync(self, text: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", NIX / "scripts" / "netboot-sync.sh"]
        return subprocess.run(command, input=text, env=self.env, capture_output=True, text=True, check=False)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()} | {
            str(path.relative_to(self.folder)) for path in self.folder.glob("http/*")
        }


@pytest.fixture
def server(tmp_path: Path) -> Server:
    if shutil.which("jq") is None:
        pytest.skip("jq is missing")
    return Server(tmp_path)


def machine(mac: str, address: str, menu: str = "#!ipxe\nexit 1\n") -> dict[str, str]:
    return {"mac": mac, "address": address, "menu": menu}


def test_the_files_follow_the_list(server: Server) -> None:
    both = [machine(HOST, "10.77.0.10"), machine(NEW, "10.77.0.20", "#!ipxe\n\n${x} 'q' \\n\n\n")]
    done = server.sync(json.dumps(both))
    assert done.returncode == 0, done.stderr
    assert (server.folder / "hosts/52-54-00-77-00-20").read_text() == f"{NEW},10.77.0.20,10m\n"
    assert (server.folder / "tftp/52-54-00-77-00-20/menu.ipxe").read_text() == both[1]["menu"]
    assert (server.folder / "tftp/52-54-00-77-00-10/undionly.kpxe").read_text() == "the program undionly.kpxe"
    assert (server.folder / "http/10.77.0.10/installer/kernel").read_text() == "the kernel"
    assert server.sync(json.dumps(both)).stdout == ""
    moved = [machine(HOST, "10.77.0.11")]
    assert server.sync(json.dumps(moved)).stdout == f"wrote hosts/52-54-00-77-00-10\ntook away {NEW}\n"
    assert server.files() == {
        "hosts/52-54-00-77-00-10",
        "http/10.77.0.11",
        *(
            f"tftp/52-54-00-77-00-10/{name}"
            for name in ("menu.ipxe", "undionly.kpxe", "ipxe-x86_64.efi", "ipxe-arm64.efi")
        ),
    }
    assert server.sync("[]").returncode == 0
    assert server.files() == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[{"mac":',
        "{}",
        '[{"mac": "52:54:00:77:00:10", "address": "10.77.0.10"}]',
        '[{"mac": "../../x", "address": "10.77.0.10", "menu": ""}]',
        '[{"mac": "52:54:00:77:00:10", "address": "../x", "menu": ""}]',
    ],
)
def test_a_list_that_is_none_takes_nothing_out_of_service(server: Server, text: str) -> None:
    server.sync(json.dumps([machine(HOST, "10.77.0.10")]))
    before = server.files()
    done = server.sync(text)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "netboot: the list of machines is not what it should be; everything stays as it was",
    )
    assert before <= server.files()


# Served for real


def settings_text(settings: dict[str, Any]) -> str:
    """The settings as NixOS writes them: true is the bare key, a list is the key again and again."""
    lines = []
    for key, value in settings.items():
        for item in value if isinstance(value, list) else [value]:
            lines.append(key if item is True else f"{key}={item}")
    return "\n".join(lines) + "\n"


class Wire:
    """A server's namespace and a client's, joined by a cable. The client may have any MAC address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server, self.client = f"qdnb-s{os.getpid()}", f"qdnb-c{os.getpid()}"
        self.script = folder / "udhcpc"
        self.script.write_text(
            '#!/bin/sh\n[ "$1" != bound ] || echo "LEASE $ip $siaddr ${bootfile:-none} ${router:-none}"\n'
        )
        self.script.chmod(0o755)

    def up(self) -> None:
        for name in (self.server, self.client):
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        self.ip("-n", self.server, "link", "add", "br0", "type", "veth", "peer", "name", "eth0", "netns", self.client)
        self.ip("-n", self.server, "address", "add", "10.77.0.1/24", "dev", "br0")
        self.ip("-n", self.server, "link", "set", "br0", "up")

    def down(self) -> None:
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    def card(self, mac: str, address: str | None = None) -> None:
        self.ip("-n", self.client, "link", "set", "eth0", "down")
        self.ip("-n", self.client, "address", "flush", "dev", "eth0")
        self.ip("-n", self.client, "link", "set", "eth0", "address", mac)
        self.ip("-n", self.client, "link", "set", "eth0", "up")
        self.ip("-n", self.server, "neigh", "flush", "dev", "br0")
        if address:
            self.ip("-n", self.client, "address", "add", address, "dev", "eth0")

    def lease(self, mac: str, *options: str) -> str:
        """What a card is told: address, TFTP server, file, router; "" when nobody answers."""
        self.card(mac)
        ask = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-s", str(self.script)]
        done = self.run(self.client, *ask, "-O", "bootfile", *options)
        found = [line for line in done.stdout.splitlines() if line.startswith("LEASE ")]
        return found[0].removeprefix("LEASE ") if found else ""

    def tftp(self, mac: str, address: str, file: str) -> str | None:
        """A file as this card gets it; None when there is none for it."""
        self.card(mac, address)
        done = self.run(self.client, "busybox", "tftp", "-g", "-r", file, "-l", "/dev/stdout", "10.77.0.1")
        return done.stdout if done.returncode == 0 else None

    def run(self, namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["ip", "netns", "exec", namespace, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def dnsmasq(wire: Wire, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = ["ip", "netns", "exec", wire.server, "dnsmasq", "--keep-in-foreground", f"--conf-file={config}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def eventually(ask: Any, wanted: Any) -> None:
    """Ask until the wanted answer comes; each question takes its own time."""
    end = time.monotonic() + 60
    while (found := ask()) != wanted:
        assert time.monotonic() < end, f"got {found!r} instead of {wanted!r}"


@pytest.mark.lab
@pytest.mark.nix
def test_dnsmasq_serves_the_inventory_and_nobody_else(
    nix: None, can_run_labs: None, tmp_path: Path, inventory: Inventory, server: Server
) -> None:
    known = {"interface": "br0", "gateway": "10.77.0.254", "dns": [], "folder": str(server.folder)}
    known |= {"subnet": inventory.settings["server"]["subnet"], "loaders": ["bios", "efi64", "efiArm64"]}
    settings = evaluated("--expr", f"import {NIX}/netboot/dnsmasq.nix {nix_value(known)}")
    config = tmp_path / "dnsmasq.conf"
    # The last lines are what the test is: one that is not the machine's dnsmasq.
    config.write_text(settings_text(settings) + f"user=root\npid-file=\ndhcp-leasefile={tmp_path}/leases\n")
    check = subprocess.run(["dnsmasq", "--test", f"--conf-file={config}"], capture_output=True, text=True, check=False)
    assert "syntax check OK" in check.stderr
    assert server.sync(inventory.text()).returncode == 0

    wire = Wire(tmp_path)
    try:
        wire.up()
        with dnsmasq(wire, config) as process:
            told = "10.77.0.1 {} 10.77.0.254"
            eventually(lambda: wire.lease(HOST), "10.77.0.10 10.77.0.1 none 10.77.0.254")
            # Firmware of each kind gets its iPXE, and iPXE its menu.
            for arch, file in (("0000", "undionly.kpxe"), ("0007", "ipxe-x86_64.efi"), ("000b", "ipxe-arm64.efi")):
                assert wire.lease(HOST, "-x", f"0x5d:{arch}") == f"10.77.0.10 {told.format(file)}"
            assert wire.lease(HOST, "-x", "0x5d:0007", "-x", "0xaf:01") == f"10.77.0.10 {told.format('menu.ipxe')}"
            assert wire.lease(GUEST).split()[0] == "10.77.0.50"
            assert wire.lease(STRANGER, "-x", "0x5d:0007") == ""

            menu = inventory.answers()[HOST][1]
            assert wire.tftp(HOST, "10.77.0.10/24", "menu.ipxe") == menu
            assert wire.tftp(HOST, "10.77.0.10/24", "undionly.kpxe") == "the program undionly.kpxe"
            # With an address that it gave itself, a stranger finds nothing; nor does a known card find another's.
            for file in ("menu.ipxe", "undionly.kpxe"):
                assert wire.tftp(STRANGER, "10.77.0.66/24", file) is None
            assert wire.tftp(GUEST, "10.77.0.50/24", f"../{HOST.replace(':', '-')}/menu.ipxe") is None

            # A host that is added is served at once, one that is taken away is not after a SIGHUP.
            inventory.write("vhost-b", host("vhost-b", NEW, "10.77.0.20/24"))
            (inventory.folder / "generated" / "vhost-a.nix").unlink()
            assert server.sync(inventory.text()).returncode == 0
            process.send_signal(signal.SIGHUP)
            eventually(lambda: wire.lease(NEW).split(" ")[0], "10.77.0.20")
            eventually(lambda: wire.lease(HOST), "")
            assert wire.tftp(HOST, "10.77.0.10/24", "menu.ipxe") is None
    finally:
        wire.down()


def test_nginx_gives_images_to_reserved_addresses_alone(tmp_path: Path, server: Server) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is missing: install nginx-light")
    server.sync(json.dumps([machine(HOST, "127.0.0.11")]))
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n"
        f"  server {{ listen 0.0.0.0:{port}; root {server.folder}/http/$remote_addr; }} }}\n"
    )

    def status(source: str, path: str) -> int | None:
        class From(urllib.request.HTTPHandler):
            def http_open(self, request: urllib.request.Request) -> Any:
                import http.client

                def connection(name: str, **words: Any) -> http.client.HTTPConnection:
                    return http.client.HTTPConnection(name, source_address=(source, 0), timeout=30)

                return self.do_open(connection, request)

        try:
            with urllib.request.build_opener(From).open(f"http://127.0.0.1:{port}{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except urllib.error.URLError:
            return None

    with subprocess.Popen(["nginx", "-e", "stderr", "-c", config]) as process:
        try:
            eventually(lambda: status("127.0.0.11", "/installer/kernel"), 200)
            assert status("127.0.0.12", "/installer/kernel") == 404
            assert status("127.0.0.12", "/../127.0.0.11/installer/kernel") in (400, 404)
            assert status("127.0.0.11", "/installer/") == 403
        finally:
            process.terminate()
