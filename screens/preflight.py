"""Every check of devices with its evidence and remedy: of a card, of a guest, and of one that is being made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from console.domain.errors import FleetError
from console.services.preflight import READ_S
from screens.offers import own_keys
from screens.preflight_lines import asked
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Sheet, error_lines, fit, wrapped

if TYPE_CHECKING:
    from console.services.view import View


class PreflightScreen(SizedScreen[None]):
    """Scrolls what `lines` gives for a width; it is asked anew whenever something changed.

    host: whose kernel is asked, once at the beginning and then by its key. give: leaves to where a guest gets the
    device; None where there is nothing to give. lines may raise FleetError: then that is shown.
    """

    CSS_PATH = "cards.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f", "dismiss", "back", id="preflight.leave", show=False),
        Binding("up,k", "scroll(-1)", "up", id="preflight.up", show=False),
        Binding("down,j", "scroll(1)", "down", id="preflight.down", show=False),
        Binding("pageup", "page(-1)", "page up", id="preflight.page-up", show=False),
        Binding("pagedown,space", "page(1)", "page down", id="preflight.page-down", show=False),
        Binding("home", "edge(-1)", "first", id="preflight.first", show=False),
        Binding("end", "edge(1)", "last", id="preflight.last", show=False),
        Binding("r", "read", "read again", id="preflight.read", show=False),
        Binding("c", "give", "new guest", id="preflight.give", show=False),
    ]

    body = getters.query_one("#preflight", VerticalScroll)

    def __init__(
        self,
        session: View,
        heading: str,
        host: str,
        lines: Callable[[int], list[Line]],
        give: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.session = session
        self.heading = heading
        self.host = host
        self._lines = lines
        self._give = give

    def compose(self) -> ComposeResult:
        """Lay out heading, how old the facts are, the checks and the keys."""
        yield Header([()])
        yield Sheet(id="preflight-asked")
        with VerticalScroll(id="preflight", can_focus=False):
            yield Sheet(id="preflight-lines")
        yield KeysFooter()

    def on_mount(self) -> None:
        """Follow what changes, and have the kernel asked."""
        self._unsubscribe = self.session.store.subscribe(self._changed)
        self.set_interval(1.0, self.show_store)
        self.action_read()

    def on_unmount(self) -> None:
        """Stop following."""
        self._unsubscribe()

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.call_after_refresh(self.show_store)

    def _changed(self) -> None:
        if self.is_mounted:
            self.call_later(self.show_store)

    def show_store(self) -> None:
        """Show what is known now."""
        width = max(20, self.size.width - 3)
        self.query_one(Header).show([[(fit(self.heading, self.size.width - 2), "title")]])
        try:
            view = self.session.store.host(self.host)
            text, style = asked(self.session.devices, view, self.session.store.clock())
            told: list[Line] = [[(part, style)] for part in wrapped(text, width)]
            lines = self._lines(width)
        except FleetError as error:
            told, lines = [], error_lines(error, width)
        self.query_one("#preflight-asked", Sheet).show(told)
        self.query_one("#preflight-lines", Sheet).show(lines)
        give = [("preflight.give", "c", "new guest")] if self._give is not None else []
        keys = own_keys(*give, ("preflight.read", "r", "read again"))
        back = own_keys(("preflight.leave", "escape", "back"))
        self.query_one(KeysFooter).show_keys((("↑↓", "scroll"), ("pgup pgdn", "page"), *keys, *back))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Bind the key that gives the device only where there is one to give."""
        return self._give is not None if action == "give" else True

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.body.scroll_relative(y=by, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.body.scroll_relative(y=pages * max(1, self.body.size.height - 1), animate=False)

    def action_edge(self, by: int) -> None:
        """Scroll to the beginning or the end."""
        self.body.scroll_to(y=0 if by < 0 else self.body.max_scroll_y, animate=False)

    def action_read(self) -> None:
        """Have the host's kernel asked, in the background."""
        if self.host in self.session.store.fleet.hosts and self.host not in self.session.devices.reading:
            self.run_worker(self.session.devices.read([self.host], timeout_s=READ_S, use=True), group="devices")

    def action_give(self) -> None:
        """Leave, and have a guest made with the device."""
        if self._give is not None:
            self.dismiss()
            self._give()

    async def action_dismiss(self, result: None = None) -> None:
        """Go back."""
        self.dismiss()
