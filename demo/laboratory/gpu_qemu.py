"""The QEMU that the GPU host is a machine of: the first with a card of virtual functions is 8.

Where the machine's own is older, Debian's newer one is unpacked beside it, with its libraries, and never installed.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from laboratory.errors import run
from laboratory.packages import CACHE

QEMU = "qemu-system-x86_64"
NEEDED = 8
PACKAGE, SUITE = "qemu-system-x86", "trixie"
UNPACKED = CACHE / "qemu"


def is_missing() -> bool:
    """Whether the machine's own is too old and no newer one was unpacked."""
    return _own_is_old() and not UNPACKED.exists()


def unpack() -> None:
    """A newer one is there, checked by apt's signatures as everything from Debian."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        Path(scratch).chmod(0o755)  # apt inside runs as a user of its own
        tree = Path(scratch) / "tree"
        run([
            "mmdebstrap", "--quiet", "--variant=extract", "--mode=root", "--format=directory",
            "--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"",
            f"--include={PACKAGE}", SUITE, tree,
        ])  # fmt: skip
        tree.rename(UNPACKED)


def command() -> list[str | Path]:
    """The words that run it."""
    if not _own_is_old():
        return [QEMU]
    libraries, data = UNPACKED / "usr/lib/x86_64-linux-gnu", UNPACKED / "usr/share"
    loader = [UNPACKED / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    firmware = [data / "qemu", data / "seabios", UNPACKED / "usr/lib/ipxe/qemu"]
    return [
        "env", f"QEMU_MODULE_DIR={libraries / 'qemu'}", *loader, UNPACKED / "usr/bin" / QEMU,
        *(word for folder in firmware for word in ("-L", folder)),
    ]  # fmt: skip


def _own_is_old() -> bool:
    found = re.search(r"version (\d+)", run([QEMU, "--version"]))
    return found is None or int(found[1]) < NEEDED
