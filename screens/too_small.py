"""What is shown instead of any screen while the terminal is smaller than the screens can be."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size

from screens.lines import hanging
from screens.sized import SizedScreen
from screens.widgets import Sheet

LEAST_WIDTH, LEAST_HEIGHT = 60, 15


def is_too_small(size: Size) -> bool:
    """Return True for a size that the screens cannot be laid out in."""
    return size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT


class TooSmall(SizedScreen[None]):
    """Lies over the screen in front, which keeps what was typed; goes when there is room again. Only ctrl+q works."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "app.quit", "quit", id="too-small.quit", show=False)]

    def compose(self) -> ComposeResult:
        """Lay out the sentence."""
        yield Sheet(id="too-small")

    def on_resize(self, event: Resize) -> None:
        """Say what size is needed."""
        width, height = event.size
        text = (
            f"Quarterdeck needs a larger terminal: at least {LEAST_WIDTH} x {LEAST_HEIGHT}, "
            f"this one has {width} x {height}. Nothing is lost: make it larger to go on. ctrl+q leaves."
        )
        self.query_one(Sheet).show(hanging([], text, "", width, least=1))

    def on_screen_resume(self) -> None:
        """Go when the terminal was enlarged while another screen was in front."""
        if not is_too_small(self.app.size):
            self.dismiss()
