"""Nix data: what Nix reads back is exactly what was written, whatever the strings hold."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.domain.errors import FleetError
from console.domain.model import (
    Display,
    Firmware,
    Fleet,
    Guest,
    Host,
    Kind,
    Netboot,
    NetbootEntry,
    Network,
    Pool,
    Ssh,
    User,
)
from console.generate.header import digest, read_head
from console.generate.nix import FORMAT, flake_nix, generated_files, guest_data, machine_data, machine_files, machines
from console.generate.nix_value import Value, nix_value
from tests.generate.test_domain_xml import FLEET, GPU, GUEST, LAN, SYSTEM
from tests.generate.test_domain_xml import host as make_host
from tests.strategies import fleets

ROOT = Path(__file__).parents[2]
LAB = Network(name="lab", bridge="br20", subnet="10.0.20.0/24", vlan=20)

AWKWARD = (
    *("''", "'", "'''", "${", "$${", "$", "''${", "'${", "''\\", "$''", "''$", "\\", '"', "{", "}"),
    *("\n", "\t", "\r", "\r\n", " ", "   ", "a", "é", "🚀", "in", "\x1b", "\x7f", "\x85", "\u2028"),
)
NAMES = (
    "",
    "in",
    "with",
    "or",
    "rec",
    "inherit",
    "1a",
    "a-b",
    "with.dot",
    "a b",
    "a'b",
    "-",
    "_",
    "${a}",
    '"',
    "é",
    "a\n",
)


def host(*guests: Guest, name: str = "vhost-a") -> Host:
    return replace(make_host(), name=name, guests={guest.name: guest for guest in guests})


def awkward_text() -> st.SearchStrategy[str]:
    free = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
    return st.lists(st.sampled_from(AWKWARD) | free, max_size=12).map("".join)


def whole_lines() -> st.SearchStrategy[str]:
    """Text that an indented string is chosen for."""
    line = st.lists(st.sampled_from([piece for piece in AWKWARD if piece.isprintable()]), max_size=5).map("".join)
    return st.lists(line, min_size=2, max_size=5).map(lambda found: "\n".join(found) + "\n")


def values() -> st.SearchStrategy[Value]:
    integers = st.integers(-(2**63) + 1, 2**63 - 1)
    texts = awkward_text() | whole_lines()
    leaves: st.SearchStrategy[Value] = st.none() | st.booleans() | integers | texts
    keys = st.sampled_from(NAMES) | awkward_text()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


def plain(value: Value) -> object:
    """The value as JSON gives it back."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return value


@pytest.fixture(scope="module")
def nix() -> None:
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix-instantiate is missing: install nix-bin")


def instantiate(*words: str | Path, text: str | None = None) -> str:
    # The dummy store needs no /nix and no root; nothing here is built.
    done = subprocess.run(
        ["nix-instantiate", *words, "--store", "dummy://"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr[:2000]}\n{text}"
    return done.stdout


def evaluated(text: str) -> object:
    return json.loads(instantiate("--eval", "--strict", "--json", "-", text=text))


@pytest.mark.nix
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(values(), min_size=5, max_size=20))
def test_every_value_comes_back(nix: None, found: list[Value]) -> None:
    assert evaluated(nix_value(found)) == plain(found)


@pytest.mark.nix
def test_every_pair_of_awkward_pieces_comes_back(nix: None) -> None:
    pairs = [a + b for a in AWKWARD for b in AWKWARD]
    forms = ("{0}", "x\n{0}\n", "x\n {0}{0}\ny\n", " {0}\n  {0}\n", "x\n{0}\ny", "\n{0}\n\n", "{0}\n   \n{0}\n")
    texts = [form.replace("{0}", pair) for form in forms for pair in pairs]
    assert evaluated(nix_value(texts)) == texts
    assert evaluated(nix_value({text: text for text in texts})) == {text: text for text in texts}


@pytest.mark.nix
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1, max_size=30))
def test_floats_come_back(nix: None, found: list[float]) -> None:
    read = evaluated(nix_value(found))
    assert isinstance(read, list)
    # Nix prints six digits.
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(found, read, strict=True))


