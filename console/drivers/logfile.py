"""The log: one file that only its operator can read. Nothing of it ever reaches the terminal."""

from __future__ import annotations

import logging
import os
import sys
import threading
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType

from console.domain.text import plain_lines

MAX_BYTES = 1024 * 1024
"""A full log is kept once, as NAME.1: together they never take much more than twice this."""

log = logging.getLogger(__name__)


class LogFile(WatchedFileHandler):
    """Appends records to a file, made 0600 with its folder 0700 when there is the first thing to say.

    Several processes may write to the same file: whoever finds it full moves it aside, the others notice.
    fault: why the log could not be written, empty while it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        super().__init__(path, delay=True, encoding="utf-8")
        self.setFormatter(_Lines())

    def _open(self):  # type: ignore[no-untyped-def]  # the stream's type is typeshed's own affair
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(self.path, flags, 0o600), "a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record; what goes wrong is kept in `fault`."""
        try:
            if self.path.exists() and self.path.stat().st_size > MAX_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            self.fault = ""
            super().emit(record)
        except OSError as error:
            self.fault = f"{error.strerror} ({self.path})"

    def handleError(self, record: logging.LogRecord) -> None:
        """Keep why a record was not written: logging itself would print over the screens."""
        self.fault = f"{sys.exc_info()[1]} ({self.path})"


class _Lines(logging.Formatter):
    """Time (UTC), level, process, logger and message; what could drive a terminal that shows the file is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = f"{at} {record.levelname} [{record.process}] {record.name}: "
        text = head + super().format(record)
        return plain_lines(text)


def start_log(path: Path) -> LogFile:
    """Warnings and errors of all modules go to this file from now on, and to no other place.

    So do exceptions that nobody can catch: of threads, of destructors, and Python's own warnings.
    """
    _close()
    made = LogFile(path)
    made.setLevel(logging.WARNING)
    logging.getLogger().addHandler(made)
    logging.captureWarnings(True)
    threading.excepthook = _of_thread
    sys.unraisablehook = _unraisable
    return made


def current_log() -> LogFile | None:
    """Return the log that is open."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, LogFile)), None)


def stop_log() -> None:
    """The log is closed, and everything that Python says goes where it went before."""
    _close()
    logging.captureWarnings(False)
    threading.excepthook = threading.__excepthook__
    sys.unraisablehook = sys.__unraisablehook__


def _close() -> None:
    if (old := current_log()) is not None:
        logging.getLogger().removeHandler(old)
        old.close()


def _of_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread is not None else "?"
    _log_exception(f"A thread failed: {name}", args.exc_value, args.exc_traceback)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    _log_exception(args.err_msg or "An exception was ignored", args.exc_value, args.exc_traceback)


def _log_exception(text: str, error: BaseException | None, traceback: TracebackType | None) -> None:
    found = (type(error), error, traceback) if error is not None else None
    log.error(text, exc_info=found)
