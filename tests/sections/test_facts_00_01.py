"""Sections 0 and 1 without a server: facts in, rows out."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.keys import Why
from runbook_lib.plan import Action
from runbook_lib.sections import s00_before as s00
from runbook_lib.sections import s01_trunk as s01
from tests.sections.from_facts import DIDS, DOMAIN, GLOBEX, THEN, TRUNK, Make, marks_of, outcome, rows_of, sdk


def number(did: str, *, voice: bool = True) -> Any:
    return sdk(
        phone_number=did,
        capabilities={"voice": voice},
        emergency_address_sid=None,
        emergency_address_status=None,
        trunk_sid=None,
        voice_application_sid=None,
        voice_url=None,
    )


FACTS: dict[str, Any] = {
    "account": {"status": "active", "friendly_name": "Main"},
    "is_proven": True,
    "voice_region": "us1",
    "found": tuple(map(number, DIDS)),
    "info": {"public_ipv4": "203.0.113.10"},
    "status": {"version": "22.2"},
    "user": {"role": "Admin"},
    "tenant": {"name": "acme", "domain": "acme.pbx.example"},
    "transports": ({"protocol": "UDP", "port": 5060},),
    "may_have_trunks": True,
}
CONFLICT = "conflict"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"account": None}, {("0.1", "unreadable", "none")}),
        ({"account": {"status": "suspended", "friendly_name": "Main"}}, {("0.1", CONFLICT, "none")}),
        ({"found": ()}, {("0.1", CONFLICT, "none")}),
        (
            {"found": (number(DIDS[0], voice=False), *(number(did) for did in DIDS[1:]))},
            {("0.1", CONFLICT, "none")},
        ),
        ({"info": {}}, {("0.2", CONFLICT, "none")}),
        ({"info": {"public_ipv4": "203.0.113.11"}}, {("0.2", CONFLICT, "none")}),
        ({"transports": ({"protocol": "TCP", "port": 5060},)}, {("0.2", CONFLICT, "none")}),
        ({"may_have_trunks": False}, {("0.2", CONFLICT, "none")}),
        ({"voice_region": None}, set()),
        ({"voice_region": ""}, set()),
    ],
)
def test_what_must_be_there(section: Make, changes: dict[str, Any], expected: set[Any]) -> None:
    assert outcome(rows_of(section("00", s00.Facts(**{**FACTS, **changes})))) == expected


def test_a_share_needs_no_trunks_at_tenant_level(section: Make) -> None:
    found = tuple(map(number, ("+12025550105", "+12025550106")))
    facts = s00.Facts(**{**FACTS, "found": found, "may_have_trunks": False})
    assert outcome(rows_of(section("00", facts, of=GLOBEX))) == set()


def like_ours(**fields: Any) -> Any:
    return sdk(**{**vars(TRUNK), **fields})


OTHER = sdk(
    sid="TK2", friendly_name="Other", domain_name="other.pstn.twilio.com", auth_type="", date_created=THEN
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (s01.Facts((TRUNK, OTHER), TRUNK), set()),
        (s01.Facts((OTHER,), None), {("1.1", "create", "none"), ("2.1", "create", "none")}),
        (s01.Facts((OTHER,), None, "two trunks have it"), {("1.1", CONFLICT, "none")}),
        # Not in any journal, so another's.
        (s01.Facts((), like_ours(friendly_name="Renamed")), {("1.1", CONFLICT, "none")}),
        # Adopted by its name: section 2 gives it the termination URI.
        (s01.Facts((), like_ours(domain_name=None)), set()),
        (s01.Facts((), like_ours(cnam_lookup_enabled=True)), {("1.2", "not managed", "none")}),
        (s01.Facts((), like_ours(recording={"mode": "record"})), {("1.2", "not managed", "none")}),
        (s01.Facts((), like_ours(secure=True)), {("1.2", CONFLICT, "none")}),
    ],
)
def test_the_trunk(section: Make, facts: s01.Facts, expected: set[Any]) -> None:
    assert outcome(rows_of(section("01", facts))) == expected


def test_a_trunk_that_we_made_is_renamed(section: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = section("01", s01.Facts((), like_ours(friendly_name="Renamed")))
    monkeypatch.setattr(made.context, "made_by_us", lambda *_: True)
    [row] = [row for row in rows_of(made) if row.action is not Action.IN_PLACE]
    assert (row.step, row.action, row.current) == ("1.1", Action.UPDATE, "Renamed")


def test_a_spelling_of_the_domain_is_in_place(section: Make) -> None:
    facts = s01.Facts((), like_ours(domain_name=DOMAIN.upper()))
    assert outcome(rows_of(section("01", facts))) == set()


def test_a_number_without_an_emergency_address_is_marked(section: Make) -> None:
    found = tuple(number(did) for did in DIDS)
    marks = marks_of(section("00", s00.Facts(**{**FACTS, "found": found})))
    without = [one.phone_number for one in found if not one.emergency_address_sid]
    assert marks == [(Why.NO_EMERGENCY_ADDRESS, f"emergency address of {did}") for did in without] != []
