"""Quarterdeck: the console of a fleet of NixOS hypervisors. This package holds everything but the screens."""

from __future__ import annotations

__version__ = "0.1.0"
