"""Credentials that act on another Twilio account than the site names, and the Region that serves a trunk."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.connect import endpoints
from runbook_lib.errors import AccountError, RunbookError
from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER
from runbook_lib.parameters import load
from runbook_lib.plan import Action
from runbook_lib.records.journal import FILE_NAME, read_journal
from runbook_lib.runbook import Runbook
from runbook_lib.vendors.account import accounts_named
from runbook_sandbox.demo import (
    ACCOUNT_SID,
    API_KEY_SID,
    LEGACY_TRUNK_SID,
    OTHER_ACCOUNT_SID,
    OTHER_KEY_SID,
    SUBACCOUNT_KEY_SID,
    SUBACCOUNT_SID,
    number_sid,
)
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all
from tests.sections.test_way_back import recorded

SITE_CONTENT = YAML(typ="safe").load(CHECKOUT / SITE)["site"]
TENANT = YAML(typ="safe").load(CHECKOUT / ACME)["tenant"]
#: Numbers that the subaccount owns.
OF_SUBACCOUNT = {"tenant": TENANT | {"dids": "12025550120-12025550123"}}
MAIN_KEY = (API_KEY_SID, "twilio_api_key_secret")
SUBACCOUNT_KEY = (SUBACCOUNT_KEY_SID, "twilio_subaccount_api_key_secret")
OTHER_KEY = (OTHER_KEY_SID, "twilio_other_api_key_secret")
STANDARD = {"twilio.api_key": "standard"}


def site(account_sid: str, key: tuple[str, str]) -> dict[str, Any]:
    reference = f"file:.sandbox/secrets/{key[1]}"
    account = {"account_sid": account_sid, "api_key_sid": key[0], "api_key_secret": reference}
    return {"site": copy.deepcopy(SITE_CONTENT) | {"twilio_accounts": {"main": account}}}


def without_trunk(sandbox: TestSandbox) -> None:
    """Take the main account's only trunk away: its trunk list names no account then."""
    patch = {"vendor": "twilio", "kind": "trunks", "id": LEGACY_TRUNK_SID, "remove": True}
    numbers = {"vendor": "twilio", "kind": "numbers", "match": {"trunk_sid": LEGACY_TRUNK_SID}}
    sandbox.control("POST", "state/patch", [numbers | {"set": {"trunk_sid": None}}, patch])


def carry_out(runbook: Runbook, number: str) -> dict[str, Any]:
    section = runbook.section(number)
    section.current()
    section.plan()
    section.apply()
    section.verify()
    return section.finish()


def every_section(the_site: Any, tenant: Any, **choices: Any) -> list[RunbookError | None]:
    """Run each section in a run of its own, also after one that failed; return how each ended."""
    ended: list[RunbookError | None] = []
    for number in choices.get("sections", RUN_ORDER):
        try:
            with Runbook.open(the_site, tenant, mode="apply", **choices) as runbook:
                carry_out(runbook, number)
            ended.append(None)
        except RunbookError as error:
            ended.append(error)
    return ended


@pytest.mark.parametrize("switches", [{}, STANDARD, {"twilio.foreign_account": "401"}], ids=str)
@pytest.mark.parametrize(
    ("named", "key", "other"),
    [
        (SUBACCOUNT_SID, MAIN_KEY, ACCOUNT_SID),
        (ACCOUNT_SID, SUBACCOUNT_KEY, None),
        (ACCOUNT_SID, OTHER_KEY, None),
        (SUBACCOUNT_SID, OTHER_KEY, None),
    ],
    ids=["main for subaccount", "subaccount for main", "stranger for main", "stranger for subaccount"],
)
def test_a_key_of_another_account_writes_nothing(
    sandbox: TestSandbox, named: str, key: tuple[str, str], other: str | None, switches: dict[str, str]
) -> None:
    sandbox.control("POST", "switches", switches)
    tenant = OF_SUBACCOUNT if named == SUBACCOUNT_SID else ACME
    ended = every_section(site(named, key), tenant)
    assert sandbox.writes() == []
    # 00, and 01 where nobody ran 00 before it
    for error in ended[:2]:
        assert isinstance(error, AccountError)
        assert (error.account, error.other) == (named, other)
        assert error.step and error.meaning and error.next_step


