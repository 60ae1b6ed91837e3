"""A program on a terminal that shows one inventory: its themes, its end, and nothing of what it shows."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGHUP, SIGTERM
from typing import TYPE_CHECKING

from textual.app import App
from textual.filter import LineFilter, NoColor
from textual.screen import Screen
from textual.worker import WorkerFailed

from console.domain.errors import FleetError
from console.domain.values import shown
from screens.filters import ConsoleGlyphs, SignColours
from screens.sized import SizedScreen
from screens.theme import TERMINAL, THEMES, usable

if TYPE_CHECKING:
    from console.services.view import View


class TerminalApp(App[None], inherit_bindings=False):
    """Shows an inventory until it is left; then its hosts are let go of."""

    TITLE = "Quarterdeck"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, session: View) -> None:
        super().__init__()
        # Over SSH every frame costs; nothing here gains from motion.
        self.animation_level = "none"
        for theme in THEMES.values():
            self.register_theme(theme)
        self._usable = (TERMINAL.name,) if self.no_color else usable(self.console.color_system)
        self._no_colour = NoColor()
        self._sign_colours = SignColours()
        self._glyphs = ConsoleGlyphs(enabled=os.environ.get("TERM") == "linux")
        self.theme = self._usable[0]
        self.keep_theme: Callable[[str], Path] | None = None
        """Writes the name of a theme to where the operator's settings are; says where. Set by who has such a place."""
        self.session = session
        self._obey_signals = False
        self.failure: BaseException | None = None
        """What ended it, unexpectedly."""

    def wear(self, name: str) -> None:
        """Use a theme, as far as the terminal can show it. Raises FleetError when there is none of that name."""
        if name not in THEMES:
            raise FleetError(f"There is no theme named {shown(name)}.", "", f"There are: {', '.join(THEMES)}.")
        if name in self._usable:
            self.theme = name

    async def next_theme(self) -> str:
        """Use the next theme and keep it; return a sentence. Raises FleetError when it was not kept."""
        if len(self._usable) == 1:
            why = "NO_COLOR is set" if self.no_color else "This terminal has 16 colours"
            return f"▲ {why}: there is one theme for that, and it is in use."
        place = self._usable.index(self.theme) + 1
        self.theme = self._usable[place % len(self._usable)]
        if self.keep_theme is None:
            return f"✔ Theme {self.theme}."
        path = await asyncio.to_thread(self.keep_theme, self.theme)
        return f"✔ Theme {self.theme}, kept in {path}."

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what is done to each line last: fewer colours, fewer characters."""
        if self.no_color:
            # Textual's own would leave shades of grey.
            colours: Sequence[LineFilter] = [self._no_colour]
        else:
            colours = [*super().get_line_filters(), *([self._sign_colours] if self.native_ansi_color else [])]
        return [*colours, self._glyphs] if self._glyphs.enabled else colours

    def show(self) -> int:
        """Run until it is left or told to end; return the exit status. Raises what ended it unexpectedly."""
        self._obey_signals = True
        self.run()
        if self.failure is not None:
            raise self.failure
        return self.return_code or 0

    def get_default_screen(self) -> Screen[None]:
        """Return the screen below all others."""
        return SizedScreen(id="_default")

    def on_load(self) -> None:
        """Leave in order when told to end: else the terminal stays raw, on its second screen."""
        if self._obey_signals:
            for signal in (SIGTERM, SIGHUP):
                asyncio.get_running_loop().add_signal_handler(signal, self.exit)

    def on_ready(self) -> None:
        """Leave what was loaded to start alone: looking through it for garbage would hold a frame for 0.1 s."""
        gc.freeze()

    def on_resize(self) -> None:
        """Paint every cell: a terminal that is attached again says the size that it had, and is empty."""
        self.refresh()

    async def on_unmount(self) -> None:
        """Let go of the hosts."""
        await self.session.close()

    def _handle_exception(self, error: Exception) -> None:
        """Leave. Whoever runs the app tells of `failure`; Textual would print pages of it over the terminal."""
        if self.failure is None:
            self.failure = error.error if isinstance(error, WorkerFailed) else error
        super()._handle_exception(error)
        self._exit_renderables.clear()
