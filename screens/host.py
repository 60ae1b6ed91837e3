"""One host: how it is reached, what it has and gives away, its guests, and whether its hardware is what it was."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.geometry import Region

from console.domain.errors import FleetError
from console.domain.standing import HostView, Standing
from console.services.journal import operator
from console.services.session import Session
from screens.action import Context
from screens.history import History
from screens.host_detail import host_lines
from screens.host_lines import capacity, connection, drift, guests
from screens.job_lines import host_jobs, running
from screens.offers import bindings
from screens.scrolling import ScrollingScreen
from screens.situation import Situation
from screens.states import host_state
from screens.subject import Subject
from screens.widgets import Line, Sheet
from screens.work import Work

WIDE = 120
"""From this width on facts stand beside capacity and guests."""


class HostScreen(ScrollingScreen):
    """Everything about one host, with the keys for it."""

    CONTEXT = Context.HOST
    CSS_PATH = "host.tcss"
    BINDINGS = bindings(Context.HOST)

    use = getters.query_one("#host-use", Sheet)
    facts = getters.query_one("#host-facts", Sheet)

    def __init__(self, session: Session, work: Work, history: History, name: str) -> None:
        super().__init__(session, work)
        self.history = history
        self.host = name
        self.chosen = ""
        """The guest under the cursor."""
        self._row = 0

    def compose(self) -> ComposeResult:
        """Lay out header, capacity and guests, facts, status and keys."""
        yield from self.frame_top()
        with VerticalScroll(id="host", can_focus=False):
            yield Sheet(id="host-use")
            yield Sheet(id="host-facts")
        yield from self.frame_bottom()

    def on_mount(self) -> None:
        """Show the host."""
        self.show_store()

    def on_resize(self, event: Resize) -> None:
        """Put the facts below or beside the rest."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.show_once_laid_out()

    def situation(self) -> Situation:
        """Return the host; none once it is gone."""
        view = self._view()
        changed = (Standing.CHANGED, Standing.PENDING)
        return Situation(
            read_only=self.session.read_only,
            hosts=len(self.session.store.fleet.hosts),
            changes=sum(guest.standing in changed for guest in view.guests) if view else 0,
            host=view,
            jobs=running(self.session.store.jobs),
        )

    def show_store(self) -> None:
        """Show what the store says of the host; leave when it is gone."""
        view = self._view()
        if view is None:
            if self.is_current:
                self.dismiss()
            return
        subject = Subject(
            host=view,
            now=self.session.store.clock(),
            history=self.history,
            cards=self.session.gpu_choices(self.host),
        )
        width = self.use.size.width or self.size.width
        labels = "  ".join(view.wanted.labels)
        self.header.show(
            [[(self.host, "title"), ("   ", ""), host_state(view, subject.now), (f"   {labels}", "quiet")]]
        )
        lines: list[Line] = [*connection(subject, self.session.pinned_fingerprint(self.host), width), ()]
        jobs = host_jobs(self.session.store.jobs, self.host, subject.now, operator(), width)
        listed = guests(subject, width)
        for part in (drift(subject, width), capacity(subject, width), listed, jobs):
            if part and part is listed:
                # Below the heading.
                self._row = len(lines) + 1 + self._place(view)
            lines += [*part, ()] if part else []
        self.use.show(lines, self._row if view.guests else None)
        self.facts.show(host_lines(subject, self.facts.size.width or width, standing=False))
        self.show_frame()

    def _place(self, view: HostView) -> int:
        """Return the row of the chosen guest; the first one's when that is gone."""
        names = [guest.key.guest for guest in view.guests]
        if self.chosen not in names:
            self.chosen = names[0] if names else ""
        return names.index(self.chosen) if names else 0

    def _move(self, by: int) -> None:
        """Move the cursor by so many guests; beyond the first and the last one the rest of the screen scrolls."""
        view = self._view()
        if view is None or not view.guests:
            self.body.scroll_relative(y=by, animate=False)
            return
        place = self._place(view)
        new = max(0, min(len(view.guests) - 1, place + by))
        self.chosen = view.guests[new].key.guest
        self.show_store()
        if new == place:
            self.body.scroll_relative(y=by, animate=False)
        else:
            self.body.scroll_to_region(Region(0, self._row, 1, 1), animate=False)

    def act_up(self) -> None:
        """One guest up."""
        self._move(-1)

    def act_down(self) -> None:
        """One guest down."""
        self._move(1)

    def act_open_guest(self) -> None:
        """Open the guest under the cursor."""
        from screens.guest import GuestScreen

        view = self._view()
        if view is not None and view.guests:
            key = view.guests[self._place(view)].key
            self.app.push_screen(GuestScreen(self.session, self.work, self.history, key))

    def act_create(self) -> None:
        """Create a guest here."""
        from screens.create_guest import CreateGuest

        self.app.push_screen(CreateGuest(self.session, host=self.host))

    def act_plan(self) -> None:
        """Show what an apply of this host would do."""
        from screens.plan import PlanScreen

        self.app.push_screen(PlanScreen(self.session, self.session.plan_fleet(host=self.host)))

    def act_remove_this_host(self) -> None:
        """Take the host out of the inventory."""
        self.propose(self.session.plan_remove_host(self.host))

    def _view(self) -> HostView | None:
        try:
            return self.session.store.host(self.host)
        except FleetError:
            return None
