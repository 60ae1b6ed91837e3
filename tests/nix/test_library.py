"""The Nix library on whole inventories: every machine evaluates and builds, and what it sets is what NixOS has.

tests/nix/standin is a nixpkgs with nothing in it: the rules of the module system, and a toplevel that holds what the
modules set.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.domain.model import (
    Device,
    Disk,
    Fleet,
    Guest,
    Hardware,
    Host,
    Kind,
    Network,
    Nic,
    OwnDevice,
    Pool,
    User,
)
from console.generate.nix import generated_files
from console.generate.nix_value import Value, nix_value
from console.inventory.files import read_inventory

ROOT = Path(__file__).parents[2]
OPTIONS = ROOT.parent / "shared" / "nixos-options.json.gz"
STANDIN = ROOT / "tests" / "nix" / "standin"
SETTINGS = (
    "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = false\nsubstituters =\n"
    "flake-registry =\n"
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"
RTX, SOUND, A4000 = "10de:2206", "10de:1aef", "10de:24b0"
CARD, SECOND = "52:54:00:10:00:01", "52:54:00:10:00:02"


@pytest.fixture(scope="module", autouse=True)
def nix() -> None:
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NIX_CONFIG": SETTINGS}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def evaluate(expression: str, inventory: Path) -> subprocess.CompletedProcess[str]:
    text = f"let standin = import {STANDIN}; fleet = standin.fleet {inventory}; in {expression}"
    return run("nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", text)


def evaluated(expression: str, inventory: Path) -> Any:
    done = evaluate(expression, inventory)
    assert done.returncode == 0, done.stderr[:3000]
    return json.loads(done.stdout)


def of(machine: str) -> str:
    return f'fleet.nixosConfigurations."{machine}"'


def guest(name: str, **more: Any) -> Guest:
    usual: dict[str, Any] = {
        "uuid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012}",
        "vcpus": 1,
        "memory_kib": 1048576,
        "disks": {"boot": Disk(name="boot", size_kib=1048576, pool="default", target="vda")},
    }
    return Guest(name=name, **{**usual, **more})


def nic(name: str, number: int, address: str | None = None) -> Nic:
    return Nic(name=name, network=name, mac=f"52:54:00:20:00:{number:02x}", address=address)


def slot(name: str, pci: str, *functions: str) -> Device:
    return Device(name=name, pci=pci, functions=functions, function_numbers=tuple(range(len(functions))), gpu=True)


def host(name: str, *guests: Guest, **more: Any) -> Host:
    usual: dict[str, Any] = {
        "mac": CARD,
        "address": "10.0.0.11/24",
        "uri": "qemu+ssh://root@10.0.0.11/system",
        "disk": "/dev/disk/by-id/nvme-one",
        "hardware": Hardware(cpu="Intel Xeon Gold 6130", memory_kib=201326592),
        "guests": {each.name: each for each in guests},
    }
    return Host(name=name, **{**usual, **more})


def fleet_of(*hosts: Host, **more: Any) -> Fleet:
    usual: dict[str, Any] = {
        "networks": {
            "lan": Network(name="lan", bridge="br0", subnet="10.0.0.0/24", gateway="10.0.0.1", dns=("10.0.0.1",)),
            "lab": Network(name="lab", bridge="br20", subnet="10.0.20.0/24", gateway="10.0.20.1", vlan=20),
            "six": Network(name="six", bridge="br6", subnet="fd00::/64", gateway="fd00::1"),
        },
        "pools": {"default": Pool(name="default", path="/srv/<pool> & more")},
        "users": {
            "ops": User(name="ops", keys=(KEY,), role="operator"),
            "look": User(name="look", keys=(OTHER,)),
        },
        "hosts": {each.name: each for each in hosts},
    }
    return Fleet(name="cellar", id="64e6dadd-df2b-40b0-ae70-9039ed5ff8d0", **{**usual, **more})


RICH = fleet_of(
    host(
        "vhost-a",
        guest(
            "1a",
            kind=Kind.NIXOS,
            nics={"lan": nic("lan", 1, "10.0.0.51/24"), "lab": nic("lab", 2)},
            description="''${a} \\ \"\n''",
        ),
        guest("with.dot", kind=Kind.NIXOS, nics={"six": nic("six", 3, "fd00::51/64")}),
        guest("in", kind=Kind.NIXOS, nics={}),
        guest("twin", devices={"gpu0": slot("gpu0", "0000:65:00", RTX, SOUND)}, autostart=True),
        guest("single", devices={"gpu0": slot("gpu0", "0000:b3:00", A4000)}),
        hardware=Hardware(
            cpu="Intel Xeon Gold 6130",
            pci={"0000:65:00": (RTX, SOUND), "0000:66:00": (RTX, SOUND), "0000:b3:00": (A4000,)},
        ),
        uplinks={"six": SECOND},
    ),
    host(
        "vhost-b",
        mac="52:54:00:10:00:0b",
        address="10.0.0.12/24",
        hardware=Hardware(cpu="AMD Ryzen 9 5950X"),
        own={"gpu0": OwnDevice(name="gpu0", pci="0000:65:00", functions=(RTX, SOUND), containers=True)},
        sriov={"0000:3b:00.0": 8},
    ),
)


def write(folder: Path, fleet: Fleet) -> Path:
    shutil.rmtree(folder / "generated", ignore_errors=True)
    for path, text in generated_files(fleet).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    (folder / "machines").mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("demo"), read_inventory(ROOT / "demo" / "fleet").fleet)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rich"), RICH)


@pytest.fixture(scope="module")
def settings(rich: Path) -> Any:
    """What the modules set, by machine."""
    return evaluated("builtins.mapAttrs (_: machine: machine.settings) fleet.nixosConfigurations", rich)


def test_every_file_is_nix() -> None:
    files = [*ROOT.glob("nix/**/*.nix"), *STANDIN.glob("*.nix"), ROOT / "flake.nix"]
    done = run("nix-instantiate", "--parse", "--store", "dummy://", *files)
    assert done.returncode == 0, done.stderr


def test_no_machine_of_the_demo_is_refused(demo: Path) -> None:
    failed = evaluated("builtins.mapAttrs (_: machine: machine.failed) fleet.nixosConfigurations", demo)
    assert set(failed) >= {"vhost-a", "vhost-b", "vhost-c", "vhost-d", "web-1"}
    assert not any(failed.values())


def test_names_are_listed_without_looking_into_any_machine(tmp_path: Path) -> None:
    write(tmp_path, RICH)
    (tmp_path / "generated/broken.nix").write_text("throw ''looked into''")
    (tmp_path / "generated/notes.txt").write_text("no machine")
    names = evaluated("builtins.attrNames fleet.nixosConfigurations", tmp_path)
    assert names == ["1a", "broken", "in", "vhost-a", "vhost-b", "with.dot"]
    assert evaluated(f"{of('vhost-b')}.settings.networking.hostName", tmp_path) == "vhost-b"


@pytest.mark.parametrize("text", ["{ networking.hostName = ''mine''; }", "{ ... }: { }", "7"])
def test_a_file_of_somebody_else_among_the_generated_ones_is_no_machine(tmp_path: Path, text: str) -> None:
    write(tmp_path, RICH)
    (tmp_path / "generated/mine.nix").write_text(text)
    done = evaluate(f"{of('mine')}.settings.networking.hostName", tmp_path)
    assert done.returncode != 0
    assert "generated/mine.nix has no data of a machine" in done.stderr and "machines/mine.nix" in done.stderr
    assert evaluated(f"{of('vhost-b')}.settings.networking.hostName", tmp_path) == "vhost-b"


def test_an_inventory_without_machines_is_an_empty_fleet(tmp_path: Path) -> None:
    assert evaluated("fleet.nixosConfigurations", tmp_path) == {}


def test_a_host_s_networks_are_found_by_the_cards_own_addresses(settings: Any) -> None:
    network = settings["vhost-a"]["systemd"]["network"]
    cards = {name: unit for name, unit in network["networks"].items() if name.startswith("10-")}
    assert {unit["matchConfig"]["PermanentMACAddress"] for unit in cards.values()} == {CARD, SECOND}
    first, second = (
        next(unit for unit in cards.values() if unit["matchConfig"]["PermanentMACAddress"] == mac)
        for mac in (CARD, SECOND)
    )
    assert first["networkConfig"]["Bridge"] == "br0" and first["vlan"] == ["vlan20"]
    assert second["networkConfig"]["Bridge"] == "br6"
    own = network["networks"]["20-br0"]
    assert own["address"] == ["10.0.0.11/24"] and own["gateway"] == ["10.0.0.1"]
    assert "address" not in network["networks"]["20-br20"]
    assert network["networks"]["15-vlan20"]["networkConfig"]["Bridge"] == "br20"
    assert network["netdevs"]["15-vlan20"]["vlanConfig"]["Id"] == 20
    text = json.dumps(network)
    assert "eth0" not in text and "eno" not in text and "enp" not in text


def test_a_host_lets_in_keys_only_and_only_those_of_its_users(settings: Any) -> None:
    users = settings["vhost-a"]["users"]
    assert users["mutableUsers"] is False
    assert users["users"]["root"] == {"hashedPassword": "!", "openssh": {"authorizedKeys": {"keys": [KEY]}}}
    assert users["users"]["ops"]["extraGroups"] == ["libvirtd"]
    assert users["users"]["look"]["extraGroups"] == []
    ssh = settings["vhost-a"]["services"]["openssh"]["settings"]
    assert ssh["PasswordAuthentication"] is False and ssh["KbdInteractiveAuthentication"] is False


def test_a_card_is_held_by_its_ids_or_by_its_address_where_there_are_two_of_it(settings: Any) -> None:
    boot = settings["vhost-a"]["boot"]
    assert f"vfio-pci.ids={A4000}" in boot["kernelParams"]
    assert boot["initrd"]["kernelModules"][0] == "vfio_pci"
    script = boot["initrd"]["preDeviceCommands"]
    assert f"hold 0000:65:00.0 {RTX}" in script and f"hold 0000:65:00.1 {SOUND}" in script
    assert "0000:66:00" not in script and "0000:b3:00" not in script
    assert "intel_iommu=on" in boot["kernelParams"]
    assert settings["vhost-b"]["boot"]["kernelParams"] == ["iommu=pt"]
    assert "preDeviceCommands" not in settings["vhost-b"]["boot"].get("initrd", {})


def test_a_part_of_a_card_leaves_the_card_with_its_driver(tmp_path: Path) -> None:
    part = replace(slot("gpu0", "0000:65:00", RTX), mdev="nvidia-63", mdev_uuid="1ef07ff9-0368-40d8-92d6-1e34bd95551f")
    write(tmp_path, fleet_of(host("vhost-a", guest("one", devices={"gpu0": part}))))
    assert "kernelModules" not in evaluated(f"{of('vhost-a')}.settings.boot.initrd", tmp_path)


UUID = "1ef07ff9-0368-40d8-92d6-1e34bd95551f"


def test_cards_are_parted_anew_at_each_boot(tmp_path: Path) -> None:
    port = replace(slot("nic0", "0000:3b:02", "8086:154c"), function_numbers=(1,), virtual_of="0000:3b:00.0")
    ada = replace(slot("gpu1", "0000:81:00", "10de:26b9"), function_numbers=(4,), virtual_of="0000:81:00.0", vgpu=1147)
    part = replace(slot("gpu0", "0000:65:00", RTX), mdev="nvidia-63", mdev_uuid=UUID)
    devices = {each.name: each for each in (part, port, ada)}
    parted = host(
        "vhost-a",
        guest("one", devices=devices),
        sriov={"0000:3b:00.0": 8, "0000:81:00.0": 2},
        hardware=Hardware(pci={"0000:65:00": (RTX,)}),
    )
    write(tmp_path, fleet_of(parted))
    settings = evaluated(f"{of('vhost-a')}.settings", tmp_path)
    unit = settings["systemd"]["services"]["fleet-parts"]
    assert "libvirtd.service" in unit["before"]
    lines = [line for line in unit["script"].splitlines() if re.match("(virtual|vgpu|mediated) ", line)]
    assert lines == [
        "virtual 0000:3b:00.0 8",
        "virtual 0000:81:00.0 2",
        "vgpu 0000:81:00.4 1147",
        f"mediated 0000:65:00.0 nvidia-63 {UUID}",
    ]
    # None of them is there before the host's own drivers are, or is vfio-pci's to hold.
    assert "vfio" not in json.dumps(settings["boot"])


def test_a_card_for_the_host_s_containers_stays_with_its_driver(tmp_path: Path) -> None:
    own = OwnDevice(name="gpu0", pci="0000:65:00", functions=(RTX, SOUND), containers=True)
    other = slot("gpu0", "0000:b3:00", A4000)
    report = Hardware(pci={"0000:65:00": (RTX, SOUND), "0000:b3:00": (A4000,)})
    write(
        tmp_path, fleet_of(host("vhost-a", guest("one", devices={"gpu0": other}), own={"gpu0": own}, hardware=report))
    )
    settings = evaluated(f"{of('vhost-a')}.settings", tmp_path)
    assert settings["hardware"]["nvidia-container-toolkit"] == {"enable": True}
    assert settings["services"]["xserver"]["videoDrivers"] == ["nvidia"]
    assert f"vfio-pci.ids={A4000}" in settings["boot"]["kernelParams"]
    assert "0000:65:00" not in json.dumps(settings["boot"])
    (tmp_path / "machines/vhost-a.nix").write_text("{ fleet.host.containerGpus = false; }")
    assert "nvidia-container-toolkit" not in evaluated(f"{of('vhost-a')}.settings.hardware", tmp_path)


def test_a_kept_card_is_not_bound_even_where_the_inventory_was_not_checked(tmp_path: Path) -> None:
    own = OwnDevice(name="gpu0", pci="0000:65:00", functions=(RTX,))
    taken = guest("one", devices={"gpu0": slot("gpu0", "0000:65:00", RTX)})
    write(tmp_path, fleet_of(host("vhost-a", taken, own={"gpu0": own})))
    settings = evaluated(f"{of('vhost-a')}.settings", tmp_path)
    assert "vfio" not in json.dumps(settings["boot"])
    assert "nvidia-container-toolkit" not in settings["hardware"]


def test_a_guest_whose_device_was_not_picked_yet_is_not_defined(tmp_path: Path) -> None:
    waiting = guest("one", devices={"gpu0": Device(name="gpu0", pci="", resource="rtx3080")})
    write(tmp_path, fleet_of(host("vhost-a", waiting, guest("two"))))
    files = evaluated(f"{of('vhost-a')}.settings.environment.etc", tmp_path)
    assert "fleet/guests/two.xml" in files and "fleet/guests/one.xml" not in files


def test_a_guest_has_its_addresses_by_mac_and_the_name_before_the_dot(settings: Any) -> None:
    lan = settings["1a"]["systemd"]["network"]["networks"]["10-lan"]
    assert lan["matchConfig"] == {"PermanentMACAddress": "52:54:00:20:00:01"}
    assert (lan["address"], lan["gateway"], lan["dns"]) == (["10.0.0.51/24"], ["10.0.0.1"], ["10.0.0.1"])
    assert settings["1a"]["systemd"]["network"]["networks"]["10-lab"]["networkConfig"] == {"DHCP": "yes"}
    assert settings["with.dot"]["networking"]["hostName"] == "with"
    assert settings["with.dot"]["networking"]["domain"] == "dot"
    assert settings["in"]["networking"]["hostName"] == "in"
    assert settings["1a"]["boot"]["growPartition"] and settings["1a"]["services"]["qemuGuest"]["enable"]


def test_a_host_has_its_guests_as_files(settings: Any) -> None:
    files = settings["vhost-a"]["environment"]["etc"]
    assert "<name>with.dot</name>" in files["fleet/guests/with.dot.xml"]["text"]
    assert "<path>/srv/&lt;pool&gt; &amp; more</path>" in files["fleet/pools/default.xml"]["text"]
    assert f"guest twin {RICH.hosts['vhost-a'].guests['twin'].uuid} autostart" in files["fleet/list"]["text"]


def test_every_machine_builds_and_a_change_of_one_leaves_all_others(tmp_path: Path) -> None:
    def built() -> dict[str, str]:
        machines = f"builtins.attrValues ((import {STANDIN}).fleet {tmp_path}).nixosConfigurations"
        text = f"map (machine: machine.config.system.build.toplevel) ({machines})"
        done = run("nix-build", "--no-out-link", "--expr", text)
        if done.returncode and "Permission denied" in done.stderr:
            pytest.skip("the Nix store cannot be written here")
        assert done.returncode == 0, done.stderr[-3000:]
        paths = done.stdout.split()
        return {json.loads((Path(path) / "config.json").read_text())["networking"]["hostName"]: path for path in paths}

    write(tmp_path, RICH)
    before = built()
    assert set(before) == {"1a", "in", "with", "vhost-a", "vhost-b"}

    home = RICH.hosts["vhost-a"]
    guests = {**home.guests, "1a": replace(home.guests["1a"], vcpus=2, nics={"lan": nic("lan", 1, "10.0.0.99/24")})}
    write(tmp_path, replace(RICH, hosts={**RICH.hosts, "vhost-a": replace(home, guests=guests)}))
    after = built()
    assert {name for name in before if before[name] != after[name]} == {"1a", "vhost-a"}

    # A machine's own module changes that machine alone, and a plain guest's change its host alone.
    (tmp_path / "machines/vhost-b.nix").write_text("{ services.openssh.ports = [ 2222 ]; }")
    own = built()
    assert {name for name in after if after[name] != own[name]} == {"vhost-b"}


OVERRIDES: dict[str, Value] = {
    "boot.loader.systemd-boot.enable": False,
    "boot.loader.efi.canTouchEfiVariables": False,
    "disko.devices.disk.main.device": "/dev/disk/by-id/other",
    "disko.devices.disk.main.content": {"type": "table"},
    "hardware.enableRedistributableFirmware": False,
    "hardware.cpu.intel.updateMicrocode": False,
    "networking.domain": "example",
    "networking.firewall.enable": False,
    "networking.hostName": "other",
    "networking.useDHCP": True,
    "networking.useNetworkd": False,
    "services.openssh.enable": False,
    "services.openssh.openFirewall": True,
    "services.openssh.settings.PasswordAuthentication": True,
    "services.openssh.settings.PermitRootLogin": "no",
    "system.stateVersion": "24.05",
    'systemd.network.networks."20-br0".address': ["10.0.0.77/24"],
    'systemd.network.networks."20-br0".gateway': [],
    'systemd.network.networks."20-br0".networkConfig.IPv6AcceptRA': True,
    'systemd.network.netdevs."20-br0".bridgeConfig.STP': True,
    "users.mutableUsers": True,
    "users.users.ops.isNormalUser": False,
    "users.users.root.hashedPassword": "hash",
    "virtualisation.libvirtd.enable": False,
    "virtualisation.libvirtd.onBoot": "start",
    "virtualisation.libvirtd.onShutdown": "suspend",
    "virtualisation.libvirtd.qemu.swtpm.enable": False,
}
LISTS: dict[str, tuple[list[Value], str]] = {
    "fleet.rootKeys": ([OTHER], "users.users.root.openssh.authorizedKeys.keys"),
    "fleet.users.look.keys": ([KEY], "users.users.look.openssh.authorizedKeys.keys"),
    "fleet.operatorGroups": (["wheel"], "users.users.ops.extraGroups"),
    "fleet.openPorts": ([2222], "networking.firewall.allowedTCPPorts"),
    "fleet.host.bootModules": (["nvme"], "boot.initrd.availableKernelModules"),
}
GUEST_OVERRIDES: dict[str, Value] = {
    "boot.growPartition": False,
    "boot.loader.grub.enable": False,
    "boot.loader.grub.device": "nodev",
    "boot.loader.systemd-boot.enable": True,
    "documentation.nixos.enable": True,
    'fileSystems."/".device': "/dev/disk/by-label/other",
    'fileSystems."/".fsType': "xfs",
    "services.qemuGuest.enable": False,
    'systemd.network.networks."10-lan".address': ["10.0.0.77/24"],
    'systemd.network.networks."10-lan".matchConfig.PermanentMACAddress': "52:54:00:00:00:01",
}


def assignments(values: Mapping[str, Value]) -> str:
    return "{\n" + "".join(f"{path} = {nix_value(value)};\n" for path, value in values.items()) + "}\n"


@pytest.mark.parametrize("machine", ["vhost-a", "1a"])
def test_a_machine_s_own_module_wins_without_force(tmp_path: Path, machine: str) -> None:
    write(tmp_path, RICH)
    wanted = dict(OVERRIDES if machine == "vhost-a" else GUEST_OVERRIDES)
    lists = dict(LISTS) if machine == "vhost-a" else {"fleet.consoleParams": (["console=hvc0"], "boot.kernelParams")}
    own = wanted | {path: value for path, (value, _) in lists.items()}
    (tmp_path / f"machines/{machine}.nix").write_text(assignments(own))
    expected = wanted | {place: value for value, place in lists.values()}
    asked = "{ " + " ".join(f"{nix_value(path)} = settings.{path};" for path in expected) + " }"
    found = evaluated(f"let inherit ({of(machine)}) settings; in {asked}", tmp_path)
    assert found == expected


ROLES = """
fleet.netboot = {
  enable = true;
  installer.enable = false;
};
fleet.guestImages = {
  enable = true;
  images.bios = "/image";
};
services.quarterdeck = {
  enable = true;
  dashboard.enable = true;
};
"""
JOINED = ("script", "preStart", "preDeviceCommands", "extraConfig")
"""Texts that NixOS makes of all that modules say, one after the other."""


def scalars(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every setting that is neither a list nor a set."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from scalars(inner, (*path, key))
    elif not isinstance(value, list) and path[-1] not in JOINED and path[0] != "nixpkgs":
        yield path, value


@pytest.mark.parametrize("machine", ["vhost-a", "1a"])
def test_whatever_the_library_says_gives_way_to_a_machine_s_own_module(tmp_path: Path, machine: str) -> None:
    write(tmp_path, RICH)
    own = tmp_path / f"machines/{machine}.nix"
    roles = ROLES if machine == "vhost-a" else ""
    own.write_text(f"{{ {roles} }}")
    said = evaluated(f"{of(machine)}.settings", tmp_path)
    said["services"].pop("quarterdeck", None)

    def other(value: Any) -> Value:
        return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"other {value}"

    wanted = {path: other(value) for path, value in scalars(said)}
    assert len(wanted) > 20
    text = "".join(f"{'.'.join(map(nix_value, path))} = {nix_value(value)};\n" for path, value in wanted.items())
    own.write_text(f"{{ {roles} {text} }}")
    found = dict(scalars(evaluated(f"{of(machine)}.settings", tmp_path)))
    assert {path: found[path] for path in wanted} == wanted


def test_kernel_parameters_of_a_host_are_replaced_as_a_list(tmp_path: Path) -> None:
    write(tmp_path, RICH)
    text = 'fleet.host.kernelParams = [ "quiet" ]; fleet.host.hugepages.count = 4; fleet.vfio.devices."0000:b3:00".bind'
    (tmp_path / "machines/vhost-a.nix").write_text(f'{{ {text} = "never"; }}')
    params = evaluated(f"{of('vhost-a')}.settings.boot.kernelParams", tmp_path)
    assert params == ["quiet", "default_hugepagesz=1G", "hugepagesz=1G", "hugepages=4"]


ONE = host("vhost-a")


@pytest.mark.parametrize(
    ("fleet", "machine", "own", "words"),
    [
        (fleet_of(replace(ONE, disk=None)), "vhost-a", "", ["vhost-a", "fleet.host.disk"]),
        (fleet_of(replace(ONE, address="10.9.0.1/24")), "vhost-a", "", ["vhost-a", "fleet.host.address", "10.9.0.1"]),
        (fleet_of(ONE), "vhost-a", 'fleet.host.disk = "/dev/sda";', ["fleet.host.disk", "pattern"]),
        (fleet_of(ONE), "vhost-a", 'fleet.host.mac = "eth0";', ["fleet.host.mac", "pattern"]),
        (fleet_of(ONE), "vhost-a", "fleet.hots = { };", ["fleet.hots", "does not exist"]),
        (fleet_of(ONE), "vhost-a", f'fleet.host.uplinks.six = "{CARD}";', ["vhost-a", "uplinks", "lan", "six", CARD]),
        (fleet_of(ONE, users={}), "vhost-a", "", ["vhost-a", "fleet.rootKeys"]),
        (
            fleet_of(ONE, users={"Ops.1": User(name="Ops.1", keys=(KEY,), role="operator")}),
            "vhost-a",
            "",
            ["vhost-a", "fleet.users.Ops.1"],
        ),
        (fleet_of(replace(ONE, name="bad-")), "bad-", "", ["bad-", "fleet.machine"]),
        (
            fleet_of(
                replace(
                    ONE,
                    guests={"one": guest("one", devices={"gpu0": slot("gpu0", "0000:17:00", RTX)})},
                    hardware=Hardware(pci={"0000:65:00": (RTX,)}),
                )
            ),
            "vhost-a",
            "",
            ["vhost-a", "fleet.guests.one.devices.gpu0.pci", "0000:17:00"],
        ),
        (
            fleet_of(
                replace(
                    ONE,
                    guests={"one": guest("one", devices={"gpu0": slot("gpu0", "0000:65:00", RTX)})},
                    hardware=Hardware(pci={"0000:65:00": (A4000,)}),
                )
            ),
            "vhost-a",
            "",
            ["vhost-a", "fleet.guests.one.devices.gpu0.pci", RTX, A4000],
        ),
        (
            fleet_of(replace(ONE, guests={"one": guest("one", nics={"lan": nic("lan", 1, "10.0.1.5/24")})})),
            "vhost-a",
            "",
            ["vhost-a", "fleet.guests.one.nics.lan.address", "10.0.1.5/24"],
        ),
        (
            fleet_of(
                replace(
                    ONE,
                    guests={
                        "one": guest(
                            "one",
                            kind=Kind.NIXOS,
                            nics={"lan": nic("lan", 1, "10.0.0.5/24"), "lab": nic("lab", 2, "10.0.20.5/24")},
                        )
                    },
                )
            ),
            "one",
            "",
            ["one", "fleet.guest.nics", "lab and lan", "default gateway"],
        ),
    ],
)
def test_bad_input_is_refused_with_the_names_of_machine_and_key(
    tmp_path: Path, fleet: Fleet, machine: str, own: str, words: list[str]
) -> None:
    write(tmp_path, fleet)
    if own:
        (tmp_path / f"machines/{machine}.nix").write_text(f"{{ {own} }}")
    done = evaluate(f"builtins.seq {of(machine)}.config.system.build.toplevel true", tmp_path)
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr[:1500]


@pytest.mark.parametrize("by", ["inventory", "module"])
def test_two_ways_out_are_told_apart(tmp_path: Path, by: str) -> None:
    nics = {"lan": nic("lan", 1, "10.0.0.5/24"), "lab": nic("lab", 2, "10.0.20.5/24")}
    if by == "inventory":
        nics["lab"] = replace(nics["lab"], default_route=False)
    write(tmp_path, fleet_of(replace(ONE, guests={"one": guest("one", kind=Kind.NIXOS, nics=nics)})))
    if by == "module":
        (tmp_path / "machines/one.nix").write_text("{ fleet.guest.nics.lab.defaultRoute = false; }")
    networks = evaluated(f"assert {of('one')}.failed == [ ]; {of('one')}.settings.systemd.network.networks", tmp_path)
    assert networks["10-lan"]["gateway"] == ["10.0.0.1"] and networks["10-lab"]["gateway"] == []


def test_one_machine_can_have_a_nixpkgs_and_modules_of_its_own(rich: Path) -> None:
    text = (
        f"(standin.self.lib.mkFleet {{ inventory = {rich}; modules = [ {{ networking.domain = ''all''; }} ];"
        " machines.vhost-b = { nixpkgs.lib.nixosSystem = { modules, ... }: builtins.length modules;"
        " modules = [ { } ]; };"
        " }}).nixosConfigurations"
    ).replace("}})", "})")
    names = evaluated(f"let m = {text}; in [ m.vhost-a.settings.networking.domain (m.vhost-b > 8) ]", rich)
    assert names == ["all", True]


NEWER: dict[str, str] = {}
"""Options that NixOS has had since that list was made, each with the reason to use it."""


def leaves(value: Any, options: Mapping[str, str], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each option that is set with its value: the longest path that is an option, or the whole path if none."""
    name = known(path, options)
    kind = options[name] if name is not None else ""
    if name is not None and kind != "submodule" and not kind.startswith("attribute set of (submodule)"):
        children = isinstance(value, dict) and any(known((*path, key), options) for key in value)
        if not children:
            yield path, value
            return
    if not isinstance(value, dict) or not value:
        if value != {}:
            yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, options, (*path, key))


