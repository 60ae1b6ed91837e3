"""People with access: adding, changing and removing their accounts in the inventory. Hosts get them when deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from console.domain import values
from console.domain.errors import FleetError
from console.domain.model import Fleet, Host, User
from console.domain.move import inventory_change
from console.domain.plan import Danger, Plan
from console.inventory.store import Store
from console.services.fields import Fields
from console.services.wishes import UserWish

ROLES = {"operator": "may change things", "viewer": "may only look"}

ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")
"""What Linux takes for an account's name everywhere (useradd); a dot or a capital is refused by some tools."""

KEY_BORDER = re.compile(r"[,\n]|\s+(?=(?:ssh|ecdsa|sk)-)")
"""Between two keys: a line's end, a comma, or a space before the next key's type. A comment may hold spaces."""

SYSTEM = frozenset({"root", "nobody", "daemon", "bin", "sshd", "polkituser", "messagebus", "quarterdeck"})
"""Accounts that a host has anyway."""


def user_problems(fleet: Fleet, wish: UserWish, editing: str | None = None) -> dict[str, str]:
    """Return field -> sentence for everything that is wrong with a user; empty when it can be written."""
    return _resolve(fleet, wish, editing)[1]


def wish_of_user(user: User) -> UserWish:
    """Return the wish that an existing user answers, for editing."""
    return UserWish(name=user.name, keys="\n".join(user.keys), role=user.role, labels=", ".join(user.labels))


def hosts_of(fleet: Fleet, user: User) -> tuple[Host, ...]:
    """Return the hosts on which a user has an account: those with one of the labels, all when there is none."""
    return tuple(host for host in fleet.hosts.values() if not user.labels or set(user.labels) & set(host.labels))


def require_user(fleet: Fleet, name: str) -> User:
    """Return a user of the inventory by name."""
    if name not in fleet.users:
        known = ", ".join(fleet.users) or "none yet"
        raise FleetError(f"There is no user {values.shown(name)}.", f"Known: {known}.", "See: qd user list")
    return fleet.users[name]


def plan_add_user(store: Store, wish: UserWish) -> Plan:
    """Return the plan that writes a new user into the inventory. Raises FleetError that lists every problem."""
    return _plan(store, f"Add user {wish.name.strip()}", _resolved(store.fleet, wish, None))


def plan_set_user(store: Store, name: str, changes: Mapping[str, str]) -> Plan:
    """Return the plan that changes a user. changes: UserWish's fields, except the name."""
    before = require_user(store.fleet, name)
    after = _resolved(store.fleet, replace(wish_of_user(before), **changes), name)
    if after == before:
        return Plan(title=f"Set user {name}")
    return _plan(store, f"Set user {name}", after)


def plan_remove_user(store: Store, name: str) -> Plan:
    """Return the plan that takes a user out of the inventory."""
    user = require_user(store.fleet, name)
    title = f"Remove user {name}"
    left = {key: each for key, each in store.fleet.users.items() if key != name}
    where = _named(hosts_of(store.fleet, user))
    return Plan(
        title=title,
        change=inventory_change(title, store.fleet, replace(store.fleet, users=left)),
        danger=Danger.CONFIRM,
        confirm_word=name,
        warnings=(f"{name} can log in until the configuration is deployed again: {where}.",),
    )


def _plan(store: Store, title: str, user: User) -> Plan:
    after = replace(store.fleet, users={**store.fleet.users, user.name: user})
    where = hosts_of(store.fleet, user)
    warnings = [f"The account is there once the configuration is deployed: {_named(where)}."]
    if not user.keys:
        warnings.append(f"{user.name} has no key yet, and there are no passwords: nobody can log in so.")
    if store.fleet.hosts and not where:
        warnings = [f"No host has one of the labels {', '.join(user.labels)}: {user.name} has an account nowhere."]
    return Plan(title=title, change=inventory_change(title, store.fleet, after), warnings=tuple(warnings))


def _named(hosts: tuple[Host, ...]) -> str:
    names = [host.name for host in hosts]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "no host yet"


def _resolved(fleet: Fleet, wish: UserWish, editing: str | None) -> User:
    user, problems = _resolve(fleet, wish, editing)
    if problems:
        raise FleetError(
            f"User {values.shown(wish.name)[1:-1]} was not {'changed' if editing else 'added'}.",
            "\n".join(f"{field}: {why}" for field, why in problems.items()),
            "Nothing was changed.",
        )
    return user


def _resolve(fleet: Fleet, wish: UserWish, editing: str | None) -> tuple[User, dict[str, str]]:
    fields = Fields()
    name = fields.parse("name", wish.name.strip(), values.parse_name, "")
    if editing is None and name:
        if name in fleet.users:
            fields.blame("name", f"there already is a user {name}. Change it with: qd user set {name}")
        elif not ACCOUNT.match(name):
            fields.blame("name", "use 1 to 31 small letters, digits, '-' or '_', beginning with a letter.")
        elif name in SYSTEM:
            fields.blame("name", f"{name} is an account of the system. Choose another name.")
    keys: list[str] = []
    for key in KEY_BORDER.split(wish.keys):
        if key.strip():
            keys.append(fields.parse("keys", key.strip(), values.parse_ssh_key, ""))
    owner = {key: other.name for other in fleet.users.values() if other.name != name for key in other.keys}
    for key in keys:
        if key in owner:
            fields.blame("keys", f"one of these keys belongs to {owner[key]}. One person, one key.")
    if wish.role not in ROLES:
        fields.blame("role", f'{values.shown(wish.role)} is no role. Write "operator" or "viewer".')
    words = [word for word in re.split(r"[,\s]+", wish.labels) if word]
    labels = dict.fromkeys(fields.parse("labels", word, values.parse_name, "") for word in words)
    return User(name=name, keys=tuple(dict.fromkeys(keys)), role=wish.role, labels=tuple(labels)), fields.problems
