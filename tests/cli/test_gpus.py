"""qd gpu: the fleet's cards, whose they are, and what a guest would run into."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.place import Place


def test_the_cards_of_the_fleet_and_whose_they_are(place: Place, demo: Path) -> None:
    cards = json.loads(place.ok("gpu", "list", "--json", "--inventory", str(demo)))
    owners = {(card["host"], card["slot"]): card["owner"] for card in cards}
    assert owners["vhost-a", "0000:65:00"] is None
    assert owners["vhost-a", "0000:b3:00"] == "vhost-a/win-lab (off)"
    assert [f["id"] for f in next(c for c in cards if c["slot"] == "0000:65:00")["functions"]] == [
        "10de:2206",
        "10de:1aef",
    ]
    only = place.ok("gpu", "list", "--host", "vhost-c", "--inventory", str(demo)).splitlines()
    assert only[0].split()[:3] == ["HOST", "SLOT", "CARD"] and only[1].startswith("vhost-c  0000:03:00")


def test_what_only_the_kernel_knows_is_not_made_up(place: Place, demo: Path) -> None:
    """The demo's hosts have no kernel to ask: their cards are what libvirt tells, and that is said."""
    shown = place.ok("gpu", "show", "vhost-a/65:00", "--inventory", str(demo))
    assert "✔ other guests" in shown
    assert "? what the host needs: The kernel of vhost-a was not asked." in shown
    assert "What libvirt tells" not in shown.splitlines()[0]
    assert "gives no shell there" in shown


def test_a_device_is_kept_for_its_host_and_given_back(place: Place, demo: Path) -> None:
    file = demo / "hosts/vhost-a.toml"
    before = file.read_text()
    card = ("vhost-a/65:00", "--inventory", str(demo))
    shown = place.ok("gpu", "own", *card, "--containers", "on", "--plan")
    assert "Keep 0000:65:00 for vhost-a" in shown and "hosts/vhost-a.toml" in shown and file.read_text() == before
    done = place.qd("gpu", "own", *card, "--containers", "on")
    assert done.returncode == 0 and "lets its containers name it by CDI" in done.stderr
    assert '[own.gpu0]\npci = "0000:65:00"' in file.read_text()
    host = json.loads(place.ok("host", "show", "vhost-a", "--json", "--inventory", str(demo)))
    assert host["own"]["gpu0"] == {"slot": "0000:65:00", "functions": ["10de:2206", "10de:1aef"], "containers": True}
    assert "0000:65:00  (own.gpu0, for containers)" in place.ok("host", "show", "vhost-a", "--inventory", str(demo))
    assert "kept (own.gpu0, for containers)" in place.ok("gpu", "show", *card)
    refused = place.qd("guest", "set", "win-lab", "--gpu", "65:00", "--inventory", str(demo))
    assert refused.returncode == 1 and "kept by vhost-a for itself" in refused.stderr
    place.ok("gpu", "release", *card)
    assert file.read_text() == before
    assert place.ok("history", "-n", "1", "--inventory", str(demo)).rstrip().endswith("Give 0000:65:00 of vhost-a back")
    place.ok("undo", "--inventory", str(demo))
    assert "[own.gpu0]" in file.read_text()
    place.ok("gpu", "release", *card)


def test_a_preflight_of_a_guest(place: Place, demo: Path) -> None:
    text = place.ok("gpu", "preflight", "win-lab", "--inventory", str(demo))
    assert text.startswith("gpu0: ✔ ")
    found = json.loads(place.ok("gpu", "preflight", "win-lab", "--json", "--inventory", str(demo)))
    verdicts = {finding["rule"]: finding["verdict"] for finding in found["gpu0"]}
    assert (verdicts["in-use"], verdicts["machine"], verdicts["critical"]) == ("ok", "ok", "not known")
    file = demo / "hosts/vhost-a.toml"
    file.write_text(file.read_text().replace('pci = "0000:b3:00"', 'pci = "0000:b4:00"'))
    refused = place.qd("gpu", "preflight", "win-lab", "--inventory", str(demo))
    assert refused.returncode == 1
    assert "✖ the same hardware: The hardware changed: 0000:b4:00 on vhost-a is empty." in refused.stdout
    assert "→ The same card is at 0000:b3:00 now: choose it there." in refused.stdout


def test_what_is_no_card(place: Place, demo: Path) -> None:
    for words, why in (
        (("vhost-a",), 'Write the host and the slot: "vhost-a/65:00".'),
        (("vhost-a/zz",), "is no PCI slot"),
        (("vhost-a/99:00",), "vhost-a has no card at 0000:99:00."),
    ):
        refused = place.qd("gpu", "show", *words, "--inventory", str(demo))
        assert refused.returncode == 1 and why in refused.stderr


WINDOWS = ("--profile", "windows", "--memory", "8GiB", "--disk", "80GiB", "--vcpus", "8")


