"""The last known state of the fleet on disk: what a console shows before any host has answered."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from console.domain.observed import DownReason, HostObservation, HostState

FILE = "last-known.msgpack"
MAX_BYTES = 64 * 1024 * 1024

log = logging.getLogger(__name__)


def remember(folder: Path, observed: Mapping[str, HostObservation]) -> None:
    """Write what is known of hosts that were ever seen; whole or not at all. Raises OSError."""
    known = {name: seen for name, seen in observed.items() if seen.seen_at is not None}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.msgpack.encode(known))
        Path(temporary).replace(folder / FILE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def recall(folder: Path) -> dict[str, HostObservation]:
    """Return what was remembered, every host as not yet contacted now; empty when nothing usable is there.

    Losing it costs nothing but the first frame: a file that cannot be read is only logged.
    """
    path = folder / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        known = msgspec.msgpack.decode(path.read_bytes(), type=dict[str, HostObservation])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.warning("%s was not used: %s", path, error)
        return {}
    return {
        name: replace(seen, state=HostState.CONNECTING, reason=DownReason.NONE, error="", offered_key="", retry_at=None)
        for name, seen in known.items()
        if seen.name == name
    }
