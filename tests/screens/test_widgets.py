"""What lines are made of, without a screen."""

from __future__ import annotations

from rich.cells import cached_cell_len

from screens.widgets import fit, line_width, wrapped


def test_texts_that_are_new_each_second_are_not_kept() -> None:
    """A dashboard runs for weeks."""
    before = cached_cell_len.cache_info().currsize
    for second in range(60):
        text = f"vhost-a: silent since 11:59 ({second}s), 2 guests last seen running"
        assert line_width([(text, "")]) == len(text)
        assert len(wrapped(text, 30)) == 3
        assert len(fit(text, 20)) == 20
    # A text that is cut is measured by Rich.
    assert cached_cell_len.cache_info().currsize - before <= 120
    assert line_width([("✖ 主机", "")]) == 6
