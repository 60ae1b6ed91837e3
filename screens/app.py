"""The console on a terminal: it joins session, store and screens, and does nothing else."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from console.domain.errors import FleetError
from screens.actions import BY_ID
from screens.base import ConsoleScreen
from screens.fleet import FleetScreen
from screens.history import History
from screens.offers import key_of
from screens.terminal import TerminalApp
from screens.too_small import TooSmall, is_too_small
from screens.widgets import KeysFooter, Notice, is_open, text_safe
from screens.work import Work

if TYPE_CHECKING:
    from console.services.view import View

PAINT_EVERY_S = 0.25
"""Updates of the store are shown at most this often."""


class QuarterdeckApp(TerminalApp, inherit_bindings=False):
    """Shows a session's fleet until the operator leaves; then the session is closed."""

    # The styles of the default screen are not loaded by itself as those of pushed screens are.
    CSS_PATH: ClassVar[list[str | PurePath]] = ["theme.tcss", "fleet.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before any text box takes it as "copy".
        Binding("ctrl+c", "interrupt", "how to leave", id="interrupt", priority=True, show=False),
    ]

    class StoreChanged(Message):
        """Something is to be painted."""

    def __init__(self, session: View) -> None:
        super().__init__(session)
        self.history = History()
        self.work = Work(self, session, self._changed, self.show_error)
        self.complaint: FleetError | None = None
        """What is wrong with the operator's own settings: the console begins by showing it."""
        self._due = False

    def get_default_screen(self) -> Screen[None]:
        """Return the fleet: the screen below all others."""
        return FleetScreen(self.session, self.work, self.history)

    def on_mount(self) -> None:
        """Listen to the store; connect once the first frame is painted."""
        self.session.store.subscribe(self._changed)
        self.set_interval(1.0, self._second)
        if self.complaint is not None:
            self.call_after_refresh(self.show_error, self.complaint)
        self.call_after_refresh(self._connect)

    def on_resize(self) -> None:
        """Cover the screens while there is no room for them."""
        # The app's own size is the new one only after this, and the cover goes by it.
        self.call_later(self._cover)

    def _cover(self) -> None:
        if is_too_small(self.size):
            if not any(isinstance(screen, TooSmall) for screen in self.screen_stack):
                self.push_screen(TooSmall())
        elif isinstance(self.screen, TooSmall):
            self.pop_screen()

    def _connect(self) -> None:
        self.run_worker(self._start(), name="connect")

    async def _start(self) -> None:
        try:
            await self.session.start()
        except FleetError as error:
            self.show_error(error)

    def _changed(self) -> None:
        if not self._due:
            self._due = True
            # The store may be changed by a task that knows nothing of this app, where a timer could not be set.
            self.post_message(self.StoreChanged())

    def on_quarterdeck_app_store_changed(self) -> None:
        """Show what changed, together with what else changes in a moment."""
        self.set_timer(PAINT_EVERY_S, self.show_changes)

    def show_changes(self) -> None:
        """Show what the store says now in the screen that is in front."""
        self._due = False
        self.history.take(self.session.store.hosts())
        if (screen := self._front()) is not None:
            screen.show_store()

    def _second(self) -> None:
        if (screen := self._front()) is not None:
            screen.show_ages()
            screen.show_status()

    def _front(self) -> ConsoleScreen | None:
        """Return the screen in front when it shows the store; there is none while the console is being left.

        One that is still being laid out has nothing to paint on; it shows the store as soon as it has.
        """
        screen = self.screen_stack[-1] if self.screen_stack else None
        return screen if isinstance(screen, ConsoleScreen) and screen.is_mounted and is_open(screen) else None

    def show_error(self, error: FleetError) -> None:
        """Show an error where the operator looks: in the uppermost screen that has a place for it."""
        for screen in reversed(self.screen_stack):
            for notice in screen.query(Notice):
                notice.show_error(error)
                return

    async def on_event(self, event: events.Event) -> None:
        """Take an error notice down at the next key; escape, enter and space do nothing but that."""
        if isinstance(event, events.Key) and not event.is_forwarded and self.screen_stack:
            for notice in self.screen.query(Notice):
                if notice.error is not None:
                    notice.take_down()
                    if event.key in {"escape", "enter", "space"}:
                        return
        await super().on_event(event)

    async def action_quit(self) -> None:
        """Leave. What is being carried out goes on in a process of its own: that is said where the console was."""
        going_on = [worker.name for worker in self.workers if worker.group == "apply" and worker.is_running]
        if going_on:
            what = going_on[0] if len(going_on) == 1 else f"{len(going_on)} jobs"
            verb = "goes" if len(going_on) == 1 else "go"
            self.exit(message=text_safe(f"{what}: {verb} on without the console. See it with: qd job follow last"))
        else:
            self.exit()

    def action_interrupt(self) -> None:
        """Answer ctrl+c, which ends other programs: it says how this one is left, and copies nothing."""
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            self.session.store.say(f"▲ {key_of(BY_ID['quit'])} leaves the console.")
            screen.show_frame()
        else:
            for footer in screen.query(KeysFooter):
                footer.flash(f"escape goes back; {key_of(BY_ID['quit'])} then leaves the console.")

    def action_jobs(self, job: str = "") -> None:
        """Show the jobs, from that one on; asked for by screens with keys of their own."""
        from screens.jobs import JobsScreen

        self.push_screen(JobsScreen(self.session, self.work, job))
