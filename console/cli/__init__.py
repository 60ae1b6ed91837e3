"""The headless twin: every action of the screens as a command. Heavy modules are imported by the commands alone."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections.abc import Sequence

from console.cli.crash import begin_log, tell
from console.cli.parser import parse
from console.domain.errors import FleetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `qd`; return 0 when done, 1 when refused or failed (with the reason on stderr), 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, never a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        if options.read_only and not options.looks:
            raise FleetError(f"{options.command} is not for a read-only console.", "It can change something.")
        begin_log(options)
        status: int = options.run(options)
        sys.stdout.flush()
        gc.freeze()  # what is left is no garbage: Python, ending, need not search a whole fleet for some
        return status
    except FleetError as error:
        return _refused(error)
    except KeyboardInterrupt:
        print("qd: interrupted. What was done stays done; qd plan shows what is left.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away: nothing is wrong with us. What is left is not to be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # What no use case has foreseen: a full disk, a folder that may not be entered.
        where = f" ({error.filename})" if error.filename is not None else ""
        logging.getLogger(__name__).warning("Refused by this machine: %s", error, exc_info=error)
        return _refused(FleetError("This machine does not allow it.", f"{error.strerror or error}{where}."))
    except Exception as error:
        return tell(error)


def _refused(error: FleetError) -> int:
    from console.cli.output import show_error

    show_error(error)
    return 1
