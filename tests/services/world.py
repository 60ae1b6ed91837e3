"""A small fleet on hosts in memory, and a session on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.domain.model import GuestKey
from console.domain.plan import Outcome, Plan, Progress
from console.domain.verbs import Verb
from console.drivers.base import Repository
from console.services.session import Session
from console.services.wishes import BootChoice, GuestWish
from tests.fakes import (
    GIB,
    FakeHardware,
    FakeHost,
    FakeHostKeys,
    FakeHypervisors,
    FakeRepository,
    FakeRunner,
    FakeWatch,
    pci_card,
)

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC7OjStmcpGbLxEsTgF0QXauf3wNle8x9KNwvg3kSyAH"

FLEET = """\
version = 1
name = "cellar"
id = "64e6dadd-df2b-40b0-ae70-9039ed5ff8d0"   # marks our domains

[networks.lan]
bridge = "br0"        # the switch in rack 1
subnet = "10.0.0.0/24"
gateway = "10.0.0.1"

[pools.default]
path = "/var/lib/libvirt/images"
"""

HOST = f"""\
# The first one we bought.
mac = "52:54:00:10:00:0a"   # left port
address = "10.0.0.11/24"
ssh_host_key = "{HOST_KEY}"

# Serves the shop.
[guests.web]
uuid = "03dd873c-3bb7-4a79-b514-052cbd8e0b3f"
vcpus = 2       # half of what it had
memory = "4 GiB"
boot = ["disk:boot"]

[guests.web.disks.boot]
size = "20 GiB"
target = "vda"
source = {{ image = "debian-13.qcow2", mode = "copy" }}

[guests.web.nics.lan]
network = "lan"
mac = "52:54:00:20:00:01"
address = "10.0.0.51/24"
"""

OTHER_HOST = f"""\
mac = "52:54:00:10:00:0b"
address = "10.0.0.12/24"
ssh_host_key = "{HOST_KEY}"
accel = "kvm"
"""

RTX = "0000:65:00"
ASPEED = "0000:02:00"
HALF = "0000:03:00"
A4000 = "0000:b3:00"
X710 = "0000:3b:00"
WEB = GuestKey("vhost-a", "web")
NEW = GuestKey("vhost-a", "new")

CARDS = (
    *pci_card("0000:64:00", ["8086:2030"], ["0x060400"], product="Root Port", group=27),
    *pci_card(RTX, ["10de:2206", "10de:1aef"], ["0x030000", "0x040300"], product="GeForce RTX 3080", group=28, numa=1),
    *pci_card(ASPEED, ["1a03:2000"], ["0x030000"], product="ASPEED Graphics Family", group=13),
    *pci_card(
        HALF,
        ["1002:73e3"],
        ["0x030000"],
        product="Radeon PRO W6600",
        group=1,
        members=["0000:03:00.0", "0000:64:00.0", "0000:05:00.0"],
    ),
    *pci_card("0000:05:00", ["144d:a80a"], ["0x010802"], product="NVMe 980PRO", group=1),
    *pci_card(A4000, ["10de:24b0", "10de:228b"], ["0x030000", "0x040300"], product="RTX A4000", group=41, numa=1),
    *pci_card(X710, ["8086:1572"], ["0x020000"], product="X710", group=21),
)


@dataclass(slots=True)
class World:
    """An inventory in a folder, its hosts in memory, and the session that works on both."""

    folder: Path
    state: Path
    fake: FakeHypervisors
    repository: Repository
    session: Session
    progress: list[Progress]
    runner: FakeRunner
    hardware: FakeHardware

    @property
    def host(self) -> FakeHost:
        return self.fake.hosts["vhost-a"]

    async def see(self) -> None:
        """Have the store know what the hosts report now."""
        await self.session.observe(list(self.session.store.fleet.hosts), timeout_s=1)

    async def apply(self, plan: Plan) -> Outcome:
        """Apply a plan and look at the hosts again."""
        outcome = await self.session.apply(plan, self.progress.append)
        await self.see()
        return outcome

    async def create(self, *, start: bool = False, **facts: object) -> Outcome:
        """Create a guest; see `wish`."""
        return await self.apply(self.session.plan_create(wish(**facts), start=start))

    async def verbs_of(self, make: Callable[[], Plan]) -> list[Verb]:
        """Return the verbs that applying a plan asks for."""
        before = len(self.fake.verbs)
        await self.apply(make())
        return [verb for _, verb in self.fake.verbs[before:]]

    def files(self) -> dict[str, str]:
        """Every file of the inventory."""
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not {".git", ".quarterdeck"} & set(path.relative_to(self.folder).parts)
        }

    def listings(self) -> object:
        """All that the hosts have."""
        return {name: host.listings() for name, host in self.fake.hosts.items()}

    def edit(self, file: str, old: str, new: str) -> None:
        """Edit a file by hand."""
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new, 1))


def wish(**facts: object) -> GuestWish:
    """Return a wish for a guest "new" on vhost-a that boots from an image."""
    given = {
        "host": "vhost-a",
        "name": "new",
        "vcpus": "2",
        "memory": "2 GiB",
        "disk": "20 GiB",
        "boot": BootChoice.IMAGE,
        "image": "debian-13.qcow2",
    }
    return GuestWish(**(given | facts))  # type: ignore[arg-type]


def hosts() -> list[FakeHost]:
    """Return the two hosts, with nothing on them."""
    first = FakeHost(
        name="vhost-a",
        pci=CARDS,
        pools={"default": {"debian-13.qcow2": 3 * GIB, "install.iso": GIB}, "fast": {}},
        paths={"default": "/var/lib/libvirt/images", "fast": "/srv/fast"},
    )
    return [first, FakeHost(name="vhost-b", pci=CARDS)]


def write(folder: Path, *, host: str = HOST) -> None:
    """Write the inventory's files."""
    (folder / "hosts").mkdir(parents=True)
    (folder / "fleet.toml").write_text(FLEET)
    (folder / "hosts/vhost-a.toml").write_text(host)
    (folder / "hosts/vhost-b.toml").write_text(OTHER_HOST)


def open_world(folder: Path, fakes: Sequence[FakeHost], state: Path, repository: Repository | None = None) -> World:
    """Return a world of these hosts on the inventory in `folder`."""
    fake = FakeHypervisors(*fakes)
    kept = repository or FakeRepository()
    hardware = FakeHardware()
    runner = FakeRunner(fake, kept, hardware)
    session = Session(
        folder=folder,
        state=state,
        hypervisors=fake,
        repository=kept,
        host_keys=FakeHostKeys(HOST_KEY),
        watch=FakeWatch(),
        targets=lambda fleet: (),
        hardware=hardware,
        fingerprint=lambda key: f"SHA256:{len(key)}",
        runner=runner,
    )
    return World(folder, state, fake, kept, session, [], runner, hardware)
