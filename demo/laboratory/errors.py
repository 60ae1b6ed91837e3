"""The one error of the lab and the one way it runs a command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class LabError(Exception):
    """A sentence for the operator: what is wrong and what to do."""


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, stdin: str | None = None, timeout_s: float | None = None
) -> str:
    """The standard output of a finished command; LabError with its last words when it failed or took too long."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed. Run: demo/lab install") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(words)}` did not end within {timeout_s:g} s.") from None
    if done.returncode:
        last_words = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-800:]
        raise LabError(f"`{' '.join(words)}` failed ({done.returncode}): {last_words}")
    return done.stdout
