"""Edits of an inventory's text: they mean what was meant, and every comment stays with its table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from console.domain.errors import FleetError
from console.domain.model import Fleet, Host
from console.inventory.edit import edited_text, new_text
from console.inventory.files import Inventory, changed_texts, parse_inventory
from console.inventory.lines import header_keys
from console.inventory.tables import fleet_table, host_table
from tests.sound import sound_fleets

FOLDER = Path("/inventory")

FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
"""Fleets are large: making a failing one smaller takes minutes and tells little more."""

TEXT = """\
# The first one we bought.
mac = "x"   # left port

# Serves the shop.
[guests.web]
vcpus = 2   # half of what it had
labels = [
  "shop",   # and the bakery
]

# The system.
# Rebuilt monthly.
[guests.web.disks.boot]
size = "1"

# Next one.
[guests.b]
vcpus = 1
# The end."""

BEFORE = {
    "mac": "x",
    "guests": {"web": {"vcpus": 2, "labels": ["shop"], "disks": {"boot": {"size": "1"}}}, "b": {"vcpus": 1}},
}


def guests(**changes: dict[str, object]) -> dict[str, object]:
    return {**BEFORE["guests"], **changes}  # type: ignore[dict-item]


def test_nothing_changed_is_not_a_letter_changed() -> None:
    assert edited_text(TEXT, BEFORE, BEFORE) == TEXT


def test_a_key_is_added_above_the_comment_of_the_next_table() -> None:
    web = {"vcpus": 2, "labels": ["shop"], "autostart": True, "disks": {"boot": {"size": "1"}}}
    text = edited_text(TEXT, BEFORE, {**BEFORE, "accel": "kvm", "guests": guests(web=web)})
    assert 'mac = "x"   # left port\naccel = "kvm"\n\n# Serves the shop.\n[guests.web]\n' in text
    assert "]\nautostart = true\n\n# The system.\n# Rebuilt monthly.\n[guests.web.disks.boot]" in text


def test_a_table_is_added_after_its_siblings_and_before_the_next_ones_comment() -> None:
    web = {"vcpus": 2, "labels": ["shop"], "disks": {"boot": {"size": "1"}, "data": {"size": "2"}}}
    text = edited_text(TEXT, BEFORE, {"mac": "x", "hardware": {"cpu": "y"}, "guests": guests(web=web)})
    assert text == TEXT.replace("\n# Serves", '\n[hardware]\ncpu = "y"\n\n# Serves').replace(
        "\n# Next", '\n[guests.web.disks.data]\nsize = "2"\n\n# Next'
    )


def test_a_table_at_the_end_of_a_file_without_a_last_newline() -> None:
    text = edited_text(TEXT, BEFORE, {**BEFORE, "guests": guests(c={"vcpus": 3, "disks": {"boot": {"size": "5"}}})})
    assert text == TEXT + '\n\n[guests.c]\nvcpus = 3\n\n[guests.c.disks.boot]\nsize = "5"\n'


def test_a_table_goes_with_its_inner_tables_and_comments() -> None:
    text = edited_text(TEXT, BEFORE, {"mac": "x", "guests": {"b": {"vcpus": 1}}})
    assert (
        text == '# The first one we bought.\nmac = "x"   # left port\n\n# Next one.\n[guests.b]\nvcpus = 1\n# The end.'
    )


def test_tables_out_of_order_are_edited_where_they_stand() -> None:
    text = """\
[guests.web]
vcpus = 2
# the host's own
[hardware]
cpu = "1"
# disks of web, elsewhere
[guests.web.disks.boot]
size = "1"
"""
    before = {"hardware": {"cpu": "1"}, "guests": {"web": {"vcpus": 2, "disks": {"boot": {"size": "1"}}}}}
    web = {"vcpus": 3, "disks": {"boot": {"size": "2"}}}
    assert edited_text(text, before, {**before, "guests": {"web": web}}) == text.replace(
        "vcpus = 2", "vcpus = 3"
    ).replace('size = "1"', 'size = "2"')