def known(path: tuple[str, ...], options: Mapping[str, str]) -> str | None:
    """Return the option's name in the list ("users.users.<name>.keys"), None where there is none."""
    candidates = [""]
    for part in path:
        candidates = [
            longer
            for start in candidates
            for longer in (f"{start}.{part}".lstrip("."), f"{start}.<name>".lstrip("."))
            if longer in options or longer in prefixes(options)
        ]
    return next((name for name in candidates if name in options), None)


PREFIXES: dict[int, set[str]] = {}


def prefixes(options: Mapping[str, str]) -> set[str]:
    if id(options) not in PREFIXES:
        found = set()
        for name in options:
            parts = name.split(".")
            found.update(".".join(parts[:count]) for count in range(1, len(parts)))
        PREFIXES[id(options)] = found
    return PREFIXES[id(options)]


def fits(value: Any, kind: str) -> bool:
    """Tell whether a value can be of an option's type, as far as its description says."""
    if kind.startswith("null or "):
        return value is None or fits(value, kind.removeprefix("null or ").strip())
    if kind.startswith(("list of", "non-empty (list of")):
        inner = kind[kind.index("list of") + len("list of") :].strip()
        return isinstance(value, list) and all(fits(item, inner) for item in value)
    if kind.startswith("one of "):
        return json.dumps(value) in kind
    if kind.startswith("string matching the pattern"):
        pattern = kind.removeprefix("string matching the pattern").strip().replace("[:alnum:]", "a-zA-Z0-9")
        return isinstance(value, str) and re.fullmatch(pattern, value) is not None
    first = kind.lstrip("(")
    for start, types in (
        ("boolean", (bool,)),
        ("attribute set", (dict,)),
        ("submodule", (dict,)),
        ("string or (attribute set", (str, dict)),
        ("string", (str,)),
        ("strings concatenated", (str,)),
        ("path", (str,)),
        ("package", (str,)),
        ("16 bit unsigned integer", (int,)),
        ("signed integer", (int,)),
        ("unsigned integer", (int,)),
        ("integer", (int,)),
        ("(optionally newline-terminated) single-line string", (str,)),
        ("optionally newline-terminated) single-line string", (str,)),
    ):
        if first.startswith(start):
            return isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
    return True


