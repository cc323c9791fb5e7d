"""Twilio's two APIs, through Twilio's own SDK where it has a way."""

from __future__ import annotations

import re

import pytest
from twilio.base.exceptions import TwilioRestException

from runbook_sandbox import demo


def code_of(error: pytest.ExceptionInfo[TwilioRestException]) -> int:
    return error.value.code


def test_whole_trunk_with_the_sdk(sdk, sandbox):
    trunk = sdk.trunking.v1.trunks.create(friendly_name="Acme", domain_name="acme-runbook.pstn.twilio.com")
    assert (trunk.secure, trunk.cnam_lookup_enabled, trunk.transfer_mode) == (False, False, "disable-all")
    assert (trunk.auth_type, trunk.auth_type_set) == ("", [])
    acl = sdk.api.v2010.accounts(demo.ACCOUNT_SID).sip.ip_access_control_lists.create(friendly_name="Acme")
    address = (
        sdk.api.v2010.accounts(demo.ACCOUNT_SID)
        .sip.ip_access_control_lists(acl.sid)
        .ip_addresses.create(friendly_name="PBX", ip_address="203.0.113.10")
    )
    assert address.cidr_prefix_length == 32
    credentials = sdk.api.v2010.accounts(demo.ACCOUNT_SID).sip.credential_lists.create(friendly_name="Acme")
    made = (
        sdk.api.v2010.accounts(demo.ACCOUNT_SID)
        .sip.credential_lists(credentials.sid)
        .credentials.create(username="acme-pbx", password="Correct-Horse-42")
    )
    assert made.username == "acme-pbx"
    part = sdk.trunking.v1.trunks(trunk.sid)
    assert part.ip_access_control_lists.create(ip_access_control_list_sid=acl.sid).sid == acl.sid
    assert part.credentials_lists.create(credential_list_sid=credentials.sid).sid == credentials.sid
    for priority, region in ((10, "us1"), (20, "us2")):
        part.origination_urls.create(
            weight=10,
            priority=priority,
            enabled=True,
            friendly_name=region,
            sip_url=f"sip:203.0.113.10;region={region}",
        )
    number = sdk.api.v2010.accounts(demo.ACCOUNT_SID).incoming_phone_numbers.list(
        phone_number="+12025550111"
    )[0]
    assert number.voice_application_sid == demo.APPLICATION_SID
    assert part.phone_numbers.create(phone_number_sid=number.sid).trunk_sid == trunk.sid

    trunk = part.fetch()
    assert trunk.auth_type == "IP_ACL,CREDENTIAL_LIST"
    assert trunk.auth_type_set == ["IP_ACL", "CREDENTIAL_LIST"]
    assert trunk.recording == {"mode": "do-not-record", "trim": "do-not-trim"}
    assert [url.priority for url in part.origination_urls.list()] == [10, 20]
    assert not number.fetch().voice_application_sid, "a trunk deletes the voice application"
    assert part.phone_numbers(number.sid).delete()
    assert number.fetch().trunk_sid is None
    assert sandbox.state()["twilio"]["credentials"][made.sid]["password_sha256"]


@pytest.mark.parametrize(
    ("domain", "code"),
    [
        ("portsip-pbx.pstn.twilio.com", 21248),
        ("legacy-sbc.pstn.twilio.com", 21248),
        ("LEGACY-SBC.pstn.twilio.com", 21248),
        ("acme.example.com", 21245),
        ("acme_1.pstn.twilio.com", 21245),
        ("-acme.pstn.twilio.com", 21245),
        ("a.unknown.pstn.twilio.com", 21247),
    ],
)
def test_domain_names(sdk, domain, code):
    with pytest.raises(TwilioRestException) as error:
        sdk.trunking.v1.trunks.create(domain_name=domain)
    assert code_of(error) == code


def test_nothing_is_generated_for_a_trunk(sdk):
    trunk = sdk.trunking.v1.trunks.create()
    assert (trunk.friendly_name, trunk.domain_name) == (None, None)
    sdk.trunking.v1.trunks(trunk.sid).update(friendly_name="Name", domain_name="named-later.pstn.twilio.com")
    assert sdk.trunking.v1.trunks(trunk.sid).update(friendly_name="").friendly_name is None


