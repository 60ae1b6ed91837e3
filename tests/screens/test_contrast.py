"""Every text that a screen paints, on the ground that it is painted on, can be read: in every theme and palette.

The figures are those of WCAG 2.1. 4.5 : 1 for text and for signs. 3 : 1 for graphs, whose figure stands beside them,
and for the signs of the 16-colour theme, whose word does. None for rules and for the empty part of a bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.color import Color, ColorSystem
from rich.segment import Segment
from textual.pilot import Pilot

from screens.theme import TERMINAL, THEMES
from tests.screens.world import World, console, make_world, shown, until

TEXT, REPEATED = 4.5, 3.0
GRAPH = set("▁▂▃▄▅▆▇█▀ ")
DECORATION = set("░·│─┌┐└┘▌▐▏▕ ")

PALETTES = {
    "VGA, Linux console": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa "
    "555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff "
    "ffffff",
    "Solarized": "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 002b36 cb4b16 586e75 657b83 839496 6c71c4 "
    "93a1a1 fdf6e3",
    "Tango": "2e3436 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 "
    "eeeeec",
    "GNOME": "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc 5e5c64 f66151 33da7a e9ad0c 2a7bde c061cb 33c7de "
    "ffffff",
    "Windows": "0c0c0c c50f1f 13a10e c19c00 0037da 881798 3a96dd cccccc "
    "767676 e74856 16c60c f9f1a5 3b78ff b4009e 61d6d6 f2f2f2",
}
"""The 16 colours as terminals have them, by their numbers."""

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Painted:
    """A text as it goes to the terminal."""

    where: str
    text: str
    ink: Color
    ground: Color
    dim: bool


def luminance(colour: Rgb) -> float:
    red, green, blue = (
        part / 12.92 if (part := value / 255) <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for value in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: Rgb, other: Rgb) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def palette(name: str) -> list[Rgb]:
    return [tuple(bytes.fromhex(colour)) for colour in PALETTES[name].split()]  # type: ignore[misc]


def in_256(colour: Color) -> Rgb:
    return tuple(colour.downgrade(ColorSystem.EIGHT_BIT).get_truecolor())


def seen_as(theme: str, colour: Color) -> dict[str, Rgb]:
    """What a colour looks like, by terminal."""
    if theme != TERMINAL.name:
        return {"true colour": tuple(colour.get_truecolor()), "256 colours": in_256(colour)}
    assert colour.number is not None and colour.number < 16, f"{colour} is not of the palette"
    return {name: palette(name)[colour.number] for name in PALETTES}


def least(theme: str, text: str) -> float:
    marks = set(text)
    if marks <= DECORATION:
        return 1.0
    if marks <= GRAPH | DECORATION:
        return REPEATED
    is_sign = not any(mark.isalnum() for mark in text)
    return REPEATED if theme == TERMINAL.name and is_sign else TEXT


async def steps(pilot: Pilot[None]) -> Iterator[str]:  # type: ignore[misc]
    """Go through the screens; yield the name of what is shown."""

    async def go(*keys: str, until_shown: str = "") -> None:
        await pilot.press(*keys)
        await pilot.pause()
        if until_shown:
            await until(pilot, lambda: until_shown in plain(pilot))

    for row in (0, 1, 3, 6, 8, 10):
        await go("home", *["down"] * row)
        yield f"fleet, row {row}"
    await go("home", "down", "space", "space")
    yield "fleet, marks"
    await go("slash", *"w", "backspace", "x", ":")
    yield "fleet, a filter that is wrong"
    await go("escape", "escape", "escape", "S", "S")
    yield "fleet, sorted"
    await go("escape", "colon", *"st")
    yield "command bar"
    await go("escape", "question_mark")
    yield "help"
    await go("escape", "home", "enter", "down")
    yield "host"
    await go("e")
    yield "edit host"
    await go("escape", "escape", "home", "down", "enter")
    yield "guest"
    if pilot.app.size.width > 80:
        # What follows looks the same in every width.
        return
    await go("x")
    yield "question"
    await go("escape", "D")
    yield "plan"
    await go("escape", "escape", "p", until_shown="step")
    yield "fleet plan"
    await go("escape", "home", "c", until_shown="vCPUs")
    await go("tab", "x", "tab", "backspace", "tab", "space")
    yield "form, a list and a mistake"
    await go("escape", *"zz", "shift+tab", "shift+tab", "shift+tab", *"A b", "tab")
    yield "form, mistakes"
    await go("ctrl+s", "escape")
    yield "form, about to be thrown away"
    await go("escape", "a", "tab", "tab")
    yield "add host"
    await go("escape", "escape", "H", until_shown="istory")
    yield "history"
    await go("escape")


def plain(pilot: Pilot[None]) -> str:
    size = pilot.app.size
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips(size))


def painted(pilot: Pilot[None], where: str) -> Iterator[Painted]:
    screen = pilot.app.screen
    # Behind a question the screen below is shaded on purpose.
    inner = screen.children[0].region if screen.is_modal and screen.children else screen.region
    for y, strip in enumerate(screen._compositor.render_strips(pilot.app.size)):
        x = 0
        for segment in strip:
            if y in inner.line_range and x in inner.column_range and (found := _painted(segment, where)):
                yield found
            x += segment.cell_length


def _painted(segment: Segment, where: str) -> Painted | None:
    text, style, control = segment
    if control or style is None or not text.strip():
        return None
    ink, ground = style.color, style.bgcolor
    assert ink is not None and ground is not None, f"{where}: {text!r} has no colour of its own"
    if style.reverse:
        ink, ground = ground, ink
    return Painted(where, text, ink, ground, bool(style.dim))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 48)])
async def test_every_text_can_be_read_in_every_theme(tmp_path: Path, width: int, height: int) -> None:
    world: World = make_world(tmp_path)
    poor: set[str] = set()
    texts = dict.fromkeys(THEMES, 0)
    async with console(world, width, height) as pilot:
        async for where in steps(pilot):
            for theme in THEMES:
                pilot.app.theme = theme
                await pilot.pause()
                for found in set(painted(pilot, where)):
                    texts[theme] += 1
                    if found.dim:
                        poor.add(f"{theme}, {where}: {found.text.strip()[:40]!r} is dim: nobody knows how dark that is")
                    if theme == TERMINAL.name and (found.ink.is_default or found.ground.is_default):
                        poor.add(f"{theme}, {where}: {found.text.strip()[:40]!r} is not in the palette's colours")
                        continue
                    inks, grounds = seen_as(theme, found.ink), seen_as(theme, found.ground)
                    for terminal, ink in inks.items():
                        has, needs = ratio(ink, grounds[terminal]), least(theme, found.text)
                        if has < needs:
                            poor.add(f"{theme}, {terminal}, {where}: {found.text.strip()[:40]!r} {has:.1f} < {needs}")
        pilot.app.theme = "dark"
        await shown(pilot)
    assert not poor, "\n" + "\n".join(sorted(poor)[:60])
    assert min(texts.values()) > 400, "the themes were not looked at"


def test_the_ratio_is_the_one_of_the_guideline() -> None:
    assert ratio((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert ratio((0x77, 0x77, 0x77), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
