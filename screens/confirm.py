"""The question before a dangerous plan: what will happen to whom, and the name or number to type where that is asked.

For several guests all of them are shown, and those that refuse; how many failures end it can be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.widgets import Input

from console.domain.plan import Danger, Plan
from screens.form import Box
from screens.lines import hanging
from screens.offers import own
from screens.plan_lines import cautions, happenings, targets
from screens.type_ahead import TypeAhead
from screens.widgets import KeysFooter, Line, Sheet, fit

WIDTH = 72
"""Cells of text; the same figure stands in plan.tcss."""

ROOM_AROUND, ROOM_OF_SEVERAL, ROOM_TO_TYPE = 4, 2, 4
"""Rows besides what will happen: edges, answer and keys; when to stop; the box with what is to be typed."""

LEAST = 2
"""Rows that each list keeps."""

STOP_AFTER = 3
"""Failures after which a plan for several guests stops, unless another number is chosen."""


class Confirm(TypeAhead[bool]):
    """Dismisses with True when the operator said yes: by y, or by typing the plan's word. `plan` is what to do then."""

    CSS_PATH = "plan.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer(False)", "back", id="confirm.no", priority=True, show=False),
        Binding("enter", "enter", "confirm", id="confirm.yes", priority=True, show=False),
        Binding("up", "failures(1)", "more failures", id="confirm.more", priority=True, show=False),
        Binding("down", "failures(-1)", "fewer failures", id="confirm.fewer", priority=True, show=False),
    ]

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        most = len({step.guest for step in plan.steps})
        self.several = most > 1
        self.plan = replace(plan, stop_after=STOP_AFTER if most > STOP_AFTER else None) if self.several else plan
        self.typing = plan.danger is Danger.TYPE_NAME

    def compose(self) -> ComposeResult:
        """Lay out what will happen, and the question."""
        with Vertical(id="confirm"):
            yield Sheet(self._what(), id="confirm-what")
            if self.several:
                yield Sheet(self._stop_lines(), id="confirm-stop")
            if self.typing:
                yield Sheet([[], [("Type ", ""), (self.plan.confirm_word, "strong"), (" to go on:", "")]])
                box = Box(compact=True, id="confirm-word")
                box.cursor_blink = False
                yield box
            yield Sheet(id="confirm-said")
            yield KeysFooter(
                (
                    *([(own("confirm.yes", "enter"), "go on")] if self.typing else [("y", "yes, do it")]),
                    *([("↑↓", "failures to stop after")] if self.several else []),
                    (own("confirm.no", "escape"), "back" if self.typing else "no, go back"),
                )
            )

    def on_mount(self) -> None:
        """Give the keyboard to the box, where there is one."""
        if self.typing:
            self.begin(self.query_one(Input))

    def on_resize(self) -> None:
        """Show as much as there is room for now."""
        self.query_one("#confirm-what", Sheet).show(self._what())

    def _what(self) -> list[Line]:
        """Return what will happen to whom, as far as the terminal has room for it."""
        room = self.app.size.height - (ROOM_OF_SEVERAL if self.several else 0) - (ROOM_TO_TYPE if self.typing else 0)
        steps = targets(self.plan, WIDTH) if self.several else happenings(self.plan, WIDTH)
        refusals = self.plan.refusals if self.several else ()
        notes = cautions(replace(self.plan, refusals=()) if self.several else self.plan, WIDTH)
        heads: tuple[list[Line], ...] = (
            [[(self.plan.title, "strong")], []],
            [[], [(f"{len(refusals)} cannot, and stay as they are:", "")]] if refusals else [],
            [[]] if notes else [],
        )
        room -= ROOM_AROUND + sum(map(len, heads))
        whole = [line for refusal in refusals for line in hanging([("✖ ", "bad")], refusal, "", WIDTH)]
        if len(steps) + len(whole) + len(notes) > room:
            # Each in one line: many have to fit. The whole sentences are told when it is done.
            whole = [[("✖ ", "bad"), (fit(refusal, WIDTH - 2), "")] for refusal in refusals]
        lists: tuple[list[Line], ...] = (steps, whole, notes)
        most = shares([len(lines) for lines in lists], room)
        return [
            line for head, lines, count in zip(heads, lists, most, strict=True) for line in (*head, *_cut(lines, count))
        ]

    def _stop_lines(self) -> list[Line]:
        number = self.plan.stop_after
        after = "goes through all of them, whatever fails" if number is None else f"stops after {_failures(number)}"
        return [[], [("  It ", "quiet"), (after, ""), (".", "quiet")]]

    def action_failures(self, by: int) -> None:
        """Choose after how many failures it stops; beyond the number of guests it never does."""
        if self.several:
            most = len({step.guest for step in self.plan.steps})
            number = max(1, (self.plan.stop_after or most) + by)
            self.plan = replace(self.plan, stop_after=None if number >= most else number)
            self.query_one("#confirm-stop", Sheet).show(self._stop_lines())

    def on_key(self, event: Key) -> None:
        """Answer y or n where no word is asked for."""
        if not self.typing and event.key in {"y", "n"}:
            event.stop()
            self.dismiss(event.key == "y")

    async def action_enter(self) -> None:
        """Go on when the word is right. Enter alone is no answer: it is pressed too easily twice."""
        if self.typing:
            await self.settled()
        said = self.query_one("#confirm-said", Sheet)
        if not self.typing:
            said.show([[("Press y to do it.", "warn")]])
        elif self.query_one(Input).value.strip() == self.plan.confirm_word:
            self.dismiss(True)
        else:
            said.show([[(f"That is not {self.plan.confirm_word}. Nothing was changed.", "warn")]])

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


def shares(lengths: Sequence[int], room: int) -> list[int]:
    """Return how many lines of each list are shown where there is room for so many: the longest gives way first."""
    shown = list(lengths)
    while sum(shown) > room and max(shown) > LEAST:
        shown[shown.index(max(shown))] -= 1
    return shown


def _cut(lines: Sequence[Line], most: int) -> list[Line]:
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], [(f"  and {len(lines) - most + 1} more", "quiet")]]


def _failures(number: int) -> str:
    return "the first failure" if number == 1 else f"{number} failures"
