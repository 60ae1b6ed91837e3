"""A person with access, added or changed: name, role, keys, labels; the plan; done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.types import CSSPathType

from console.domain.plan import Plan
from console.services.users import ROLES, wish_of_user
from console.services.wishes import UserWish
from screens.choice import Option
from screens.form import ChoiceField, Field, TextField
from screens.reviewed_form import ReviewedForm

if TYPE_CHECKING:
    from console.services.session import Session

KEYS_LIMIT = 60000


class EditUser(ReviewedForm):
    """Asks for a user and writes it into the inventory. editing: the name of an existing one, which stays."""

    CSS_PATH: ClassVar[CSSPathType] = ["form.tcss", "users.tcss"]
    PAGES = (("user", ("name", "role", "keys", "labels")), ("review", ()))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "see the diff", id="user.diff", show=False),
        Binding("b", "turn(-1)", "back", id="user.previous", show=False),
    ]

    def __init__(self, session: Session, editing: str | None = None) -> None:
        super().__init__(session)
        self.editing = editing
        self.wish = UserWish(role="operator")
        if editing is not None:
            known = wish_of_user(session.user(editing))
            self.wish = replace(known, keys=", ".join(known.keys.splitlines()))

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

    def planned(self) -> Plan:
        """Plan the new user, or what differs of one that there is."""
        if self.editing is None:
            return self.session.plan_add_user(self.wish)
        changes = {"keys": self.wish.keys, "role": self.wish.role, "labels": self.wish.labels}
        return self.session.plan_set_user(self.editing, changes)

    def review_rows(self) -> list[tuple[str, str]]:
        """Return the user as it is to be."""
        wish = self.wish
        return [
            ("user", wish.name),
            ("role", f"{wish.role}: {ROLES.get(wish.role, '')}"),
            ("labels", ", ".join(wish.labels.replace(",", " ").split()) or "none: on all hosts"),
        ]
