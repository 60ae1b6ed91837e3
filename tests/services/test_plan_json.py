"""A plan as JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.domain.errors import FleetError
from console.domain.model import Fleet, GuestKey
from console.domain.move import inventory_change
from console.domain.observed import GuestState
from console.domain.plan import Danger, Difference, FileDiff, Plan, Step
from console.services.plan_json import VERBS, plan_from_json, plan_to_json
from tests.sound import sound_fleets

texts = st.text(max_size=20)
keys = st.builds(GuestKey, texts, texts)
verbs = st.sampled_from(sorted(VERBS)).flatmap(lambda name: st.builds(VERBS[name]))
seconds = st.floats(0, 1e6)
steps = st.builds(
    Step,
    host=texts,
    sentence=texts,
    verb=verbs,
    guest=st.none() | keys,
    undo=st.none() | verbs,
    undo_sentence=texts,
    wait_for=st.none() | st.sampled_from(GuestState),
    wait_s=seconds,
    timeout_s=seconds,
)
lines = st.lists(texts, max_size=2).map(tuple)
differences = st.builds(Difference, guest=keys, fact=texts, seen=st.none() | texts, wanted=st.none() | texts)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    fleets: st.SearchStrategy[Fleet] = sound_fleets()
    change = inventory_change(draw(texts), draw(fleets), draw(fleets), taken_back=draw(st.booleans()))
    return Plan(
        title=draw(texts),
        change=draw(st.sampled_from([None, change])),
        steps=tuple(draw(st.lists(steps, max_size=4))),
        differences=tuple(draw(st.lists(differences, max_size=2))),
        refusals=draw(lines),
        warnings=draw(lines),
        pending=tuple(draw(st.lists(keys, max_size=2))),
        danger=draw(st.sampled_from(Danger)),
        confirm_word=draw(texts),
        stop_after=draw(st.none() | st.integers(0, 9)),
        rest_of=draw(texts),
    )


@settings(max_examples=40, deadline=None)
@given(plans())
def test_a_plan_comes_back_as_it_was_on_one_line(plan: Plan) -> None:
    text = plan_to_json(plan)
    assert b"\n" not in text
    assert plan_from_json(text) == plan
    shown = replace(plan, files=(FileDiff(name="a", summary="b", diff="c"),))
    assert plan_to_json(shown) == text, "what is only shown is left out"


def plain() -> dict[str, object]:
    step = Step(host="a", sentence="x", verb=VERBS["Start"](uuid="u"))  # type: ignore[call-arg]
    found: dict[str, object] = json.loads(plan_to_json(Plan(title="t", steps=(step,))))
    return found


@pytest.mark.parametrize(
    "verb", [["Nothing", {}], ["Start", {}], ["Start", {"uuid": 1}], ["Start"], {"uuid": "u"}, None, ["__class__", {}]]
)
def test_what_is_no_verb_is_refused(verb: object) -> None:
    data = plain()
    data["steps"][0]["verb"] = verb  # type: ignore[index]
    with pytest.raises(FleetError, match="This is no plan"):
        plan_from_json(json.dumps(data).encode())


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"null", b'{"title": 1}', b"\xff\xfe", b"[" * 100_000, b'{"title": "\xc3"}']
)
def test_what_is_no_plan_is_refused(text: bytes) -> None:
    with pytest.raises(FleetError, match="This is no plan"):
        plan_from_json(text)