def test_sub_domain_of_an_own_trunk(sdk):
    sdk.trunking.v1.trunks.create(domain_name="eu.legacy-sbc.pstn.twilio.com")
    with pytest.raises(TwilioRestException) as error:
        sdk.trunking.v1.trunks(demo.LEGACY_TRUNK_SID).delete()
    assert code_of(error) == 21247


def test_bad_enumeration_and_ignored_symmetric_rtp(sandbox, sdk):
    with pytest.raises(TwilioRestException) as error:
        sdk.trunking.v1.trunks.create(transfer_mode="sometimes")
    assert code_of(error) == 20001
    path = f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}"
    answer = sandbox.twilio.post(path, data={"SymmetricRtpEnabled": "true"})
    assert answer.status_code == 200 and answer.json()["symmetric_rtp_enabled"] is False


def test_limit_of_trunks(sandbox, sdk):
    sandbox.control.post("/scale", json={"trunks": 100})
    with pytest.raises(TwilioRestException) as error:
        sdk.trunking.v1.trunks.create(friendly_name="one too many")
    assert code_of(error) == 21244


def test_recording(sdk):
    recording = sdk.trunking.v1.trunks(demo.LEGACY_TRUNK_SID).recordings()
    assert recording.update(mode="record-from-answer").mode == "record-from-answer"
    assert recording.fetch().trim == "do-not-trim"


def test_delete_keeps_the_numbers(sdk, sandbox):
    assert sdk.trunking.v1.trunks(demo.LEGACY_TRUNK_SID).delete()
    twilio = sandbox.state()["twilio"]
    assert twilio["numbers"][demo.number_sid("+12025550110")]["trunk_sid"] is None
    assert len(twilio["numbers"]) == 12
    assert not twilio["origination_urls"] and twilio["credential_lists"]


def test_delete_of_a_trunk_with_emergency_calling(sdk, sandbox):
    number = demo.number_sid("+12025550107")
    sandbox.patch(vendor="twilio", kind="numbers", id=number, set={"trunk_sid": demo.LEGACY_TRUNK_SID})
    with pytest.raises(TwilioRestException) as error:
        sdk.trunking.v1.trunks(demo.LEGACY_TRUNK_SID).delete()
    assert code_of(error) == 21634


def test_origination_urls(sandbox):
    path = f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}/OriginationUrls"
    body = {
        "Weight": "10",
        "Priority": "10",
        "Enabled": "true",
        "FriendlyName": "x",
        "SipUrl": "sip:192.168.1.4:5060;transport=tls;edge=ashburn",
    }
    for missing in body:
        answer = sandbox.twilio.post(path, data={k: v for k, v in body.items() if k != missing})
        assert (answer.status_code, answer.json()["code"]) == (400, 20001)
    for wrong in (
        {"Priority": "65536"},
        {"Weight": "-1"},
        {"Enabled": "maybe"},
        {"SipUrl": "http://x.example"},
        {"SipUrl": "sip:"},
        {"FriendlyName": "x" * 65},
    ):
        assert sandbox.twilio.post(path, data=body | wrong).json()["code"] == 20001, wrong
    assert (
        sandbox.twilio.post(path, data=body | {"SipUrl": "sips:pbx.example", "Weight": "0"}).status_code
        == 201
    )
    for _ in range(8):
        assert sandbox.twilio.post(path, data=body).status_code == 201
    assert sandbox.twilio.post(path, data=body).json()["code"] == 21249


def test_lists_attach_twice_and_delete_while_mapped(sandbox):
    attach = f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}/IpAccessControlLists"
    answer = sandbox.twilio.post(attach, data={"IpAccessControlListSid": demo.LEGACY_ACL_SID})
    assert (answer.status_code, answer.json()["code"]) == (400, 21245)
    attach = f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}/CredentialLists"
    answer = sandbox.twilio.post(attach, data={"CredentialListSid": demo.LEGACY_CREDENTIAL_LIST_SID})
    assert (answer.status_code, answer.json()["code"]) == (400, 21245)
    lists = (("IpAccessControlLists", demo.LEGACY_ACL_SID, 21236),)
    lists += (("CredentialLists", demo.LEGACY_CREDENTIAL_LIST_SID, 21241),)
    for part, sid, code in lists:
        answer = sandbox.twilio.delete(f"{sandbox.account}/SIP/{part}/{sid}.json")
        assert answer.json()["code"] == code
        assert sandbox.twilio.delete(f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}/{part}/{sid}").status_code == 204
        assert sandbox.twilio.delete(f"{sandbox.account}/SIP/{part}/{sid}.json").status_code == 204


