"""The inventory: TOML files to domain values and back, and the store that joins them with what was observed."""
