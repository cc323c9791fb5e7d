"""Every operation of the vendors' own OpenAPI documents: the sandbox's answers fit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from runbook_sandbox import demo
from tests.documents import Contract, operations, require_documents


@pytest.fixture(autouse=True)
def documents() -> None:
    require_documents()


@pytest.fixture
def watched(sandbox) -> Iterator[tuple[Contract, httpx.Client, Callable[..., httpx.Client]]]:
    """Clients of both vendors whose traffic is validated."""
    contract = Contract()
    hooks = {"response": [contract.check]}

    def pbx(*who: str, **how: str) -> httpx.Client:
        client = sandbox.sign_in(*who, **how)
        client.event_hooks = hooks
        return client

    with httpx.Client(base_url=sandbox.twilio.base_url, auth=sandbox.auth, event_hooks=hooks) as twilio:
        yield contract, twilio, pbx


def test_every_operation_of_twilio(watched, sandbox):
    contract, twilio, _ = watched
    a, sip = sandbox.account, f"{sandbox.account}/SIP"
    twilio.get(f"{a}.json")
    twilio.post(f"{a}.json", data={"FriendlyName": "Renamed"})
    for kind in ("Local", "Mobile", "TollFree"):
        offer = twilio.get(f"{a}/AvailablePhoneNumbers/US/{kind}.json").json()["available_phone_numbers"][0]
    bought = twilio.post(
        f"{a}/IncomingPhoneNumbers.json", data={"PhoneNumber": offer["phone_number"]}
    ).json()["sid"]
    twilio.post(
        f"{a}/IncomingPhoneNumbers/{bought}.json",
        data={"VoiceUrl": "https://x.example/", "FriendlyName": "n"},
    )
    twilio.get(f"{a}/IncomingPhoneNumbers/{bought}.json")
    twilio.get(f"{a}/IncomingPhoneNumbers.json", params={"PageSize": 5, "Page": 1})

    body = {"FriendlyName": "T", "DomainName": "contract.pstn.twilio.com", "Secure": "true"}
    trunk = f"/v1/Trunks/{twilio.post('/v1/Trunks', data=body).json()['sid']}"
    twilio.post(trunk, data={"CnamLookupEnabled": "true", "DisasterRecoveryUrl": "https://x.example/twiml"})
    twilio.get(trunk)
    twilio.get("/v1/Trunks", params={"PageSize": 1})
    route = f"/v2/Trunks/{body['DomainName']}"
    assert twilio.get(route).status_code == 404
    twilio.post(route, data={"VoiceRegion": "ie1", "FriendlyName": "R"})
    assert twilio.get(route).json()["voice_region"] == "ie1"
    route = f"/v2/PhoneNumbers/{offer['phone_number']}"
    assert twilio.get(route).status_code == 404
    twilio.post(route, data={"VoiceRegion": "au1"})
    assert twilio.get(route).json()["voice_region"] == "au1"
    twilio.get(f"{trunk}/Recording")
    twilio.post(f"{trunk}/Recording", data={"Mode": "record-from-ringing", "Trim": "trim-silence"})
    url = {
        "Weight": 10,
        "Priority": 10,
        "Enabled": "true",
        "FriendlyName": "us1",
        "SipUrl": "sip:203.0.113.10;region=us1",
    }
    urls = f"{trunk}/OriginationUrls"
    one = f"{urls}/{twilio.post(urls, data=url).json()['sid']}"
    for path in (urls, one):
        twilio.get(path)
    twilio.post(one, data={"Enabled": "false"})

    phones = f"{trunk}/PhoneNumbers"
    twilio.post(phones, data={"PhoneNumberSid": bought})
    for path in (phones, f"{phones}/{bought}"):
        twilio.get(path)

    credential = {"Username": "u", "Password": "Correct-Horse-42"}
    for part, entries, entry, changed, parameter in (
        (
            "IpAccessControlLists",
            "IpAddresses",
            {"FriendlyName": "PBX", "IpAddress": "203.0.113.10", "CidrPrefixLength": 32},
            {"FriendlyName": "PBX 2"},
            "IpAccessControlListSid",
        ),
        ("CredentialLists", "Credentials", credential, {"Password": "Another-Horse-43"}, "CredentialListSid"),
    ):
        lists = f"{sip}/{part}"
        sid = twilio.post(f"{lists}.json", data={"FriendlyName": "L"}).json()["sid"]
        twilio.post(f"{lists}/{sid}.json", data={"FriendlyName": "M"})
        for path in (f"{lists}.json", f"{lists}/{sid}.json"):
            twilio.get(path)
        inside = f"{lists}/{sid}/{entries}"
        inner = twilio.post(f"{inside}.json", data=entry).json()["sid"]
        twilio.post(f"{inside}/{inner}.json", data=changed)
        for path in (f"{inside}.json", f"{inside}/{inner}.json"):
            twilio.get(path)
        twilio.post(f"{trunk}/{part}", data={parameter: sid})
        for path in (f"{trunk}/{part}", f"{trunk}/{part}/{sid}"):
            twilio.get(path)
        twilio.delete(f"{trunk}/{part}/{sid}")
        twilio.delete(f"{inside}/{inner}.json")
        twilio.delete(f"{lists}/{sid}.json")
    for path in (f"{phones}/{bought}", one, trunk, f"{a}/IncomingPhoneNumbers/{bought}.json"):
        twilio.delete(path)
    assert not contract.broken, "\n".join(contract.broken)
    # The Regions of SIP domains are nobody's business here.
    routes = {one for one in operations("routes") if not one[1].startswith("/v2/SipDomains/")}
    assert (operations("trunking", "api") | routes) - contract.seen == set()


def test_every_operation_of_portsip(watched, sandbox, trunk_body):
    contract, _, pbx = watched
    with pbx() as admin, pbx("acme") as acme:
        public = httpx.Client(
            base_url=sandbox.pbx.base_url,
            transport=sandbox.pbx._transport,
            event_hooks={"response": [contract.check]},
        )
        public.get("/info", params={"domain": "acme.pbx.example"})
        body = {"username": "admin", "password": sandbox.secrets["portsip_tenant_password"]}
        public.post("/auth/sign_in", json=body | {"domain": "hooli.pbx.example"})
        tokens = public.post("/auth/sign_in", json=body | {"domain": "acme.pbx.example"}).json()
        public.post("/auth/refresh_token", json={"refresh_token": tokens["refresh_token"]})
        network = admin.get("/network").json()
        admin.post("/network", json=network)
        for path in ("/auth/user", "/admin/status", "/transports", "/transports/UDP/status", "/tenants"):
            admin.get(path)
        new = {
            "name": "N",
            "domain": "n.pbx.example",
            "timezone": "Europe/Berlin",
            "currency": "EUR",
            "region": "DEU",
        }
        tenant = admin.post("/tenants", json=new).json()["id"]
        admin.get(f"/tenants/{tenant}")
        for path in ("/tenant", "/tenant/status"):
            acme.get(path)

        shared = f"/providers/{admin.post('/providers', json=trunk_body(auth_id='shared')).json()['id']}"
        assignee = f"{shared}/assignees/{demo.TENANTS['acme']}"
        admin.post(assignee, json={"did_numbers": "12025550104", "concurrency": 5})
        for path in (f"{shared}/assignees", assignee, shared, "/providers", "/providers/export"):
            admin.get(path)
        own = f"/providers/{acme.post('/providers', json=trunk_body()).json()['id']}"
        acme.post(own, json={"registration": False})
        for path in ("/providers", own, shared, f"{own}/status", f"/providers/{demo.ACME_GENERIC_TRUNK_ID}"):
            acme.get(path, params={"top": 10} if path == "/providers" else None)
        forward = {"action": "FORWARD_TO_NUMBER", "number": "1001"}
        inbound = {
            "name": "In",
            "did_numbers": "12025550100",
            "provider_id": own.rsplit("/")[-1],
            "office_hours_forward_rule": forward,
            "office_hours": {
                "mode": "CUSTOM",
                "monday": {"enabled": True, "ranges": [{"from": "09:00", "to": "17:00"}]},
            },
        }
        route = {"provider_id": own.rsplit("/")[-1], "prepend": "+1", "outbound_caller_id": "+12025550100"}
        outbound = {"name": "Out", "number_length": "10", "routes": [route]}
        for path, rule in (("/inbound_rules", inbound), ("/outbound_rules", outbound)):
            one = f"{path}/{acme.post(path, json=rule).json()['id']}"
            acme.get(path)
            acme.get(one)
            acme.post(one, json={"enabled": False})
            if path == "/inbound_rules":
                acme.get(f"{path}/export")
            acme.post(f"{one}/destroy")
        acme.post(f"{own}/destroy")
        admin.post(f"{assignee}/destroy")
        admin.post(f"{shared}/destroy")
        admin.post("/tenants/switch", params={"id": demo.TENANTS["acme"]})
        admin.post("/auth/sign_out")
    assert not contract.broken, "\n".join(contract.broken)
    assert operations("portsip") - contract.seen == set()


def test_a_wrong_answer_is_noticed(watched, sandbox):
    contract, twilio, _ = watched
    sandbox.patch(vendor="twilio", kind="trunks", id=demo.LEGACY_TRUNK_SID, set={"secure": "perhaps"})
    twilio.get(f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}")
    assert "perhaps" in contract.broken[0]


def test_what_the_documents_do_not_have_is_noticed(watched, sandbox, trunk_body):
    contract, twilio, pbx = watched
    twilio.get("/v1/Trunks", params={"Sort": "name"})
    twilio.post("/v1/Trunks", data={"FriendlyName": "T", "Colour": "red"})
    twilio.post("/v1/Trunks", json={"FriendlyName": "T"})
    twilio.get("/v1/Nothing")
    with pbx() as admin:
        admin.post("/providers", json=trunk_body(port="5060"))
        admin.get("/transports/WSS/status")
    words = [
        "Sort",
        "Colour",
        "application/json",
        "/v1/Nothing",
        "'5060' is not of type",
        "'WSS' is not one of",
    ]
    assert len(contract.broken) == len(words)
    for word, problem in zip(words, contract.broken, strict=True):
        assert word in problem