def test_a_main_key_is_known_by_the_accounts_that_it_may_read(sandbox: TestSandbox) -> None:
    """No trunk anywhere that could name an account."""
    without_trunk(sandbox)
    ended = every_section(site(SUBACCOUNT_SID, MAIN_KEY), OF_SUBACCOUNT)
    assert sandbox.writes() == []
    assert [error.other for error in ended[:2] if isinstance(error, AccountError)] == [ACCOUNT_SID] * 2


@pytest.mark.parametrize("switches", [{}, STANDARD], ids=["main key", "standard key"])
@pytest.mark.parametrize(
    ("named", "key", "tenant"),
    [(ACCOUNT_SID, MAIN_KEY, ACME), (SUBACCOUNT_SID, SUBACCOUNT_KEY, OF_SUBACCOUNT)],
    ids=["main", "subaccount"],
)
@pytest.mark.parametrize("has_trunk", [True, False], ids=["a trunk", "no trunk"])
def test_a_key_of_the_account_goes_all_the_way(
    sandbox: TestSandbox,
    named: str,
    key: tuple[str, str],
    tenant: Any,
    switches: dict[str, str],
    has_trunk: bool,
) -> None:
    sandbox.control("POST", "switches", switches)
    if not has_trunk:
        without_trunk(sandbox)
    assert every_section(site(named, key), tenant) == [None] * len(RUN_ORDER)
    twilio = sandbox.control("GET", "state").json()["twilio"]
    tables = twilio if named == ACCOUNT_SID else twilio["accounts"][named]
    assert DOMAIN in {trunk["domain_name"] for trunk in tables["trunks"].values()}
    assert len([one for one in tables["numbers"].values() if one["trunk_sid"]]) == 4 + (
        has_trunk and named == ACCOUNT_SID
    )


def cautions(runbook: Runbook) -> list[tuple[str, str]]:
    """Where the plan says that the account is not proven: section and step."""
    return [
        (part.section, row.step)
        for part in runbook.plan().slices
        for row in part.rows
        if row.action is Action.UNREADABLE and row.desired == runbook.context.account.account_sid
    ]


def test_an_account_that_nothing_proves_is_a_caution_and_changes_no_plan(sandbox: TestSandbox) -> None:
    the_site = site(SUBACCOUNT_SID, SUBACCOUNT_KEY)
    with Runbook.open(the_site, OF_SUBACCOUNT) as runbook:
        assert cautions(runbook) == []
        proven = runbook.plan()
    sandbox.control("POST", "switches", STANDARD)
    with Runbook.open(the_site, OF_SUBACCOUNT) as runbook:
        assert cautions(runbook) == [("00", "0.1")]
        plan = runbook.plan()
        assert plan.digest == proven.digest
        assert not any(part.stopping for part in plan.slices)
    # Each section that is planned alone says it; so does the table of 00.
    with Runbook.open(the_site, OF_SUBACCOUNT, sections=("01",)) as runbook:
        assert cautions(runbook) == [("01", "0.1")]
    with Runbook.open(the_site, OF_SUBACCOUNT) as runbook:
        assert signed_in_as(runbook)["account of the credentials"] != "this account"
    assert every_section(the_site, OF_SUBACCOUNT) == [None] * len(RUN_ORDER)
    with Runbook.open(the_site, OF_SUBACCOUNT) as runbook:  # its trunk says it now
        assert cautions(runbook) == []
        assert signed_in_as(runbook)["account of the credentials"] == "this account"


def test_the_first_answer_decides_and_says_what_was_made_where(sandbox: TestSandbox) -> None:
    """A standard key of the main account: it reads the subaccount's numbers, and makes trunks in its own."""
    without_trunk(sandbox)
    sandbox.control("POST", "switches", STANDARD)
    sandbox.clear_log()
    errors = {}
    with Runbook.open(site(SUBACCOUNT_SID, MAIN_KEY), OF_SUBACCOUNT, mode="apply") as runbook:
        for number in RUN_ORDER:
            try:
                carry_out(runbook, number)
            except RunbookError as error:
                errors[number] = error
    assert [(one["method"], one["path"]) for one in sandbox.writes()] == [("POST", "/v1/Trunks")]
    [made] = sandbox.control("GET", "state").json()["twilio"]["trunks"].values()
    error = errors["01"]
    assert isinstance(error, AccountError) and error.step == "1.1"
    assert (error.account, error.other) == (SUBACCOUNT_SID, ACCOUNT_SID)
    for known in (DOMAIN, made["sid"], ACCOUNT_SID):
        assert known in error.meaning
    assert made["sid"] in error.next_step
    # What was made is in the journal, and nothing of the PBX follows it.
    journals = sandbox.root.glob(f"records/demo/*/*/{FILE_NAME}")
    [write] = [write for path in journals for write in read_journal(path)]
    assert write["answer"]["result"] == made["sid"]


