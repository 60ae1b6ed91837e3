"""A form of several pages: walking through it, live problems, and a review that waits until all is good."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.types import CSSPathType
from textual.widget import Widget
from textual.widgets import Input

from console.domain.errors import FleetError
from console.domain.plan import Outcome
from screens.choice import Choice
from screens.form import Field, typed
from screens.form_frame import Keys, Reasons, form_keys, form_title
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet
from screens.work import failure


class Page(VerticalScroll, can_focus=False):
    """The fields of the current page, or the review."""


class FormScreen(SizedScreen[Outcome | None]):
    """What the forms have in common. A subclass gives pages of fields, their problems, and the last page.

    What was typed lives in the subclass's wish, never in widgets alone: pages come and go, nothing is lost.
    """

    CSS_PATH: ClassVar[CSSPathType] = "form.tcss"
    AUTO_FOCUS = ""
    # Priority: these keys act on the whole form, and must not overtake or be overtaken by what is typed (see `typed`).
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "next", id="form.next", priority=True, show=False),
        Binding("tab", "leave(1)", "next field", id="form.tab", priority=True, show=False),
        Binding("shift+tab", "leave(-1)", "previous field", id="form.backtab", priority=True, show=False),
        Binding("down", "move(1)", "down", id="form.down", priority=True, show=False),
        Binding("up", "move(-1)", "up", id="form.up", priority=True, show=False),
        Binding("pagedown", "turn(1)", "next page", id="form.pagedown", priority=True, show=False),
        Binding("pageup", "turn(-1)", "previous page", id="form.pageup", priority=True, show=False),
        Binding("home", "edge(-1)", "first", id="form.home", priority=True, show=False),
        Binding("end", "edge(1)", "last", id="form.end", priority=True, show=False),
        Binding("ctrl+s", "review", "review", id="form.review", priority=True, show=False),
        Binding("escape", "back", "back", id="form.back", priority=True, show=False),
    ]
    PAGES: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The name of each page, and the keys of its fields in their order."""

    body = getters.query_one("#form-page", Page)

    def __init__(self) -> None:
        super().__init__()
        self.page = 0
        self.touched: set[str] = set()
        self.problems: Mapping[str, str] = {}
        self.reasons = Reasons()
        self.begin_at = ""
        """The key of the field to begin with, empty for the first."""
        self._begun: object = None
        self.leaving = False
        self._ready = asyncio.Event()
        self._early: list[Key] = []

    # What a subclass gives.

    def typed_so_far(self) -> object:
        """Return the wish: a frozen value, another one after each change."""
        raise NotImplementedError

    def heading(self) -> str:
        """Return what the form is for."""
        raise NotImplementedError

    def fields(self, page: int) -> list[Field]:
        """Return the fields of a page, filled in from the wish."""
        raise NotImplementedError

    def take(self, field: Field) -> None:
        """Put the value of a field into the wish."""
        raise NotImplementedError

    def find_problems(self) -> Mapping[str, str]:
        """Return field key -> sentence for the whole wish."""
        raise NotImplementedError

    def special(self, page: int) -> Widget | None:
        """Return what a page without fields shows (the review), None for a page of fields."""
        return None

    def refresh_page(self) -> None:
        """Follow a changed wish: hints, choices, which fields are there. The problems are already set."""

    def notices(self) -> list[Line]:
        """Return what is worth saying about the page as a whole."""
        return []

    def page_keys(self) -> Keys:
        """Return the keys of a page without fields."""
        raise NotImplementedError

    async def confirmed(self) -> None:
        """Do what enter does on a page without fields."""

    async def entered(self) -> None:
        """Prepare a page without fields that was just shown."""

    # Layout.

    def compose(self) -> ComposeResult:
        """Lay out title, page, notice and keys."""
        yield Header(id="form-title")
        yield Page(id="form-page")
        yield Sheet(id="form-notice")
        yield Notice()
        yield KeysFooter()

    async def on_mount(self) -> None:
        """Show the first page, and give its field what was typed before it was there."""
        self._begun = self.typed_so_far()
        await self.lay_out(0)
        self.call_later(self._begin)

    def _begin(self) -> None:
        """Give the keyboard to the first field, with the keys that came before it was there."""
        if self.message_queue_size:
            # More keys may be among those messages; from set_focus on they would overtake them.
            self.call_later(self._begin)
            return
        self._focus_on(self.begin_at)
        for event in self._early:
            if self.focused is not None:
                self.focused._forward_event(Key(event.key, event.character))
        self._ready.set()

    def on_key(self, event: Key) -> None:
        """Keep letters for the first field until it is there: whoever types fast has not waited for it."""
        if not self._ready.is_set():
            event.stop()
            self._early.append(event)

    @property
    def page_fields(self) -> list[Field]:
        """The fields of the current page that are there now."""
        return [field for field in self.body.query_children(Field) if field.display]

    @property
    def focused_field(self) -> Field | None:
        """The field that has the keyboard."""
        focused = self.focused
        return next((n for n in focused.ancestors if isinstance(n, Field)), None) if focused is not None else None

    async def show_page(self, page: int, focus: str = "") -> None:
        """Show a page; the keyboard goes to the field of that key, else to the first."""
        await self.lay_out(page)
        self._focus_on(focus)

    async def lay_out(self, page: int) -> None:
        """Put the fields of a page on the screen, or what a page without fields shows."""
        self.page = page
        self.leaving = False
        special = self.special(page)
        fields = [] if special is not None else self.fields(page)
        self.set_focus(None)
        await self.body.remove_children()
        await self.body.mount_all([special] if special is not None else fields)
        self.body.scroll_home(animate=False)
        if special is not None:
            self.set_focus(special)
            await self.entered()
        for field in fields:
            if field.key in self.touched:
                field.touch()
        self.follow()

    def _focus_on(self, key: str) -> None:
        fields = self.page_fields
        chosen = next((field for field in fields if field.key == key), fields[0] if fields else None)
        if chosen is not None:
            self.set_focus(chosen.control)

    def collect(self) -> None:
        """Take over what stands in the fields now; messages about it may still be on their way."""
        for field in self.page_fields:
            self.take(field)
            if field.touched:
                self.touched.add(field.key)

    def follow(self) -> None:
        """Bring problems, hints, notices and keys up to what is typed."""
        self.problems = self.find_problems()
        if self.special(self.page) is None:
            self.refresh_page()
            for field in self.body.query_children(Field):
                field.tell(problem=self.problems.get(field.key, ""))
        self.paint()

    def paint(self) -> None:
        """Bring title, notice and keys up to date."""
        self.query_one(Header).show([form_title(self)])
        lines = self.notices()
        if self.leaving:
            lines.append([("escape again throws away what you typed; any other key stays", "warn")])
        self.query_one("#form-notice", Sheet).show(lines)
        self.query_one(KeysFooter).show_keys(form_keys(self))

    def ended(self, outcome: Outcome | None) -> None:
        """Leave when it is done or was left running; stay with the filled form, and say why, when it failed."""
        if outcome is None or outcome.ok:
            self.dismiss(outcome)
            return
        self.reasons.failed(self.typed_so_far(), failure(outcome))
        self.touched |= set(self.find_problems())
        self.call_later(self.show_page, len(self.PAGES) - 1)

    def say(self, error: FleetError) -> None:
        """Show an error above the keys until the next key."""
        self.query_one(Notice).show_error(error)

    # What happens.

    def on_resize(self) -> None:
        """Fit the title into the new width."""
        self.paint()

    def on_descendant_focus(self) -> None:
        """Show the keys of the field that has the keyboard."""
        self.paint()

    def on_field_changed(self, event: Field.Changed) -> None:
        """Check the wish at each keystroke."""
        event.stop()
        if event.field.is_attached and event.field.display:
            self.take(event.field)
            self.leaving = False
            self.follow()

    def on_choice_turned(self, event: Choice.Turned) -> None:
        """Show the keys of an open list."""
        self.paint()

    async def action_go_on(self) -> None:
        """Choose in an open list; go to the next field; from the last one to the next page, if this one is good."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open:
            control.take()
            return
        if self.special(self.page) is not None:
            await self.confirmed()
            return
        fields, field = self.page_fields, self.focused_field
        if field is not None:
            field.touch()
            if isinstance(control, Choice) and not control.value and field.shown_problem:
                control.open()
                return
        if field is not None and field is not fields[-1]:
            self.set_focus(fields[fields.index(field) + 1].control)
            return
        for other in fields:
            other.touch()
        bad = next((other for other in fields if other.shown_problem), None)
        if bad is not None:
            self.set_focus(bad.control)
        else:
            await self.action_turn(1)

    async def action_move(self, by: int) -> None:
        """Move in an open list, else to another field, else scroll."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open:
            control.move(by)
        elif self.special(self.page) is not None:
            self.body.scroll_relative(y=by, animate=False)
        else:
            self._step(by)

    async def action_leave(self, by: int) -> None:
        """Take what an open list was filtered to, and move to another field."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open and control.query_text:
            control.take()
            if control.complaint:
                return
        self._step(by)

    def _step(self, by: int) -> None:
        if fields := self.page_fields:
            field = self.focused_field
            place = fields.index(field) + by if field in fields else 0
            self.set_focus(fields[place % len(fields)].control)

    async def action_edge(self, by: int) -> None:
        """Go to the end of an open list, of a text, or of the page."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open:
            control.move(by * len(control.rows))
        elif self.special(self.page) is not None:
            self.body.scroll_to(y=0 if by < 0 else self.body.max_scroll_y, animate=False)
        elif isinstance(control, Input):
            control.cursor_position = 0 if by < 0 else len(control.value)

    async def action_turn(self, by: int) -> None:
        """Show the next or the previous page; the review only when all is good."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open:
            control.move(by * 8)
            return
        if self.special(self.page) is not None and self.body.max_scroll_y:
            before = self.body.scroll_offset.y
            self.body.scroll_relative(y=by * (self.body.size.height - 1), animate=False)
            if self.body.scroll_target_y != before:
                return
        page = self.page + by
        if page == len(self.PAGES) - 1:
            await self.action_review()
        elif 0 <= page < len(self.PAGES):
            await self.show_page(page)

    async def action_review(self) -> None:
        """Show the review, or the first field that is not good yet; what an open list was filtered to is taken."""
        if await self._stay():
            return
        control = self.focused
        if isinstance(control, Choice) and control.is_open and control.query_text:
            control.take()
            if control.complaint:
                return
        self.touched |= set(self.problems)
        if self.problems:
            key = min(self.problems, key=self.order_of)
            await self.show_page(self.order_of(key)[0], focus=key)
        elif self.page != len(self.PAGES) - 1:
            await self.show_page(len(self.PAGES) - 1)

    def order_of(self, key: str) -> tuple[int, int]:
        """Return where a field stands in the form: its page, and its place there."""
        for page, (_, keys) in enumerate(self.PAGES):
            if key in keys:
                return page, keys.index(key)
        return 0, 0

    async def action_back(self) -> None:
        """Close an open list; go back a page; leave the form, asking once if something was typed."""
        await self._ready.wait()
        await typed(self.focused)
        control = self.focused
        if isinstance(control, Choice) and control.is_open:
            control.close()
            return
        self.collect()
        if 0 < self.page < len(self.PAGES) - 1:
            await self.show_page(self.page - 1)
        elif self.typed_so_far() != self._begun and not self.leaving:
            self.leaving = True
            self.paint()
        else:
            self.dismiss(None)

    async def _stay(self) -> bool:
        """Settle what was typed before a key acts on the form; True when the key only took back a question."""
        await self._ready.wait()
        await typed(self.focused)
        self.collect()
        self.problems = self.find_problems()
        for field in self.page_fields:
            field.tell(problem=self.problems.get(field.key, ""))
        asked, self.leaving = self.leaving, False
        if asked:
            self.paint()
        return asked
