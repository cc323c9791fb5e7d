"""Rolling back and retiring: the vendors' state is what it was before, and nothing foreign is touched."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.errors import ApprovalError, ConflictError, InputError, StalePlanError, VendorError
from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER
from runbook_lib.plan import PASSWORD_AT_TWILIO, Action, Effect, Row
from runbook_lib.records import chain as chain_module
from runbook_lib.records import living
from runbook_lib.records.errors import RecordError
from runbook_lib.records.journal import FILE_NAME
from runbook_lib.records.record import close_record, open_record
from runbook_lib.records.run_folder import OPENING
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.test_drift import access_list, trunk_path, twilio_post
from tests.sections.test_system_level import GLOBEX, INITECH
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all
from tests.vendor_state import ACCOUNT

TENANTS = {"acme": ACME, "globex": GLOBEX, "initech": INITECH}
LEVELS = pytest.mark.parametrize("tenant", ["acme", "globex"], ids=["tenant level", "system level"])
VOICE = ("voice_url", "voice_method", "voice_application_sid", "trunk_sid", "voice_fallback_url")


def state(sandbox: TestSandbox) -> dict[str, Any]:
    """Everything at both vendors, with the ids left out; sessions do not count."""
    vendors = sandbox.vendors
    names = {sid: domain for domain, sid in vendors.trunk_sids().items()}
    numbers = {
        did: {name: one[name] for name in VOICE} | {"trunk_sid": names.get(one["trunk_sid"])}
        for did, one in vendors.numbers().items()
    }
    lists = {
        path: sorted(one["friendly_name"] for one in vendors.account(f"SIP/{path}")[key])
        for path, key in (
            ("IpAccessControlLists", "ip_access_control_lists"),
            ("CredentialLists", "credential_lists"),
        )
    }
    system = vendors.pbx()
    scopes = {"": system} | {one["domain"]: vendors.pbx(one["domain"]) for one in system.list("/tenants")}
    pbx = {}
    for domain, scope in scopes.items():
        rules = [] if not domain else [*scope.list("/inbound_rules"), *scope.list("/outbound_rules")]
        pbx[domain] = {"trunks": scope.trunks(), "rules": sorted(one["name"] for one in rules)}
    return {"trunks": {one: vendors.trunk(one) for one in names.values()}, "lists": lists} | {
        "numbers": numbers,
        "pbx": pbx,
    }


@contextmanager
def recorded(sandbox: TestSandbox, tenant: str, number: int = 1, *, chained: bool = True) -> Iterator[Path]:
    """One run's folder for all sections inside, as the runner gives it to its kernels, and its record.

    Without ``chained`` no record: what plain papermill left before every door wrote to the register.
    """
    records = sandbox.root / "records"
    folder = records / f"demo/{tenant}/20260101T00000{number}Z-abcdef"
    chain = records / chain_module.FILE_NAME
    before = chain.read_bytes() if chain.exists() else None
    with opened(records, folder, {}):
        yield folder
    if chained:
        close_record(records, folder)
        return
    living.end(folder)
    (folder / OPENING).unlink()
    chain.unlink() if before is None else chain.write_bytes(before)


@contextmanager
def opened(records: Path, folder: Path, parameters: dict[str, Any]) -> Iterator[None]:
    """A run that is open and going on, for the sections inside."""
    _open(records, folder, parameters)
    os.environ["RUNBOOK_RUN_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["RUNBOOK_RUN_DIR"]


def set_up(sandbox: TestSandbox, tenant: str = "acme", number: int = 1, *, chained: bool = True) -> Path:
    with recorded(sandbox, tenant, number, chained=chained) as folder:
        run_all(tenant=TENANTS[tenant])
    return folder


def way_back(section: str, tenant: str = "acme", **options: Any) -> dict[str, Any]:
    options = {"accept_interruption": True, **options}
    with Runbook.open(
        SITE, TENANTS.get(tenant, tenant), mode="apply", sections=(section,), **options
    ) as book:
        run = book.section(section)
        run.current()
        run.plan()
        run.apply()
        run.verify()
        return run.finish()


def rows(section: str, tenant: str = "acme", **options: Any) -> dict[tuple[str, str], Row]:
    options = {"accept_interruption": True, **options}
    with Runbook.open(SITE, TENANTS.get(tenant, tenant), sections=(section,), **options) as book:
        return {row.key: row for row in book.section(section).plan().rows}


@LEVELS
def test_rolling_back_a_whole_run_leaves_the_state_before(sandbox: TestSandbox, tenant: str) -> None:
    before = state(sandbox)
    set_up(sandbox, tenant)
    assert state(sandbox) != before
    way_back(ROLL_BACK, tenant)
    assert state(sandbox) == before
    sandbox.clear_log()
    assert way_back(ROLL_BACK, tenant)["writes"] == 0
    assert sandbox.writes() == []


@LEVELS
@pytest.mark.parametrize("undone", RUN_ORDER[1:])
def test_rolling_back_one_sections_apply(sandbox: TestSandbox, tenant: str, undone: str) -> None:
    if tenant == "acme" and undone == "06":
        pytest.skip("acme's parameters ask for no rules")
    for number, section in enumerate(RUN_ORDER):
        before = state(sandbox)
        with (
            recorded(sandbox, tenant, number),
            Runbook.open(SITE, TENANTS[tenant], mode="apply") as book,
        ):
            run = book.section(section)
            run.apply()
            run.finish()
        if section == undone:
            break
    assert state(sandbox) != before
    way_back(ROLL_BACK, tenant)
    assert state(sandbox) == before


def test_only_some_sections_of_a_record(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    whole = state(sandbox)
    way_back(ROLL_BACK, only=["04"])
    assert sandbox.vendors.trunk(DOMAIN)["numbers"] == []
    assert state(sandbox)["pbx"] == whole["pbx"]
    with pytest.raises(InputError, match="only: '7' is not a section"):
        way_back(ROLL_BACK, only=["7"])


def test_a_number_gets_back_what_answered_it(sandbox: TestSandbox) -> None:
    """Pointing a number at a trunk deletes its voice application; rolling back sets it again."""
    [sid] = [one["sid"] for did, one in sandbox.vendors.numbers().items() if did == "+12025550101"]
    application = "AP" + "0" * 32
    path = f"/2010-04-01/Accounts/ACf3a1c0de5a4db0c5ba11ad5c0ffee001/IncomingPhoneNumbers/{sid}.json"
    twilio_post(sandbox, path, **{"VoiceApplicationSid": application, "VoiceMethod": "GET"})
    before = state(sandbox)
    tenant = _acme(move=["+12025550101"], accept_interruption=True, accept_unrouted=True)
    with recorded(sandbox, "acme"):
        run_all(tenant=tenant)
    assert not sandbox.vendors.numbers()["+12025550101"]["voice_application_sid"]
    way_back(ROLL_BACK)
    assert state(sandbox) == before


def test_a_changed_setting_gets_its_old_value(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    twilio_post(sandbox, trunk_path(sandbox), **{"FriendlyName": "changed by hand"})
    before = state(sandbox)
    set_up(sandbox, number=2)
    assert sandbox.vendors.trunk(DOMAIN)["friendly_name"] == "PortSIP acme"
    way_back(ROLL_BACK)
    assert state(sandbox) == before


def test_what_was_changed_since_is_a_conflict(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    twilio_post(sandbox, trunk_path(sandbox), **{"FriendlyName": "changed by hand"})
    row = rows(ROLL_BACK)["1.1", f"trunk {DOMAIN}"]
    assert row.action is Action.CONFLICT
    assert row.note == "changed since: friendly_name is 'changed by hand', the run left 'PortSIP acme'"
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        way_back(ROLL_BACK)
    assert sandbox.writes() == []


def test_what_something_else_uses_by_now_is_a_conflict(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    uri = {
        "FriendlyName": "other",
        "SipUrl": "sip:198.51.100.7",
        "Priority": 5,
        "Weight": 5,
        "Enabled": "true",
    }
    twilio_post(sandbox, f"{trunk_path(sandbox)}/OriginationUrls", **uri)
    row = rows(ROLL_BACK)["1.1", f"trunk {DOMAIN}"]
    assert (row.action, row.note) == (Action.CONFLICT, "still used by origination URI sip:198.51.100.7")


def test_a_tenants_record_leaves_a_shared_trunk_that_others_use(sandbox: TestSandbox) -> None:
    set_up(sandbox, "globex")
    alone = state(sandbox)
    set_up(sandbox, "initech", 2)
    row = rows(ROLL_BACK, "globex")["1.1", "trunk carrier-pbx.pstn.twilio.com"]
    assert row.action is Action.NOT_MANAGED and "initech" in row.note.lower()
    way_back(ROLL_BACK, "initech")
    assert state(sandbox) == alone


def test_rows_that_interrupt_calls_need_leave(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    sandbox.clear_log()
    for section in (ROLL_BACK, RETIRE):
        with pytest.raises(ConflictError, match="accept_interruption is not set"):
            way_back(section, accept_interruption=False)
    assert sandbox.writes() == []


def test_lowering_a_limit_that_was_raised_interrupts_calls(sandbox: TestSandbox) -> None:
    """The PBX rejects calls over the limit: the change interrupted none, and taking it back may."""
    run_all(tenant=_acme(pbx_trunk={"max_concurrent_calls": 50}, accept_interruption=True))
    with (
        recorded(sandbox, "acme"),
        Runbook.open(
            SITE, _acme(pbx_trunk={"max_concurrent_calls": 60}), mode="apply", accept_interruption=False
        ) as book,
    ):
        run = book.section("05")
        run.apply()
        run.finish()
    before = state(sandbox)
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="accept_interruption is not set"):
        way_back(ROLL_BACK, accept_interruption=False)
    assert sandbox.writes() == [] and state(sandbox) == before
    [row] = [row for row in rows(ROLL_BACK).values() if row.action is Action.UPDATE]
    assert (row.desired, row.current, row.effect) == (50, 60, Effect.INTERRUPTS_BOTH)
    way_back(ROLL_BACK)
    assert state(sandbox) != before


def test_an_overwritten_password_cannot_be_undone_and_the_plan_says_so_before(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    tenant = _acme(set_password=True, accept_interruption=True)
    with Runbook.open(SITE, tenant) as book:
        [note] = [
            row.note
            for row in book.section("02").plan().rows
            if (row.step, row.action) == ("2.3", Action.UPDATE)
        ]
    assert "the current password cannot be restored" in note
    with recorded(sandbox, "acme", 2):
        run_all(tenant=tenant)
    row = rows(ROLL_BACK)["2.3", PASSWORD_AT_TWILIO]
    assert row.action is Action.UNREADABLE and row.note.startswith("cannot be undone")
    assert way_back(ROLL_BACK)["writes"] == 0


@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
def test_what_a_lost_answer_made_is_found_and_taken_back(
    sandbox: TestSandbox, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
    monkeypatch.setattr("runbook_lib.sections.base.LATE_S", 0.5)
    before = state(sandbox)
    for path in ("/v1/Trunks$", "/IpAddresses", "/OriginationUrls$", "/providers$"):
        fault = {"method": "POST", "path": path, "kind": kind, "nth": 1, "count": 1}
        sandbox.control("POST", "faults", fault)
    set_up(sandbox)
    way_back(ROLL_BACK)
    assert state(sandbox) == before


@pytest.mark.parametrize("section", [ROLL_BACK, RETIRE])
def test_a_way_back_that_was_cut_off_is_finished_under_the_same_approval(
    sandbox: TestSandbox, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
    before = state(sandbox)
    set_up(sandbox)
    approval = _approved(section, tmp_path)
    fault = {"vendor": "twilio", "method": "DELETE", "nth": 6, "count": 0, "kind": "status", "status": 403}
    sandbox.control("POST", "faults", fault)
    with pytest.raises(VendorError, match="403"):
        way_back(section, **approval)
    assert state(sandbox) != before
    sandbox.control("DELETE", "faults")
    way_back(section, **approval)
    assert state(sandbox) == before


def test_a_rollback_is_approved_like_any_plan(sandbox: TestSandbox, tmp_path: Path) -> None:
    set_up(sandbox)
    approval = _approved(ROLL_BACK, tmp_path)
    sandbox.clear_log()
    with pytest.raises(ApprovalError, match="not the approved plan"):
        way_back(ROLL_BACK, **{**approval, "approved_plan": "sha256:0"})
    twilio_post(sandbox, trunk_path(sandbox), **{"FriendlyName": "changed by hand"})
    sandbox.clear_log()
    with pytest.raises((ConflictError, StalePlanError)):
        way_back(ROLL_BACK, **approval)
    assert sandbox.writes() == []


def test_a_plan_for_one_record_is_not_for_another(sandbox: TestSandbox, tmp_path: Path) -> None:
    set_up(sandbox)
    approval = _approved(ROLL_BACK, tmp_path)
    twilio_post(sandbox, trunk_path(sandbox), **{"FriendlyName": "changed by hand"})
    set_up(sandbox, number=2)
    with pytest.raises(ApprovalError, match="another target"):
        way_back(ROLL_BACK, **approval)


def test_a_record_that_was_edited_is_not_rolled_back(sandbox: TestSandbox) -> None:
    folder = set_up(sandbox)
    journal = folder / FILE_NAME
    journal.chmod(0o600)
    journal.write_text(journal.read_text().replace("PortSIP acme", "PortSIP anna"))
    sandbox.clear_log()
    with pytest.raises(RecordError, match=r"journal\.jsonl: changed"):
        way_back(ROLL_BACK)
    assert sandbox.writes() == [] and (folder / OPENING).exists()


def test_a_record_that_is_not_closed_is_not_rolled_back(sandbox: TestSandbox) -> None:
    records = sandbox.root / "records"
    with opened(records, records / "demo/acme/20260101T000001Z-abcdef", {}):
        run_all()
    sandbox.clear_log()
    with pytest.raises(RecordError, match="is not closed"):
        way_back(ROLL_BACK)
    assert sandbox.writes() == []


def test_an_approval_is_for_the_journal_as_it_was(sandbox: TestSandbox, tmp_path: Path) -> None:
    """Where a write went is no part of a plan's rows, and decides what is removed."""
    folder = set_up(sandbox, chained=False)
    approval = _approved(ROLL_BACK, tmp_path, record=folder.name)
    journal = folder / FILE_NAME
    journal.write_text(journal.read_text().replace(trunk_path(sandbox), "/v1/Trunks/TK" + "0" * 32))
    with pytest.raises(ApprovalError, match="another target"):
        way_back(ROLL_BACK, record=folder.name, **approval)


