"""Finding by trying whether a host runs guests under KVM: /dev/kvm may exist, be advertised, and run nothing.

A trial is a transient domain without disk or network whose firmware finds nothing to boot, reboots at once, and so
ends itself: its end proves that guest code ran. Software emulation does that in about 0.1 s, KVM that works is
quicker still. A KVM that needs longer than software is of no use, whatever it claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import Any

import libvirt

from console.domain.model import Accel
from console.drivers.libvirt.facts import host_arch
from console.drivers.libvirt.failures import LinkLost, raw
from console.drivers.libvirt.guests import PROBE_PREFIX
from console.drivers.libvirt.link import Link, Worker
from console.drivers.libvirt.markup import BadXml, clean, parse

log = logging.getLogger(__name__)

DEADLINE_S = 5.0
"""A trial that runs longer has failed; a busy host under TCG needs less than 1 s."""

START_S = 20.0
"""libvirt asks QEMU anew what it can do where KVM misbehaves: 7 s."""

QUICK_S = 0.5
"""KVM that is this quick needs no comparison with software."""

POLL_S = 0.05


class TrialFailed(Exception):
    """The trial guest did not run; the text says why."""


async def find_accel(uri: str, stuck: list[Worker]) -> tuple[Accel | None, str, int]:
    """Return how the host runs guests, why, and how many trials were started on it.

    On a connection of its own, so that a start that hangs holds up nothing else. (None, reason, n) when it could
    not be found out. No trial domain is left behind: each is destroyed, and is transient besides.
    """
    started = 0
    try:
        link = await Link.open(uri, timeout_s=20, stuck=stuck)
    except LinkLost as error:
        return None, f"KVM could not be tried: {error.text}", started
    try:
        arch = await link.call(lambda conn: host_arch(parse(conn.getCapabilities())), 10)
        if arch not in ("x86_64", "i686"):
            return None, f"KVM is not tried on {arch}", started
        started += 1
        kvm_s, why = await _attempt(link, "kvm")
        if kvm_s is not None and kvm_s <= QUICK_S:
            return Accel.KVM, f"a trial guest ran in {kvm_s:.2f} s", started
        started += 1
        tcg_s, _ = await _attempt(link, "qemu")
        if kvm_s is None:
            if tcg_s is None:
                return None, f"no trial guest could be run: it {why}", started
            return Accel.TCG, f"the host offers KVM, but a trial guest {why}", started
        if tcg_s is not None and kvm_s > 2 * tcg_s:
            note = f"the host offers KVM, but a trial guest took {kvm_s:.1f} s, and {tcg_s:.1f} s in software"
            return Accel.TCG, note, started
        return Accel.KVM, f"a trial guest ran in {kvm_s:.2f} s", started
    except (LinkLost, libvirt.libvirtError, BadXml) as error:
        return None, f"KVM could not be tried: {error}", started
    finally:
        await link.close()


async def _attempt(link: Link, kind: str) -> tuple[float | None, str]:
    """Return how long a trial took, or None and why it failed."""
    try:
        return await _trial(link, kind, DEADLINE_S), ""
    except TrialFailed as error:
        return None, str(error)


async def _trial(link: Link, kind: str, deadline_s: float) -> float:
    """Return the seconds from start to self-inflicted end of one trial guest. Raises TrialFailed."""
    name = PROBE_PREFIX + secrets.token_hex(6)
    xml = trial_xml(name, kind)
    flags = libvirt.VIR_DOMAIN_START_AUTODESTROY
    clock = time.monotonic
    begun = clock()
    try:
        try:
            await link.call(lambda conn: conn.createXML(xml, flags) and None, START_S)
            # QEMU alone takes 0.4 s to come up; what is measured is the guest.
            begun = clock()
            while clock() - begun < deadline_s:
                if not await link.call(lambda conn: _runs(conn, name), 5):
                    return clock() - begun
                await asyncio.sleep(POLL_S)
        except libvirt.libvirtError as error:
            raise TrialFailed(f"did not start: {clean(raw(error), 240)}") from None
        raise TrialFailed(f"did not get through its firmware within {deadline_s:g} s")
    except LinkLost as error:
        raise TrialFailed(f"did not start: {error.text}") from None
    finally:
        await _sweep(link, name)


async def _sweep(link: Link, name: str) -> None:
    """The trial domain is gone, as far as the host lets us: on the trial's connection, else with it (autodestroy)."""
    with contextlib.suppress(LinkLost, libvirt.libvirtError):
        await link.call(lambda conn: _destroy(conn, name), 10)


def _runs(conn: Any, name: str) -> bool:
    """True while the trial guest is there. Raises TrialFailed when it stopped in error."""
    try:
        state, _reason = conn.lookupByName(name).state()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise
    if state in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_CRASHED):
        raise TrialFailed("stopped with an error")
    return True


def _destroy(conn: Any, name: str) -> None:
    for dom in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT):
        if dom.name() == name:
            log.info("ending the trial guest %s", name)
            dom.destroy()


def trial_xml(name: str, kind: str) -> str:
    """Return the trial's definition. kind: "kvm" (with the CPU that guests get) or "qemu"."""
    cpu = "<cpu mode='host-passthrough'/>" if kind == "kvm" else ""
    return (
        f"<domain type='{kind}'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/><bios rebootTimeout='0'/></os>"
        f"<features><acpi/></features>{cpu}<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot>"
        "<on_crash>destroy</on_crash><devices><controller type='usb' model='none'/>"
        "<memballoon model='none'/><video><model type='none'/></video></devices></domain>"
    )