def test_names_and_entries_of_lists(sandbox):
    base = f"{sandbox.account}/SIP"
    post = sandbox.twilio.post
    assert (
        post(f"{base}/IpAccessControlLists.json", data={"FriendlyName": "Legacy SBC"}).json()["code"] == 21235
    )
    assert post(f"{base}/CredentialLists.json", data={"FriendlyName": "Legacy SBC"}).json()["code"] == 21240
    assert post(f"{base}/CredentialLists.json", data={"FriendlyName": "x" * 65}).json()["code"] == 21240
    addresses = f"{base}/IpAccessControlLists/{demo.LEGACY_ACL_SID}/IpAddresses.json"
    twin = {"FriendlyName": "Other", "IpAddress": "198.51.100.20"}
    assert post(addresses, data=twin).json()["code"] == 21235
    assert (
        post(addresses, data={"FriendlyName": "Legacy SBC", "IpAddress": "198.51.100.21"}).json()["code"]
        == 21235
    )
    assert post(addresses, data={"FriendlyName": "v6", "IpAddress": "2001:db8::1"}).json()["code"] == 21235
    assert post(addresses, data={"FriendlyName": "loopback", "IpAddress": "127.0.0.1"}).status_code == 201
    made = post(addresses, data={"FriendlyName": "net", "IpAddress": "10.0.0.1", "CidrPrefixLength": "8"})
    assert (made.json()["ip_address"], made.json()["cidr_prefix_length"]) == ("10.0.0.0", 8)
    users = f"{base}/CredentialLists/{demo.LEGACY_CREDENTIAL_LIST_SID}/Credentials.json"
    for wrong in ("short-1A", "no-digits-in-It", "no-upper-case-1", "NO-LOWER-CASE-1"):
        assert post(users, data={"Username": "u", "Password": wrong}).json()["code"] == 21243
    assert post(users, data={"Username": "u" * 33, "Password": "Correct-Horse-42"}).json()["code"] == 21243
    assert (
        post(users, data={"Username": "legacy-sbc", "Password": "Correct-Horse-42"}).json()["code"] == 21243
    )
    made = post(users, data={"Username": "u", "Password": "Correct-Horse-42"})
    assert made.status_code == 201 and "assword" not in made.text
    one = f"{users.removesuffix('.json')}/{made.json()['sid']}.json"
    before = sandbox.state()["twilio"]["credentials"][made.json()["sid"]]
    assert post(one, data={"Username": "renamed", "Password": "Another-Horse-43"}).json()["username"] == "u"
    after = sandbox.state()["twilio"]["credentials"][made.json()["sid"]]
    assert after["password_sha256"] != before["password_sha256"]


def test_errors_look_like_twilios(sandbox):
    answer = sandbox.twilio.get("/v1/Trunks/TK" + "0" * 32)
    assert answer.status_code == 404
    assert answer.json() == {
        "code": 20404,
        "message": f"The requested resource /Trunks/TK{'0' * 32} was not found",
        "more_info": "https://www.twilio.com/docs/errors/20404",
        "status": 404,
    }
    assert re.fullmatch("RQ[0-9a-f]{32}", answer.headers["Twilio-Request-Id"])
    assert answer.headers["X-API-Domain"] == "trunking.twilio.com"
    # 2010-04-01 names the whole path, also for what it has no operation for.
    for path in (
        f"{sandbox.account}/IncomingPhoneNumbers/PN{'0' * 32}.json",
        f"{sandbox.account}/SIP/CredentialLists/CL{'0' * 32}/Credentials.json",
        f"{sandbox.account}/Nothing.json",
    ):
        answer = sandbox.twilio.get(path)
        assert (answer.status_code, answer.headers["X-API-Domain"]) == (404, "api.twilio.com")
        assert answer.json()["message"] == f"The requested resource {path} was not found"
    refused = sandbox.twilio.put("/v1/Trunks")
    assert (refused.status_code, refused.json()["code"]) == (405, 20004)
    assert sandbox.twilio.get("/v1/Trunks", params={"PageSize": 1001}).json()["code"] == 20007


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"FriendlyName": "T"}},
        {
            "content": b'{"FriendlyName": "T"}',
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        {"content": b"<FriendlyName>T</FriendlyName>", "headers": {"Content-Type": "application/xml"}},
        {"content": b"FriendlyName=T", "headers": {"Content-Type": "text/plain"}},
        {"content": b"FriendlyName=T"},
    ],
    ids=["JSON", "JSON that is declared as a form", "XML", "text", "no type"],
)
def test_a_body_that_is_no_form_is_refused(sandbox, body):
    for path in ("/v1/Trunks", f"{sandbox.account}/SIP/CredentialLists.json"):
        before = sandbox.state()["version"]
        answer = sandbox.twilio.post(path, **body)
        assert (answer.status_code, answer.json()["code"]) == (400, 19056)
        assert sandbox.state()["version"] == before