def test_a_pool_is_not_shrunk_below_what_is_in_use(sandbox: TestSandbox) -> None:
    with recorded(sandbox, "acme"):
        run_all(tenant=_acme(dids="12025550101-12025550102"))
    set_up(sandbox, number=2)
    row = rows(ROLL_BACK, only=["05"])["5.2", "DID pool"]
    assert row.action is Action.CONFLICT and "number +12025550103 of the Twilio trunk" in row.note
    before = sandbox.vendors.trunk(DOMAIN)["numbers"]
    way_back(ROLL_BACK)
    assert sandbox.vendors.trunk(DOMAIN)["numbers"] == before[:2]


@pytest.mark.parametrize("record", ["../../other", "*", "2026[01]", ""])
def test_a_record_is_named_by_its_run_id_only(sandbox: TestSandbox, record: str) -> None:
    set_up(sandbox)
    with pytest.raises(InputError, match="not a run ID"):
        way_back(ROLL_BACK, record=record)


def test_there_is_nothing_to_roll_back(sandbox: TestSandbox) -> None:
    with pytest.raises(InputError, match="no record that changed anything"):
        way_back(ROLL_BACK)
    folder = set_up(sandbox)
    way_back(ROLL_BACK, record=folder.name)
    undo = max((sandbox.root / "records/demo/acme").iterdir())
    with pytest.raises(InputError, match="no record that changed anything"):
        way_back(ROLL_BACK, record=undo.name)
    [line, *_] = (folder / FILE_NAME).read_text().splitlines()
    other = sandbox.root / "records/demo/acme/20260102T000000Z-abcdef"
    other.mkdir()
    event = json.loads(line)
    event["target"]["target"] = "live"
    (other / FILE_NAME).write_text(json.dumps(event) + "\n")
    with pytest.raises(InputError, match="for another target"):
        way_back(ROLL_BACK, record=other.name)


