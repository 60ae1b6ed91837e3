"""What stands around a form's page: title with the pages, keys, and why what was asked for was not done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.domain.errors import FleetError
from screens.choice import Choice
from screens.offers import own, own_keys
from screens.widgets import Line, Span, error_lines, fit, line_width

if TYPE_CHECKING:
    from screens.form_screen import FormScreen

Keys = Sequence[tuple[str, str]]
"""Keys that make sense now, each with what it does."""


class Reasons:
    """Why a wish was not done, and why it cannot be planned: for the review, until something is changed."""

    def __init__(self) -> None:
        self._failed: tuple[object, FleetError | None] = (None, None)
        self._now: tuple[FleetError, ...] = ()

    def failed(self, wish: object, error: FleetError) -> None:
        """Keep why this wish was not done."""
        self._failed = (wish, error)

    def planned(self, wish: object, error: FleetError | None) -> None:
        """Keep why there is no plan for a wish, None when there is one, beside why the same wish was not done."""
        before = self._failed[1] if self._failed[0] == wish else None
        self._now = tuple(each for each in (before, error) if each is not None)

    def lines(self, width: int) -> list[Line]:
        """Return them for the top of the review."""
        return [line for error in self._now for line in [*error_lines(error, width), ()]]


def form_title(form: FormScreen) -> Line:
    """Return what the form is for, and its pages: the current one, and those with something wrong.

    Where a long heading leaves no room for all their names, the other pages are numbers.
    """
    width, heading = form.size.width - 2, form.heading()
    steps = _steps(form, short=False)
    if line_width(steps) + line_width([(heading, "")]) > width:
        steps = _steps(form, short=True)
    return [(fit(heading, max(8, width - line_width(steps))), "strong"), *steps]


def _steps(form: FormScreen, *, short: bool) -> list[Span]:
    steps: list[Span] = []
    for number, (name, _) in enumerate(form.PAGES):
        bad = any(key in form.touched and form.order_of(key)[0] == number for key in form.problems)
        label = f"  {number + 1}" if short and number != form.page else f"  {number + 1} {name}"
        steps.append((label, "title" if number == form.page else "bad" if bad else "quiet"))
    return steps


def form_keys(form: FormScreen) -> Keys:
    """Return the keys that make sense now."""
    if form.leaving:
        return ((own("form.back", "escape"), "throw away"), ("any other key", "stay"))
    if form.special(form.page) is not None:
        return form.page_keys()
    field = form.focused_field
    control = field.control if field is not None else None
    if isinstance(control, Choice) and control.is_open:
        return (
            ("↑↓", "move"),
            ("type", "filter"),
            (own("form.next", "enter"), "choose"),
            (own("form.back", "escape"), "close"),
        )
    keys = [("tab ↑↓", "move")]
    if isinstance(control, Choice):
        keys.append(("space", "choose"))
    elif field is not None and isinstance(field.value, bool):
        keys.append(("space", "turn over"))
    ways = [("form.next", "enter", "next"), ("form.pagedown", "pgdn", "page"), ("form.review", "^s", "review")]
    return (*keys, *own_keys(*ways, ("form.back", "escape", "back" if form.page else "cancel")))
