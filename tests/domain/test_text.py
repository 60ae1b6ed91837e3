"""Text that is fit for a terminal: what is spelled out, and that all agree on how wide the rest is."""

from __future__ import annotations

import sys

import pytest
from rich.cells import cell_len
from wcwidth import wcwidth

from console.domain.text import cells, escaped, plain, plain_lines
from tests.hostile import TEXTS


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind not in {"markup", "wide"}])
def test_what_could_drive_or_misalign_a_terminal_is_spelled_out(kind: str) -> None:
    text = TEXTS[kind]
    assert "\\" in plain(text)
    assert plain(text).isprintable()
    assert plain(plain(text)) == plain(text)
    assert cells(plain(text)) == cell_len(plain(text))


def test_what_is_meant_to_be_read_stays() -> None:
    for text in ("web-1 Größe ●▲ [bold] ~^`", "日本語-ｗｅｂ", "Ελλάδα", "été^"):
        assert plain(text) == escaped(text) == text


def test_lines_stay_lines() -> None:
    assert plain_lines("a\x1b[m\n\tb\n") == "a\\x1b[m\n\\tb\n"


def test_every_character_has_one_width_for_us_for_the_screens_and_for_terminals() -> None:
    shown = [c for c in map(chr, range(sys.maxunicode + 1)) if plain(c) == c]
    assert len(shown) > 100_000
    assert [f"{ord(c):04X}" for c in shown if not cells(c) == cell_len(c) == wcwidth(c)] == []