def test_retiring_a_tenant_leaves_the_state_before_it(sandbox: TestSandbox) -> None:
    before = state(sandbox)
    set_up(sandbox)
    way_back(RETIRE)
    assert state(sandbox) == before
    sandbox.clear_log()
    assert way_back(RETIRE)["writes"] == 0


def test_retiring_the_tenants_of_a_shared_trunk_and_then_the_trunk(sandbox: TestSandbox) -> None:
    before = state(sandbox)
    set_up(sandbox, "globex")
    alone = state(sandbox)
    set_up(sandbox, "initech", 2)
    way_back(RETIRE, "initech")
    assert state(sandbox) == alone
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="retire these tenants first"):
        way_back(RETIRE, "trunk:carrier")
    assert sandbox.writes() == []
    way_back(RETIRE, "globex")
    way_back(RETIRE, "trunk:carrier")
    after = state(sandbox)
    # Numbers that another trunk had before were moved as asked, and stay off it.
    assert {**after, "numbers": None, "trunks": None} == {**before, "numbers": None, "trunks": None}
    assert after["trunks"].keys() == before["trunks"].keys()


def test_retiring_stops_at_what_others_still_need(sandbox: TestSandbox) -> None:
    set_up(sandbox, "globex")
    pbx = sandbox.vendors.pbx("globex.pbx.example")
    ours = {one["id"] for one in pbx.list("/providers") if one["name"] == "Twilio-Shared-Trunk"}
    rule = next(one for one in pbx.list("/inbound_rules") if one["provider_id"] in ours)
    pbx.post("/inbound_rules", {**rule, "name": "by hand", "cid_number_mask": "1555"})
    row = rows(RETIRE, "globex")["6.2", "inbound rule by hand"]
    assert row.action is Action.CONFLICT and "not in the parameters" in row.note
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        way_back(RETIRE, "globex")
    assert sandbox.writes() == []


