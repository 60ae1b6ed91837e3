"""The read-only dashboard for a spare screen: it never needs a key, and is meant to run for weeks."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.domain.errors import FleetError
from screens.board import Shown, board
from screens.problems import Problems
from screens.terminal import TerminalApp
from screens.totals import Tally
from screens.widgets import Sheet

if TYPE_CHECKING:
    from console.services.view import View

LOOK_S = 0.25
"""How often it is seen whether there is something new to paint."""

REPAINT_S = 60.0
"""All of it is painted anew this often: whoever cleared the terminal, or reset it, told nobody."""

RETRY_S = 15.0
"""How soon libvirt is tried again where it could not be had."""


class DashboardApp(TerminalApp, inherit_bindings=False):
    """Paints the whole board when the store or the second changed; Sheet sends only the rows that differ."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["theme.tcss", "dashboard.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+q,ctrl+c", "quit", "leave", id="dashboard.leave", show=False),
        Binding("ctrl+l", "paint_anew", "paint anew", id="dashboard.paint", show=False),
    ]

    retry_s = RETRY_S

    board = getters.query_one("#board", Sheet)

    def __init__(self, session: View) -> None:
        super().__init__(session)
        self._tally = Tally(session.gpu_choices)
        self._problems = Problems()
        self._trouble: FleetError | None = None
        self._painted: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out the one sheet that there is."""
        yield Sheet(id="board")

    def on_mount(self) -> None:
        """Begin with what is known; connect once that is painted."""
        self.look()
        self.set_interval(LOOK_S, self.look)
        self.set_interval(REPAINT_S, self.action_paint_anew)
        self.call_after_refresh(self.run_worker, self._connect(), name="connect")

    def on_resize(self) -> None:
        """Lay everything out for the new size."""
        self.look()

    def action_paint_anew(self) -> None:
        """Send every cell to the terminal."""
        self.refresh()

    def look(self) -> None:
        """Show what the store says now, if that or the time to the second is new."""
        store = self.session.store
        now = store.clock()
        stand = (store.revision, now.replace(microsecond=0), self.size, self._trouble)
        if stand == self._painted:
            return
        self._painted = stand
        views = store.hosts()
        shown = Shown(
            name=store.fleet.name,
            totals=self._tally.count(views),
            hosts=views,
            problems=self._problems.of(self._trouble, store.faults, views, now, store.jobs),
            now=now,
        )
        self.board.show(board(shown, *self.size))

    async def _connect(self) -> None:
        """Try until it works: nobody is there to press a key."""
        while True:
            try:
                await self.session.start()
            except FleetError as error:
                self._trouble = error
                await asyncio.sleep(self.retry_s)
            else:
                self._trouble = None
                return
