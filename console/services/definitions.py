"""The definition that the inventory wants for a guest: its XML, digest and comparable form."""

from __future__ import annotations

from console.domain.model import Fleet, Guest, Host
from console.domain.shape import identity_of, shape_of
from console.domain.standing import Definition
from console.generate.domain_xml import domain_xml


def definition(fleet: Fleet, host: Host, guest: Guest) -> Definition:
    """Return what the domain of this guest would be; see console.domain.standing.Define."""
    xml = domain_xml(fleet, host, guest)
    return Definition(identity_of(xml)[1] or "", shape_of(xml))