def test_the_number_of_a_trunk_is_linked_at_the_other_api(sandbox):
    trunk = sandbox.twilio.post("/v1/Trunks", data={}).json()["sid"]
    [number, *_] = sandbox.twilio.get(f"{sandbox.account}/IncomingPhoneNumbers.json").json()[
        "incoming_phone_numbers"
    ]
    # Whatever host name the trunking API is called by, the number is at the other product's.
    called = {"Host": "trunking.example"}
    made = sandbox.twilio.post(
        f"/v1/Trunks/{trunk}/PhoneNumbers", data={"PhoneNumberSid": number["sid"]}, headers=called
    ).json()
    api = sandbox.endpoints["twilio_api_url"]
    assert made["links"]["phone_number"] == f"{api}{sandbox.account}/IncomingPhoneNumbers/{number['sid']}"
    assert made["url"].startswith("http://trunking.example/v1/Trunks/")


def test_credentials(sandbox):
    for auth in ((demo.ACCOUNT_SID, "wrong"), ("AC" + "0" * 32, sandbox.auth[1]), None):
        answer = sandbox.twilio.get("/v1/Trunks", auth=auth or (lambda request: request))
        assert (answer.status_code, answer.json()["code"]) == (401, 20003)
        assert (answer.json()["message"], bool(answer.json()["detail"])) == ("Authenticate", True)
    sandbox.fault(kind="wrong_password", vendor="twilio")
    told = sandbox.twilio.get("/v1/Trunks")
    assert told.json() == answer.json(), "an injected refusal is worded like a real one"
    key = (demo.API_KEY_SID, sandbox.secrets["twilio_api_key_secret"])
    assert sandbox.twilio.get("/v1/Trunks", auth=key).status_code == 200
    other = sandbox.twilio.get(f"/2010-04-01/Accounts/AC{'0' * 32}/IncomingPhoneNumbers.json")
    assert (other.status_code, other.json()["code"]) == (404, 20404)
    sandbox.control.post("/credentials", json={"twilio_auth_token": "f" * 32})
    assert sandbox.twilio.get("/v1/Trunks").status_code == 401
    assert sandbox.twilio.get("/v1/Trunks", auth=(demo.ACCOUNT_SID, "f" * 32)).status_code == 200
    sandbox.switch(twilio__api_key="standard")
    assert sandbox.twilio.get(f"{sandbox.account}.json", auth=key).status_code == 401
    assert sandbox.twilio.get("/v1/Trunks", auth=key).status_code == 200


