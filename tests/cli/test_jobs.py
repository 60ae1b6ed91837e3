"""qd job: list, show, follow, cancel, retry; in words and as JSON."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from console.domain.clock import utc_now
from console.domain.model import GuestKey
from console.domain.plan import Plan, Step
from console.domain.verbs import Suspend
from console.services.journal import begin_journal
from tests.cli.place import Place

PLAN = Plan(
    title="Suspend vhost-c/cache-1",
    steps=(
        Step(
            host="vhost-c",
            guest=GuestKey("vhost-c", "cache-1"),
            sentence="suspend cache-1\x1b[31m",
            verb=Suspend(uuid="not that of any guest"),
        ),
    ),
)


def test_a_job_is_listed_shown_and_followed(place: Place, demo: Path) -> None:
    assert place.ok("job", "list") == "No jobs yet.\n"
    assert 'There is no job "last".' in place.refused("job", "show", "last")
    place.ok("guest", "suspend", "cache-1")
    place.ok("guest", "resume", "cache-1")
    newest, oldest = place.json("job", "list")
    assert (newest["title"], oldest["title"]) == ("Resume vhost-c/cache-1", "Suspend vhost-c/cache-1")
    assert newest["state"] == "done" and newest["steps"][0]["state"] == "done" and newest["rest"] == 0
    lines = place.ok("--read-only", "job", "list").splitlines()
    assert lines[0].split() == ["JOB", "STATE", "STEPS", "WHEN", "TOOK", "WHO", "WHAT"]
    assert lines[1].startswith(f"{newest['job']}  done     1/1") and lines[1].endswith("Resume vhost-c/cache-1")
    for name in ("last", newest["job"], newest["job"][-6:]):
        assert place.json("job", "show", name) == newest
    text = place.ok("job", "show", oldest["job"])
    assert "  done     vhost-c  suspend cache-1" in text and "Suspend vhost-c/cache-1: done." in text
    followed = place.ok("job", "follow", "last").splitlines()
    assert followed[0].endswith("vhost-c  resume cache-1: running") and followed[-1] == "Resume vhost-c/cache-1: done."
    assert set(place.ok("__names", "jobs").split()) == {"last", newest["job"], oldest["job"]}


@pytest.mark.parametrize("what", ["show", "follow", "cancel", "retry"])
def test_what_is_no_job_is_refused(place: Place, demo: Path, what: str) -> None:
    assert "may be 2 jobs" in place.refused("job", what, "20")
    assert "There is no job" in place.refused("job", what, "../x\x1b[31m")


def test_a_job_that_ended_is_neither_cancelled_nor_done_again(place: Place, demo: Path) -> None:
    assert "has ended already" in place.refused("job", "cancel", "last")
    assert place.ok("job", "retry", "last") == "Rest of: Resume vhost-c/cache-1: nothing to do.\n"
    assert "is not for a read-only console" in place.refused("--read-only", "job", "retry", "last")
    assert "is not for a read-only console" in place.refused("--read-only", "job", "cancel", "last")


def test_an_interrupted_job_of_hostile_make_is_shown_and_not_done(place: Place, demo: Path) -> None:
    _, descriptor = begin_journal(demo, PLAN, utc_now)
    os.close(descriptor)
    text = place.ok("job", "show", "last")
    assert "interrupted" in text and "suspend cache-1\\x1b[31m" in text and "\x1b" not in text
    assert "1 step; do it with: qd job retry" in text
    assert "is for another domain than that of cache-1" in place.refused("job", "retry", "last")
    done = place.qd("job", "follow", "last")
    assert done.returncode == 1 and "Its process ended before it could say" in done.stdout


def test_jobs_are_no_part_of_the_repository(place: Place, demo: Path) -> None:
    status = subprocess.run(["git", "status", "--short"], cwd=demo, capture_output=True, text=True, check=True)
    assert status.stdout == "" and list((demo / ".quarterdeck/jobs").iterdir())
