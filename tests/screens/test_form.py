"""Fields by themselves."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widget import Widget

from screens.choice import Option
from screens.form import ChoiceField


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
