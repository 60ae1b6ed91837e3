"""Create and edit a guest without leaving the keyboard: three pages, then the plan, then the guest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.types import CSSPathType

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import ApplyMode, Danger, Plan
from console.services.preflight import READ_S
from console.services.wishes import BootChoice, GuestWish
from screens.apply import ApplyScreen
from screens.confirm import Confirm
from screens.diff import DiffScreen
from screens.form import ChoiceField, Field
from screens.form_frame import Keys
from screens.form_screen import FormScreen
from screens.guest_options import pools, volume_options
from screens.guest_pages import PAGES, choice_hint, hint, host_notice, offers, page_fields, visible
from screens.guest_review import MODE_KEYS, apply_modes, created, edited
from screens.lines import hanging
from screens.offers import own, own_keys
from screens.preflight import PreflightScreen
from screens.preflight_lines import all_checks, asked, in_short
from screens.widgets import Line, Sheet

if TYPE_CHECKING:
    from console.services.session import Session

REVIEW = len(PAGES) - 1
DEFAULT_DISK = "20 GiB"
REVIEW_ACTIONS = frozenset({"create_only", "diff", "previous", "live", "restart"})


class Review(Sheet, can_focus=True):
    """The facts of the wish and its plan."""


class CreateGuest(FormScreen):
    """Asks for a guest and makes it; with `editing`, changes one; with `gpu`, that slot is chosen to begin with.

    Dismisses with the outcome, None when left.
    """

    CSS_PATH: ClassVar[CSSPathType] = ["form.tcss", "create_guest.tcss"]
    PAGES = PAGES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "create_only", "create only", id="guest.create_only", show=False),
        Binding("d", "diff", "see the diff", id="guest.diff", show=False),
        Binding("b", "previous", "back", id="guest.previous", show=False),
        Binding("l", "live", "apply live", id="guest.live", show=False),
        Binding("r", "restart", "apply by a restart", id="guest.restart", show=False),
        Binding("ctrl+p", "preflight", "every check of the GPU", id="guest.preflight", priority=True, show=False),
    ]

    def __init__(
        self, session: Session, host: str | None = None, editing: GuestKey | None = None, gpu: str = ""
    ) -> None:
        super().__init__()
        self.session = session
        self.editing = editing
        self.wish = session.wish_of(editing) if editing is not None else self._first_wish(host, gpu)
        self.begin_at = "name" if self.wish.host and editing is None else ""
        self.plan: Plan | None = None
        self.modes: dict[ApplyMode, Plan] = {}
        self._revision = -1
        self._instead_of = ""
        """The firmware that UEFI stands in for since Windows was chosen, empty where it was chosen by hand."""

    def _first_wish(self, host: str | None, gpu: str) -> GuestWish:
        hosts = self.session.store.fleet.hosts
        if host is None and len(hosts) == 1:
            host = next(iter(hosts))
        wish = GuestWish(host=host or "", disk=DEFAULT_DISK, boot=BootChoice.IMAGE, gpu=gpu)
        facts = self.session.store.host(wish.host).seen.facts if wish.host in hosts else None
        if gpu and (facts is None or facts.uefi is not False):
            wish = replace(wish, firmware="uefi")  # today's cards start by UEFI only
        return self._with_defaults(wish)

    def _with_defaults(self, wish: GuestWish) -> GuestWish:
        """Choose pool, network and boot source of a host, where what stands there is not to be had."""
        if wish.host not in self.session.store.fleet.hosts:
            return wish
        have = [pool.name for pool in pools(self.session, wish.host) if pool.active]
        if have and wish.pool not in have:
            wish = replace(wish, pool="default" if "default" in have else have[0])
        networks = [o.value for o in offers(self.session, wish, self.editing, "network") if not o.refusal]
        if len(networks) > 1 and wish.network not in networks:
            mine = [name for name in self.session.store.fleet.networks if name in networks]
            wish = replace(wish, network=(mine or networks)[0])
        if wish.gpu and wish.gpu not in {o.value for o in offers(self.session, wish, self.editing, "gpu")}:
            wish = replace(wish, gpu="")
        if have and wish.image and not wish.image.startswith("/"):
            images = {o.value for o in volume_options(self.session, wish, iso=False)}
            wish = wish if wish.image in images else replace(wish, image="")
        return wish

    # The form.

    async def on_mount(self) -> None:
        """Follow the hosts while the form is open."""
        self._unsubscribe = self.session.store.subscribe(self._store_changed)
        self._ask_kernel()

    def on_unmount(self) -> None:
        """Stop following."""
        self._unsubscribe()

    def heading(self) -> str:
        """Return what is made or changed, and where."""
        if self.editing is not None:
            return f"Edit {self.editing}"
        return f"Create {self.wish.name or 'guest'}" + (f" on {self.wish.host}" if self.wish.host else "")

    def fields(self, page: int) -> list[Field]:
        """Return the fields of a page."""
        return page_fields(self.session, self.wish, self.editing, page)

    def typed_so_far(self) -> GuestWish:
        """Return the wish."""
        return self.wish

    def take(self, field: Field) -> None:
        """Put a value into the wish; another host or pool takes along what depends on it."""
        changes: dict[str, Any] = {field.key: BootChoice(str(field.value)) if field.key == "boot" else field.value}
        wish = replace(self.wish, **changes)
        if wish == self.wish:
            return
        self.wish = wish
        if field.key in ("host", "pool") and isinstance(field, ChoiceField):
            self.wish = self._with_defaults(self.wish)
        if field.key == "host":
            self._ask_kernel()
        if field.key == "profile":
            self._suit_firmware()
        elif field.key == "firmware":
            self._instead_of = ""

    def _suit_firmware(self) -> None:
        """Choose UEFI with Windows, which needs it, and what was there before once it is no longer Windows."""
        windows = self.wish.profile == "windows"
        firmware = "uefi" if windows else self._instead_of or self.wish.firmware
        self._instead_of = self.wish.firmware if windows and self.wish.firmware != firmware else ""
        self.wish = replace(self.wish, firmware=firmware)
        for field in self.body.query_children(ChoiceField):
            if field.key == "firmware":
                field.control.set_value(firmware)  # at once: the field is asked before it would hear of it

    def _ask_kernel(self) -> None:
        """Have the preflight know what the host's kernel says of its devices, while the form is filled in."""
        if self.wish.host in self.session.store.fleet.hosts:
            self.run_worker(self._read_devices(self.wish.host), group="devices", exclusive=True)

    async def _read_devices(self, host: str) -> None:
        await self.session.devices.read([host], timeout_s=READ_S)
        if self.is_current and self.page != REVIEW:
            self._follow_hosts()

    def find_problems(self) -> Mapping[str, str]:
        """Return the service's problems with the wish; what has no field here is said of the nearest one."""
        return self.session.guest_problems(self.wish, self.editing)

    def special(self, page: int) -> Review | None:
        """Return the review for the last page."""
        if page != REVIEW:
            return None
        found = self.body.query_children(Review)
        return found.first() if found else Review()

    def refresh_page(self) -> None:
        """Show the fields that mean something, with what they offer now."""
        for field in self.body.query_children(Field):
            field.display = visible(self.wish, field.key)
            note = hint(self.session, self.wish, field.key)
            if isinstance(field, ChoiceField):
                if field.key in ("host", "pool", "network", "gpu", "image", "iso"):
                    field.control.set_options(offers(self.session, self.wish, self.editing, field.key))
                field.control.set_value(str(getattr(self.wish, field.key)))
                note = choice_hint(field)
                if field.key == "firmware" and self._instead_of:
                    note = "chosen: Windows needs it"
            field.tell(hint=note)

    def notices(self) -> list[Line]:
        """Say when the host is down, and that an empty disk boots nothing."""
        width = self.size.width - 2
        lines: list[Line] = []
        if self.page == REVIEW:
            return lines
        if text := host_notice(self.session, self.wish):
            lines += hanging([("▲ ", "warn")], text, "warn", width)
        if self.page == 1 and self.wish.boot is BootChoice.EMPTY and self.editing is None:
            text = "The disk will be empty: the guest starts, finds nothing to boot from, and waits at its firmware."
            lines += hanging([("▲ ", "warn")], text, "warn", width)
        if self.page == self.order_of("gpu")[0] and self.wish.gpu:
            lines += self._gpu_notice(width)
        return lines

    def _gpu_notice(self, width: int) -> list[Line]:
        """Say what the preflight of the chosen card finds, and how old what it looked at is."""
        findings = [f for found in self.session.guest_findings(self.wish, self.editing).values() for f in found]
        if not findings:
            return []
        view = self.session.store.host(self.wish.host)
        text, style = asked(self.session.devices, view, self.session.store.clock(), short=True)
        first, *rest = in_short(findings, width)
        keys: Line = [("   ", ""), (own("guest.preflight", "^p"), "accent"), (" shows every check", "quiet")]
        return [[*first, *keys], *rest, *([] if style == "quiet" else hanging([], text, style, width))]

    def action_preflight(self) -> None:
        """Show every check of the card that is chosen."""
        self.collect()
        if not self.wish.gpu:
            self.say(FleetError("No GPU is chosen.", "The preflight checks what a guest would get."))
            return
        wish = self.wish

        def lines(width: int) -> list[Line]:
            if found := self.session.guest_findings(wish, self.editing):
                return all_checks(found, width)
            why = self.find_problems().get("gpu", "Nothing is known of it.")
            raise FleetError("The GPU that is chosen cannot be checked.", why, "Choose another one in the form.")

        self.app.push_screen(PreflightScreen(self.session, self.heading(), wish.host, lines))

    def _store_changed(self) -> None:
        if self.is_current and self.page != REVIEW and self.session.store.revision != self._revision:
            self._revision = self.session.store.revision
            self.call_later(self._follow_hosts)

    def _follow_hosts(self) -> None:
        # What was just chosen may still be on its way here: following must not put the old choice back.
        self.collect()
        self.follow()

    # The review.

    async def entered(self) -> None:
        """Make the plan, or show why there is none."""
        try:
            if self.editing is None:
                self.plan = await self.session.preview(self.session.plan_create(self.wish, start=True))
            else:
                self.modes = {
                    mode: await self.session.preview(self.session.plan_edit(self.editing, self.wish, mode))
                    for mode in apply_modes(self.session.store.guest(self.editing))
                }
                self.plan = self.modes[ApplyMode.NEXT_BOOT]
        except FleetError as error:
            self.plan, self.modes = None, {}
            self.reasons.planned(self.wish, error)
        else:
            self.reasons.planned(self.wish, None)
        self.show_review()

    def show_review(self) -> None:
        """Lay the review out for the width that there is."""
        width = self.size.width - 4
        if self.editing is None:
            lines = created(self.session, self.wish, self.plan, width)
        else:
            lines = edited(self.session, self.wish, self.editing, self.modes, width)
        for sheet in self.body.query_children(Review):
            sheet.show([*self.reasons.lines(width), *lines])

    def page_keys(self) -> Keys:
        """Return the keys of the review."""
        end = [("guest.previous", "b", "back"), ("form.back", "escape", "cancel")]
        if self.plan is None or (self.editing is not None and all(plan.is_empty for plan in self.modes.values())):
            return own_keys(*end)
        if any(file.diff for file in self.plan.files):
            end.insert(0, ("guest.diff", "d", "see the diff"))
        if self.editing is not None:
            words = {ApplyMode.NEXT_BOOT: "next boot" if len(self.modes) > 1 else "apply", ApplyMode.LIVE: "live"}
            able = [mode for mode, plan in self.modes.items() if not plan.is_empty]
            return own_keys(*((*MODE_KEYS[mode], words.get(mode, mode.value)) for mode in able), *end)
        if not self.plan.steps:
            return own_keys(("form.next", "enter", "write it down, pending"), *end)
        return own_keys(("form.next", "enter", "create and start"), ("guest.create_only", "s", "create only"), *end)

    def on_resize(self) -> None:
        """Lay the review out anew."""
        if self.page == REVIEW:
            self.show_review()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep the review's keys to the review, and create and edit apart."""
        if action not in REVIEW_ACTIONS:
            return True
        if self.page != REVIEW:
            return False
        if action in ("live", "restart"):
            return ApplyMode(action) in self.modes
        return self.editing is None if action == "create_only" else True

    async def confirmed(self) -> None:
        """Create and start; for an edit, apply at the next boot."""
        if self.plan is not None and not self.plan.is_empty:
            await self._carry_out(self.plan)

    async def action_create_only(self) -> None:
        """Create, and do not start."""
        if self.plan is not None:
            try:
                await self._carry_out(self.session.plan_create(self.wish, start=False))
            except FleetError as error:
                self.say(error)

    async def action_live(self) -> None:
        """Apply to the running guest."""
        await self._carry_out(self.modes[ApplyMode.LIVE])

    async def action_restart(self) -> None:
        """Apply by shutting down and starting."""
        await self._carry_out(self.modes[ApplyMode.RESTART])

    async def action_diff(self) -> None:
        """Show the files line by line."""
        if self.plan is not None and self.plan.files:
            await self.app.push_screen(DiffScreen(self.plan))

    async def action_previous(self) -> None:
        """Go back to the last page of fields."""
        await self.show_page(REVIEW - 1)

    async def _carry_out(self, plan: Plan) -> None:
        if plan.is_empty:
            if plan.refusals:
                self.say(FleetError(f"{plan.title}: refused.", "\n".join(plan.refusals)))
            return

        def apply(yes: bool | None) -> None:
            if yes:
                self.app.push_screen(ApplyScreen(self.session, plan), self.ended)

        if plan.danger is Danger.NONE:
            apply(True)
        else:
            await self.app.push_screen(Confirm(plan), apply)
