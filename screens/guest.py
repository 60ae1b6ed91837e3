"""One guest: what it is, how it runs and ran, its devices and addresses, and how it stands against the inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState, HostState
from console.domain.plan import Difference
from console.domain.standing import GuestView, Standing
from console.services.preflight import READ_S
from screens.action import Context
from screens.actions import BY_ID
from screens.guest_detail import addresses, devices, graphs, guest_facts, standing
from screens.history import History
from screens.job_lines import running
from screens.offers import bindings, key_of
from screens.preflight_lines import all_checks, asked, devices_now
from screens.scrolling import ScrollingScreen
from screens.situation import Situation, has_devices
from screens.states import guest_mark, guest_state
from screens.subject import Subject, block, fact
from screens.widgets import Line, Sheet
from screens.work import Work

if TYPE_CHECKING:
    from console.services.session import Session

WIDE = 120
"""From this width on facts and graphs stand beside one another."""


class GuestScreen(ScrollingScreen):
    """Everything about one guest, with the keys to change it."""

    CONTEXT = Context.GUEST
    CSS_PATH = "guest.tcss"
    BINDINGS = bindings(Context.GUEST)

    facts = getters.query_one("#guest-facts", Sheet)
    past = getters.query_one("#guest-past", Sheet)

    def __init__(self, session: Session, work: Work, history: History, key: GuestKey) -> None:
        super().__init__(session, work)
        self.history = history
        self.key = key
        self._cards = session.gpu_choices(key.host)
        self._asked_in: GuestState | None = None

    def compose(self) -> ComposeResult:
        """Lay out header, facts and graphs, status and keys."""
        yield from self.frame_top()
        with VerticalScroll(id="guest", can_focus=False):
            yield Sheet(id="guest-past")
            yield Sheet(id="guest-facts")
        yield from self.frame_bottom()

    def on_mount(self) -> None:
        """Show the guest."""
        self.show_store()

    def _ask_kernel(self) -> None:
        """Have the host's kernel asked; when a guest with devices has gone on or off they are somewhere else."""
        now = self.situation()
        up = now.host is not None and now.host.seen.state is HostState.UP
        if up and has_devices(now) and now.guest is not None and now.guest.state is not self._asked_in:
            self._asked_in = now.guest.state
            self.run_worker(self.session.devices.read([self.key.host], timeout_s=READ_S), group="devices")

    def on_resize(self, event: Resize) -> None:
        """Put the graphs above or beside the facts."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.show_once_laid_out()

    def situation(self) -> Situation:
        """Return the guest and its host; neither once it is gone."""
        store = self.session.store
        try:
            guest, host = store.guest(self.key), store.host(self.key.host)
        except FleetError:
            return Situation(read_only=self.session.read_only)
        changed = guest.standing in (Standing.CHANGED, Standing.PENDING)
        return Situation(
            read_only=self.session.read_only,
            hosts=len(store.fleet.hosts),
            changes=int(changed),
            host=host,
            guest=guest,
            jobs=running(store.jobs),
        )

    def plan_subject(self) -> GuestKey:
        """Return the guest: here a plan is for it alone."""
        return self.key

    def show_store(self) -> None:
        """Show what the store says of the guest; leave when it is gone."""
        now = self.situation()
        if now.guest is None or now.host is None:
            if self.is_current:
                self.dismiss()
            return
        subject = Subject(
            host=now.host,
            guest=now.guest,
            now=self.session.store.clock(),
            history=self.history,
            cards=self._cards,
            differences=self._differences(now.guest),
        )
        wide = self.has_class("-wide")
        width = self.facts.size.width or self.size.width
        mark, style = guest_mark(now.guest)
        words = {"▲": "differs from the inventory", "?": "not in the inventory"}.get(mark, "")
        state = guest_state(now.guest, subject.now)
        self.header.show([[(str(self.key), "title"), ("   ", ""), state, (f"   {mark} {words}", style)]])
        lines: list[Line] = [*block(standing(subject, now.guest), width), ()]
        lines += [*guest_facts(now.guest, subject.now, width), *fact("uuid", now.guest.uuid, width)]
        lines += [(), *devices(subject, now.guest, width), *self._devices_now(subject, width)]
        lines += [(), *addresses(now.guest)]
        self.facts.show(lines)
        rows = max(2, min(6, (self.body.size.height - 4) // 4)) if wide else 2
        past = graphs(subject, now.guest, self.past.size.width or width, rows, apart=wide)
        self.past.show([*past, ()] if past else [])
        self.set_class(not past, "-bare")
        self.show_frame()
        self._ask_kernel()

    def _devices_now(self, subject: Subject, width: int) -> list[Line]:
        """Return where each passed-through device is now, and what the preflight finds, in short."""
        if not has_devices(self.situation()):
            return []
        devices = self.session.devices
        try:
            found = devices.preflight(self.key)
        except FleetError:
            return []
        when = asked(devices, subject.host, subject.now, short=True)
        return devices_now(found, devices.states(self.key), when, key_of(BY_ID["preflight"]), width)

    def act_preflight(self) -> None:
        """Show every check of the guest's devices."""
        from screens.preflight import PreflightScreen

        if not has_devices(self.situation()):
            self.tell(f"▲ {self.key} has no passed-through device.")
            return

        def lines(width: int) -> list[Line]:
            devices = self.session.devices
            return all_checks(devices.preflight(self.key), width, devices.states(self.key))

        heading = f"Preflight of {self.key}"
        self.app.push_screen(PreflightScreen(self.session, heading, self.key.host, lines))

    def _differences(self, guest: GuestView) -> tuple[Difference, ...]:
        if guest.standing is not Standing.CHANGED or guest.stale_since is not None:
            return ()
        return self.session.plan_fleet(guest=guest.key).differences
