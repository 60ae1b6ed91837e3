"""Adding, changing and removing hosts in the inventory."""

from __future__ import annotations

import pytest

from console.domain.errors import FleetError
from console.domain.plan import Danger
from console.services.wishes import HostWish
from tests.fakes import FakeHostKeys
from tests.services.world import HOST_KEY, World

NEW = {"name": "vhost-c", "mac": "52-54-00-10-00-0C", "address": "10.0.0.13/24"}


def host_wish(**facts: str) -> HostWish:
    return HostWish(**(NEW | facts))


async def test_a_host_by_its_mac(world: World) -> None:
    plan = world.session.plan_add_host(host_wish(labels="rack-1, gpu rack-1", ssh_host_key=HOST_KEY + " root@x"))
    assert plan.warnings == () and plan.steps == ()
    assert (await world.apply(plan)).ok
    text = (world.folder / "hosts/vhost-c.toml").read_text()
    assert 'mac = "52:54:00:10:00:0c"' in text and 'labels = ["rack-1", "gpu"]' in text and "root@x" not in text
    host = world.session.store.fleet.hosts["vhost-c"]
    assert host.uri == "qemu+ssh://root@10.0.0.13/system" and "uri" not in text
    assert (world.folder / "generated/vhost-c.nix").is_file()
    assert world.repository.commits[-1][0] == "Add host vhost-c"  # type: ignore[attr-defined]


