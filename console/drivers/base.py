"""What services ask of the outside world. `tests/fakes.py` implements the same Protocols in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from console.domain.hardware import HostHardware, SeenByGuest, Use
from console.domain.model import Accel, Host, Ssh
from console.domain.observed import HostObservation
from console.domain.record import Commit, RepositoryState
from console.domain.verbs import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTarget:
    """How to reach one host: its libvirt URI, complete, with the SSH wrapper in it where SSH is used.

    refusal: a sentence when the host must not be contacted (no pinned key); then uri is not used.
    accel: what the inventory keeps of an earlier trial of KVM; None has the driver find out by trying.
    """

    name: str
    uri: str
    refusal: str = ""
    accel: Accel | None = None


class Repository(Protocol):
    """The version control of an inventory."""

    async def commit(self, folder: Path, files: Sequence[str], message: str, *, by_hand: bool = False) -> str | None:
        """Commit exactly these files (new, changed or deleted); return the commit's short id.

        by_hand: they hold what people wrote, and the commit is not marked as a change by Quarterdeck.

        Returns None when the folder is in no repository or nothing changed. Raises FleetError when git refuses;
        the files then stay as they are, uncommitted.
        """

    async def init(self, folder: Path) -> None:
        """Make the folder a repository, if it is in none."""

    async def standing(self, folder: Path) -> RepositoryState:
        """Return how the repository stands, from what this machine knows; present is False where there is none."""

    async def log(self, folder: Path, limit: int) -> tuple[Commit, ...]:
        """Return the newest commits that touched the folder, newest first; none without a repository."""

    async def commit_named(self, folder: Path, name: str) -> str | None:
        """Return the full name of the commit that a name means ("HEAD~2", "3f2a1c9"), None when there is none."""

    async def diff(self, folder: Path, commit: str) -> str:
        """Return what a commit changed in the folder, as a unified diff. Raises FleetError for an unknown one."""

    async def texts(self, folder: Path, commit: str) -> Mapping[str, str]:
        """Return fleet.toml and the hosts' files as they were at a commit. Raises FleetError for an unknown one."""


class HardwareReader(Protocol):
    """What hosts' kernels say of their devices."""

    async def read(self, host: Host, ssh: Ssh, *, timeout_s: float) -> HostHardware:
        """Return what the host's kernel says now. Raises HostUnreachable, and FleetError where there is none to ask."""

    async def use(self, host: Host, ssh: Ssh, *, timeout_s: float) -> Mapping[str, Use]:
        """Return function -> how much it works now, of cards of NVIDIA's driver: the kernel does not tell it of them.

        Apart from `read`, since their tool can hang with its card. Raises as `read` does.
        """


class Watch(Protocol):
    """The file system's word that an inventory was changed by somebody."""

    def changes(self, folder: Path) -> AsyncIterator[None]:
        """Yield after fleet.toml or a host's file changed, coalesced; ends when cancelled."""


class HostKeys(Protocol):
    """The SSH host keys of hosts that are not pinned yet."""

    async def fetch(self, uri: str, ssh: Ssh, *, timeout_s: float) -> str:
        """Return the public key ("ssh-ed25519 AAAA...") that the host of a qemu+ssh URI offers now.

        ssh: how hosts are reached; of that the jump host alone matters, and what gets past it.

        Nothing vouches for it: the operator compares its fingerprint. Raises HostUnreachable or FleetError.
        """


class JobRunner(Protocol):
    """Carries jobs out beside us, so that they go on when we end."""

    async def start(self, folder: Path, journal: Path, descriptor: int, targets: tuple[HostTarget, ...]) -> None:
        """Somebody carries out the job of this journal now, and writes into it how that goes.

        folder: the inventory. descriptor: the journal, open for writing; whoever carries the job out shares it, and
        with it the journal's lock, until the job has ended. Closing ours is left to us. targets: how the hosts of the
        inventory are reached. Raises FleetError when nobody can be started: then nothing was done.
        """


class Hypervisors(Protocol):
    """The fleet's libvirt connections, however they are held."""

    async def set_targets(self, targets: tuple[HostTarget, ...]) -> None:
        """From now on exactly these hosts are observed; an unchanged host keeps its connection."""

    async def observe(self, host: str, *, timeout_s: float) -> HostObservation:
        """Return what the host reports, read after this call began.

        A host that does not answer in time is returned as DOWN with the last known guests; never raises for it.
        """

    def updates(self) -> AsyncIterator[Mapping[str, HostObservation]]:
        """Yield changed hosts by name, coalesced (at most 4 times a second); first all that is known."""

    async def call(self, host: str, verb: Verb, *, timeout_s: float) -> None:
        """Carry out one verb. Raises HostUnreachable when the host is down, FleetError when it refuses."""

    async def ask_guests(
        self, host: str, functions: Mapping[str, str], *, timeout_s: float
    ) -> Mapping[str, SeenByGuest]:
        """Return function -> what the guest that has it says of it, for those that a running guest has.

        functions: of the host, each with vendor and device. Files of the guests' kernels are read through their
        agents, and nothing is executed. Raises HostUnreachable when the host is down, FleetError where guests are not
        spoken to.
        """

    async def focus(self, host: str | None) -> None:
        """Poll this host first."""

    async def write_calls(self) -> Mapping[str, int]:
        """Return how many libvirt calls that change something were made per host since the process began."""

    async def close(self) -> None:
        """Let go of the connections; nothing on any host changes."""
