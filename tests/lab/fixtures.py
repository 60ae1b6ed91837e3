"""One lab for the whole session, in a scratch folder. Skipped with the reason where it cannot run.

tests/conftest.py passes these on: the keystroke scripts use the same lab as its own tests.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.lab.guests import LAB_COMMAND, Lab, lab_command


@pytest.fixture(scope="session")
def can_run_labs() -> None:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root, for its namespaces")
    check = subprocess.run([LAB_COMMAND, "check"], capture_output=True, text=True, check=False)
    if check.returncode:
        pytest.skip(check.stderr.strip())


@pytest.fixture(scope="session")
def lab(can_run_labs: None) -> Iterator[Lab]:
    """A lab that is up; it ends with the session, and its guests with it."""
    folder = Path(tempfile.mkdtemp(prefix="qdlab-", dir="/tmp"))  # short: unix sockets are made in it
    try:
        lab_command("up", folder)
        yield Lab.of(folder)
    finally:
        lab_command("down", folder, "--purge")


@pytest.fixture
def connection(lab: Lab) -> Iterator[libvirt.virConnect]:
    """A connection to the lab's host. What the test leaves there is removed: guests, volumes."""
    opened = libvirt.open(lab.uri)
    try:
        yield opened
        for domain in opened.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
        for volume in opened.storagePoolLookupByName("default").listAllVolumes():
            if volume.name() not in ("tiny.iso", "tiny.qcow2"):
                volume.delete()
    finally:
        opened.close()
