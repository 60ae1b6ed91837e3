"""Where what nobody foresaw goes: to the log with its traceback; the operator gets one sentence that names it."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from argparse import Namespace

from console.domain.values import shown

log = logging.getLogger("console")


def begin_log(options: Namespace) -> None:
    """Warnings and errors go to the log of the chosen inventory from now on."""
    from console.wiring import inventory_folder, open_log

    open_log(inventory_folder(options.inventory))


def tell(error: BaseException) -> int:
    """Log an unexpected exception, say so in one sentence on stderr; return the exit status.

    With QUARTERDECK_DEBUG=1 the traceback is printed as well.
    """
    from console.wiring import log_in_use

    log.error("Unexpected: %s", " ".join(sys.argv[1:]), exc_info=error)
    if os.environ.get("QUARTERDECK_DEBUG") == "1":
        traceback.print_exception(error)
    what = f"{type(error).__name__}: {shown(str(error), 200)}" if str(error) else type(error).__name__
    file = log_in_use()
    if file is None or file.fault:
        where = f"its log cannot be written: {file.fault if file else 'there is none yet'}"
    else:
        where = f"the details are in {file.path}"
    print(f"qd: this is a defect of Quarterdeck ({what}); {where}", file=sys.stderr)
    return 1
