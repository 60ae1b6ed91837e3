"""A plan before it is applied: what would happen to whom, what differs, what is refused; enter applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.types import CSSPathType
from textual.widgets import Input

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import Danger, Outcome, Plan
from console.domain.values import format_size_kib
from screens.apply import ApplyScreen
from screens.confirm import Confirm
from screens.diff import DiffScreen
from screens.form import Box, typed
from screens.lines import hanging, title
from screens.offers import own, own_keys
from screens.plan_lines import cautions, counts, whole_plan
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet, fit, is_open, line_width

if TYPE_CHECKING:
    from console.services.session import Session

SCREENFUL = 9999
"""More lines than any plan has: to its end."""


class PlanScreen(SizedScreen[Outcome | None]):
    """Shows a plan and applies it when asked; dismisses with the outcome, None when it was left.

    removed: the guest that the plan is asked to remove. Its disks are kept, and those whose names are typed deleted.
    """

    CSS_PATH: ClassVar[CSSPathType] = "plan.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "apply", id="plan.apply", priority=True, show=False),
        Binding("escape", "back", "back", id="plan.back", priority=True, show=False),
        Binding("q", "key('back')", "back", id="plan.quit", priority=True, show=False),
        Binding("d", "key('diff')", "see the diff", id="plan.diff", priority=True, show=False),
        Binding("J", "app.jobs", "jobs", id="jobs", show=False),
        Binding("x", "key('disks')", "delete disks", id="plan.disks", priority=True, show=False),
        Binding("down", "scroll(1)", "down", id="plan.down", priority=True, show=False),
        Binding("up", "scroll(-1)", "up", id="plan.up", priority=True, show=False),
        Binding("pagedown", "page(1)", "page down", id="plan.pagedown", priority=True, show=False),
        Binding("pageup", "page(-1)", "page up", id="plan.pageup", priority=True, show=False),
        Binding("home", f"scroll({-SCREENFUL})", "first line", id="plan.home", show=False),
        Binding("end", f"scroll({SCREENFUL})", "last line", id="plan.end", show=False),
    ]
    body = getters.query_one("#plan", VerticalScroll)

    def __init__(self, session: Session, plan: Plan, removed: GuestKey | None = None) -> None:
        super().__init__()
        self.session = session
        self.plan = plan
        self.removed = removed
        self.disks = self._disks()
        self._said = ""

    def _disks(self) -> dict[str, str]:
        """Return name -> what it is, of each disk that could be deleted with the guest."""
        guest = self.session.store.guest(self.removed).wanted if self.removed is not None else None
        if guest is None:
            return {}
        return {
            disk.name: f"{format_size_kib(disk.size_kib)} in pool {disk.pool}"
            for disk in guest.disks.values()
            if not disk.is_cdrom
        }

    def compose(self) -> ComposeResult:
        """Lay out title, plan, disks and keys."""
        yield Header(classes="plan-title")
        with VerticalScroll(id="plan", can_focus=False):
            yield Sheet(id="plan-lines")
            if self.disks:
                yield Sheet(id="plan-disks")
                box = Box(compact=True, id="plan-delete", placeholder="none")
                box.cursor_blink = False
                yield box
                yield Sheet(id="plan-said")
        yield Notice()
        yield KeysFooter()

    def on_mount(self) -> None:
        """Show the plan at once, its files as soon as they are known."""
        self.show_plan()
        self.run_worker(self._preview, group="preview", exclusive=True)

    def on_resize(self) -> None:
        """Wrap to the new width."""
        self.show_plan()

    async def _preview(self) -> None:
        plan = self.plan
        try:
            shown = await self.session.preview(plan)
        except FleetError as error:
            if is_open(self):
                self.query_one(Notice).show_error(error)
        else:
            # Meanwhile other disks may have been typed.
            self.plan = shown if self.plan is plan else self.plan
        self.show_plan()

    def show_plan(self) -> None:
        """Lay the plan out for the width that there is."""
        if not is_open(self):
            return
        width = self.size.width - 3
        self.query_one("#plan-lines", Sheet).show(self._lines(width))
        if self.disks:
            self.query_one("#plan-disks", Sheet).show(self._disk_lines())
            self.query_one("#plan-said", Sheet).show([[(self._said, "warn")]] if self._said else [])
        right = counts(self.plan)
        room = self.size.width - 2 - line_width([(right, "")])
        self.query_one(Header).show([[(fit(self.plan.title, max(8, room)), "strong"), (right, "quiet")]])
        self.query_one(KeysFooter).show_keys(self._keys())

    def _lines(self, width: int) -> list[Line]:
        plan = self.plan
        if not plan.is_empty or plan.differences:
            lines = whole_plan(plan, width)
            if plan.is_empty and plan.refusals:
                lines += [[], [("Nothing can be applied.", "")]]
            return lines
        if plan.refusals:
            return [*cautions(plan, width), [], [("Nothing can be applied.", "")]]
        said = hanging([("✔ ", "good")], "Nothing to do: all that is up is as the inventory wants it.", "", width)
        if not plan.pending:
            said = hanging([("✔ ", "good")], "Nothing to do: all is as the inventory wants it.", "", width)
        notes = cautions(plan, width)
        return [*said, *([[], *notes] if notes else [])]

    def _disk_lines(self) -> list[Line]:
        names = max(map(len, self.disks))
        return [
            [],
            title("Disks"),
            *([("  " + fit(name, names) + "  ", ""), (what, "quiet")] for name, what in self.disks.items()),
            [
                (
                    f"They are kept. To delete some with all data: press {own('plan.disks', 'x')}, type their names.",
                    "quiet",
                )
            ],
        ]

    def _keys(self) -> tuple[tuple[str, str], ...]:
        if self._typing:
            return own_keys(("plan.apply", "enter", "go on"), ("plan.back", "escape", "keep the disks"))
        scroll = (("↑↓", "scroll"),) if self.body.max_scroll_y else ()
        if self.plan.is_empty:
            return (*own_keys(("plan.apply", "enter", "back")), *scroll)
        diff = [("plan.diff", "d", "see the diff")] if any(file.diff for file in self.plan.files) else []
        disks = [("plan.disks", "x", "delete disks")] if self.disks else []
        verb = "remove" if self.removed else "apply"
        ahead = own_keys(("plan.apply", "enter", verb), *disks, *diff)
        return (*ahead, *scroll, *own_keys(("plan.back", "escape", "back")))

    @property
    def _typing(self) -> bool:
        return isinstance(self.focused, Input)

    def on_descendant_focus(self) -> None:
        """Show the keys of the box."""
        self.show_plan()

    def on_descendant_blur(self) -> None:
        """Show the keys of the plan."""
        self.show_plan()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Plan anew with the disks that are typed."""
        event.stop()
        self._replan(event.value)

    def _replan(self, text: str, *, asked: bool = False) -> bool:
        """Plan with the typed disks; False when one of the names is not a disk's.

        While typing, the beginning of a name is no mistake yet; it is when it is asked to go on.
        """
        words = text.replace(",", " ").split()
        unknown = [word for word in words if word not in self.disks]
        wrong = next((word for word in unknown if asked or not any(name.startswith(word) for name in self.disks)), "")
        self._said = f"{wrong} is no disk of this guest. It has: {', '.join(self.disks)}." if wrong else ""
        if self.removed is not None and not unknown:
            try:
                self.plan = self.session.plan_remove(self.removed, delete_disks=frozenset(words))
            except FleetError as error:
                self._said = error.title
            else:
                self.run_worker(self._preview, group="preview", exclusive=True)
        self.show_plan()
        return not self._said and not unknown

    async def action_enter(self) -> None:
        """Apply, after the question that the plan's danger asks for; leave when there is nothing to apply."""
        await typed(self.focused)
        if self._typing:
            if self._replan(self.query_one(Input).value, asked=True):
                self.set_focus(None)
            return
        if self.plan.is_empty:
            self.dismiss(None)
        elif self.plan.danger is Danger.NONE:
            self._apply(True)
        else:
            await self.app.push_screen(Confirm(self.plan), self._apply)

    def _apply(self, yes: bool | None) -> None:
        if yes:
            self.app.push_screen(ApplyScreen(self.session, self.plan), self.dismiss)

    async def action_back(self) -> None:
        """Leave the box with all disks kept; leave the plan, nothing changed."""
        if self._typing:
            self.query_one(Input).value = ""
            self.set_focus(None)
        else:
            self.dismiss(None)

    async def action_key(self, name: str) -> None:
        """Do what a letter is bound to. Priority: the next key, of a burst, is already for the box that x leads to."""
        await self.run_action(name)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave letters to who is typed into."""
        return not (action == "key" and self._typing)

    def action_disks(self) -> None:
        """Go to the box for the disks' names."""
        if self.disks:
            self.set_focus(self.query_one(Input))

    async def action_diff(self) -> None:
        """Show the files line by line."""
        if self.plan.files:
            await self.app.push_screen(DiffScreen(self.plan))

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.body.scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        """Scroll by pages."""
        self.body.scroll_relative(y=by * max(1, self.body.size.height - 1), animate=False)
