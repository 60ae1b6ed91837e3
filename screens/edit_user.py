"""A person with access, added or changed: name, role, keys, labels; the plan; done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.types import CSSPathType

from console.domain.errors import FleetError
from console.domain.plan import Plan
from console.services.users import ROLES, wish_of_user
from console.services.wishes import UserWish
from screens.apply import ApplyScreen
from screens.choice import Option
from screens.diff import DiffScreen
from screens.form import ChoiceField, Field, TextField
from screens.form_frame import Keys
from screens.form_screen import FormScreen
from screens.lines import facts, title
from screens.plan_lines import cautions, happenings
from screens.widgets import Line, Sheet

if TYPE_CHECKING:
    from console.services.session import Session

REVIEW = 1
KEYS_LIMIT = 60000


class Review(Sheet, can_focus=True):
    """What will happen."""


class EditUser(FormScreen):
    """Asks for a user and writes it into the inventory. editing: the name of an existing one, which stays."""

    CSS_PATH: ClassVar[CSSPathType] = ["form.tcss", "users.tcss"]
    PAGES = (("user", ("name", "role", "keys", "labels")), ("review", ()))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "see the diff", id="user.diff", show=False),
        Binding("b", "turn(-1)", "back", id="user.previous", show=False),
    ]

    def __init__(self, session: Session, editing: str | None = None) -> None:
        super().__init__()
        self.session = session
        self.editing = editing
        self.wish = UserWish(role="operator")
        if editing is not None:
            known = wish_of_user(session.user(editing))
            self.wish = replace(known, keys=", ".join(known.keys.splitlines()))
        self.plan: Plan | None = None

    def heading(self) -> str:
        """Return which user it is about."""
        return f"Edit user {self.editing}" if self.editing else f"Add user {self.wish.name}".rstrip()

    def fields(self, page: int) -> list[Field]:
        """Return the user's facts; a name that people log in with stays."""
        wish = self.wish
        roles = [Option(role, role, (meaning,)) for role, meaning in ROLES.items()]
        keys = TextField("keys", "SSH keys", wish.keys, wide=True, max_length=KEYS_LIMIT)
        keys.tell(hint="the line in the .pub file, such as ssh-ed25519 AAAA...; several with commas between")
        labels = TextField("labels", "labels", wish.labels, hint="on hosts with one; none: all")
        first = [TextField("name", "name", wish.name, hint="what it logs in with", max_length=64)]
        return [*([] if self.editing else first), ChoiceField("role", "role", wish.role, roles), keys, labels]

    def typed_so_far(self) -> UserWish:
        """Return the wish."""
        return self.wish

    def take(self, field: Field) -> None:
        """Put a value into the wish."""
        changes: dict[str, Any] = {field.key: field.value}
        self.wish = replace(self.wish, **changes)

    def find_problems(self) -> Mapping[str, str]:
        """Return the service's problems with the wish."""
        problems = self.session.user_problems(self.wish, self.editing)
        if not self.wish.keys.strip() and not self.editing:
            problems.setdefault("keys", "a key is needed: there are no passwords.")
        return problems

    def special(self, page: int) -> Review | None:
        """Return the sheet of the review."""
        if page != REVIEW:
            return None
        found = self.body.query_children(Review)
        return found.first() if found else Review()

    async def entered(self) -> None:
        """Plan."""
        self.plan = None
        try:
            self.plan = await self.session.preview(self._planned())
        except FleetError as error:
            self.reasons.planned(self.wish, error)
        else:
            self.reasons.planned(self.wish, None)
        self.show_review()

    def _planned(self) -> Plan:
        if self.editing is None:
            return self.session.plan_add_user(self.wish)
        changes = {"keys": self.wish.keys, "role": self.wish.role, "labels": self.wish.labels}
        return self.session.plan_set_user(self.editing, changes)

    def show_review(self) -> None:
        """Lay the review out for the width that there is."""
        width = self.size.width - 4
        for sheet in self.body.query_children(Review):
            sheet.show([*self.reasons.lines(width), *self._review_lines(width)])
        self.paint()

    def on_resize(self) -> None:
        """Lay the page out anew."""
        self.show_review()

    def _review_lines(self, width: int) -> list[Line]:
        wish = self.wish
        rows = [
            ("user", wish.name),
            ("role", f"{wish.role}: {ROLES.get(wish.role, '')}"),
            ("labels", ", ".join(wish.labels.replace(",", " ").split()) or "none: on all hosts"),
        ]
        lines = facts(rows, width)
        if self.plan is None:
            return lines
        if self.plan.is_empty:
            return [*lines, [], [("Nothing was changed.", "quiet")]]
        lines += [[], title("What will happen"), *happenings(self.plan, width)]
        notes = cautions(self.plan, width)
        return [*lines, [], *notes] if notes else lines

    def page_keys(self) -> Keys:
        """Return the keys of the review."""
        end = (("b", "back"), ("escape", "cancel"))
        if self.plan is None or self.plan.is_empty:
            return end
        diff = (("d", "see the diff"),) if any(file.diff for file in self.plan.files) else ()
        return (("enter", "write it"), *diff, *end)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep the review's keys to it."""
        return self.page == REVIEW if action == "diff" else True

    async def confirmed(self) -> None:
        """Write it."""
        if self.plan is not None and not self.plan.is_empty:
            await self.app.push_screen(ApplyScreen(self.session, self.plan), self.ended)

    async def action_diff(self) -> None:
        """Show the files line by line."""
        if self.plan is not None and self.plan.files:
            await self.app.push_screen(DiffScreen(self.plan))
