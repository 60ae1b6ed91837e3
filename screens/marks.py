"""The guests that are marked, and what can be done to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.domain.model import GuestKey
from console.domain.standing import HostView
from console.inventory.index import natural
from console.services.wishes import PowerAction
from screens.situation import can_power


class Marks:
    """Keys of guests, whatever is filtered or folded. A guest that is gone is no longer marked."""

    def __init__(self) -> None:
        self._keys: set[GuestKey] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    @property
    def keys(self) -> list[GuestKey]:
        """The marked guests in the order of the list."""
        return sorted(self._keys, key=lambda key: (natural(key.host), natural(key.guest)))

    def turn(self, keys: Iterable[GuestKey]) -> None:
        """Mark these guests; when all of them are, take their marks away."""
        given = set(keys)
        if given <= self._keys:
            self._keys -= given
        else:
            self._keys |= given

    def clear(self) -> None:
        """Take all marks away."""
        self._keys.clear()

    def count_in(self, keys: Iterable[GuestKey]) -> int:
        """Return how many of these are marked."""
        return sum(key in self._keys for key in keys)

    def keep(self, views: Sequence[HostView]) -> frozenset[PowerAction]:
        """Forget guests that are gone; return what can be done to at least one of the marked ones."""
        if not self._keys:
            return frozenset()
        pairs = [(view, guest) for view in views for guest in view.guests if guest.key in self._keys]
        self._keys = {guest.key for _, guest in pairs}
        return frozenset(action for action in PowerAction if any(can_power(action, *pair) for pair in pairs))
