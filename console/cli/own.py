"""What is the operator's own, keys and theme: from files and environment to the screens."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from console.domain.errors import FleetError
from console.services.keys import read_keys
from console.services.settings import read_settings, write_setting
from console.wiring import keys_path, settings_path

if TYPE_CHECKING:
    from screens.app import QuarterdeckApp
    from screens.terminal import TerminalApp


def own_keys(app: QuarterdeckApp) -> None:
    """Bind what keys.toml says; where it cannot be used, the usual keys: then the console begins by saying so."""
    try:
        if keys := read_keys(keys_path()):
            from screens.keymap import bind

            bind(app, keys, str(keys_path()))
    except FleetError as error:
        detail = f"{error.detail}\nThe usual keys are bound."
        app.complaint = FleetError(error.title, detail, error.hint)


def own_theme(app: TerminalApp, options: Namespace) -> None:
    """Use the theme of --theme, else of QUARTERDECK_THEME, else of settings.toml; keep there what is chosen later.

    Raises FleetError for a theme that does not exist and for a file that cannot be used.
    """

    def keep(theme: str) -> Path:
        write_setting(settings_path(), "theme", theme)
        return settings_path()

    app.keep_theme = keep
    theme = getattr(options, "theme", None) or os.environ.get("QUARTERDECK_THEME")
    if theme := theme or read_settings(settings_path()).get("theme"):
        app.wear(theme)
