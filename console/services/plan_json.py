"""A plan as JSON and back, so that another process can carry it out, or its rest later.

What a plan only shows (the diffs of files) is left out. A verb is written with the name of its class: a union of
dataclasses has no tag of its own.
"""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType

import msgspec

from console.domain.errors import FleetError
from console.domain.model import GuestKey
from console.domain.observed import GuestState
from console.domain.plan import Danger, Difference, InventoryChange, Plan, Step
from console.domain.verbs import Verb

VERBS: MappingProxyType[str, type[Verb]] = MappingProxyType({kind.__name__: kind for kind in Verb.__args__})

Named = tuple[str, msgspec.Raw]


class _Step(msgspec.Struct, frozen=True):
    host: str
    sentence: str
    verb: Named
    guest: GuestKey | None
    undo: Named | None
    undo_sentence: str
    wait_for: GuestState | None
    wait_s: float
    timeout_s: float
    devices: tuple[str, ...] = ()


class _Plan(msgspec.Struct, frozen=True):
    title: str
    change: InventoryChange | None
    steps: tuple[_Step, ...]
    differences: tuple[Difference, ...]
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]
    pending: tuple[GuestKey, ...]
    danger: Danger
    confirm_word: str
    stop_after: int | None
    rest_of: str


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(_Plan)
VERB_DECODERS = MappingProxyType({name: msgspec.json.Decoder(kind) for name, kind in VERBS.items()})


def plan_to_json(plan: Plan) -> bytes:
    """Return the plan as one line of JSON, without its files."""
    facts = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name not in ("files", "steps")}
    return ENCODER.encode(_Plan(steps=tuple(_packed(step) for step in plan.steps), **facts))


def plan_from_json(text: bytes | msgspec.Raw) -> Plan:
    """Return the plan of a JSON text. Raises FleetError for what is none, whoever wrote it."""
    try:
        found = DECODER.decode(text)
        facts = {name: getattr(found, name) for name in _Plan.__struct_fields__ if name != "steps"}
        return Plan(steps=tuple(_unpacked(step) for step in found.steps), **facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FleetError("This is no plan.", f"{error}.") from None


def _packed(step: Step) -> _Step:
    facts = {field.name: getattr(step, field.name) for field in fields(step)}
    undo = _named(step.undo) if step.undo is not None else None
    return _Step(**facts | {"verb": _named(step.verb), "undo": undo})


def _unpacked(step: _Step) -> Step:
    facts = {name: getattr(step, name) for name in _Step.__struct_fields__}
    undo = _verb(step.undo) if step.undo is not None else None
    return Step(**facts | {"verb": _verb(step.verb), "undo": undo})


def _named(verb: Verb) -> Named:
    return type(verb).__name__, msgspec.Raw(ENCODER.encode(verb))


def _verb(named: Named) -> Verb:
    name, facts = named
    if name not in VERB_DECODERS:
        raise msgspec.ValidationError(f"no verb {name!r}")
    return VERB_DECODERS[name].decode(facts)