@pytest.mark.nix
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fleets())
def test_every_machine_s_file_is_its_data(nix: None, tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> None:
    files = generated_files(fleet)
    folder = tmp_path_factory.mktemp("inventory")
    wanted = {}
    for home in fleet.hosts.values():
        wanted[home.name] = plain(machine_data(fleet, home))
        for guest in home.guests.values():
            if guest.kind is Kind.NIXOS:
                wanted[guest.name] = plain(guest_data(fleet, home, guest))
    assert sorted(files) == sorted(f"generated/{name}.nix" for name in wanted)
    if not files:
        return
    write(folder, files)
    instantiate("--parse", *(folder / path for path in files))
    names = nix_value(sorted(wanted))
    read = evaluated(f'map (name: import ({folder}/generated + "/${{name}}.nix")) {names}')
    assert read == [wanted[name] for name in sorted(wanted)]


@pytest.mark.nix
def test_the_flake_shows_the_data_of_every_machine(nix: None, tmp_path: Path) -> None:
    fleet = replace(FLEET, name='${a} "b"', hosts={"vhost-a": host(GUEST), "v.b": host(name="v.b")})
    write(tmp_path, {"flake.nix": flake_nix(fleet)})
    # What nix hands to a flake, with a nixpkgs that has nothing in it.
    quarterdeck = f"(import {ROOT}/tests/nix/standin).self"
    made = f"((import {tmp_path}/flake.nix).outputs {{ quarterdeck = {quarterdeck}; }})"
    outputs = f"{made}.fleet"
    assert evaluated(outputs) == {}
    write(tmp_path, generated_files(fleet))
    (tmp_path / "generated/notes.txt").write_text("not a machine")
    assert evaluated(outputs) == {
        name: plain(machine_data(fleet, home))["fleet"]  # type: ignore[index]
        for name, home in fleet.hosts.items()
    }
    assert evaluated(f"builtins.attrNames {made}.nixosConfigurations") == ["v.b", "vhost-a"]
    assert evaluated(f"builtins.attrNames {made}.packages") == ["aarch64-linux", "x86_64-linux"]
    assert evaluated(f"{made}.nixosConfigurations.vhost-a.settings.networking.hostName") == "vhost-a"
    assert evaluated(f"(import {tmp_path}/flake.nix).description") == '${a} "b": a fleet of NixOS hypervisors'


def test_the_template_is_the_flake_that_an_inventory_begins_with() -> None:
    def content(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith(("#", "  description ="))]

    template = (ROOT / "nix/templates/default/flake.nix").read_text()
    assert content(template) == content(flake_nix(FLEET))


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", math.inf, math.nan, 5e-324, 2**63, -(2**63), {"\0": 1}, ["x\ny\0\n"]]
)
def test_what_nix_cannot_hold_is_refused(value: Value) -> None:
    with pytest.raises(FleetError):
        nix_value(value)


def test_a_text_of_whole_lines_is_readable() -> None:
    xml = "<domain>\n  <name>a</name>\n</domain>\n"
    assert nix_value({"xml": xml}) == "{\n  xml = ''\n    <domain>\n      <name>a</name>\n    </domain>\n  '';\n}"


def test_equal_data_gives_equal_text_in_whatever_order() -> None:
    assert nix_value({"b": 1, "a": [True, None, -1]}) == nix_value({"a": (True, None, -1), "b": 1})


def test_a_change_of_one_host_touches_no_other_machine() -> None:
    nixos = replace(GUEST, name="app", kind=Kind.NIXOS)
    before = replace(FLEET, hosts={"vhost-a": host(GUEST), "vhost-b": host(nixos, name="vhost-b")})
    after = replace(before, hosts={**before.hosts, "vhost-a": host(replace(GUEST, vcpus=9))})
    changed = {path for path, text in generated_files(after).items() if generated_files(before)[path] != text}
    assert changed == {"generated/vhost-a.nix"}
    assert set(generated_files(after)) == {f"generated/{name}.nix" for name in ("app", "vhost-a", "vhost-b")}
    assert machine_files(after, "vhost-b") == machine_files(before, "vhost-b")


def test_a_file_says_where_it_comes_from_and_has_the_digest_of_its_data() -> None:
    fleet = replace(FLEET, hosts={"vhost-a": host(GUEST)})
    text = generated_files(fleet)["generated/vhost-a.nix"]
    head = text.splitlines()[:4]
    assert "hosts/vhost-a.toml" in head[0] and "do not edit" in head[0]
    assert "machines/vhost-a.nix" in head[1]
    read = read_head(text.encode())
    assert read is not None and read.intact and read.source == machines(fleet)["generated/vhost-a.nix"].source()
    for edited in (text.replace("vcpus = 2", "vcpus = 3"), text + "\n", text[:-1]):
        read = read_head(edited.encode())
        assert read is not None and not read.intact
    assert read_head(text.removeprefix("# Written").encode()) is None
    assert read_head(b"{ }\n") is None


