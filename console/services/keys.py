"""The file with the operator's own keys: action = "key"."""

from __future__ import annotations

from pathlib import Path

import rtoml

from console.domain.errors import FleetError
from console.domain.values import shown

WAY_OUT = 'Write lines such as: create = "ctrl+n"   or move the file away.'


def read_keys(path: Path) -> dict[str, str]:
    """Return action id -> keys; empty without a file. Raises FleetError for a file that cannot be used."""
    try:
        table = rtoml.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, rtoml.TomlParsingError) as error:
        raise FleetError(f"{path} cannot be used.", shown(str(error), 300)[1:-1], WAY_OUT) from None
    for name, key in table.items():
        if not isinstance(key, str):
            raise FleetError(f"{path} cannot be used.", f"{shown(name)} is not a key in quotes.", WAY_OUT)
    return table
