"""The file with the operator's own settings, of which there is one so far: theme = "light"."""

from __future__ import annotations

from pathlib import Path

import rtoml
import tomlkit

from console.domain.errors import FleetError
from console.domain.values import shown
from console.inventory.files import write_files

KNOWN = ("theme",)
WAY_OUT = 'Write a line such as: theme = "light"   or move the file away.'


def read_settings(path: Path) -> dict[str, str]:
    """Return name -> value of what is set; empty without a file. Raises FleetError for a file that cannot be used."""
    try:
        table = rtoml.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, rtoml.TomlParsingError) as error:
        raise FleetError(f"{path} cannot be used.", shown(str(error), 300)[1:-1], WAY_OUT) from None
    for name, value in table.items():
        if name not in KNOWN:
            raise FleetError(f"{path} cannot be used.", f"{shown(name)} is no setting.", WAY_OUT)
        if not isinstance(value, str):
            raise FleetError(f"{path} cannot be used.", f"{name} is not a text in quotes.", WAY_OUT)
    return table


def write_setting(path: Path, name: str, value: str) -> None:
    """Set one value; what else is in the file, comments too, stays. Raises FleetError when it cannot be written."""
    if read_settings(path).get(name) == value:
        return
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    document[name] = value
    write_files(path.parent, {path.name: tomlkit.dumps(document)})
