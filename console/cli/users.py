"""qd user ..."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from console.cli.output import show_faults, show_json, show_table
from console.cli.work import carry_out, run, session_of
from console.domain.errors import FleetError
from console.domain.ssh_key import fingerprint
from console.inventory.files import read_inventory
from console.services.users import hosts_of, wish_of_user
from console.services.wishes import UserWish
from console.wiring import inventory_folder


def add(options: Namespace) -> int:
    """qd user add NAME --key KEY ..."""
    wish = UserWish(
        name=options.name,
        keys="\n".join(_keys(options) or ()),
        role=options.role or "viewer",
        labels=",".join(options.labels or ()),
    )

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            return await carry_out(session, lambda: session.plan_add_user(wish))

    return run(work())


def set_user(options: Namespace) -> int:
    """qd user set NAME ..."""
    keys = _keys(options)
    labels = [] if options.all_hosts else options.labels
    changes = {
        "keys": "\n".join(keys) if keys is not None else None,
        "role": options.role,
        "labels": ",".join(labels) if labels is not None else None,
    }

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            given = {field: value for field, value in changes.items() if value is not None}
            if options.more_keys:
                before = given.get("keys", wish_of_user(session.user(options.name)).keys)
                given["keys"] = "\n".join([before, *options.more_keys])
            return await carry_out(session, lambda: session.plan_set_user(options.name, given))

    return run(work())


def remove(options: Namespace) -> int:
    """qd user remove NAME"""

    async def work() -> int:
        async with session_of(options, connect=False) as session:
            return await carry_out(session, lambda: session.plan_remove_user(options.name))

    return run(work())


def list_users(options: Namespace) -> int:
    """qd user list [--json]"""
    inventory = read_inventory(inventory_folder(options.inventory))
    fleet = inventory.fleet
    show_faults(inventory.faults)
    users = list(fleet.users.values())
    if options.json:
        show_json(
            [
                {
                    "name": user.name,
                    "role": user.role,
                    "labels": list(user.labels),
                    "keys": [{"key": key, "fingerprint": fingerprint(key)} for key in user.keys],
                    "hosts": [host.name for host in hosts_of(fleet, user)],
                }
                for user in users
            ]
        )
    elif users:
        rows = [
            [
                user.name,
                user.role,
                ", ".join(user.labels) or "all",
                str(len(hosts_of(fleet, user))),
                ", ".join(map(fingerprint, user.keys)) or "none: nobody can log in so",
            ]
            for user in users
        ]
        show_table(["NAME", "ROLE", "LABELS", ">HOSTS", "KEYS"], rows)
    else:
        print('No users yet. Add one with: qd user add NAME --role operator --key "ssh-ed25519 AAAA..."')
    return 0


def _keys(options: Namespace) -> list[str] | None:
    """Return the keys that were given as text and in files; None when none was."""
    keys: list[str] = list(options.keys or ())
    for name in options.key_files or ():
        try:
            text = Path(name).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "It is not text."
            raise FleetError(
                f"{name} cannot be read.", f"{why}", "Give the public key's file, such as a .pub."
            ) from None
        keys += [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return keys if options.keys is not None or options.key_files is not None else None
