"""One lab host: a libvirtd and an sshd in namespaces of its own, known by the process that holds them.

The namespaces have no names: they last as long as process 1 of the host, and nothing of them is seen in
the machine's own network. Ending that process ends the host as a power cut would.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from laboratory import secure_shell
from laboratory.errors import LabError, run
from laboratory.packages import SSHD
from laboratory.process import Process, identity_of

NETWORK = "lan"
BRIDGE = "br0"
SUBNET = "10.77.0.0/24"
GATEWAY = "10.77.0.1"
MANAGEMENT_SWITCH = "10.78.0.1"
MANAGEMENT_PORT, LAN_PORT = "eth0", "eth1"
POOL = "default"
POOL_PATH = Path("/var/lib/libvirt/images")
START_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 5

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""

# libvirt makes the bridge, so only libvirt knows when the cable to the other hosts can join it.
NETWORK_HOOK = f"""\
#!/bin/sh
[ "$1 $2" != "{NETWORK} started" ] || exec ip link set {LAN_PORT} master {BRIDGE}
"""

# Accounts that the host has beside the machine's. Debian's libvirtd refuses to start without libvirt-qemu, even
# where qemu.conf names another; sshd needs its own. The packages that would make them also start daemons for the
# whole machine; so the host has account files of its own, and a root whose home is not the machine's.
PASSWD = {
    "root": "root:x:0:0:root:/run/root:/bin/bash",
    "libvirt-qemu": "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin",
    "sshd": "sshd:x:64056:65534::/run/sshd:/usr/sbin/nologin",
}
GROUP = {"libvirt-qemu": "libvirt-qemu:x:64055:"}
SHADOW = "root:*:19000:0:99999:7:::\n"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/run/root"}


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the lab in the lab folder `lab`; `number` ends its addresses, `leases` those of its guests."""

    lab: Path
    name: str
    number: int
    mac: str
    leases: tuple[int, int]

    @property
    def root(self) -> Path:
        return self.lab / self.name

    @property
    def address(self) -> str:
        """In SUBNET, on the bridge of the guests' network."""
        return f"10.77.0.{self.number}"

    @property
    def management_address(self) -> str:
        """Where its sshd is reached by the switch and the other hosts."""
        return f"10.78.0.{self.number}"

    def mac_of(self, card: int) -> str:
        octets = self.mac.split(":")
        return ":".join([*octets[:4], f"{card:02x}", octets[5]])

    @property
    def process(self) -> Process:
        return Process(self.root / "process.json", self.name)

    @property
    def images(self) -> Path:
        """What the host knows as POOL_PATH."""
        return self.root / "lib/images"

    @property
    def host_key(self) -> Path:
        return self.root / "ssh/id_ed25519"

    @property
    def log(self) -> Path:
        return self.root / "log/host.log"

    @property
    def uri(self) -> str:
        """Its libvirt by the unix socket, which a partition does not reach."""
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"quarterdeck-lab:{self.root}"))

    # What is bound over the machine's own folders, in the host's mount namespace only.
    @property
    def _folders(self) -> dict[Path, Path]:
        return {
            self.root / "run": Path("/run"),
            self.root / "etc": Path("/etc/libvirt"),
            self.root / "lib": Path("/var/lib/libvirt"),
            self.root / "cache": Path("/var/cache/libvirt"),
            self.root / "log": Path("/var/log"),
        }

    def launch(self, owner_group: str | None) -> None:
        """Its process 1 runs and waits for the cables. The host must be down before."""
        self.process.record.unlink(missing_ok=True)
        shutil.rmtree(self.root / "run", ignore_errors=True)  # sockets and pid files of the last life
        for ours, theirs in self._folders.items():
            ours.mkdir(parents=True, exist_ok=True)
            theirs.mkdir(parents=True, exist_ok=True)
        for folder in ("run/lock", "run/root", "log/libvirt", "etc/hooks"):
            (self.root / folder).mkdir(exist_ok=True)  # without run/lock opening a guest's console fails
        (self.root / "etc/qemu.conf").write_text(QEMU_CONF)
        (self.root / "etc/libvirtd.conf").write_text(self._libvirtd_conf(owner_group))
        (self.root / "etc/hooks/network").write_text(NETWORK_HOOK)
        (self.root / "etc/hooks/network").chmod(0o755)
        for file, text in self._files().items():
            (self.root / file).write_text(text)
        secure_shell.prepare_sshd(self.root / "run", self.host_key, secure_shell.identity(self.lab))
        unshare = ["unshare", "--mount", "--propagation=unchanged", "--uts", "--ipc", "--net", "--pid"]
        ourselves: list[str | Path] = [
            sys.executable,
            Path(sys.argv[0]).resolve(),
            "run-host",
            "--dir",
            self.lab,
            self.name,
        ]
        with self.log.open("wb") as log:
            subprocess.Popen(
                [*unshare, "--fork", "--kill-child", *ourselves],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await("Process 1", lambda: self.process.pid() is not None)

    def wire(self) -> None:
        """Its ends of the cables are up and where they belong; the bridge of libvirt need not be there yet."""
        into = ["nsenter", f"--net=/proc/{self.process.pid()}/ns/net", "--", "ip"]
        words = f"""link set {LAN_PORT} up
address add {self.management_address}/24 dev {MANAGEMENT_PORT}
link set {MANAGEMENT_PORT} up
"""
        links = json.loads(run([*into, "-json", "link", "show"]))
        if any(link["ifname"] == BRIDGE for link in links):
            words += f"link set {LAN_PORT} master {BRIDGE}\n"
        run([*into, "-batch", "-"], stdin=words)

    def settle(self) -> None:
        """Its libvirtd answers, its network and its pool are active."""
        self._await("libvirtd", self.answers)
        self._define_network()
        self._define_pool()

    def restart_daemon(self) -> None:
        """Its libvirtd was killed, and another one answers; guests and sshd were not touched."""
        for word in self.inside("pidof", "libvirtd").split():
            self.inside("kill", "-KILL", word)
        self._await("The end of libvirtd", lambda: not self._has_daemon())
        self.inside("libvirtd", "--daemon")
        self._await("libvirtd", self.answers)

    def _has_daemon(self) -> bool:
        return bool(self.inside("sh", "-c", "pidof libvirtd || true").strip())

    def virsh(self, *words: str, timeout_s: float = START_TIMEOUT_S) -> str:
        return run(["virsh", "--quiet", "--connect", self.uri, *words], timeout_s=timeout_s)

    def answers(self) -> bool:
        try:
            self.virsh("uri", timeout_s=ANSWER_TIMEOUT_S)
        except LabError:
            return False
        return True

    def enter(self, command: list[str]) -> int:
        """The exit status of `command`, run on the host with this terminal."""
        return subprocess.run([*self._into(), *command], check=False).returncode

    def inside(self, *command: str) -> str:
        """What `command` prints, run on the host with an environment of its own."""
        words = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return run([*self._into(), "env", "--ignore-environment", *words, *command])

    def _into(self) -> list[str]:
        pid = self.process.pid()
        if pid is None:
            raise LabError(f"{self.name} is down. Run: demo/lab start {self.name}")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/"]
        return ["nsenter", f"--target={pid}", *spaces, "--"]

    def run_as_process_1(self) -> None:
        """Called in the new namespaces: becomes the host and never returns."""
        # /proc is still the machine's: the one moment at which we can learn our number there.
        pid = int(Path("/proc/self").readlink().name)
        identity = identity_of(pid)
        _make_mounts_private()
        files = {self.root / file: Path("/etc", file) for file in self._files()}
        for ours, theirs in (self._folders | files).items():
            run(["mount", "--bind", ours, theirs])
        # Both show the namespaces of whoever mounted them: libvirt looks for br0 in /sys.
        run(["mount", "-t", "proc", "proc", "/proc"])
        run(["mount", "-t", "sysfs", "sysfs", "/sys"])
        if Path("/dev/kvm").exists():
            # A KVM that is advertised and hangs is worse than none, and the lab shall be the same everywhere.
            # A plain file on a read-only mount is what root cannot open for writing. With /dev/null in its
            # place libvirt believes in KVM and probes QEMU anew for each define: 7 s instead of 5 ms.
            (self.root / "no-kvm").touch()
            run(["mount", "--bind", self.root / "no-kvm", "/dev/kvm"])
            run(["mount", "-o", "remount,bind,ro", "/dev/kvm"])
        socket.sethostname(self.name)
        run(["ip", "link", "set", "lo", "up"])
        self.process.remember(identity)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not Path("/sys/class/net", MANAGEMENT_PORT).exists():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} got no cable in {START_TIMEOUT_S} s.")
            time.sleep(0.01)
        subprocess.Popen([SSHD, "-f", "/run/sshd/sshd_config", "-E", "/var/log/sshd.log"], env=ENVIRONMENT)
        subprocess.Popen(["libvirtd"], env=ENVIRONMENT)
        while True:  # guests outlive their daemon and become ours
            try:
                os.wait()
            except ChildProcessError:
                time.sleep(1)

    def _libvirtd_conf(self, owner_group: str | None) -> str:
        lines = [
            'auth_unix_rw = "none"',
            f'host_uuid = "{self.uuid}"',
            'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"',
            *([f'unix_sock_group = "{owner_group}"'] if owner_group else []),
            'unix_sock_rw_perms = "0770"',
        ]
        return "\n".join(lines) + "\n"

    def _files(self) -> dict[str, str]:
        """The files of /etc that are its own: name -> text. No password of the machine is among them."""
        peers = "".join(f"{host.management_address} {host.name}\n" for host in hosts_of(self.lab))
        return {
            "passwd": _joined("passwd", PASSWD),
            "group": _joined("group", GROUP),
            "shadow": SHADOW,
            "hosts": f"127.0.0.1 localhost\n{peers}",
        }

    def _await(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not look():
            if time.monotonic() > deadline:
                last_words = self.log.read_text(errors="replace").strip()[-800:] or "it said nothing"
                raise LabError(f"{what} of {self.name} was not there within {START_TIMEOUT_S} s: {last_words}")
            time.sleep(0.02)

    def _define_network(self) -> None:
        # mode='open' adds no firewall rules: there is nothing to protect in here, and it needs no iptables.
        # The bridge carries the host's own MAC and address, as on a real hypervisor. no-ping: else dnsmasq
        # waits 3 s for an answer from each address that it hands out for the first time. Option 3 is the router.
        self._define(
            "net",
            NETWORK,
            f"""<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>{NETWORK}</name>
  <uuid>{uuid.uuid5(uuid.UUID(self.uuid), NETWORK)}</uuid>
  <forward mode='open'/>
  <bridge name='{BRIDGE}' stp='off' delay='0'/>
  <mac address='{self.mac}'/>
  <ip address='{self.address}' prefix='24'>
    <dhcp><range start='10.77.0.{self.leases[0]}' end='10.77.0.{self.leases[1]}'/></dhcp>
  </ip>
  <dnsmasq:options>
    <dnsmasq:option value='no-ping'/>
    <dnsmasq:option value='dhcp-option=3,{GATEWAY}'/>
  </dnsmasq:options>
</network>""",
        )

    def _define_pool(self) -> None:
        self._define(
            "pool",
            POOL,
            f"""<pool type='dir'>
  <name>{POOL}</name>
  <uuid>{uuid.uuid5(uuid.UUID(self.uuid), POOL)}</uuid>
  <target><path>{POOL_PATH}</path></target>
</pool>""",
        )

    def _define(self, kind: str, name: str, xml: str) -> None:
        """The network or pool exists as `xml` says, starts with the daemon and is active now."""
        description = self.root / f"{kind}.xml"
        description.write_text(xml)
        self.virsh(f"{kind}-define", str(description))
        self.virsh(f"{kind}-autostart", name)
        if name not in self.virsh(f"{kind}-list", "--name").split():
            self.virsh(f"{kind}-start", name)


def hosts_of(lab: Path) -> tuple[Host, ...]:
    """The hosts of the lab in this folder."""
    return (
        Host(lab, "lab-a", 11, "52:54:00:10:00:0a", (100, 149)),
        Host(lab, "lab-b", 12, "52:54:00:10:00:0b", (150, 199)),
    )


def _joined(file: str, ours: dict[str, str]) -> str:
    """The machine's account file with our lines in it, each in the place of the machine's own if there is one."""
    lines = Path("/etc", file).read_text().splitlines()
    kept = [line for line in lines if line.partition(":")[0] not in ours]
    return "\n".join([*ours.values(), *kept]) + "\n"


def _make_mounts_private() -> None:
    """What is mounted from here on is seen by this host alone."""
    try:
        run(["mount", "--make-rprivate", "/"])
    except LabError:
        # In a chroot / is no mount point and cannot be made private. A copy of it can, and it hangs under
        # /proc, which is one: so nothing is ever seen, or left behind, outside.
        run(["mount", "--make-private", "/proc"])
        run(["mount", "--rbind", "/", "/proc/fs"])
        run(["mount", "--make-rprivate", "/proc/fs"])
        os.chroot("/proc/fs")
        os.chdir("/")
