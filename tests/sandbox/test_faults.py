"""Faults on the wire, barriers, the request log, the timeline and changes behind the API."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from runbook_sandbox import demo

TRUNKS = "/v1/Trunks"


def trunk_names(sandbox) -> list[str]:
    return [trunk["friendly_name"] for trunk in sandbox.state()["twilio"]["trunks"].values()]


def test_statuses(sandbox, admin):
    sandbox.fault(vendor="twilio", kind="status", status=429, retry_after="2")
    answer = sandbox.twilio.get(TRUNKS)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, 20429, "2")
    assert sandbox.twilio.get(TRUNKS).status_code == 200, "once only"
    sandbox.fault(kind="status", status=503, path="^/api/providers$", method="GET", nth=2, count=2)
    assert [admin.get("/providers").status_code for _ in range(4)] == [200, 503, 503, 200]
    sandbox.fault(vendor="portsip", kind="status", status=500)
    answer = admin.get("/providers")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, "UNKNOWN")
    assert [fault["applied"] for fault in sandbox.control.get("/faults").json()["faults"]] == [1, 2, 1]


def test_requests_at_once(sandbox):
    """More than the account may have in flight are answered 429, carried out they are not."""
    sandbox.switch(twilio__requests_at_once=2, twilio__latency_ms=300)
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda name: sandbox.twilio.post(TRUNKS, data={"FriendlyName": name}), "abcd")
        answers = list(made)
    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429]
    counts = {answer.status_code: int(answer.headers["Twilio-Concurrent-Requests"]) for answer in answers}
    assert counts[201] <= 2 < counts[429]
    assert len(set("abcd") & set(trunk_names(sandbox))) == 2
    again = sandbox.twilio.get(TRUNKS)
    assert (again.status_code, again.headers["Twilio-Concurrent-Requests"]) == (200, "1")


@pytest.mark.parametrize("retry_after", ["absent", "seconds"])
def test_requests_a_minute(sandbox, retry_after):
    sandbox.switch(portsip__requests_per_minute=1_000, portsip__retry_after=retry_after)
    assert {sandbox.pbx.get("/info").status_code for _ in range(1_000)} == {200}
    refused = sandbox.pbx.get("/info")
    assert refused.status_code == 429 and refused.json()["errors"]
    assert ("retry-after" in refused.headers) is (retry_after == "seconds")
    sandbox.switch(portsip__requests_per_minute=1_001)
    assert sandbox.pbx.get("/info").status_code == 200, "what is refused does not count"


@pytest.mark.parametrize(("kind", "made"), [("reset_before", False), ("reset_after", True), ("cut", True)])
def test_broken_connections_over_plain_http(sandbox, kind, made):
    sandbox.fault(vendor="twilio", kind=kind, method="POST")
    with pytest.raises(httpx.TransportError):
        sandbox.twilio.post(TRUNKS, data={"FriendlyName": "Broken"})
    assert ("Broken" in trunk_names(sandbox)) is made
    [entry] = [e for e in sandbox.requests() if e["method"] == "POST"]
    assert (entry["fault"], entry["effect"], entry["status"]) == (kind, made, None)
    assert sandbox.twilio.get(TRUNKS).status_code == 200


@pytest.mark.parametrize(("kind", "made"), [("reset_before", False), ("reset_after", True), ("cut", True)])
def test_broken_connections_over_tls(sandbox, acme, trunk_body, kind, made):
    sandbox.fault(vendor="portsip", kind=kind, method="POST", path="providers$")
    with pytest.raises(httpx.TransportError):
        acme.post("/providers", json=trunk_body())
    names = [row["name"] for row in sandbox.state()["portsip"]["providers"].values()]
    assert ("Twilio-Reg-Trunk" in names) is made
    assert acme.get("/providers").status_code == 200


def test_reset_is_a_reset_on_the_wire(sandbox):
    sandbox.fault(vendor="twilio", kind="reset_before")
    port = int(sandbox.endpoints["twilio_api_url"].rsplit(":")[-1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(b"GET /v1/Trunks HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


@pytest.mark.parametrize("vendor", ["twilio", "portsip"])
def test_refused_connections(sandbox, vendor):
    client, path = (sandbox.twilio, TRUNKS) if vendor == "twilio" else (sandbox.pbx, "/info")
    assert client.get(path).status_code == 200
    sandbox.fault(vendor=vendor, kind="refused", seconds=0.4)
    with pytest.raises(httpx.TransportError):
        client.get(path)
    with pytest.raises(httpx.ConnectError):
        client.get(path)
    time.sleep(0.6)
    assert client.get(path).status_code == 200


def test_refused_after_an_answer_and_at_once(sandbox):
    sandbox.fault(vendor="portsip", kind="refused_after", seconds=0.3)
    assert sandbox.pbx.get("/info").status_code == 200
    time.sleep(0.05)
    with pytest.raises(httpx.ConnectError):
        sandbox.pbx.get("/info")
    time.sleep(0.4)
    assert sandbox.pbx.get("/info").status_code == 200
    sandbox.fault(vendor="portsip", kind="refused", now=True, seconds=0.3)
    time.sleep(0.1)
    with pytest.raises(httpx.ConnectError):
        sandbox.pbx.get("/info")
    time.sleep(0.4)
    assert sandbox.pbx.get("/info").status_code == 200


def test_not_json(sandbox):
    sandbox.fault(vendor="twilio", kind="not_json", method="POST")
    answer = sandbox.twilio.post(TRUNKS, data={"FriendlyName": "Made"})
    assert answer.status_code == 201 and answer.text.startswith("<html>")
    assert "Made" in trunk_names(sandbox)


def test_slowness(sandbox):
    sandbox.fault(vendor="twilio", kind="delay", seconds=1.0, effect="first", method="POST")
    with pytest.raises(httpx.ReadTimeout):
        sandbox.twilio.post(TRUNKS, data={"FriendlyName": "Slow"}, timeout=0.3)
    assert "Slow" in trunk_names(sandbox)
    sandbox.switch(twilio__latency_ms=200)
    began = time.monotonic()
    assert sandbox.twilio.get(TRUNKS).status_code == 200
    assert time.monotonic() - began >= 0.2


def test_tokens_and_passwords(sandbox, admin):
    sandbox.fault(kind="expired_token", vendor="portsip", path="providers")
    assert [admin.get("/providers").status_code for _ in range(2)] == [401, 401], "it stays expired"
    sandbox.fault(kind="wrong_password", vendor="portsip", path="sign_in")
    body = {"username": "admin", "password": sandbox.secrets["portsip_admin_password"]}
    assert sandbox.pbx.post("/auth/sign_in", json=body).status_code == 400
    tokens = sandbox.pbx.post("/auth/sign_in", json=body).json()
    sandbox.fault(kind="revoked_token", vendor="portsip", path="user")
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert sandbox.pbx.get("/auth/user", headers=bearer).status_code == 401
    again = sandbox.pbx.post("/auth/refresh_token", json={"refresh_token": tokens["refresh_token"]})
    assert again.status_code == 400
    sandbox.fault(kind="wrong_password", vendor="twilio")
    assert sandbox.twilio.get(TRUNKS).json()["code"] == 20003


def test_a_barrier_holds_writes_until_all_have_read(sandbox):
    sandbox.control.post(
        "/barriers", json={"vendor": "twilio", "method": "POST", "path": "Trunks$", "waiters": 2}
    )

    def read_and_write(name: str) -> int:
        auth = sandbox.auth
        with httpx.Client(base_url=sandbox.endpoints["twilio_api_url"], auth=auth, timeout=10) as client:
            seen = len(client.get(TRUNKS).json()["trunks"])
            client.post(TRUNKS, data={"FriendlyName": name})
            return seen

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read_and_write, "one")
        time.sleep(0.3)
        assert len(trunk_names(sandbox)) == 1, "the first write waits"
        second = pool.submit(read_and_write, "two")
        assert (first.result(), second.result()) == (1, 1)
    assert len(trunk_names(sandbox)) == 3
    [barrier] = sandbox.control.get("/barriers").json()["barriers"]
    assert barrier["state"] == "released"


def test_a_barrier_gives_up(sandbox):
    sandbox.control.post("/barriers", json={"waiters": 2, "timeout": 0.2})
    assert sandbox.twilio.get(TRUNKS).status_code == 200
    assert sandbox.control.get("/barriers").json()["barriers"][0]["state"] == "timed out"
    sandbox.control.delete("/barriers")
    sandbox.control.post("/barriers", json={"waiters": 2, "timeout": 20})
    threading.Timer(0.2, sandbox.control.delete, ["/barriers"]).start()
    assert sandbox.twilio.get(TRUNKS).status_code == 200


def test_request_log_masks_secrets_and_marks_effects(sandbox, acme, trunk_body):
    sandbox.control.delete("/requests")
    users = f"{sandbox.account}/SIP/CredentialLists/{demo.LEGACY_CREDENTIAL_LIST_SID}/Credentials.json"
    sandbox.twilio.post(users, data={"Username": "u", "Password": "Correct-Horse-42"})
    acme.post("/providers", json=trunk_body())
    acme.get("/providers", params={"top": 5})
    log = sandbox.requests()
    assert [(e["vendor"], e["method"], e["status"], e["effect"]) for e in log] == [
        ("twilio", "POST", 201, True),
        ("portsip", "POST", 201, True),
        ("portsip", "GET", 200, False),
    ]
    assert (log[0]["body"]["Username"], log[0]["body"]["Password"]) == ("u", "***")
    assert log[1]["body"]["password"] == "***" and log[2]["query"] == {"top": "5"}
    text = sandbox.control.get("/requests").text + sandbox.control.get("/state").text
    for secret in ("Correct-Horse-42", *sandbox.secrets.values(), acme.headers["Authorization"].split()[1]):
        assert secret not in text


def test_changes_behind_the_api(sandbox, acme):
    trunk = demo.ACME_GENERIC_TRUNK_ID
    sandbox.patch(vendor="portsip", kind="providers", match={"name": "Acme landline"}, set={"concurrency": 3})
    assert acme.get(f"/providers/{trunk}").json()["concurrency"] == 3
    sandbox.patch(
        vendor="twilio", kind="origination_urls", match={"friendly_name": "Legacy SBC"}, remove=True
    )
    assert not sandbox.state()["twilio"]["origination_urls"]
    sandbox.patch(vendor="portsip", kind="providers", id=demo.TELNYX_TRUNK_ID, remove=True)
    assert acme.get("/providers").json()["count"] == 1
    wrong = {"vendor": "twilio", "kind": "numbers", "id": "PN1", "set": {}}
    assert sandbox.control.post("/state/patch", json=wrong).status_code == 400
    assert not sandbox.requests()[-1]["effect"]


def test_switches_refuse_nonsense(sandbox):
    answer = sandbox.control.post("/switches", json={"portsip.provider_update": "replace", "x": 1})
    assert answer.status_code == 400 and "unknown switch 'x'" in answer.json()["error"]
    listed = {s["name"]: s for s in sandbox.control.get("/switches").json()["switches"]}
    assert listed["portsip.provider_update"]["value"] == "merge"
    assert all(s["source"] and s["allowed"] for s in listed.values())


def test_reset_can_keep_things(sandbox):
    sandbox.switch(portsip__expires_in=60)
    sandbox.control.post("/reset", json={"keep": ["switches"]})
    values = {s["name"]: s["value"] for s in sandbox.control.get("/switches").json()["switches"]}
    assert values["portsip.expires_in"] == 60


def test_timeline_of_a_number(sandbox, acme, trunk_body):
    number = "+12025550109"
    trunk = sandbox.twilio.post(TRUNKS, data={"DomainName": "acme-runbook.pstn.twilio.com"}).json()["sid"]
    url = {
        "Weight": 10,
        "Priority": 10,
        "Enabled": "true",
        "FriendlyName": "us1",
        "SipUrl": "sip:203.0.113.10;region=us1",
    }
    sandbox.twilio.post(f"{TRUNKS}/{trunk}/OriginationUrls", data=url)
    provider = acme.post("/providers", json=trunk_body(did_numbers="12025550109")).json()["id"]
    rule = {"name": "Main", "provider_id": provider, "did_numbers": "12025550109"}
    acme.post("/inbound_rules", json=rule)
    attach = f"{TRUNKS}/{trunk}/PhoneNumbers"
    sandbox.twilio.post(attach, data={"PhoneNumberSid": demo.number_sid(number)})
    sandbox.patch(vendor="portsip", kind="inbound_rules", match={"name": "Main"}, set={"enabled": False})
    changes = sandbox.control.get("/timeline", params={"number": number}).json()["changes"]
    assert [(c["route"], c["routed"], c["why"]) for c in changes] == [
        (demo.CUSTOMER_VOICE_URL, True, "voice url"),
        ("trunk acme-runbook.pstn.twilio.com", True, "pool and rule"),
        ("trunk acme-runbook.pstn.twilio.com", False, "no pool or rule at the PBX"),
    ]
    assert changes[1]["seq"] == sandbox.requests()[-1]["seq"]


def test_large_data(sandbox, admin):
    sizes = {"numbers": 5000, "trunks": 100, "pbx_trunks": 3000, "tenants": 1000}
    answer = sandbox.control.post("/scale", json=sizes).json()
    assert {k: answer[k] for k in sizes} == sizes | {"pbx_trunks": 3000}
    assert admin.get("/tenants", params={"top": 100}).json()["count"] == 1000
    assert (
        admin.get("/providers", params={"filter": "hostname eq 'filler-7.carrier.example'"}).json()["count"]
        == 1
    )
    page = sandbox.twilio.get(
        f"{sandbox.account}/IncomingPhoneNumbers.json", params={"PageSize": 1000}
    ).json()
    assert len(page["incoming_phone_numbers"]) == 1000 and page["next_page_uri"]
    began = time.monotonic()
    sandbox.twilio.post(f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}", data={"FriendlyName": "Renamed"})
    assert time.monotonic() - began < 1