def test_a_file_of_an_earlier_release_is_known_by_its_digest() -> None:
    text = generated_files(replace(FLEET, hosts={"vhost-a": host(GUEST)}))["generated/vhost-a.nix"]
    earlier = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# source: "))
    read = read_head(earlier.encode())
    assert read is not None and read.intact and read.source is None


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (lambda fleet: replace(fleet, ssh=Ssh(jump="gate")), set()),
        (lambda fleet: replace(fleet, users={"b": User(name="b", labels=("rack-9",))}), {"vhost-b", "app"}),
        (lambda fleet: replace(fleet, users={"b": User(name="b")}), {"vhost-a", "vhost-b", "app"}),
        (lambda fleet: replace(fleet, networks={**fleet.networks, "lab": LAB}), {"vhost-a", "vhost-b"}),
        (lambda fleet: replace(fleet, hosts={**fleet.hosts, "vhost-a": host()}), {"vhost-a"}),
        (lambda fleet: replace(fleet, netboot=Netboot(server="vhost-a")), {"vhost-a"}),
    ],
)
def test_the_source_changes_with_what_a_machine_uses_and_with_nothing_else(
    change: Callable[[Fleet], Fleet], touched: set[str]
) -> None:
    nixos = replace(GUEST, name="app", kind=Kind.NIXOS)
    rack_9 = replace(host(nixos, name="vhost-b"), labels=("rack-9",))
    before = replace(FLEET, hosts={"vhost-a": host(GUEST), "vhost-b": rack_9})
    after = change(before)
    old, new = machines(before), machines(after)
    assert {new[path].name for path in new if old[path].source() != new[path].source()} == touched
    assert {new[path].name for path in new if old[path].body() != new[path].body()} == touched


def test_the_format_is_counted_when_the_same_inventory_gives_other_files() -> None:
    """Who sees this fail has changed what is generated: count FORMAT up, and write both down here."""
    guest = replace(GUEST, kind=Kind.NIXOS, devices={"gpu0": GPU}, display=Display.VNC, firmware=Firmware.UEFI)
    users = {"ops": User(name="ops", keys=("ssh-ed25519 AAAA",), role="operator")}
    entry = NetbootEntry(name="rescue", kernel="https://boot.example/k", kernel_hash="sha256-x")
    fleet = replace(
        FLEET,
        users=users,
        networks={"lab": LAB},
        netboot=Netboot(server="vhost-a", entries={"rescue": entry}),
        hosts={"vhost-a": replace(host(guest), netboot="rescue", disk="/dev/disk/by-id/x", uplinks={"lab": LAN.mac})},
    )
    bodies = [machine.body() for machine in machines(fleet).values()]
    assert (FORMAT, digest("".join(bodies).encode())[:19]) == (b"4", "sha256-433b1a50db9e")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fleets(), fleets())
def test_equal_sources_are_equal_files(one: Fleet, other: Fleet) -> None:
    mixed = replace(one, users=other.users, hosts={**one.hosts})
    for path, machine in machines(one).items():
        if machines(mixed)[path].source() == machine.source():
            assert machines(mixed)[path].text() == machine.text()


def test_only_users_of_the_host_are_in_its_data() -> None:
    users = {
        "all": User(name="all", keys=("ssh-ed25519 AAAA",)),
        "here": User(name="here", labels=("gpu", "rack-9")),
        "there": User(name="there", labels=("rack-9",)),
    }
    data = machine_data(replace(FLEET, users=users), replace(host(), labels=("gpu",)))["fleet"]
    assert isinstance(data, Mapping) and isinstance(data["users"], Mapping)
    assert list(data["users"]) == ["all", "here"]


@pytest.mark.parametrize(
    "hosts",
    [
        {"vhost-a": host(replace(GUEST, name="vhost-a", kind=Kind.NIXOS))},
        {"vhost-a": host(), "vhost-b": host(replace(GUEST, name="vhost-a", kind=Kind.NIXOS), name="vhost-b")},
    ],
)
def test_two_machines_never_share_a_file(hosts: dict[str, Host]) -> None:
    with pytest.raises(FleetError):
        generated_files(replace(FLEET, hosts=hosts))


def test_two_disks_never_share_a_volume() -> None:
    one = replace(GUEST, name="web", disks={"a-b": replace(SYSTEM, name="a-b")}, boot=())
    other = replace(GUEST, name="web-a", disks={"b": replace(SYSTEM, name="b")}, boot=())
    with pytest.raises(FleetError, match="web-a-b"):
        machine_data(FLEET, host(one, other))
    moved = replace(FLEET, pools={**FLEET.pools, "fast": Pool(name="fast", path="/srv/fast")})
    machine_data(moved, host(one, replace(other, disks={"b": replace(SYSTEM, name="b", pool="fast")})))


def test_a_host_s_file_has_the_xml_of_its_guests() -> None:
    fleet = replace(FLEET, hosts={"vhost-a": host(replace(GUEST, devices={"gpu0": GPU}))})
    text = generated_files(fleet)["generated/vhost-a.nix"]
    assert "xml = ''\n" in text
    assert '<alias name="ua-dev-gpu0-1" />' in text
