"""The small values that enter from outside, each with one parser that says what is wrong.

Every `parse_*` returns the canonical form or raises ValueError with a sentence that says what to write.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

from console.domain.hardware import cpu_list, cpu_numbers
from console.domain.ssh_key import key_fault
from console.domain.text import plain

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}\Z")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
PCI_SLOT = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\Z")
PCI_FUNCTION = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
MDEV_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
PCI_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}\Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
IPV4 = re.compile(r"(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})/(0|[1-9]\d?)\Z", re.ASCII)
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)\s*([KMGTkmgt])(?:iB)?\Z")
"""Binary units only: "GB" and "Gb" mean different things to different people, so they are refused."""

KIB = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


def shown(text: str, limit: int = 60) -> str:
    """Return text quoted for a sentence: plain (see console.domain.text), cut at `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{plain(cut)}"'


def parse_name(text: str) -> str:
    """Return the name of a host, guest, disk, network, pool, user or label."""
    if not text:
        raise ValueError("a name is needed.")
    if not NAME.match(text):
        raise ValueError(
            f"{shown(text)} is not a name. Use 1 to 63 letters, digits, '-', '_' or '.', "
            "beginning with a letter or digit."
        )
    return text


def parse_mac(text: str) -> str:
    """Return a unicast MAC address in lower case with colons; dashes and upper case are accepted."""
    mac = text.strip().lower().replace("-", ":")
    if not MAC.match(mac):
        raise ValueError(f'{shown(text)} is not a MAC address. Write it as "52:54:00:10:00:0a".')
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{shown(text)} is a multicast MAC address; a network card has a unicast one.")
    if mac == "00:00:00:00:00:00":
        raise ValueError("00:00:00:00:00:00 is no card's MAC address.")
    return mac


def parse_address(text: str) -> str:
    """Return an interface address with its prefix length ("10.0.0.11/24", "fd00::11/64")."""
    if (plain := _plain_address(text)) is not None:
        return plain
    if not text:
        raise ValueError('an address is needed. Write it as "10.0.0.11/24".')
    if "/" not in text:
        raise ValueError(f'{shown(text)} has no prefix length. Write it as "10.0.0.11/24".')
    try:
        interface = ipaddress.ip_interface(_without_scope(text))
    except ValueError:
        raise ValueError(f'{shown(text)} is not an address. Write it as "10.0.0.11/24".') from None
    network = interface.network
    if network.prefixlen < network.max_prefixlen - 1 and interface.ip == network.network_address:
        raise ValueError(f"{shown(text)} is the address of the network itself; choose one inside it.")
    if interface.version == 4 and network.prefixlen < 31 and interface.ip == network.broadcast_address:
        raise ValueError(f"{shown(text)} is the broadcast address of its network; choose another.")
    return str(interface)


def _plain_address(text: str) -> str | None:
    """Return an IPv4 address inside its network as it is, None for what needs a closer look: ten times as fast."""
    found = IPV4.match(text)
    if found is None:
        return None
    a, b, c, d, prefix = map(int, found.groups())
    host = (a << 24 | b << 16 | c << 8 | d) & (1 << 32 - prefix) - 1 if prefix <= 30 else 0
    inside = max(a, b, c, d) < 256 and 0 < host < (1 << 32 - prefix) - 1
    return text if inside else None


def is_inside(ip: str, subnet: str) -> bool:
    """Return whether a network holds an address, both in their canonical form."""
    network = _network(subnet)
    if network.version == 4 and ":" not in ip:
        a, b, c, d = map(int, ip.split("."))
        return (a << 24 | b << 16 | c << 8 | d) & int(network.netmask) == int(network.network_address)
    return ipaddress.ip_address(ip) in network


@lru_cache(maxsize=1024)
def _network(subnet: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(subnet)


def _without_scope(text: str) -> str:
    """Refuse an IPv6 scope ("fe80::1%eth0"): it means another link on every machine, and may hold any text."""
    if "%" in text:
        raise ValueError("a scope is not part of an address")
    return text.strip()


def parse_ip(text: str) -> str:
    """Return a bare IP address."""
    try:
        return str(ipaddress.ip_address(_without_scope(text)))
    except ValueError:
        raise ValueError(f'{shown(text)} is not an IP address. Write it as "10.0.0.1".') from None


def parse_subnet(text: str) -> str:
    """Return a network with its prefix length ("10.0.0.0/24")."""
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        raise ValueError(f'{shown(text)} is not a network. Write it as "10.0.0.0/24".') from None


@lru_cache(maxsize=4096)  # a fleet has few different sizes
def parse_size_kib(text: str) -> int:
    """Return a size such as "32 GiB", "512M" or "1.5 TiB" in whole KiB; units are binary, never decimal."""
    match = SIZE.match(text.strip())
    if not match:
        number = re.match(r"\s*0*([1-9]\d*)", text)
        example = f"{number.group(1)} GiB" if number else "32 GiB"
        raise ValueError(f'{shown(text)} is not a size. Write "{example}".')
    kib = float(match.group(1)) * KIB[match.group(2).upper()]
    if not kib:
        raise ValueError(f'{shown(text)} is nothing. Write a size such as "32 GiB".')
    if kib != int(kib):
        raise ValueError(f'{shown(text)} is not a whole number of KiB. Write "32 GiB".')
    return int(kib)


def format_size_kib(kib: int) -> str:
    """Return the shortest exact spelling of a size ("32 GiB"), which parse_size_kib reads back."""
    for unit in ("T", "G", "M"):
        if kib and kib % KIB[unit] == 0:
            return f"{kib // KIB[unit]} {unit}iB"
    return f"{kib} KiB"


def parse_pci_slot(text: str) -> str:
    """Return a whole PCI slot with its domain ("0000:65:00"); "65:00" and "0000:65:00.0" are accepted."""
    slot = text.strip().lower()
    slot = re.sub(r"\.[0-7]\Z", "", slot)
    if not PCI_SLOT.match(slot):
        raise ValueError(f'{shown(text)} is not a PCI slot. Write it as "0000:65:00".')
    return slot if slot.count(":") == 2 else f"0000:{slot}"


def parse_pci_id(text: str) -> str:
    """Return a PCI vendor and device id ("10de:2206")."""
    ids = text.strip().lower()
    if not PCI_ID.match(ids):
        raise ValueError(f'{shown(text)} is not a PCI id. Write it as "10de:2206".')
    return ids


def parse_pci_function(text: str) -> str:
    """Return one PCI function with its domain ("0000:3b:00.0"); "3b:00.0" is accepted."""
    function = text.strip().lower()
    if not PCI_FUNCTION.match(function):
        raise ValueError(f'{shown(text)} is not a PCI function. Write it as "0000:3b:00.0".')
    return function if function.count(":") == 2 else f"0000:{function}"


def parse_pci_place(text: str) -> str:
    """Return a whole slot ("0000:65:00"), or a single function of one ("0000:3b:02.1")."""
    return parse_pci_function(text) if PCI_FUNCTION.match(text.strip().lower()) else parse_pci_slot(text)


def parse_usb_id(text: str) -> str:
    """Return a USB vendor and product id ("046d:c52b")."""
    ids = text.strip().lower()
    if not PCI_ID.match(ids):
        raise ValueError(f'{shown(text)} is not a USB id. Write it as lsusb shows it: "046d:c52b".')
    return ids


def parse_mdev_type(text: str) -> str:
    """Return a type of mediated devices as the kernel names it ("nvidia-63", "i915-GVTg_V5_4")."""
    if not MDEV_TYPE.match(text):
        raise ValueError(f'{shown(text)} is not a type of mediated devices. Write it as "nvidia-63".')
    return text


def parse_rom(text: str) -> str:
    """Return "off", or the absolute path of a ROM's file on the host."""
    if text == "off":
        return text
    if not text.startswith("/"):
        raise ValueError(f'{shown(text)} is no ROM. Write "off", or the path of its file on the host.')
    return parse_absolute_path(text)


def parse_node(text: str) -> int:
    """Return the number of a NUMA node."""
    if not (text.isascii() and text.isdecimal()) or int(text[:5]) > 1023 or len(text) > 4:
        raise ValueError(f"{shown(text)} is not a NUMA node. Write its number, such as 1.")
    return int(text)


def parse_cpu_list(text: str) -> str:
    """Return CPUs as the kernel lists them, ascending ("0-3,8"); "" for none."""
    try:
        return cpu_list(sorted(cpu_numbers(text)))
    except ValueError:
        raise ValueError(f'{shown(text)} is not a list of CPUs. Write it as "16-23" or "0-3,8".') from None


def parse_uuid(text: str) -> str:
    """Return a uuid in lower case with dashes."""
    uuid = text.strip().lower()
    if not UUID.match(uuid):
        raise ValueError(f"{shown(text)} is not a uuid. Leave the key out to have one written.")
    return uuid


@lru_cache(maxsize=1024)  # a host's key is looked at whenever its file is
def parse_ssh_key(text: str) -> str:
    """Return an SSH public key as "algorithm base64", its comment dropped; type, base64 and length are right."""
    key = " ".join(text.split()[:2])
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key. Keep it to yourself; what is needed is its .pub file.")
    if why := key_fault(key):
        raise ValueError(f'{shown(text)} is not an SSH public key: it {why}. Write it as "ssh-ed25519 AAAA...".')
    return key


STABLE_DISK = re.compile(r"/dev/(disk/by-(id|path|uuid|partuuid)|mapper|md)/[a-zA-Z0-9][a-zA-Z0-9:._+@-]{0,199}\Z")
SHA256 = re.compile(r"sha256-[A-Za-z0-9+/]{43}=\Z")


def parse_stable_disk(text: str) -> str:
    """Return a disk by a name that stays the same: the kernel's own (/dev/sda) is another disk after the next boot."""
    if not STABLE_DISK.match(text):
        raise ValueError(
            f"{shown(text)} is not a disk by a name that stays. Write one of: ls -l /dev/disk/by-id, "
            'such as "/dev/disk/by-id/nvme-SAMSUNG_MZ1L2960_S1".'
        )
    return text


def parse_url(text: str) -> str:
    """Return an http or https URL without user or password."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and URI_HOST.match(parts.hostname or "") and parts.port != 0
    except ValueError:
        sound = None
    if not sound or not text.isascii() or not text.isprintable() or re.search(r"""[\s"'\\${}|;<>`]""", text):
        raise ValueError(f'{shown(text)} is not a URL. Write it as "https://boot.example/vmlinuz".')
    if "@" in parts.netloc:
        raise ValueError("a URL in the inventory must not hold a user or a password.")
    return text


def parse_sha256(text: str) -> str:
    """Return a hash as Nix writes it."""
    if not SHA256.match(text):
        raise ValueError(f'{shown(text)} is not a hash. Have it printed: nix hash file FILE ("sha256-...=").')
    return text


def parse_absolute_path(text: str) -> str:
    """Return an absolute path on a host, without "..", control characters or a trailing slash."""
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise ValueError(f"{shown(text)} is not an absolute path.")
    return text.rstrip("/") or "/"


INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}\Z")
VOLUME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._+@ -]{0,199}\Z")
JUMP = re.compile(r"([a-zA-Z0-9._-]+@)?[a-zA-Z0-9][a-zA-Z0-9._-]*(:\d{1,5})?\Z")
URI_HOST = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}\Z|[0-9a-f:.]{2,45}\Z")
URI_USER = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,31}\Z")
URI_KEYS = frozenset({"socket", "mode"})
"""What an inventory's libvirt URI may carry as query; keys such as no_verify or command would weaken SSH."""


