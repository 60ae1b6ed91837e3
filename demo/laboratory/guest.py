"""The guest: a kernel and an initrd as files, and the same two as a bootable disk and a bootable CD."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path

from laboratory.errors import LabError, run
from laboratory.packages import KERNEL

CMDLINE = "console=ttyS0 no_timer_check quiet"
"""no_timer_check: under TCG on a busy machine the kernel's timer test fails and the guest panics."""

IMAGES = ("tiny.iso", "tiny.qcow2")

GRUB = f"""\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry "Quarterdeck guest" {{
    linux /boot/vmlinuz {CMDLINE}
    initrd /boot/initrd.gz
}}
"""


def make_boot_files(boot: Path) -> None:
    """`vmlinuz` and `initrd.gz` are in `boot`; files that are there are kept."""
    boot.mkdir(parents=True, exist_ok=True)
    if not (boot / "vmlinuz").exists():
        shutil.copy(KERNEL / "vmlinuz", boot / "vmlinuz")
    if not (boot / "initrd.gz").exists():
        _write_initrd(boot / "initrd.gz")


def make_images(boot: Path) -> None:
    """`tiny.iso` and `tiny.qcow2` are in `boot`; both boot under BIOS and UEFI and speak on ttyS0."""
    iso, disk = (boot / name for name in IMAGES)
    if iso.exists() and disk.exists():
        return
    with tempfile.TemporaryDirectory(dir=boot) as scratch:
        tree = Path(scratch) / "tree"
        (tree / "boot/grub").mkdir(parents=True)
        (tree / "boot/grub/grub.cfg").write_text(GRUB)
        for name in ("vmlinuz", "initrd.gz"):
            shutil.copy(boot / name, tree / "boot" / name)
        made = Path(scratch) / "tiny.iso"
        # The result is a CD and, at the same time, a disk with a partition table: one file serves both.
        run(["grub-mkrescue", "-o", made, tree, "--", "-volid", "QUARTERDECK"])
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", made, Path(scratch) / "tiny.qcow2"])
        (Path(scratch) / "tiny.qcow2").rename(disk)
        made.rename(iso)


def give_images(boot: Path, pool: Path) -> None:
    """`pool` has the images. Those that are there are kept: guests may have overlays on them."""
    pool.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        if not (pool / name).exists():
            run(["cp", "--reflink=auto", boot / name, pool / f".{name}.new"])
            (pool / f".{name}.new").rename(pool / name)


def _write_initrd(initrd: Path) -> None:
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(dir=initrd.parent) as scratch:
        root = Path(scratch) / "root"
        (root / "bin").mkdir(parents=True)
        for source, target in (("guest-init", "init"), ("guest-dhcp", "dhcp")):
            (root / target).write_bytes((here / source).read_bytes())
            (root / target).chmod(0o755)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        shutil.copytree(KERNEL / "modules", root / "modules")
        pack_initrd(root, initrd)


def pack_initrd(root: Path, initrd: Path) -> None:
    """`initrd` is the archive of all that lies in `root`, as a kernel unpacks it; root owns everything in it."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    archive = subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"],
        cwd=root, input="\n".join(names).encode() + b"\n", capture_output=True, check=False,
    )  # fmt: skip
    if archive.returncode:
        reason = archive.stderr.decode(errors="replace").strip()
        raise LabError(f"cpio could not pack {initrd.name}: {reason}")
    packed = initrd.with_name(f".{initrd.name}.new")
    packed.write_bytes(gzip.compress(archive.stdout, 6, mtime=0))
    packed.rename(initrd)
