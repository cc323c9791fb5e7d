"""Sections 2 and 3 without a server: facts in, rows out."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.keys import Kind
from runbook_lib.plan import Action
from runbook_lib.resources.lists import ACL, CREDENTIALS, Lists
from runbook_lib.resources.pbx_trunk import InPbx
from runbook_lib.resources.rules import RulesAsRead
from runbook_lib.sections import s02_termination as s02
from runbook_lib.sections import s03_origination as s03
from runbook_lib.undo.way_back import _MADE_WITH
from tests.sections.from_facts import CARRIER, DIDS, THEN, TRUNK, Make, outcome, rows_of, sdk

IN_PBX = InPbx(({"id": "P1", "name": "PortSIP acme"},))
OUT, IN, NO = "interrupts outbound", "interrupts inbound", "none"


def a_list(name: str, sid: str = "") -> Any:
    return sdk(sid=sid or f"L-{name}", friendly_name=name, date_created=THEN, date_updated=THEN)


def address(cidr: str, name: str = "PBX 203.0.113.10", sid: str = "IP1") -> Any:
    ip, _, length = cidr.partition("/")
    return sdk(sid=sid, ip_address=ip, cidr_prefix_length=int(length), friendly_name=name)


def user(name: str = "acme-pbx", sid: str = "CR1") -> Any:
    return sdk(sid=sid, username=name, date_created=THEN, date_updated=THEN)


def settings_of(section: Make) -> Any:
    return section("02").context.settings


def facts_02(
    section: Make,
    *,
    acl: bool = True,
    addresses: tuple[Any, ...] = (address("203.0.113.10/32"),),
    users: tuple[Any, ...] = (user(),),
    acl_attached: tuple[str, ...] | None = None,
    lists_attached: tuple[str, ...] | None = None,
    in_pbx: InPbx = IN_PBX,
    twice: bool = False,
) -> s02.Facts:
    """All of section 2 in place, but for what the arguments say; lists on the trunk by their names."""
    settings = settings_of(section)
    own_acl, own_list = a_list(settings.acl_name), a_list(settings.credential_list_name)
    on_trunk = (settings.acl_name,) if acl_attached is None else acl_attached
    lists_on_trunk = (settings.credential_list_name,) if lists_attached is None else lists_attached
    of_acl = Lists(
        own_acl if acl else None,
        (own_acl, own_acl) if twice else (own_acl,) if acl else (),
        tuple(map(a_list, on_trunk)),
        addresses if acl else (),
    )
    credentials = Lists(own_list, (own_list,), tuple(map(a_list, lists_on_trunk)), users)
    return s02.Facts(TRUNK, {ACL: of_acl, CREDENTIALS: credentials}, in_pbx)


PASSWORDS = {("2.3", "unreadable", NO)}


@pytest.mark.parametrize(
    ("changes", "parameters", "expected"),
    [
        ({}, {}, PASSWORDS),
        # The first access list while calls flow by the credential list alone.
        (
            {"acl": False, "acl_attached": ()},
            {},
            PASSWORDS | {("2.2", "create", NO), ("2.2", "conflict", OUT)},
        ),
        ({"acl_attached": (), "in_pbx": InPbx()}, {}, {("2.2", "create", NO), ("2.3", "conflict", NO)}),
        (
            {"acl_attached": (), "lists_attached": ("another's",), "in_pbx": InPbx()},
            {"set_password": True},
            {
                ("2.2", "conflict", OUT),
                ("2.3", "create", NO),
                ("2.3", "not managed", NO),
                ("2.3", "unreadable", NO),
            },
        ),
        ({"addresses": ()}, {}, PASSWORDS | {("2.2", "conflict", OUT)}),
        (
            {"addresses": (address("203.0.113.0/24"),)},
            {},
            PASSWORDS | {("2.2", "conflict", OUT)},
        ),
        # Somebody else's entry keeps its own name.
        ({"addresses": (address("203.0.113.10/32", "Name"),)}, {}, PASSWORDS),
        (
            {
                "addresses": (
                    address("203.0.113.10/32"),
                    address("198.51.100.1/32", "PBX 198.51.100.1", "IP2"),
                )
            },
            {},
            PASSWORDS | {("2.2", "not managed", NO)},
        ),
        (
            {"addresses": (address("203.0.113.10/32"), address("203.0.113.10/32", sid="IP2"))},
            {},
            PASSWORDS | {("2.2", "conflict", NO)},
        ),
        ({"twice": True}, {}, PASSWORDS | {("2.2", "conflict", NO)}),
        ({"users": (user(), user("other", "CR2"))}, {}, PASSWORDS | {("2.3", "not managed", NO)}),
        # The PBX has a password already; both are written only if that is asked for.
        ({"users": ()}, {}, {("2.3", "conflict", NO)}),
        (
            {"users": (), "in_pbx": InPbx()},
            {},
            {("2.3", "create", NO)},
        ),
        ({}, {"set_password": True}, {("2.3", "conflict", OUT), ("5.3", "conflict", OUT)}),
        ({"acl_attached": ("theirs",)}, {}, PASSWORDS | {("2.2", "create", NO), ("2.2", "not managed", NO)}),
    ],
)
def test_the_lists(
    section: Make, changes: dict[str, Any], parameters: dict[str, Any], expected: set[Any]
) -> None:
    made = section("02", facts_02(section, **changes), **parameters)
    rows_of(made)
    assert outcome(list(made.planned().rows)) == expected


def test_leave_lets_the_interrupting_row_through(section: Make) -> None:
    facts = facts_02(section, addresses=())
    planned = section("02", facts, accept_interruption=True).planned()
    assert ("2.2", "create", OUT) in outcome(list(planned.rows))


def test_an_address_that_we_put_there_gets_its_name_back(
    section: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = section("02", facts_02(section, addresses=(address("203.0.113.10/32", "Name"),)))
    monkeypatch.setattr(made.context, "made_by_us", lambda *_: True)
    assert ("2.2", "update", NO) in outcome(rows_of(made))


def test_an_address_that_we_put_there_is_taken_away(section: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = address("198.51.100.1/32", "PBX 198.51.100.1", "IP2")
    ours.delete = None
    made = section("02", facts_02(section, addresses=(address("203.0.113.10/32"), ours)))
    monkeypatch.setattr(made.context, "made_by_us", lambda *_: True)
    assert ("2.2", "remove", OUT) in outcome(rows_of(made))


def test_without_a_trunk_all_of_section_2_waits(section: Make) -> None:
    assert [row.action for row in rows_of(section("02", s02.Facts()))] == [Action.BLOCKED] * 3
    ahead = rows_of(section("02", s02.Facts(), ahead="01"))
    assert {row.step for row in ahead} == {"2.2", "2.3"}
    assert {row.action for row in ahead} == {Action.CREATE}


def test_each_kind_of_list_has_its_key() -> None:
    assert (ACL.kind, CREDENTIALS.kind) == (Kind.ACCESS_LIST, Kind.CREDENTIAL_LIST)


UDP = ({"protocol": "UDP", "port": 5060},)


def uri(section: Make, index: int, **fields: Any) -> Any:
    """One of the wanted origination URIs as Twilio has it, with other fields."""
    made = section("03", s03.Facts(transports=UDP))
    _, sip_url, priority, weight, enabled = made.path[index]
    region = made.context.settings.origination_uris[index].region
    wanted = {
        "sid": f"OU{index}",
        "sip_url": sip_url,
        "priority": priority,
        "weight": weight,
        "enabled": enabled,
        "friendly_name": f"PBX through {region}",
        "date_created": THEN,
    }
    return sdk(**{**wanted, **fields})


FOREIGN = {
    "sid": "OU9",
    "sip_url": "sip:elsewhere.example",
    "priority": 30,
    "weight": 10,
    "enabled": True,
    "friendly_name": "Elsewhere",
    "date_created": THEN,
}
ATTACHED = (sdk(phone_number=DIDS[0]),)
COVERED = RulesAsRead(
    frozenset({"P1"}), ({"name": "In", "enabled": True, "provider_id": "P1", "did_numbers": DIDS[0][1:]},)
)


@pytest.mark.parametrize(
    ("first", "more", "expected"),
    [
        ({}, {}, set()),
        ({"priority": 5}, {}, {("3.1", "update", NO)}),
        ({"weight": 5}, {}, {("3.1", "update", NO)}),
        ({"enabled": False}, {}, {("3.1", "update", NO), ("3.E", "update", NO)}),
        # Somebody else's URI keeps its own name.
        ({"friendly_name": "Other"}, {}, set()),
        # Calls go elsewhere today, and nothing shows that the PBX would take them.
        (
            {"priority": 5},
            {"attached": ATTACHED, "foreign": True},
            {("3.1", "conflict", IN), ("3.2", "not managed", NO)},
        ),
        (
            {"priority": 5},
            {"attached": ATTACHED, "foreign": True, "rules": COVERED},
            {("3.1", "update", NO), ("3.2", "not managed", NO)},
        ),
        ({"priority": 5}, {"foreign": True}, {("3.1", "update", NO), ("3.2", "not managed", NO)}),
        (
            {"friendly_name": "Other"},
            {"attached": ATTACHED, "foreign": True},
            {("3.2", "not managed", NO)},
        ),
    ],
)
def test_the_origination_uris(
    section: Make, first: dict[str, Any], more: dict[str, Any], expected: set[Any]
) -> None:
    rest = {name: value for name, value in more.items() if name != "foreign"}
    foreign = (sdk(**FOREIGN),) if "foreign" in more else ()
    facts = s03.Facts(TRUNK, UDP, (uri(section, 0, **first), uri(section, 1), *foreign), **rest)
    made = section("03", facts)
    assert outcome([row for row in made.planned().rows if row.step != "3.E"] + made.expected()) == expected
    rows_of(made)


def test_a_rollback_makes_a_uri_again_with_each_field(section: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sent = section("03", s03.Facts(TRUNK, UDP, ())), list[dict[str, Any]]()
    monkeypatch.setattr(made, "_create", sent.append)
    for item in made.items():
        assert item.write is not None
        item.write()
    assert {tuple(sorted(fields)) for fields in sent} == {tuple(sorted(_MADE_WITH["OriginationUrls"]))}


def test_one_that_is_there_twice_is_a_conflict(section: Make) -> None:
    facts = s03.Facts(TRUNK, UDP, (uri(section, 0), uri(section, 1), uri(section, 0, sid="OU5")))
    assert [row.current for row in rows_of(section("03", facts)) if row.action is Action.CONFLICT] == [2]


@pytest.mark.parametrize("more", [{}, {"attached": ATTACHED}])
def test_a_uri_that_we_made_gets_its_name_back(
    section: Make, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    facts = s03.Facts(TRUNK, UDP, (uri(section, 0, friendly_name="Other"), uri(section, 1)), **more)
    made = section("03", facts)
    monkeypatch.setattr(made.context, "made_by_us", lambda *_: True)
    assert ("3.1", "update", NO) in outcome(rows_of(made))


def test_a_uri_that_we_made_and_nobody_wants_goes(section: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = sdk(**FOREIGN, delete=None)
    made = section("03", s03.Facts(TRUNK, UDP, (uri(section, 0), uri(section, 1), stale)))
    monkeypatch.setattr(made.context, "made_by_us", lambda *_: True)
    assert ("3.2", "remove", NO) in outcome(rows_of(made))


def test_without_a_transport_there_is_nothing_to_make(section: Make) -> None:
    assert outcome(rows_of(section("03", s03.Facts(TRUNK)))) >= {("3.1", "conflict", NO)}


def test_without_a_trunk_all_of_section_3_waits(section: Make) -> None:
    facts = s03.Facts(transports=UDP)
    assert {(row.step, row.action) for row in rows_of(section("03", facts))} == {
        ("3.1", Action.BLOCKED),
        ("3.2", Action.BLOCKED),
    }
    assert {row.action for row in rows_of(section("03", facts, ahead="01"))} == {Action.CREATE}


def test_a_shared_trunk_alone_does_not_count_on_a_tenants_rules(section: Make) -> None:
    facts = s03.Facts(TRUNK, UDP, (sdk(**FOREIGN),), ATTACHED)
    planned = section("03", facts, of=CARRIER).planned()
    assert {row.effect for row in planned.rows if row.action is Action.CONFLICT} == {IN}
