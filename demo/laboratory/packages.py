"""What the lab needs from Debian: packages on the machine, and a kernel that is only unpacked."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from laboratory.errors import LabError, run

# libvirt-daemon-system and openssh-server are left out on purpose: they would start daemons for the whole machine.
PACKAGES = (
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    "swtpm",
    "swtpm-tools",
    "dnsmasq-base",
    "busybox-static",
    "cpio",
    "kmod",
    "iproute2",
    "libwrap0",
    "mount",
    "nftables",
    "openssh-client",
    "git",
    "grub-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "mtools",
    "xorriso",
)
KERNEL_PACKAGE = "linux-image-cloud-amd64"
CACHE = Path("/var/cache/quarterdeck-lab")
KERNEL = CACHE / "kernel"
"""`vmlinuz` and `modules/NN-NAME.ko` in the order in which a guest loads them."""

SSHD = CACHE / "sshd"
"""openssh-server's program, and nothing else of it."""

AGENT = CACHE / "qemu-ga"
"""qemu-guest-agent's program, and nothing else of it: for guests that are asked through it."""

GUEST_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_console", "virtio-rng",
                 "evdev", "button")  # fmt: skip


def apt_get(*words: str) -> list[str]:
    """An apt-get command; the download sandbox is off since it cannot write into root's folders."""
    return ["apt-get", "-q", "-y", "-o", "APT::Sandbox::User=root", *words]


def install_line(packages: list[str]) -> str:
    return "apt-get install --no-install-recommends " + " ".join(packages)


def missing_of(packages: Iterable[str]) -> list[str]:
    """Those packages that dpkg does not have installed, in their order."""
    if not shutil.which("dpkg-query"):
        raise LabError("The lab is built from Debian's packages, and there is no dpkg here. Use Debian 12.")
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # 1 when one is unknown
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def require() -> None:
    """Nothing is missing and namespaces can be made; else LabError, with the exact command that helps."""
    run(["unshare", "--mount", "--propagation=unchanged", "--uts", "--ipc", "--net", "--pid", "--fork", "true"])
    if missing := missing_of(PACKAGES):
        raise LabError(f"Debian packages are missing. Run: demo/lab install\n  or: {install_line(missing)}")
    if not (KERNEL / "vmlinuz").exists():
        raise LabError("The guests' kernel is missing. Run: demo/lab install (26 MB, is only unpacked)")
    if not SSHD.exists():
        raise LabError("The hosts' sshd is missing. Run: demo/lab install (0.5 MB, is only unpacked)")


def install() -> list[str]:
    """All PACKAGES are installed and the kernel is unpacked; what was done, one sentence each."""
    done = []
    if missing := install_missing(PACKAGES):
        done.append(f"installed {' '.join(missing)}")
    if not (KERNEL / "vmlinuz").exists():
        done.append(f"unpacked {_unpack_kernel()} into {KERNEL}")
    for program, package in ((SSHD, "openssh-server"), (AGENT, "qemu-guest-agent")):
        if not program.exists():
            with unpacked(package) as root:
                shutil.copy(root / "usr/sbin" / program.name, program.with_suffix(".new"))
                program.with_suffix(".new").rename(program)
            done.append(f"took {program} from {package}")
    return done


def install_missing(packages: Iterable[str]) -> list[str]:
    """All these packages are installed; those that were not."""
    if missing := missing_of(packages):
        _apt(apt_get("update"))
        _apt(apt_get("install", "--no-install-recommends", *missing))
    return missing


def _apt(command: list[str]) -> None:
    # Its progress is the operator's to see; its service starts are harmless: none of PACKAGES has a daemon.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        raise LabError(f"`{' '.join(command)}` failed; its reason stands above.")


def kernel_package(newest: str) -> str:
    """The name of the kernel package that Debian's package for the newest one of a kind stands for."""
    _apt(apt_get("update"))  # an old list names a kernel that the mirror has replaced
    names = [name for name in depends_of(newest) if name.startswith("linux-image-")]
    if not names:
        raise LabError(f"{newest} depends on no kernel here. Is this Debian for amd64?")
    return names[0]


def depends_of(package: str) -> list[str]:
    """The names of the packages that a package depends on."""
    lines = run(["apt-cache", "depends", "--important", package]).splitlines()
    return [line.split()[-1] for line in lines if "Depends:" in line]


def _unpack_kernel() -> str:
    """KERNEL is filled from Debian's current cloud kernel; its package name."""
    package = kernel_package(KERNEL_PACKAGE)
    with unpacked(package) as root:
        ready = root.parent / "ready"
        (ready / "modules").mkdir(parents=True)
        (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
        version = vmlinuz.name.removeprefix("vmlinuz-")
        run(["depmod", "-b", root, version])
        for place, module in enumerate(load_order(root, version, GUEST_MODULES)):
            shutil.copy(module, ready / "modules" / f"{place:02}-{module.name}")
        shutil.copy(vmlinuz, ready / "vmlinuz")
        shutil.rmtree(KERNEL, ignore_errors=True)
        ready.rename(KERNEL)
    return package


@contextlib.contextmanager
def unpacked(*packages: str) -> Iterator[Path]:
    """A folder with the files of these Debian packages, on the file system of CACHE; nothing is installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        work = Path(scratch)
        run(apt_get("download", *packages), cwd=work)
        for file in work.glob("*.deb"):
            run(["dpkg-deb", "-x", file, work / "root"])
        yield work / "root"


def load_order(root: Path, version: str, modules: Iterable[str]) -> list[Path]:
    """The files of these modules and of what they need, each after what it needs."""
    order: dict[Path, None] = {}
    for module in modules:
        plan = run(["modprobe", "--show-depends", "-d", root, "-S", version, module])
        for line in plan.splitlines():
            if line.startswith("insmod "):
                order[Path(line.split()[1])] = None
    return list(order)
