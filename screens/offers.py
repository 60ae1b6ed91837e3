"""What a screen offers of the registry: its key bindings, and what its footer and the command bar show now."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from screens.action import Action, Context
from screens.actions import actions_in
from screens.situation import Situation

REBOUND: dict[str, str] = {}
"""Action id -> the key that the operator chose instead of the usual one; see screens.keymap."""


def key_of(action: Action) -> str:
    """Return the key of an action as people write it, the operator's own where there is one."""
    return REBOUND.get(action.id, action.shown)


def own(id: str, usual: str) -> str:
    """Return the key of a binding by its id: the operator's own where there is one."""
    return REBOUND.get(id, usual)


def own_keys(*keys: tuple[str, str, str]) -> tuple[tuple[str, str], ...]:
    """Return (key, label) pairs for a footer from (id of the binding, usual key, label)."""
    return tuple((own(id, usual), label) for id, usual, label in keys)


NAMED_LETTERS = frozenset({"slash", "colon", "question_mark", "minus", "space"})


def bindings(context: Context) -> list[BindingType]:
    """Return the key bindings of a screen; each has the action's id, so that a keymap can move it.

    A key takes effect before the next one is looked at (priority): else a burst such as "/zt", pasted or held up on a
    slow line, would run commands with the letters meant for the filter, and "↓↓x" be done to the row it began on.
    While something is typed, letters are its own, and other keys the screen's as far as it has no use for them.
    """
    return [
        Binding(
            key,
            f"{name}('{action.id}')",
            action.label,
            show=False,
            id=action.id,
            tooltip=action.help,
            priority=name == "press",
        )
        for action in actions_in(context)
        for key in action.keys.split(",")
        if key
        for name in (("press",) if len(key) == 1 or key in NAMED_LETTERS else ("press", "act"))
    ]


def is_bound(action: Action, *, read_only: bool) -> bool:
    """Return False for an action that a read-only console does not have."""
    return not (read_only and action.writes)


def offered(context: Context, now: Situation) -> list[Action]:
    """Return the actions of a screen that make sense now."""
    return [
        action for action in actions_in(context) if is_bound(action, read_only=now.read_only) and action.available(now)
    ]


def footer_keys(context: Context, now: Situation) -> list[tuple[str, str]]:
    """Return (key, label) of the actions that make sense now, most important first and help last."""
    chosen = sorted(
        (action for action in offered(context, now) if _rank(action, now)), key=lambda each: _rank(each, now)
    )
    return [(key_of(action), _label(action, now)) for action in chosen]


def _rank(action: Action, now: Situation) -> int:
    # What runs is what one wants to see; else it is one screen among others.
    if action.id == "jobs" and now.jobs:
        return 11
    # On a guest's row there is no room for it at 80 columns.
    return action.footer + 10 if action.id == "add-host" and now.guest is not None else action.footer


def _label(action: Action, now: Situation) -> str:
    if action.id == "plan" and now.changes:
        return f"plan ▲{now.changes}"
    if action.id == "jobs" and now.jobs:
        return f"jobs ↻{now.jobs}"
    if action.id == "open-job" and now.opened:
        return "the list"
    if action.id == "keep-card" and now.card_own:
        return "give back"
    if action.id == "show-all" and not now.narrowed:
        return "unmark" if now.marked else "tree"
    return action.label
