"""How the fleet screen moves its cursor, folds and sorts."""

from __future__ import annotations

from datetime import datetime, timedelta

from textual import getters

from console.inventory.filter import Match
from console.inventory.ranking import Column, Order, Ranking
from screens.base import ConsoleScreen
from screens.fleet_list import FleetList
from screens.states import needs_somebody

SORT_EVERY_S = 10.0
"""A list sorted by a figure keeps its order so long; keys that sort do it at once."""


class FleetMoves(ConsoleScreen):
    """The part of the fleet screen that is about rows only. What is folded is kept apart while there is a filter."""

    rows = getters.query_one("#rows", FleetList)
    match: Match | None = None
    """The filter."""

    order: Order | None = None
    """What a flat list of guests is sorted by; None for the tree of hosts and guests."""

    folded: set[str]
    found_folded: set[str]
    _sorted_at: datetime | None = None

    def act_up(self) -> None:
        """One row up."""
        self.rows.move(-1)

    def act_down(self) -> None:
        """One row down."""
        self.rows.move(1)

    def act_page_up(self) -> None:
        """One page up."""
        self.rows.page(-1)

    def act_page_down(self) -> None:
        """One page down."""
        self.rows.page(1)

    def act_first(self) -> None:
        """To the first row."""
        self.rows.go_to(0)

    def act_last(self) -> None:
        """To the last row."""
        self.rows.go_to(len(self.rows.index) - 1)

    def act_fold(self) -> None:
        """Fold the host; from a guest, go to its host."""
        row = self.rows.row
        if row is None:
            return
        if row.guest is not None:
            self.rows.choose(row.host.name)
        else:
            self._fold(row.host.name, folded=True)

    def act_unfold(self) -> None:
        """Unfold the host."""
        row = self.rows.row
        if row is not None and row.guest is None:
            self._fold(row.host.name, folded=False)

    def act_fold_all(self) -> None:
        """Fold all hosts, or unfold them when all are folded."""
        names = set(self.session.store.fleet.hosts)
        now = set() if self.folded_now >= names else names
        self.folded_now.clear()
        self.folded_now.update(now)
        self.show_store()

    def act_next_problem(self) -> None:
        """To the next row that needs somebody, around the end."""
        index, start = self.rows.index, self.rows.cursor
        for step in range(1, len(index) + 1):
            number = (start + step) % len(index)
            row = index[number]
            if needs_somebody(row.host, row.guest):
                self.rows.go_to(number)
                return
        self.tell("✔ Nothing here needs somebody.")

    def act_sort(self) -> None:
        """Sort by the next column that is shown; after the last one, the tree again."""
        shown = [column for column in Column if self.rows.columns.has(column)]
        now = Column.NAME if self.order is None else self.order.column
        place = shown.index(now) + 1 if now in shown else 0
        self.sort_by(None if place == len(shown) else Order.by(shown[place]))

    def act_reverse(self) -> None:
        """Turn the order round."""
        self.sort_by((self.order or Order.by(Column.NAME)).reversed)

    def sort_by(self, order: Order | None) -> None:
        """Show a flat list in this order; None, or by name from a to z, shows the tree."""
        self.order = None if order == Order.by(Column.NAME) else order
        self._sorted_at = None
        self.show_store()
        self.refresh_bindings()

    def ranking(self) -> Ranking | None:
        """Return the flat list as it is to be shown now; None for the tree."""
        if self.order is None:
            return None
        now, before = self.session.store.clock(), self.rows.index
        views = self.session.store.hosts()
        due = self._sorted_at is None or abs(now - self._sorted_at) >= timedelta(seconds=SORT_EVERY_S)
        if due:
            self._sorted_at = now
        if not isinstance(before, Ranking) or before.order != self.order:
            return Ranking(self.order, views, self.match)
        return before.updated(views, self.match, again=due)

    @property
    def folded_now(self) -> set[str]:
        """The hosts that are folded: with a filter, in what it found."""
        return self.folded if self.match is None else self.found_folded

    def _fold(self, host: str, *, folded: bool) -> None:
        (self.folded_now.add if folded else self.folded_now.discard)(host)
        self.show_store()
