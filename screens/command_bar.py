"""The command bar: every action that makes sense now, and every host and guest by name. It is also the palette."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from console.domain.standing import HostView
from console.inventory.index import RowKey
from console.inventory.store import Store
from screens.action import Action
from screens.form import Box
from screens.offers import is_bound, key_of, own
from screens.situation import Situation
from screens.states import guest_state, host_state
from screens.type_ahead import TypeAhead
from screens.widgets import KeysFooter, Line, Sheet, Span, fit, line_width

SHOWN = 10
WIDTH = 72


@dataclass(frozen=True, slots=True)
class Command:
    """What was chosen: an action, a place to go to, or both (go there, then do it)."""

    action: Action | None = None
    key: RowKey | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line to choose from. name: what is matched; note: what it does or where it stands."""

    command: Command
    name: str
    note: Span
    shown_key: str = ""


class CommandBar(TypeAhead[Command | None]):
    """Type, choose with the arrows, enter. Words are matched anywhere, in any order."""

    CSS_PATH = "command_bar.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="command.leave", show=False, priority=True),
        Binding("up,shift+tab", "move(-1)", "up", id="command.up", show=False, priority=True),
        Binding("down,tab", "move(1)", "down", id="command.down", show=False, priority=True),
        Binding("pageup", f"move(-{SHOWN})", "page up", id="command.page-up", show=False, priority=True),
        Binding("pagedown", f"move({SHOWN})", "page down", id="command.page-down", show=False, priority=True),
    ]

    box = getters.query_one(Input)
    choices = getters.query_one("#command-choices", Sheet)

    def __init__(self, store: Store, actions: Sequence[Action], now: Situation) -> None:
        super().__init__()
        self._store = store
        self._now = now
        self._actions = [action for action in actions if action.command and is_bound(action, read_only=now.read_only)]
        self._views: list[HostView] = store.hosts()
        self._text = ""
        self._found: list[Entry] = []
        self._cursor = 0

    @property
    def found(self) -> list[Entry]:
        """The entries that match, best first."""
        return self._found

    def compose(self) -> ComposeResult:
        """Lay out the text and the choices."""
        with Vertical(id="command-bar"):
            box = Box(compact=True, placeholder="what to do, or where to go")
            box.cursor_blink = False
            yield box
            yield Sheet(id="command-choices")
            yield KeysFooter((("enter", "choose"), ("↑↓", "move"), (own("command.leave", "escape"), "back")))

    def on_mount(self) -> None:
        """Begin with everything."""
        self._search("")
        self.begin(self.box)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed; by what stands in the box, since a key may have done so already."""
        self._search(self.box.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose."""
        self._search(event.value)
        if self._found:
            self.dismiss(self._found[self._cursor].command)

    async def action_leave(self) -> None:
        """Leave without a choice."""
        await self.settled()
        self.dismiss(None)

    async def action_move(self, by: int) -> None:
        """Move the cursor among what was found for all that is typed."""
        await self.settled()
        self._search(self.box.value)
        if self._found:
            self._cursor = max(0, min(len(self._found) - 1, self._cursor + by))
            self._show()

    def _search(self, text: str) -> None:
        """Find what matches; the cursor stays while the text does."""
        if self._found and text == self._text:
            return
        self._text = text
        self._found = list(islice(search(text, self._actions, self._now, self._views, self._store), 200))
        self._cursor = 0
        self._show()

    def _show(self) -> None:
        width = self.choices.size.width or WIDTH
        first = max(0, min(self._cursor - SHOWN // 2, len(self._found) - SHOWN))
        shown = self._found[first : first + SHOWN]
        names = min(40, max((line_width([(entry.name, "")]) for entry in shown), default=0) + 1)
        lines: list[Line] = []
        for place, entry in enumerate(shown, first):
            here = place == self._cursor
            name = fit(entry.name, names)
            note = fit(entry.note[0], max(4, width - names - 9))
            lines.append(
                [
                    ("▸ " if here else "  ", "accent"),
                    (name, "strong" if here else ""),
                    (" ", ""),
                    (note, entry.note[1]),
                    (f" {entry.shown_key:>5}", "accent"),
                ]
            )
        if not self._found:
            lines = [[("  Nothing is called that.", "quiet")]]
        more = len(self._found) - first - SHOWN
        lines.append([(f"  {more} more", "quiet")] if more > 0 else ())
        self.choices.show(lines)


def search(
    text: str, actions: Sequence[Action], now: Situation, views: Sequence[HostView], store: Store
) -> Iterator[Entry]:
    """Yield the entries whose text has every word: actions by their label, places, then what else can be done.

    A guest's name alone leads to the guest first, not to what could be done to it.
    """
    words = text.casefold().split()
    clock = store.clock()
    whom = f" {now.guest.key.guest}" if now.guest is not None else ""
    by_name: list[Entry] = []
    for action in actions:
        if not action.available(now):
            continue
        name = f"{action.label}{whom if action.on_guest else ''}"
        if not _matches(words, name):
            continue
        entry = Entry(Command(action=action), name, (action.help, "quiet"), key_of(action))
        if not words or any(word in action.label.casefold() for word in words):
            yield entry
        else:
            by_name.append(entry)
    for view in views:
        if _matches(words, view.name):
            yield Entry(Command(key=view.name), view.name, host_state(view, clock))
        for guest in view.guests:
            if _matches(words, str(guest.key)):
                yield Entry(Command(key=guest.key), str(guest.key), guest_state(guest, clock))
    yield from by_name
    if len(words) < 2:
        return
    for action in actions:
        if not action.on_guest or not any(word in action.label.casefold() for word in words):
            continue
        for view in views:
            for guest in view.guests:
                there = Situation(host=view, guest=guest)
                name = f"{action.label} {guest.key}"
                if (
                    _matches(words, name)
                    and (now.guest is None or guest.key != now.guest.key)
                    and action.available(there)
                ):
                    yield Entry(Command(action, guest.key), name, guest_state(guest, clock))


def _matches(words: Sequence[str], name: str) -> bool:
    folded = name.casefold()
    return all(word in folded for word in words)
