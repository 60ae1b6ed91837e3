"""All keys and signs, from the registry of actions."""

from __future__ import annotations

from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from console.domain.plan import Danger
from screens.action import Action, Context, Group
from screens.actions import BY_ID, actions_in
from screens.offers import is_bound, key_of, own
from screens.sized import SizedScreen
from screens.states import DIFFERS, LEGEND
from screens.widgets import Header, KeysFooter, Line, Sheet, wrapped

KEY, LABEL = 6, 14


class Help(SizedScreen[None]):
    """The keys of the screen it was asked from, by section, then the signs."""

    CSS_PATH = "help.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "back", id="help.leave", show=False),
        Binding("up,k", "scroll(-1)", "up", id="help.up", show=False),
        Binding("down,j", "scroll(1)", "down", id="help.down", show=False),
        Binding("pageup", "page(-1)", "page up", id="help.page-up", show=False),
        Binding("pagedown,space", "page(1)", "page down", id="help.page-down", show=False),
    ]

    body = getters.query_one("#help", VerticalScroll)

    def __init__(self, context: Context, *, read_only: bool) -> None:
        super().__init__()
        self._where = context
        self._read_only = read_only

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        yield Header([[("Keys and signs", "title"), (f"   {self._where.value} screen", "quiet")]])
        with VerticalScroll(id="help", can_focus=False):
            yield Sheet(id="help-lines")
        yield KeysFooter((("↑↓", "scroll"), (own("help.leave", "escape"), "back")))

    def on_resize(self) -> None:
        """Wrap to the new width."""
        self.query_one("#help-lines", Sheet).show(help_lines(self._where, self.size.width - 3, self._read_only))

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.body.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.body.scroll_relative(y=pages * self.body.size.height, animate=False)


def help_lines(context: Context, width: int, read_only: bool) -> list[Line]:
    """Return the help of a screen, wrapped to `width` cells."""
    lines: list[Line] = []
    actions = [action for action in actions_in(context) if is_bound(action, read_only=read_only)]
    for group in Group:
        of_group = [action for action in actions if action.group is group]
        if not of_group:
            continue
        lines.append([(group.value, "strong")])
        for action in of_group:
            lines += _action_lines(action, width)
        lines.append(())
    lines.append([("Signs", "strong")])
    for sign, style, meaning in LEGEND:
        if meaning == DIFFERS and not read_only:
            meaning += f"; {key_of(BY_ID['plan'])} shows the plan"
        lines += _hanging([(f"  {sign:{KEY + LABEL}}", style)], meaning, width)
    lines += [(), [("An age appears only where a fact is old; — means that the host does not report it.", "quiet")]]
    return lines


def _action_lines(action: Action, width: int) -> list[Line]:
    asks = {Danger.CONFIRM: " It asks first.", Danger.TYPE_NAME: " It asks for the name."}.get(action.danger, "")
    key = key_of(action) or ":"
    text = action.help + ("" if "asks" in action.help else asks)
    return _hanging([(f"  {key:{KEY}}", "accent"), (f"{action.label:{LABEL}}", "")], text, width)


def _hanging(head: Line, text: str, width: int) -> list[Line]:
    indent = KEY + LABEL + 2
    parts = wrapped(text, max(20, width - indent))
    return [[*(head if place == 0 else [(" " * indent, "")]), (part, "quiet")] for place, part in enumerate(parts)]
