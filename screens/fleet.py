"""The fleet: every host and guest in one list, what is known of the row under the cursor, and what can be done."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import Difference
from console.domain.standing import GuestView, Standing
from console.inventory.files import host_name
from console.inventory.filter import parse
from console.inventory.index import Index, RowKey
from console.services.wishes import PowerAction
from screens.action import Context
from screens.detail import brief, full
from screens.fleet_list import FleetList
from screens.fleet_moves import FleetMoves
from screens.history import History
from screens.job_lines import running
from screens.marks import Marks
from screens.offers import bindings
from screens.situation import Situation
from screens.subject import Subject
from screens.totals import Tally, Totals, totals_line
from screens.widgets import Line, Sheet, is_open, wrapped
from screens.work import Work

if TYPE_CHECKING:
    from console.services.session import Session
    from screens.command_bar import Command
    from screens.filter_line import FilterLine

WIDE = 120
"""From this width on the detail stands beside the list."""

FAULTS_SHOWN = 3


class FleetScreen(FleetMoves):
    """The first screen, and the one that all others come back to."""

    CONTEXT = Context.FLEET
    BINDINGS = bindings(Context.FLEET)

    detail = getters.query_one("#detail", Sheet)
    heading = getters.query_one("#heading", Sheet)
    empty = getters.query_one("#empty", Sheet)
    faults = getters.query_one("#faults", Sheet)

    def __init__(self, session: Session, work: Work, history: History) -> None:
        super().__init__(session, work)
        self.history = history
        self.totals = Totals()
        self.filter_text = ""
        self.folded = set()
        self.found_folded = set()
        self.marks = Marks()
        self._marked_can: frozenset[PowerAction] = frozenset()
        self._only_cursor = False
        self._tree = Index()
        self._tally = Tally(session.gpu_choices)
        self._differences: tuple[tuple[object, ...], tuple[Difference, ...]] = ((), ())
        self._focused_host: str | None = None

    def compose(self) -> ComposeResult:
        """Lay out header, list, detail, status and keys."""
        yield from self.frame_top()
        yield Sheet(id="faults")
        with Container(id="body"):
            with Vertical(id="left"):
                yield Sheet([()], id="heading")
                yield FleetList(self.session.store.clock, id="rows")
                yield Sheet(id="empty")
            yield Sheet(id="detail")
        yield from self.frame_bottom()

    def on_mount(self) -> None:
        """Show what the inventory says; hosts are heard of later."""
        self.show_store()

    def on_resize(self, event: Resize) -> None:
        """Put the detail below or beside the list."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.call_after_refresh(lambda: self._show_around() if is_open(self) else None)

    def situation(self) -> Situation:
        """Return the row under the cursor."""
        row = self.rows.row
        return Situation(
            read_only=self.session.read_only,
            hosts=self.totals.hosts,
            changes=self.totals.changes,
            host=row.host if row else None,
            guest=row.guest if row else None,
            marked=len(self.marks),
            marked_can=self._marked_can,
            narrowed=self.match is not None,
            sorted=self.order is not None,
            jobs=running(self.session.store.jobs),
        )

    def targets(self) -> list[GuestKey]:
        """Return the marked guests, else the one under the cursor."""
        return self.marks.keys if self.marks and not self._only_cursor else super().targets()

    def show_store(self) -> None:
        """Show what the store says now: header, faults, the rows that changed, the detail."""
        self._show_rows()

    def _show_rows(self, *, filtered: bool = False) -> None:
        views = self.session.store.hosts()
        self.totals = self._tally.count(views)
        self._marked_can = self.marks.keep(views)
        self._tree = self._tree.updated(views, self.match, self.folded_now)
        self.rows.show(self.ranking() or self._tree, views, filtered=filtered, marked=frozenset(self.marks.keys))
        self._show_around()

    def show_ages(self) -> None:
        """Let the ages of stale facts grow, and renew the order of a sorted list when it is time."""
        if self.order is not None:
            self._show_rows()
        self.rows.refresh_changed(stale_only=True)
        row = self.rows.row
        if row is not None and row.host.stale_since is not None:
            self._show_detail()

    def _show_around(self) -> None:
        fleet = self.session.store.fleet
        width = self.size.width - 2
        marked = len(self.marks)
        jobs = running(self.session.store.jobs)
        self.header.show(
            [totals_line(fleet.name, self.totals, width, read_only=self.session.read_only, marked=marked, jobs=jobs)]
        )
        self.heading.show([self.rows.heading])
        self._show_faults()
        self._show_empty()
        self._show_detail()
        self.show_frame()

    def _show_faults(self) -> None:
        faults = self.session.store.faults
        lines: list[Line] = []
        if faults:
            width = max(20, self.size.width - 4)
            for fault in faults[:FAULTS_SHOWN]:
                lines += [
                    [("✖ " if place == 0 else "  ", "bad"), (text, "")]
                    for place, text in enumerate(wrapped(str(fault), width))
                ]
            more = len(faults) - FAULTS_SHOWN
            rest = f"and {more} more; " if more > 0 else ""
            lines.append([(f"  {rest}{self._meanwhile()}", "quiet")])
        self.faults.show(lines)
        self.faults.set_class(bool(lines), "-up")

    def _meanwhile(self) -> str:
        """Say what is shown while files have faults: a host that never was good cannot be."""
        store = self.session.store
        files = {fault.file for fault in store.faults}
        lost = [name for file in sorted(files) if (name := host_name(file)) and name not in store.fleet.hosts]
        if lost:
            return f"{', '.join(lost)} and the guests there are not shown until this is mended."
        return "the last good version stays in use until this is mended."

    def _show_empty(self) -> None:
        lines: list[Line] = []
        if not len(self.rows.index):
            if self.match is not None:
                lines = [
                    [(f"No host or guest matches “{self.filter_text}”.", "")],
                    [("escape", "accent"), (" shows all again.", "")],
                ]
            elif self.session.read_only:
                lines = [[("No hosts yet.", "")], [("They are added in a console that may change things.", "quiet")]]
            else:
                lines = [
                    [("No hosts yet.", "strong")],
                    [],
                    [("Press ", ""), ("a", "accent"), (" to add the first one by its MAC address.", "")],
                    [("? ", "accent"), ("shows all keys.", "quiet")],
                ]
        self.empty.show(lines)
        self.query_one("#left").set_class(bool(lines), "-empty")

    def _show_detail(self) -> None:
        row = self.rows.row
        if row is None:
            self.detail.show([()])
            return
        subject = Subject(
            host=row.host,
            guest=row.guest,
            now=self.session.store.clock(),
            history=self.history,
            cards=self._tally.cards_of(row.host.name),
            differences=self._differences_of(row.guest),
        )
        width, height = self.detail.size
        if self.has_class("-wide"):
            self.detail.show(full(subject, width, height))
        else:
            self.detail.show(brief(subject, width))

    def _differences_of(self, guest: GuestView | None) -> tuple[Difference, ...]:
        """Return what an apply would change in a guest; worked out again only when one of its sides changed."""
        if (
            guest is None
            or guest.standing is not Standing.CHANGED
            or guest.stale_since is not None
            or guest.seen is None
        ):
            return ()
        sides = (guest.wanted, guest.seen.shape, guest.seen.autostart, guest.state)
        if self._differences[0] != sides:
            self._differences = (sides, self.session.plan_fleet(guest=guest.key).differences)
        return self._differences[1]

    def on_fleet_list_cursor_moved(self, event: FleetList.CursorMoved) -> None:
        """Show the row's detail and keys; have its host asked first."""
        self._show_detail()
        self.show_frame()
        name = None if event.key is None else event.key if isinstance(event.key, str) else event.key.host
        if name != self._focused_host:
            self._focused_host = name
            self.run_worker(self._focus(name), group="focus", exclusive=True)

    async def _focus(self, host: str | None) -> None:
        try:
            await self.session.focus(host)
        except FleetError as error:
            self.tell(f"✖ {error.title}")

    def on_fleet_list_columns_changed(self, event: FleetList.ColumnsChanged) -> None:
        """Keep the heading above its columns."""
        self.heading.show([event.heading])

    def on_fleet_list_opened(self, event: FleetList.Opened) -> None:
        """Do as enter does."""
        self.act_open()

    def go_to(self, key: RowKey) -> None:
        """Put the cursor on a host or guest, whatever is filtered or folded."""
        if self.match is not None and self.rows.index.number_of(key) is None:
            self.set_filter("")
        if isinstance(key, GuestKey) and key.host in self.folded:
            self.folded.discard(key.host)
            self.show_store()
        self.rows.choose(key)

    def set_filter(self, text: str) -> None:
        """Show only rows that match; all for an empty text. The cursor stays on its row as far as that is shown.

        Raises FleetError, with what was last shown left as it is, for a filter that means nothing.
        """
        self.match = parse(text)
        self.filter_text = text.strip()
        self.found_folded.clear()
        self._show_rows(filtered=True)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Bind escape only while there is something to leave: a filter, marks, an order."""
        if action in {"act", "press"} and parameters[0] == "show-all" and self.focused is None:
            return bool(self.match or self.query("#filter") or self.marks or self.order)
        return super().check_action(action, parameters)

    def act_open(self) -> None:
        """Open the guest or the host."""
        row = self.rows.row
        if row is None:
            return
        if row.guest is None:
            from screens.host import HostScreen

            self.app.push_screen(HostScreen(self.session, self.work, self.history, row.host.name))
            return
        from screens.guest import GuestScreen

        self.app.push_screen(GuestScreen(self.session, self.work, self.history, row.guest.key))

    def act_add_host(self) -> None:
        """Add a host."""
        from screens.add_host import AddHost

        before = self._wanted()
        self.app.push_screen(AddHost(self.session), lambda outcome: self._go_to_new(before))

    def act_create(self) -> None:
        """Create a guest on the host under the cursor."""
        from screens.create_guest import CreateGuest

        row = self.rows.row
        if row is None:
            self.tell("▲ Add a host first: a guest needs one to live on.")
            return
        before = self._wanted()
        self.app.push_screen(CreateGuest(self.session, host=row.host.name), lambda outcome: self._go_to_new(before))

    def act_remove_host(self) -> None:
        """Take the host out of the inventory."""
        row = self.rows.row
        if row is None or row.guest is not None:
            self.tell("▲ Choose a host first.")
            return
        self.propose(self.session.plan_remove_host(row.host.name))

    async def act_filter(self) -> None:
        """Ask for the text to filter by."""
        from screens.filter_line import FilterLine

        if not self.query("#filter"):
            await self.mount(FilterLine(self.filter_text, id="filter"), before="Notice")
        self.query_one("#filter", FilterLine).begin()

    def act_show_all(self) -> None:
        """End the filter; when there is none, take the marks away; then show the tree again."""
        if self.match is not None or self.query("#filter"):
            self.query("#filter").remove()
            self.set_focus(None)
            self.set_filter("")
        elif self.marks:
            self.marks.clear()
            self._marks_changed()
        else:
            self.sort_by(None)

    def act_mark(self) -> None:
        """Mark the guest and go on to the next row; on a host, mark its guests that are shown."""
        row = self.rows.row
        if row is None:
            return
        if row.guest is None:
            self.marks.turn(guest.key for guest in self.rows.index.guests() if guest.key.host == row.host.name)
        else:
            self.marks.turn([row.guest.key])
            self.rows.move(1)
        self._marks_changed()

    def act_mark_all(self) -> None:
        """Mark all guests that are shown."""
        self.marks.turn(guest.key for guest in self.rows.index.guests())
        self._marks_changed()

    def _marks_changed(self) -> None:
        self.show_store()
        self.refresh_bindings()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        """Filter as it is typed; while the last word means nothing yet, say so and go by those before it."""
        wrong = ""
        try:
            self.set_filter(event.text)
        except FleetError as error:
            wrong = " ".join(part for part in (error.title, error.hint) if part)
            with suppress(FleetError):
                self.set_filter(event.text.rstrip().rpartition(" ")[0])
        event.line.say(f"{sum(1 for _ in self.rows.index.guests())} of {self.totals.guests} guests", wrong)

    def on_filter_line_done(self) -> None:
        """Keep the filter and give the keys back to the list."""
        self.set_focus(None)
        if self.match is None:
            self.query("#filter").remove()

    async def obey(self, command: Command) -> None:
        """Go where a command says and do what it says."""
        if command.key is not None:
            self.go_to(command.key)
        if command.action is not None:
            # "start web-1" is said of web-1 alone, whatever is marked.
            self._only_cursor = command.key is not None
            try:
                await self.act(command.action)
            finally:
                self._only_cursor = False

    def _wanted(self) -> set[RowKey]:
        hosts = self.session.store.fleet.hosts.values()
        return {*(host.name for host in hosts), *(GuestKey(host.name, name) for host in hosts for name in host.guests)}

    def _go_to_new(self, before: set[RowKey]) -> None:
        """Put the cursor on what a form added."""
        new = self._wanted() - before
        if new:
            self.show_store()
            self.go_to(min(new, key=str))
