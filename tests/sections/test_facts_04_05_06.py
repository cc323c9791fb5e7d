"""Sections 4, 5 and 6 without a server: facts in, rows out, and nothing is sent for it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from runbook_lib.keys import Why
from runbook_lib.plan import CHANGING, Action, Effect
from runbook_lib.records.customer import customers_copy
from runbook_lib.resources.pbx_trunk import InPbx, desired_fields
from runbook_lib.resources.rules import RulesAsRead
from runbook_lib.sections import s04_numbers as s04
from runbook_lib.sections import s05_pbx_trunk as s05
from runbook_lib.sections import s06_next_steps as s06
from tests.sections.from_facts import DIDS, DOMAIN, GLOBEX, TRUNK, Make, marks_of, rows_of, sdk

IN_PBX = InPbx(({"id": "P1", "name": "PortSIP acme", "did_numbers": "12025550101-12025550104"},))


def number(did: str, trunk: str | None = None, *, voice: bool = True, url: str = "", sid: str = "") -> Any:
    return sdk(
        sid=sid or f"PN{did}",
        phone_number=did,
        trunk_sid=trunk,
        voice_application_sid=None,
        voice_url=url,
        capabilities={"voice": voice},
    )


def inbound(dids: str, **fields: Any) -> dict[str, Any]:
    return {"id": "I1", "name": "In", "enabled": True, "provider_id": "P1", "did_numbers": dids, **fields}


def outbound(**route: Any) -> dict[str, Any]:
    return {"id": "O1", "name": "Out", "enabled": True, "routes": [{"provider_id": "P1", **route}]}


def facts_04(*found: Any, **more: Any) -> s04.Facts:
    return s04.Facts(TRUNK, {"TK1": DOMAIN, "TK2": "other.pstn.twilio.com"}, found, **more)


SERVING = number(DIDS[0], url="https://example.com/answer")
COVERED = RulesAsRead(IN_PBX.ids, (inbound("12025550101"),))


@pytest.mark.parametrize(
    ("facts", "parameters", "action", "effect"),
    [
        (facts_04(), {}, Action.CONFLICT, Effect.NONE),
        (facts_04(number(DIDS[0], "TK1")), {}, Action.IN_PLACE, Effect.NONE),
        (facts_04(number(DIDS[0])), {}, Action.CREATE, Effect.NONE),
        (facts_04(number(DIDS[0], url="https://demo.twilio.com/welcome")), {}, Action.UPDATE, Effect.NONE),
        (facts_04(number(DIDS[0], voice=False)), {}, Action.CONFLICT, Effect.NONE),
        (facts_04(number(DIDS[0], "TK2")), {}, Action.CONFLICT, Effect.NONE),
        (facts_04(SERVING), {}, Action.CONFLICT, Effect.NONE),
        (facts_04(SERVING), {"move": [DIDS[0]]}, Action.BLOCKED, Effect.NONE),
        (facts_04(SERVING, in_pbx=IN_PBX), {"move": [DIDS[0]]}, Action.BLOCKED, Effect.NONE),
        (
            facts_04(SERVING, in_pbx=IN_PBX, rules=COVERED),
            {"move": [DIDS[0]]},
            Action.UPDATE,
            Effect.INTERRUPTS_INBOUND,
        ),
        (
            facts_04(SERVING, in_pbx=IN_PBX),
            {"move": [DIDS[0]], "accept_unrouted": True},
            Action.UPDATE,
            Effect.INTERRUPTS_INBOUND,
        ),
        (
            facts_04(SERVING),
            {"move": [DIDS[0]], "accept_unrouted": True, "ahead": "05"},
            Action.UPDATE,
            Effect.INTERRUPTS_INBOUND,
        ),
        (s04.Facts(), {}, Action.BLOCKED, Effect.NONE),
    ],
)
def test_a_number(
    section: Make, facts: s04.Facts, parameters: dict[str, Any], action: Action, effect: Effect
) -> None:
    row = rows_of(section("04", facts, **parameters))[0]
    assert (row.step, row.setting, row.action, row.effect) == ("4.1", DIDS[0], action, effect)


@pytest.mark.parametrize(
    ("rules", "parameters", "action"),
    [
        (RulesAsRead(), {}, Action.NOT_MANAGED),
        (RulesAsRead(), {"remove": ["+12025550109"]}, Action.REMOVE),
        (
            RulesAsRead(IN_PBX.ids, (inbound("12025550109"),)),
            {"remove": ["+12025550109"]},
            Action.CONFLICT,
        ),
        (
            RulesAsRead(frozenset({"P2"}), (inbound("12025550109"),)),
            {"remove": ["+12025550109"]},
            Action.REMOVE,
        ),
        (
            RulesAsRead(IN_PBX.ids, outbound=(outbound(outbound_caller_id="0012025550109"),)),
            {"remove": ["+12025550109"]},
            Action.CONFLICT,
        ),
        (
            RulesAsRead(IN_PBX.ids, tenant={"outbound_caller_ids": [{"caller_id": "12025550109"}]}),
            {"remove": ["+12025550109"]},
            Action.CONFLICT,
        ),
    ],
)
def test_a_number_on_the_trunk_and_not_in_dids(
    section: Make, rules: RulesAsRead, parameters: dict[str, Any], action: Action
) -> None:
    own = [number(did, "TK1") for did in DIDS]
    facts = facts_04(*own, number("+12025550109", "TK1"), in_pbx=IN_PBX, rules=rules)
    rows = rows_of(section("04", facts, **parameters))
    assert [row.action for row in rows] == [Action.IN_PLACE] * 4 + [action]


def test_a_number_that_is_there_twice(section: Make) -> None:
    facts = facts_04(*(number(did, "TK1") for did in DIDS), number(DIDS[0], "TK1", sid="PN2"))
    rows = rows_of(section("04", facts))
    assert [row.current for row in rows if row.action is Action.CONFLICT] == [2]


def live_trunk(made: Any, **fields: Any) -> dict[str, Any]:
    """The PBX trunk as section 5 wants it, with other fields."""
    wanted = {name: value for name, (_, _, value) in desired_fields(made.context.settings).items()}
    pool = {"did_numbers": str(made.context.tenant.dids)}
    return {"id": "P1", "shared": False, **wanted, **pool, **fields}


@pytest.mark.parametrize(("calls", "cautions"), [(None, 1), (20, 0), (99_999, 0), (100_000, 1)])
def test_a_number_of_calls_that_limits_nothing_is_a_caution_before_and_after(
    section: Make, calls: int | None, cautions: int
) -> None:
    changes = {} if calls is None else {"pbx_trunk": {"max_concurrent_calls": calls}}
    made = section("05", s05.Facts(tenant_id="T1"), **changes)
    for facts in (made.facts, facts_05(made)):
        made.facts = facts
        assert len([text for text in made.cautions() if "max_concurrent_calls" in text]) == cautions


def facts_05(made: Any, **fields: Any) -> s05.Facts:
    return s05.Facts(InPbx((live_trunk(made, **fields),), status="ONLINE"), "T1")


def test_a_trunk_in_place(section: Make) -> None:
    made = section("05", None)
    made.facts = facts_05(made)
    assert {row.action for row in rows_of(made)} == {Action.IN_PLACE, Action.UNREADABLE}
    assert [row.action for row in made.expected()] == [Action.IN_PLACE]


def test_each_field_of_the_trunk_is_one_row(section: Make) -> None:
    made = section("05", None)
    for name, (step, label, value) in desired_fields(made.context.settings).items():
        if name in s05.IMMUTABLE or name == "additional_ips":
            continue
        other = not value if isinstance(value, bool) else value + 7 if isinstance(value, int) else "other"
        made.facts = dataclasses.replace(facts_05(made, **{name: other}), user=None)
        rows = [row for row in rows_of(made) if row.action in CHANGING]
        assert [(row.step, row.setting, row.current) for row in rows] == [(step, label, other)]


def test_a_customer_reads_the_name_of_each_setting_of_the_trunk(section: Make) -> None:
    made = section("05", None)
    made.facts = facts_05(made)
    rows = [{**vars(row), "action": "create"} for row in rows_of(made)]
    record = {"tenant": "acme", "changes": [{"section": "05", "status": 200, "rows": rows}]}
    shown = {row[1] for row in customers_copy(record, "acme", "sha256:0").rows}
    assert {label for _, label, _ in desired_fields(made.context.settings).values()} <= shown


@pytest.mark.parametrize("name", s05.IMMUTABLE)
def test_what_the_pbx_cannot_change_is_a_conflict(section: Make, name: str) -> None:
    made = section("05", None)
    made.facts = facts_05(made, **{name: "OTHER"})
    assert [row.current for row in rows_of(made) if row.action is Action.CONFLICT] == ["OTHER"]


USER = sdk(sid="CR1", username="acme-pbx", date_created=datetime.now(UTC), date_updated=datetime.now(UTC))
NAMESAKE = {"id": "P9", "name": "PortSIP acme", "hostname": "elsewhere.example"}


@pytest.mark.parametrize(
    ("facts", "parameters", "actions"),
    [
        (s05.Facts(tenant_id="T1"), {}, {Action.BLOCKED}),
        (s05.Facts(tenant_id="T1"), {"ahead": "02"}, {Action.CREATE, Action.UPDATE}),
        (s05.Facts(tenant_id="T1", user=USER), {}, {Action.CONFLICT}),
        (s05.Facts(tenant_id="T1", user=USER), {"set_password": True}, {Action.CREATE, Action.UPDATE}),
        (s05.Facts(tenant_id="T1", tenant_may_have_trunks=False), {"ahead": "02"}, {Action.CONFLICT}),
        (s05.Facts(InPbx((), NAMESAKE), "T1"), {"ahead": "02"}, {Action.CONFLICT}),
        (s05.Facts(InPbx(({"id": "P1"}, {"id": "P2"})), "T1"), {"ahead": "02"}, {Action.CONFLICT}),
    ],
)
def test_a_trunk_that_is_not_there_or_cannot_be_told(
    section: Make, facts: s05.Facts, parameters: dict[str, Any], actions: set[Action]
) -> None:
    assert {row.action for row in rows_of(section("05", facts, **parameters))} == actions


@pytest.mark.parametrize(
    ("more", "parameters", "action"),
    [
        ({}, {}, Action.IN_PLACE),
        ({}, {"remove": ["+12025550109"]}, Action.UPDATE),
        (
            {"rules": RulesAsRead(IN_PBX.ids, (inbound("12025550109"),))},
            {"remove": ["+12025550109"]},
            Action.CONFLICT,
        ),
        (
            {"of_brand": ({"id": "P2", "name": "Second", "did_numbers": "12025550104"},)},
            {},
            Action.CONFLICT,
        ),
        ({"of_brand": ({"id": "P1", "name": "Same", "did_numbers": "12025550104"},)}, {}, Action.IN_PLACE),
    ],
)
def test_the_pool(section: Make, more: dict[str, Any], parameters: dict[str, Any], action: Action) -> None:
    made = section("05", None, **parameters)
    facts = facts_05(made, did_numbers="12025550101-12025550104;12025550109")
    made.facts = dataclasses.replace(facts, **more)
    [row] = [row for row in rows_of(made) if row.setting == "DID pool"]
    assert (row.step, row.action) == ("5.2", action)


def test_a_share_of_a_trunk(section: Make) -> None:
    made = section("05", None, of=GLOBEX)
    trunk = live_trunk(made, shared=True)
    others = {"tenant_id": "T2", "did_numbers": "19995550100", "concurrency": 5}
    own = {
        "tenant_id": "T1",
        "did_numbers": str(made.context.tenant.dids),
        "concurrency": made.context.tenant.concurrency,
    }
    made.facts = s05.Facts(InPbx((trunk,), status="ONLINE"), "T1", assignees=(own, others))
    assert {row.action for row in rows_of(made)} == {Action.IN_PLACE, Action.UNREADABLE}
    [names] = [view.rows for view in made.views()[1:]]
    assert [row[0] for row in names] == [made.context.tenant.pbx_domain, "1 other tenant"]
    made.facts = dataclasses.replace(made.facts, assignees=(others,))
    created = [row for row in rows_of(made) if row.action in CHANGING]
    assert [(row.step, row.action) for row in created] == [("5.5", Action.CREATE)] * 2


RULES = {
    "outbound": [{"name": "Out", "number_prefix": "1", "caller_id": DIDS[0], "priority": 1}],
    "inbound": [{"name": "In", "dids": "12025550101-12025550102", "extension": "1001"}],
}
RINGS = {"action": "FORWARD_TO_NUMBER", "number": "1001"}
IN = inbound("12025550101-12025550102", **dict.fromkeys(s06.FORWARDS, RINGS))
OUT = {**outbound(outbound_caller_id=DIDS[0]), "priority": 1, "number_prefix": "1"}


def facts_06(*rules: tuple[Any, ...], in_pbx: InPbx = IN_PBX) -> s06.Facts:
    return s06.Facts(in_pbx, RulesAsRead(in_pbx.ids, *rules))


@pytest.mark.parametrize(
    ("facts", "parameters", "expected"),
    [
        (facts_06(in_pbx=InPbx()), {}, {"6.1": {Action.BLOCKED}, "6.2": {Action.BLOCKED}}),
        (
            facts_06(in_pbx=InPbx()),
            {"ahead": "05"},
            {"6.1": {Action.CREATE}, "6.2": {Action.CREATE}},
        ),
        (facts_06(), {}, {"6.1": {Action.CREATE}, "6.2": {Action.CREATE}}),
        (facts_06((IN,), (OUT,)), {}, {"6.1": {Action.IN_PLACE}, "6.2": {Action.IN_PLACE}}),
        (
            facts_06(({**IN, "enabled": False},), (OUT,)),
            {},
            {"6.1": {Action.IN_PLACE}, "6.2": {Action.IN_PLACE, Action.UPDATE}},
        ),
        (
            facts_06((IN, IN), (OUT, OUT)),
            {},
            {"6.1": {Action.IN_PLACE, Action.CONFLICT}, "6.2": {Action.IN_PLACE, Action.CONFLICT}},
        ),
        (
            facts_06(({**IN, "provider_id": "P2"},), ({**OUT, "routes": [{"provider_id": "P2"}]},)),
            {},
            {"6.1": {Action.CONFLICT}, "6.2": {Action.CONFLICT}},
        ),
    ],
)
def test_the_rules(
    section: Make, facts: s06.Facts, parameters: dict[str, Any], expected: dict[str, set[Action]]
) -> None:
    rows = rows_of(section("06", facts, rules=RULES, **parameters))
    assert {step: {row.action for row in rows if row.step == step} for step in expected} == expected


def test_an_inbound_rule_that_loses_numbers_interrupts(section: Make) -> None:
    facts = facts_06(({**IN, "did_numbers": "12025550101-12025550103"},), (OUT,))
    rows = [row for row in rows_of(section("06", facts, rules=RULES)) if row.action in CHANGING]
    assert [row.effect for row in rows] == [Effect.INTERRUPTS_INBOUND]


@pytest.mark.parametrize(
    ("rule", "uncovered"),
    [
        ({}, DIDS[2:]),
        ({"enabled": False}, DIDS),
        ({"provider_id": "P2"}, DIDS),
        ({"cid_number_mask": "555"}, DIDS),
        ({"did_numbers": "no number"}, DIDS),
    ],
)
def test_numbers_that_ring_nowhere(section: Make, rule: dict[str, Any], uncovered: list[str]) -> None:
    made = section("06", facts_06(({**IN, **rule},)))
    assert [did for (did,) in made.views()[-1].rows] == uncovered


@pytest.mark.parametrize("facts", [s04.Facts(), s05.Facts(), facts_06()])
def test_facts_are_frozen(facts: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.in_pbx = InPbx()


def silent(*dids: str) -> list[tuple[Why, str]]:
    return [(Why.RINGS_NOWHERE, f"calls to {did}") for did in dids]


def test_a_number_that_rings_nowhere_is_marked_where_its_calls_arrive(section: Make) -> None:
    own = [number(did, "TK1") for did in DIDS]
    rules = RulesAsRead(frozenset({"P1"}), (inbound("12025550101-12025550102"),))
    facts = facts_04(*own, in_pbx=IN_PBX, rules=rules)
    assert marks_of(section("04", facts)) == silent(*DIDS[2:])
    off = dataclasses.replace(rules, inbound=(inbound("12025550101-12025550104", enabled=False),))
    assert marks_of(section("04", facts_04(*own, in_pbx=IN_PBX, rules=off))) == silent(*DIDS)


def test_section_6_marks_what_neither_stands_nor_is_asked_for(section: Make) -> None:
    assert marks_of(section("06", facts_06((), ()))) == silent(*DIDS)
    assert marks_of(section("06", facts_06((IN,), (OUT,)))) == [
        mark for mark in silent(*DIDS) if facts_06((IN,), (OUT,)).rules.uncovered([mark[1][-12:]])
    ]