@pytest.fixture(scope="module")
def options() -> dict[str, str]:
    if not OPTIONS.exists():
        pytest.skip(f"the list of NixOS options is not here: {OPTIONS}")
    data = json.loads(gzip.decompress(OPTIONS.read_bytes()))
    merged = dict(data["options"])
    for extra in data["extra"].values():
        merged |= extra
    return {name: kind if isinstance(kind, str) else kind[0] for name, kind in merged.items()}


def test_all_that_the_library_sets_is_an_option_of_nixos(
    rich: Path, demo: Path, options: dict[str, str], tmp_path: Path
) -> None:
    wrong: list[str] = []
    count = 0
    for inventory in (rich, demo):
        machines = evaluated("builtins.mapAttrs (_: machine: machine.settings) fleet.nixosConfigurations", inventory)
        for machine, found in machines.items():
            found["services"].pop("quarterdeck", None)  # an option of our own
            for path, value in leaves(found, options):
                name = known(path, options)
                count += 1
                if name is None and ".".join(path) not in NEWER:
                    wrong.append(f"{machine}: {'.'.join(path)} is no option")
                elif name is not None and not fits(value, options[name]):
                    wrong.append(f"{machine}: {'.'.join(path)} = {value!r} is not: {options[name]}")
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert count > 500
