"""libvirt's errors in words an operator can act on. Its own text goes into the detail, never into the title."""

from __future__ import annotations

import re

import libvirt

from console.domain.errors import FleetError
from console.domain.observed import DownReason
from console.drivers.libvirt.device_failures import DEVICE_TEXT
from console.drivers.libvirt.markup import clean

SENTENCES = (
    # The first pattern that is found in libvirt's or ssh's text names the reason.
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* (is not|not) |"
        r"no matching host key type",
        DownReason.HOST_KEY,
        "The host shows another SSH key than the one that is pinned.",
    ),
    (
        r"Permission denied|authentication failed|authentication cancelled|auth.* not allowed|"
        r"Too many authentication failures|access denied",
        DownReason.LOGIN,
        "The host refused the login.",
    ),
    (
        r"timed? ?out|No route to host|Network is unreachable|Host is down|keepalive|answered too late",
        DownReason.SILENT,
        "The host does not answer.",
    ),
    (
        r"bytes received from server too (large|small)|got unexpected RPC|unable to decode",
        DownReason.FAILED,
        "What answers there does not speak libvirt's protocol.",
    ),
    (r"Connection refused", DownReason.REFUSED, "The host refused the connection: libvirt may not be running."),
    (
        r"Failed to connect socket to .*No such file",
        DownReason.REFUSED,
        "libvirt's socket is not there: it may not be running.",
    ),
    (
        r"Could not resolve|Name or service not known|unable to resolve|Temporary failure in name",
        DownReason.FAILED,
        "The host's name cannot be resolved.",
    ),
    (
        r"Connection closed|End of file|Connection reset|socket is closed|Broken pipe|kex_exchange",
        DownReason.REFUSED,
        "The host closed the connection.",
    ),
)

FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class LinkLost(Exception):
    """A connection is gone, or was never there. `text` is a sentence for the operator.

    offered: the fingerprint of the SSH key that was shown instead of the pinned one, "" when that is not the reason.
    """

    def __init__(self, reason: DownReason, text: str, offered: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.offered = offered


class Overdue(LinkLost):
    """A call that waits for a QEMU outlived its deadline: the host may be well, and only one of its guests hangs."""


def lost(error: libvirt.libvirtError) -> LinkLost:
    """Return why a connection failed, with what libvirt and ssh said."""
    text = raw(error)
    for pattern, reason, sentence in SENTENCES:
        if re.search(pattern, text, re.IGNORECASE):
            # ssh says it in the middle of a page of asterisks, which tells nothing else.
            if reason is DownReason.HOST_KEY and (key := FINGERPRINT.search(error.get_error_message() or "")):
                return LinkLost(reason, sentence, key.group())
            return LinkLost(reason, f"{sentence} ({text})")
    return LinkLost(DownReason.FAILED, text)


def closed(reason: int) -> LinkLost:
    """Return why an open connection closed."""
    if reason == libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
        return LinkLost(DownReason.SILENT, "The host stopped answering.")
    return LinkLost(DownReason.REFUSED, "The host closed the connection.")


def raw(error: libvirt.libvirtError, limit: int = 600) -> str:
    """Return libvirt's own text, one line, control characters escaped."""
    return clean(" ".join((error.get_error_message() or str(error)).split()), limit)


BY_CODE: dict[int, tuple[str, str]] = {
    libvirt.VIR_ERR_NO_DOMAIN: ("The host has no such domain any more.", "Refresh and look again."),
    libvirt.VIR_ERR_DOM_EXIST: ("A domain of this name exists already on the host.", "Choose another name."),
    libvirt.VIR_ERR_NO_STORAGE_POOL: ("The host has no such storage pool.", "Choose one of the host's pools."),
    libvirt.VIR_ERR_NO_STORAGE_VOL: ("The pool has no such volume.", "Refresh and choose an existing volume."),
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: ("The volume exists already.", "Choose another name, or remove it."),
    libvirt.VIR_ERR_NO_NETWORK: ("The host has no such network.", "Choose one of the host's networks."),
    libvirt.VIR_ERR_NO_SUPPORT: ("This host's driver cannot do that.", "Choose the next boot instead."),
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: ("The host cannot do this live.", "Choose the next boot instead."),
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: ("The host cannot do this live.", "Choose the next boot instead."),
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: ("The host cannot run this definition.", "Change it to fit the host."),
    libvirt.VIR_ERR_XML_ERROR: ("The host does not accept this definition.", ""),
    libvirt.VIR_ERR_XML_DETAIL: ("The host does not accept this definition.", ""),
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: ("The host does not accept this definition.", ""),
    libvirt.VIR_ERR_OPERATION_DENIED: ("The login may not do this.", "Use an account that may manage domains."),
    libvirt.VIR_ERR_ACCESS_DENIED: ("The login may not do this.", "Use an account that may manage domains."),
    libvirt.VIR_ERR_OPERATION_TIMEOUT: ("The host is busy with this domain.", "Try again in a moment."),
    libvirt.VIR_ERR_RESOURCE_BUSY: ("Something else on the host uses it.", "Free it first."),
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: ("The guest's agent does not answer.", "Force it off, or wait."),
}

BY_TEXT = (
    (r"is already in use by (other )?domain (\S+)", r"Something it needs is in use by \2.", "Free it first."),
    (
        r"No space left|Not enough free space|not enough space|disk quota",
        "The pool has no space left.",
        "Choose a smaller disk or another pool, or free space.",
    ),
    (r"storage vol(ume)? .*already exists", "The volume exists already.", "Choose another name, or remove it."),
    (r"domain .*already exists|already exists with uuid", "A domain of this name exists already.", "Choose another."),
    (r"already (running|active)", "It is running already.", ""),
    (r"is not running|not running|not paused", "It is not in the state for that.", "Refresh and look again."),
    (r"storage pool .* is not active", "The storage pool is not active.", "Start the pool on the host."),
    (r"network .* is not active", "Its network is not active on the host.", "Start the network on the host."),
    (
        r"Cannot access (storage file|backing)|No such file or directory",
        "A file it needs is missing on the host.",
        "Check the paths of its disks, kernel and firmware.",
    ),
    (r"Failed to get .write. lock|Is another process using the image", "Another process uses its disk.", ""),
    (r"Cannot allocate memory", "The host has not enough free memory.", "Give it less, or stop another guest."),
    (r"no more available PCI slots|No available.*port", "No port is free for it.", "Choose the next boot."),
    (r"Could not access KVM kernel module|failed to initialize kvm", "KVM does not work on this host.", ""),
)


def refusal(title: str, error: libvirt.libvirtError) -> FleetError:
    """Return a host's refusal: our title, the reason in words where it is known, libvirt's own text last."""
    # QEMU's last words come after the whole of what it was told of the device.
    text, whole = raw(error), raw(error, 8000)
    for pattern, reason, hint in (*DEVICE_TEXT, *BY_TEXT):
        if match := re.search(pattern, whole, re.IGNORECASE):
            return FleetError(title, f"{match.expand(reason)}\n{text}", hint)
    reason, hint = BY_CODE.get(error.get_error_code(), ("", ""))
    return FleetError(title, "\n".join(part for part in (reason, text) if part), hint)
