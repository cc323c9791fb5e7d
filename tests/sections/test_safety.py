"""Nothing foreign is taken over, and nothing is cut off without leave."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import ApprovalError, ConflictError, InputError
from runbook_lib.plan import Action, Effect, Plan
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_drift import trunk_path, twilio_post
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all, run_section

TENANT = YAML(typ="safe").load(CHECKOUT / ACME)["tenant"]


def acme(**changes: Any) -> dict[str, Any]:
    return {"tenant": {**copy.deepcopy(TENANT), **changes}}


def credentials(**changes: Any) -> dict[str, Any]:
    return {"credentials": {**TENANT["termination"]["credentials"], **changes}}


def check_final_state(sandbox: TestSandbox) -> None:
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK


def planned(tmp_path: Path) -> dict[str, str]:
    """Plan acme, keep the plan, and return the approval of it."""
    with Runbook.open(SITE, ACME) as runbook:
        plan = runbook.plan()
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_document()))
    return {"plan_file": str(tmp_path / "plan.json"), "approved_plan": plan.digest, "approved_by": "pat"}


def rows(number: str, tenant: Any) -> dict[str, tuple[Action, Effect]]:
    with Runbook.open(SITE, tenant) as runbook:
        return {row.setting: (row.action, row.effect) for row in runbook.section(number).plan().rows}


def test_an_approval_belongs_to_a_plan_and_to_this_one(sandbox: TestSandbox, tmp_path: Path) -> None:
    approval = planned(tmp_path)
    for damage in ({"approved_plan": "sha256:0"}, {"approved_plan": None}, {"approved_by": None}):
        with pytest.raises(ApprovalError):
            Runbook.open(SITE, ACME, mode="apply", **{**approval, **damage})
    with pytest.raises(InputError, match="plan_file"):
        Runbook.open(SITE, ACME, mode="apply", approved_plan=approval["approved_plan"], approved_by="pat")
    with pytest.raises(ApprovalError, match="tenant acme"):
        Runbook.open(SITE, "parameters/sandbox/globex.yaml", mode="apply", **approval)
    document = json.loads(Path(approval["plan_file"]).read_text())
    document["slices"][1]["rows"][0]["desired"] = "Edited"
    Path(approval["plan_file"]).write_text(json.dumps(document))
    with pytest.raises(ApprovalError, match="edited"):
        Runbook.open(SITE, ACME, mode="apply", **approval)
    # Edited, and its digest with it: then it is not the approved one.
    with Runbook.open(SITE, ACME) as runbook:
        plan = runbook.plan()
    edited = Plan(plan.target, plan.tenant, plan.secrets, plan.slices[:-1])
    Path(approval["plan_file"]).write_text(json.dumps(edited.to_document()))
    with pytest.raises(ApprovalError, match="not the approved plan"):
        Runbook.open(SITE, ACME, mode="apply", **approval)
    assert sandbox.writes() == []


def test_a_foreign_pbx_trunk_of_the_same_name_is_left_alone(sandbox: TestSandbox) -> None:
    foreign = {
        **ACME_PBX_TRUNK,
        "hostname": "sip.other.example",
        "brand": "Generic",
        "did_numbers": "12025550190",
    }
    for field in ("shared", "status"):
        del foreign[field]
    sandbox.vendors.pbx("acme.pbx.example").post("/providers", {**foreign, "password": "Abcdefghijk1"})
    before = sandbox.vendors.pbx("acme.pbx.example").trunks()
    with pytest.raises(ConflictError, match=r"has the hostname sip\.other\.example"):
        run_all(tenant=acme(accept_interruption=True, set_password=True))
    assert sandbox.vendors.pbx("acme.pbx.example").trunks() == before


def test_a_credential_that_something_else_uses_is_not_overwritten_without_leave(sandbox: TestSandbox) -> None:
    run_section("01")
    legacy = acme(termination=credentials(list_name="Legacy SBC", username="legacy-sbc"))
    with pytest.raises(ConflictError, match="not created by this runbook"):
        run_section("02", "apply", legacy)
    legacy["tenant"]["set_password"] = True
    assert rows("05", legacy)["password at Twilio"] == (Action.CONFLICT, Effect.INTERRUPTS_OUTBOUND)


def test_another_tenants_trunk_of_the_same_label_is_a_conflict(sandbox: TestSandbox) -> None:
    run_all()
    other = acme(name="other", trunk={"friendly_name": "PortSIP other", "termination": "acme-pbx"})
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="has this termination URI") as stopped:
        run_section("01", "apply", other)
    assert stopped.value.step == "1.1"
    assert sandbox.writes() == []


def test_adopted_and_conflicting_twilio_trunks(sandbox: TestSandbox) -> None:
    vendors = sandbox.vendors
    vendors.twilio_http.post("/v1/Trunks", data={"FriendlyName": "PortSIP acme"}).raise_for_status()
    run_all()
    check_final_state(sandbox)
    assert [one["friendly_name"] for one in vendors.get("/v1/Trunks")["trunks"]].count("PortSIP acme") == 1
    twilio_post(sandbox, trunk_path(sandbox), DomainName="elsewhere-pbx.pstn.twilio.com")
    assert rows("01", acme())["trunk"][0] is Action.CONFLICT


def test_a_termination_uri_of_another_customer_stops_with_its_meaning(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sandbox shows its writes at once here, so there is no lag to wait out.
    monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
    taken = acme(trunk={"friendly_name": "PortSIP acme", "termination": "portsip-pbx"})
    with pytest.raises(Exception, match="has this termination URI"):
        run_section("01", "apply", taken)
    assert "PortSIP acme" not in str(sandbox.vendors.get("/v1/Trunks"))


@pytest.mark.parametrize(
    ("url", "works"),
    [
        ("https://demo.twilio.com/welcome/voice/", False),
        ("https://ivr.customer.example/?fallback=demo.twilio.com", True),
        ("https://demo.twilio.com.evil.example/", True),
    ],
)
def test_only_twilios_own_demo_counts_as_nothing(sandbox: TestSandbox, url: str, works: bool) -> None:
    sid = sandbox.vendors.numbers()["+12025550101"]["sid"]
    path = sandbox.vendors.numbers()["+12025550101"]["uri"]
    assert sid in path
    twilio_post(sandbox, path, VoiceUrl=url)
    run_section("01")
    assert rows("04", acme())["+12025550101"][0] is (Action.CONFLICT if works else Action.UPDATE)


def test_a_transport_that_is_switched_off_is_none(sandbox: TestSandbox) -> None:
    patch = {
        "vendor": "portsip",
        "kind": "transports",
        "match": {"protocol": "UDP"},
        "set": {"active": False},
    }
    sandbox.control("POST", "state/patch", patch)
    assert rows("00", acme())["PBX transport"][0] is Action.CONFLICT


def uri(region: str, *, enabled: bool = True) -> dict[str, Any]:
    return {"region": region, "priority": 10, "enabled": enabled}


def test_disabling_the_last_uri_of_a_trunk_with_numbers_interrupts(sandbox: TestSandbox) -> None:
    run_all()
    update, stop = (Action.UPDATE, Effect.NONE), (Action.CONFLICT, Effect.INTERRUPTS_INBOUND)
    us1_off = [uri("us1", enabled=False), uri("us2")]
    assert rows("03", acme(origination={"uris": us1_off}))["us1 enabled"] == update  # us2 takes the calls
    both_off = [uri("us1", enabled=False), uri("us2", enabled=False)]
    found = rows("03", acme(origination={"uris": both_off}))
    assert (found["us1 enabled"], found["us2 enabled"]) == (stop, stop)
    # The plan would take away the other one, too.
    assert rows("03", acme(origination={"uris": both_off[:1]}))["us1 enabled"] == stop
    twilio_post(sandbox, _uri(sandbox, "us2"), Enabled="false")
    assert rows("03", acme(origination={"uris": both_off}))["us1 enabled"] == stop
    # us2 is switched on by the same plan, but only after us1 is off.
    assert rows("03", acme(origination={"uris": us1_off}))["us1 enabled"] == stop


def test_taking_away_the_last_enabled_uri_interrupts(sandbox: TestSandbox) -> None:
    run_all()
    found = rows("03", acme(origination={"uris": [uri("de1", enabled=False)]}))
    gone = [effect for setting, (_, effect) in found.items() if setting.startswith("origination URI")]
    assert gone == [Effect.INTERRUPTS_INBOUND] * 2
    found = rows("03", acme(origination={"uris": [uri("de1")]}))
    gone = [effect for setting, (_, effect) in found.items() if setting.startswith("origination URI")]
    assert gone == [Effect.NONE] * 2


BOTH, INBOUND, OUTBOUND = Effect.INTERRUPTS_BOTH, Effect.INTERRUPTS_INBOUND, Effect.INTERRUPTS_OUTBOUND


@pytest.mark.parametrize(
    ("live", "setting", "effect"),
    [
        ({"concurrency": 200_000}, "max concurrent calls", BOTH),
        ({"concurrency": 5}, "max concurrent calls", Effect.NONE),
        ({"username": "x"}, "user name (three-part authentication only)", OUTBOUND),
        ({"additional_ips": "54.172.60.0/30"}, "associated IP addresses", Effect.NONE),
        ({"additional_ips": "54.172.60.0/30;198.51.100.0/30"}, "associated IP addresses", Effect.NONE),
        ({"verify_port": True}, "verify port", Effect.NONE),
    ],
    ids=str,
)
def test_what_a_change_of_the_pbx_trunk_does_to_calls(
    sandbox: TestSandbox, live: dict[str, Any], setting: str, effect: Effect
) -> None:
    run_all()
    patch = {"vendor": "portsip", "kind": "providers", "match": {"name": "Twilio-Reg-Trunk"}, "set": live}
    sandbox.control("POST", "state/patch", patch)
    action = Action.UPDATE if effect is Effect.NONE else Action.CONFLICT
    assert rows("05", acme())[setting] == (action, effect)


@pytest.mark.parametrize(
    ("kind", "change", "setting", "effect"),
    [
        ("outbound", {"number_prefix": "7"}, "number begins with", OUTBOUND),
        ("outbound", {"number_length": "7"}, "digits dialled", OUTBOUND),
        ("outbound", {"number_length": None}, "digits dialled", Effect.NONE),
        ("outbound", {"extensions": "1001"}, "extensions", OUTBOUND),
        ("outbound", {"prepend": "+999"}, "prepend", OUTBOUND),
        ("outbound", {"strip_digits": 2}, "digits to strip", OUTBOUND),
        ("outbound", {"caller_id": "+12025550106"}, "caller id", Effect.NONE),
        ("outbound", {"caller_id": None}, "caller id", OUTBOUND),
        ("outbound", {"priority": 7}, "priority", Effect.NONE),
        ("inbound", {"extension": "9999"}, "office hours", INBOUND),
        ("inbound", {"holidays": "9999"}, "holidays", INBOUND),
        ("inbound", {"dids": "12025550105"}, "numbers", INBOUND),
    ],
    ids=str,
)
def test_what_a_change_of_a_rule_does_to_calls(
    sandbox: TestSandbox, kind: str, change: dict[str, Any], setting: str, effect: Effect
) -> None:
    globex = YAML(typ="safe").load(CHECKOUT / "parameters/sandbox/globex.yaml")
    run_all(tenant=globex)
    rules = globex["tenant"]["rules"]
    rules[kind] = rules[kind][1:]
    rule = rules[kind][0]
    rule |= change
    found = rows("06", globex)[f"{kind} rule {rule['name']}: {setting}"]
    assert found == (Action.UPDATE if effect is Effect.NONE else Action.CONFLICT, effect)
    # A rule that is switched off serves no call.
    match = {"name": rule["name"]}
    patch = {"vendor": "portsip", "kind": f"{kind}_rules", "match": match, "set": {"enabled": False}}
    sandbox.control("POST", "state/patch", patch)
    found = rows("06", globex)[f"{kind} rule {rule['name']}: {setting}"]
    assert found == (Action.UPDATE, Effect.NONE)


def _uri(sandbox: TestSandbox, region: str) -> str:
    path = trunk_path(sandbox) + "/OriginationUrls"
    urls = sandbox.vendors.get(path)["origination_urls"]
    return f"{path}/{next(one['sid'] for one in urls if one['sip_url'].endswith(region))}"


def test_a_foreign_uri_stays_and_does_not_stop_the_section(sandbox: TestSandbox) -> None:
    run_section("01")
    path = trunk_path(sandbox) + "/OriginationUrls"
    foreign = {
        "FriendlyName": "SBC",
        "SipUrl": "sip:198.51.100.7",
        "Priority": 5,
        "Weight": 5,
        "Enabled": "true",
    }
    twilio_post(sandbox, path, **foreign)
    run_section("03")
    assert (5, 5, True, "sip:198.51.100.7") in sandbox.vendors.trunk(DOMAIN)["origination"]


def test_what_we_put_there_and_is_not_asked_for_any_more_is_taken_away(sandbox: TestSandbox) -> None:
    run_all()
    uris = [{"region": "us1", "priority": 10}, {"region": "ie1", "priority": 20}]
    run_section("03", "apply", acme(origination={"uris": uris}))
    assert [url for *_, url in sandbox.vendors.trunk(DOMAIN)["origination"]] == [
        "sip:203.0.113.10;region=us1",
        "sip:203.0.113.10;region=ie1",
    ]


def test_a_live_pool_that_cannot_be_read_is_a_conflict(sandbox: TestSandbox) -> None:
    run_all()
    patch = {
        "vendor": "portsip",
        "kind": "providers",
        "match": {"name": ACME_PBX_TRUNK["name"]},
        "set": {"did_numbers": "12025550101-12025550104;+12025550107"},
    }
    sandbox.control("POST", "state/patch", patch)
    assert rows("05", acme())["DID pool"][0] is Action.CONFLICT


def test_a_killed_run_between_the_passwords_writes_both_again(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("01", "02", "03"):
        run_section(number)
    monkeypatch.setenv("RUNBOOK_TEST_SIP", "Another-Passw0rd-99")
    changed = acme(termination=credentials(password="env:RUNBOOK_TEST_SIP"))
    for number in ("02", "03", "05"):
        run_section(number, "apply", changed)
    state = json.dumps(sandbox.control("GET", "state").json())
    digest = hashlib.sha256(b"Another-Passw0rd-99").hexdigest()
    assert state.count(digest) == 2
