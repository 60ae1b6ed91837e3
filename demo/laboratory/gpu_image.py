"""The GPU host's disk: a small Debian with libvirtd, QEMU and sshd, and the kernel that it and its guests run."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from laboratory import gpu_parts, gpu_qemu
from laboratory.errors import LabError, run
from laboratory.guest import pack_initrd
from laboratory.host import POOL, POOL_PATH, QEMU_CONF
from laboratory.packages import CACHE, install_missing, kernel_package, load_order, missing_of, unpacked

BUILT = CACHE / "gpu"
"""`vmlinuz`, `initrd.gz` and `disk.img`; the disk is never written: each start has a layer of its own over it.
`recipe` tells from what they were built."""

RECIPE = ("gpu_image.py", "gpu_parts.py", "gpu-boot-init", "gpu-guest-init", "gpu-host-init")

BUILDERS = ("mmdebstrap", "e2fsprogs", "kmod", "busybox-static", "cpio", "qemu-system-x86", "openssh-client",
            *gpu_parts.BUILDERS)  # fmt: skip
"""What the machine needs for building and for running it."""

KERNEL = "linux-image-amd64"
"""The cloud kernel of the other hosts' guests has no VFIO."""

SUITES = ("bookworm", "trixie")
LIBVIRT = {"bookworm": (), "trixie": ("libvirt-daemon-driver-nodedev",)}
INSIDE = (
    "libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "openssh-server", "udev",
    "kmod", "iproute2", "pciutils", "busybox-static", "systemd-sysv", "systemd-container", "dbus", "socat",
)  # fmt: skip

BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
HOST_MODULES = (
    *BOOT_MODULES, "kvm-amd", "ccp", "virtio_net", "virtio_rng", "bochs", "snd_hda_intel", "snd_hda_codec_generic",
    "vfio", "vfio-pci", "vfio_iommu_type1", "mdev", "igb", "igbvf", "nvme", "vhost_net", "tun", "bridge", "loop",
    "button", "evdev",
)  # fmt: skip
GUEST_MODULES = ("virtio_pci", "virtio_balloon", "virtio_console", "virtio-rng", "snd_hda_intel", "nvme", "bochs",
                 "igbvf", "button", "evdev")  # fmt: skip

GUEST = "guest"
"""The folder on the GPU host with the kernel and the initrd of its guests."""

SSHD_CONF = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
"""

POOL_XML = f"""\
<pool type='dir'><name>{POOL}</name><target><path>{POOL_PATH}</path></target></pool>
"""

EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def suite() -> str:
    """Debian's name of the machine's release: the GPU host has the same, whose kernel this machine's apt knows."""
    name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if name not in SUITES:
        raise LabError(f"The GPU host is built from {' or '.join(SUITES)}, and this machine has {name or 'neither'}.")
    return name


def _recipe() -> str:
    files = (Path(__file__).parent / name for name in RECIPE)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_built() -> bool:
    recipe = BUILT / "recipe"
    return recipe.exists() and recipe.read_text() == _recipe()


def require() -> None:
    """All is there that the GPU host is run with; else LabError, with the command that helps."""
    suite()
    if missing_of(BUILDERS) or not _is_built() or gpu_qemu.is_missing():
        raise LabError("The GPU host is not built yet. Run: demo/lab gpu install (downloads 400 MB, needs 1.2 GB)")


def install() -> list[str]:
    """What the GPU host needs is installed and its disk is built; what was done, one sentence each."""
    release, done = suite(), []
    if added := install_missing(BUILDERS):
        done.append(f"installed {' '.join(added)}")
    if gpu_qemu.is_missing():
        gpu_qemu.unpack()
        done.append(f"unpacked a newer QEMU into {gpu_qemu.UNPACKED}")
    if not _is_built():
        BUILT.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT.parent) as scratch:
            _build(release, Path(scratch))
        done.append(f"built a {release} host into {BUILT}")
    return done


