"""Use cases, one file each. They know drivers only by the Protocols of `console.drivers.base`."""
