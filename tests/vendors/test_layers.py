"""The layers of the HTTP seam on the sandbox: what a moment saves, what it never does, several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runbook_lib.context import Context
from runbook_lib.errors import OutcomeUnknownError, VendorError
from runbook_lib.facts.side_by_side import side_by_side
from runbook_lib.guide import RUN_ORDER
from runbook_lib.keys import trunk as trunk_key
from runbook_lib.plan import Action, Row
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all

ROWS = (Row("1.1", "friendly name", "a", None, Action.CREATE),)


@pytest.fixture
def context(sandbox: TestSandbox) -> Iterator[Context]:
    """A run of acme's that has its record open, so that it can write."""
    with Runbook.open(SITE, ACME, mode="apply") as runbook:
        runbook.open_own_record("01")
        sandbox.clear_log()
        yield runbook.context


def sent(sandbox: TestSandbox, path: str = "", method: str = "") -> list[dict[str, Any]]:
    log = sandbox.control("GET", "requests").json()["requests"]
    return [one for one in log if one["path"].endswith(path) and one["method"].startswith(method)]


def make_trunk(context: Context, name: str) -> Any:
    with context.journal.writing("01", trunk_key(name), ROWS):
        return context.twilio.trunks.create(friendly_name=name, domain_name=f"{name}.pstn.twilio.com")


def test_within_a_moment_a_read_is_sent_once_at_both_vendors(sandbox: TestSandbox, context: Context) -> None:
    before = [trunk.sid for trunk in context.twilio.trunks.list()]
    for _ in range(3):
        assert [trunk.sid for trunk in context.twilio.trunks.list()] == before
        assert list(context.pbx.session.list("/inbound_rules")) == list(
            context.pbx.session.list("/inbound_rules")
        )
    assert len(sent(sandbox, "/v1/Trunks")) == 1
    assert len(sent(sandbox, "/inbound_rules")) == 1
    assert context.requests == {
        vendor: len([one for one in sent(sandbox) if one["vendor"] == vendor.lower()])
        for vendor in ("Twilio", "PortSIP")
    }


def test_what_a_vendor_does_not_have_is_asked_for_once(sandbox: TestSandbox, context: Context) -> None:
    for _ in range(2):
        assert context.twilio.read(f"/v1/Trunks/TK{'0' * 32}") is None
        with pytest.raises(VendorError) as caught:
            context.pbx.session.get("/providers/1")
        assert caught.value.status == 404
    assert len(sent(sandbox, f"/TK{'0' * 32}")) == len(sent(sandbox, "/providers/1")) == 1


def test_each_scope_at_the_pbx_has_its_own_answers(sandbox: TestSandbox, context: Context) -> None:
    at_system, at_tenant = (
        {one["id"] for one in session.list("/providers")}
        for session in (context.pbx.system, context.pbx.session)
    )
    assert at_system != at_tenant
    assert len(sent(sandbox, "/api/providers")) == 2


def test_another_session_of_the_same_scope_is_served_by_the_same_moment(
    sandbox: TestSandbox, context: Context
) -> None:
    rules = list(context.pbx.session.list("/inbound_rules"))
    context.pbx.sign_out()
    assert list(context.pbx.session.list("/inbound_rules")) == rules
    assert len(sent(sandbox, "/inbound_rules")) == 1


def test_a_write_ends_the_moment_at_both_vendors(sandbox: TestSandbox, context: Context) -> None:
    def look() -> set[str]:
        list(context.pbx.session.list("/inbound_rules"))
        return {trunk.friendly_name for trunk in context.twilio.trunks.list()}

    assert "new" not in look()
    make_trunk(context, "new")
    assert context.moment.began is None
    assert "new" in look()
    assert len(sent(sandbox, "/inbound_rules")) == 2


@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "cut"])
def test_a_write_without_an_answer_ends_it_too(sandbox: TestSandbox, context: Context, kind: str) -> None:
    names = {trunk.friendly_name for trunk in context.twilio.trunks.list()}
    sandbox.control("POST", "faults", {"vendor": "twilio", "method": "POST", "kind": kind})
    with pytest.raises(OutcomeUnknownError):
        make_trunk(context, "new")
    after = {trunk.friendly_name for trunk in context.twilio.trunks.list()}
    assert after == names | ({"new"} if kind != "reset_before" else set())


def test_what_others_read_while_a_write_is_on_its_way_is_forgotten(
    sandbox: TestSandbox, context: Context
) -> None:
    """A moment may be shared with somebody who does not know of the write."""
    asked: list[int] = []

    def ask() -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, json={}, request=httpx.Request("GET", "https://vendor.example/"))

    barrier = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks$", "waiters": 2, "timeout": 600}
    sandbox.control("POST", "barriers", barrier)
    writing = threading.Thread(target=make_trunk, args=(context, "new"))
    writing.start()
    while not sent(sandbox, "/v1/Trunks", "POST"):
        time.sleep(0.01)
    for _ in range(2):
        context.moment.once("somebody's", ask)
    assert len(asked) == 1
    sandbox.control("DELETE", "barriers")
    writing.join(60)
    context.moment.once("somebody's", ask)
    assert len(asked) == 2


