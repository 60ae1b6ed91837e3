"""The scripts that the Nix library carries into machines, run for real: on trees made here, with stubs in PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "nix" / "scripts"
SHELLS = [shell for shell in (["sh"], ["bash"], ["busybox", "ash"]) if shutil.which(shell[0])]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH host"


def run(
    *words: str | Path, env: Mapping[str, str | Path] | None = None, text: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **{key: str(value) for key, value in (env or {}).items()}}
    return subprocess.run(words, env=environment, input=text, capture_output=True, text=True, check=False, cwd=cwd)


def write(path: Path, text: str = "", *, mode: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mode is not None:
        path.chmod(mode)
    return path


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


# The hardware report

CPU = """\
processor\t: {0}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz
physical id\t: {1}
core id\t\t: {2}
flags\t\t: fpu vme vmx sse
"""


def workstation(root: Path) -> None:
    """A machine with two CPUs, an NVMe disk, a disk behind a controller, a card of two functions and a bridge."""
    cpus = ((0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 0, 0), (5, 0, 1), (6, 1, 0), (7, 1, 1))
    write(root / "proc/cpuinfo", "\n".join(CPU.format(*cpu) for cpu in cpus))
    write(root / "proc/meminfo", "MemTotal:       197600000 kB\nMemFree:        1000 kB\n")
    (root / "sys/firmware/efi").mkdir(parents=True)
    write(root / "sys/class/dmi/id/sys_vendor", "Dell Inc.\n")
    write(root / "sys/class/dmi/id/product_name", "Precision 7920 Tower\n")
    write(root / "sys/block/nvme0n1/size", "2000409264\n")
    write(root / "sys/block/nvme0n1/device/model", 'Samsung "SSD" 970 \\ EVO\x07\x1b[31m \n')
    write(root / "sys/block/nvme0n1/device/serial", "S5H7NS0N\n")
    write(root / "sys/block/nvme0n1/queue/rotational", "0\n")
    write(root / "sys/block/sda/size", "7814037168\n")
    write(root / "sys/block/sda/queue/rotational", "1\n")
    for ignored in ("loop0", "dm-0", "sr0", "zram0"):
        write(root / "sys/block" / ignored / "size", "4096\n")
    by_id = root / "dev/disk/by-id"
    link(by_id / "nvme-eui.0025385b", "../../nvme0n1")
    link(by_id / "nvme-Samsung_SSD_970_S5H7NS0N", "../../nvme0n1")
    link(by_id / "nvme-Samsung_SSD_970_S5H7NS0N-part1", "../../nvme0n1p1")
    link(by_id / "wwn-0x5000c500a", "../../sda")
    functions = {
        "0000:65:00.0": ("0x10de", "0x2206", "0x030000", "nouveau"),
        "0000:65:00.1": ("0x10de", "0x1aef", "0x040300", None),
        "0000:17:00.0": ("0x8086", "0x1572", "0x020000", "i40e"),
    }
    for address, (vendor, device, kind, driver) in functions.items():
        folder = root / "sys/bus/pci/devices" / address
        write(folder / "vendor", f"{vendor}\n")
        write(folder / "device", f"{device}\n")
        write(folder / "class", f"{kind}\n")
        if driver:
            link(folder / "driver", f"../../../drivers/{driver}")
        link(folder / "iommu_group", f"../../../../kernel/iommu_groups/{41 if '65' in address else 7}")
    write(root / "sys/bus/pci/devices/0000:65:00.0/boot_vga", "1\n")
    write(root / "sys/class/net/enp23s0/address", "24:6e:96:00:00:0a\n")
    write(root / "sys/class/net/enp23s0/carrier", "1\n")
    link(root / "sys/class/net/enp23s0/device", "../../../bus/pci/devices/0000:17:00.0")
    write(root / "sys/class/net/lo/address", "00:00:00:00:00:00\n")
    write(root / "sys/class/net/br0/address", "24:6e:96:00:00:0a\n")
    write(root / "etc/ssh/ssh_host_ed25519_key.pub", f"{KEY}\n")


def report(root: Path | None, shell: list[str]) -> dict[str, Any]:
    done = run(*shell, SCRIPTS / "hardware-report.sh", env={"ROOT": root} if root else {})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_report_of_a_workstation(tmp_path: Path, shell: list[str]) -> None:
    workstation(tmp_path)
    found = report(tmp_path, shell)
    assert found["firmware"] == "uefi"
    assert found["machine"] == {"vendor": "Dell Inc.", "product": "Precision 7920 Tower", "serial": None}
    assert found["cpu"] == {
        "model": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
        "vendor": "GenuineIntel",
        "sockets": 2,
        "cores": 4,
        "threads": 8,
        "virtualization": "vmx",
    }
    assert found["memory_kib"] == 197600000
    # A name that says which disk it is comes before one that only tells it from others; partitions are no disks.
    assert [(disk["name"], disk["bytes"], disk["rotational"], disk["by_id"]) for disk in found["disks"]] == [
        (
            "nvme0n1",
            2000409264 * 512,
            False,
            ["/dev/disk/by-id/nvme-Samsung_SSD_970_S5H7NS0N", "/dev/disk/by-id/nvme-eui.0025385b"],
        ),
        ("sda", 7814037168 * 512, True, ["/dev/disk/by-id/wwn-0x5000c500a"]),
    ]
    assert found["disks"][0]["model"] == 'Samsung "SSD" 970 \\ EVO[31m'
    assert found["nics"] == [
        {"name": "enp23s0", "mac": "24:6e:96:00:00:0a", "link": True, "driver": "i40e", "pci": "0000:17:00.0"}
    ]
    assert [(card["address"], card["id"], card["driver"], card["iommu_group"]) for card in found["pci"]] == [
        ("0000:17:00.0", "8086:1572", "i40e", 7),
        ("0000:65:00.0", "10de:2206", "nouveau", 41),
        ("0000:65:00.1", "10de:1aef", None, 41),
    ]
    assert [card["boot_vga"] for card in found["pci"]] == [None, True, None]
    assert found["ssh_host_key"] == KEY


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_report_of_this_machine_agrees_with_its_kernel(shell: list[str]) -> None:
    found = report(None, shell)
    assert found["architecture"] == os.uname().machine
    assert found["cpu"]["threads"] == Path("/proc/cpuinfo").read_text().count("processor\t:")
    assert ["MemTotal:", str(found["memory_kib"]), "kB"] == Path("/proc/meminfo").read_text().splitlines()[0].split()
    functions = sorted(path.name for path in Path("/sys/bus/pci/devices").glob("*"))
    assert [card["address"] for card in found["pci"]] == functions
    for nic in found["nics"]:
        assert (Path("/sys/class/net") / nic["name"] / "address").read_text().strip() == nic["mac"]


def test_a_report_of_a_machine_that_says_nothing_is_still_json(tmp_path: Path) -> None:
    write(tmp_path / "proc/cpuinfo")
    write(tmp_path / "proc/meminfo")
    found = report(tmp_path, ["sh"])
    assert (found["memory_kib"], found["disks"], found["nics"], found["pci"]) == (None, [], [], [])
    assert found["firmware"] == "bios"


# The keys of the second initrd archive

CALL = """\
FROM={0}/ssh INTO={0}/root CMDLINE={0}/cmdline
lost() {{ echo rebooting; }}
. {1}
hand_keys
"""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_handed_keys_are_put_in_place_and_kept_from_others(tmp_path: Path, shell: list[str]) -> None:
    write(tmp_path / "cmdline", "init=/x fleet.keys=handed quiet\n")
    write(tmp_path / "ssh/authorized_keys", f"{KEY}\n", mode=0o644)
    write(tmp_path / "ssh/ssh_host_ed25519_key", "private\n", mode=0o644)
    write(tmp_path / "ssh/ssh_host_ed25519_key.pub", f"{KEY}\n")
    (tmp_path / "root").mkdir()
    done = run(*shell, "-c", CALL.format(tmp_path, SCRIPTS / "handed-keys.sh"))
    assert done.returncode == 0, done.stderr
    assert "rebooting" not in done.stdout
    private = tmp_path / "root/etc/ssh/ssh_host_ed25519_key"
    keys = tmp_path / "root/root/.ssh/authorized_keys"
    assert (private.read_text(), keys.read_text()) == ("private\n", f"{KEY}\n")
    assert {oct(path.stat().st_mode & 0o777) for path in (private, keys)} == {"0o600"}
    assert keys.parent.stat().st_mode & 0o777 == 0o700
    # The private key is nowhere but where it belongs.
    assert list((tmp_path / "ssh").iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("cmdline", "lost"), [("init=/x fleet.keys=handed", True), ("init=/x", False), ("xfleet.keys=handed", False)]
)
def test_keys_that_were_promised_and_lost_stop_the_start(
    tmp_path: Path, shell: list[str], cmdline: str, lost: bool
) -> None:
    write(tmp_path / "cmdline", f"{cmdline}\n")
    (tmp_path / "root").mkdir()
    done = run(*shell, "-c", CALL.format(tmp_path, SCRIPTS / "handed-keys.sh"))
    assert ("rebooting" in done.stdout, done.returncode != 0) == (lost, lost)
    assert ("lost on the way" in done.stderr) is lost
    assert list((tmp_path / "root").iterdir()) == []


# First boot


class Guest:
    """A guest at its first boot: nixos-rebuild and systemctl are stubs that say that they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        for name in ("base", "own"):
            (folder / name).mkdir(parents=True)
        self.boot("base")
        write(folder / "etc/configuration.nix", "{ }")
        write(folder / "etc/hosts/self/default.nix", "{ }")
        self.rebuild("own")
        write(folder / "bin/systemctl", f'#!/bin/sh\necho "$@" >> {folder}/systemctl\n', mode=0o755)

    def boot(self, system: str) -> None:
        (self.folder / "current").unlink(missing_ok=True)
        (self.folder / "current").symlink_to(self.folder / system)

    def rebuild(self, system: str | None) -> None:
        """What nixos-rebuild builds from now on; None: it fails."""
        act = (
            f"ln -sfn {self.folder / system} {self.folder}/profile" if system else "echo error: no network >&2; exit 1"
        )
        write(self.folder / "bin/nixos-rebuild", f'#!/bin/sh\necho "$@" >> {self.folder}/rebuild\n{act}\n', mode=0o755)

    def start(self) -> tuple[int, str]:
        """Start the machine once; the exit status of the service, and the state that it left."""
        done = run(
            "sh",
            SCRIPTS / "first-boot.sh",
            env={
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "STATE": self.state,
                "CONFIGURATION": self.folder / "etc",
                "CURRENT_SYSTEM": self.folder / "current",
                "PROFILE": self.folder / "profile",
            },
        )
        self.said = done.stdout
        return done.returncode, (self.state / "state").read_text().strip()

    def calls(self, program: str) -> list[str]:
        path = self.folder / program
        return path.read_text().splitlines() if path.exists() else []


