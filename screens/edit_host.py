"""Edit a host's own facts: the form of a new host, filled in, then the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from console.domain.plan import Plan
from screens.add_host import FACTS, AddHost
from screens.form import Field

if TYPE_CHECKING:
    from console.services.session import Session


class EditHost(AddHost):
    """Changes a host of the inventory. Its name stays: the names of files and machines follow from it.

    A pinned key stays as well when the address changes: the host has to prove by it that it is the same one.
    """

    CSS_PATH = AddHost.CSS_PATH
    PAGES = (("host", ("mac", "address", "labels", "uri", "disk", "netboot")), *AddHost.PAGES[1:])
    VERB = "change it"

    def __init__(self, session: Session, host: str) -> None:
        super().__init__(session)
        self.host = host
        self.before = self.wish = session.host_wish_of(host)

    def heading(self) -> str:
        """Return which host is changed."""
        return f"Edit {self.host}"

    def fields(self, page: int) -> list[Field]:
        """Return the fields of a page; there is none for the name."""
        return [field for field in super().fields(page) if page != FACTS or field.key != "name"]

    def known_key(self) -> str:
        """Return the key that is pinned."""
        return self.before.ssh_host_key

    def find_problems(self) -> Mapping[str, str]:
        """Return the service's problems with the wish."""
        return self.session.host_problems(self.wish, self.host)

    def make_plan(self) -> Plan:
        """Plan what differs."""
        before = asdict(self.before)
        changes = {key: value for key, value in asdict(self.wish).items() if value != before[key]}
        return self.session.plan_set_host(self.host, changes)
