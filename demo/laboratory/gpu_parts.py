"""What parts a card of the GPU host: the kernel's sample of a driver that makes mediated devices, built for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from laboratory.errors import LabError, run
from laboratory.packages import depends_of, unpacked

BUILDERS = ("gcc", "make", "xz-utils")
DRIVER = "mbochs"
"""Its mediated devices are small displays, of three kinds that share 256 MiB."""

PARENT = "mdev_register_parent(&mbochs_parent, &mbochs_dev,"
CARD = "pci_get_domain_bus_and_slot(0, 2, 0)"
"""The second display: the sample has a parent that is on no bus, where a vendor's driver has its card."""


def build_driver(kernel: str, target: Path) -> None:
    """`target` has the driver for the kernel of this version, as it stands below /lib/modules."""
    sources = f"linux-source-{'.'.join(kernel.split('.')[:2])}"
    headers = f"linux-headers-{kernel}"
    depends = depends_of(headers)
    (common,) = (name for name in depends if name.startswith("linux-headers-"))
    (kbuild,) = (name for name in depends if name.startswith("linux-kbuild-"))
    with unpacked(sources, headers, common, kbuild) as root:
        folder = Path(sources) / "samples/vfio-mdev"
        run(["tar", "-xJf", root / f"usr/src/{sources}.tar.xz", "-C", root, folder])
        code = root / folder / f"{DRIVER}.c"
        if PARENT not in (text := code.read_text()):
            raise LabError(f"{DRIVER}.c of {sources} is not what it was: it registers its parent in another way.")
        code.write_text(text.replace(PARENT, PARENT.replace("&mbochs_dev", f"&{CARD}->dev")))
        # Its own Makefile would look for the others below /usr/src.
        run([
            "make", "-C", root / "usr/src" / headers, "-f", root / "usr/src" / common / "Makefile",
            f"M={code.parent}", "CONFIG_SAMPLE_VFIO_MDEV_MBOCHS=m", "modules",
        ])  # fmt: skip
        run(["strip", "--strip-debug", code.with_suffix(".ko")])
        target.mkdir(parents=True)
        shutil.copy(code.with_suffix(".ko"), target)
