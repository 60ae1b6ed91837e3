"""The operator's own keys: checked against the registry, then bound instead of the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.app import App
from textual.binding import Binding, InvalidBinding

from console.domain.errors import FleetError
from console.domain.values import shown
from screens.action import Context
from screens.actions import BY_ID, actions_in
from screens.offers import REBOUND


def bind(app: App[Any], keys: Mapping[str, str], file: str) -> None:
    """Bind actions of the registry to these keys (action id -> key, or keys separated by commas).

    Footer, help and command bar show them. Raises FleetError naming every mistake, with nothing bound.
    """
    if wrong := faults(keys):
        raise FleetError(f"The keys in {file} cannot be used.", "\n".join(wrong), "Mend the file, or move it away.")
    REBOUND.clear()
    REBOUND.update({id: key.split(",")[0].strip() for id, key in keys.items()})
    app.set_keymap(dict(keys))


def faults(keys: Mapping[str, str]) -> list[str]:
    """Return a sentence for each mistake: an action that does not exist, no key, a key that is taken twice."""
    found: list[str] = []
    for id, key in keys.items():
        if id not in BY_ID or not BY_ID[id].keys:
            known = ", ".join(sorted(action.id for action in BY_ID.values() if action.keys))
            found.append(f"{shown(id)} is no action with a key. There are: {known}.")
        elif not _names(key):
            found.append(f"{id}: {shown(key)} is not a key. Write one such as x, X, f5, ctrl+x or slash.")
    if found:
        return found
    for context in Context:
        taken: dict[str, str] = {}
        for action in actions_in(context):
            for name in _names(keys.get(action.id, action.keys)):
                other = taken.setdefault(name, action.id)
                if other != action.id:
                    found.append(f"{name} is taken twice in the {context.value} screen: {other} and {action.id}.")
    return list(dict.fromkeys(found))


def _names(keys: str) -> list[str]:
    """Return the keys as the terminal library names them; nothing when they cannot be read."""
    if not keys.strip() or not keys.isprintable():
        return []
    try:
        return [binding.key for binding in Binding.make_bindings([Binding(keys, "")])]
    except InvalidBinding:
        return []
