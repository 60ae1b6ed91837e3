"""The inventory as the files that come from it: domain XML and data in Nix. Pure: text from values."""
