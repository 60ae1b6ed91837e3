"""The one registry of actions: it feeds key bindings, footer, command bar and help.

An action is data. A screen carries it out in its method `act_<id>`, with dashes as underscores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from console.domain.plan import Danger
from console.services.wishes import PowerAction
from screens.situation import Available, can, can_cancel, has_rest, managed, one


class Context(StrEnum):
    """The screens that have actions."""

    FLEET = "fleet"
    GUEST = "guest"
    HOST = "host"
    JOBS = "jobs"


class Group(StrEnum):
    """The sections of the help screen."""

    MOVE = "Move"
    FLEET = "Fleet"
    GUEST = "Guest"
    JOB = "Job"
    CONSOLE = "Console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something the operator can do.

    keys: the default keys, separated by commas; shown: the first one as people write it. label: one or two words
    for the footer. help: a sentence for the help screen. writes: it changes something, so a read-only console has
    no key for it. on_guest: it is done to the guest under the cursor, bulk: or to all that are marked.
    available: whether it makes sense now (footer and command bar; a key that is pressed all the same is answered with
    the reason). footer: its place there, 0 for none. command: it is offered in the command bar.
    """

    id: str
    keys: str
    shown: str
    label: str
    help: str
    group: Group
    where: frozenset[Context]
    danger: Danger = Danger.NONE
    writes: bool = False
    on_guest: bool = False
    bulk: bool = False
    available: Available = lambda now: True
    footer: int = 0
    command: bool = True
    power: PowerAction | None = None

    @property
    def handler(self) -> str:
        """The name of the screens' method that carries it out."""
        return "act_" + self.id.replace("-", "_")


EVERYWHERE = frozenset(Context)
FLEET = frozenset({Context.FLEET})
OPENED = frozenset({Context.GUEST, Context.HOST, Context.JOBS})
JOBS = frozenset({Context.JOBS})
ON_GUESTS = frozenset({Context.FLEET, Context.GUEST})
ON_HOSTS = frozenset({Context.FLEET, Context.HOST})


def _power(
    action: PowerAction, key: str, label: str, help: str, *, danger: Danger = Danger.NONE, footer: int = 0
) -> Action:
    return Action(
        id=action.value,
        keys=key,
        shown=key,
        label=label,
        help=help,
        group=Group.GUEST,
        where=ON_GUESTS,
        danger=danger,
        writes=True,
        on_guest=True,
        bulk=True,
        available=can(action),
        footer=footer,
        power=action,
    )


def _move(id: str, keys: str, shown: str, label: str, help: str, where: frozenset[Context]) -> Action:
    return Action(id=id, keys=keys, shown=shown, label=label, help=help, group=Group.MOVE, where=where, command=False)


