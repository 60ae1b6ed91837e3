"""The people with access: who may do what on which hosts, added, changed and removed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from console.domain.errors import FleetError
from console.domain.model import Fleet, User
from console.domain.ssh_key import fingerprint
from console.services.users import ROLES, hosts_of
from screens.apply import ApplyScreen
from screens.confirm import Confirm
from screens.edit_user import EditUser
from screens.lines import facts
from screens.offers import own_keys
from screens.sized import SizedScreen
from screens.widgets import Header, KeysFooter, Line, Notice, Sheet, fit, is_open, wrapped

if TYPE_CHECKING:
    from console.services.session import Session

NAME_WIDTH = 20
CATCH_UP_S = 0.5
CHANGING = frozenset({"add", "edit", "remove"})


class UsersScreen(SizedScreen[None]):
    """A list, and below it the user under the cursor with hosts and keys."""

    CSS_PATH = "users.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back", id="users.leave", show=False),
        Binding("q", "app.quit", "quit", id="quit", show=False),
        Binding("up,k", "move(-1)", "up", id="users.up", show=False),
        Binding("down,j", "move(1)", "down", id="users.down", show=False),
        Binding("pageup", "move(-10)", "page up", id="users.page-up", show=False),
        Binding("pagedown", "move(10)", "page down", id="users.page-down", show=False),
        Binding("home", "move(-100000)", "first", id="users.first", show=False),
        Binding("end", "move(100000)", "last", id="users.last", show=False),
        Binding("a", "add", "add", id="users.add", show=False),
        Binding("e,enter", "edit", "edit", id="users.edit", show=False),
        Binding("D", "remove", "remove", id="users.remove", show=False),
    ]

    listing = getters.query_one("#users-list", VerticalScroll)
    rows = getters.query_one("#users-rows", Sheet)
    detail = getters.query_one("#user", Sheet)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.cursor = 0
        self._shown: Fleet | None = None

    @property
    def users(self) -> list[User]:
        """The users, as fleet.toml has them."""
        return list(self.session.store.fleet.users.values())

    @property
    def user(self) -> User | None:
        """The user under the cursor."""
        return self.users[self.cursor] if self.users else None

    def compose(self) -> ComposeResult:
        """Lay out title, list, user and keys."""
        read_only: Line = [("   read-only", "accent")] if self.session.read_only else []
        yield Header([[("Users", "title"), ("   people with access to hosts", "quiet"), *read_only]])
        with VerticalScroll(id="users-list", can_focus=False):
            yield Sheet(id="users-rows")
        yield Sheet(id="user")
        yield Notice()
        yield KeysFooter()

    def on_mount(self) -> None:
        """Take over what others change, as it is read."""
        self.set_interval(CATCH_UP_S, self._catch_up)

    def _catch_up(self) -> None:
        if self.session.store.fleet is not self._shown:
            self.show_store()

    def on_screen_resume(self) -> None:
        """Show what was changed meanwhile."""
        if self.is_mounted:
            self.show_store()

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.call_after_refresh(lambda: self.show_store() if is_open(self) else None)

    def show_store(self) -> None:
        """Show the users as the inventory has them now."""
        self._shown = fleet = self.session.store.fleet
        users = self.users
        self.cursor = max(0, min(self.cursor, len(users) - 1))
        width = self.size.width - 4
        self.rows.show(
            [self._row(place, user, len(hosts_of(fleet, user)), len(fleet.hosts)) for place, user in enumerate(users)]
            or self._empty(width)
        )
        self.detail.show(self._detail(self.user, width) if self.user is not None else [])
        self.set_class(not users, "-empty")
        keys = [("users.add", "a", "add")] if not self.session.read_only else []
        if users and keys:
            keys += [("users.edit", "e", "edit"), ("users.remove", "D", "remove")]
        move = (("↑↓", "move"),) if len(users) > 1 else ()
        self.query_one(KeysFooter).show_keys(
            (*own_keys(*keys), *move, *own_keys(("users.leave", "escape", "back"), ("quit", "q", "quit")))
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys that change something unbound in a read-only console."""
        if action in CHANGING and self.session.read_only:
            return False
        return super().check_action(action, parameters)

    def _row(self, place: int, user: User, hosts: int, of: int) -> Line:
        here = place == self.cursor
        keys = f"{len(user.keys)} key" + ("" if len(user.keys) == 1 else "s")
        where = ", ".join(user.labels) if user.labels else "everywhere"
        return [
            ("▸ " if here else "  ", "accent"),
            (fit(user.name, NAME_WIDTH) + "  ", "strong" if here else ""),
            (fit(user.role, 8) + "  ", "" if user.role == "operator" else "quiet"),
            (fit(keys, 7) + "  ", "" if user.keys else "warn"),
            (fit(f"{hosts}/{of} hosts", 13) + "  ", "" if hosts else "warn"),
            (where, "quiet"),
        ]

    def _detail(self, user: User, width: int) -> list[Line]:
        hosts = ", ".join(host.name for host in hosts_of(self.session.store.fleet, user))
        keys = [f"{key.partition(' ')[0]}  {fingerprint(key)}" for key in user.keys]
        rows = [
            ("user", user.name),
            ("role", f"{user.role}: {ROLES.get(user.role, '')}"),
            ("labels", ", ".join(user.labels) or "none: on all hosts"),
            ("hosts", hosts or "none has one of these labels"),
            *(("key" if place == 0 else "", key) for place, key in enumerate(keys or ["none: nobody can log in so"])),
        ]
        return facts(rows, width)

    def _empty(self, width: int) -> list[Line]:
        what = "Who is written here gets an account, by SSH key alone, on the hosts with one of the user's labels."
        lines: list[Line] = [[("No users yet.", "strong")], []]
        lines += [[(part, "")] for part in wrapped(what, width)]
        return lines if self.session.read_only else [*lines, [], [("a", "accent"), (" adds the first one.", "")]]

    def action_move(self, by: int) -> None:
        """Move the cursor, and keep it in sight."""
        self.cursor = max(0, min(self.cursor + by, len(self.users) - 1))
        self.show_store()
        height = max(1, self.listing.size.height)
        top = int(self.listing.scroll_offset.y)
        self.listing.scroll_to(y=min(max(top, self.cursor - height + 1), self.cursor), animate=False)

    def action_add(self) -> None:
        """Ask for a new user."""
        self.app.push_screen(EditUser(self.session))

    def action_edit(self) -> None:
        """Change the user under the cursor."""
        if self.user is not None:
            self.app.push_screen(EditUser(self.session, editing=self.user.name))

    def action_remove(self) -> None:
        """Take the user under the cursor out of the inventory; it asks first."""
        if self.user is None:
            return
        try:
            plan = self.session.plan_remove_user(self.user.name)
        except FleetError as error:
            self.query_one(Notice).show_error(error)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.app.push_screen(ApplyScreen(self.session, plan))

        self.app.push_screen(Confirm(plan), answered)

    async def action_dismiss(self, result: None = None) -> None:
        """Go back."""
        self.dismiss()
