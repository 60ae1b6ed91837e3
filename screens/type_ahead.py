"""A box that is typed into as soon as its screen is asked for: keys that come before it is there are kept for it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from textual.events import Key
from textual.screen import ModalScreen
from textual.widget import Widget

from screens.form import typed
from screens.sized import SizedScreen

Answer = TypeVar("Answer")


class TypeAhead(ModalScreen[Answer], SizedScreen[Answer]):
    """A question with one box: what is typed faster than it opens reaches the box, in its order.

    A screen calls `begin(box)` once it is mounted, and awaits `settled()` in each action that goes by what was typed:
    a key that is bound on the screen would otherwise overtake the letters before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._box: Widget | None = None
        self._ready = asyncio.Event()
        self._early: list[Key] = []

    def begin(self, box: Widget) -> None:
        """Give the keyboard to the box, with the keys that came before it was there."""
        if self.message_queue_size:
            # More keys may be among those messages; from set_focus on they would overtake them.
            self.call_later(self.begin, box)
            return
        self._box = box
        self.screen.set_focus(box)
        for event in self._early:
            box._forward_event(Key(event.key, event.character))
        self._ready.set()

    async def settled(self) -> None:
        """Return once the box has dealt with all keys that were pressed before."""
        await self._ready.wait()
        await typed(self._box)

    def on_key(self, event: Key) -> None:
        """Keep a key for the box until it is there."""
        if not self._ready.is_set():
            event.stop()
            self._early.append(event)
