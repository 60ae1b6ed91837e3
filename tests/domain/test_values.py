"""The small values from outside: what is accepted, in which form, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain import values

PARSERS: list[Callable[[str], object]] = [
    values.parse_name,
    values.parse_mac,
    values.parse_address,
    values.parse_ip,
    values.parse_subnet,
    values.parse_size_kib,
    values.parse_pci_slot,
    values.parse_pci_id,
    values.parse_uuid,
    values.parse_ssh_key,
    values.parse_absolute_path,
    values.parse_interface_name,
    values.parse_volume,
    values.parse_volume_or_path,
    values.parse_jump,
    values.parse_uri,
    values.parse_stable_disk,
    values.parse_url,
    values.parse_sha256,
    values.parse_pci_function,
    values.parse_usb_id,
    values.parse_mdev_type,
    values.parse_rom,
    values.parse_cpu_list,
    values.parse_node,
]

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA"

HOSTILE = [
    "",
    " ",
    "\n",
    "a\nb",
    "\x00",
    "\x1b[31m",
    "x" * 300,
    "${x}",
    "'; reboot",
    "../..",
    "-oProxyCommand=x",
    "é",
    "/",
    "%",
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(text=st.text(max_size=400) | st.sampled_from(HOSTILE))
def test_any_text_gives_a_canonical_value_or_one_short_sentence(parse: Callable[[str], object], text: str) -> None:
    try:
        value = parse(text)
    except ValueError as error:
        said = str(error)
        assert said.isprintable() and said and len(said) < 720  # 60 characters of it, each spelled out in up to 10
    else:
        assert isinstance(value, int) or (isinstance(value, str) and value.isprintable() and parse(value) == value)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.parse_name, "web-1.a_B", "web-1.a_B"),
        (values.parse_mac, "52-54-00-10-00-0A", "52:54:00:10:00:0a"),
        (values.parse_address, " 10.0.0.11/24 ", "10.0.0.11/24"),
        (values.parse_address, "10.0.0.1/32", "10.0.0.1/32"),
        (values.parse_address, "10.0.0.0/31", "10.0.0.0/31"),
        (values.parse_address, "FD00:0::11/64", "fd00::11/64"),
        (values.parse_size_kib, "32 GiB", 32 * 1024**2),
        (values.parse_size_kib, "512M", 512 * 1024),
        (values.parse_size_kib, "1.5 TiB", 3 * 512 * 1024**2),
        (values.parse_size_kib, "8g", 8 * 1024**2),
        (values.parse_pci_slot, "65:00", "0000:65:00"),
        (values.parse_pci_slot, "0000:65:00.1", "0000:65:00"),
        (values.parse_pci_slot, "0001:B3:00", "0001:b3:00"),
        (values.parse_absolute_path, "/srv/iso/", "/srv/iso"),
        (values.parse_volume_or_path, "debian 13.iso", "debian 13.iso"),
        (values.parse_ssh_key, f"{ED25519} root@x", ED25519),
        (values.parse_stable_disk, "/dev/disk/by-id/nvme-S1", "/dev/disk/by-id/nvme-S1"),
        (values.parse_url, "https://[fd00::1]:8080/a?b=c", "https://[fd00::1]:8080/a?b=c"),
        (values.parse_jump, "ops@gate.example:2222", "ops@gate.example:2222"),
        (values.parse_uri, "qemu+ssh://root@[fd00::1]:22/system", "qemu+ssh://root@[fd00::1]:22/system"),
        (values.parse_uri, "qemu+unix:///system?socket=/run/x", "qemu+unix:///system?socket=/run/x"),
    ],
)
def test_what_is_accepted(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (values.parse_name, "-a", "beginning with a letter"),
        (values.parse_name, "a/b", "is not a name"),
        (values.parse_name, "web\n", "is not a name"),
        (values.parse_name, "a" * 64, "1 to 63"),
        (values.parse_mac, "53:54:00:10:00:0a", "multicast"),
        (values.parse_mac, "00:00:00:00:00:00", "no card"),
        (values.parse_mac, "52:54:00:10:00", "52:54:00:10:00:0a"),
        (values.parse_address, "10.0.0.11", "prefix length"),
        (values.parse_address, "10.0.0.0/24", "network itself"),
        (values.parse_address, "10.0.0.255/24", "broadcast"),
        (values.parse_address, "10.0.0.300/24", "is not an address"),
        (values.parse_subnet, "10.0.0.1/24", "is not a network"),
        (values.parse_size_kib, "4", '"4 GiB"'),
        (values.parse_size_kib, "4 GB", "is not a size"),
        (values.parse_size_kib, "007", 'Write "7 GiB"'),
        (values.parse_size_kib, "0", 'Write "32 GiB"'),
        (values.parse_size_kib, "0 GiB", "is nothing"),
        (values.parse_size_kib, "0.1 KiB", "whole number of KiB"),
        (values.parse_size_kib, "-1 GiB", "is not a size"),
        (values.parse_size_kib, "1e9 GiB", "is not a size"),
        (values.parse_size_kib, "nan GiB", "is not a size"),
        (values.parse_size_kib, "1.001 K", "whole number"),
        (values.parse_pci_slot, "gpu", "0000:65:00"),
        (values.parse_absolute_path, "srv", "absolute"),
        (values.parse_absolute_path, "/srv/../etc", "absolute"),
        (values.parse_absolute_path, "/a\nb", "absolute"),
        (values.parse_volume, "../etc/shadow", "volume"),
        (values.parse_volume, ".hidden", "volume"),
        (values.parse_interface_name, "a-very-long-bridge", "15"),
        (values.parse_ssh_key, "ssh-dss AAAAC3NzaC1lZDI1NTE5", "no key type"),
        (values.parse_ssh_key, "-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        (values.parse_stable_disk, "/dev/sda", "by-id"),
        (values.parse_stable_disk, "/dev/disk/by-id/../../sda", "by-id"),
        (values.parse_url, "ftp://boot.example/vmlinuz", "URL"),
        (values.parse_url, "https://boot.example/${x}", "URL"),
        (values.parse_url, "https://ops:secret@boot.example/vmlinuz", "password"),
        (values.parse_sha256, "sha256-abc", "nix hash file"),
        (values.parse_jump, "gate -oProxyCommand=x", "jump"),
        (values.parse_uri, "qemu+ssh://root@h/system?command=/bin/sh", "command"),
        (values.parse_uri, "qemu+ssh://root@h/system?no_verify=1", "no_verify"),
        (values.parse_uri, "qemu+ssh://root@h/system?keyfile=/x", "keyfile"),
        (values.parse_uri, "qemu+ssh://u:secret@h/system", "password"),
        (values.parse_uri, "qemu+ssh://-oProxyCommand=x/system", "names no host"),
        (values.parse_uri, "qemu+ssh://-l@h/system", "user name"),
        (values.parse_uri, "qemu+ssh:///system", "names no host"),
        (values.parse_uri, "qemu+ssh://h:x/system", "port"),
        (values.parse_uri, "esx://h/", "qemu+ssh"),
        (values.parse_uri, "test:///x y", "URI"),
    ],
)
def test_what_is_refused_and_how(parse: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert words in str(caught.value)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError) as caught:
        values.parse_uri("qemu+ssh://u:secret@h/system")
    assert "secret" not in str(caught.value)


@given(st.integers(1, 10**12 - 1))
def test_every_size_is_spelled_exactly(kib: int) -> None:
    assert values.parse_size_kib(values.format_size_kib(kib)) == kib


@given(st.text())
def test_what_is_shown_drives_no_terminal(text: str) -> None:
    assert values.shown(text).isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://root@h`x`/system",
        "qemu+ssh://r;x@10.0.0.1/system",
        "qemu+ssh://root@[fd00::1/system",
        "qemu+ssh://root@/system",
        "qemu+ssh://root@10.0.0.1:x/system",
    ],
)
def test_a_uri_that_names_no_real_host_or_user_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"has|names|not a libvirt URI"):
        values.parse_uri(uri)


@pytest.mark.parametrize("address", ["fe80::1%eth0/64", "fe80::1%$(x) y/64"])
def test_an_address_has_no_scope(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        values.parse_address(address)


def test_a_key_is_whole_base64() -> None:
    with pytest.raises(ValueError, match="not an SSH public key"):
        values.parse_ssh_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
