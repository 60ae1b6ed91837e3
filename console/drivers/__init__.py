"""The outside world behind the Protocols of `base`. Drivers do not import one another."""
