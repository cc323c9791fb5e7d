"""Who changed what: Twilio's Monitor events and the PBX's audit log fit the vendors' documents."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from runbook_sandbox import demo
from tests.documents import Contract, require_documents

from .conftest import Running

ANN = {"sid": "US" + "a" * 32, "kind": "user", "name": "ann", "source": "web", "ip": "192.0.2.7"}
NUMBER = demo.number_sid("+12025550100")


@pytest.fixture
def contract() -> Contract:
    require_documents()
    return Contract()


@pytest.fixture
def twilio(sandbox: Running, contract: Contract) -> Iterator[httpx.Client]:
    hooks = {"response": [contract.check]}
    with httpx.Client(base_url=sandbox.twilio.base_url, auth=sandbox.auth, event_hooks=hooks) as client:
        yield client


@pytest.fixture
def admin(sandbox: Running, contract: Contract) -> Iterator[httpx.Client]:
    with sandbox.sign_in() as client:
        client.event_hooks = {"response": [contract.check]}
        yield client


def events(twilio: httpx.Client, **params: str) -> list[dict]:
    answer = twilio.get("/v1/Events", params={"PageSize": "1000"} | params)
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def audit(client: httpx.Client, **params: str) -> list[dict]:
    answer = client.get("/audit_logs", params={"top": "100"} | params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_every_write_at_twilio_is_an_event_of_whose_credentials_made_it(
    sandbox: Running, twilio: httpx.Client, contract: Contract
) -> None:
    body = {"FriendlyName": "T", "DomainName": "history.pstn.twilio.com"}
    sid = twilio.post("/v1/Trunks", data=body).json()["sid"]
    twilio.post(f"/v1/Trunks/{sid}", data={"FriendlyName": "U"})
    twilio.delete(f"/v1/Trunks/{sid}")
    found = events(twilio, ResourceSid=sid)
    assert [event["event_type"] for event in found] == ["trunk.deleted", "trunk.updated", "trunk.created"]
    assert {event["actor_sid"] for event in found} == {demo.ACCOUNT_SID}
    changed = found[1]["event_data"]["resource_properties"]
    assert changed == {"friendly_name": {"previous": "T", "updated": "U"}}
    assert twilio.get(f"/v1/Events/{found[0]['sid']}").json() == found[0]
    assert not contract.broken, "\n".join(contract.broken)


def test_a_password_is_an_event_without_its_value(sandbox: Running, twilio: httpx.Client) -> None:
    path = f"{sandbox.account}/SIP/CredentialLists/{demo.LEGACY_CREDENTIAL_LIST_SID}/Credentials.json"
    twilio.post(path, data={"Username": "u", "Password": "Correct-Horse-42"})
    text = json.dumps(events(twilio))
    assert '"credential.created"' in text and "Horse" not in text and "sha256" not in text


def test_events_by_time_and_page(sandbox: Running, twilio: httpx.Client, contract: Contract) -> None:
    path = f"{sandbox.account}/IncomingPhoneNumbers/{NUMBER}.json"
    twilio.post(path, data={"FriendlyName": "before"})
    sandbox.control.post("/clock", json={"advance": 1800})
    then = sandbox.control.post("/clock", json={"advance": 1800}).json()["now"][:16] + ":00Z"
    twilio.post(path, data={"FriendlyName": "after"})
    assert len(events(twilio)) == 2
    after = events(twilio, StartDate=then)
    assert [event["event_data"]["resource_properties"]["friendly_name"]["updated"] for event in after] == [
        "after"
    ]
    page = twilio.get("/v1/Events", params={"PageSize": 1}).json()
    assert len(page["events"]) == 1 and page["meta"]["next_page_url"]
    sandbox.control.post("/clock", json={"advance": 31 * 86_400})
    assert events(twilio) == []
    assert not contract.broken, "\n".join(contract.broken)


def test_what_is_changed_by_hand_may_have_an_actor(sandbox: Running, twilio: httpx.Client) -> None:
    change = {"vendor": "twilio", "kind": "numbers", "id": NUMBER}
    sandbox.patch(**change, set={"friendly_name": "nobody"})
    assert events(twilio) == []
    sandbox.patch(**change, set={"friendly_name": "ann"}, actor=ANN)
    [event] = events(twilio)
    assert (event["actor_sid"], event["source"], event["source_ip_address"]) == (
        ANN["sid"],
        "web",
        "192.0.2.7",
    )


def test_switches_of_events(sandbox: Running, twilio: httpx.Client, contract: Contract) -> None:
    acl = {"IpAccessControlListSid": demo.LEGACY_ACL_SID}
    sid = twilio.post("/v1/Trunks", data={"FriendlyName": "T"}).json()["sid"]
    twilio.post(f"/v1/Trunks/{sid}/IpAccessControlLists", data=acl)
    twilio.post(f"{sandbox.account}/IncomingPhoneNumbers/{NUMBER}.json", data={"FriendlyName": "n"})
    assert [event["resource_sid"] for event in events(twilio)[1:]] == [demo.LEGACY_ACL_SID, sid]
    sandbox.switch(twilio__event_of_an_attachment="trunk", twilio__event_properties="absent")
    assert [event["resource_sid"] for event in events(twilio)[1:]] == [sid, sid]
    assert {event["event_data"] for event in events(twilio)} == {None}
    sandbox.switch(twilio__events="numbers only")
    assert [event["resource_sid"] for event in events(twilio)] == [NUMBER]
    sandbox.switch(twilio__events="forbidden")
    assert twilio.get("/v1/Events").status_code == 403
    assert not contract.broken, "\n".join(contract.broken)


def test_every_write_at_the_pbx_is_in_the_audit_log(
    sandbox: Running, admin: httpx.Client, acme: httpx.Client, contract: Contract, trunk_body
) -> None:
    trunk = acme.post("/providers", json=trunk_body()).json()["id"]
    acme.post(f"/providers/{trunk}", json={"concurrency": 7})
    acme.post(f"/providers/{trunk}/destroy")
    found = [entry for entry in audit(admin) if entry["object_type"] == "PROVIDER"]
    assert [entry["action"] for entry in found] == ["DELETE", "UPDATE", "CREATE"]
    assert {(entry["user_name"], entry["object_name"]) for entry in found} == {("admin", "Twilio-Reg-Trunk")}
    assert json.loads(found[1]["new_state"])["concurrency"] == 7
    assert "Horse" not in json.dumps(found)
    assert {"LOGIN"} <= {entry["action"] for entry in audit(admin)}
    assert not contract.broken, "\n".join(contract.broken)


def test_switches_of_the_audit_log(
    sandbox: Running, admin: httpx.Client, acme: httpx.Client, contract: Contract
) -> None:
    rule = {"vendor": "portsip", "kind": "inbound_rules", "id": "830000000000000001"}
    sandbox.patch(**rule, set={"enabled": False}, actor=ANN)
    tenant = {"vendor": "portsip", "kind": "tenants", "id": demo.TENANTS["globex"]}
    sandbox.patch(**tenant, set={"website": "https://globex.example"}, actor=ANN | {"name": "ben"})
    assert [entry["user_name"] for entry in audit(admin)[:2]] == ["ben", "ann"]
    assert "ben" not in {entry["user_name"] for entry in audit(acme)}
    sandbox.switch(portsip__audit_scope="all", portsip__audit_order="oldest", portsip__audit_states="absent")
    assert [entry["user_name"] for entry in audit(acme)[-2:]] == ["ann", "ben"]
    assert audit(acme)[-1]["new_state"] == ""
    sandbox.switch(portsip__audit_log="forbidden")
    assert admin.get("/audit_logs").status_code == 403
    assert not contract.broken, "\n".join(contract.broken)
