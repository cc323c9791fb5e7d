"""Where a call stops, from the rows of a plan; and the pictures of it, for everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from runbook_lib.call_paths import (
    Passage,
    Setting,
    call_paths,
    planned_call_paths,
    settings_in_record,
)
from runbook_lib.keys import Why
from runbook_lib.notebook.diagrams import path_states
from runbook_lib.plan import Action

STEPS = ("1.1", "2.1", "2.2", "2.3", "3.1", "3.2", "4.1", "5.1", "5.2", "5.3", "5.5", "6.1", "6.2")
IN_PLACE = {step: (Action.IN_PLACE, True) for step in STEPS}
NEW = {step: (Action.CREATE, False) for step in STEPS}


def settings(of: dict[str, tuple[Action, bool]]) -> list[Setting]:
    return [Setting(step, action, exists) for step, (action, exists) in of.items()]


def stops(of: dict[str, tuple[Action, bool]], planned: bool = False) -> list[str | None]:
    paths = (planned_call_paths if planned else call_paths)(settings(of))
    return [path.stop.steps[0] if path.stop else None for path in paths]


def without(*steps: str) -> dict[str, tuple[Action, bool]]:
    return {step: value for step, value in IN_PLACE.items() if step not in steps}


#: What is planned; where a call in and a call out stop today, and after the plan.
CASES = {
    "all in place": (IN_PLACE, [None, None], [None, None]),
    "nothing there": (NEW, ["4.1", "6.1"], [None, None]),
    "no inbound rule": (without("6.2"), ["6.2", None], ["6.2", None]),
    "no outbound rule": (without("6.1"), [None, "6.1"], [None, "6.1"]),
    "one origination URI missing": (IN_PLACE | {"3.2": NEW["3.2"]}, [None, None], [None, None]),
    "no origination URI": (IN_PLACE | {"3.1": NEW["3.1"], "3.2": NEW["3.2"]}, ["3.1", None], [None, None]),
    "no address list": (IN_PLACE | {"2.2": NEW["2.2"]}, [None, "2.2"], [None, None]),
    "a number elsewhere": (IN_PLACE | {"4.1": (Action.CONFLICT, True)}, ["4.1", None], ["4.1", None]),
    "a number blocked": (IN_PLACE | {"4.1": (Action.BLOCKED, False)}, ["4.1", None], ["4.1", None]),
    "a password to change": (IN_PLACE | {"5.3": (Action.UPDATE, True)}, [None, None], [None, None]),
    "a rule to remove": (IN_PLACE | {"6.2": (Action.REMOVE, True)}, [None, None], ["6.2", None]),
}


@pytest.mark.parametrize("name", CASES)
def test_where_a_call_stops_before_and_after_a_plan(name: str) -> None:
    of, today, planned = CASES[name]
    assert stops(of) == today
    assert stops(of, planned=True) == planned


@pytest.mark.parametrize("look", [call_paths, planned_call_paths])
def test_numbers_that_ring_nowhere_are_a_stop_also_beside_a_rule_in_place(look: Callable[..., Any]) -> None:
    silent = [Setting("6.2", Action.NOT_MANAGED, True, Why.RINGS_NOWHERE)] * 2
    inward, outward = look([*settings(IN_PLACE), *silent])
    assert inward.stop and inward.stop.steps == ("6.2",) and outward.stop is None
    row = {"step": "6.2", "action": "not managed", "value": "ring nowhere", "why": "rings nowhere"}
    assert settings_in_record([row]) == silent[:1]


ON_TRUNK, NOWHERE = Setting("4.1", Action.IN_PLACE, True), Setting("4.1", Action.CREATE, False)
TAKEN, MOVED = Setting("4.1", Action.CONFLICT, True), Setting("4.1", Action.UPDATE, True)
NOT_NAMED, TO_REMOVE = Setting("4.1", Action.NOT_MANAGED, True), Setting("4.1", Action.REMOVE, True)
SILENT = Setting("6.2", Action.NOT_MANAGED, True, Why.RINGS_NOWHERE)


@pytest.mark.parametrize(
    ("numbers", "today", "planned"),
    [
        ([ON_TRUNK] * 4, (Passage.PASSES, ()), (Passage.PASSES, ())),
        ([ON_TRUNK, *[NOWHERE] * 3], (Passage.SOME_STOP, ("3 of 4",)), (Passage.PASSES, ())),
        # One that something else answers takes nothing from those that are on the trunk, today or later.
        ([*[ON_TRUNK] * 3, TAKEN], (Passage.SOME_STOP, ("1 of 4",)), (Passage.SOME_STOP, ("1 of 4",))),
        ([ON_TRUNK, NOWHERE, TAKEN], (Passage.SOME_STOP, ("2 of 3",)), (Passage.SOME_STOP, ("1 of 3",))),
        ([ON_TRUNK, MOVED], (Passage.SOME_STOP, ("1 of 2",)), (Passage.PASSES, ())),
        ([NOWHERE] * 4, (Passage.STOPS, ()), (Passage.PASSES, ())),
        ([TAKEN] * 2, (Passage.STOPS, ()), (Passage.STOPS, ())),
        # What the parameters do not name is no number of this tenant.
        ([ON_TRUNK, NOT_NAMED], (Passage.PASSES, ()), (Passage.PASSES, ())),
        ([ON_TRUNK, TO_REMOVE], (Passage.DIFFERS, ()), (Passage.PASSES, ())),
    ],
)
def test_each_number_counts_where_only_some_have_the_trunk(
    numbers: list[Setting], today: tuple[Passage, tuple[str]], planned: tuple[Passage, tuple[str]]
) -> None:
    rows = [*settings(without("4.1")), *numbers]
    for look, (passage, words) in ((call_paths, today), (planned_call_paths, planned)):
        hop = look(rows)[0].hops[0]
        assert hop.passage is passage and all(word in hop.why for word in words), hop


def test_numbers_that_ring_nowhere_are_counted_among_those_of_the_tenant() -> None:
    rows = [*settings(without("4.1")), *[ON_TRUNK] * 4, SILENT]
    stop = call_paths(rows)[0].stop
    assert stop and stop.steps == ("6.2",)
    assert stop.passage is Passage.SOME_STOP and "1 of 4" in stop.why
    all_silent = call_paths([*rows, *[SILENT] * 3])[0].stop
    assert all_silent and all_silent.passage is Passage.STOPS


def test_a_hop_where_all_calls_stop_comes_before_one_where_some_do() -> None:
    rows = [*settings(without("4.1", "6.2")), Setting("6.1", Action.IN_PLACE, True), ON_TRUNK, NOWHERE]
    path = call_paths(rows)[0]
    assert path.stop and path.stop.steps == ("6.2",)
    [said] = path_states(("Today", path)).description
    assert "1 of 2" in said and said.startswith("Today: a call stops at the inbound rule")


def test_a_missing_uri_is_counted() -> None:
    origination = call_paths(settings(IN_PLACE | {"3.2": NEW["3.2"]}))[0].hops[2]
    assert origination.passage is Passage.DIFFERS and "1 of 2" in origination.why


def test_what_was_not_read_is_not_called_good() -> None:
    inbound, outbound = call_paths(settings({"1.1": (Action.IN_PLACE, True)}))
    assert [hop.passage for hop in inbound.hops].count(Passage.UNKNOWN) == 4
    assert [hop.passage for hop in outbound.hops].count(Passage.UNKNOWN) == 4
    assert inbound.stop is None


def test_the_rows_of_a_record_may_have_been_changed_by_anybody() -> None:
    good = {"step": "1.1", "action": "create", "value": None}
    assert settings_in_record([good, {}, {"step": "1.1", "action": "smoke"}]) == settings({"1.1": NEW["1.1"]})


def test_a_picture_says_the_same_in_words_and_needs_nothing_else() -> None:
    found, left = call_paths(settings(NEW)), planned_call_paths(settings(without("6.2")))
    for before, after in zip(found, left, strict=True):
        picture = path_states(("Today", before), ("After the plan", after))
        tree = ElementTree.fromstring(picture.svg)
        space = "{http://www.w3.org/2000/svg}"
        assert tree.get("role") == "img"
        assert tree.findtext(f"{space}title") and "Today: a call stops at the" in tree.findtext(
            f"{space}desc", ""
        )
        assert "id=" not in picture.svg and "http" not in picture.svg.replace(
            "http://www.w3.org/2000/svg", ""
        )
        width = float(tree.get("viewBox", "").split()[2])
        for box in tree.iter(f"{space}rect"):
            assert float(box.get("x", "")) + float(box.get("width", "")) <= width
        words = [text.text or "" for text in tree.iter(f"{space}text")]
        assert sum("stops here" in word for word in words) == 5 + (before.is_inbound is True)
        assert len(picture.description) == 2
