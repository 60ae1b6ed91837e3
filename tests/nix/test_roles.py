"""The roles that a machine can have besides: netboot server, console, guests' images, installer. Evaluated."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"

CONTROL = """
{
  imports = [ ROOT/nix/modules/control.nix ];
  services.quarterdeck.package = "/console";
  networking.hostName = "control";
  fleet.netboot = {
    interface = "br0";
    address = "10.0.0.2/24";
    installer.enable = false;
  };
}
"""

INSTALLER = '{ imports = [ ROOT/nix/modules/installer.nix ]; system.nixos.release = "25.11"; }'


@pytest.fixture(scope="module", autouse=True)
def nix() -> None:
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")


def evaluated(*modules: str) -> dict[str, Any]:
    """What modules set together, and the sentences of the assertions that fail."""
    text = " ".join(f"({module})" for module in modules).replace("ROOT", str(ROOT))
    system = f"(import {ROOT}/tests/nix/standin).nixosSystem {{ modules = [ {text} ]; }}"
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr"]
    command.append(f"{{ inherit ({system}) settings failed; }}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def failures(*modules: str) -> list[str]:
    return list(evaluated(*modules)["failed"])


@pytest.mark.nix
def test_a_control_machine_serves_its_inventory_on_its_bridge_alone() -> None:
    found = evaluated(CONTROL)
    assert found["failed"] == []
    settings = found["settings"]
    assert settings["services"]["dnsmasq"]["settings"]["interface"] == "br0"
    assert settings["services"]["dnsmasq"]["settings"]["dhcp-range"] == "10.0.0.0,static,255.255.255.0,10m"
    assert settings["services"]["nginx"]["virtualHosts"]["fleet-netboot"]["root"].endswith("/http/$remote_addr")
    assert settings["networking"]["firewall"] == {
        "interfaces": {"br0": {"allowedTCPPorts": [8077], "allowedUDPPorts": [67, 69]}}
    }
    assert settings["systemd"]["paths"]["fleet-netboot"]["pathConfig"]["PathChanged"] == "/srv/fleet/generated"
    assert "--argstr inventory '/srv/fleet'" in settings["systemd"]["services"]["fleet-netboot"]["script"]
    assert settings["systemd"]["services"]["fleet-netboot"]["serviceConfig"]["User"] == "fleet-netboot"
    assert settings["systemd"]["services"]["quarterdeck-init"]["script"] == "qd init --shared quarterdeck /srv/fleet\n"


@pytest.mark.nix
def test_a_control_machine_that_knows_no_network_serves_none() -> None:
    found = evaluated(
        '{ imports = [ ROOT/nix/modules/control.nix ]; services.quarterdeck.package = "/console"; '
        'networking.hostName = "control"; }'
    )
    assert found["failed"] == []
    assert "dnsmasq" not in found["settings"]["services"]


@pytest.mark.nix
def test_operators_and_viewers_get_qd_and_no_shell() -> None:
    accounts = f"""{{
      fleet.users.ops = {{ keys = [ "{KEY}" ]; role = "operator"; }};
      fleet.users.corridor = {{ keys = [ "{KEY}" ]; role = "viewer"; }};
    }}"""
    settings = evaluated(CONTROL, accounts)["settings"]
    words = settings["services"]["openssh"]["extraConfig"].split()
    commands = {
        words[i + 2]: words[i + 6 : i + 9] for i, word in enumerate(words) if word == "Match" and words[i + 1] == "User"
    }
    assert commands == {
        "ops": ["operator", "/srv/fleet", "/console/bin/qd"],
        "corridor": ["viewer", "/srv/fleet", "/console/bin/qd"],
    }
    # What follows in the file is for everybody again.
    assert words[-2:] == ["Match", "all"]
    assert settings["users"]["groups"]["quarterdeck"]["members"] == ["ops"]
    assert settings["systemd"]["tmpfiles"]["rules"] == ["d /srv/fleet 2775 root quarterdeck -"]


@pytest.mark.nix
def test_the_dashboard_starts_again_for_ever_and_can_only_read() -> None:
    screen = '{ services.quarterdeck.dashboard = { enable = true; tty = "tty7"; identity = "/run/secrets/key"; }; }'
    services = evaluated(CONTROL, screen)["settings"]["systemd"]["services"]
    unit = services["quarterdeck-dashboard"]
    assert unit["startLimitIntervalSec"] == 0
    wanted = {
        "ExecStart": "/console/bin/qd dashboard --inventory /srv/fleet",
        "User": "quarterdeck-dashboard",
        "Restart": "always",
        "TTYPath": "/dev/tty7",
        "ProtectSystem": "strict",
        "NoNewPrivileges": True,
        "CapabilityBoundingSet": "",
        "LoadCredential": ["identity:/run/secrets/key"],
    }
    assert {key: unit["serviceConfig"][key] for key in wanted} == wanted
    assert services["getty@tty7"] == {"enable": False}


@pytest.mark.nix
def test_the_installer_lets_in_by_key_alone_and_reports() -> None:
    found = evaluated(INSTALLER, f'{{ fleet.installer.authorizedKeys = [ "{KEY}" ]; }}')
    assert found["failed"] == []
    settings = found["settings"]
    assert settings["services"]["openssh"]["settings"] == {
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": False,
        "KbdInteractiveAuthentication": False,
    }
    assert settings["users"]["users"]["root"] == {"openssh": {"authorizedKeys": {"keys": [KEY]}}}
    report = settings["systemd"]["services"]["fleet-hardware-report"]
    assert "/run/fleet/hardware.json" in report["script"]
    assert report["serviceConfig"]["StandardOutput"] == "journal+console"
    assert "postMountCommands" not in settings["boot"]["initrd"]


@pytest.mark.nix
@pytest.mark.parametrize("release", ["24.11", "25.05"])
def test_the_installer_has_all_drivers_on_releases_where_that_is_a_switch(tmp_path: Path, release: str) -> None:
    profile = tmp_path / "profiles" / "all-hardware.nix"
    profile.parent.mkdir()
    if release == "24.11":
        profile.write_text("{ hardware.enableRedistributableFirmware = true; }")
    else:
        profile.write_text(
            "{ config, lib, ... }: { options.hardware.enableAllHardware = lib.mkOption { default = false; "
            "type = lib.types.bool; }; config = lib.mkIf config.hardware.enableAllHardware { "
            "hardware.enableRedistributableFirmware = true; }; }"
        )
    text = (
        f"((import {ROOT}/tests/nix/standin).lib.evaluate {{ modules = [ {ROOT}/nix/images/all-hardware.nix ]; "
        f"args.modulesPath = {tmp_path}; }}).config.hardware.enableRedistributableFirmware"
    )
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "true", done.stderr


@pytest.mark.nix
@pytest.mark.parametrize("systemd", [False, True])
def test_handed_keys_are_for_either_kind_of_stage_1(systemd: bool) -> None:
    handed = "{ fleet.installer.handedKeys = true; boot.initrd.systemd.enable = SYSTEMD; }"
    handed = handed.replace("SYSTEMD", str(systemd).lower())
    found = evaluated(INSTALLER, handed)
    assert found["failed"] == []
    initrd = found["settings"]["boot"]["initrd"]
    if systemd:
        script, root = initrd["systemd"]["services"]["fleet-handed-keys"]["script"], "/sysroot"
        assert "postMountCommands" not in initrd
    else:
        script, root = initrd["postMountCommands"], "$targetRoot"
    assert f"INTO={root} CMDLINE=/proc/cmdline" in script
    assert script.rstrip().endswith("hand_keys")


@pytest.mark.nix
@pytest.mark.parametrize(
    ("role", "wrong", "sentence"),
    [
        (INSTALLER, "{ }", "Nobody could log in to this installer"),
        (CONTROL.replace("10.0.0.2/24", "fd00::2/64"), "{ }", "needs an IPv4 address"),
        (CONTROL.replace('"br0"', "null"), "{ fleet.netboot.enable = true; }", "does not know where to listen"),
        (CONTROL, '{ fleet.netboot.entries.a.kernel = "https://x.example/k"; }', "entries.a.kernel needs a hash"),
        (
            CONTROL,
            '{ fleet.netboot.entries.a = { kernel = "/nix/store/k"; initrd = "http://x.example/i"; }; }',
            "entries.a.initrd needs a hash",
        ),
        (CONTROL, '{ fleet.netboot.entries."a b".kernel = "/nix/store/k"; }', "cannot be a label of a menu"),
        (
            CONTROL,
            '{ fleet.netboot.machines.x = { mac = "52:54:00:00:00:01"; address = "10.0.0.9"; entry = "gone"; }; }',
            "machines.x is to boot gone, which fleet.netboot.entries does not have",
        ),
        (CONTROL, '{ services.quarterdeck = { operators = [ "a" ]; viewers = [ "a" ]; }; }', "both as operator and"),
        (CONTROL, '{ services.quarterdeck.operators = [ "root" ]; }', "would take root's shell away"),
        (
            CONTROL,
            '{ services.quarterdeck.dashboard.identity = "/nix/store/key"; }',
            "is in the Nix store, where everybody can read it",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(role: str, wrong: str, sentence: str) -> None:
    (found,) = failures(role, wrong)
    assert sentence in found


@pytest.mark.nix
def test_an_operators_own_settings_win_without_force() -> None:
    mine = """{
      services.dnsmasq.settings = { dhcp-range = "10.0.0.0,static,255.255.255.0,1h"; log-dhcp = false; };
      services.nginx.virtualHosts.fleet-netboot.root = "/srv/images";
      services.quarterdeck.dashboard.enable = true;
      systemd.services.quarterdeck-dashboard.serviceConfig.RestartSec = 60;
      systemd.services."getty@tty1".enable = true;
    }"""
    settings = evaluated(CONTROL, mine)["settings"]
    assert settings["services"]["dnsmasq"]["settings"]["dhcp-range"] == "10.0.0.0,static,255.255.255.0,1h"
    assert settings["services"]["dnsmasq"]["settings"]["log-dhcp"] is False
    assert settings["services"]["nginx"]["virtualHosts"]["fleet-netboot"]["root"] == "/srv/images"
    assert settings["systemd"]["services"]["quarterdeck-dashboard"]["serviceConfig"]["RestartSec"] == 60
    assert settings["systemd"]["services"]["getty@tty1"] == {"enable": True}