def test_accounts(sandbox):
    """A main account's key acts on a subaccount below its path, and on its own account elsewhere."""
    main = (demo.API_KEY_SID, sandbox.secrets["twilio_api_key_secret"])
    sub = (demo.SUBACCOUNT_KEY_SID, sandbox.secrets["twilio_subaccount_api_key_secret"])
    other = (demo.OTHER_KEY_SID, sandbox.secrets["twilio_other_api_key_secret"])
    token = (demo.SUBACCOUNT_SID, sandbox.secrets["twilio_subaccount_auth_token"])
    lists = "/2010-04-01/Accounts/{}/SIP/CredentialLists.json"
    made = sandbox.twilio.post(
        lists.format(demo.SUBACCOUNT_SID), data={"FriendlyName": "For the subaccount"}, auth=main
    )
    assert (made.status_code, made.json()["account_sid"]) == (201, demo.SUBACCOUNT_SID)
    for auth in (sub, token):
        shown = sandbox.twilio.get(lists.format(demo.SUBACCOUNT_SID), auth=auth).json()
        assert [one["sid"] for one in shown["credential_lists"]] == [made.json()["sid"]]
    number = demo.number_sid("+12025550120")
    for auth, account, associated in (
        (main, demo.ACCOUNT_SID, 404),  # the number is not the main account's
        (sub, demo.SUBACCOUNT_SID, 201),
        (other, demo.OTHER_ACCOUNT_SID, 404),
    ):
        domain = f"{account[-3:]}-pbx.pstn.twilio.com"
        trunk = sandbox.twilio.post("/v1/Trunks", data={"DomainName": domain}, auth=auth).json()
        assert trunk["account_sid"] == account
        phones = f"/v1/Trunks/{trunk['sid']}/PhoneNumbers"
        attached = sandbox.twilio.post(phones, data={"PhoneNumberSid": number}, auth=auth)
        assert attached.status_code == associated
        found = sandbox.twilio.get(phones, auth=auth).json()["phone_numbers"]
        assert [one["sid"] for one in found] == ([number] if associated == 201 else [])
        again = sandbox.twilio.post("/v1/Trunks", data={"DomainName": domain})
        assert again.json()["code"] == 21248
    assert len(sandbox.twilio.get("/v1/Trunks", auth=sub).json()["trunks"]) == 1
    of_sub = sandbox.twilio.get(f"/2010-04-01/Accounts/{demo.SUBACCOUNT_SID}.json", auth=sub).json()
    assert (of_sub["sid"], of_sub["owner_account_sid"]) == (demo.SUBACCOUNT_SID, demo.ACCOUNT_SID)
    for setting, status in (("404", 404), ("401", 401)):
        sandbox.switch(twilio__foreign_account=setting)
        for auth, account in ((sub, demo.ACCOUNT_SID), (other, demo.SUBACCOUNT_SID)):
            for path in (f"/2010-04-01/Accounts/{account}.json", lists.format(account)):
                assert sandbox.twilio.get(path, auth=auth).status_code == status
    mixed = (demo.SUBACCOUNT_SID, sandbox.auth[1])  # a main account's token is not the subaccount's
    assert sandbox.twilio.get("/v1/Trunks", auth=mixed).status_code == 401


def test_paging_of_both_styles(sandbox, sdk):
    sandbox.control.post("/scale", json={"numbers": 120, "trunks": 60})
    assert len(sdk.trunking.v1.trunks.list(page_size=25)) == 60
    assert len(sdk.api.v2010.accounts(demo.ACCOUNT_SID).incoming_phone_numbers.list(page_size=50)) == 120
    page = sandbox.twilio.get("/v1/Trunks", params={"PageSize": 25}).json()["meta"]
    assert page["next_page_url"].startswith(f"{sandbox.endpoints['twilio_trunking_url']}/v1/Trunks?")
    assert (page["page"], page["page_size"], page["key"], page["previous_page_url"]) == (
        0,
        25,
        "trunks",
        None,
    )
    renamed = sandbox.twilio.get("/v1/Trunks", headers={"Host": "trunking.twilio.com"}).json()["meta"]
    assert renamed["url"].startswith("http://trunking.twilio.com/v1/Trunks")
    page = sandbox.twilio.get(f"{sandbox.account}/IncomingPhoneNumbers.json", params={"Page": 2}).json()
    assert (page["start"], page["end"], page["next_page_uri"]) == (100, 119, None)
    assert page["previous_page_uri"].startswith("/2010-04-01/")


def test_dates(sandbox):
    trunk = sandbox.twilio.get(f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}").json()
    assert trunk["date_created"] == "2025-03-14T09:26:53Z"
    acl = sandbox.twilio.get(f"{sandbox.account}/SIP/IpAccessControlLists/{demo.LEGACY_ACL_SID}.json").json()
    assert acl["date_created"] == "Fri, 14 Mar 2025 09:26:53 +0000"


def test_demo_numbers(sdk):
    numbers = {
        n.phone_number: n for n in sdk.api.v2010.accounts(demo.ACCOUNT_SID).incoming_phone_numbers.list()
    }
    assert len(numbers) == 12 and all(n.capabilities["voice"] for n in numbers.values())
    assert numbers["+12025550109"].voice_url == demo.CUSTOMER_VOICE_URL
    assert numbers["+12025550110"].trunk_sid == demo.LEGACY_TRUNK_SID
    assert numbers["+12025550107"].emergency_address_status == "registered"
    assert not numbers["+12025550100"].voice_url