def parse_interface_name(text: str) -> str:
    """Return the name of a Linux network interface (at most 15 characters)."""
    if not INTERFACE.match(text):
        raise ValueError(f"{shown(text)} is not an interface name: 1 to 15 letters, digits, '-', '_' or '.'.")
    return text


def parse_volume(text: str) -> str:
    """Return the name of a storage volume."""
    if not VOLUME.match(text):
        raise ValueError(f'{shown(text)} is not a volume\'s name. Write it as "debian-13.qcow2".')
    return text


def parse_volume_or_path(text: str) -> str:
    """Return a volume's name, or an absolute path when it begins with a slash."""
    return parse_absolute_path(text) if text.startswith("/") else parse_volume(text)


def parse_jump(text: str) -> str:
    """Return an SSH jump host ("user@gate.example:22")."""
    if not JUMP.match(text):
        raise ValueError(f'{shown(text)} is not a jump host. Write it as "user@gate.example:22".')
    return text


def parse_uri(text: str) -> str:
    """Return a libvirt URI of a kind that Quarterdeck opens: qemu over ssh, tcp or a unix socket, or test:///file."""
    if not text.isprintable() or " " in text or len(text) > 500:
        raise ValueError(f"{shown(text)} is not a libvirt URI.")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(
            f'{shown(text)} is not a libvirt URI: an IPv6 address stands in brackets, "[fd00::11]".'
        ) from None
    if parts.scheme not in {"qemu+ssh", "qemu+tcp", "qemu+unix", "qemu", "test"}:
        raise ValueError(
            f'{shown(text)} is not a libvirt URI that can be used. Write "qemu+ssh://root@10.0.0.11/system", '
            '"qemu+tcp://...", "qemu+unix:///system?socket=..." or "test:///file.xml".'
        )
    if parts.password is not None:
        raise ValueError("a libvirt URI must not hold a password: hosts are reached by key.")
    try:
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        raise ValueError(f"{shown(text)} has a port that is not a number.") from None
    if parts.scheme in {"qemu+ssh", "qemu+tcp"} and not URI_HOST.match(parts.hostname or ""):
        raise ValueError(f"{shown(text)} names no host, or one with characters that no host has.")
    if parts.username is not None and not URI_USER.match(parts.username):
        raise ValueError(f"{shown(text)} has a user name that no system has.")
    for key, _ in parse_qsl(parts.query, keep_blank_values=True):
        if key not in URI_KEYS:
            raise ValueError(
                f"{shown(text)}: the query key {shown(key)} is not allowed here; SSH is set up by Quarterdeck itself."
            )
    return text
