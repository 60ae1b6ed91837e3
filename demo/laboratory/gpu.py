"""The lab's GPU host: a machine of QEMU's with an IOMMU and devices that its own guests get, passed through for real.

TCG emulates AMD's SVM, so the host inside has a working KVM, which VFIO needs. What it has: a display with its audio
function in one IOMMU group, a second display that makes mediated devices, an NVMe disk, a network card with SR-IOV.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from laboratory import gpu_image, gpu_qemu, secure_shell
from laboratory.errors import LabError, run
from laboratory.guest import pack_initrd
from laboratory.process import Process, identity_of

NAME = "gpu-a"
MAC = "52:54:00:10:00:1a"
ADDRESS = "10.79.0.11"
MEMORY_MIB = 2048
START_TIMEOUT_S = 300
MARKER = "quarterdeck marker on the disk"
"""What the first bytes of the NVMe disk say."""

CMDLINE = (
    "console=ttyS0 no_timer_check mitigations=off nowatchdog panic=5 tsc=reliable net.ifnames=0 intel_iommu=on quiet"
)
GUEST_CMDLINE = "console=ttyS0 no_timer_check mitigations=off nowatchdog tsc=reliable pcie_ports=compat quiet"
"""How a guest on this host boots in a bearable time."""


@dataclass(frozen=True, slots=True)
class GpuHost:
    """The GPU host of the lab in the folder `lab`."""

    lab: Path

    @property
    def root(self) -> Path:
        return self.lab / NAME

    @property
    def process(self) -> Process:
        return Process(self.root / "process.json", NAME)

    @property
    def host_key(self) -> Path:
        return self.root / "ssh/id_ed25519"

    @property
    def port(self) -> int:
        """Its SSH port on 127.0.0.1: the same for the life of its folder, since the inventory names it."""
        file = self.root / "port"
        if not file.exists():
            with socket.create_server(("127.0.0.1", 0)) as listener:
                file.write_text(str(listener.getsockname()[1]))
        return int(file.read_text())

    @property
    def uri(self) -> str:
        return f"qemu+ssh://root@127.0.0.1:{self.port}/system"

    @property
    def log(self) -> Path:
        """What its kernel and its process 1 say."""
        return self.root / "console.log"

    @property
    def known_hosts(self) -> Path:
        """Its key, for ssh."""
        return self.root / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.root / "inventory"

    def start(self, *, iommu: bool) -> None:
        """It is up, and its sshd and libvirtd answer. It must be down before. iommu: whether it has one."""
        self.root.mkdir(parents=True, exist_ok=True)
        secure_shell.make_key(self.host_key, NAME)
        with (self.root / "nvme.img").open("wb") as disk:
            disk.write(MARKER.encode())
            disk.truncate(16 * 1024 * 1024)
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {secure_shell.public_key(self.host_key)}\n")
        self._pack_keys()
        machine, again = self._boot(iommu), True
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            ended = machine.poll() is not None
            if ended and again:  # QEMU 10 has been seen to abort while it boots, once in fifteen times
                machine, again = self._boot(iommu), False
            elif ended or time.monotonic() > deadline:
                self.process.kill()
                words = (self._said.read_text(errors="replace") + self.log.read_text(errors="replace")).strip()[-800:]
                raise LabError(f"{NAME} did not come up: {words or 'it said nothing'}")
            time.sleep(0.5)

    def _boot(self, iommu: bool) -> subprocess.Popen[bytes]:
        with self._said.open("wb") as output:
            machine = subprocess.Popen(
                self._command(iommu), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.process.remember(identity_of(machine.pid))
        return machine

    @property
    def _said(self) -> Path:
        """What QEMU itself says."""
        return self.root / "qemu.log"

    def answers(self) -> bool:
        """Whether its libvirtd answers over SSH."""
        try:
            self.inside("virsh --quiet uri", timeout_s=20)
        except LabError:
            return False
        return True

    def inside(self, command: str, timeout_s: float = 120) -> str:
        """What a shell command prints on the host."""
        return run([*self.ssh(), command], timeout_s=timeout_s)

    def ssh(self) -> list[str | Path]:
        """The command that leads into it, with its key pinned."""
        options = [f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes", "ConnectTimeout=10", "LogLevel=ERROR"]
        identity = ["-i", secure_shell.identity(self.lab), "-o", "IdentitiesOnly=yes"]
        return [
            "ssh", "-F", "none", "-p", str(self.port), *identity,
            *(word for option in options for word in ("-o", option)), "root@127.0.0.1",
        ]  # fmt: skip

    def _pack_keys(self) -> None:
        """The initrd of this lab: the common one, and behind it an archive with the keys of this lab alone."""
        keys = self.root / "keys/keys"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "authorized_keys").write_text(secure_shell.public_key(secure_shell.identity(self.lab)) + "\n")
        shutil.copy(self.host_key, keys / "host_key")
        own = self.root / "keys.gz"
        pack_initrd(keys.parent, own)
        (self.root / "initrd.gz").write_bytes((gpu_image.BUILT / "initrd.gz").read_bytes() + own.read_bytes())
        own.unlink()
        shutil.rmtree(keys.parent)

    def _command(self, iommu: bool) -> list[str | Path]:
        built = gpu_image.BUILT
        # Nothing is reachable from inside: the one way in is the SSH port, on this machine's loopback.
        networks = [f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22", "user,id=spare,restrict=on"]
        devices = [
            "pcie-root-port,id=rp1,bus=pcie.0,chassis=1,slot=1,addr=0x1.0",
            "bochs-display,bus=rp1,addr=0.0,multifunction=on",
            "intel-hda,bus=rp1,addr=0.1",
            "pcie-root-port,id=rp2,bus=pcie.0,chassis=2,slot=2,addr=0x2.0",
            "secondary-vga,bus=rp2,addr=0.0",
            "pcie-root-port,id=rp3,bus=pcie.0,chassis=3,slot=3,addr=0x3.0",
            "nvme,serial=nv0,bus=rp3,drive=nv0",
            "pcie-root-port,id=rp4,bus=pcie.0,chassis=4,slot=4,addr=0x4.0",
            "igb,bus=rp4,netdev=spare,mac=52:54:00:99:00:01",
        ]
        return [
            *gpu_qemu.command(), "-name", f"{NAME},process={NAME}", "-nodefaults", "-no-user-config", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off",
            "-smp", str(min(4, os.cpu_count() or 1)), "-m", str(MEMORY_MIB),
            *(("-device", "intel-iommu,intremap=on,caching-mode=on") if iommu else ()),
            "-display", "none", "-vga", "none", "-serial", f"file:{self.log}",
            "-kernel", built / "vmlinuz", "-initrd", self.root / "initrd.gz", "-append", CMDLINE,
            "-drive", f"if=none,id=d0,file={built / 'disk.img'},format=raw,snapshot=on,cache=unsafe",
            "-device", "virtio-blk-pci,drive=d0,bus=pcie.0,addr=0x10",
            *(word for network in networks for word in ("-netdev", network)),
            "-device", "virtio-net-pci,netdev=n0,bus=pcie.0,addr=0x11,romfile=",
            "-device", "virtio-rng-pci,bus=pcie.0,addr=0x12",
            "-drive", f"if=none,id=nv0,file={self.root / 'nvme.img'},format=raw",
            *(word for device in devices for word in ("-device", device)),
        ]  # fmt: skip
