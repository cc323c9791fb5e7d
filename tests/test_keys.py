"""Keys: read from journals of today and of before, and the settings of older rows and plans."""

from __future__ import annotations

import json

import pytest

from runbook_lib import keys
from runbook_lib.keys import Kind, ResourceKey, key_of_phrase
from runbook_lib.plan import PASSWORD_AT_TWILIO, Action, Effect, Plan, Row, Slice, deviations
from runbook_lib.records.journal import is_lost, key_of

LIST, USERS = (
    ResourceKey.of(Kind.ACCESS_LIST, "PBX a"),
    ResourceKey.of(Kind.CREDENTIAL_LIST, "users on trunk b"),
)
ABOVE, BELOW = "/2010-04-01/Accounts/AC1/SIP/CredentialLists.json", "/v1/Trunks/TK1/CredentialLists"
PHRASES = {
    "trunk a.pstn.twilio.com": keys.trunk("a.pstn.twilio.com"),
    "termination URI a.pstn.twilio.com": ResourceKey.of(Kind.TERMINATION_URI, "a.pstn.twilio.com"),
    "IP access control list PBX a": LIST,
    "address 203.0.113.10/32 in IP access control list PBX a": ResourceKey.of(
        Kind.ADDRESS, "203.0.113.10/32", LIST
    ),
    "user a in credential list users on trunk b": ResourceKey.of(Kind.USER, "a", USERS),
    "number +12025550101": ResourceKey.of(Kind.NUMBER, "+12025550101"),
    "origination URI sip:203.0.113.10;region=us1 on trunk a.pstn.twilio.com": keys.origination_uri(
        "sip:203.0.113.10:5060;transport=UDP;region=us1", "a.pstn.twilio.com"
    ),
    "PBX trunk to tenant x": keys.pbx_trunk("to tenant x"),
    "assignment of PBX trunk Shared to tenant x": keys.assignment("Shared", "x"),
    "inbound rule a: b": ResourceKey.of(Kind.INBOUND_RULE, "a: b"),
    "outbound rule inbound rule": ResourceKey.of(Kind.OUTBOUND_RULE, "inbound rule"),
    "something of another maker": ResourceKey.of(Kind.UNKNOWN, "something of another maker"),
}


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_of_an_older_journal(phrase: str) -> None:
    assert key_of_phrase(phrase, "/v1/Trunks") == PHRASES[phrase]


def test_a_list_that_is_named_like_its_place_on_a_trunk() -> None:
    """A list of any name is made above the trunks; only what was sent below one is a place on it."""
    phrase = "credential list users on trunk b"
    assert key_of_phrase(phrase, ABOVE) == USERS
    on_trunk = keys.on_trunk(ResourceKey.of(Kind.CREDENTIAL_LIST, "users"), "b")
    assert key_of_phrase(phrase, BELOW) == on_trunk != USERS


@pytest.mark.parametrize("key", PHRASES.values(), ids=str)
def test_a_key_of_a_journal_is_the_key_that_was_written(key: ResourceKey) -> None:
    line = json.loads(json.dumps({"key": key.to_data(), "resource": "IN OTHER WORDS", "path": ABOVE}))
    assert key_of(line) == key


def test_a_kind_of_a_newer_journal_is_nothing_that_is_asked_for() -> None:
    data = keys.trunk("a").to_data() | {"kind": "video bridge"}
    assert ResourceKey.from_data(data).kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (None, True),
        ({"status": 201, "error": None}, False),
        ({"status": None, "error": "ReadTimeout: …"}, True),
        ({"status": None, "error": "ConnectError: …"}, False),  # of an older journal
        ({"status": None, "error": "KEINE VERBINDUNG", "left": False}, False),
        ({"status": None, "error": "ConnectError: …", "left": True}, True),
    ],
)
def test_whether_a_write_may_have_been_carried_out(answer: dict[str, object] | None, lost: bool) -> None:
    assert is_lost({"answer": answer}) is lost


def test_a_plan_file_from_before_the_keys_is_the_same_plan() -> None:
    row = Row(
        "2.3",
        "password at Twilio",
        "env:SIP",
        None,
        Action.CREATE,
        Effect.NONE,
        "why",
        PASSWORD_AT_TWILIO,
        keys.Why.KEPT,
    )
    plan = Plan({"target": "sandbox"}, "acme", {}, (Slice("02", (row,)),))
    document = json.loads(json.dumps(plan.to_document()))
    for name in ("field", "why"):
        del document["slices"][0]["rows"][0][name]
    read = Plan.from_document(document)
    assert read.digest == plan.digest
    assert deviations(read.slices[0], (row,)) == []


def test_a_key_that_was_edited_into_a_plan_file_lets_nothing_else_pass() -> None:
    """The digest covers no keys: a row that is taken for another one is refused by its name and values."""
    approved = Row("4.1", "+12025550101", "trunk a", None, Action.CREATE)
    document = Plan({}, "acme", {}, (Slice("04", (approved,)),)).to_document()
    document = json.loads(json.dumps(document))
    document["slices"][0]["rows"][0]["field"] = "+12025550102"
    live = Row("4.1", "+12025550102", "trunk a", None, Action.CREATE)
    assert deviations(Plan.from_document(document).slices[0], (live,))