def test_number_updates(sandbox):
    one = f"{sandbox.account}/IncomingPhoneNumbers/{demo.number_sid('+12025550110')}.json"
    answer = sandbox.twilio.post(one, data={"VoiceApplicationSid": demo.APPLICATION_SID}).json()
    assert (answer["trunk_sid"], answer["voice_application_sid"]) == (None, demo.APPLICATION_SID)
    answer = sandbox.twilio.post(one, data={"TrunkSid": demo.LEGACY_TRUNK_SID}).json()
    assert (answer["trunk_sid"], answer["voice_application_sid"]) == (demo.LEGACY_TRUNK_SID, None)
    assert sandbox.twilio.post(one, data={"TrunkSid": ""}).json()["trunk_sid"] is None
    answer = sandbox.twilio.post(one, data={"EmergencyAddressSid": demo.ADDRESS_SID}).json()
    assert answer["emergency_address_status"] == "pending-registration"
    sandbox.control.post("/clock", json={"advance": 5})
    assert sandbox.twilio.get(one).json()["emergency_address_status"] == "registered"


def test_buying_a_number(sandbox):
    offers = sandbox.twilio.get(f"{sandbox.account}/AvailablePhoneNumbers/US/Local.json").json()
    number = offers["available_phone_numbers"][0]["phone_number"]
    buy = f"{sandbox.account}/IncomingPhoneNumbers.json"
    made = sandbox.twilio.post(buy, data={"PhoneNumber": number})
    assert made.status_code == 201
    assert sandbox.twilio.post(buy, data={"PhoneNumber": number}).json()["code"] == 21422
    assert sandbox.twilio.post(buy, data={"PhoneNumber": "12"}).json()["code"] == 21421
    assert sandbox.twilio.post(buy, data={"AreaCode": "999"}).json()["code"] == 21452
    assert sandbox.twilio.delete(f"{buy.removesuffix('.json')}/{made.json()['sid']}.json").status_code == 204


def test_switches(sandbox):
    other = "/v1/Trunks"
    new = sandbox.twilio.post(other, data={"FriendlyName": "New"}).json()["sid"]
    attach = f"/v1/Trunks/{new}/PhoneNumbers"
    taken = {"PhoneNumberSid": demo.number_sid("+12025550110")}
    sandbox.switch(twilio__number_on_other_trunk="refused", twilio__error_status_212xx="409")
    refused = sandbox.twilio.post(attach, data=taken)
    assert (refused.status_code, refused.json()["code"]) == (409, 21245)
    sandbox.switch(twilio__number_on_other_trunk="accepted")
    assert sandbox.twilio.post(attach, data=taken).status_code == 201
    assert sandbox.twilio.post(attach, data=taken).status_code == 201
    sandbox.switch(twilio__number_on_same_trunk="refused")
    assert sandbox.twilio.post(attach, data=taken).status_code == 409
    sandbox.switch(
        twilio__trunk_delete="refused", twilio__unknown_parameters="refused", twilio__unset_text="empty"
    )
    assert sandbox.twilio.delete(f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}").json()["code"] == 20409
    assert sandbox.twilio.post(other, data={"Nonsense": "1"}).json()["code"] == 20001
    own = {"DomainName": "legacy-sbc.pstn.twilio.com"}
    assert sandbox.twilio.post(other, data=own).json()["code"] == 21248
    sandbox.switch(twilio__own_domain_code="21245")
    assert sandbox.twilio.post(other, data=own).json()["code"] == 21245
    number = f"{sandbox.account}/IncomingPhoneNumbers/{demo.number_sid('+12025550100')}.json"
    assert sandbox.twilio.get(number).json()["voice_url"] == ""
    sandbox.switch(twilio__disaster_recovery_method="null")
    assert sandbox.twilio.get(f"/v1/Trunks/{new}").json()["disaster_recovery_method"] is None
    sandbox.switch(twilio__domain_reuse_delay_seconds=60)
    name = {"DomainName": "once.pstn.twilio.com"}
    first = sandbox.twilio.post(other, data=name).json()["sid"]
    assert sandbox.twilio.delete(f"/v1/Trunks/{first}").status_code == 204
    assert sandbox.twilio.post(other, data=name).json()["code"] == 21248
    sandbox.control.post("/clock", json={"advance": 61})
    assert sandbox.twilio.post(other, data=name).status_code == 201


