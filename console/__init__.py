"""Quarterdeck: the console of a fleet of NixOS hypervisors. This package holds everything but the screens."""

from __future__ import annotations

import os

# What else is installed has no part in how an inventory is checked, and looking for it takes 10 ms of every start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

__version__ = "0.1.0"
