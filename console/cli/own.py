"""The operator's own keys, from their file to the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.services.keys import read_keys
from console.wiring import keys_path

if TYPE_CHECKING:
    from screens.app import QuarterdeckApp


def own_keys(app: QuarterdeckApp) -> None:
    """Bind what keys.toml says. Raises FleetError naming what is wrong with it."""
    from screens.keymap import bind

    if keys := read_keys(keys_path()):
        bind(app, keys, str(keys_path()))