def test_reads_lag_behind_writes(sandbox):
    new = sandbox.twilio.post("/v1/Trunks", data={"FriendlyName": "New"}).json()["sid"]
    sandbox.switch(twilio__read_lag_seconds=3)
    sandbox.switch(twilio__read_lag_seconds=5)
    attach = f"/v1/Trunks/{new}/IpAccessControlLists"
    assert (
        sandbox.twilio.post(attach, data={"IpAccessControlListSid": demo.LEGACY_ACL_SID}).status_code == 201
    )
    assert sandbox.twilio.get(attach).json()["ip_access_control_lists"] == []
    assert sandbox.twilio.get(f"/v1/Trunks/{new}").json()["auth_type"] == ""
    again = sandbox.twilio.post(attach, data={"IpAccessControlListSid": demo.LEGACY_ACL_SID})
    assert again.json()["code"] == 21245, "a write sees the truth"
    sandbox.control.post("/clock", json={"advance": 5})
    assert len(sandbox.twilio.get(attach).json()["ip_access_control_lists"]) == 1
    assert sandbox.twilio.get(f"/v1/Trunks/{new}").json()["auth_type"] == "IP_ACL"


def test_limits_of_lists(sandbox):
    def fill(kind, count, **fields):
        made = {"date_created": "2025-03-14T09:26:53Z", "date_updated": "2025-03-14T09:26:53Z"}
        rows = [made | {k: v.format(i) for k, v in fields.items()} for i in range(count)]
        if kind == "ip_addresses":
            rows = [row | {"cidr_prefix_length": 32} for row in rows]
        changes = [{"vendor": "twilio", "kind": kind, "add": row} for row in rows]
        assert sandbox.control.post("/state/patch", json=changes).status_code == 200

    base = f"{sandbox.account}/SIP"
    acl, users = demo.LEGACY_ACL_SID, demo.LEGACY_CREDENTIAL_LIST_SID
    address = {"ip_access_control_list_sid": acl, "friendly_name": "n{}", "ip_address": "198.51.100.{}"}
    cases = (
        ("ip_access_control_lists", 1000, {"friendly_name": "l{}"}, "IpAccessControlLists", 21255),
        ("credential_lists", 100, {"friendly_name": "l{}"}, "CredentialLists", 21239),
        ("ip_addresses", 100, address, f"IpAccessControlLists/{acl}/IpAddresses", 21237),
        (
            "credentials",
            1000,
            {"credential_list_sid": users, "username": "u{}", "password": "Correct-Horse-42"},
            f"CredentialLists/{users}/Credentials",
            21242,
        ),
    )
    new = {
        "FriendlyName": "new",
        "IpAddress": "203.0.113.10",
        "Username": "new",
        "Password": "Correct-Horse-42",
    }
    for table, limit, fields, path, code in cases:
        there = len(sandbox.state()["twilio"][table])
        fill(table, limit - there - 1, **fields)
        assert sandbox.twilio.post(f"{base}/{path}.json", data=new).status_code == 201, table
        again = {name: value.replace("new", "newer").replace(".10", ".11") for name, value in new.items()}
        refused = sandbox.twilio.post(f"{base}/{path}.json", data=again)
        assert (refused.status_code, refused.json()["code"]) == (400, code), table


def test_the_voice_address_stays_and_is_ignored_on_a_trunk(sandbox):
    number = demo.number_sid("+12025550109")
    attach = f"/v1/Trunks/{demo.LEGACY_TRUNK_SID}/PhoneNumbers"
    answer = sandbox.twilio.post(attach, data={"PhoneNumberSid": number})
    assert (answer.status_code, answer.json()["sid"]) == (201, number)
    assert answer.json()["voice_url"] == demo.CUSTOMER_VOICE_URL
    changes = sandbox.control.get("/timeline", params={"number": "+12025550109"}).json()["changes"]
    assert changes[-1]["route"] == "trunk legacy-sbc.pstn.twilio.com"


def test_page_size_by_default_and_at_most(sandbox):
    sandbox.control.post("/scale", json={"numbers": 60, "trunks": 60})
    for path, key in (
        (f"{sandbox.account}/IncomingPhoneNumbers.json", "incoming_phone_numbers"),
        ("/v1/Trunks", "trunks"),
    ):
        assert len(sandbox.twilio.get(path).json()[key]) == 50
        assert len(sandbox.twilio.get(path, params={"PageSize": 1000}).json()[key]) == 60
        refused = sandbox.twilio.get(path, params={"PageSize": 1001})
        assert (refused.status_code, refused.json()["code"]) == (400, 20007)
