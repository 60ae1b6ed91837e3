"""Every command on the demo fleet, each in a process of its own, in the order of an operator's day."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.place import Place, git

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"
WITH_IMAGE = ("--disk", "40GiB", "--image", "debian-13.qcow2")


def create(place: Place, name: str, *arguments: str) -> str:
    return place.ok("guest", "create", name, "--host", "vhost-a", "--vcpus", "2", "--memory", "2GiB", *arguments)


def guest(place: Place, name: str) -> dict[str, object]:
    found = place.json("guest", "show", name)
    assert isinstance(found, dict)
    return found


def subjects(folder: Path) -> list[str]:
    return git(folder, "log", "--format=%s").splitlines()


def test_the_demo_is_made_once(place: Place, demo: Path) -> None:
    assert Path(place.ok("demo", "--path").strip()) == demo
    assert subjects(demo) == ["Begin the demo"]
    assert git(demo, "status", "--short") == ""
    assert place.ok("check") == "cellar: 4 hosts, 12 guests, no mistakes.\n"


def test_hosts_are_listed(place: Place, demo: Path) -> None:
    hosts = place.json("host", "list")
    assert [host["name"] for host in hosts] == ["vhost-a", "vhost-b", "vhost-c", "vhost-d"]
    assert [host["state"] for host in hosts] == ["up", "up", "up", "down"]
    assert hosts[0]["mac"] == "52:54:00:10:00:0a" and hosts[0]["address"] == "10.0.0.11/24"
    assert hosts[0]["labels"] == ["rack-1", "gpu"]
    text = place.ok("host", "list")
    assert text.splitlines()[0].split() == ["NAME", "STATE", "MAC", "ADDRESS", "LABELS", "GUESTS"]
    assert "\x1b" not in text and len(text.splitlines()) == 5


def test_guests_are_listed(place: Place, demo: Path) -> None:
    guests = place.json("guest", "list")
    by_name = {entry["name"]: entry for entry in guests}
    assert (
        by_name["web-1"] | {"host": "vhost-a", "state": "running", "vcpus": 4, "memory_mib": 8192} == by_name["web-1"]
    )
    assert by_name["win-lab"]["devices"] == ["0000:b3:00"] and by_name["win-lab"]["standing"] == "changed"
    assert by_name["legacy-ftp"]["standing"] == "unmanaged"
    assert by_name["archive"]["state"] == "unknown"
    assert {entry["host"] for entry in place.json("guest", "list", "--host", "vhost-b")} == {"vhost-b"}
    assert "legacy-ftp" in place.ok("guest", "list", "--host", "vhost-a")


def test_status_and_show(place: Place, demo: Path) -> None:
    status = place.json("status")
    assert (status["hosts"], status["hosts_up"], status["unmanaged"]) == (4, 3, 2)
    assert len(status["down"]) == 1 and status["down"][0].startswith("vhost-d: ")
    assert "hosts 3/4 up" in place.ok("status")
    text = place.ok("host", "show", "vhost-a")
    assert "0000:65:00" in text and "RTX 3080" in text and "group 28" in text and "taken by vhost-a/win-lab" in text
    assert place.json("host", "show", "vhost-a")["gpus"]
    text = place.ok("guest", "show", "win-lab")
    assert "16 GiB → 24 GiB" in text and "0000:b3:00" in text
    assert "unmanaged" in place.ok("guest", "show", "vhost-a/legacy-ftp")


def test_a_host_is_added_changed_and_removed(place: Place, demo: Path) -> None:
    named = ("vhost-e", "--mac", "52-54-00-10-00-0E", "--address", "10.0.0.15/24")
    said = place.ok("host", "add", *named, "--label", "rack-2", "--label", "gpu", "--ssh-host-key", HOST_KEY)
    assert said.startswith("Add host vhost-e: done. (")
    (host,) = [host for host in place.json("host", "list") if host["name"] == "vhost-e"]
    assert host["labels"] == ["rack-2", "gpu"] and host["mac"] == "52:54:00:10:00:0e"
    place.ok("host", "set", "vhost-e", "--address", "10.0.0.16/24", "--uri", "qemu+tcp://127.0.0.1:1/system")
    assert place.json("host", "show", "vhost-e")["address"] == "10.0.0.16/24"
    assert place.ok("host", "set", "vhost-e", "--address", "10.0.0.16/24") == "Set host vhost-e: nothing to do.\n"
    assert (demo / "generated/vhost-e.nix").is_file()
    assert "1 host without a disk for NixOS: vhost-e. Name it: qd host set HOST --disk DISK" in place.ok("check")
    place.ok("host", "set", "vhost-e", "--disk", "/dev/disk/by-id/nvme-1", "--netboot", "installer")
    assert "without a disk" not in place.ok("check")
    place.ok("host", "remove", "vhost-e")
    assert not (demo / "generated/vhost-e.nix").exists() and not (demo / "hosts/vhost-e.toml").exists()
    assert subjects(demo)[:3] == [
        "Remove host vhost-e",
        "Set host vhost-e: disk, netboot",
        "Set host vhost-e: address, uri",
    ]
    assert "no pinned SSH host key" in place.qd(
        "host", "add", "vhost-f", "--mac", "52:54:00:10:00:0f", "--address", "10.0.0.17/24"
    ).stderr  # fmt: skip
    place.ok("host", "remove", "vhost-f")


def test_a_guest_with_a_gpu_and_a_second_one_that_is_refused(place: Place, demo: Path) -> None:
    before = (demo / "hosts/vhost-a.toml").read_text()
    said = create(place, "trainer", *WITH_IMAGE, "--gpu", "0000:65:00", "--address", "10.0.0.77", "--start")
    assert said.startswith("Create trainer on vhost-a: done. (")
    made = guest(place, "trainer")
    assert (made["host"], made["state"], made["standing"]) == ("vhost-a", "running", "in sync")
    assert (made["vcpus"], made["memory_mib"], made["devices"]) == (2, 2048, ["0000:65:00"])
    files = (demo / "hosts/vhost-a.toml").read_text()
    assert all(line in files.splitlines() for line in before.splitlines())
    wanted = ("thief", "--host", "vhost-a", "--vcpus", "1", "--memory", "1GiB", *WITH_IMAGE)
    refused = place.refused("guest", "create", *wanted, "--gpu", "0000:65:00")
    assert refused.startswith("qd: thief was not created.\n")
    assert "gpu: " in refused and "taken by vhost-a/trainer (running)" in refused and "RTX 3080" in refused
    assert (demo / "hosts/vhost-a.toml").read_text() == files
    assert "thief" not in place.ok("guest", "list")
    assert subjects(demo)[0] == "Create vhost-a/trainer"
    place.ok("generate", "--check")


KERNEL = ("--kernel", "/boot/vmlinuz", "--initrd", "/boot/initrd", "--cmdline", "console=ttyS0 quiet")
ALL_ELSE = ("--firmware", "uefi", "--display", "vnc", "--autostart", "on", "--description", "it's ${x}")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("b-iso", ("--disk", "10GiB", "--iso", "/srv/iso/debian.iso")),
        ("b-copy", (*WITH_IMAGE, "--image-mode", "copy")),
        ("b-kernel", (*KERNEL, "--network", "none")),
        ("b-pxe", ("--pxe",)),
        ("b-empty", ("--disk", "10GiB", *ALL_ELSE)),
    ],
)
def test_every_boot_source(place: Place, demo: Path, name: str, source: tuple[str, ...]) -> None:
    done = place.qd("guest", "create", name, "--host", "vhost-a", "--vcpus", "1", "--memory", "512MiB", *source)
    assert done.returncode == 0, done.stderr
    assert ("nothing will boot" in done.stderr) is (name == "b-empty")
    assert guest(place, name)["standing"] == "in sync"
    place.ok("guest", "remove", name)


def test_a_guest_is_switched(place: Place, demo: Path) -> None:
    create(place, "switched", *WITH_IMAGE)
    assert guest(place, "switched")["state"] == "off"
    for action, state in (("start", "running"), ("suspend", "paused"), ("resume", "running"), ("reboot", "running"),
                          ("force-off", "off"), ("start", "running"), ("shutdown", "off")):  # fmt: skip
        place.ok("guest", action, "switched")
        assert guest(place, "switched")["state"] == state, action
    assert "nothing to do" in place.ok("guest", "shutdown", "switched")
    said = place.refused("guest", "reset", "switched")
    assert "vhost-a/switched is off." in said and "Start it instead." in said
    place.ok("guest", "autostart", "switched", "on")
    assert guest(place, "switched")["autostart"] is True
    assert place.ok("guest", "start", "switched", "vhost-a/trainer").startswith("Start 1 of 2 guests: done.")
    said = place.refused("guest", "reboot", "switched", "legacy-ftp")
    assert "unmanaged" in said and "legacy-ftp" in said


def test_a_guest_is_changed(place: Place, demo: Path) -> None:
    place.ok("guest", "set", "switched", "--vcpus", "3", "--memory", "3GiB", "--description", "three")
    found = guest(place, "switched")
    assert (found["vcpus"], found["memory_mib"], found["restart_needed"]) == (3, 3072, True)
    said = place.refused("guest", "set", "switched", "--vcpus", "4", "--apply", "live")
    assert "cannot change vcpus live" in said and "next boot or restart" in said
    assert guest(place, "switched")["vcpus"] == 3
    place.ok("guest", "set", "switched", "--vcpus", "4", "--apply", "restart")
    found = guest(place, "switched")
    assert (found["vcpus"], found["restart_needed"], found["state"]) == (4, False, "running")
    assert "nothing to do" in place.ok("guest", "set", "switched", "--vcpus", "4")
    said = place.refused("guest", "set", "switched", "--image", "nixos-25.11.qcow2")
    assert "image: an existing disk keeps its content" in said


def test_a_guest_is_removed(place: Place, demo: Path) -> None:
    said = place.refused("guest", "remove", "switched")
    assert "vhost-a/switched was not removed." in said and "running" in said
    place.ok("guest", "force-off", "switched")
    assert "has no disk data" in place.refused("guest", "remove", "switched", "--delete-disk", "data")
    done = place.qd("guest", "remove", "switched")
    assert done.returncode == 0 and "switched-boot.qcow2 stays on vhost-a." in done.stderr
    said = place.refused(
        "guest", "create", "switched", "--host", "vhost-a", "--vcpus", "1", "--memory", "1GiB", *WITH_IMAGE
    )
    assert "already holds switched-boot.qcow2" in said
    create(place, "shortlived", *WITH_IMAGE)
    place.ok("guest", "remove", "shortlived", "--delete-disk", "boot")
    create(place, "shortlived", *WITH_IMAGE)
    place.ok("guest", "remove", "shortlived", "--delete-disk", "boot")


def test_plan_and_apply(place: Place, demo: Path) -> None:
    text = place.ok("plan")
    assert "vhost-a/win-lab  memory: 16 GiB → 24 GiB" in text and "pending  vhost-d/archive" in text
    assert "legacy-ftp" not in text and "scratch" not in text
    data = place.json("plan", "win-lab")
    assert [step["verb"] for step in data["steps"]] == ["Define"] and data["refusals"] == []
    done = place.qd("apply")
    assert done.returncode == 0 and "vhost-d/archive is pending: apply again once vhost-d is up" in done.stdout
    again = place.ok("apply")
    assert "nothing to do" in again and "do  " not in again
    assert place.ok("apply", "vhost-a").count("nothing to do") == 1
    assert place.json("plan", "vhost-b")["steps"] == []


def test_a_guest_on_a_host_that_is_down_is_written_and_pending(place: Place, demo: Path) -> None:
    done = place.qd("guest", "create", "later", "--host", "vhost-d", "--vcpus", "1", "--memory", "1GiB", *WITH_IMAGE)
    assert done.returncode == 0 and "vhost-d/later is pending: apply again once vhost-d is up" in done.stdout
    assert "[guests.later]" in (demo / "hosts/vhost-d.toml").read_text()
    assert "vhost-d is not up." in place.refused("guest", "start", "later")
    done = place.qd("guest", "remove", "later")
    assert done.returncode == 0 and "only the inventory changes" in done.stderr


def test_a_host_is_exported_as_one_module(place: Place, demo: Path) -> None:
    text = place.ok("--read-only", "export", "vhost-a")
    assert text.startswith("# vhost-a as one plain NixOS module") and text.endswith("}\n")
    assert '"fleet/guests/web-1.xml"' in text and "fleet." not in text[text.index("{ ... }:") :].replace("fleet/", "")
    done = place.qd("export", "vhost-z")
    assert done.returncode == 1 and 'There is no host "vhost-z"' in done.stderr and "vhost-a, vhost-b" in done.stderr


def test_generated_files_follow_the_inventory(place: Place, demo: Path) -> None:
    place.ok("generate")
    place.ok("generate", "--check")
    path = demo / "hosts/vhost-b.toml"
    text = path.read_text()
    path.write_text(text.replace("vcpus = 8", "vcpus = 9", 1))
    done = place.qd("generate", "--check")
    assert done.returncode == 1
    assert "generated/vhost-b.nix" in done.stderr and "qd generate" in done.stderr
    assert any(line.startswith("+") and "vcpus = 9" in line for line in done.stdout.splitlines())
    assert "written" in place.ok("generate")
    assert place.ok("generate", "--check") == ""
    assert place.ok("generate") == "Nothing to write: all is up to date.\n"
    path.write_text(text)
    place.ok("generate")


def test_what_is_known_of_a_large_fleet_never_hides_an_edit(place: Place) -> None:
    place.ok("init", "large")
    at = ("--inventory", "large")
    place.ok(*at, "host", "add", "vhost-a", "--mac", "52:54:00:10:00:0a", "--address", "10.0.0.11/24")
    path = place.root / "large/hosts/vhost-a.toml"
    guests = (
        f"[guests.g{number}]\nvcpus = 2\nmemory = '1 GiB'\ndescription = '{'x' * 400}'\n" for number in range(700)
    )
    path.write_text(path.read_text() + "".join(guests))
    place.ok(*at, "generate")
    (known,) = (place.root / "state").glob("quarterdeck/*/hosts")
    path.write_text(path.read_text().replace("vcpus = 2", "vcpus = 'two'", 1))
    assert "guests.g0.vcpus" in place.refused(*at, "generate")
    path.write_text(path.read_text().replace("vcpus = 'two'", "vcpus = 3", 1))
    assert place.ok(*at, "generate") == "1 file written.\n"
    assert (place.root / "large/generated/vhost-a.nix").read_text().count("vcpus = 3;") == 1
    known.write_bytes(b"damaged")
    assert place.ok(*at, "generate") == "Nothing to write: all is up to date.\n"


def test_a_pipe_that_is_closed_early_is_no_error(place: Place, demo: Path) -> None:
    command = f"{place.python} -m console guest list | head -c 10"
    done = subprocess.run(["bash", "-c", command], env=place.env, cwd=place.root, capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout) == 10
