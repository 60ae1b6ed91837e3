"""The screen that all screens are."""

from __future__ import annotations

from textual.events import Resize
from textual.screen import Screen, ScreenResultType


class SizedScreen(Screen[ScreenResultType]):
    """A screen that is laid out for the terminal's size, and for none that it had before.

    The second base of a modal one: Textual takes the styles of the first.
    """

    def on_resize(self, event: Resize) -> None:
        """Pass over a size that is not the terminal's any more.

        A screen tells itself of each size that it is laid out for. With two sizes under way, as when a terminal is
        resized while the console starts, each undid the other for ever, and no key was heard again.
        """
        if event.size != self.app.size:
            event.stop()
            event.prevent_default()
