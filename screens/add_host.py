"""Add a host by its MAC address: its facts, its SSH host key compared and pinned, the plan, done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.types import CSSPathType
from textual.worker import Worker

from console.domain.checks import INSTALLER
from console.domain.errors import FleetError
from console.domain.plan import Plan
from console.domain.values import parse_address, parse_mac
from console.services.hosts import needs_key
from console.services.wishes import HostKey, HostWish
from screens.apply import ApplyScreen
from screens.choice import Option
from screens.diff import DiffScreen
from screens.form import ChoiceField, Field, TextField
from screens.form_frame import Keys
from screens.form_screen import FormScreen
from screens.lines import facts, hanging, title
from screens.offers import own_keys
from screens.plan_lines import cautions, happenings
from screens.widgets import Line, Sheet, is_open

if TYPE_CHECKING:
    from console.services.session import Session

FACTS, KEY, REVIEW = range(3)
KEY_ACTIONS = frozenset({"pin", "fetch", "paste", "skip"})
REVIEW_ACTIONS = frozenset({"diff"})


class Told(Sheet, can_focus=True):
    """What a page without fields says."""


class AddHost(FormScreen):
    """Asks for a host and writes it into the inventory. Dismisses with the outcome, None when left.

    The key is never trusted by itself: it is fetched or pasted, its fingerprint is shown, the operator says yes.
    """

    CSS_PATH: ClassVar[CSSPathType] = ["form.tcss", "add_host.tcss"]
    PAGES = (
        ("host", ("name", "mac", "address", "labels", "uri", "disk", "netboot")),
        ("SSH host key", ("ssh_host_key",)),
        ("review", ()),
    )
    VERB = "add it"
    """What enter does on the review."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "pin", "pin the key", id="host.pin", show=False),
        Binding("f", "fetch", "fetch the key", id="host.fetch", show=False),
        Binding("p", "paste", "paste the key", id="host.paste", show=False),
        Binding("s", "skip", "skip", id="host.skip", show=False),
        Binding("d", "diff", "see the diff", id="host.diff", show=False),
        Binding("b", "turn(-1)", "back", id="host.previous", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.wish = HostWish()
        self.plan: Plan | None = None
        self.offered: HostKey | None = None
        self.pasting = False
        self._fetching: Worker[None] | None = None

    # The form.

    def heading(self) -> str:
        """Return which host is added."""
        return f"Add host {self.wish.name}".rstrip()

    def fields(self, page: int) -> list[Field]:
        """Return the host's facts; on the key's page the box for a pasted one."""
        wish = self.wish
        if page == KEY:
            box = TextField("ssh_host_key", "key", wish.ssh_host_key, wide=True, max_length=20000)
            box.tell(hint="the line in the host's /etc/ssh/ssh_host_ed25519_key.pub")
            return [box]
        return [
            TextField("name", "name", wish.name, hint="what it is called here", max_length=64),
            TextField("mac", "MAC", wish.mac, hint="of the card it boots from", max_length=20),
            TextField("address", "address", wish.address, hint="such as 10.0.0.14/24", max_length=50),
            TextField("labels", "labels", wish.labels, hint="such as rack-1, gpu"),
            TextField("uri", "libvirt URI", wish.uri, wide=True, max_length=500, placeholder=self._default_uri()),
            TextField("disk", "NixOS disk", wish.disk, wide=True, max_length=220, placeholder="none"),
            ChoiceField("netboot", "netboot", wish.netboot, self._entries()),
        ]

    def _default_uri(self) -> str:
        return f"qemu+ssh://root@{self.wish.address.partition('/')[0] or 'ADDRESS'}/system"

    def _entries(self) -> list[Option]:
        entries = self.session.store.fleet.netboot.entries
        return [
            Option("", "its own disk"),
            Option(
                INSTALLER,
                INSTALLER,
                detail="Reports the hardware; from there NixOS is installed on its disk, which that wipes.",
            ),
            *(Option(name, name) for name in entries),
        ]

    @property
    def uri(self) -> str:
        """The URI that the host will have."""
        return self.wish.uri or self._default_uri()

    def typed_so_far(self) -> HostWish:
        """Return the wish."""
        return self.wish

    def take(self, field: Field) -> None:
        """Put a value into the wish. A key belongs to an address: with another one it is no longer accepted."""
        changes: dict[str, Any] = {field.key: field.value}
        wish = replace(self.wish, **changes)
        if wish == self.wish:
            return
        before, self.wish = self.uri, wish
        if self.uri != before:
            self.offered = None
            self.wish = replace(self.wish, ssh_host_key=self.known_key())

    def known_key(self) -> str:
        """Return the key that is the host's whatever its address, empty for none."""
        return ""

    def find_problems(self) -> Mapping[str, str]:
        """Return the service's problems with the wish."""
        return self.session.host_problems(self.wish)

    def refresh_page(self) -> None:
        """Show the default URI for the address as it is typed."""
        for field in self.body.query_children(TextField):
            if field.key == "uri":
                field.control.placeholder = self._default_uri()
                field.tell(hint="" if self.wish.uri else "empty for the one that is shown")
            if field.key == "disk":
                field.tell(hint="" if self.wish.disk else "such as /dev/disk/by-id/nvme-..., out of its report")

    def special(self, page: int) -> Told | None:
        """Return the sheet of the pages without fields: the key (unless it is pasted), and the review."""
        if page == FACTS or (page == KEY and self.pasting):
            return None
        found = self.body.query_children(Told)
        return found.first() if found else Told()

    async def entered(self) -> None:
        """Plan, on the review; on the key's page, say what there is to do."""
        if self.page == REVIEW:
            try:
                self.plan = await self.session.preview(self.make_plan())
            except FleetError as error:
                self.plan = None
                self.reasons.planned(self.wish, error)
            else:
                self.reasons.planned(self.wish, None)
        self.show_told()

    def make_plan(self) -> Plan:
        """Plan what the wish says."""
        return self.session.plan_add_host(self.wish)

    def show_told(self) -> None:
        """Lay the page out for the width that there is."""
        width = self.size.width - 4
        lines = (
            [*self.reasons.lines(width), *self._review_lines(width)] if self.page == REVIEW else self._key_lines(width)
        )
        for sheet in self.body.query_children(Told):
            sheet.show(lines)
        self.paint()

    def on_resize(self) -> None:
        """Lay the page out anew."""
        self.show_told()

    def page_keys(self) -> Keys:
        """Return the keys of the key's page and of the review."""
        end = [("host.previous", "b", "back"), ("form.back", "escape", "cancel")]
        if self.page == REVIEW:
            if self.plan is None or self.plan.is_empty:
                return own_keys(*end)
            diff = [("host.diff", "d", "see the diff")] if any(file.diff for file in self.plan.files) else []
            return own_keys(("form.next", "enter", self.VERB), *diff, *end)
        on, back = ("form.next", "enter", "go on"), ("form.back", "escape", "back")
        paste, skip = ("host.paste", "p", "paste"), ("host.skip", "s", "skip")
        if not needs_key(self.uri):
            return own_keys(on, back)
        if self._fetching is not None:
            return own_keys(("form.back", "escape", "stop asking"))
        if self.wish.ssh_host_key:
            return own_keys(on, ("host.fetch", "f", "fetch it again"), paste, back)
        if self.offered is not None:
            return own_keys(
                ("host.pin", "y", "it is the same: pin it"), ("host.fetch", "f", "again"), paste, skip, back
            )
        return own_keys(("form.next", "enter", "fetch it"), ("host.paste", "p", "paste it"), skip, back)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep each page's keys to it."""
        if action in KEY_ACTIONS:
            return self.page == KEY and not self.pasting and self._fetching is None and needs_key(self.uri)
        return self.page == REVIEW if action in REVIEW_ACTIONS else True

    async def confirmed(self) -> None:
        """Do what enter stands for: fetch the key, go on, or add the host. It never pins: it is pressed too easily."""
        if self.page == REVIEW:
            if self.plan is not None and not self.plan.is_empty:
                await self.app.push_screen(ApplyScreen(self.session, self.plan), self.ended)
        elif not needs_key(self.uri) or self.wish.ssh_host_key:
            await self.action_turn(1)
        elif self._fetching is None and self.offered is None:
            self.action_fetch()

    async def action_back(self) -> None:
        """Stop asking for the key; leave the box; else go back."""
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None
            self.wish = replace(self.wish, ssh_host_key=self.known_key())
            self.show_told()
        elif self.pasting:
            self.pasting = False
            self.wish = replace(self.wish, ssh_host_key=self.known_key())
            await self.show_page(KEY)
        else:
            await super().action_back()

    async def action_turn(self, by: int) -> None:
        """Leave the box for a pasted key only with a key in it."""
        await super().action_turn(by)
        if self.page != KEY:
            self.pasting = False

    # The key.

    def action_fetch(self) -> None:
        """Ask the host for its key."""
        self.offered = None
        self.wish = replace(self.wish, ssh_host_key="")
        self._fetching = self.run_worker(self._fetch(), group="key", exclusive=True)
        self.show_told()

    async def _fetch(self) -> None:
        try:
            self.offered = await self.session.fetch_host_key(self.wish)
        except FleetError as error:
            self.wish = replace(self.wish, ssh_host_key=self.known_key())
            if is_open(self):
                self.say(error)
        self._fetching = None
        if is_open(self):
            self.show_told()

    async def action_pin(self) -> None:
        """Accept the key that was fetched and compared."""
        if self.offered is not None:
            self.wish = replace(self.wish, ssh_host_key=self.offered.key)
            await self.action_turn(1)

    async def action_paste(self) -> None:
        """Show the box for a key."""
        self.pasting = True
        self.wish = replace(self.wish, ssh_host_key="")
        await self.show_page(KEY)

    async def action_skip(self) -> None:
        """Go on without a key; the review says what that means."""
        self.offered = None
        self.wish = replace(self.wish, ssh_host_key="")
        await self.action_turn(1)

    async def action_diff(self) -> None:
        """Show the files line by line."""
        if self.plan is not None and self.plan.files:
            await self.app.push_screen(DiffScreen(self.plan))

    # What is said.

    def _key_lines(self, width: int) -> list[Line]:
        name = self.wish.name or "the host"
        if not needs_key(self.uri):
            return [
                *facts([("URI", self.uri)], width),
                [],
                *hanging([("✔ ", "good")], "No SSH host key is needed: this URI does not go over SSH.", "", width),
            ]
        lines = facts([("URI", self.uri)], width)
        if self._fetching is not None:
            return [*lines, [], [("↻ ", "accent"), (f"asking {self.uri} for its key …", "")]]
        if self.wish.ssh_host_key:
            shown = [("fingerprint", self.offered.fingerprint)] if self.offered is not None else []
            lines += facts([*shown, ("key", self.wish.ssh_host_key)], width)
            return [*lines, [], [("✔ ", "good"), (f"This key will be pinned for {name}.", "")]]
        if self.offered is None:
            text = (
                "Quarterdeck talks to a host only when it proves by its key that it is the right one. "
                f"Fetch the key from {name} now and compare it, or paste it."
            )
            skip = f"Skipped, {name} is added with the state 'no key', and is not contacted until a key is pinned."
            return [*lines, [], *hanging([], text, "", width), [], *hanging([], skip, "quiet", width)]
        kind = self.offered.key.partition(" ")[0]
        file = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(kind, "ecdsa")
        lines += facts([("key", kind)], width)
        lines += [[], [("fingerprint".rjust(11) + "  ", "quiet"), (self.offered.fingerprint, "title")], []]
        text = f"Compare it with what {name} itself says, on its own console or from where it was installed:"
        lines += hanging([], text, "", width)
        lines.append([(f"  ssh-keygen -lf /etc/ssh/ssh_host_{file}_key.pub", "strong")])
        warning = "Only if both are the same is this the host and not somebody in between: then press y."
        return [*lines, [], *hanging([("▲ ", "warn")], warning, "", width)]

    def _review_lines(self, width: int) -> list[Line]:
        wish = self.wish
        key = "not needed: this URI does not go over SSH"
        if needs_key(self.uri):
            key = (self.offered.fingerprint if self.offered else wish.ssh_host_key) if wish.ssh_host_key else "none"
        rows = [
            ("name", wish.name),
            ("MAC", parse_mac(wish.mac)),
            ("address", parse_address(wish.address)),
            ("labels", ", ".join(wish.labels.replace(",", " ").split()) or "none"),
            ("URI", self.uri),
            ("host key", key),
            *([("disk", wish.disk)] if wish.disk else []),
            *([("netboot", wish.netboot)] if wish.netboot else []),
        ]
        lines = facts(rows, width)
        if self.plan is not None and self.plan.is_empty:
            return [[("Nothing differs: ", "good"), (f"{wish.name} is as the form says.", "")], [], *lines]
        if self.plan is not None:
            lines += [[], title("What will happen"), *happenings(self.plan, width)]
            if notes := cautions(self.plan, width):
                lines += [[], *notes]
        return lines
