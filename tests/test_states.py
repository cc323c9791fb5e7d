"""A section's state in one word: what an operator who sees only the word would do."""

from __future__ import annotations

import pytest

from runbook_lib.guide import RUN_ORDER
from runbook_lib.keys import Why
from runbook_lib.plan import PASSWORD_AT_PBX, Action, Row
from runbook_lib.states import OwnerStates, SectionState, State, invalid_owner, next_step, section_state


def row(action: Action, current: str | None = None, why: Why | None = None, field: str = "") -> Row:
    return Row("3.1", f"{action} {current} {why}", "wanted", current, action, why=why, field=field)


IN_PLACE = row(Action.IN_PLACE, "wanted")
CREATE = row(Action.CREATE)
UPDATE = row(Action.UPDATE, "other")
CONFLICT = row(Action.CONFLICT, "other", Why.NOT_OURS)
PERMISSION = row(Action.CONFLICT, "other", Why.NO_LEAVE)
NEW_IN_PERMISSION = row(Action.CONFLICT, None, Why.NO_LEAVE)
BLOCKED = row(Action.BLOCKED, None, Why.BLOCKED_BY_SECTION)
SILENT = row(Action.NOT_MANAGED, "+12025550101", Why.RINGS_NOWHERE)
NO_ADDRESS = row(Action.NOT_MANAGED, "none", Why.NO_EMERGENCY_ADDRESS)
NOT_OURS = row(Action.NOT_MANAGED, "other", Why.NOT_OURS)
PASSWORD = row(Action.UPDATE, "set, cannot be read", field=PASSWORD_AT_PBX)
UNREADABLE = row(Action.UNREADABLE, "set")


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], State.NOT_ASKED),
        ([NOT_OURS], State.NOT_ASKED),
        ([IN_PLACE], State.IN_PLACE),
        ([IN_PLACE, NOT_OURS, UNREADABLE], State.IN_PLACE),
        ([CREATE, CREATE], State.TO_DO),
        # A password that goes out with the rest does not say that something is there already.
        ([CREATE, PASSWORD], State.TO_DO),
        ([IN_PLACE, PASSWORD], State.IN_PLACE),
        ([UPDATE], State.DIFFERS),
        ([CREATE, UPDATE], State.DIFFERS),
        # Part of it was taken away by hand.
        ([IN_PLACE, CREATE], State.DIFFERS),
        ([IN_PLACE, row(Action.REMOVE, "other")], State.DIFFERS),
        ([IN_PLACE, PERMISSION], State.DIFFERS),
        ([NEW_IN_PERMISSION], State.DIFFERS),
        ([IN_PLACE, CONFLICT], State.CONFLICT),
        ([CREATE, BLOCKED], State.CONFLICT),
        ([IN_PLACE, SILENT], State.RINGS_NOWHERE),
        ([SILENT], State.RINGS_NOWHERE),
        ([CREATE, SILENT], State.TO_DO),
        ([IN_PLACE, NO_ADDRESS], State.CHECK),
    ],
)
def test_a_word_for_the_rows_of_a_section(rows: list[Row], state: State) -> None:
    assert section_state(rows).state is state


def tenant(name: str, *, shared: bool = False, **sections: State) -> OwnerStates:
    states = {number: SectionState(sections.get(f"s{number}", State.IN_PLACE)) for number in RUN_ORDER}
    return OwnerStates(name, shared, states)


FINE = tenant("fine")
NEW = tenant("new", **dict.fromkeys((f"s{number}" for number in RUN_ORDER[1:]), State.TO_DO))


@pytest.mark.parametrize(
    ("rows", "killed", "named"),
    [
        ([], (), ("parameter file",)),
        ([FINE, tenant("other")], (), ("Nothing to do",)),
        ([FINE, NEW], (), ("new", "6 sections")),
        # What is there and differs may be hurting somebody now; what is new waits.
        ([NEW, tenant("moved", s03=State.DIFFERS)], (), ("moved", "section 03")),
        # Of a tenant that is not set up, what differs is part of setting it up.
        ([tenant("half", s05=State.TO_DO, s04=State.DIFFERS)], (), ("Set up half",)),
        ([NEW, tenant("taken", s04=State.CONFLICT)], (), ("taken", "section 04")),
        # The trunk that others use comes before them.
        ([NEW, tenant("trunk-x", shared=True, s01=State.TO_DO)], (), ("Set up trunk-x",)),
        ([FINE, tenant("silent", s06=State.RINGS_NOWHERE)], (), ("silent", "inbound rule", "section 06")),
        # Callers who hear an error come before somebody who is not set up yet.
        (
            [tenant("new", s01=State.TO_DO), tenant("silent", s06=State.RINGS_NOWHERE)],
            (),
            ("silent", "section 06"),
        ),
        ([FINE, tenant("plain", s00=State.CHECK)], (), ("plain", "section 00")),
        ([NEW, invalid_owner("wrong.yaml", "x")], (), ("wrong.yaml", "parameters")),
        ([NEW], ["20260101T000000Z-000001"], ("records close 20260101T000000Z-000001",)),
    ],
)
def test_the_next_step_is_the_most_urgent_one(
    rows: list[OwnerStates], killed: list[str], named: tuple[str, ...]
) -> None:
    sentence = next_step("demo", rows, killed)
    assert all(words in sentence for words in named), sentence
    assert sentence.endswith(".")
