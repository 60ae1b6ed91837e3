"""A program on a terminal that shows one inventory: its themes, its end, and nothing of what it shows."""

from __future__ import annotations

import asyncio
from signal import SIGHUP, SIGTERM
from typing import TYPE_CHECKING

from textual.app import App
from textual.worker import WorkerFailed

from screens.theme import QUARTERDECK, SIXTEEN, theme_for

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
        self.register_theme(QUARTERDECK)
        self.register_theme(SIXTEEN)
        self.theme = theme_for(self.console.color_system)
        self.session = session
        self._obey_signals = False
        self.failure: BaseException | None = None
        """What ended it, unexpectedly."""

    def show(self) -> int:
        """Run until it is left or told to end; return the exit status. Raises what ended it unexpectedly."""
        self._obey_signals = True
        self.run()
        if self.failure is not None:
            raise self.failure
        return self.return_code or 0

    def on_load(self) -> None:
        """Leave in order when told to end: else the terminal stays raw, on its second screen."""
        if self._obey_signals:
            for signal in (SIGTERM, SIGHUP):
                asyncio.get_running_loop().add_signal_handler(signal, self.exit)

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
