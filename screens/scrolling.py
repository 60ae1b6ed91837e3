"""A screen about one thing, in a body that scrolls by the keys that move the cursor elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import VerticalScroll

from screens.base import ConsoleScreen
from screens.fleet import FleetScreen

if TYPE_CHECKING:
    from screens.command_bar import Command


class ScrollingScreen(ConsoleScreen):
    """What the screens of a host and of a guest share. The body is the only scroll of the screen."""

    @property
    def body(self) -> VerticalScroll:
        """What scrolls."""
        return self.query_one(VerticalScroll)

    def show_ages(self) -> None:
        """Let the ages of stale facts grow."""
        host = self.situation().host
        if host is not None and host.stale_since is not None:
            self.show_store()

    def act_up(self) -> None:
        """Scroll up."""
        self.body.scroll_relative(y=-1, animate=False)

    def act_down(self) -> None:
        """Scroll down."""
        self.body.scroll_relative(y=1, animate=False)

    def act_page_up(self) -> None:
        """Scroll a page up."""
        self.body.scroll_page_up(animate=False)

    def act_page_down(self) -> None:
        """Scroll a page down."""
        self.body.scroll_page_down(animate=False)

    def act_first(self) -> None:
        """Scroll to the top."""
        self.body.scroll_home(animate=False)

    def act_last(self) -> None:
        """Scroll to the end."""
        self.body.scroll_end(animate=False)

    def act_back(self) -> None:
        """Back to the fleet."""
        self.dismiss()

    async def obey(self, command: Command) -> None:
        """Do what a command says here; where it goes somewhere else, in the fleet."""
        if command.key is None:
            if command.action is not None:
                await self.act(command.action)
            return
        fleet = next(screen for screen in self.app.screen_stack if isinstance(screen, FleetScreen))
        while self.app.screen is not fleet:
            self.app.pop_screen()
        await fleet.obey(command)
