"""Leaves who began it behind, as console.job_process does, and writes down what it was told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if os.fork():
    os._exit(0)
path = Path(sys.argv[2])
path.with_suffix(".part").write_bytes(sys.stdin.buffer.read())
path.with_suffix(".part").rename(path)
