"""Jobs as processes: what ends a console, a terminal or the job itself loses nothing, and a retry does the rest."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from console.domain.job import Job, JobState
from console.domain.plan import StepState
from console.services.jobs import Jobs
from tests.pty.place import QD, Inventory, end
from tests.pty.terminal import ROOT

pytestmark = pytest.mark.pty

DEADLINE_S = 40.0
STEPS = 3
"""Of a create with --start: the disk, the definition, the start."""

CREATE = [
    *("guest", "create", "new", "--host", "vhost-a", "--start"),
    *("--vcpus", "1", "--memory", "1GiB", "--disk", "1GiB"),
]


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:.0f} s"
        time.sleep(0.02)


def jobs(demo: Inventory) -> tuple[Job, ...]:
    """The jobs as every console reads them, the newest first."""
    reader = Jobs(demo.folder)
    try:
        return reader.read()
    finally:
        reader.close()


def ended(demo: Inventory, state: JobState) -> Job:
    """The newest job, once it stands so."""
    until(lambda: jobs(demo) and jobs(demo)[0].state is state, f"the job is {state.value}")
    return jobs(demo)[0]


def waits(demo: Inventory) -> None:
    """Wait until the newest job waits for the host that another one holds."""
    until(lambda: jobs(demo) and any("anna@desk" in line for line in jobs(demo)[0].lines), "the job waits")


def is_made(demo: Inventory) -> bool:
    """Whether the guest runs, is committed once, and nothing is left to do anywhere."""
    guest = json.loads(demo.qd("guest", "show", "vhost-a/new", "--json"))
    settled = demo.is_whole() and "nothing to do" in demo.qd("plan", "vhost-a/new")
    return guest["state"] == "running" and demo.commits().count("Create vhost-a/new") == 1 and settled


@contextmanager
def busy(demo: Inventory, host: str = "vhost-a") -> Iterator[None]:
    """Another job holds the host."""
    folder = demo.folder / ".quarterdeck/locks"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{host}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, b"anna@desk: Apply the fleet (process 1)")
    try:
        yield
    finally:
        os.close(descriptor)


class Stopped:
    """A create whose job stands at one point. console: the process that began it. job: the process of the job."""

    def __init__(self, demo: Inventory, point: str, folder: Path, gpu: str = "") -> None:
        self.demo, self._folder = demo, folder
        environment = {**demo.place.environment, "QD_STOP": point, "QD_STOP_FOLDER": str(folder)}
        command = [sys.executable, "-m", "tests.pty.stopping", "create", str(demo.folder), "new", gpu]
        self.console = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
        until(lambda: (folder / "reached").exists(), f"the job is at {point!r}")
        (self.job,) = job_processes(demo.folder)

    def go_on(self) -> None:
        """Have the job go on."""
        (self._folder / "go").touch()

    def kill(self, process: int) -> None:
        """Kill a process as the kernel does when memory is short."""
        os.kill(process, signal.SIGKILL)
        if process == self.console.pid:
            self.console.wait()
        else:
            until(lambda: process not in job_processes(self.demo.folder), "the job's process is gone")

    def close(self) -> None:
        self.go_on()
        for process in job_processes(self.demo.folder):
            end(process)
        if self.console.poll() is None:
            self.console.kill()
        self.console.wait()


def job_processes(folder: Path) -> list[int]:
    """The processes that carry out jobs of this inventory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        ours = os.fsencode(folder) in words and b"create" not in words
        if ours and {b"console.job_process", b"tests.pty.stopping"} & set(words):
            found.append(int(entry.parent.name))
    return found


@contextmanager
def stopped(demo: Inventory, point: str, gpu: str = "") -> Iterator[Stopped]:
    made = Stopped(demo, point, demo.place.folder, gpu)
    try:
        yield made
    finally:
        made.close()


POINTS = [f"{when} {number}" for number in range(STEPS) for when in ("before", "after")]


def points(*quick: str) -> list[Any]:
    """All points; those that are not quick are for the long run."""
    return [p if p in quick else pytest.param(p, marks=pytest.mark.slow) for p in ("commit", *POINTS)]


@pytest.mark.parametrize("point", points("commit", "before 1"))
def test_a_console_that_is_killed_in_the_middle_of_a_step_leaves_its_job_to_end(demo: Inventory, point: str) -> None:
    with stopped(demo, point) as made:
        made.kill(made.console.pid)
        assert jobs(demo)[0].state is JobState.RUNNING
        made.go_on()
        job = ended(demo, JobState.DONE)
    assert [step.state for step in job.steps] == [StepState.DONE] * STEPS
    assert is_made(demo)


