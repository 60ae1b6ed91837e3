"""The GPU board: every accelerator of the fleet, whose it is, and what a guest with it would run into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.events import Resize

from console.domain.errors import FleetError
from console.domain.observed import HostState
from console.domain.preflight import blocks
from console.services.devices import Accelerator, matches
from console.services.preflight import READ_S
from console.services.wishes import KeepWish
from screens.action import Context
from screens.actions import BY_ID
from screens.card_lines import Order, below, columns, heading, row, whole
from screens.job_lines import running
from screens.lines import hanging
from screens.offers import bindings
from screens.preflight_lines import asked
from screens.scrolling import ScrollingScreen
from screens.situation import Situation
from screens.subject import short_slot, short_title
from screens.widgets import Line, Sheet, Span, wrapped
from screens.work import Work

if TYPE_CHECKING:
    from console.services.session import Session
    from screens.filter_line import FilterLine

EVERY_S = 60.0
"""How often the kernels are asked while the board is in front."""

FILTER_HINT = "text in host, slot, name, driver, state or owner  !not"


MOST_NAMED = 6
"""So many hosts are named of which one thing is to be said."""


def _also_of(text: str, names: list[str]) -> str:
    """Return what is said of one host, with the other hosts that it is true of."""
    more = len(names) - MOST_NAMED
    shown = [*names[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    return f"{text.removesuffix('.')}. The same: {', '.join(shown)}." if shown else text


class CardsScreen(ScrollingScreen):
    """A list with the card under its cursor below it. Hosts' kernels are asked in the background, each on its own."""

    CONTEXT = Context.CARDS
    CSS_PATH = "cards.tcss"
    BINDINGS = bindings(Context.CARDS)

    rows = getters.query_one("#cards-rows", Sheet)
    columns = getters.query_one("#cards-heading", Sheet)
    notes = getters.query_one("#cards-notes", Sheet)
    listing = getters.query_one("#cards-list", VerticalScroll)
    detail = getters.query_one("#card", Sheet)

    def __init__(self, session: Session, work: Work) -> None:
        super().__init__(session, work)
        self.order = Order()
        self.filter_text = ""
        self.cards: list[Accelerator] = []
        """The cards that are shown, in their order."""
        self._all = 0
        self._chosen: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        """Lay out header, list, notes on hosts, card, status and keys."""
        yield from self.frame_top()
        with Container(id="cards"):
            yield Sheet([()], id="cards-heading")
            with VerticalScroll(id="cards-list", can_focus=False):
                yield Sheet(id="cards-rows")
                yield Sheet(id="cards-notes")
            yield Sheet(id="card")
        yield from self.frame_bottom()

    def on_mount(self) -> None:
        """Show what is known, and have the kernels asked."""
        self.show_store()
        self.set_interval(EVERY_S, self._ask)
        self.act_read_cards()

    def on_resize(self, event: Resize) -> None:
        """Lay out for the new size."""
        self.call_after_refresh(self.show_store)

    def _ask(self) -> None:
        if self.is_current:
            self.act_read_cards()

    @property
    def cursor(self) -> int:
        """The number of the card under the cursor; 0 where there is none."""
        keys = [(card.host, card.slot) for card in self.cards]
        return keys.index(self._chosen) if self._chosen in keys else 0

    @property
    def card(self) -> Accelerator | None:
        """The card under the cursor."""
        return self.cards[self.cursor] if self.cards else None

    def situation(self) -> Situation:
        """Return the card under the cursor."""
        store, card = self.session.store, self.card
        return Situation(
            read_only=self.session.read_only,
            hosts=len(store.fleet.hosts),
            jobs=running(store.jobs),
            card=card is not None,
            card_free=card is not None and card.is_free,
            card_own=card is not None and bool(card.own),
            card_taken=card is not None and bool(card.owner),
            card_runs=any(card.runs for card in self.cards),
            card_parts=card is not None and card.parted is not None,
        )

    def show_store(self) -> None:
        """Show what is known of the cards now."""
        devices, now = self.session.devices, self.session.store.clock()
        known = devices.accelerators()
        self._all = len(known)
        self.cards = self.order.sorted([card for card in known if matches(card, self.filter_text.split())])
        self._chosen = (self.card.host, self.card.slot) if self.card is not None else self._chosen
        width = (self.listing.size.width or self.size.width) - 1
        layout, cursor = columns(self.cards, width), self.cursor
        self.header.show([self._heading(known)])
        self.columns.show([heading(layout, self.order) if self.cards else ()])
        self.rows.show(
            [row(card, layout, n == cursor, devices.read_at(card.host), now) for n, card in enumerate(self.cards)]
            or self._empty(width)
        )
        self.notes.show(self._notes(width))
        # Half of what is left below the list, or more where the list leaves it.
        self.detail.show([] if self.card is None else self._below(self.card))
        self.show_frame()

    def show_ages(self) -> None:
        """Let the ages grow."""
        self.show_store()

    def _below(self, card: Accelerator) -> list[Line]:
        height = max(5, min(self.size.height // 2 - 3, self.size.height - 8 - len(self.cards)))
        return below(card, max(20, self.size.width - 2), height, self.session.store.clock())

    def _heading(self, known: tuple[Accelerator, ...]) -> Line:
        free = sum(card.is_free for card in known)
        taken = sum(bool(card.owner) for card in known)
        line: list[Span] = [("GPU board", "title"), (f"   {len(known)} card{'' if len(known) == 1 else 's'}", "")]
        line += [(f"   {free} free", "good" if free else "quiet"), (f"   {taken} taken", "")]
        if reading := len(self.session.devices.reading):
            line.append((f"   ↻ asking {reading} host{'' if reading == 1 else 's'}", "accent"))
        if asking := len(self.session.devices.asking):
            line.append((f"   ↻ asking guests of {asking} host{'' if asking == 1 else 's'}", "accent"))
        return [*line, *([("   read-only", "accent")] if self.session.read_only else [])]

    def _notes(self, width: int) -> list[Line]:
        """Say which hosts do not answer, and which kernels were not asked; what is so of several is said once."""
        devices, now = self.session.devices, self.session.store.clock()
        said: dict[str, tuple[Span, list[str]]] = {}
        for view in self.session.store.hosts():
            if view.name in devices.reading:
                continue
            if view.seen.state is not HostState.UP or view.name in devices.errors:
                note = asked(devices, view, now, short=True)
                said.setdefault(note[0].replace(view.name, ""), (note, []))[1].append(view.name)
        lines: list[Line] = []
        for (text, style), names in said.values():
            lines += hanging([], _also_of(text, names[1:]), style, width)
        return [(), *lines] if lines else []

    def _empty(self, width: int) -> list[Line]:
        if self.filter_text:
            return [[(f"No card matches “{self.filter_text}”; ", ""), ("escape", "accent"), (" shows all.", "")]]
        if self.session.devices.reading:
            return [[("No card is known yet.", "strong")]]
        words = "Displays and processing accelerators of hosts that are up stand here, as their kernels know them."
        return [[("No card is known.", "strong")], [], *([(part, "")] for part in wrapped(words, width))]

    # The list.

    def _move(self, by: int) -> None:
        if not self.cards:
            return
        place = max(0, min(len(self.cards) - 1, self.cursor + by))
        self._chosen = (self.cards[place].host, self.cards[place].slot)
        self.show_store()
        height = max(1, self.listing.size.height)
        top = int(self.listing.scroll_target_y)
        last = place == len(self.cards) - 1
        y = self.listing.max_scroll_y if last else min(max(top, place - height + 1), place)
        self.listing.scroll_to(y=y, animate=False)

    def act_up(self) -> None:
        """One card up."""
        self._move(-1)

    def act_down(self) -> None:
        """One card down."""
        self._move(1)

    def act_page_up(self) -> None:
        """One page up."""
        self._move(1 - max(2, self.listing.size.height))

    def act_page_down(self) -> None:
        """One page down."""
        self._move(max(2, self.listing.size.height) - 1)

    def act_first(self) -> None:
        """To the first card."""
        self._move(-len(self.cards))

    def act_last(self) -> None:
        """To the last card."""
        self._move(len(self.cards))

    def act_sort_cards(self) -> None:
        """Sort by the next column."""
        self.order = self.order.next
        self.show_store()

    def act_reverse(self) -> None:
        """Turn the order round."""
        self.order = Order(by=self.order.by, reverse=not self.order.reverse)
        self.show_store()

    async def act_filter_cards(self) -> None:
        """Ask for the words to filter by."""
        from screens.filter_line import FilterLine

        if not self.query("#filter"):
            await self.mount(FilterLine(self.filter_text, FILTER_HINT, id="filter"), before="Notice")
        self.query_one("#filter", FilterLine).begin()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        """Filter as it is typed."""
        self.filter_text = event.text.strip()
        self.show_store()
        event.line.say(f"{len(self.cards)} of {self._all} cards")

    def on_filter_line_done(self) -> None:
        """Keep the filter and give the keys back to the list."""
        self.set_focus(None)
        if not self.filter_text:
            self.query("#filter").remove()

    def act_back(self) -> None:
        """End the filter; then back to where it was asked from."""
        if self.filter_text or self.query("#filter"):
            self.query("#filter").remove()
            self.set_focus(None)
            self.filter_text = ""
            self.show_store()
        else:
            self.dismiss()

    # What can be done.

    def act_read_cards(self) -> None:
        """Have the kernels of all hosts asked that are not being asked already."""
        devices = self.session.devices
        names = [name for name in self.session.store.fleet.hosts if name not in devices.reading]
        self.run_worker(devices.read(names, timeout_s=READ_S, use=True), group="devices")

    def act_ask_guests(self) -> None:
        """Have the guests asked that run with the cards of the list."""
        cards = [card for card in self.cards if card.runs]
        if not cards:
            self.tell("▲ No guest of the inventory runs with one of these cards.")
            return
        self.run_worker(self.session.devices.ask_guests(cards, timeout_s=READ_S), group="guests")

    def act_open_card(self) -> None:
        """Show all that is known of the card."""
        from screens.preflight import PreflightScreen

        card = self.card
        if card is None:
            return
        host, slot = card.host, card.slot

        def lines(width: int) -> list[Line]:
            now = next((each for each in self.session.devices.accelerators(host) if each.slot == slot), None)
            if now is None:
                raise FleetError(f"{host} has no card at {slot} any more.", "", "Go back, and look at the board.")
            return whole(now, width)

        def give() -> None:
            self.call_later(self.act, BY_ID["give-card"])

        able = card.is_free and not self.session.read_only
        heading = f"{card.title} at {short_slot(slot)} of {host}"
        self.app.push_screen(PreflightScreen(self.session, heading, host, lines, give if able else None))

    async def act_keep_card(self) -> None:
        """Ask what the card's host is to keep it for; or whether to give it back."""
        from screens.card_forms import KeepCard

        card = self.card
        if card is None:
            self.tell("▲ There is no card to keep.")
        elif card.own:
            self.propose(await self.session.preview(self.session.plan_give_back(card.host, card.slot)))
        elif why := self.session.keep_problems(KeepWish(host=card.host, slot=card.slot)).get("slot"):
            raise FleetError(f"{self._named(card)} cannot be kept for its host.", why, "Nothing was changed.")
        else:
            self.app.push_screen(KeepCard(self.session, card))

    def act_part_card(self) -> None:
        """Ask how many virtual functions the card is to have."""
        from screens.card_forms import PartCard

        card = self.card
        if card is None:
            self.tell("▲ There is no card to part.")
        elif card.parted is None:
            self.tell(f"▲ {self._named(card)} can have no virtual functions, as far as its host's kernel tells.")
        else:
            self.app.push_screen(PartCard(self.session, card, card.parted))

    @staticmethod
    def _named(card: Accelerator) -> str:
        return f"{short_title(card.title)} at {short_slot(card.slot)} of {card.host}"

    def act_give_card(self) -> None:
        """Make a guest with the card, unless something is in the way."""
        from screens.create_guest import CreateGuest

        card = self.card
        if card is None:
            self.tell("▲ There is no card to give.")
            return
        name = self._named(card)
        if card.owner:
            self.tell(f"▲ {name} is taken: {card.words}.")
            return
        if not card.is_free:
            found = blocks(card.findings)
            why, remedy = (found[0].sentence, found[0].remedy) if found else (f"It is {card.kept}.", "Choose another.")
            raise FleetError(f"{name} cannot be given to a guest.", why, remedy)
        self.app.push_screen(CreateGuest(self.session, host=card.host, gpu=card.slot))