ACTIONS: tuple[Action, ...] = (
    _move("up", "up,k", "↑", "up", "One row up; k does the same.", EVERYWHERE),
    _move("down", "down,j", "↓", "down", "One row down; j does the same.", EVERYWHERE),
    _move("page-up", "pageup", "PgUp", "page up", "One page up.", EVERYWHERE),
    _move("page-down", "pagedown", "PgDn", "page down", "One page down.", EVERYWHERE),
    _move("first", "home", "Home", "first", "To the first row.", EVERYWHERE),
    _move("last", "end", "End", "last", "To the last row.", EVERYWHERE),
    _move("fold", "left", "←", "fold", "Fold the host; on a guest, go to its host.", FLEET),
    _move("unfold", "right", "→", "unfold", "Unfold the host.", FLEET),
    _move("fold-all", "minus", "-", "fold all", "Fold all hosts; again, unfold all.", FLEET),
    _move(
        "next-problem", "n", "n", "next problem", "To the next row that needs somebody: down, failed or changed.", FLEET
    ),
    Action(
        id="mark",
        keys="space",
        shown="space",
        label="mark",
        help="Mark the guest: what is done to guests is done to all marked ones. On a host: all its guests shown.",
        group=Group.MOVE,
        where=FLEET,
        available=lambda now: now.host is not None,
        footer=17,
    ),
    Action(
        id="mark-all",
        keys="A",
        shown="A",
        label="mark all",
        help="Mark all guests shown; again, take their marks away.",
        group=Group.MOVE,
        where=FLEET,
        available=lambda now: now.hosts > 0,
    ),
    Action(
        id="sort",
        keys="S",
        shown="S",
        label="sort",
        help="Sort the guests of all hosts by the next column: state, CPU, memory, disk, net, address; then the tree "
        "again. The order is renewed every 10 seconds.",
        group=Group.MOVE,
        where=FLEET,
        available=lambda now: now.hosts > 0,
        footer=35,
    ),
    Action(
        id="reverse",
        keys="R",
        shown="R",
        label="turn round",
        help="Turn the order round.",
        group=Group.MOVE,
        where=FLEET,
        available=lambda now: now.hosts > 0,
    ),
    Action(
        id="open",
        keys="enter",
        shown="enter",
        label="open",
        help="Open the host or guest under the cursor.",
        group=Group.FLEET,
        where=FLEET,
        available=lambda now: now.host is not None,
        footer=10,
        command=False,
    ),
    Action(
        id="add-host",
        keys="a",
        shown="a",
        label="add host",
        help="Add a host by its MAC address.",
        group=Group.FLEET,
        where=FLEET,
        writes=True,
        footer=24,
    ),
    Action(
        id="create",
        keys="c",
        shown="c",
        label="create",
        help="Create a guest on the host under the cursor, or on the open one.",
        group=Group.FLEET,
        where=ON_HOSTS,
        writes=True,
        available=lambda now: now.hosts > 0,
        footer=22,
    ),
    Action(
        id="plan",
        keys="p",
        shown="p",
        label="plan",
        help="See what would make the fleet, or the open host or guest, as the inventory wants it; then apply it.",
        group=Group.FLEET,
        where=EVERYWHERE,
        writes=True,
        available=lambda now: now.changes > 0,
        footer=26,
    ),
    Action(
        id="remove-host",
        keys="",
        shown="",
        label="remove host",
        help="Take the host under the cursor out of the inventory; it asks first.",
        group=Group.FLEET,
        where=FLEET,
        danger=Danger.TYPE_NAME,
        writes=True,
        available=lambda now: now.host is not None and now.guest is None,
    ),
    Action(
        id="remove-this-host",
        keys="D",
        shown="D",
        label="remove host",
        help="Take the host out of the inventory once it has no guests; it asks first.",
        group=Group.FLEET,
        where=frozenset({Context.HOST}),
        danger=Danger.TYPE_NAME,
        writes=True,
        available=lambda now: now.host is not None and not now.host.wanted.guests,
        footer=36,
    ),
    _power(PowerAction.START, "s", "start", "Start the guest; one that is pending is made first.", footer=12),
    _power(
        PowerAction.SHUTDOWN,
        "x",
        "shut down",
        "Ask the guest to shut down, and wait until it is off.",
        danger=Danger.CONFIRM,
        footer=14,
    ),
    _power(PowerAction.FORCE_OFF, "X", "force off", "Cut the guest's power.", danger=Danger.CONFIRM),
    _power(PowerAction.REBOOT, "b", "reboot", "Ask the guest to reboot.", danger=Danger.CONFIRM, footer=34),
    _power(PowerAction.RESET, "B", "reset", "Press the guest's reset button.", danger=Danger.CONFIRM),
    _power(PowerAction.SUSPEND, "z", "suspend", "Pause the guest: its CPUs stand still, its memory stays."),
    _power(PowerAction.RESUME, "Z", "resume", "Let a paused guest go on.", footer=13),
    Action(
        id="edit",
        keys="e",
        shown="e",
        label="edit",
        help="Edit the guest.",
        group=Group.GUEST,
        where=ON_GUESTS,
        writes=True,
        on_guest=True,
        available=one,
        footer=20,
    ),
    Action(
        id="autostart",
        keys="t",
        shown="t",
        label="autostart",
        help="Start the guest with its host, or no longer.",
        group=Group.GUEST,
        where=ON_GUESTS,
        writes=True,
        on_guest=True,
        bulk=True,
        available=lambda now: now.marked > 0 or managed(now),
    ),
    Action(
        id="remove",
        keys="D",
        shown="D",
        label="remove",
        help="Remove the guest; its disks stay on the host.",
        group=Group.GUEST,
        where=ON_GUESTS,
        danger=Danger.CONFIRM,
        writes=True,
        on_guest=True,
        available=lambda now: one(now) and not can(PowerAction.FORCE_OFF)(now),
    ),
    Action(
        id="open-job",
        keys="enter",
        shown="enter",
        label="open",
        help="Show the job alone, with all its steps and the last lines of its journal.",
        group=Group.JOB,
        where=JOBS,
        available=lambda now: now.job is not None,
        footer=10,
        command=False,
    ),
    Action(
        id="job-rest",
        keys="r",
        shown="r",
        label="do the rest",
        help="Plan what the job left: what failed or was not begun, less what is so already. Shown before it runs.",
        group=Group.JOB,
        where=JOBS,
        writes=True,
        available=has_rest,
        footer=12,
    ),
    Action(
        id="job-cancel",
        keys="x",
        shown="x",
        label="cancel",
        help="Ask the job to end: the step that runs is finished first, the others are not begun.",
        group=Group.JOB,
        where=JOBS,
        danger=Danger.CONFIRM,
        writes=True,
        available=can_cancel,
        footer=14,
    ),
    Action(
        id="follow",
        keys="f",
        shown="f",
        label="newest",
        help="Follow the newest job: whenever one begins, it is the one shown.",
        group=Group.JOB,
        where=JOBS,
        available=lambda now: now.job is not None and not now.following,
        footer=16,
    ),
    Action(
        id="filter",
        keys="slash",
        shown="/",
        label="filter",
        help="Show only rows with this text in name, label, address, state or host; all words must be found. "
        "!word: not this; -f: letters in this order; -l gpu: label; state:off; host:vhost-a (* for any letters).",
        group=Group.CONSOLE,
        where=FLEET,
        available=lambda now: now.hosts > 0,
        footer=30,
    ),
    Action(
        id="command",
        keys="colon",
        shown=":",
        label="command",
        help="Type what to do or where to go: every action, host and guest by name.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
        footer=32,
        command=False,
    ),
    Action(
        id="back",
        keys="escape",
        shown="esc",
        label="back",
        help="Back to where you came from; in the fleet, show all rows again.",
        group=Group.CONSOLE,
        where=OPENED,
        footer=8,
        command=False,
    ),
    Action(
        id="show-all",
        keys="escape",
        shown="esc",
        label="show all",
        help="End the filter; then take the marks away; then show the tree again.",
        group=Group.CONSOLE,
        where=FLEET,
        available=lambda now: now.narrowed or now.sorted or now.marked > 0,
        footer=9,
        command=False,
    ),
    Action(
        id="quit",
        keys="q,ctrl+q",
        shown="q",
        label="quit",
        help="Leave the console. Guests and hosts go on as they are.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
        footer=90,
    ),
    Action(
        id="jobs",
        keys="J",
        shown="J",
        label="jobs",
        help="What is and was carried out, by whoever: each step live, cancel, do the rest.",
        group=Group.CONSOLE,
        where=EVERYWHERE - JOBS,
        footer=28,
    ),
    Action(
        id="history",
        keys="H",
        shown="H",
        label="history",
        help="Who changed what in the inventory, and when; undo the last change.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
        writes=True,
    ),
    Action(
        id="theme",
        keys="T",
        shown="T",
        label="theme",
        help="The next theme: dark, light, contrast, terminal (its 16 colours); it is kept as yours.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
    ),
    Action(
        id="picture",
        keys="P",
        shown="P",
        label="picture",
        help="Save a picture (SVG) of this screen in the folder that the console was started in.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
    ),
    Action(
        id="help",
        keys="question_mark,f1",
        shown="?",
        label="help",
        help="All keys and signs.",
        group=Group.CONSOLE,
        where=EVERYWHERE,
        footer=99,
    ),
)

BY_ID = {action.id: action for action in ACTIONS}


def actions_in(context: Context) -> Iterator[Action]:
    """Yield the actions of a screen, in the registry's order."""
    return (action for action in ACTIONS if context in action.where)