@pytest.mark.parametrize("point", points("commit", "before 1", "after 1"))
def test_a_job_that_is_killed_is_interrupted_and_a_retry_does_what_is_left(demo: Inventory, point: str) -> None:
    with stopped(demo, point) as made:
        made.kill(made.job)
        job = ended(demo, JobState.INTERRUPTED)
        assert made.console.wait(DEADLINE_S) == 0, "who followed it is told, and goes on"
        done = {step.sentence for step in job.steps if step.state is StepState.DONE}
        assert job.rest == STEPS - len(done) and len(done) == (int(point[-1]) if point != "commit" else 0)
        demo.qd("job", "retry", "last")
        again = [step.sentence for step in jobs(demo)[0].steps]
        assert not done & set(again)
        if point.startswith("after"):
            assert len(again) == STEPS - len(done) - 1, "the step that was under way was done, as the host shows"
        assert is_made(demo)
        assert jobs(demo)[1].rest == 0


def test_a_job_checks_the_devices_itself_before_it_starts_their_guest(demo: Inventory) -> None:
    """What was true when the job began is not any more when its guest is to be started."""
    file = demo.folder / "hosts/vhost-a.toml"
    with stopped(demo, "after 1", gpu="65:00") as made:
        text = file.read_text(encoding="utf-8")
        before, name, own = text.partition("[guests.new.devices.gpu0]")
        assert name and '"10de:2206"' in own
        file.write_text(before + name + own.replace('"10de:2206"', '"10de:2204"', 1), encoding="utf-8")
        made.go_on()
        job = ended(demo, JobState.FAILED)
        assert made.console.wait(DEADLINE_S) == 0
    last = job.steps[-1]
    assert last.sentence == "start new" and last.state is StepState.FAILED
    assert "vhost-a/new was not started: The hardware changed: 0000:65:00 on vhost-a holds 10de:2206" in last.detail


def test_qd_that_is_killed_leaves_its_job_to_end(demo: Inventory) -> None:
    with busy(demo):
        command = [*QD, "--inventory", str(demo.folder), *CREATE]
        qd = subprocess.Popen(command, env=demo.place.environment, cwd=ROOT, stdin=subprocess.DEVNULL)
        waits(demo)
        qd.kill()
        qd.wait()
        assert jobs(demo)[0].state is JobState.RUNNING
    ended(demo, JobState.DONE)
    assert is_made(demo)


def test_a_terminal_that_hangs_up_leaves_the_job_to_end(demo: Inventory) -> None:
    with busy(demo):
        terminal = demo.place.open("--inventory", demo.folder, *CREATE)
        waits(demo)
        terminal.close()
        (job,) = job_processes(demo.folder)
        os.kill(job, signal.SIGHUP)
    ended(demo, JobState.DONE)
    assert is_made(demo)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_see_and_end_it(demo: Inventory) -> None:
    with busy(demo):
        terminal = demo.place.open("--inventory", demo.folder, *CREATE, columns=120)
        waits(demo)
        terminal.press("ctrl+c")
        terminal.wait("goes on", "qd job follow", "qd job cancel")
        assert terminal.ended() == 130
        demo.qd("job", "cancel", "last")
        ended(demo, JobState.CANCELLED)
    assert demo.commits().count("Create vhost-a/new") == 0 and demo.is_whole()
    assert "new" not in demo.qd("guest", "list")


def test_a_host_that_stays_busy_is_refused_with_who_is_at_it(demo: Inventory) -> None:
    with busy(demo):
        said = demo.qd(*CREATE, status=1)
    assert "vhost-a is busy with another job." in said and "anna@desk: Apply the fleet" in said
    assert demo.commits().count("Create vhost-a/new") == 0 and demo.is_whole()


def test_an_operator_with_folders_of_his_own_sees_follows_and_ends_the_job(demo: Inventory, tmp_path: Path) -> None:
    environment = dict(demo.place.environment)
    for name in ("STATE_HOME", "CONFIG_HOME"):
        environment[f"XDG_{name}"] = str(tmp_path / name)
    environment |= {"LOGNAME": "bert"}

    def other(*words: str, status: int = 0) -> str:
        command = [*QD, "--inventory", str(demo.folder), *words]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout

    with stopped(demo, "before 1") as made:
        assert "running" in other("job", "list")
        assert "Create new on vhost-a" in other("--read-only", "job", "show", "last")
        other("job", "cancel", "last")
        assert jobs(demo)[0].state is JobState.CANCELLING
        made.go_on()
        text = other("job", "follow", "last", status=1)
    assert "bert@" in text and "asks it to end" in text and "Create new on vhost-a: cancelled." in text
    job = jobs(demo)[0]
    assert [step.state for step in job.steps] == [StepState.UNDONE, StepState.UNDONE, StepState.SKIPPED]
    assert job.change_state is StepState.UNDONE and demo.is_whole()


def test_the_end_of_the_machine_is_heard_between_two_steps(demo: Inventory) -> None:
    with stopped(demo, "before 1") as made:
        os.kill(made.job, signal.SIGTERM)
        made.go_on()
        job = ended(demo, JobState.CANCELLED)
    assert any("SIGTERM" in line for line in job.lines) and demo.is_whole()
    demo.qd("job", "retry", "last")
    guest = json.loads(demo.qd("guest", "show", "vhost-a/new", "--json"))
    assert guest["state"] == "running" and demo.is_whole()
