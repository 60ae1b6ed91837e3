"""Jobs as lines: a row in the list, all that is known of one, the last ones of a host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from console.domain.job import Job, JobState, JobStep
from console.domain.plan import StepState
from screens.actions import BY_ID
from screens.figures import age
from screens.lines import facts, hanging, title
from screens.offers import key_of
from screens.plan_lines import StepRow, ending, step_lines
from screens.widgets import Line, Span, fit, line_width

STATES: dict[JobState, Span] = {
    JobState.RUNNING: ("↻ running", "accent"),
    JobState.CANCELLING: ("↻ cancelling", "warn"),
    JobState.DONE: ("✔ done", "good"),
    JobState.FAILED: ("✖ failed", "bad"),
    JobState.CANCELLED: ("– cancelled", "warn"),
    JobState.INTERRUPTED: ("✖ interrupted", "bad"),
    JobState.UNKNOWN: ("? unknown", "warn"),
}

STATE = 14
"""Cells of the state's column."""

LATEST = 5
"""Jobs of a host that its screen shows."""

CALM = frozenset({StepState.DONE, StepState.WAITING})
"""Steps that give way where not all of them fit."""


def running(jobs: Sequence[Job]) -> int:
    """Return how many jobs have not ended."""
    return sum(not job.state.ended for job in jobs)


def whose(job: Job, operator: str) -> str:
    """Return who began a job; nothing when it was this operator."""
    return "" if job.operator == operator else job.operator


def moment(at: datetime, now: datetime) -> str:
    """Return a local time, with the day when it is another one: "14:03", "11-20 14:03"."""
    local = at.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else f"{local:%m-%d %H:%M}"


def took(job: Job, now: datetime) -> str:
    """Return how long a job took, or runs; nothing of one that ended nobody knows when."""
    if job.ended_at is None and job.state.ended:
        return ""
    return age(job.at, job.ended_at or now)


def done_of(job: Job) -> str:
    """Return how far a job is: "3/5", the inventory's change counted as a step."""
    states = [step.state for step in job.steps] + ([job.change_state] if job.change else [])
    return f"{sum(state is StepState.DONE for state in states)}/{len(states)}" if states else ""


def job_rows(jobs: Sequence[Job], cursor: int, now: datetime, operator: str, width: int) -> list[Line]:
    """Return a line for each job: state, title, who when it was another, when, how long, how far."""
    cells = [(whose(job, operator), moment(job.at, now), took(job, now), done_of(job)) for job in jobs]
    who, when, long, far = (max((line_width([(row[place], "")]) for row in cells), default=0) for place in range(4))
    who = min(who, 14)
    gaps = 2 * sum(bool(column) for column in (who, when, long, far))
    room = max(12, width - 2 - STATE - who - when - long - far - gaps)
    lines: list[Line] = []
    for place, (job, (name, at, lasted, steps)) in enumerate(zip(jobs, cells, strict=True)):
        here = place == cursor
        state, style = STATES[job.state]
        line: list[Span] = [("▸ " if here else "  ", "accent"), (fit(state, STATE), style)]
        line.append((fit(job.title, room), "strong" if here else ""))
        line += [(f"  {fit(name, who)}", "accent")] if who else []
        line += [(f"  {fit(at, when, right=True)}", "quiet"), (f"  {fit(lasted, long, right=True)}", "")]
        line += [(f"  {fit(steps, far, right=True)}", "quiet")] if far else []
        lines.append(line)
    return lines