def test_first_boot_builds_reboots_once_and_is_done(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    assert guest.start() == (0, f"rebooting: into {tmp_path}/own")
    assert (guest.calls("rebuild"), guest.calls("systemctl")) == (["boot"], ["reboot"])
    guest.boot("own")
    assert guest.start() == (0, f"done: {tmp_path}/own runs")
    for _ in range(2):
        assert guest.start() == (0, f"done: {tmp_path}/own runs")
    assert (guest.calls("rebuild"), guest.calls("systemctl")) == (["boot"], ["reboot"])


def test_a_failed_build_is_seen_and_tried_again_at_the_next_start(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.rebuild(None)
    status, state = guest.start()
    assert (status, state) == (1, "failed: nixos-rebuild boot failed: error: no network")
    assert "error: no network" in guest.said
    assert guest.calls("systemctl") == []
    guest.rebuild("own")
    assert guest.start() == (0, f"rebooting: into {tmp_path}/own")


def test_a_build_that_goes_on_failing_is_given_up(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.rebuild(None)
    for _ in range(3):
        assert guest.start()[0] == 1
    status, state = guest.start()
    assert (status, state.startswith("failed: it was tried 3 times.")) == (1, True)
    assert len(guest.calls("rebuild")) == 3


def test_a_reboot_that_does_not_start_what_was_built_makes_no_loop(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.start()
    status, state = guest.start()
    assert status == 1
    assert state.startswith(f"failed: {tmp_path}/own was built, and {tmp_path}/base was started.")
    assert guest.calls("systemctl") == ["reboot"]
    guest.boot("own")
    assert guest.start() == (0, f"done: {tmp_path}/own runs")


def test_without_its_disks_it_says_which_file_is_missing(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    (tmp_path / "etc/hosts/self/default.nix").unlink()
    status, state = guest.start()
    assert status == 1
    assert (
        state
        == f"failed: there is no {tmp_path}/etc/hosts/self/default.nix. Is the read-only disk that holds it attached?"
    )
    assert guest.calls("rebuild") == []


def test_a_power_cut_while_building_is_no_end(tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    write(guest.state / "state", "building: try 1, since 2026-01-01T00:00:00Z\n")
    assert guest.start() == (0, f"rebooting: into {tmp_path}/own")


# Base images


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for program in ("qemu-img", "jq"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing")
    (tmp_path / "pool").mkdir()
    return tmp_path / "store"


def base(store: Path, letter: str) -> Path:
    image = store / f"{letter * 32}-nixos-guest-bios.qcow2"
    store.mkdir(exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
    return image


def bases(store: Path, *words: str | Path, keep: str = "") -> subprocess.CompletedProcess[str]:
    env = {"NIX_STORE_DIR": store, "GCROOTS": store.parent / "roots", "KEEP": keep}
    return run("bash", SCRIPTS / "guest-bases.sh", *words, env=env)


def test_guests_share_a_base_that_is_kept_while_one_uses_it(store: Path) -> None:
    pool = store.parent / "pool"
    used, unused = base(store, "a"), base(store, "b")
    volume = bases(store, "link", pool, used).stdout.strip()
    assert volume == f"{pool}/nixos-aaaaaaaaaaaa.qcow2"
    assert bases(store, "link", pool, used).stdout.strip() == volume
    bases(store, "link", pool, unused)
    for guest in ("web-boot", "db-boot"):
        overlay = pool / f"{guest}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", volume, "-F", "qcow2", overlay], check=True)
        assert overlay.stat().st_size < 1024**2
    # A root of Nix's leads to the volume, and the volume to the image: as long as both are there it is not collected.
    roots = sorted((store.parent / "roots").iterdir())
    assert [root.readlink().readlink() for root in roots] == [used, unused]
    assert bases(store, "list", pool).stdout.splitlines() == [
        f"{volume}\tused by db-boot.qcow2 web-boot.qcow2",
        f"{pool}/nixos-bbbbbbbbbbbb.qcow2\tunused",
    ]
    assert bases(store, "prune", pool, keep=str(unused)).stdout == ""
    assert bases(store, "prune", pool).stdout == f"removed {pool}/nixos-bbbbbbbbbbbb.qcow2\n"
    assert sorted(path.name for path in pool.iterdir()) == [
        "db-boot.qcow2",
        "nixos-aaaaaaaaaaaa.qcow2",
        "web-boot.qcow2",
    ]


def test_nothing_is_pruned_when_an_overlay_cannot_be_read(store: Path) -> None:
    pool = store.parent / "pool"
    bases(store, "link", pool, base(store, "a"))
    (pool / "broken.qcow2").write_bytes(b"QFI\xfb\0\0\0\x03 and no more")
    done = bases(store, "prune", pool)
    assert done.returncode != 0
    assert "broken.qcow2 cannot be read" in done.stderr
    assert (pool / "nixos-aaaaaaaaaaaa.qcow2").is_symlink()


def test_a_volume_that_is_something_else_is_not_overwritten(store: Path) -> None:
    pool = store.parent / "pool"
    write(pool / "nixos-aaaaaaaaaaaa.qcow2", "a guest's data")
    done = bases(store, "link", pool, base(store, "a"))
    assert (done.returncode, (pool / "nixos-aaaaaaaaaaaa.qcow2").read_text()) == (1, "a guest's data")
    assert "is not in the Nix store" in bases(store, "link", pool, pool / "x.qcow2").stderr


# Logins for the console alone


@pytest.mark.parametrize(
    ("role", "command", "called"),
    [
        ("operator", "", []),
        ("operator", "qd guest list -l gpu", ["guest", "list", "-l", "gpu"]),
        ("viewer", "", ["dashboard"]),
        ("viewer", "qd guest list", ["--read-only", "guest", "list"]),
        ("operator", "qd status; touch x $(touch y) *", ["status;", "touch", "x", "$(touch", "y)", "*"]),
    ],
)
def test_a_login_gets_qd_and_nothing_else(tmp_path: Path, role: str, command: str, called: list[str]) -> None:
    qd = write(
        tmp_path / "qd",
        '#!/bin/sh\nprintf "%s\\n" "$QUARTERDECK_INVENTORY" "$(umask)" "$@" > called\n',
        mode=0o755,
    )
    env = {"SSH_ORIGINAL_COMMAND": command} if command else {}
    done = run("sh", SCRIPTS / "console-login.sh", role, "/srv/fleet", qd, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text().splitlines() == ["/srv/fleet", "0002", *called]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["called", "qd"]


@pytest.mark.parametrize("command", ["bash", "scp -t /", "qdx status", "/bin/qd", "'qd' status"])
def test_a_login_that_asks_for_another_program_is_refused(tmp_path: Path, command: str) -> None:
    done = run(
        "sh", SCRIPTS / "console-login.sh", "operator", "/srv/fleet", "false", env={"SSH_ORIGINAL_COMMAND": command}
    )
    assert (done.returncode, done.stderr) == (126, "Only qd can be run here, such as: qd status\n")


# Parts of cards

UUID = "1ef07ff9-0368-40d8-92d6-1e34bd95551f"


def parted(root: Path, shell: list[str], *lines: str) -> subprocess.CompletedProcess[str]:
    """What the host's unit does with these lines, on a sysfs below `root`; it runs with set -e, as NixOS has it."""
    body = (SCRIPTS / "host-parts.sh").read_text()
    script = f"set -e\nSYS={root}\nWAIT_S=0\n{body}\n" + "\n".join(lines) + '\nexit "$failed"\n'
    return run(*shell, "-c", script)


def pci_function(root: Path, address: str, files: Mapping[str, str]) -> Path:
    folder = root / "bus/pci/devices" / address
    for name, text in files.items():
        write(folder / name, text)
    return folder


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[-1])
def test_cards_are_parted_and_what_is_there_stays(tmp_path: Path, shell: list[str]) -> None:
    port = pci_function(tmp_path, "0000:3b:00.0", {"sriov_numvfs": "0\n", "driver/x": ""})
    ada = pci_function(tmp_path, "0000:81:00.4", {"nvidia/current_vgpu_type": "0\n"})
    tesla = pci_function(tmp_path, "0000:65:00.0", {"mdev_supported_types/nvidia-63/create": ""})
    lines = ("virtual 0000:3b:00.0 8", "vgpu 0000:81:00.4 1147", f"mediated 0000:65:00.0 nvidia-63 {UUID}")
    done = parted(tmp_path, shell, *lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert (port / "sriov_numvfs").read_text() == "8\n"
    assert (ada / "nvidia/current_vgpu_type").read_text() == "1147\n"
    assert (tesla / "mdev_supported_types/nvidia-63/create").read_text() == f"{UUID}\n"
    write(tesla / "mdev_supported_types/nvidia-63/create")
    write(tmp_path / "bus/mdev/devices" / UUID / "uevent")
    done = parted(tmp_path, shell, *lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tesla / "mdev_supported_types/nvidia-63/create").read_text() == "", "it is there: nothing is asked for"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[-1])
def test_what_cannot_be_parted_is_said_and_the_rest_is_done(tmp_path: Path, shell: list[str]) -> None:
    used = pci_function(tmp_path, "0000:3b:00.0", {"sriov_numvfs": "4\n", "driver/x": ""})
    pci_function(tmp_path, "0000:04:00.0", {"driver/x": ""})
    ada = pci_function(tmp_path, "0000:81:00.4", {"nvidia/current_vgpu_type": "0\n"})
    done = parted(
        tmp_path,
        shell,
        "virtual 0000:3b:00.0 8",
        "virtual 0000:04:00.0 2",
        "virtual 0000:99:00.0 2",
        f"mediated 0000:65:00.0 nvidia-63 {UUID}",
        "vgpu 0000:82:00.4 1147",
        "vgpu 0000:81:00.4 1147",
    )
    assert done.returncode == 1
    assert (used / "sriov_numvfs").read_text() == "4\n", "a guest may have one of them"
    assert (ada / "nvidia/current_vgpu_type").read_text() == "1147\n"
    for words in (
        "0000:3b:00.0 has 4 virtual functions and is to have 8: that needs a reboot.",
        "0000:04:00.0 cannot be parted",
        "0000:99:00.0 cannot be parted",
        "0000:65:00.0 makes no nvidia-63",
        "0000:82:00.4 takes no vGPU type",
    ):
        assert words in done.stderr