@pytest.mark.parametrize("has_trunk", [True, False], ids=["a trunk", "no trunk"])
@pytest.mark.parametrize("way", [RETIRE, ROLL_BACK])
def test_the_way_back_does_not_begin_in_another_account(
    sandbox: TestSandbox, way: str, has_trunk: bool
) -> None:
    """Without its trunk in sight a list would look unused, and the PBX's half would go first."""
    right = site(SUBACCOUNT_SID, SUBACCOUNT_KEY)
    with recorded(sandbox, "acme"):
        assert every_section(right, OF_SUBACCOUNT) == [None] * len(RUN_ORDER)
    if not has_trunk:
        without_trunk(sandbox)
    sandbox.clear_log()
    wrong = site(SUBACCOUNT_SID, MAIN_KEY)
    [error] = every_section(wrong, OF_SUBACCOUNT, sections=(way,), accept_interruption=True)
    assert isinstance(error, AccountError) and error.other == ACCOUNT_SID
    assert sandbox.writes() == []
    [error] = every_section(right, OF_SUBACCOUNT, sections=(way,), accept_interruption=True)
    assert error is None
    assert not sandbox.control("GET", "state").json()["twilio"]["accounts"][SUBACCOUNT_SID]["trunks"]


def test_another_accounts_address_in_a_number_is_the_operators_own(sandbox: TestSandbox) -> None:
    url = f"https://api.twilio.com/2010-04-01/Accounts/{OTHER_ACCOUNT_SID}/Recordings/RE1.mp3"
    number = number_sid("+12025550109")
    patch = {"vendor": "twilio", "kind": "numbers", "id": number, "set": {"voice_url": url}}
    sandbox.control("POST", "state/patch", patch)
    run_all()


MINE, THEIRS = "AC" + "1" * 32, "AC" + "2" * 32
LINK = f"/2010-04-01/Accounts/{THEIRS}/SIP/CredentialLists"


@pytest.mark.parametrize(
    "answer",
    [
        {"account_sid": THEIRS},
        {"trunks": [{"account_sid": MINE}, {"account_sid": THEIRS}], "meta": {}},
        {"credential_lists": [], "uri": f"{LINK}.json?PageSize=50"},
        {"first_page_uri": f"{LINK}.json?Page=0"},
        {"meta": {"next_page_url": f"https://api.twilio.com{LINK}.json"}},
        {"links": {"phone_number": f"https://api.twilio.com{LINK}/x.json"}},
        {"subresource_uris": {"credentials": f"{LINK}/CL1/Credentials.json"}},
        {"uri": f"/2010-04-01/Accounts/{THEIRS}"},
        [{"deep": [{"deeper": {"account_sid": THEIRS}}]}],
    ],
    ids=str,
)
def test_where_an_answer_names_an_account(answer: Any) -> None:
    assert THEIRS in set(accounts_named(answer))


@pytest.mark.parametrize(
    "answer",
    [
        {"account_sid": None, "message": f"{LINK}.json was not found"},
        {"voice_url": f"https://api.twilio.com{LINK}", "sms_url": f"https://api.twilio.com{LINK}"},
        {"owner_account_sid": THEIRS, "friendly_name": THEIRS},
        {"url": f"https://trunking.twilio.com/v1/Trunks/TK{'0' * 32}"},
        ["text", 1, None],
        "text",
    ],
    ids=str,
)
def test_where_an_answer_names_none(answer: Any) -> None:
    assert not set(accounts_named(answer))


def signed_in_as(runbook: Runbook) -> dict[str, Any]:
    return {what: value for _, what, value in runbook.section("00").current()[0].rows}


def region(what: dict[str, Any]) -> str:
    return what[f"Region that serves {DOMAIN}"]


