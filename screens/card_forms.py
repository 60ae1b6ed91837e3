"""What a host does with its own card, asked on the GPU board: kept for itself and its containers, or parted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from console.domain.hardware import PciFunction
from console.domain.plan import Plan
from console.services.devices import Accelerator, parts_words
from console.services.keeping import wish_to_keep
from console.services.wishes import KeepWish
from screens.form import Field, TextField, ToggleField
from screens.lines import hanging
from screens.reviewed_form import ReviewedForm
from screens.subject import short_slot, short_title
from screens.widgets import Line

if TYPE_CHECKING:
    from console.services.session import Session

KEEPING = (
    "No guest gets a card that its host keeps. It stands in the host's file under [own]; its generated configuration "
    "binds the card to nothing, and lets containers have it where that is said here."
)
PARTING = (
    "The host makes this many virtual functions of the card at each boot, for guests. It stands in the host's file "
    "under [sriov]. A number that is in use is never changed while the host runs: it takes a deployment and a reboot."
)


class CardForm(ReviewedForm):
    """A question about one card."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "see the diff", id="card.diff", show=False),
        Binding("b", "turn(-1)", "back", id="card.previous", show=False),
    ]
    ABOUT: ClassVar[str]
    """What it means, for who has not read of it."""

    def __init__(self, session: Session, card: Accelerator) -> None:
        super().__init__(session)
        self.card = card

    @property
    def subject(self) -> str:
        """Where the card is, and then what: a heading is cut at its end."""
        return f"{self.card.host}/{short_slot(self.card.slot)}, {short_title(self.card.title)}"

    def notices(self) -> list[Line]:
        """Say what it means while it is typed."""
        return hanging([], self.ABOUT, "quiet", self.size.width - 4) if self.page == 0 else []


class KeepCard(CardForm):
    """Asks under which name and for what a host keeps a card, and writes it into the inventory."""

    PAGES = (("card", ("name", "containers")), ("review", ()))
    ABOUT = KEEPING

    def __init__(self, session: Session, card: Accelerator) -> None:
        super().__init__(session, card)
        self.wish = wish_to_keep(session.store.host(card.host).wanted, card.slot, card.functions)

    def heading(self) -> str:
        """Return which card is kept for which host."""
        return f"Keep {self.subject}"

    def fields(self, page: int) -> list[Field]:
        """Return what the inventory says of it besides where it is."""
        return [
            TextField("name", "name", self.wish.name, hint="in the inventory: own.NAME", max_length=64, touched=True),
            ToggleField("containers", "containers", bool(self.wish.containers), hint="the host's may use it"),
        ]

    def typed_so_far(self) -> KeepWish:
        """Return the wish."""
        return self.wish

    def take(self, field: Field) -> None:
        """Put a value into the wish."""
        if isinstance(field, ToggleField):
            self.wish = replace(self.wish, containers=field.value)
        else:
            self.wish = replace(self.wish, name=str(field.value))

    def find_problems(self) -> Mapping[str, str]:
        """Return the service's problems; what is wrong with the card itself stands at the first field."""
        found = self.session.keep_problems(self.wish)
        why = "" if self.wish.name.strip() else "a name is needed."
        first = found.pop("slot", "") or found.pop("name", "") or why
        return {"name": first, **found} if first else found

    def planned(self) -> Plan:
        """Plan it."""
        return self.session.plan_keep(self.wish)

    def review_rows(self) -> list[tuple[str, str]]:
        """Return the card and what it is kept for."""
        return [
            ("card", f"{self.card.title} at {self.card.slot}"),
            ("name", f"own.{self.wish.name}"),
            ("containers", "yes: containers of the host may use it" if self.wish.containers else "no"),
        ]


class PartCard(CardForm):
    """Asks how many virtual functions a card has from the next boot on, and writes it into the inventory."""

    PAGES = (("parts", ("count",)), ("review", ()))
    ABOUT = PARTING

    def __init__(self, session: Session, card: Accelerator, function: PciFunction) -> None:
        super().__init__(session, card)
        self.function = function
        self.count = str(card.sriov.get(function.address, function.sriov_active))

    def heading(self) -> str:
        """Return which card is parted."""
        return f"Virtual functions of {self.subject}"

    def fields(self, page: int) -> list[Field]:
        """Return the number, and what there is now."""
        now = parts_words(self.function, self.card.sriov.get(self.function.address))
        return [TextField("count", "how many", self.count, hint=f"now {now}; 0 for none", max_length=5, touched=True)]

    def typed_so_far(self) -> str:
        """Return the number as typed."""
        return self.count

    def take(self, field: Field) -> None:
        """Keep the number."""
        self.count = str(field.value)

    def find_problems(self) -> Mapping[str, str]:
        """Return why it cannot be so many."""
        why = self.session.parts_problem(self.card.host, self.function.address, self.count)
        return {"count": why} if why else {}

    def planned(self) -> Plan:
        """Plan it."""
        return self.session.plan_parts(self.card.host, self.function.address, self.count)

    def review_rows(self) -> list[tuple[str, str]]:
        """Return the function and the numbers."""
        now = f"{self.function.sriov_active} of at most {self.function.sriov_total}"
        return [("card", f"{self.card.title} at {self.function.address}"), ("now", now), ("at boot", self.count)]