def test_what_is_read_in_the_middle_of_a_change_is_read_then(sandbox: TestSandbox, context: Context) -> None:
    """Somebody else may have been quicker: what a write looks at before it leaves is never remembered."""
    context.twilio.trunks.list()
    with context.journal.writing("01", trunk_key("new"), ROWS):
        context.twilio.trunks.list()
        context.twilio.trunks.list()
    context.twilio.trunks.list()
    assert len(sent(sandbox, "/v1/Trunks")) == 3


def test_a_session_that_was_switched_is_never_vouched_for_by_a_moment(
    sandbox: TestSandbox, context: Context
) -> None:
    for _ in range(2):
        context.pbx.session.get("/tenant")
        context.pbx.sign_out()
    list(context.pbx.session.list("/inbound_rules"))
    # One for each of two sessions, and one that was asked for and is remembered.
    assert len(sent(sandbox, "/api/tenant", "GET")) == 3


def test_a_section_asks_nothing_twice_within_a_reading(sandbox: TestSandbox) -> None:
    run_all()
    for number in RUN_ORDER:
        with Runbook.open(SITE, ACME) as runbook:
            section = runbook.section(number)
            sandbox.clear_log()
            section.plan()
            asked = Counter(
                (one["vendor"], one["path"], str(one["query"]))
                for one in sent(sandbox, method="GET")
                # Signing in looks at the tenant of the session.
                if one["path"] != "/api/tenant"
            )
        # Of two scopes, the same path is two questions.
        assert {key: count for key, count in asked.items() if count > 1 + (key[0] == "portsip")} == {}, number


def test_who_asks_again_asks_how_it_stands_now(sandbox: TestSandbox) -> None:
    """Current state, plan and verification are of one moment; the second of each begins another one."""
    run_all()
    with Runbook.open(SITE, ACME) as runbook:
        section = runbook.section("01")
        assert not section.plan().changing
        change = {"match": {"domain_name": DOMAIN}, "set": {"friendly_name": "somebody else's"}}
        sandbox.control("POST", "state/patch", {"vendor": "twilio", "kind": "trunks", **change})
        assert not section.verify().differences
        assert section.plan().changing
        assert section.verify().differences


def test_threads_that_begin_at_once_sign_in_once(sandbox: TestSandbox, context: Context) -> None:
    session = context.pbx.session
    sandbox.clear_log()
    paths = ("/inbound_rules", "/outbound_rules", "/providers", "/tenant")
    side_by_side(*[lambda path=path: session.get(path) for path in paths])
    assert len(sent(sandbox, "/auth/sign_in")) == 1
    assert len(sent(sandbox, "/tenants/switch")) == 1


def test_threads_whose_session_ended_sign_in_once_more(sandbox: TestSandbox, context: Context) -> None:
    session = context.pbx.session
    session.get("/tenant")
    sandbox.clear_log()
    sandbox.control("DELETE", "sessions")
    paths = ("/inbound_rules", "/outbound_rules", "/providers")
    for path in paths:  # all of them are on their way before one is refused
        barrier = {"vendor": "portsip", "path": f"{path}$", "waiters": 2, "timeout": 1}
        sandbox.control("POST", "barriers", barrier)
    side_by_side(*[lambda path=path: list(session.list(path)) for path in paths])
    assert len(sent(sandbox, "/auth/sign_in")) == 1
    assert sandbox.control("GET", "sessions").json() == {"alive": 1}


def test_threads_share_the_sdk_and_every_request_is_counted(sandbox: TestSandbox, context: Context) -> None:
    twilio = context.twilio
    trunks = [trunk.sid for trunk in twilio.trunks.list()]
    calls = [lambda sid=sid: twilio.trunks(sid).origination_urls.list() for sid in trunks]
    calls += [lambda sid=sid: twilio.trunks(sid).phone_numbers.list() for sid in trunks]
    calls += [twilio.account.incoming_phone_numbers.list, twilio.account.sip.credential_lists.list]
    alone = [[found.sid for found in call()] for call in calls]
    context.moment.begin()
    sandbox.clear_log()
    counted = context.requests["Twilio"]
    together = side_by_side(*calls)
    assert [[one.sid for one in found] for found in together] == alone
    assert context.requests["Twilio"] - counted == len(sent(sandbox)) == len(calls)


def test_lists_come_whole_in_the_largest_pages(sandbox: TestSandbox, context: Context) -> None:
    sandbox.control("POST", "scale", {"numbers": 1200})
    numbers = context.twilio.all_numbers()
    pages = sent(sandbox, "/IncomingPhoneNumbers.json")
    assert len(numbers) == len({one.sid for one in numbers}) >= 1200
    assert len(pages) == 2
    assert {one["query"]["PageSize"] for one in pages} == {"1000"}
    # On the way back the same collection, as plain data.
    path = context.twilio.number_path("X").replace("/X.json", ".json")
    assert [one["sid"] for one in context.twilio.entries(path)] == [one.sid for one in numbers]


def test_who_was_left_behind_sends_nothing_after_the_sign_out(sandbox: TestSandbox) -> None:
    with Runbook.open(SITE, ACME) as runbook:
        session, twilio = runbook.context.pbx.session, runbook.context.twilio
        session.get("/tenant")
    sandbox.clear_log()
    for call in (lambda: session.get("/tenant"), lambda: twilio.trunks.list()):
        with pytest.raises(RuntimeError):
            call()
    assert sent(sandbox) == []
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}
