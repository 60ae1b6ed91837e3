"""The serial console of a guest, from outside: what it prints from now on."""

from __future__ import annotations

import time

import libvirt


def read_until(connection: libvirt.virConnect, name: str, words: str, timeout_s: float = 90) -> str:
    """Everything that the guest's serial console says until the words stand there.

    A key is sent now and then, so that a guest which has booted already answers with its prompt.
    """
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    connection.lookupByName(name).openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    said, deadline, asked = b"", time.monotonic() + timeout_s, 0.0
    try:
        while words.encode() not in said:
            assert time.monotonic() < deadline, f"{name} never said {words!r}: {said[-500:]!r}"
            if time.monotonic() - asked > 5:
                asked = time.monotonic()
                stream.send(b"echo quarterdeck guest 'booted: by hand'\n")
            data = stream.recv(4096)
            if isinstance(data, bytes):
                said += data
            else:
                # Nothing there yet. A stream that does not block only moves while the connection is used.
                connection.getLibVersion()
                time.sleep(0.02)
    finally:
        stream.abort()
    return said.decode(errors="replace")
