"""Each fact that is wrong is one line with a way out; what is good is said too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.domain.errors import Fault, FleetError, InventoryError
from console.domain.machine import Folder, Machine, Program, Sharing, StaleProcess, Terminal
from console.domain.model import Accel
from console.domain.record import RepositoryState
from console.services.doctor import (
    Finding,
    Mark,
    generated_findings,
    host_findings,
    inventory_findings,
    machine_findings,
    repository_findings,
    sharing_findings,
    terminal_findings,
)
from console.services.generated import Findings
from tests.services.world import World

SOUND = Machine(
    python="3.11.2",
    libvirt=Program(version="9.0.0"),
    git=Program(version="2.39.5"),
    git_identity="Ada <ada@example.org>",
    ssh=Program(version="9.2p1"),
    terminal=Terminal(term="xterm-256color", colours=256, columns=120, lines=40, locale="C.UTF-8"),
    folders=(Folder(what="state", path="/s", mode=0o700), Folder(what="runtime", path="/r")),
    log="/s/qd.log",
    log_bytes=None,
)
GONE = Program(fault="it is not installed")


def not_good(findings: list[Finding]) -> list[Finding]:
    wrong = [finding for finding in findings if finding.mark is not Mark.GOOD]
    assert all(finding.remedy and "\n" not in finding.sentence + finding.remedy for finding in wrong)
    return wrong


def test_a_sound_machine_has_nothing_to_mend() -> None:
    assert not_good(machine_findings(SOUND, None)) == []


@pytest.mark.parametrize(
    ("machine", "mark", "what", "word"),
    [
        (replace(SOUND, libvirt=GONE), Mark.BAD, "libvirt", "libvirt0"),
        (replace(SOUND, git=GONE), Mark.WARN, "git", "apt install git"),
        (replace(SOUND, git_identity=""), Mark.WARN, "git", "user.name"),
        (replace(SOUND, ssh=GONE), Mark.BAD, "ssh", "openssh-client"),
        (replace(SOUND, folders=(Folder(what="state", path="/s", mode=0o755),)), Mark.WARN, "state", "chmod 700 /s"),
        (replace(SOUND, folders=(Folder(what="state", path="/s", mode=0o700, mine=False),)), Mark.BAD, "state", "/s"),
        (
            replace(SOUND, folders=(Folder(what="state", path="/s", mode=0o500, writable=False),)),
            Mark.BAD,
            "state",
            "chmod 700",
        ),
        (replace(SOUND, stale=(StaleProcess(pid=77, why="its folder is gone"),)), Mark.WARN, "process", "kill 77"),
    ],
)
def test_what_a_machine_lacks(machine: Machine, mark: Mark, what: str, word: str) -> None:
    [finding] = not_good(machine_findings(machine, None))
    assert (finding.mark, finding.what) == (mark, what)
    assert word in finding.remedy


@pytest.mark.parametrize(
    ("terminal", "what", "word"),
    [
        (replace(SOUND.terminal, term=""), "terminal", "TERM is not set"),
        (replace(SOUND.terminal, term="dumb"), "terminal", "TERM is dumb"),
        (replace(SOUND.terminal, term="\x1b[2J", colours=None), "terminal", "does not know"),
        (replace(SOUND.terminal, term="vt100", colours=0), "terminal", "0 colours"),
        (replace(SOUND.terminal, columns=79), "size", "79 by 40"),
        (replace(SOUND.terminal, locale="de_DE.ISO-8859-1"), "locale", "not UTF-8"),
        (replace(SOUND.terminal, locale=""), "locale", "not UTF-8"),
    ],
)
def test_what_a_terminal_lacks(terminal: Terminal, what: str, word: str) -> None:
    [finding] = not_good(terminal_findings(terminal))
    assert finding.what == what
    assert word in finding.sentence
    assert "\x1b" not in finding.sentence


def test_the_inventory_is_missing_or_has_faults() -> None:
    missing = FleetError("There is no inventory in /x.", "no file.", "Make one with: qd init /x")
    [finding] = not_good(inventory_findings("/x", missing, ()))
    assert finding.mark is Mark.BAD and "qd init" in finding.remedy
    faults = (Fault("fleet.toml", 3, "name", "is missing."), Fault("hosts/a.toml", None, "", "is empty."))
    for failure, given in ((None, faults), (InventoryError("It cannot be used.", faults), ())):
        found = not_good(inventory_findings("/x", failure, given))
        assert [f.sentence for f in found] == [str(fault) for fault in faults]
        assert "/x/fleet.toml" in found[0].remedy
    assert not_good(inventory_findings("/x", None, ())) == []


def test_the_repository() -> None:
    def only(state: RepositoryState | FleetError) -> Finding:
        [finding] = not_good(repository_findings("/x", state))
        return finding

    assert not_good(repository_findings("/x", RepositoryState(upstream="origin/main"))) == []
    assert only(RepositoryState(present=False)).mark is Mark.WARN
    diverged = only(RepositoryState(upstream="origin/main", ahead=1, behind=1))
    assert diverged.mark is Mark.BAD and "pull --rebase" in diverged.remedy and "refused" in diverged.sentence
    assert "merge" in only(RepositoryState(operation="merge")).sentence
    assert only(RepositoryState(upstream="origin/main", ahead=2)).remedy == "git -C /x push"
    loose = only(RepositoryState(uncommitted=("hosts/a.toml", "b", "c c", "d")))
    assert "hosts/a.toml, b, c c and 1 more" in loose.sentence
    assert loose.remedy == "git -C /x add -- hosts/a.toml b 'c c' d && git -C /x commit"
    kept = only(RepositoryState(uncommitted=("hosts/a.toml.edited",)))
    assert "hosts/a.toml.edited" in kept.sentence and "Compare" in kept.remedy and "git" not in kept.remedy
    assert only(FleetError("git failed.", "Why.", "The way out.")).remedy == "The way out."
    locked = only(RepositoryState(locks=("/x/.git/index.lock",)))
    assert locked.mark is Mark.BAD and locked.remedy.endswith("rm /x/.git/index.lock") and "killed" in locked.sentence


def test_who_can_work_on_the_inventory() -> None:
    own = Sharing(path="/x", owner="ada", group="ada", mode=0o755, shared=False, git=False)
    [finding] = sharing_findings(own)
    assert finding.mark is Mark.GOOD and finding.sentence == "Only ada changes it."
    [finding] = not_good(sharing_findings(replace(own, writable=False, member=False)))
    assert "belongs to ada" in finding.sentence and "docs/ssh.md" in finding.remedy
    ours = Sharing(path="/x y", owner="ada", group="ops", mode=0o2775, shared=True, members=("ada", "bob"), git=True)
    [finding] = sharing_findings(ours)
    assert finding.mark is Mark.GOOD and finding.sentence == "Shared with group ops (ada, bob)."
    [finding] = not_good(sharing_findings(replace(ours, writable=False, member=False)))
    assert "usermod -aG ops" in finding.remedy
    [finding] = not_good(sharing_findings(replace(ours, unshared=("hosts/a.toml", "b", "c", "d"))))
    assert "hosts/a.toml, b, c and 1 more" in finding.sentence and "chgrp -R ops '/x y'" in finding.remedy
    [finding] = not_good(sharing_findings(replace(ours, git=False)))
    assert finding.remedy == "git -C '/x y' config core.sharedRepository group"


def test_generated_files() -> None:
    assert not_good(generated_findings(Findings())) == []
    [finding] = not_good(generated_findings(Findings(stale=dict.fromkeys("abcd", (None, "")))))
    assert finding.remedy == "qd generate" and "a, b, c and 1 more" in finding.sentence
    [finding] = not_good(generated_findings(Findings(edited={"a": ("", None)})))
    assert finding.remedy == "qd generate --check" and "refused" in finding.sentence


async def test_hosts(world: World) -> None:
    await world.see()
    assert [f.mark for f in host_findings(world.session.store.hosts())] == [Mark.GOOD, Mark.GOOD]
    world.host.accel = Accel.TCG
    world.fake.hosts["vhost-b"].up = False
    await world.see()
    slow, silent = host_findings(world.session.store.hosts())
    assert (slow.mark, silent.mark) == (Mark.WARN, Mark.BAD)
    assert "without KVM" in slow.sentence
    assert silent.what == "host vhost-b" and "ping 10.0.0.12" in silent.remedy
    assert (await world.apply(world.session.plan_set_host("vhost-b", {"ssh_host_key": ""}))).ok
    unpinned = host_findings(world.session.store.hosts())[1]
    assert unpinned.mark is Mark.BAD and unpinned.remedy == "qd host key vhost-b"
