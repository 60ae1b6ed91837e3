"""SSH public keys: every kind that ssh-keygen makes is taken, and none that lost or gained a byte on its way."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.ssh_key import key_fault

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA"
BLOB = base64.b64decode(ED25519.split()[1])


def key(kind: str, blob: bytes) -> str:
    return f"{kind} {base64.b64encode(blob).decode()}"


def field(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing: install openssh-client")
@pytest.mark.parametrize(
    "kind", [("ed25519",), ("rsa", "-b", "2048"), *(("ecdsa", "-b", n) for n in ("256", "384", "521"))], ids="-".join
)
def test_what_ssh_keygen_makes_is_taken(kind: tuple[str, ...], tmp_path: Path) -> None:
    words = ["ssh-keygen", "-q", "-N", "", "-f", str(tmp_path / "key"), "-t", *kind]
    subprocess.run(words, check=True)
    made = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    assert key_fault(made) == ""
    assert key_fault(made[:-4]) != "" and key_fault(made + "AAAA") != ""


@given(st.integers(0, len(BLOB) - 1))
def test_a_key_that_is_cut_short_is_none(length: int) -> None:
    assert key_fault(key("ssh-ed25519", BLOB[:length])) != ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssh-dss AAAA", "no key type"),
        ("ssh-ed25519", "not base64"),
        ("ssh-ed25519 AAA!", "not base64"),
        (key("ssh-ed25519", BLOB + b"\0"), "after its end"),
        (key("ssh-rsa", BLOB), "another type"),
        (key("ssh-ed25519", field(b"ssh-ed25519") + field(b"x" * 31)), "length"),
        (key("ssh-ed25519", field(b"ssh-ed25519")), "length"),
        (
            key("ecdsa-sha2-nistp256", field(b"ecdsa-sha2-nistp256") + field(b"nistp384") + field(b"\4" * 65)),
            "another curve",
        ),
        (key("ssh-rsa", field(b"ssh-rsa") + field(b"\1\0\1") + field(b"\x7f" + b"\xff" * 127)), "1023 bits"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    assert why in key_fault(text)


@given(st.text(), st.binary())
def test_any_text_gives_an_answer(text: str, blob: bytes) -> None:
    assert isinstance(key_fault(text), str)
    assert isinstance(key_fault(key("ssh-rsa", field(b"ssh-rsa") + blob)), str)