def test_a_guest_by_the_name_of_a_resource_and_a_warning_that_may_stay(place: Place, demo: Path) -> None:
    with (demo / "fleet.toml").open("a") as file:
        file.write('\n[resources.small]\nid = "10de:24b0"\n\n[resources.rtx]\nid = "10de:2206"\n')
    inventory = ("--inventory", str(demo))
    create = ("guest", "create", "thinker", "--host", "vhost-a", "--vcpus", "2", "--memory", "2GiB", "--disk", "5GiB")
    taken = place.qd(*create, "--gpu", "small", *inventory)
    assert taken.returncode == 1 and "No small is free on vhost-a." in taken.stderr
    assert "belongs to vhost-a/win-lab" in taken.stderr
    place.ok("guest", "set", "win-lab", "--gpu", "none", *inventory)
    done = place.qd(*create, "--gpu", "small", *inventory)
    assert done.returncode == 0, done.stderr
    assert "gpu0: small is" in done.stderr and "at 0000:b3:00" in done.stderr
    assert 'resource = "small"' in (demo / "hosts/vhost-a.toml").read_text()
    checked = place.ok("gpu", "preflight", "thinker", *inventory)
    assert "To let the warnings stay: qd guest set vhost-a/thinker --accept firmware" in checked
    place.ok("guest", "set", "thinker", "--accept", "firmware", *inventory)
    assert "(accepted)" in place.ok("gpu", "preflight", "thinker", *inventory)
    refused = place.qd("guest", "set", "thinker", "--accept", "fire", *inventory)
    assert refused.returncode == 1 and '"fire" is no check of the preflight' in refused.stderr


def test_a_windows_guest_is_started_by_uefi_unasked(place: Place, demo: Path) -> None:
    made = place.qd("guest", "create", "desk", "--host", "vhost-a", *WINDOWS, "--inventory", str(demo))
    assert made.returncode == 0, made.stderr
    text = (demo / "hosts/vhost-a.toml").read_text()
    assert 'profile = "windows"' in text and text.index("[guests.desk]") < text.rindex('firmware = "uefi"')
    refused = place.qd("guest", "set", "desk", "--firmware", "bios", "--inventory", str(demo))
    assert refused.returncode == 1 and 'write firmware = "uefi"' in refused.stderr


def test_what_cannot_be_kept_or_parted(place: Place, demo: Path) -> None:
    file = demo / "hosts/vhost-b.toml"
    before = file.read_text()
    for words, why in (
        (("own", "vhost-b/17:00"), "It belongs to vhost-b/render-1 (running). Take it from the guest first."),
        (("own", "vhost-b"), 'Write the host and the slot: "vhost-a/65:00".'),
        (("own", "nowhere/17:00"), "There is no host"),
        (("release", "vhost-b/17:00"), "vhost-b does not keep 0000:17:00 for itself."),
        (("vfs", "vhost-b/17:00", "4"), "The kernel of vhost-b was not asked"),
        (("vfs", "vhost-b/17:00.0", "many"), "is no number of virtual functions"),
    ):
        refused = place.qd("gpu", *words, "--inventory", str(demo))
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
        assert place.qd("--read-only", "gpu", *words, "--inventory", str(demo)).returncode == 1
    assert file.read_text() == before


def test_cards_are_found_by_word_and_state(place: Place, demo: Path) -> None:
    def found(*words: str) -> set[tuple[str, str, str]]:
        cards = json.loads(place.ok("gpu", "list", "--json", *words, "--inventory", str(demo)))
        return {(card["host"], card["slot"][5:], card["state"]) for card in cards}

    assert found("--state", "screen") == {("vhost-a", "02:00", "screen"), ("vhost-b", "02:00", "screen")}
    assert found("radeon", "--state", "free", "--state", "taken") == {("vhost-c", "03:00", "free")}
    assert found("rtx", "--host", "vhost-b") == {("vhost-b", "17:00", "taken")}
    assert found("!aspeed", "--host", "vhost-b", "!taken") == set()
    shown = place.ok("gpu", "list", "--host", "vhost-b", "--inventory", str(demo))
    assert "– the host's screen" in shown and "◆ render-1 (running)" in shown
    assert "vhost-d" not in shown, "who asks for one host hears of no other"
    assert place.ok("gpu", "list", "nothing", "--inventory", str(demo)).startswith("No card matches.")


def test_the_states_to_filter_by_are_those_of_cards() -> None:
    from console.cli.parser import CARD_STATES
    from console.services.devices import CardState

    assert tuple(state.value for state in CardState) == CARD_STATES


def test_a_guest_is_asked_of_its_card_when_that_is_said(place: Place, demo: Path) -> None:
    """The demo's guests have no agents."""
    words = ("gpu", "show", "vhost-b/17:00", "--inventory", str(demo))
    assert "seen by guest" not in place.ok(*words)
    assert "seen by guest  no agent answers in the guest" in place.ok(*words, "--ask-guest")
    told = json.loads(place.ok(*words, "--ask-guest", "--json"))["seen_by_guest"]
    assert told == {"driver": "", "use": None, "why_not": "no agent answers in the guest"}
    assert "seen by guest  no guest of the inventory runs with it" in place.ok(
        "gpu", "show", "vhost-c/03:00", "--ask-guest", "--inventory", str(demo)
    )
    refused = place.qd("--read-only", *words, "--ask-guest")
    assert refused.returncode == 1 and "A read-only console speaks to no guest." in refused.stderr
