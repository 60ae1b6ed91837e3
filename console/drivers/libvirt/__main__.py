"""Start the libvirt process: `python -m console.drivers.libvirt FOLDER INVENTORY MODE IDLE_SECONDS`.

Returns when the process, left behind in the background, listens (exit 0), or says on stderr why it cannot (1).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

# asyncio imports ssl where it can; nothing here speaks TLS, and it is 5 MB. So before all other imports.
sys.modules["ssl"] = None  # type: ignore[assignment]

from console.domain.errors import FleetError  # noqa: E402
from console.drivers.libvirt import wire  # noqa: E402
from console.drivers.libvirt.place import Place  # noqa: E402

WAIT_S = 10.0
LOG_LIMIT = 256 * 1024


def main(arguments: list[str]) -> int:
    """Leave a process behind, unless one is there already. Exit status as above."""
    if len(arguments) != 4:
        print("usage: python -m console.drivers.libvirt FOLDER INVENTORY MODE IDLE_SECONDS", file=sys.stderr)
        return 2
    folder, inventory, mode, idle_s = arguments
    if mode not in wire.MODES:
        print(f"There is no mode {mode!r}.", file=sys.stderr)
        return 2
    place = Place(Path(folder), inventory, mode)
    try:
        place.prepare()
        lock = _lock_or_other(place)
        if lock is None:
            return 0
        listener = place.listen()
    except (FleetError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        import libvirt  # noqa: F401
    except ImportError as error:
        place.socket.unlink(missing_ok=True)
        print(f"libvirt's library is missing: {error}", file=sys.stderr)
        return 3
    # The socket listens already, so whoever waits for this process to end can connect at once.
    if os.fork():
        os._exit(0)
    os.setsid()
    _quiet(place)
    from console.drivers.libvirt import server

    try:
        server.run(place, listener, idle_s=float(idle_s))
    except BaseException:
        logging.getLogger(__name__).exception("the process failed")
        raise
    finally:
        place.socket.unlink(missing_ok=True)
        # A thread that hangs in libvirt must not keep the process.
        os._exit(0)


def _lock_or_other(place: Place) -> int | None:
    """Return the lock, or None once another process answers. Raises FleetError when neither comes about."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        lock = place.take_lock()
        if lock is not None:
            return lock
        if place.answers():
            return None
        time.sleep(0.02)
    raise FleetError("The libvirt process does not answer", f"{place.lock} is locked.", f"Look into {place.log}.")


def _quiet(place: Place) -> None:
    """Standard streams lead nowhere but to the log; the log begins anew when it is long."""
    if place.log.exists() and place.log.stat().st_size > LOG_LIMIT:
        place.log.replace(place.log.with_suffix(".log.1"))
    nothing = os.open(os.devnull, os.O_RDWR)
    descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(nothing, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir("/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
