"""Pictures of the screen: each a new file, never over one that exists."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from pathlib import Path

from console.domain.errors import FleetError


def write_picture(folder: Path, svg: str, at: datetime) -> Path:
    """Write an SVG into the folder under a new name made from the time; return its path. Raises FleetError."""
    for number in count(1):
        more = f"-{number}" if number > 1 else ""
        path = folder / f"quarterdeck-{at:%Y%m%d-%H%M%S}{more}.svg"
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(svg)
        except FileExistsError:
            continue
        except OSError as error:
            raise FleetError("The picture was not written.", f"{error.strerror} ({path}).") from None
        return path
    raise AssertionError
