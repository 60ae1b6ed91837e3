"""SSH public keys, taken apart as their format says (RFC 4253, 5656, 8709): a key that is cut short is none."""

from __future__ import annotations

import base64
import binascii
import hashlib

SIZES = {
    "ssh-ed25519": (32,),
    "ecdsa-sha2-nistp256": (8, 65),
    "ecdsa-sha2-nistp384": (8, 97),
    "ecdsa-sha2-nistp521": (8, 133),
    "sk-ssh-ed25519@openssh.com": (32, None),
    "sk-ecdsa-sha2-nistp256@openssh.com": (8, 65, None),
    "ssh-rsa": (None, None),
}
"""Key type -> the bytes of each part after its name, None where that varies."""

RSA_BITS = range(2048, 16385)
LONGEST = 16384


def fingerprint(key: str) -> str:
    """Return the SHA256 fingerprint of a public key as ssh-keygen shows it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def key_fault(text: str) -> str:
    """Return what is wrong with "type base64", as the end of a sentence; empty when it is a whole public key."""
    kind, _, body = text.partition(" ")
    if kind not in SIZES:
        return "begins with no key type that is known"
    try:
        blob = base64.b64decode(body, validate=True) if len(body) <= LONGEST else b""
    except binascii.Error:
        blob = b""
    if not blob:
        return "is not base64 after its type"
    parts = _parts(blob)
    if parts is None:
        return "is cut short, or has something after its end"
    name, *rest = parts
    if name != kind.encode():
        return f"says {kind} and holds another type of key"
    sizes = SIZES[kind]
    if len(rest) != len(sizes) or any(size not in (None, len(part)) for size, part in zip(sizes, rest, strict=True)):
        return "does not have the length of its type"
    if "ecdsa" in kind and rest[0] != b"nistp" + kind.partition("nistp")[2][:3].encode():
        return "names another curve than its type"
    if kind == "ssh-rsa" and int.from_bytes(rest[1]).bit_length() not in RSA_BITS:
        return f"has {int.from_bytes(rest[1]).bit_length()} bits; an RSA key needs {RSA_BITS[0]} or more"
    return ""


def _parts(blob: bytes) -> list[bytes] | None:
    """Return the length-prefixed strings that make up a key, None where they do not fill it exactly."""
    parts: list[bytes] = []
    while blob:
        end = 4 + int.from_bytes(blob[:4])
        if len(blob) < 4 or len(blob) < end:
            return None
        parts.append(blob[4:end])
        blob = blob[end:]
    return parts