async def test_a_host_without_a_pinned_key_says_what_that_means(world: World) -> None:
    (warning,) = world.session.plan_add_host(host_wish()).warnings
    assert "no pinned SSH host key" in warning and "not contacted" in warning
    assert world.session.plan_add_host(host_wish(uri="test:///x")).warnings == ()


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"name": "vhost-a"}, "name", "already is a host named vhost-a"),
        ({"name": "a\nb"}, "name", "is not a name"),
        ({"name": "x" * 300}, "name", "is not a name"),
        ({"mac": "52:54:00:10:00:0a"}, "mac", "already belongs to vhost-a"),
        ({"mac": "52:54:00:20:00:01"}, "mac", "already belongs to vhost-a/web"),
        ({"mac": "52:54"}, "mac", "is not a MAC address"),
        ({"mac": ""}, "mac", "is not a MAC address"),
        ({"address": ""}, "address", "an address is needed. Write it as"),
        ({"address": "10.0.0.12/24"}, "address", "already belongs to vhost-b"),
        ({"address": "10.0.0.51/24"}, "address", "already belongs to vhost-a/web"),
        ({"address": "10.0.0.13"}, "address", "prefix"),
        ({"uri": "qemu+ssh://root@h/system?no_verify=1"}, "uri", "no_verify"),
        ({"uri": "qemu+ssh://root@[::1/system"}, "uri", "IPv6"),
        ({"uri": "qemu+ssh://u:secret@h/system"}, "uri", "password"),
        ({"labels": "rack-1 it's"}, "labels", "is not a name"),
        ({"ssh_host_key": "SHA256:abc"}, "ssh_host_key", "is not an SSH public key"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_said_at_its_field(world: World, facts: dict[str, str], field: str, words: str) -> None:
    problems = world.session.host_problems(host_wish(**facts))
    assert list(problems) == [field], problems
    assert words in problems[field] and len(problems[field]) < 300 and problems[field].isprintable()
    with pytest.raises(FleetError) as caught:
        world.session.plan_add_host(host_wish(**facts))
    assert f"{field}: {problems[field]}" in caught.value.detail and "was not added" in caught.value.title


@pytest.mark.parametrize("name", ["a-first", "zz-last"])
async def test_a_conflict_names_the_other_host_wherever_it_stands_in_the_list(world: World, name: str) -> None:
    problems = world.session.host_problems(host_wish(name=name, mac="52:54:00:10:00:0a"))
    assert problems == {
        "mac": "the MAC address 52:54:00:10:00:0a already belongs to vhost-a. Each must be the only one in the fleet."
    }


async def test_two_adds_of_one_mac_at_once_are_refused_in_words(world: World) -> None:
    first = world.session.plan_add_host(host_wish())
    second = world.session.plan_add_host(host_wish(name="vhost-d", address="10.0.0.14/24"))
    assert (await world.apply(first)).ok
    with pytest.raises(FleetError) as caught:
        await world.apply(second)
    assert "52:54:00:10:00:0c already belongs to vhost-c" in caught.value.detail
    assert not (world.folder / "hosts/vhost-d.toml").exists()


async def test_a_new_address_takes_the_default_uri_along(world: World) -> None:
    assert (await world.apply(world.session.plan_set_host("vhost-a", {"address": "10.0.0.21/24"}))).ok
    host = world.session.store.fleet.hosts["vhost-a"]
    assert host.uri == "qemu+ssh://root@10.0.0.21/system"
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert "uri" not in text and 'address = "10.0.0.21/24"' in text and "# left port" in text
    assert host.guests["web"].vcpus == 2


async def test_a_uri_of_its_own_stays_when_the_address_changes(world: World) -> None:
    uri = "qemu+ssh://ops@gate.example:2222/system"
    await world.apply(world.session.plan_set_host("vhost-a", {"uri": uri}))
    await world.apply(world.session.plan_set_host("vhost-a", {"address": "10.0.0.21/24"}))
    assert world.session.store.fleet.hosts["vhost-a"].uri == uri
    await world.apply(world.session.plan_set_host("vhost-a", {"uri": ""}))
    assert world.session.store.fleet.hosts["vhost-a"].uri == "qemu+ssh://root@10.0.0.21/system"


async def test_a_host_is_to_be_installed_only_on_a_disk_by_a_name_that_stays(world: World) -> None:
    disk = "/dev/disk/by-id/nvme-SAMSUNG_MZ1L2960_S1"
    with pytest.raises(FleetError, match="was not changed") as caught:
        world.session.plan_set_host("vhost-a", {"netboot": "installer"})
    assert "netboot: vhost-a is to be installed and has no disk" in caught.value.detail
    assert "netboot entry" in world.session.host_problems(host_wish(netboot="rescue"))["netboot"]
    assert "a name that stays" in world.session.host_problems(host_wish(disk="/dev/sda"))["disk"]
    assert (await world.apply(world.session.plan_set_host("vhost-a", {"netboot": "installer", "disk": disk}))).ok
    text = (world.folder / "hosts/vhost-a.toml").read_text()
    assert f'disk = "{disk}"' in text and 'netboot = "installer"' in text and "# left port" in text
    assert (await world.apply(world.session.plan_set_host("vhost-a", {"netboot": "", "disk": ""}))).ok
    host = world.session.store.fleet.hosts["vhost-a"]
    assert host.disk is None and host.netboot is None


async def test_setting_what_is_set_already_is_nothing_to_do(world: World) -> None:
    assert world.session.plan_set_host("vhost-a", {"mac": "52:54:00:10:00:0A", "labels": ""}).is_empty


async def test_a_hand_edit_between_plan_and_apply_is_kept_or_refused(world: World) -> None:
    plan = world.session.plan_set_host("vhost-a", {"labels": "gpu"})
    world.edit("hosts/vhost-a.toml", "vcpus = 2", "vcpus = 3")
    assert (await world.apply(plan)).ok
    assert "vcpus = 3" in (world.folder / "hosts/vhost-a.toml").read_text()
    plan = world.session.plan_set_host("vhost-a", {"labels": "rack-1"})
    world.edit("hosts/vhost-a.toml", 'labels = ["gpu"]', 'labels = ["mine"]')
    with pytest.raises(FleetError, match="vhost-a was changed since"):
        await world.apply(plan)


async def test_removing_a_host_asks_for_its_name_and_touches_nothing_on_it(world: World) -> None:
    plan = world.session.plan_remove_host("vhost-b")
    assert plan.danger is Danger.TYPE_NAME and plan.confirm_word == "vhost-b"
    assert (await world.apply(plan)).ok
    assert not (world.folder / "hosts/vhost-b.toml").exists() and world.fake.verbs == []


async def test_an_unknown_host_is_named_with_the_known_ones(world: World) -> None:
    for attempt in (
        lambda: world.session.plan_remove_host("vhost-z"),
        lambda: world.session.plan_set_host("vhost-z", {}),
        lambda: world.session.plan_fleet(host="vhost-z"),
    ):
        with pytest.raises(FleetError) as caught:
            attempt()
        assert "There is no host vhost-z" in str(caught.value) and "vhost-a, vhost-b" in str(caught.value)


@pytest.mark.parametrize("name", ["a\x1b[31m\nb", "x" * 300])
async def test_an_odd_name_stays_short_and_on_one_line(world: World, name: str) -> None:
    for attempt in (lambda: world.session.store.host(name), lambda: world.session.store.resolve_guest(name)):
        with pytest.raises(FleetError) as caught:
            attempt()
        assert caught.value.title.isprintable() and len(caught.value.title) < 120


async def test_a_host_whose_file_is_broken_is_not_called_unknown(world: World) -> None:
    world.edit("hosts/vhost-b.toml", "mac = ", "mac ")
    from console.inventory.files import read_inventory
    from console.inventory.store import Store
    from console.services.definitions import definition

    store = Store(read_inventory(world.folder), definition)
    for attempt in (lambda: store.host("vhost-b"), lambda: store.resolve_guest("vhost-b/x")):
        with pytest.raises(FleetError) as caught:
            attempt()
        assert "hosts/vhost-b.toml line 1" in str(caught.value) and "Mend" in str(caught.value)


async def test_the_offered_key_comes_with_its_fingerprint(world: World) -> None:
    key = await world.session.fetch_host_key(host_wish(address=" 10.0.0.13/24 "))
    assert key.key == HOST_KEY and key.fingerprint.startswith("SHA256:")
    keys = world.session._host_keys
    assert isinstance(keys, FakeHostKeys) and keys.asked == ["qemu+ssh://root@10.0.0.13/system"]
    await world.session.fetch_host_key(HostWish(uri="qemu+ssh://root@[fd00::1]:22/system"))
    assert keys.asked[-1] == "qemu+ssh://root@[fd00::1]:22/system"


@pytest.mark.parametrize("facts", [{"address": "nowhere"}, {"address": ""}, {"uri": "qemu+ssh://root@[::1/system"}])
async def test_a_key_of_nowhere_is_not_asked_for(world: World, facts: dict[str, str]) -> None:
    with pytest.raises(FleetError) as caught:
        await world.session.fetch_host_key(host_wish(**facts))
    assert "cannot be asked for yet" in caught.value.title and caught.value.detail