def test_a_list_that_another_trunk_uses_is_kept(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    vendors = sandbox.vendors
    acl = access_list(sandbox).rpartition("/")[2]
    other = next(sid for domain, sid in vendors.trunk_sids().items() if domain != DOMAIN)
    twilio_post(sandbox, f"/v1/Trunks/{other}/IpAccessControlLists", **{"IpAccessControlListSid": acl})
    row = rows(RETIRE)["2.2", "IP access control list"]
    assert row.action is Action.NOT_MANAGED and row.note.startswith("kept: it has or serves trunk")
    way_back(RETIRE)
    assert access_list(sandbox).endswith(acl)


def test_a_namesake_without_a_termination_uri_is_not_retired(sandbox: TestSandbox) -> None:
    twilio_post(sandbox, "/v1/Trunks", FriendlyName="PortSIP acme")
    row = rows(RETIRE)["1.1", "trunk"]
    assert row.action is Action.CONFLICT and "may be somebody else's" in row.note


def test_the_effects_are_told(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    for section in (ROLL_BACK, RETIRE):
        effects = {row.step: row.effect for row in rows(section).values() if row.effect is not Effect.NONE}
        assert effects["4.1"] is Effect.INTERRUPTS_INBOUND
        assert effects["2.3"] is Effect.INTERRUPTS_OUTBOUND
        assert effects["1.1"] is Effect.INTERRUPTS_BOTH


def test_a_pool_that_grew_is_not_shrunk_without_leave(sandbox: TestSandbox) -> None:
    """Adding numbers cuts nothing off; taking them out of the pool again does."""
    for number, dids in enumerate(("12025550101-12025550102", "12025550101-12025550104")):
        with recorded(sandbox, "acme", number):
            run_all(tenant=_acme(dids=dids))
    row = rows(ROLL_BACK, only=["04", "05"])["5.2", "DID pool"]
    assert (row.action, row.effect) == (Action.UPDATE, Effect.INTERRUPTS_INBOUND)
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="accept_interruption is not set"):
        way_back(ROLL_BACK, only=["04", "05"], accept_interruption=False)
    assert sandbox.writes() == []


def test_a_name_is_given_back_without_leave(sandbox: TestSandbox) -> None:
    set_up(sandbox)
    twilio_post(sandbox, trunk_path(sandbox), **{"FriendlyName": "changed by hand"})
    set_up(sandbox, number=2)
    way_back(ROLL_BACK, accept_interruption=False)
    assert sandbox.vendors.trunk(DOMAIN)["friendly_name"] == "changed by hand"


def test_a_number_whose_former_trunk_is_gone_is_a_conflict(sandbox: TestSandbox) -> None:
    vendors, did = sandbox.vendors, "+12025550101"
    twilio_post(sandbox, "/v1/Trunks", FriendlyName="old", DomainName="old-one.pstn.twilio.com")
    old = vendors.trunk_sids()["old-one.pstn.twilio.com"]
    path = f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers/{vendors.numbers()[did]['sid']}.json"
    twilio_post(sandbox, path, TrunkSid=old)
    with recorded(sandbox, "acme"):
        run_all(tenant=_acme(move=[did], accept_interruption=True, accept_unrouted=True))
    vendors.twilio_http.delete(f"/v1/Trunks/{old}").raise_for_status()
    row = rows(ROLL_BACK)["4.1", did]
    assert row.action is Action.CONFLICT and "no longer exists" in row.note
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        way_back(ROLL_BACK)
    assert sandbox.writes() == []


def test_a_number_of_the_pool_that_is_not_in_dids_stops_a_retirement(sandbox: TestSandbox) -> None:
    """Its calls would end nowhere, and no row would say so."""
    set_up(sandbox, "globex")
    tenant = copy.deepcopy(GLOBEX)
    tenant["tenant"]["dids"] = "12025550105"
    tenant["tenant"]["rules"]["inbound"] = tenant["tenant"]["rules"]["inbound"][:1]
    with Runbook.open(SITE, tenant, sections=(RETIRE,), accept_interruption=True) as book:
        plan = {row.key: row for row in book.section(RETIRE).plan().rows}
    row = plan["4.1", "+12025550106"]
    assert row.action is Action.CONFLICT and "in the tenant's pool but not in dids" in row.note


@pytest.mark.parametrize("place", ["pbx_domain", "trunk.termination"])
def test_parameters_that_lead_elsewhere_by_now_undo_nothing(sandbox: TestSandbox, place: str) -> None:
    """What is looked for in another place is not found there, which is not the same as undone."""
    records = sandbox.root / "records"
    folder = records / "demo/acme/20260101T000001Z-abcdef"
    with opened(records, folder, {"tenant": _acme()["tenant"]}):
        run_all()
    close_record(records, folder)
    there = {"pbx_domain": "globex.pbx.example", "trunk.termination": "other-pbx"}[place]
    moved = (
        _acme(pbx_domain=there)
        if place == "pbx_domain"
        else _acme(trunk={"friendly_name": "PortSIP acme", "termination": there})
    )
    with pytest.raises(InputError, match=f"{place} was .*, is {there}"):
        Runbook.open(SITE, moved, sections=(ROLL_BACK,))
    Runbook.open(SITE, ACME, sections=(ROLL_BACK,))


def test_a_copy_of_a_record_is_not_rolled_back(sandbox: TestSandbox) -> None:
    folder = set_up(sandbox)
    shutil.copytree(folder, folder.with_name("20270101T000000Z-abcdef"))
    with pytest.raises(RecordError, match="the chain has no entry for this record"):
        way_back(ROLL_BACK, record="2027")


@pytest.mark.parametrize(
    ("section", "path", "step"),
    [
        (ROLL_BACK, "/v1/Trunks/[^/]*$", "1.1"),
        (ROLL_BACK, "/IncomingPhoneNumbers/", "4.1"),
        (ROLL_BACK, "^/v1/Trunks$", "2.3"),  # who else has the credential list
        (RETIRE, "^/v1/Trunks$", "1.1"),
        (RETIRE, "/OriginationUrls", "3.1"),
        (RETIRE, "/SIP/", "2.2 to 2.3"),
    ],
)
def test_an_error_of_reading_says_its_step(sandbox: TestSandbox, section: str, path: str, step: str) -> None:
    set_up(sandbox)
    sandbox.control(
        "POST", "faults", {"method": "GET", "path": path, "kind": "wrong_password", "nth": 1, "count": 0}
    )
    with pytest.raises(VendorError, match="401") as caught:
        way_back(section)
    assert caught.value.step == step


@pytest.mark.parametrize("lost", ["", "reset_after", "slow lists"])
def test_a_setting_that_no_run_sends_and_was_changed_since_is_a_conflict(
    sandbox: TestSandbox, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the answer to the trunk's creation was lost, and where Twilio's reads lag behind."""
    if lost == "slow lists":
        sandbox.control("POST", "switches", {"twilio.read_lag_seconds": 1})
    elif lost:
        monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
        fault = {"method": "POST", "path": "/v1/Trunks$", "kind": lost, "nth": 1, "count": 1}
        sandbox.control("POST", "faults", fault)
    set_up(sandbox)
    assert not any(row.action is Action.CONFLICT for row in rows(ROLL_BACK).values())
    by_hand = {
        "Secure": "true",
        "CnamLookupEnabled": "true",
        "TransferMode": "enable-all",
        "DisasterRecoveryUrl": "https://example.com/voice",
    }
    twilio_post(sandbox, trunk_path(sandbox), **by_hand)
    row = rows(ROLL_BACK)["1.1", f"trunk {DOMAIN}"]
    assert row.action is Action.CONFLICT
    for name in ("secure", "cnam_lookup_enabled", "transfer_mode", "disaster_recovery_url"):
        assert f"{name} is " in row.note
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        way_back(ROLL_BACK)
    assert sandbox.writes() == []


def test_a_rule_that_was_changed_since_in_what_no_run_sends_is_a_conflict(sandbox: TestSandbox) -> None:
    set_up(sandbox, "globex")
    pbx = sandbox.vendors.pbx("globex.pbx.example")
    ours = {one["id"] for one in pbx.list("/providers") if one["name"] == "Twilio-Shared-Trunk"}
    rule = next(one for one in pbx.list("/inbound_rules") if one["provider_id"] in ours)
    changed = {name: value for name, value in rule.items() if name not in ("id", "holidays")}
    pbx.post(f"/inbound_rules/{rule['id']}", {**changed, "play_recording_disclaimer": True})
    row = rows(ROLL_BACK, "globex")["6.2", f"inbound rule {rule['name']}"]
    assert row.action is Action.CONFLICT
    assert row.note == "changed since: play_recording_disclaimer is True, the run left False"


def test_a_journal_from_before_answers_were_kept_is_rolled_back_as_before(sandbox: TestSandbox) -> None:
    before = state(sandbox)
    folder = set_up(sandbox, chained=False)
    journal = folder / FILE_NAME
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert any(event.pop("fields", None) for event in events)
    journal.write_text("".join(json.dumps(one) + "\n" for one in events if one["event"] != "found"))
    twilio_post(sandbox, trunk_path(sandbox), Secure="true")
    way_back(ROLL_BACK, record=folder.name)
    assert state(sandbox) == before


def test_what_nothing_vouches_for_is_rolled_back_by_name_only_and_told_so(sandbox: TestSandbox) -> None:
    before = state(sandbox)
    folder = set_up(sandbox, chained=False)
    with pytest.raises(InputError, match="no record that changed anything"):
        rows(ROLL_BACK)
    with Runbook.open(SITE, ACME, sections=(ROLL_BACK,), record=folder.name) as book:
        [view] = book.section(ROLL_BACK).current()
    assert "the journal is unverified" in view.caption
    planned = rows(ROLL_BACK, record=folder.name).values()
    assert all(row.note.startswith("the journal is unverified") for row in planned)
    way_back(ROLL_BACK, record=folder.name)
    assert state(sandbox) == before


def test_without_a_name_the_newest_record_of_the_chain_is_taken(sandbox: TestSandbox) -> None:
    folder = set_up(sandbox)
    forged = folder.with_name("20270101T000000Z-abcdef")
    forged.mkdir()
    (forged / FILE_NAME).write_text((folder / FILE_NAME).read_text())
    with Runbook.open(SITE, ACME, sections=(ROLL_BACK,)) as book:
        assert book.context.to_undo.name == folder.name


@pytest.mark.parametrize("chained", [False, True], ids=["by hand", "in the chain"])
def test_nothing_is_taken_from_another_makers_trunk(sandbox: TestSandbox, chained: bool) -> None:
    """Whatever a journal says: another trunk's origination URI, list, number, and the trunk itself."""
    real = set_up(sandbox)
    vendors = sandbox.vendors
    twilio_post(sandbox, "/v1/Trunks", FriendlyName="theirs", DomainName="their-pbx.pstn.twilio.com")
    theirs = f"/v1/Trunks/{vendors.trunk_sids()['their-pbx.pstn.twilio.com']}"
    uri = {
        "FriendlyName": "theirs",
        "SipUrl": "sip:198.51.100.7",
        "Priority": 5,
        "Weight": 5,
        "Enabled": "true",
    }
    twilio_post(sandbox, f"{theirs}/OriginationUrls", **uri)
    sip = f"/2010-04-01/Accounts/{ACCOUNT}/SIP"
    twilio_post(sandbox, f"{sip}/CredentialLists.json", FriendlyName="theirs")
    [their_list] = [
        one["sid"]
        for one in vendors.account("SIP/CredentialLists")["credential_lists"]
        if one["friendly_name"] == "theirs"
    ]
    twilio_post(sandbox, f"{theirs}/CredentialLists", CredentialListSid=their_list)
    number = next(one for did, one in vendors.numbers().items() if did == "+12025550108")
    number_path = f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers/{number['sid']}.json"
    twilio_post(sandbox, number_path, TrunkSid=theirs.rpartition("/")[2])
    [their_uri] = vendors.twilio_http.get(f"{theirs}/OriginationUrls").json()["origination_urls"]
    claims = [
        (f"{theirs}/OriginationUrls", their_uri["sid"], uri),
        (f"{theirs}/CredentialLists", their_list, {"CredentialListSid": their_list}),
        (number_path, number["sid"], {"TrunkSid": theirs.rpartition("/")[2]}),
    ]
    if not chained:  # a record of the chain has made what it says that it made
        claims += [
            (f"{sip}/CredentialLists.json", their_list, {"FriendlyName": "theirs"}),
            ("/v1/Trunks", theirs.rpartition("/")[2], {"FriendlyName": "theirs"}),
        ]
    sending, answered = (json.loads(line) for line in (real / FILE_NAME).read_text().splitlines()[:2])
    answered.pop("fields")
    lines = []
    for nth, (path, sid, body) in enumerate(claims):
        entry, row = f"forged-{nth}", {**sending["rows"][0], "setting": f"claim {nth}"}
        is_number = path == number_path
        lines += [
            {**sending, "entry": entry, "path": path, "body": body, "rows": [row]}
            | {"key": {**sending["key"], "name": f"claim {nth}"}}
            | {"before": {"trunk_sid": None} if is_number else None},
            {**answered, "entry": entry, "result": sid},
        ]
    with recorded(sandbox, "acme", 2, chained=chained) as folder:
        folder.mkdir(exist_ok=True)
        (folder / FILE_NAME).write_text("".join(json.dumps(one) + "\n" for one in lines))
    planned = rows(ROLL_BACK, record=folder.name)
    assert len(planned) == len(claims)
    for row in planned.values():
        assert row.action is Action.CONFLICT and row.note.startswith("not this tenant's"), row
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="not this tenant's"):
        way_back(ROLL_BACK, record=folder.name)
    assert sandbox.writes() == []


def test_a_forged_journal_takes_no_other_tenants_share(sandbox: TestSandbox) -> None:
    """Of a shared trunk: another tenant's assignment, and its numbers on the trunk."""
    set_up(sandbox, "globex")
    theirs = set_up(sandbox, "initech", 2)
    folder = theirs.parent.parent / "globex/20260101T000003Z-abcdef"
    folder.mkdir()
    shutil.copy(theirs / FILE_NAME, folder / FILE_NAME)
    planned = rows(ROLL_BACK, "globex", record=folder.name)
    taken = {row.step: row for row in planned.values() if row.step in ("4.1", "5.5")}
    assert taken.keys() == {"4.1", "5.5"}
    for row in taken.values():
        assert row.action is Action.CONFLICT and row.note.startswith("not this tenant's"), row


def _open(records: Path, folder: Path, parameters: dict[str, Any]) -> None:
    open_record(
        records,
        folder,
        mode="apply",
        site="demo",
        tenant="acme",
        target={},
        order=RUN_ORDER,
        parameters=parameters,
        files={"site": SITE, "tenant": ACME},
    )


def _acme(**changes: Any) -> dict[str, Any]:
    from tests.sections.test_safety import acme

    return acme(**changes)


def _approved(section: str, folder: Path, **options: Any) -> dict[str, str]:
    with Runbook.open(SITE, ACME, sections=(section,), accept_interruption=True, **options) as book:
        plan = book.plan()
    (folder / "plan.json").write_text(json.dumps(plan.to_document()))
    return {"plan_file": str(folder / "plan.json"), "approved_plan": plan.digest, "approved_by": "pat"}
