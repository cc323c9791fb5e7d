"""Plans: what the digest covers, documents, and the comparison with an approved slice."""

from __future__ import annotations

import dataclasses
import json

import pytest

from runbook_lib.plan import Action, Effect, Plan, Row, Slice, deviations

ROW = Row("3.1", "us1 priority", 10, 99, Action.UPDATE)
DONE = Row("3.1", "us1 priority", 10, 10, Action.IN_PLACE)


def plan_of(*rows: Row, **changes: object) -> Plan:
    given = {"target": {"target": "sandbox"}, "tenant": "acme", "secrets": {"sip": "env:SIP"}, **changes}
    return Plan(**given, slices=(Slice("03", rows),))


@pytest.mark.parametrize(
    "other",
    [
        plan_of(ROW, target={"target": "live"}),
        plan_of(ROW, tenant="globex"),
        plan_of(ROW, secrets={"sip": "env:OTHER"}),
        *(
            plan_of(dataclasses.replace(ROW, **{name: value}))
            for name, value in {
                "step": "3.2",
                "setting": "us2 priority",
                "desired": 11,
                "current": 98,
                "action": Action.REPLACE,
                "effect": Effect.INTERRUPTS_INBOUND,
            }.items()
        ),
        plan_of(ROW, dataclasses.replace(ROW, setting="us1 weight")),
    ],
)
def test_digest_covers_everything_that_matters(other: Plan) -> None:
    assert other.digest != plan_of(ROW).digest


@pytest.mark.parametrize(
    "same",
    [
        plan_of(dataclasses.replace(ROW, note="another reason")),
        plan_of(ROW, DONE),
        plan_of(ROW, Row("2.2", "address", None, "x", Action.NOT_MANAGED)),
        plan_of(ROW, created="2026-01-01T00:00:00+00:00"),
    ],
)
def test_digest_leaves_out_what_changes_nothing(same: Plan) -> None:
    assert same.digest == plan_of(ROW).digest
    assert same.digest.startswith("sha256:")


def test_document_round_trip() -> None:
    plan = plan_of(ROW, DONE)
    assert Plan.from_document(json.loads(json.dumps(plan.to_document()))) == plan


@pytest.mark.parametrize("damage", ["desired", "digest", "format", "slices", "tenant"])
def test_edited_document_is_refused(damage: str) -> None:
    document = json.loads(json.dumps(plan_of(ROW).to_document()))
    if damage == "desired":
        document["slices"][0]["rows"][0]["desired"] = 11
    elif damage == "slices":
        del document["slices"]
    else:
        document[damage] = "changed"
    with pytest.raises(ValueError, match=r"plan|digest|format"):
        Plan.from_document(document)


def test_a_row_in_place_is_not_made_a_change_in_the_file() -> None:
    """Apply takes it for done, whatever an approver was shown of it."""
    changing_nothing = plan_of(dataclasses.replace(DONE, action=Action.UPDATE)).to_document()
    with pytest.raises(ValueError, match="changes nothing"):
        Plan.from_document(changing_nothing)


@pytest.mark.parametrize(
    ("live", "count"),
    [
        ([ROW], 0),
        ([DONE], 0),
        ([dataclasses.replace(ROW, action=Action.NOT_MANAGED)], 1),
        ([dataclasses.replace(ROW, current=5)], 1),
        ([dataclasses.replace(ROW, effect=Effect.INTERRUPTS_INBOUND)], 1),
        ([dataclasses.replace(DONE, desired=11, current=11)], 1),
        ([ROW, dataclasses.replace(ROW, setting="us1 weight")], 1),
        ([], 1),
    ],
)
def test_deviations_of_live_rows(live: list[Row], count: int) -> None:
    assert len(deviations(Slice("03", (ROW,)), live)) == count


def test_removed_thing_that_is_gone_is_done() -> None:
    row = Row("4.1", "+12025550101", None, "acme-pbx.pstn.twilio.com", Action.REMOVE)
    assert deviations(Slice("04", (row,)), []) == []
