"""What the fleet and guest screens share: actions by key, the frame around their body, power actions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.widget import Widget

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.plan import Danger, Plan
from console.services.pictures import write_picture
from screens.action import Action, Context
from screens.actions import BY_ID, actions_in
from screens.offers import footer_keys, is_bound
from screens.situation import Situation
from screens.sized import SizedScreen
from screens.terminal import TerminalApp
from screens.widgets import Header, KeysFooter, Notice, StatusLine, is_open
from screens.work import Work

if TYPE_CHECKING:
    from console.services.session import Session
    from screens.command_bar import Command


class ConsoleScreen(SizedScreen[None]):
    """A screen whose keys come from the registry. Subclasses say the situation and show the store's changes."""

    CONTEXT: ClassVar[Context]
    AUTO_FOCUS = ""

    header = getters.query_one(Header)
    notice = getters.query_one(Notice)
    footer = getters.query_one(KeysFooter)
    status_line = getters.query_one(StatusLine)

    def __init__(self, session: Session, work: Work) -> None:
        super().__init__()
        self.session = session
        self.work = work

    def situation(self) -> Situation:
        """Return where the operator is."""
        raise NotImplementedError

    def targets(self) -> list[GuestKey]:
        """Return the guests that an action on guests is for."""
        guest = self.situation().guest
        return [] if guest is None else [guest.key]

    def plan_subject(self) -> GuestKey | None:
        """Return the guest that a plan is for here, None for the whole fleet."""
        return None

    def show_store(self) -> None:
        """Show what the store says now."""
        raise NotImplementedError

    def show_once_laid_out(self) -> None:
        """Have the store shown as soon as the screen has its new size, if it is still open then."""
        self.call_after_refresh(lambda: self.show_store() if is_open(self) else None)

    def show_ages(self) -> None:
        """Paint again what shows an age: a second passed."""
        raise NotImplementedError

    def frame_top(self) -> Iterator[Widget]:
        """Yield what stands above the body."""
        yield Header([()])

    def frame_bottom(self) -> Iterator[Widget]:
        """Yield what stands below the body."""
        yield Notice()
        yield StatusLine([()])
        yield KeysFooter()

    def show_status(self) -> None:
        """Show the last message."""
        self.status_line.show([self.work.status()])

    def show_frame(self) -> None:
        """Show the last message and the keys that make sense here and now."""
        self.show_status()
        self.footer.show_keys(footer_keys(self.CONTEXT, self.situation()))

    def on_screen_resume(self) -> None:
        """Catch up with what changed while another screen was in front."""
        if self.is_mounted:
            self.show_store()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of changing actions unbound in a read-only console, and letters to who is typed into."""
        if action == "press" and self.focused is not None:
            return False
        if action in {"act", "press"}:
            return is_bound(BY_ID[str(parameters[0])], read_only=self.session.read_only)
        return super().check_action(action, parameters)

    async def action_act(self, id: str) -> None:
        """Carry out an action of the registry."""
        await self.act(BY_ID[id])

    async def action_press(self, id: str) -> None:
        """Carry out an action whose key could be typed; see screens.actions.bindings."""
        await self.act(BY_ID[id])

    async def act(self, action: Action) -> None:
        """Carry out an action here; what cannot be done is answered with the reason."""
        now = self.situation()
        if not is_bound(action, read_only=now.read_only):
            self.tell(f"▲ This console is read-only: {action.label} changes something.")
            return
        targets = self.targets()
        if action.id == "edit" and now.guest is None and now.host is not None and not targets:
            action = BY_ID["edit-host"]
        if action.on_guest and not action.bulk and targets and (now.guest is None or targets != [now.guest.key]):
            self.tell(f"▲ {action.label.capitalize()} is done to one guest: escape takes the marks away first.")
            return
        if action.on_guest and not targets:
            self.tell(f"▲ Choose a guest first: {action.label} is done to a guest.")
            return
        try:
            if action.power is not None:
                self.propose(self.session.plan_power(targets, action.power))
                return
            result = getattr(self, action.handler)()
            if result is not None:
                await result
        except FleetError as error:
            self.notice.show_error(error)

    def tell(self, message: str) -> None:
        """Put a message into the status line."""
        self.session.store.say(message)

    def propose(self, plan: Plan) -> None:
        """Carry a plan out, after the question that its danger calls for; what it refuses is shown."""
        if plan.is_empty:
            if plan.refusals:
                self.notice.show_error(FleetError(f"{plan.title}: refused.", "\n".join(plan.refusals)))
            else:
                pending = f" Apply again once {plan.pending[0].host} is up." if plan.pending else ""
                self.tell(f"✔ {plan.title}: nothing to do.{pending}")
            return
        if plan.danger is Danger.NONE:
            self.work.begin(plan)
            return
        from screens.confirm import Confirm

        question = Confirm(plan)

        def answered(yes: bool | None) -> None:
            if yes:
                self.work.begin(question.plan)

        self.app.push_screen(question, answered)

    def act_edit(self) -> None:
        """Edit the guest."""
        from screens.create_guest import CreateGuest

        guest = self.situation().guest
        assert guest is not None
        self.app.push_screen(CreateGuest(self.session, editing=guest.key))

    def act_edit_host(self) -> None:
        """Edit the host."""
        from screens.edit_host import EditHost

        host = self.situation().host
        assert host is not None
        self.app.push_screen(EditHost(self.session, host.name))

    def act_autostart(self) -> None:
        """Turn autostart over; of several, switch it on unless all have it."""
        keys = self.targets()
        wanted = [self.session.store.guest(key).wanted for key in keys]
        on = all(guest.autostart for guest in wanted if guest is not None) and any(wanted)
        self.propose(self.session.plan_autostart(keys, not on))

    def act_remove(self) -> None:
        """Show what removing the guest would do; its disks stay unless they are typed there."""
        from screens.plan import PlanScreen

        guest = self.situation().guest
        assert guest is not None
        self.app.push_screen(PlanScreen(self.session, self.session.plan_remove(guest.key), removed=guest.key))

    def act_plan(self) -> None:
        """Show what an apply would do: to the open guest, or to the fleet."""
        from screens.plan import PlanScreen

        key = self.plan_subject()
        plan = self.session.plan_fleet() if key is None else self.session.plan_fleet(guest=key)
        self.app.push_screen(PlanScreen(self.session, plan))

    def act_command(self) -> None:
        """Open the command bar, and do what is chosen there."""
        from screens.command_bar import CommandBar

        async def chosen(command: Command | None) -> None:
            if command is not None:
                await self.obey(command)

        self.app.push_screen(CommandBar(self.session.store, list(actions_in(self.CONTEXT)), self.situation()), chosen)

    async def obey(self, command: Command) -> None:
        """Go where a command says and do what it says."""
        raise NotImplementedError

    def act_jobs(self) -> None:
        """Show what is and was carried out."""
        from screens.jobs import JobsScreen

        self.app.push_screen(JobsScreen(self.session, self.work))

    def act_cards(self) -> None:
        """Show the fleet's accelerators."""
        from screens.cards import CardsScreen

        self.app.push_screen(CardsScreen(self.session, self.work))

    def act_history(self) -> None:
        """Show who changed what, and when."""
        from screens.changes import ChangesScreen

        self.app.push_screen(ChangesScreen(self.session))

    def act_users(self) -> None:
        """Show the people with access."""
        from screens.users import UsersScreen

        self.app.push_screen(UsersScreen(self.session))

    async def act_theme(self) -> None:
        """Put on the next theme, and keep it."""
        assert isinstance(self.app, TerminalApp)
        self.tell(await self.app.next_theme())

    async def act_picture(self) -> None:
        """Save a picture of the screen; say its name."""
        svg, now = self.app.export_screenshot(), self.session.store.clock()
        path = await asyncio.to_thread(write_picture, Path.cwd(), svg, now)
        self.tell(f"✔ Picture saved: {path}")

    def act_help(self) -> None:
        """Show all keys and signs."""
        from screens.help import Help

        self.app.push_screen(Help(self.CONTEXT, read_only=self.session.read_only))

    def act_quit(self) -> None:
        """Leave the console; at once unless something is being carried out."""
        self.app.call_later(self.app.action_quit)
