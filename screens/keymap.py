"""The operator's own keys: checked against the registry and the screens' bindings, then bound instead of the usual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from textual.app import App
from textual.binding import Binding, InvalidBinding
from textual.screen import Screen

from console.domain.errors import FleetError
from console.domain.values import shown
from screens.action import Context
from screens.actions import BY_ID, actions_in
from screens.add_host import AddHost
from screens.apply import ApplyScreen
from screens.cancel import CancelJob
from screens.card_forms import KeepCard
from screens.changes import ChangesScreen
from screens.command_bar import CommandBar
from screens.confirm import Confirm
from screens.create_guest import CreateGuest
from screens.diff import DiffScreen
from screens.edit_user import EditUser
from screens.help import Help
from screens.offers import NAMED_LETTERS, REBOUND
from screens.plan import PlanScreen
from screens.preflight import PreflightScreen
from screens.users import UsersScreen

SCREENS: Mapping[str, type[Screen[Any]]] = {
    "create guest": CreateGuest,
    "add host": AddHost,
    "plan": PlanScreen,
    "apply": ApplyScreen,
    "history": ChangesScreen,
    "users": UsersScreen,
    "edit user": EditUser,
    "keep card": KeepCard,
    "diff": DiffScreen,
    "preflight": PreflightScreen,
    "question": Confirm,
    "cancel": CancelJob,
    "command bar": CommandBar,
    "help": Help,
}
"""The screens with bindings of their own, beside those of the registry."""

TYPED_INTO = frozenset({"create guest", "add host", "edit user", "keep card", "plan", "question", "command bar"})
"""Those with a text box: a letter that acts on the whole screen could not be typed there any more."""


def bind(app: App[Any], keys: Mapping[str, str], file: str) -> None:
    """Bind actions to these keys (id -> key, or keys separated by commas).

    Footer, help and command bar show them. Raises FleetError naming every mistake, with nothing bound.
    """
    if wrong := faults(keys):
        raise FleetError(f"The keys in {file} cannot be used.", "\n".join(wrong), "Mend the file, or move it away.")
    REBOUND.clear()
    REBOUND.update({id: key.split(",")[0].strip() for id, key in keys.items()})
    app.set_keymap(dict(keys))


def own_bindings(name: str) -> list[Binding]:
    """Return the bindings of a screen of SCREENS; each has an id."""
    classes = [kind for kind in SCREENS[name].__mro__ if kind.__module__.startswith("screens.")]
    entries = [entry for kind in classes for entry in vars(kind).get("BINDINGS", ())]
    return [entry for entry in entries if isinstance(entry, Binding) and entry.id is not None]


def faults(keys: Mapping[str, str]) -> list[str]:
    """Return a sentence for each mistake: an id that does not exist, no key, a key that is taken twice."""
    known = {action.id for action in BY_ID.values() if action.keys}
    known |= {str(binding.id) for name in SCREENS for binding in own_bindings(name)}
    found: list[str] = []
    for id, key in keys.items():
        if id not in known:
            near = ", ".join(get_close_matches(id, sorted(known), 3))
            found.append(f"{shown(id)} is no action with a key. {f'Near it: {near}.' if near else 'See docs/keys.md.'}")
        elif not _names(key):
            found.append(f"{id}: {shown(key)} is not a key. Write one such as x, X, f5, ctrl+x or slash.")
    if not found:
        found = [*_taken_twice(keys), *_not_typed(keys)]
    return list(dict.fromkeys(found))


def _taken_twice(keys: Mapping[str, str]) -> Iterator[str]:
    screens = {context.value: [(action.id, action.keys) for action in actions_in(context)] for context in Context}
    screens |= {name: [(str(each.id), each.key) for each in own_bindings(name)] for name in SCREENS}
    for screen, bound in screens.items():
        taken: dict[str, str] = {}
        for id, usual in bound:
            for name in _names(keys.get(id, usual)):
                other = taken.setdefault(name, id)
                if other != id:
                    yield f"{name} is taken twice in the {screen} screen: {other} and {id}."


def _not_typed(keys: Mapping[str, str]) -> Iterator[str]:
    for screen in TYPED_INTO:
        for binding in own_bindings(screen):
            for name in _names(keys.get(str(binding.id), "")) if binding.priority else ():
                if len(name) == 1 or name in NAMED_LETTERS:
                    yield f"{binding.id}: {name} could no longer be typed there. Choose a key such as f5 or ctrl+x."


def _names(keys: str) -> list[str]:
    """Return the keys as the terminal library names them; nothing when they cannot be read."""
    if not keys.strip() or not keys.isprintable():
        return []
    try:
        return [binding.key for binding in Binding.make_bindings([Binding(keys, "")])]
    except InvalidBinding:
        return []
