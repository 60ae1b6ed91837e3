"""Warnings of the preflight that an operator lets stay: written into the inventory, beside the device."""

from __future__ import annotations

import re
from dataclasses import replace

from console.domain.errors import FleetError
from console.domain.model import Guest
from console.domain.preflight import Verdict
from console.domain.preflight.names import RULE_NAMES
from console.services.devices import Devices

NOTHING = "none"
"""Typed in place of a rule: nothing is accepted any more."""


def accepting(devices: Devices, host: str, guest: Guest, typed: str) -> Guest:
    """Return the guest with these warnings accepted, rules' names separated by commas or blanks.

    Each device accepts what it is warned of. Raises FleetError for a name that is no rule's, for what blocks, for what
    no device is warned of, and when the host's devices are not known.
    """
    rules = [rule for rule in re.split(r"[,\s]+", typed) if rule]
    if not rules:
        return guest
    if rules == [NOTHING]:
        return replace(guest, devices={name: replace(each, accepted=()) for name, each in guest.devices.items()})
    for rule in rules:
        guest = _accepting(devices, host, guest, rule)
    return guest


def _accepting(devices: Devices, host: str, guest: Guest, rule: str) -> Guest:
    if rule not in RULE_NAMES:
        raise _refused(guest, f'"{rule}" is no check of the preflight.', f"Its checks: {', '.join(RULE_NAMES)}.")
    made = dict(guest.devices)
    warned = False
    for name, device in guest.devices.items():
        finding = next(each for each in devices.check(host, guest, device) if each.rule == rule)
        if finding.verdict is Verdict.BLOCK:
            raise _refused(guest, f"{finding.sentence} This blocks: it cannot be accepted.", finding.remedy)
        if finding.verdict is Verdict.WARNING:
            warned = True
            made[name] = replace(device, accepted=tuple(dict.fromkeys((*device.accepted, rule))))
    if not warned:
        raise _refused(
            guest, f"No device of it is warned of {rule}.", f"See: qd gpu preflight {host}/{guest.name} --all"
        )
    return replace(guest, devices=made)


def _refused(guest: Guest, detail: str, hint: str) -> FleetError:
    return FleetError(f"Nothing was accepted for {guest.name}.", detail, hint)
