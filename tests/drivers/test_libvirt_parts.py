"""The parts of the libvirt driver that need no process: figures, XML, frames, words for failures."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.observed import (
    AddressSource,
    DownReason,
    GuestAddress,
    GuestObservation,
    GuestState,
    HostFacts,
    HostObservation,
    HostState,
)
from console.domain.verbs import CreateVolume, SetAutostart
from console.drivers.libvirt import facts, wire
from console.drivers.libvirt.failures import lost, refusal
from console.drivers.libvirt.guests import Definition, Listing, Row, definition_of, read_addresses
from console.drivers.libvirt.herd import Herd, NodeStats
from console.drivers.libvirt.look import back_off_s
from console.drivers.libvirt.markup import BadXml, clean, number, parse
from console.drivers.libvirt.stats import RING, Meter, guest_sample, host_sample, memory_used
from console.drivers.libvirt.testfile import file_of
from console.drivers.libvirt.verbs import volume_xml
from tests.drivers.world import error

AT = datetime(2026, 1, 1, tzinfo=UTC)


# Figures


def sampled(meter: Meter, clock_s: float, full: bool = True, vcpus: int = 2, **stats: int) -> Any:
    return guest_sample(
        meter,
        {name.replace("__", "."): value for name, value in stats.items()},
        vcpus=vcpus,
        clock_s=clock_s,
        at=AT,
        full=full,
    )


def test_cpu_is_of_the_guests_own_vcpus() -> None:
    meter = Meter()
    assert sampled(meter, 10.0, cpu__time=5_000_000_000).cpu_percent is None
    assert sampled(meter, 12.0, cpu__time=7_000_000_000).cpu_percent == 50.0
    assert sampled(meter, 13.0, cpu__time=17_000_000_000).cpu_percent == 100.0  # never above
    assert sampled(meter, 14.0, cpu__time=1_000).cpu_percent is None  # a new process counts from zero
    assert list(meter.history) == [None, 50.0, 100.0, None]


def test_rates_need_two_full_readings_and_stay_between_them() -> None:
    meter = Meter()
    first = sampled(meter, 0.0, net__count=2, net__0__rx__bytes=100, net__1__rx__bytes=50)
    assert first.net_rx_bps is None
    second = sampled(meter, 4.0, net__count=2, net__0__rx__bytes=300, net__1__rx__bytes=250)
    assert second.net_rx_bps == 100.0
    third = sampled(meter, 5.0, full=False, cpu__time=1)
    assert (third.net_rx_bps, third.disk_read_bps) == (100.0, None)


def test_a_guest_of_which_nothing_is_reported_has_no_figures() -> None:
    meter = Meter()
    assert sampled(meter, 1.0, state__state=1) is None
    assert list(meter.history) == []


@pytest.mark.parametrize(
    ("stats", "used"),
    [
        ({"balloon.available": 1000, "balloon.usable": 600, "balloon.unused": 100, "balloon.rss": 5}, 400),
        ({"balloon.available": 1000, "balloon.unused": 100}, 900),
        ({"balloon.available": 1000, "balloon.unused": 2000, "balloon.rss": 70}, 70),
        ({"balloon.rss": 70}, 70),
        ({"balloon.rss": "much"}, None),
        ({}, None),
    ],
)
def test_memory_used(stats: dict[str, object], used: int | None) -> None:
    assert memory_used(stats) == used


def test_host_figures() -> None:
    meter = Meter()
    memory = {"total": 1000, "free": 200, "buffers": 50, "cached": 250}
    guests = [sampled(Meter(), 0.0, cpu__time=1)]
    cpu = {"user": 10, "kernel": 10, "idle": 70, "iowait": 10, "utilization": 5}
    assert host_sample(meter, cpu, memory, guests, clock_s=0.0, at=AT).cpu_percent is None  # type: ignore[union-attr]
    later = {"user": 40, "kernel": 20, "idle": 120, "iowait": 20}
    sample = host_sample(meter, later, memory, guests, clock_s=1.0, at=AT)
    assert sample is not None
    assert (sample.cpu_percent, sample.memory_used_kib, sample.disk_bps) == (40.0, 500, None)
    assert host_sample(meter, None, None, guests, clock_s=2.0, at=AT) is None


def test_history_is_a_ring() -> None:
    meter = Meter()
    for second in range(RING + 9):
        sampled(meter, float(second), cpu__time=second)
    assert len(meter.history) == RING == 60


def test_back_off_grows_to_half_a_minute() -> None:
    for failures, least, most in ((1, 0.8, 1.2), (2, 1.6, 2.4), (4, 6.4, 9.6), (6, 24, 36), (5000, 24, 36)):
        assert all(least <= back_off_s(failures) <= most for _ in range(50))


# XML


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<a>",
        "",
        "<a>" + "b" * (5 << 20) + "</a>",
        "<a>\x00</a>",
    ],
    ids=["entity", "external", "open", "empty", "huge", "null"],
)
def test_hostile_xml_is_refused(text: str) -> None:
    with pytest.raises(BadXml):
        parse(text)


@given(st.text())
def test_cleaned_text_is_printable_and_short(text: str) -> None:
    assert clean(text, 50).isprintable()
    assert len(clean("\x1b[31m" + text)) <= 400 * 10


@given(st.one_of(st.text(), st.integers().map(str), st.integers().map(hex)))
def test_numbers_are_read_or_refused(text: str) -> None:
    value = number(text)
    assert value is None or abs(value) < 1 << 63


def test_numbers() -> None:
    assert [number(text) for text in ("0x65", "101", "007", " 8 ", "1e3", "", None, "9" * 30)] == [
        0x65, 101, 7, 8, None, None, None, None,
    ]  # fmt: skip


DEVICE = """<device><name>pci_0000_65_00_0</name><driver><name>vfio-pci</name></driver><capability type='pci'>
<class>0x030000</class><domain>0</domain><bus>101</bus><slot>0</slot><function>1</function>
<product id='0x1aef'/><vendor id='0x10de'/></capability></device>"""


def test_a_device_with_its_driver() -> None:
    device = facts.pci_device(parse(DEVICE))
    assert (device.address, device.pci_id, device.driver, device.slot) == (
        "0000:65:00.1", "10de:1aef", "vfio-pci", "0000:65:00",
    )  # fmt: skip
    assert (device.iommu_group, device.group_members, device.numa_node) == (None, (), None)


@pytest.mark.parametrize(
    "broken",
    [
        DEVICE.replace("<bus>101</bus>", ""),
        DEVICE.replace("<function>1", "<function>9"),
        DEVICE.replace("0x10de", "../../etc"),
        DEVICE.replace("type='pci'", "type='net'"),
        "<device>",
    ],
)
def test_an_unreadable_device_costs_no_other(broken: str) -> None:
    class Device:
        def __init__(self, xml: str) -> None:
            self.xml = xml

        def XMLDesc(self, _flags: int) -> str:
            return self.xml

    class Connection:
        def listAllDevices(self, _flags: int) -> list[Device]:
            return [Device(broken), Device(DEVICE)]

    assert [device.address for device in facts.read_pci(Connection())] == ["0000:65:00.1"]


DOMAIN = """<domain type='qemu'><name>g</name><memory unit='KiB'>131072</memory><vcpu current='2'>4</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
</devices></domain>"""


def test_a_definition() -> None:
    off, on = definition_of(DOMAIN, None), definition_of(DOMAIN, DOMAIN)
    assert (off.vcpus, off.memory_kib, off.active_shape, off.leases, off.agent) == (2, 131072, None, False, False)
    assert (on.active_shape, on.leases, on.agent) == (on.shape, True, True)
    unplugged = DOMAIN.replace(" state='connected'", "")
    assert definition_of(DOMAIN, unplugged).agent is False


def test_a_volumes_xml_escapes() -> None:
    verb = CreateVolume(pool="p", name='a<b>&"', capacity_bytes=5)
    root = parse(volume_xml(verb, ("/p/<x>&", 'q"w')))
    assert root.findtext("name") == 'a<b>&"'
    assert root.findtext("backingStore/path") == "/p/<x>&"
    assert root.find("backingStore/format").get("type") == 'q"w'  # type: ignore[union-attr]


# Words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Cannot recv data: Host key verification failed.: Connection reset by peer", DownReason.HOST_KEY),
        ("End of file while reading data: root@h: Permission denied (publickey).: I/O error", DownReason.LOGIN),
        ("authentication failed: Failed to start SASL negotiation", DownReason.LOGIN),
        ("unable to connect to server at 'h:16509': Connection refused", DownReason.REFUSED),
        ("unable to connect to server at 'h:16509': No route to host", DownReason.SILENT),
        ("ssh: connect to host h port 22: Connection timed out: Input/output error", DownReason.SILENT),
        ("internal error: connection closed due to keepalive timeout", DownReason.SILENT),
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory", DownReason.REFUSED),
        ("Cannot recv data: ssh: Could not resolve hostname h", DownReason.FAILED),
        ("no connection driver available for foo:///", DownReason.FAILED),
    ],
)
def test_why_a_host_is_down(text: str, reason: DownReason) -> None:
    why = lost(error(libvirt.VIR_ERR_SYSTEM_ERROR, text))
    assert why.reason is reason
    assert text in why.text


@pytest.mark.parametrize(
    ("code", "text", "reason", "hint"),
    [
        (
            libvirt.VIR_ERR_OPERATION_INVALID,
            "Requested operation is not valid: PCI device 0000:65:00.0 is in use by driver QEMU, domain web",
            "PCI device 0000:65:00.0 is in use by web.",
            "Shut that guest down",
        ),
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", "no such domain", "Refresh"),
        (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "x", "cannot do this live", "next boot"),
        (libvirt.VIR_ERR_SYSTEM_ERROR, "cannot write: No space left on device", "no space left", "free space"),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "Not enough free space in pool for volume 'x'", "no space left", "smaller"),
        (libvirt.VIR_ERR_STORAGE_VOL_EXIST, "storage volume 'x' exists already", "exists already", "another name"),
    ],
)
def test_a_refusal_in_words(code: int, text: str, reason: str, hint: str) -> None:
    refused = refusal("web was not started", error(code, text))
    assert refused.title == "web was not started"
    assert reason in refused.detail.splitlines()[0]
    assert hint in refused.hint
    assert text in refused.detail


def test_a_refusal_escapes_what_the_host_said() -> None:
    refused = refusal("t", error(1, "evil \x1b]0;title\x07 text\nmore"))
    assert all(line.isprintable() for line in refused.detail.splitlines())
    assert len(refused.detail.splitlines()) == 1


# Frames


def observed_host(*names: str, facts: HostFacts | None = None) -> HostObservation:
    guests = tuple(GuestObservation(uuid=name, name=name, state=GuestState.RUNNING) for name in names)
    return HostObservation(name="h", state=HostState.UP, seen_at=AT, facts=facts, guests=guests)


FACTS = HostFacts(hostname="h", driver="QEMU", libvirt_version="9.0.0")


def over_the_wire(change: wire.HostDelta) -> wire.HostDelta:
    message = wire.REPLY.decode(wire.frame(wire.Updates((change,)))[wire.LENGTH :])
    assert isinstance(message, wire.Updates)
    return message.hosts[0]


def test_a_change_carries_only_what_is_new() -> None:
    old = observed_host("a", "b", "c", facts=FACTS)
    a, _, c = old.guests
    b2 = GuestObservation(uuid="b", name="b", state=GuestState.OFF)
    new = HostObservation(name="h", state=HostState.UP, seen_at=AT, facts=FACTS, guests=(a, b2, c))
    change = over_the_wire(wire.delta(old, new))
    assert (change.host.guests, change.same_facts, change.order) == ((b2,), True, None)
    assert wire.merge(old, change) == new


def test_guests_come_and_go() -> None:
    old = observed_host("a", "b", facts=FACTS)
    new = observed_host("b", "d")
    change = over_the_wire(wire.delta(old, new))
    assert (change.order, change.same_facts) == (("b", "d"), False)
    assert wire.merge(old, change) == new
    first = over_the_wire(wire.delta(None, old))
    assert wire.merge(None, first) == old


def test_a_change_that_fits_nothing_is_refused() -> None:
    change = wire.delta(observed_host("a"), observed_host("a"))
    with pytest.raises(wire.WireError):
        wire.merge(None, wire.HostDelta(change.host, same_facts=True, order=None))
    with pytest.raises(wire.WireError):
        wire.merge(observed_host("a"), wire.HostDelta(observed_host(), same_facts=True, order=("x",)))


@pytest.mark.parametrize("kind", wire.VERBS.values())
def test_every_verb_travels(kind: type) -> None:
    types = {"str": "x", "int": 5, "bool": True, "str | None": None}
    verb = kind(**{name: types[str(hint)] for name, hint in kind.__annotations__.items()})
    call = wire.REQUEST.decode(wire.frame(wire.pack(7, "h", verb, 1.5))[wire.LENGTH :])
    assert isinstance(call, wire.Call)
    assert wire.unpack(call) == verb


def test_a_verb_that_is_none_is_refused() -> None:
    call = wire.pack(1, "h", SetAutostart(uuid="x", on=True), 1.0)
    wrong = (("Explode", call.fields), ("Start", msgspec.Raw(b"\xc1")), ("SetAutostart", msgspec.Raw(b"\x80")))
    for name, fields in wrong:
        with pytest.raises(wire.WireError):
            wire.unpack(wire.Call(1, "h", name, fields, 1.0))


@given(st.binary(max_size=64))
async def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    try:
        wire.REQUEST.decode(await wire.read_frame(reader))
    except (wire.WireError, EOFError, msgspec.MsgspecError):
        return


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("test:///srv/a.xml", "/srv/a.xml"),
        ("test:///srv/a%20b.xml", "/srv/a b.xml"),
        ("test:///default", None),
        ("test:///", None),
        ("test+ssh://host/srv/a.xml", None),
        ("test+unix:///srv/a.xml?socket=/x", None),
        ("test://host/srv/a.xml", None),
        ("qemu:///system", None),
        ("qemu+unix:///system?socket=/srv/a.xml", None),
        ("http://[", None),
    ],
)
def test_only_the_test_drivers_own_files_are_written(uri: str, file: str | None) -> None:
    assert file_of(uri) == (None if file is None else Path(file))


# Addresses


class Agents:
    """A connection to a host with leases, and one guest whose agent hangs."""

    def __init__(self) -> None:
        self.leases: dict[str, list[str]] = {}

    def lookupByUUIDString(self, uuid: str) -> Any:
        leases = self.leases

        class Domain:
            def interfaceAddresses(self, source: int, _flags: int) -> dict[str, Any]:
                if source == libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
                    raise error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding")
                return {"vnet0": {"addrs": [{"addr": address} for address in leases.get(uuid, [])]}}

        return Domain()

    def isAlive(self) -> bool:
        return True


def test_addresses_that_nobody_can_use_are_left_out() -> None:
    host = Agents()
    host.leases["a"] = ["127.0.0.1", "10.0.0.5", "fe80::1", "fd00::5", "::1", "169.254.1.1"]
    found = read_addresses(host, ["a", "b"], AddressSource.LEASE)
    assert [address.address for address in found["a"]] == ["10.0.0.5", "fd00::5"]
    assert found["b"] == ()


def test_a_guest_whose_agent_refuses_costs_no_other() -> None:
    assert read_addresses(Agents(), ["a"], AddressSource.AGENT) == {}


def row(uuid: str, state: GuestState, run: int, definition: Definition | None = None, *, answers: bool = True) -> Row:
    return Row(uuid=uuid, name=uuid, run=run, state=state, definition=definition, answers=answers)


def learn(herd: Herd, *rows: Row) -> None:
    herd.learn(Listing(rows=rows, autostart=frozenset(), persistent=frozenset({"a"}), left=()), {})


def measure(herd: Herd, clock_s: float, **cpu_time: int | None) -> None:
    """Full counters of guests by their uuid; None: those of one that the host passed over."""
    asked = {uuid: {"cpu.time": value, "balloon.rss": 9} for uuid, value in cpu_time.items() if value is not None}
    figures = asked | {uuid: {"cpu.time": 1} for uuid in cpu_time.keys() - asked.keys()}
    herd.measure(figures, NodeStats(None, None), clock_s=clock_s, at=AT, full=True)


def test_a_lease_is_a_better_witness_than_an_agent() -> None:
    herd = Herd()
    learn(herd, row("a", GuestState.RUNNING, 1, Definition(vcpus=1)))
    for source in (AddressSource.LEASE, AddressSource.AGENT):
        herd.locate(source, {"a": (GuestAddress(address="10.0.0.5", source=source),)})
    assert [address.source for address in herd.guests[0].addresses] == [AddressSource.LEASE]
    # Another boot may get another address.
    learn(herd, row("a", GuestState.RUNNING, 2))
    assert herd.guests[0].addresses == ()


def test_an_unchanged_guest_is_the_same_object() -> None:
    herd = Herd()
    learn(
        herd,
        row("a", GuestState.OFF, -1, Definition(vcpus=1)),
        row("b", GuestState.RUNNING, 1, Definition(vcpus=1)),
    )
    a, b = herd.guests
    learn(herd, row("a", GuestState.OFF, -1), row("b", GuestState.PAUSED, 1))
    assert herd.guests[0] is a
    assert herd.guests[1] is not b
    assert (herd.guests[0].persistent, herd.guests[1].persistent) == (True, False)


def test_figures_rest_when_the_guest_goes_off() -> None:
    herd = Herd()
    learn(herd, row("a", GuestState.RUNNING, 1, Definition(vcpus=1)))
    measure(herd, 1.0, a=1)
    measure(herd, 3.0, a=1_000_000_001)
    assert herd.guests[0].sample is not None
    assert herd.guests[0].sample.cpu_percent == 50.0
    learn(herd, row("a", GuestState.OFF, -1))
    assert (herd.guests[0].sample, herd.guests[0].cpu_history) == (None, ())


def test_whom_the_host_passes_over_is_asked_whether_it_answers() -> None:
    herd = Herd()
    learn(herd, row("a", GuestState.RUNNING, 1, Definition(vcpus=1)), row("b", GuestState.RUNNING, 2))
    measure(herd, 1.0, a=1, b=1)
    assert herd.doubtful == frozenset()
    measure(herd, 3.0, a=1_000_000_001, b=None)
    assert herd.doubtful == {"b"}
    learn(herd, row("a", GuestState.RUNNING, 1), row("b", GuestState.RUNNING, 2, answers=False))
    measure(herd, 5.0, a=2_000_000_001, b=None)
    a, b = herd.guests
    assert (a.answers, b.answers) == (True, False)
    assert a.sample is not None and a.sample.cpu_percent == 50.0
    assert b.sample is None, "what it last used is not what it uses now"
    assert herd.doubtful == {"b"}, "until it answers"
    learn(herd, row("a", GuestState.RUNNING, 1), row("b", GuestState.RUNNING, 2))
    assert herd.guests[1].answers
    assert herd.doubtful == frozenset()