def _build(release: str, scratch: Path) -> None:
    tree, ready = scratch / "tree", scratch / "ready"
    scratch.chmod(0o755)  # apt inside runs as a user of its own
    ready.mkdir()
    packages = ",".join((*INSIDE, *LIBVIRT[release]))
    # Recommended packages would bring what the hosts never use; the hooks of an init system would start it all.
    run([
        "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=directory",
        "--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"",
        *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED), f"--include={packages}", release, tree,
    ])  # fmt: skip
    with unpacked(kernel_package(KERNEL)) as kernel:
        (vmlinuz,) = (kernel / "boot").glob("vmlinuz-*")
        version = vmlinuz.name.removeprefix("vmlinuz-")
        run(["depmod", "-b", kernel, version])
        gpu_parts.build_driver(version, tree / "usr/lib/modules" / version / "extra")
        _give_modules(kernel, version, tree)
        (tree / GUEST).mkdir()
        shutil.copy(vmlinuz, tree / GUEST / "vmlinuz")
        _make_initrd("gpu-guest-init", load_order(kernel, version, GUEST_MODULES), tree / GUEST / "initrd.gz")
        _make_initrd("gpu-boot-init", load_order(kernel, version, BOOT_MODULES), ready / "initrd.gz")
        shutil.copy(vmlinuz, ready / "vmlinuz")
    _configure(tree)
    disk = ready / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1500 * 1024 * 1024)
    run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", tree, disk])
    (ready / "recipe").write_text(_recipe())
    shutil.rmtree(BUILT, ignore_errors=True)
    ready.rename(BUILT)


def _give_modules(kernel: Path, version: str, tree: Path) -> None:
    """The tree has HOST_MODULES and what they need, and nothing else of the kernel."""
    source, target = kernel / "lib/modules" / version, tree / "usr/lib/modules" / version
    lists = [source / name for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order")]
    for file in (*lists, *load_order(kernel, version, HOST_MODULES)):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    run(["depmod", "-b", tree, version])


def _make_initrd(init: str, modules: Iterable[Path], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        root = Path(scratch) / "root"
        (root / "bin").mkdir(parents=True)
        (root / "modules").mkdir()
        (root / "init").write_bytes((Path(__file__).parent / init).read_bytes())
        (root / "init").chmod(0o755)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for place, module in enumerate(modules):
            name = f"{place:02}-{module.name}"
            if module.suffix == ".xz":
                unpacked_module = subprocess.run(["xz", "-dc", module], capture_output=True, check=True).stdout
                (root / "modules" / name.removesuffix(".xz")).write_bytes(unpacked_module)
            else:
                shutil.copy(module, root / "modules" / name)
        pack_initrd(root, target)


def _configure(tree: Path) -> None:
    for folder in ("var/empty", "var/log/libvirt/qemu", "etc/libvirt/storage/autostart", POOL_PATH.relative_to("/")):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for file in (tree / "etc/ssh").glob("ssh_host_*"):
        file.unlink()
    (tree / "etc/ssh/sshd_config").write_text(SSHD_CONF)
    (tree / "etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    (tree / "etc/libvirt/libvirtd.conf").write_text('auth_unix_rw = "none"\n')
    (tree / f"etc/libvirt/storage/{POOL}.xml").write_text(POOL_XML)
    (tree / f"etc/libvirt/storage/autostart/{POOL}.xml").symlink_to(f"/etc/libvirt/storage/{POOL}.xml")
    init = tree / "sbin/quarterdeck-host"
    init.write_bytes((Path(__file__).parent / "gpu-host-init").read_bytes())
    init.chmod(0o755)
    if "libvirt-qemu:" not in (tree / "etc/passwd").read_text():
        # Debian's libvirtd refuses to start without; the package that makes it also brings an init system's units.
        run(["chroot", tree, "groupadd", "--gid", "64055", "libvirt-qemu"])
        run([
            "chroot", tree, "useradd", "--uid", "64055", "--gid", "64055", "--home-dir", "/var/lib/libvirt",
            "--shell", "/usr/sbin/nologin", "libvirt-qemu",
        ])  # fmt: skip
    shutil.rmtree(tree / "var/lib/apt/lists")
    shutil.rmtree(tree / "var/cache/apt")
