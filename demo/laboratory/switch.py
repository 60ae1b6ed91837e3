"""What joins the hosts: a namespace with two bridges, a cable to each host for each, and the way in from here.

`mgmt` carries SSH and what hosts say to one another, `lan` the guests' network. The way in is a TCP port on
127.0.0.1 for each host. Its number is chosen once per lab, since the inventory names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from laboratory import relay, secure_shell
from laboratory.errors import LabError, run
from laboratory.host import GATEWAY, LAN_PORT, MANAGEMENT_PORT, MANAGEMENT_SWITCH, Host
from laboratory.process import Process, identity_of

START_TIMEOUT_S = 20
SSH_TIMEOUT_S = 20
FIRST_PORT, PORTS = 20000, 10000  # below those that the kernel gives to whoever connects
LINE = """\
link add {port} type veth peer name {inside} address {mac} netns /proc/{pid}/ns/net
link set {port} master {bridge} up
"""
# Each host leases addresses of its own range to its own guests, and tells of them; two that answered every guest
# would race. So no request for a lease crosses the switch.
FILTER = """\
add table netdev {port}
delete table netdev {port}
table netdev {port} {{ chain lan {{ type filter hook ingress device "{port}" priority 0; udp dport 67 drop; }}; }}
"""


@dataclass(frozen=True, slots=True)
class Switch:
    """The switch of the lab in the folder `lab`."""

    lab: Path

    @property
    def root(self) -> Path:
        return self.lab / "switch"

    @property
    def process(self) -> Process:
        return Process(self.root / "process.json", "the switch")

    def port(self, host: Host) -> int | None:
        """The host's SSH port on 127.0.0.1; None before the lab was up for the first time."""
        try:
            return int(json.loads((self.root / "ports.json").read_text())[host.name])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def uri(self, host: Host) -> str | None:
        """The host's libvirt URI over SSH; None before the lab was up for the first time."""
        port = self.port(host)
        return f"qemu+ssh://root@127.0.0.1:{port}/system" if port else None

    def await_ssh(self, host: Host) -> None:
        """The host's sshd has said its banner on the host's port."""
        deadline = time.monotonic() + SSH_TIMEOUT_S
        while True:
            place = ("127.0.0.1", self.port(host) or 0)
            with contextlib.suppress(OSError), socket.create_connection(place, SSH_TIMEOUT_S) as way:
                if way.recv(4) == b"SSH-":
                    return
            if time.monotonic() > deadline:
                raise LabError(f"The sshd of {host.name} does not answer. Run: demo/lab kill {host.name}; demo/lab up")
            time.sleep(0.05)

    def start(self, hosts: Sequence[Host]) -> None:
        """The switch runs, without cables. It must be down before."""
        self.root.mkdir(exist_ok=True)
        for host in hosts:
            self._mark(host).unlink(missing_ok=True)
        listeners = {host: self._listener(host) for host in hosts}
        ports = {host.name: listener.getsockname()[1] for host, listener in listeners.items()}
        (self.root / "ports.json").write_text(json.dumps(ports))
        numbers = [listener.fileno() for listener in listeners.values()]
        words = [f"{listener.fileno()}={host.management_address}" for host, listener in listeners.items()]
        ourselves: list[str | Path] = [
            sys.executable,
            Path(sys.argv[0]).resolve(),
            "run-switch",
            "--dir",
            self.lab,
            *words,
        ]
        log = self.root / "switch.log"
        with log.open("wb") as file:
            subprocess.Popen(
                ["unshare", "--net", "--", *ourselves],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=numbers,
                start_new_session=True,
            )
        for listener in listeners.values():
            listener.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.pid() is None:
            if time.monotonic() > deadline:
                last_words = log.read_text(errors="replace").strip()[-800:] or "it said nothing"
                raise LabError(f"The switch did not start in {START_TIMEOUT_S} s: {last_words}")
            time.sleep(0.02)

    def run_as_switch(self, words: Sequence[str]) -> None:
        """Called in the new namespace, with a listening socket's number and an address in each word; never returns."""
        run(["ip", "link", "set", "lo", "up"])
        for bridge, address in (("mgmt", MANAGEMENT_SWITCH), ("lan", GATEWAY)):
            run(["ip", "link", "add", bridge, "type", "bridge"])
            run(["ip", "address", "add", f"{address}/24", "dev", bridge])
            run(["ip", "link", "set", bridge, "up"])
        listeners = {}
        for number, _, address in (word.partition("=") for word in words):
            listeners[socket.socket(fileno=int(number))] = (address, secure_shell.PORT)
        self.process.remember(identity_of(int(Path("/proc/self").readlink().name)))
        asyncio.run(relay.serve(listeners))

    def plug(self, host: Host) -> None:
        """The host, which must have its process 1, has both cables, and they are whole."""
        pid = host.process.pid()
        mgmt, lan = self._ports(host)
        present = {link["ifname"] for link in json.loads(self._run("ip", "-json", "link", "show"))}
        for old in {mgmt, lan} & present:  # of its last life: a namespace takes its time to go
            self._run("ip", "link", "delete", old)
        # The cable of the management network comes last: process 1 of the host waits for that.
        cables = LINE.format(port=lan, inside=LAN_PORT, mac=host.mac_of(1), pid=pid, bridge="lan")
        cables += LINE.format(port=mgmt, inside=MANAGEMENT_PORT, mac=host.mac_of(2), pid=pid, bridge="mgmt")
        self._run("ip", "-batch", "-", stdin=cables)
        self._run("nft", "-f", "-", stdin=FILTER.format(port=lan))
        host.wire()
        self._mark(host).unlink(missing_ok=True)

    def is_partitioned(self, host: Host) -> bool:
        return self._mark(host).exists()

    def partition(self, host: Host) -> None:
        """No packet goes to the host or comes from it, and nobody is told."""
        self._set(host, "down")
        self._mark(host).touch()

    def heal(self, host: Host) -> None:
        """What `partition` did is undone."""
        self._set(host, "up")
        self._mark(host).unlink(missing_ok=True)

    def _set(self, host: Host, state: str) -> None:
        self._run("ip", "-batch", "-", stdin="".join(f"link set {port} {state}\n" for port in self._ports(host)))

    def _ports(self, host: Host) -> tuple[str, str]:
        return f"{host.name}-mgmt", f"{host.name}-lan"

    def _mark(self, host: Host) -> Path:
        # A file, so that who is not root can ask for the lab's status.
        return self.root / f"{host.name}.partitioned"

    def _run(self, *command: str, stdin: str | None = None) -> str:
        pid = self.process.pid()
        if pid is None:
            raise LabError("The switch between the hosts is down. Run: demo/lab up")
        return run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", *command], stdin=stdin)

    def _listener(self, host: Host) -> socket.socket:
        """A listening socket on the host's port, or, the first time, on one that is free."""
        known = self.port(host)
        first = zlib.crc32(f"{self.lab} {host.name}".encode())
        choice = [known] if known else [FIRST_PORT + (first + step) % PORTS for step in range(100)]
        for port in choice:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(128)
                return listener
            except OSError:
                listener.close()
        if known:
            raise LabError(f"Port {known} on 127.0.0.1, which the lab's inventory names for {host.name}, is taken.")
        raise LabError(f"No port between {FIRST_PORT} and {FIRST_PORT + PORTS} was free for {host.name}.")