@pytest.mark.parametrize(
    "text",
    [
        'guests = { web = { vcpus = 2, disks = { boot = { size = "1" } } } }   # short\n',
        'guests.web.vcpus = 2   # short\nguests.web.disks.boot.size = "1"\n',
        '[guests]\nweb = { vcpus = 2, disks.boot.size = "1" }   # short\n',
        '[guests.web]   # short\nvcpus = 2\ndisks = { boot = { size = "1" } }\n',
        '[ guests . "web" ]   # short\nvcpus = 2\n[guests.web.disks]\nboot.size = "1"\n',
    ],
)
def test_short_spellings_of_tables_are_edited_in_place(text: str) -> None:
    import rtoml

    before = {"guests": {"web": {"vcpus": 2, "disks": {"boot": {"size": "1"}}}}}
    after = {
        "guests": {"web": {"vcpus": 3, "autostart": True, "disks": {"boot": {"size": "2"}, "data": {"size": "3"}}}}
    }
    assert rtoml.loads(text) == before
    edited = edited_text(text, before, after)
    assert rtoml.loads(edited) == after
    assert "# short" in edited
    assert rtoml.loads(edited_text(text, before, {"guests": {}})).get("guests", {}) == {}


def test_what_is_added_at_the_end_and_removed_again_leaves_nothing() -> None:
    for text in (TEXT + "\n", "[guests.web]\n", "# The end.\n", ""):
        known = BEFORE["guests"] if text.startswith("# The first") else {"web": {}} if text.startswith("[") else {}
        before = {"guests": known}
        after = {"guests": {**known, "new": {"vcpus": 3, "disks": {"boot": {"size": "5"}}}}}
        edited = edited_text(text, before, after)
        assert "[guests.new.disks.boot]" in edited
        assert edited_text(edited, after, before) == text


@pytest.mark.parametrize(("written", "key"), [("false", "autostart"), ("true", "agent")])
def test_a_switch_that_somebody_wrote_stays_written(written: str, key: str) -> None:
    """What is left out has a meaning, and so the line could go; but it may have been put there for its comment."""
    text = f"[guests.web]\n{key} = {written}   # see the wiki\nvcpus = 1\n"
    usual = {"guests": {"web": {"vcpus": 1}}}
    other = {"guests": {"web": {"vcpus": 1, key: written == "false"}}}
    turned = edited_text(text, usual, other)
    assert f"{key} = {'true' if written == 'false' else 'false'}   # see the wiki" in turned
    assert edited_text(turned, other, usual) == text


def test_text_that_only_looks_like_a_table_is_refused_in_words() -> None:
    text = 'description = """\n[guests.web]\n"""\n'
    with pytest.raises(FleetError, match="by hand"):
        edited_text(text, {"description": "[guests.web]\n"}, {"description": "x"})


def written(fleet: Fleet) -> Inventory:
    """The fleet as files, each table with a comment above it that names it."""
    texts = {"fleet.toml": new_text(fleet_table(fleet), "the fleet")}
    texts |= {f"hosts/{name}.toml": new_text(host_table(host), f"host {name}") for name, host in fleet.hosts.items()}
    commented = {
        name: re.sub(r"^\[(.*)\]$", r"# about \1\n[\1]", text, flags=re.MULTILINE) for name, text in texts.items()
    }
    inventory = parse_inventory(FOLDER, commented)
    assert not inventory.faults, str(inventory.faults[0])
    assert inventory.fleet == fleet
    return inventory


def comments(text: str) -> dict[tuple[str, ...], str]:
    """Which comment stands above each table."""
    lines = text.splitlines()
    return {keys: lines[i - 1] for i, line in enumerate(lines) if (keys := header_keys(line)) and i}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=FOUND)
@given(sound_fleets(), sound_fleets())
def test_any_change_of_any_fleet_is_written_faithfully_and_moves_no_comment(before: Fleet, other: Fleet) -> None:
    """To one that has part of its hosts and guests, some of them changed, and what it lacks of another's resources.

    That the texts mean what was asked for is checked by changed_texts itself.
    """
    inventory = written(before)
    hosts = {}
    for place, (name, host) in enumerate(before.hosts.items()):
        if place % 3 == 2:
            continue
        guests = {
            key: guest if number % 2 else replace(guest, vcpus=guest.vcpus + 1, cpus="", autostart=not guest.autostart)
            for number, (key, guest) in enumerate(host.guests.items())
            if number % 4 != 3
        }
        hosts[name] = replace(host, guests=guests, labels=("new", *host.labels))
    new = Host(name="new.host", mac="52:54:03:00:00:01", address="10.0.2.1/24", uri="test:///x")
    after = replace(
        before,
        pools={**other.pools, **before.pools},
        networks={**other.networks, **before.networks},
        users=other.users,
        hosts=dict(sorted({**hosts, new.name: new}.items())),
    )
    changes = changed_texts(inventory, after)
    for name, text in changes.items():
        for keys, comment in comments(text or "").items():
            known = comments(inventory.texts.get(name, ""))
            if keys in known:
                assert comment == known[keys], (name, keys)
