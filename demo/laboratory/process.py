"""A process that outlives the command which started it, known by a file."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from laboratory.errors import LabError

STOP_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Process:
    """The process that wrote `record`; `name` is what the operator calls it."""

    record: Path
    name: str

    def pid(self) -> int | None:
        """Its number on this machine; None when it is gone.

        The number alone proves nothing: the record holds the boot and the start time of the process too.
        """
        try:
            record = json.loads(self.record.read_text())
            pid = int(record["pid"])
            return pid if record == identity_of(pid) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, identity: dict[str, int | str]) -> None:
        self.record.with_suffix(".new").write_text(json.dumps(identity))
        self.record.with_suffix(".new").rename(self.record)

    def kill(self) -> bool:
        """It is gone; False when it was. Where it was process 1 of its namespace, all in there are gone too."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if self.pid() == pid:  # still the same one, now that the handle holds it
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    if not select.select([handle], [], [], STOP_TIMEOUT_S)[0]:
                        raise LabError(f"{self.name} (process {pid}) was killed and is still there.")
            finally:
                os.close(handle)
        self.record.unlink(missing_ok=True)
        return True


def identity_of(pid: int) -> dict[str, int | str]:
    """What tells this process from every other that ever had its number. OSError when it is gone."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if after_name[0] in "ZX":
        raise ProcessLookupError(pid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": pid, "started_ticks": int(after_name[19]), "boot": boot}
