"""The lab and its guests, for the lab's own tests: libvirt XML of their own, and what to wait for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import libvirt

LAB_COMMAND = Path(__file__).parents[2] / "demo/lab"
BOOTED = "quarterdeck guest booted: "
T = TypeVar("T")


def lab_command(command: str, folder: Path, *words: str) -> str:
    """The output of `demo/lab COMMAND`; the test fails with the command's own words when it failed."""
    call = [LAB_COMMAND, command, "--dir", folder, *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"demo/lab {command}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Lab:
    """A lab that is up.

    `uris` and `ssh_uris` are reachable from here, by a host's name; `uri` is that of the first host. Kernel and initrd
    are the same inside and outside; `pool_path` is a folder of each host's own. `agent` is QEMU's guest agent.
    """

    dir: Path
    uri: str
    inventory: Path
    kernel: Path
    initrd: Path
    cmdline: str
    pool_path: Path
    identity: Path
    hosts: tuple[str, ...]
    uris: Mapping[str, str]
    ssh_uris: Mapping[str, str]
    host_keys: Mapping[str, str]
    agent: Path | None

    @staticmethod
    def of(folder: Path) -> Lab:
        known = dict(line.split(" ", 1) for line in lab_command("paths", folder).splitlines())
        hosts = tuple(known["hosts"].split())
        return Lab(
            dir=Path(known["dir"]),
            uri=known["uri"],
            inventory=Path(known["inventory"]),
            kernel=Path(known["kernel"]),
            initrd=Path(known["initrd"]),
            cmdline=known["cmdline"],
            pool_path=Path(known["pool_path"]),
            identity=Path(known["identity"]),
            hosts=hosts,
            uris={host: known[f"{host}.uri"] for host in hosts},
            ssh_uris={host: known[f"{host}.ssh_uri"] for host in hosts},
            host_keys={host: known[f"{host}.host_key"] for host in hosts},
            agent=Path(known["agent"]) if "agent" in known else None,
        )


def eventually(look: Callable[[], T | None], what: str, timeout_s: float = 60) -> T:
    """The first true answer of `look`, asked until `timeout_s` has passed."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)


def domain_xml(name: str, *, mac: str, log: Path, os: str, disk: str = "", uefi: bool = False) -> str:
    """A q35 guest with one vCPU and a network card in `lan`; its serial console is also written to `log`.

    256 MiB under UEFI: with 192 GRUB has no room for the kernel.
    """
    ports = "<controller type='pci' model='pcie-root-port'/>" * 8
    # Without the second line libvirt chooses a firmware that starts signed systems only.
    firmware = " firmware='efi'" if uefi else ""
    unsigned = "<firmware><feature enabled='no' name='secure-boot'/></firmware>" if uefi else ""
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{256 if uefi else 128}</memory>
  <vcpu>1</vcpu>
  <os{firmware}><type arch='x86_64' machine='q35'>hvm</type>{unsigned}{os}</os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <controller type='pci' model='pcie-root'/>{ports}
    <controller type='usb' model='none'/>
    {disk}
    <interface type='network'><mac address='{mac}'/><source network='lan'/><model type='virtio'/></interface>
    <serial type='pty'><log file='{log}' append='off'/><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <video><model type='none'/></video>
  </devices>
</domain>"""


def kernel_boot(lab: Lab, words: str) -> str:
    """The <os> elements that start the lab's guest with these words for it, like `qd.burn=1`."""
    return (
        f"<kernel>{lab.kernel}</kernel><initrd>{lab.initrd}</initrd>"
        f"<cmdline>{lab.cmdline} {words}</cmdline>"
    )  # fmt: skip


def overlay_disk(lab: Lab, connection: libvirt.virConnect, name: str) -> str:
    """The <disk> of a new volume on top of tiny.qcow2."""
    volume = connection.storagePoolLookupByName("default").createXML(f"""<volume>
  <name>{name}</name><capacity unit='MiB'>64</capacity>
  <target><format type='qcow2'/></target>
  <backingStore><path>{lab.pool_path}/tiny.qcow2</path><format type='qcow2'/></backingStore>
</volume>""")
    return f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
  <source file='{volume.path()}'/><target dev='vda' bus='virtio'/></disk>"""


def cdrom(lab: Lab) -> str:
    return f"""<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
  <source file='{lab.pool_path}/tiny.iso'/><target dev='sda' bus='sata'/><readonly/></disk>"""


def booted_line(log: Path) -> str:
    """The words of the guest's booted line, once it stands in the log of its serial console."""

    def look() -> str | None:
        text = log.read_text(errors="replace") if log.exists() else ""
        complete = text[: text.rfind("\n") + 1].splitlines()
        return next((line.partition(BOOTED)[2] for line in complete if BOOTED in line), None)

    return eventually(look, f"{log.name}: the guest boots", 90)


def started(
    lab: Lab, connection: libvirt.virConnect, name: str, os: str, number: int, disk: str = "", uefi: bool = False
) -> tuple[libvirt.virDomain, Path]:
    """The guest, defined and started, and the log of its serial console. `number` makes its MAC unique."""
    log = lab.dir / f"{name}.log"
    mac = f"52:54:00:77:00:{number:02x}"
    domain = connection.defineXML(domain_xml(name, mac=mac, log=log, os=os, disk=disk, uefi=uefi))
    domain.create()
    return domain, log
