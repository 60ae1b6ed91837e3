"""The list of hosts and guests: one widget that paints the visible rows of the index, and only those that changed."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.domain.standing import HostView
from console.inventory.index import Index, Row, RowKey
from console.inventory.ranking import Order, Ranking
from console.inventory.store import Clock
from screens.fleet_columns import ADDRESS, Columns, columns_for, heading, longest_address, row_line
from screens.widgets import Line, Lined


class FleetList(Lined, ScrollView, can_focus=False, inherit_bindings=False):
    """Rows with a cursor that stays on its host or guest whatever is filtered, folded or changed around it."""

    @dataclass
    class CursorMoved(Message):
        """The cursor is on another row; key is None when there is no row."""

        key: RowKey | None

        def can_replace(self, message: Message) -> bool:
            """Let the newest of a burst stand for all."""
            return isinstance(message, FleetList.CursorMoved)

    @dataclass
    class Opened(Message):
        """A row was clicked while the cursor was on it."""

        key: RowKey

    @dataclass
    class ColumnsChanged(Message):
        """The columns have other widths: the heading must follow."""

        heading: Line

    def __init__(self, clock: Clock, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._index: Index | Ranking = Index()
        self._marked: Container[object] = frozenset()
        self._columns = columns_for(79)
        self._longest_address = ADDRESS
        # What the operator chose last; while it is filtered or folded away the cursor stands near its old place.
        self._chosen: RowKey | None = None
        self._cursor = 0
        self._painted: dict[int, Line] = {}
        self._measured: dict[str, HostView] = {}

    @property
    def index(self) -> Index | Ranking:
        """The rows that are shown."""
        return self._index

    @property
    def order(self) -> Order | None:
        """What the rows are sorted by, None for the tree."""
        return self._index.order if isinstance(self._index, Ranking) else None

    @property
    def columns(self) -> Columns:
        """How wide the columns are now."""
        return self._columns

    @property
    def heading(self) -> Line:
        """The line that belongs above the list."""
        return heading(self._columns, self.order)

    @property
    def cursor(self) -> int:
        """The number of the row under the cursor."""
        return self._cursor

    @property
    def row(self) -> Row | None:
        """The row under the cursor, None in an empty list."""
        return self._index[self._cursor] if len(self._index) else None

    def show(
        self,
        index: Index | Ranking,
        views: Sequence[HostView],
        *,
        filtered: bool = False,
        marked: Container[object] = frozenset(),
    ) -> None:
        """Show these rows; the cursor stays on its row, or near it when that is gone.

        views: all hosts, so that columns do not depend on the filter. marked: the guests that are.
        filtered: the rows were filtered anew, so when its row is gone the cursor goes to the first guest found.
        """
        before = self.row
        grown = len(index) != len(self._index)
        self._index = index
        self._marked = marked
        self._measure(views)
        if grown:
            self.virtual_size = Size(self.size.width, len(index))
        self._restore_cursor(before, filtered)
        if grown:
            self._keep_in_view()
        self.refresh_changed()
        after = self.row
        if (before and before.key) != (after and after.key):
            self.post_message(self.CursorMoved(after.key if after else None))

    def refresh_changed(self, *, stale_only: bool = False) -> None:
        """Paint the visible rows whose text differs. stale_only: look only at rows that show an age."""
        now = self._clock()
        top = self.scroll_offset.y
        visible = range(top, min(len(self._index), top + self.size.height))
        painted: dict[int, Line] = {}
        for number in visible:
            old = self._painted.get(number)
            row = self._index[number]
            if stale_only and old is not None and row.host.stale_since is None:
                painted[number] = old
                continue
            painted[number] = line = row_line(row, self._columns, now, self._marked)
            if line != old:
                self.refresh_line(number)
        self._painted = painted

    def move(self, rows: int) -> None:
        """Move the cursor by so many rows, as far as there are any."""
        self.go_to(self._cursor + rows)

    def page(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self.move(pages * max(1, self.size.height - 1))

    def go_to(self, number: int) -> None:
        """Move the cursor to a row by its number, or to the nearest that exists."""
        if not len(self._index):
            return
        old, self._cursor = self._cursor, max(0, min(number, len(self._index) - 1))
        row = self._index[self._cursor]
        self._chosen = row.key
        if old != self._cursor:
            self.refresh_line(old)
            self.refresh_line(self._cursor)
            self.post_message(self.CursorMoved(row.key))
        self._keep_in_view()

    def choose(self, key: RowKey) -> bool:
        """Move the cursor to a host or guest; False when it is not shown."""
        number = self._index.number_of(key)
        if number is None:
            return False
        self.go_to(number)
        return True

    def render_line(self, y: int) -> Strip:
        """Paint one visible row."""
        number = y + self.scroll_offset.y
        width = self.size.width
        if number >= len(self._index):
            return Strip.blank(width, self.rich_style)
        line = self._painted.get(number)
        if line is None:
            line = self._painted[number] = row_line(self._index[number], self._columns, self._clock(), self._marked)
        return self.paint(line, width, under_cursor=number == self._cursor)

    def on_resize(self, event: Resize) -> None:
        """Fit the columns to the new width."""
        self._arrange()
        self.virtual_size = Size(self.size.width, len(self._index))
        self._keep_in_view()

    def on_click(self, event: Click) -> None:
        """Move the cursor to the row; a click on the row under the cursor opens it."""
        number = event.y + self.scroll_offset.y
        if number >= len(self._index):
            return
        if number == self._cursor:
            self.post_message(self.Opened(self._index[number].key))
        else:
            self.go_to(number)

    def _measure(self, views: Sequence[HostView]) -> None:
        """Widen the address column for what changed hosts have in it."""
        changed = [view for view in views if self._measured.get(view.name) is not view]
        if not changed:
            return
        self._measured = {view.name: view for view in views}
        longest = max(map(longest_address, changed))
        if longest > self._longest_address:
            # Never narrower again: columns that jump are worse than a few blanks.
            self._longest_address = longest
            self._arrange()

    def _arrange(self) -> None:
        columns = columns_for(self.size.width - 1, self._longest_address)
        if columns != self._columns:
            self._columns = columns
            self._painted.clear()
            self.refresh()
            self.post_message(self.ColumnsChanged(self.heading))

    def _restore_cursor(self, before: Row | None, filtered: bool) -> None:
        old = self._cursor
        self._cursor = self._place_of(before, filtered)
        if self._chosen is None and len(self._index):
            self._chosen = self._index[self._cursor].key
        if old != self._cursor:
            self.refresh_line(old)
            self.refresh_line(self._cursor)
            self._keep_in_view()

    def _place_of(self, before: Row | None, filtered: bool) -> int:
        """Return where the cursor belongs: on what was chosen, else on what it was on, else on its host, else near."""
        wanted: list[RowKey | None] = [self._chosen]
        if before is not None:
            wanted += [before.key, before.host.name]
        for key in wanted:
            if key is not None and (number := self._index.number_of(key)) is not None:
                return number
        return min(1 if filtered else self._cursor, max(0, len(self._index) - 1))

    def _keep_in_view(self) -> None:
        height = self.size.height
        top = round(self.scroll_target_y)
        if height and not top <= self._cursor < top + height:
            target = self._cursor if self._cursor < top else self._cursor - height + 1
            self.scroll_to(y=target, animate=False, force=True, immediate=True)
