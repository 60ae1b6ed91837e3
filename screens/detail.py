"""What is known of the row under the cursor: three lines below the list, or all of it beside the list. Pure."""

from __future__ import annotations

from screens.guest_detail import addresses, devices, graphs, guest_bars, guest_facts, guest_summary, standing
from screens.host_detail import host_lines, host_resources, host_standing, host_summary
from screens.states import guest_state, host_state
from screens.subject import Subject, block, one_line, title_line
from screens.widgets import Line


def brief(subject: Subject, width: int) -> list[Line]:
    """Return three lines for below the list."""
    if subject.guest is None:
        return [host_summary(subject, width), host_resources(subject), *one_line(host_standing(subject), width)]
    return [
        guest_summary(subject, subject.guest, width),
        guest_bars(subject, subject.guest, width),
        *one_line(standing(subject, subject.guest), width),
    ]


def full(subject: Subject, width: int, height: int) -> list[Line]:
    """Return all that is known, for a pane of this size; the graphs take what height there is."""
    guest = subject.guest
    if guest is None:
        return [title_line(subject.host.name, host_state(subject.host, subject.now)), (), *host_lines(subject, width)]
    head = [title_line(str(guest.key), guest_state(guest, subject.now)), *block(standing(subject, guest), width), ()]
    facts = guest_facts(guest, subject.now, width)
    tail = [(), *devices(subject, guest, width), (), *addresses(guest)]
    room = height - len(head) - len(facts) - len(tail) - 1
    rows = max(1, min(4, room // 4))
    apart = rows > 1 and 4 * (rows + 1) <= room
    past = graphs(subject, guest, width, rows, apart=apart)
    return [*head, *facts, *([()] if past else []), *past, *tail]