def job_detail(
    job: Job, now: datetime, width: int, height: int | None = None, *, can_change: bool = True
) -> list[Line]:
    """Return all that is known of a job; where there is a height, no more than fits: calm steps give way first.

    can_change: the ways on (do the rest) are said.
    """
    head = _head(job, now, width)
    tail = _tail(job, width, can_change=can_change)
    steps = _rows(job, now)
    journal = [hanging([("  ", "")], line, "quiet", width) for line in job.lines]
    if height is None:
        body = step_lines(steps, width)
        last = [line for lines in journal for line in lines]
        return [*head, (), *body, *([(), *tail] if tail else []), *([(), title("Last lines"), *last] if last else [])]
    most = max(2, (height - len(head) - 2) // 2)
    if len(tail) > most:
        tail = [*tail[: most - 1], [(f"  … {key_of(BY_ID['open-job'])} shows all", "quiet")]]
    room = max(1, height - len(head) - 1 - (len(tail) + 1 if tail else 0))
    body = _fitting(steps, room, width)
    lines = [*head, (), *body, *([(), *tail] if tail else [])]
    left = height - len(lines) - 2
    last = [line for entry in journal for line in entry][-left:] if left > 0 else []
    return [*lines, *([(), title("Last lines"), *last] if last else [])]


def host_jobs(jobs: Sequence[Job], host: str, now: datetime, operator: str, width: int) -> list[Line]:
    """Return the last jobs that touched a host, newest first; nothing when there are none."""
    latest = [job for job in jobs if host in job.hosts][:LATEST]
    if not latest:
        return []
    rows = job_rows(latest, -1, now, operator, width - 1)
    return [[(" JOBS", "quiet")], *([(line[0][0][1:], ""), *line[1:]] for line in rows)]


def _head(job: Job, now: datetime, width: int) -> list[Line]:
    state, style = STATES[job.state]
    lines = hanging([], job.title, "title", width)
    if width >= line_width(lines[-1]) + STATE + 3:
        lines[-1] = [*lines[-1], (f"   {state}", style)]
    else:
        lines.append([(state, style)])
    began = f"{job.at.astimezone():%Y-%m-%d %H:%M:%S} by {job.operator}"
    lasted = took(job, now)
    if lasted:
        began += f", {'took' if job.state.ended else 'for'} {lasted}"
    rows = [("began", began)]
    if far := done_of(job):
        rows.append(("steps", f"{far} done"))
    return [*lines, *facts(rows, width, label_width=7)]


def _rows(job: Job, now: datetime) -> list[StepRow]:
    rows = [StepRow(place="inventory", sentence=job.change, state=job.change_state)] if job.change else []
    return rows + [
        StepRow(
            place=step.host, sentence=step.sentence, state=step.state, detail=step.detail, note=_since(step, job, now)
        )
        for step in job.steps
    ]


def _since(step: JobStep, job: Job, now: datetime) -> str:
    """Say how long a step has been running, from the second second on."""
    if step.state is not StepState.RUNNING or step.at is None or job.state.ended:
        return ""
    lasted = age(step.at, now)
    return "" if lasted in ("0s", "1s") else f"({lasted})"


def _fitting(rows: Sequence[StepRow], room: int, width: int) -> list[Line]:
    """Return as many steps as fit: what runs and what failed first, then the steps around it."""
    whole = step_lines(rows, width)
    if len(whole) <= room:
        return whole
    live = next((place for place, row in enumerate(rows) if row.state not in CALM), None)
    if live is None:
        live = next((place for place, row in enumerate(rows) if row.state is StepState.WAITING), len(rows) - 1)
    first, last = live, live + 1
    while first > 0 or last < len(rows):
        # After what matters come the next steps, then those before.
        wider = (first, last + 1) if last < len(rows) else (first - 1, last)
        if _needed(rows, *wider, width) > room:
            wider = (first - 1, last) if first > 0 else (first, last)
            if wider == (first, last) or _needed(rows, *wider, width) > room:
                break
        first, last = wider
    lines = [_more(first, "before")] if first else []
    lines += step_lines(rows[first:last], width)
    return lines + ([_more(len(rows) - last, "after")] if last < len(rows) else [])


def _needed(rows: Sequence[StepRow], first: int, last: int, width: int) -> int:
    return len(step_lines(rows[first:last], width)) + bool(first) + (last < len(rows))


def _more(count: int, where: str) -> Line:
    return [(f"     … {count} step{'' if count == 1 else 's'} {where}", "quiet")]


def _tail(job: Job, width: int, *, can_change: bool) -> list[Line]:
    if job.state is JobState.CANCELLING:
        return hanging([("↻ ", "warn")], "It was asked to end: the step that runs is finished first.", "", width)
    lines: list[Line] = []
    if can_change and job.state.ended and job.rest:
        left = "1 step is left" if job.rest == 1 else f"{job.rest} steps are left"
        lines += hanging(
            [("→ ", "accent")], f"{left}: {key_of(BY_ID['job-rest'])} shows a plan that does the rest.", "", width
        )
    if job.outcome is not None:
        told = [step.detail for step in job.steps if step.state is StepState.FAILED]
        lines += ending(job.outcome, width, told)
    elif job.state is JobState.INTERRUPTED:
        text = "Its process is gone and it never said how it ended: power cut, or killed. What was done stays."
        lines += hanging([("✖ ", "bad")], text, "", width)
    elif job.state is JobState.UNKNOWN:
        lines += hanging([("? ", "warn")], "Its journal cannot be read.", "", width)
    return lines
