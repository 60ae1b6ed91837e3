"""Frozen types, enums, errors and pure rules. Imports the standard library only."""