def test_the_region_that_serves_the_trunk(sandbox: TestSandbox) -> None:
    path = f"/v2/Trunks/{DOMAIN}"
    with Runbook.open(SITE, ACME) as runbook:
        shown = region(signed_in_as(runbook))
        assert "us1" not in shown and "none set" in shown
        run_all()
        for served, expected in (("us1", lambda text: text == "us1"), ("ie1", lambda text: "us1" in text)):
            assert sandbox.vendors.twilio_http.post(path, data={"VoiceRegion": served}).is_success
            shown = region(signed_in_as(runbook))
            assert shown.startswith(served) and expected(shown)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_region_that_cannot_be_read_stops_nothing(sandbox: TestSandbox, status: int) -> None:
    fault = {"vendor": "twilio", "path": "^/v2/", "kind": "status", "status": status, "count": 0}
    sandbox.control("POST", "faults", fault)
    with Runbook.open(SITE, ACME, mode="apply") as runbook:
        assert region(signed_in_as(runbook)).startswith("not known")
        assert carry_out(runbook, "00")["outcome"] == "succeeded"


def test_a_host_that_a_firewall_keeps_away_is_waited_for_once(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = {"vendor": "twilio", "path": "^/v2/", "kind": "reset_before", "count": 0}
    sandbox.control("POST", "faults", fault)
    monkeypatch.setattr("runbook_lib.vendors.transport.ATTEMPTS", 2)
    with Runbook.open(SITE, ACME, mode="apply") as runbook:
        section = runbook.section("00")
        for step in (section.current, section.plan, section.apply, section.verify):
            step()
        section.finish()
    log = sandbox.control("GET", "requests").json()["requests"]
    assert len([one for one in log if one["path"].startswith("/v2/")]) == 2


def test_routes_are_asked_at_twilio_or_where_a_test_has_its_trunking_api(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_site, _ = load(SITE, ACME, sandbox.root)
    account = the_site.twilio_accounts["main"]
    ours = sandbox.urls["twilio_trunking_url"].rstrip("/")
    assert endpoints(the_site, account, sandbox.root).twilio["routes"] == ours
    live = the_site.model_copy(
        update={"target": "live", "pbx": the_site.pbx.model_copy(update={"url": "https://pbx.example:8887"})}
    )
    assert endpoints(live, account, sandbox.root).twilio["routes"] == ours
    for name in ("RUNBOOK_TWILIO_API_URL", "RUNBOOK_TWILIO_TRUNKING_URL"):
        monkeypatch.delenv(name)
    assert endpoints(live, account, sandbox.root).twilio["routes"] == "https://routes.twilio.com"


def runbook(sandbox: TestSandbox, command: str, the_site: Any, tenant: Any) -> int:
    """Run a ``runbook`` command on parameter files with these contents; return its exit status."""
    files = {
        "site": sandbox.root / "parameters/other/site.yaml",
        "tenant": sandbox.root / "parameters/other/t.yaml",
    }
    files["site"].parent.mkdir(exist_ok=True)
    for path, content in zip(files.values(), (the_site, tenant), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML
    program = [sys.executable, "-c", "from runbook_lib.cli import main; main()"]
    return subprocess.run(
        [*program, command, "-s", str(files["site"]), str(files["tenant"])],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        timeout=180,
    ).returncode


def test_the_command_stops_at_the_first_section(sandbox: TestSandbox) -> None:
    wrong = site(SUBACCOUNT_SID, MAIN_KEY)
    assert runbook(sandbox, "apply", wrong, OF_SUBACCOUNT) == 1
    assert sandbox.writes() == []
    [run] = sandbox.root.glob("records/demo/acme/*/run.json")
    sections = json.loads(run.read_text(encoding="utf-8"))["sections"]
    assert [one["outcome"] for one in sections] == ["failed"] + ["not run"] * (len(RUN_ORDER) - 1)
    for named in (SUBACCOUNT_SID, ACCOUNT_SID):
        assert named in sections[0]["message"]


def test_a_caution_changes_no_exit_status(sandbox: TestSandbox) -> None:
    right = site(SUBACCOUNT_SID, SUBACCOUNT_KEY)
    sandbox.control("POST", "switches", STANDARD)
    assert runbook(sandbox, "plan", right, OF_SUBACCOUNT) == 2
    assert every_section(right, OF_SUBACCOUNT) == [None] * len(RUN_ORDER)
    assert runbook(sandbox, "plan", right, OF_SUBACCOUNT) == 0
