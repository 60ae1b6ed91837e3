"""People with access: written, changed and removed in the inventory, each in one commit that can be undone."""

from __future__ import annotations

import json

import pytest

from console.domain.errors import FleetError
from console.domain.plan import Danger
from console.services.users import hosts_of, wish_of_user
from console.services.wishes import UserWish
from tests.services.world import HOST_KEY, World

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"


def user_wish(**facts: str) -> UserWish:
    return UserWish(**({"name": "ada", "keys": f"{KEY} ada@desk", "role": "operator"} | facts))


async def test_a_user_is_written_with_whole_keys_and_reaches_the_machines(world: World) -> None:
    plan = world.session.plan_add_user(user_wish(keys=f"{KEY} ada@desk, {HOST_KEY} a b\n{KEY}"))
    assert "deployed" in plan.warnings[0] and "vhost-a, vhost-b" in plan.warnings[0]
    assert (await world.apply(plan)).ok
    assert world.session.store.fleet.users["ada"].keys == (KEY, HOST_KEY)
    assert "ada@desk" not in world.files()["fleet.toml"]
    for host in ("vhost-a", "vhost-b"):
        assert KEY in world.files()[f"generated/{host}.nix"]
    assert world.repository.commits[-1][0] == "Add user ada"  # type: ignore[attr-defined]


async def test_labels_say_on_which_hosts(world: World) -> None:
    fleet = world.session.store.fleet
    label = next(iter(fleet.hosts["vhost-a"].labels), "")
    await world.apply(world.session.plan_add_user(user_wish(labels=label or "rack-1")))
    user = world.session.store.fleet.users["ada"]
    assert all(set(user.labels) & set(host.labels) for host in hosts_of(world.session.store.fleet, user))
    nowhere = world.session.plan_set_user("ada", {"labels": "no-such-rack"})
    assert "has an account nowhere" in nowhere.warnings[0]


async def test_a_change_and_a_removal(world: World) -> None:
    await world.apply(world.session.plan_add_user(user_wish()))
    assert world.session.plan_set_user("ada", {"role": "operator"}).is_empty
    assert (await world.apply(world.session.plan_set_user("ada", {"role": "viewer", "labels": "gpu"}))).ok
    user = world.session.store.fleet.users["ada"]
    assert (user.role, user.labels, user.keys) == ("viewer", ("gpu",), (KEY,))
    assert wish_of_user(user) == UserWish(name="ada", keys=KEY, role="viewer", labels="gpu")
    plan = world.session.plan_remove_user("ada")
    assert plan.danger is Danger.CONFIRM and "until the configuration is deployed" in plan.warnings[0]
    assert (await world.apply(plan)).ok
    assert "ada" not in world.session.store.fleet.users
    with pytest.raises(FleetError, match="no user"):
        world.session.plan_remove_user("ada")


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"name": ""}, "name", "a name is needed"),
        ({"name": "Ada.L"}, "name", "small letters"),
        ({"name": "root"}, "name", "of the system"),
        ({"name": "x\ny"}, "name", "is not a name"),
        ({"keys": "ssh-ed25519 AAAA"}, "keys", "cut short"),
        ({"keys": f"{KEY}\nssh-dss AAAA"}, "keys", "no key type"),
        ({"keys": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "keys", "private key"),
        ({"keys": 'command="sh" ' + KEY}, "keys", "no key type"),
        ({"role": "root"}, "role", "is no role"),
        ({"labels": "rack-1 it's"}, "labels", "is not a name"),
    ],
    ids=json.dumps,
)
def test_what_is_wrong_is_said_at_its_field(world: World, facts: dict[str, str], field: str, words: str) -> None:
    problems = world.session.user_problems(user_wish(**facts))
    assert list(problems) == [field] and words in problems[field]
    with pytest.raises(FleetError, match="was not added"):
        world.session.plan_add_user(user_wish(**facts))


async def test_a_name_and_a_key_have_one_owner(world: World) -> None:
    await world.apply(world.session.plan_add_user(user_wish()))
    assert "already is a user ada" in world.session.user_problems(user_wish())["name"]
    assert "belongs to ada" in world.session.user_problems(user_wish(name="eve"))["keys"]
    assert world.session.user_problems(user_wish(), editing="ada") == {}
