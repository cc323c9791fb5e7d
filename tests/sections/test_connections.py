"""Other ways to reach the vendors: an API key, several accounts, a pinned certificate, other transports."""

from __future__ import annotations

import copy
import hashlib
import ssl
from typing import Any
from urllib.parse import urlsplit

import certifi
import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import InputError, UnreachableError, VendorError
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all
from tests.vendor_state import ACCOUNT

SITE_CONTENT = YAML(typ="safe").load(CHECKOUT / SITE)["site"]
TENANT = YAML(typ="safe").load(CHECKOUT / ACME)["tenant"]
KEY = {
    "account_sid": ACCOUNT,
    "api_key_sid": "SKf3a1c0de5a4db0c5ba11ad5c0ffee002",
    "api_key_secret": "file:.sandbox/secrets/twilio_api_key_secret",
}


def site(**changes: Any) -> dict[str, Any]:
    return {"site": {**copy.deepcopy(SITE_CONTENT), **changes}}


def acme(**changes: Any) -> dict[str, Any]:
    return {"tenant": {**copy.deepcopy(TENANT), **changes}}


def run(the_site: Any, tenant: Any, *numbers: str) -> None:
    for number in numbers:
        with Runbook.open(the_site, tenant, mode="apply") as runbook:
            section = runbook.section(number)
            section.apply()
            section.verify()
            section.finish()


def test_several_accounts_each_with_its_own_credentials(sandbox: TestSandbox) -> None:
    accounts = {**SITE_CONTENT["twilio_accounts"], "second": KEY}
    shared = {"carrier": {**SITE_CONTENT["shared_trunks"]["carrier"], "twilio_account": "main"}}
    several = site(twilio_accounts=accounts, shared_trunks=shared)
    with pytest.raises(InputError, match=r"tenant\.twilio_account: is missing"):
        Runbook.open(several, acme())
    with Runbook.open(several, acme(twilio_account="second")) as runbook:
        assert runbook.context.twilio.sdk.username == KEY["api_key_sid"]
    run(several, acme(twilio_account="second"), "00", "01", "02")
    assert DOMAIN in sandbox.vendors.trunk_sids()


def test_credentials_that_twilio_refuses(sandbox: TestSandbox) -> None:
    wrong = {"main": {**KEY, "api_key_secret": "file:.sandbox/secrets/sip_password_acme"}}
    with Runbook.open(site(twilio_accounts=wrong), acme()) as runbook, pytest.raises(VendorError) as caught:
        runbook.section("01").plan()
    assert caught.value.code == 20003
    assert "auth token or API key" in str(caught.value)


@pytest.mark.parametrize(
    ("transport", "uri"),
    [
        ("tcp", "sip:203.0.113.10:5063;transport=tcp;region=us1"),
        ("tls", "sip:203.0.113.10:5061;transport=tls;region=us1"),
    ],
)
def test_origination_fits_the_pbxs_transports(sandbox: TestSandbox, transport: str, uri: str) -> None:
    run(SITE, acme(origination={"transport": transport}), "01", "03")
    assert sandbox.vendors.trunk(DOMAIN)["origination"][0] == (10, 10, True, uri)


def test_edge_instead_of_region(sandbox: TestSandbox) -> None:
    run(SITE, acme(origination={"parameter": "edge"}), "01", "03")
    urls = [url for *_, url in sandbox.vendors.trunk(DOMAIN)["origination"]]
    assert urls == ["sip:203.0.113.10;edge=ashburn", "sip:203.0.113.10;edge=umatilla"]


def test_a_host_name_for_the_pbx(sandbox: TestSandbox) -> None:
    pbx = {**SITE_CONTENT["pbx"], "address": "sip.portsip.example", "signalling_ips": ["203.0.113.10"]}
    run(site(pbx=pbx), acme(), "00", "01", "02", "03")
    trunk = sandbox.vendors.trunk(DOMAIN)
    assert trunk["origination"][0][-1] == "sip:sip.portsip.example;region=us1"
    assert trunk["access_lists"] == {"acme-pbx PBX addresses": ["203.0.113.10/32"]}


def test_a_pinned_certificate(sandbox: TestSandbox) -> None:
    parts = urlsplit(sandbox.urls["portsip_url"])
    pem = ssl.get_server_certificate((parts.hostname, parts.port))
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    pinned = site(pbx={**SITE_CONTENT["pbx"], "certificate_sha256": pin})
    run(pinned, acme(), "00")
    other = site(pbx={**SITE_CONTENT["pbx"], "certificate_sha256": "00" * 32})
    with Runbook.open(other, acme()) as runbook, pytest.raises(UnreachableError, match="not the pinned one"):
        runbook.section("00").plan()


def test_an_untrusted_certificate(sandbox: TestSandbox) -> None:
    pbx = {**SITE_CONTENT["pbx"], "ca_file": certifi.where()}
    with Runbook.open(site(pbx=pbx), acme()) as runbook, pytest.raises(UnreachableError, match="not trusted"):
        runbook.section("00").plan()
    log = sandbox.control("GET", "requests").json()["requests"]
    assert not [one for one in log if one["vendor"] == "portsip"]


def test_sessions_are_signed_out(sandbox: TestSandbox) -> None:
    run_all()
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}


@pytest.mark.parametrize("seconds", [1, 2])
def test_tokens_that_expire_in_the_middle(sandbox: TestSandbox, seconds: int) -> None:
    sandbox.control("POST", "switches", {"portsip.expires_in": seconds})
    run_all()
    assert DOMAIN in sandbox.vendors.trunk_sids()


def test_overrides_point_at_this_machine_only(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_PORTSIP_URL", "https://pbx.example.com:8887")
    with Runbook.open(SITE, ACME) as runbook, pytest.raises(InputError, match="this machine"):
        runbook.section("00").plan()


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "cut"])
def test_a_lost_sign_out_is_sent_again(sandbox: TestSandbox, kind: str) -> None:
    fault = {"vendor": "portsip", "method": "POST", "path": "/auth/sign_out$", "kind": kind}
    sandbox.control("POST", "faults", fault)
    run(SITE, acme(), "00")
    assert sandbox.control("GET", "faults").json()["faults"][0]["applied"] == 1
    assert sandbox.control("GET", "sessions").json()["alive"] == 0
