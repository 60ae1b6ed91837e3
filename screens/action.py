"""What an action is: data. A screen carries it out in its method `act_<id>`, with dashes as underscores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from console.domain.plan import Danger
from console.services.wishes import PowerAction
from screens.situation import Available


class Context(StrEnum):
    """The screens that have actions."""

    FLEET = "fleet"
    GUEST = "guest"
    HOST = "host"
    JOBS = "jobs"
    CARDS = "GPU board"


class Group(StrEnum):
    """The sections of the help screen."""

    MOVE = "Move"
    FLEET = "Fleet"
    GUEST = "Guest"
    JOB = "Job"
    CARD = "Card"
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
OPENED = frozenset({Context.GUEST, Context.HOST, Context.JOBS, Context.CARDS})
JOBS = frozenset({Context.JOBS})
CARDS = frozenset({Context.CARDS})
ON_GUESTS = frozenset({Context.FLEET, Context.GUEST})
ON_HOSTS = frozenset({Context.FLEET, Context.HOST})
