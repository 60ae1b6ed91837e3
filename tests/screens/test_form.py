"""Fields by themselves."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widget import Widget

from console.domain.errors import FleetError
from screens.choice import Option
from screens.form import ChoiceField
from screens.form_frame import Reasons


class OneField(App[None]):
    def __init__(self, field: Widget) -> None:
        super().__init__()
        self.field = field

    def compose(self) -> ComposeResult:
        yield self.field


async def test_a_field_can_be_told_things_while_it_is_taken_down() -> None:
    field = ChoiceField("host", "host", "vhost-a", [Option("vhost-a", "vhost-a")])
    async with OneField(field).run_test() as pilot:
        # As when a page is left: what a field is made of goes before the field itself.
        await field.remove_children()
        field.tell(hint="up, 64 CPUs", problem="it is full")
        field.touch()
        field.control.set_options([Option("vhost-b", "vhost-b")])
        await pilot.pause()
        assert field.shown_problem == "it is full"


def test_why_a_wish_was_not_done_stays_with_that_wish() -> None:
    reasons = Reasons()
    reasons.failed("wish", FleetError("It failed."))
    for wish, error, told in (("wish", None, 1), ("wish", FleetError("No plan."), 2), ("another", None, 0)):
        reasons.planned(wish, error)
        assert sum(line[0][0] == "✖ " for line in reasons.lines(60) if line) == told
