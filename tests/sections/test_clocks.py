"""Clocks that are off while tenants are connected: what is ours stays ours, and the clock is named."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runbook_lib.errors import UnreachableError
from runbook_lib.records.journal import read_journal, sent_at, vendor_time
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.proxies import Authority, tls_in_front_of
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_connections import SITE_CONTENT
from tests.sections.test_connections import site as site
from tests.sections.test_passwords import ONE_FIELD, drift, set_switch
from tests.sections.test_safety import acme
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all, run_section

#: What section 2 and the others make at Twilio, each by a write whose answer can be lost.
MADE = (
    "/v1/Trunks$",
    "/IpAccessControlLists.json$",
    "/CredentialLists.json$",
    "/Credentials.json$",
    "/OriginationUrls$",
)


def lose(sandbox: TestSandbox, path: str) -> None:
    fault = {"method": "POST", "path": path, "kind": "reset_after", "nth": 1, "count": 1}
    sandbox.control("POST", "faults", fault)


@pytest.mark.parametrize("path", MADE)
def test_a_lost_answer_under_a_clock_that_is_behind(
    sandbox: TestSandbox, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes are more than the way of a write can explain, so only the vendor's clock tells it."""
    monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
    sandbox.control("POST", "clock", {"advance": 600})
    lose(sandbox, path)
    results = run_all()
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    for result in results:
        assert all(-610 < ahead < -590 for ahead in result["clocks"].values()) and result["clocks"]
        assert any("clock is 10 minutes behind" in caution for caution in result["cautions"])
    for folder in (sandbox.root / "records/demo/acme").iterdir():
        for write in read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else ():
            ahead = vendor_time(write) - sent_at(write)
            assert timedelta(seconds=590) < ahead < timedelta(seconds=610)


def test_a_clock_that_is_right_is_no_caution(sandbox: TestSandbox) -> None:
    result = run_section("01")
    assert result["cautions"] == [] and abs(result["clocks"]["Twilio"]) < 5


def test_a_secret_that_was_changed_after_a_clock_was_ahead(sandbox: TestSandbox) -> None:
    """The journal's time of the last write is in the future: it says nothing of what was changed since."""
    run_all()
    for path in (sandbox.root / "records/demo/acme").glob("*/journal.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        for event in events:
            event["at"] = event["at"].replace("20", "21", 1)  # a century later
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
    set_switch(sandbox, "lost")
    drift(sandbox, ONE_FIELD)
    secret = sandbox.root / ".sandbox/secrets/sip_password_acme"
    kept = secret.read_text()
    try:
        secret.write_text("Another-Password-1")
        os.utime(secret)
        with Runbook.open(SITE, ACME) as runbook:
            rows = [row for row in runbook.section("05").plan().rows if row.step == "5.3"]
        assert any("has changed since the password was last written" in row.note for row in rows)
    finally:
        secret.write_text(kept)


@pytest.mark.parametrize("pinned", [False, True], ids=["", "pinned"])
@pytest.mark.parametrize("days", [-500, 8], ids=["expired", "not yet valid"])
def test_a_certificate_of_another_time_says_this_machines_time_first(
    sandbox: TestSandbox, tmp_path: Path, days: int, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "of another time", days)
    [api] = [urlsplit(sandbox.urls["portsip_url"]).port]
    with tls_in_front_of(api, authority) as port:
        monkeypatch.setenv("RUNBOOK_PORTSIP_URL", f"https://127.0.0.1:{port}")
        trust = {"ca_file": str(authority.ca_file)}
        if pinned:
            der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
            trust = {"certificate_sha256": hashlib.sha256(der).hexdigest()}
        content = site(pbx={**SITE_CONTENT["pbx"], **trust})
        with Runbook.open(content, acme()) as runbook, pytest.raises(UnreachableError) as caught:
            runbook.section("00").plan()
    assert f"{datetime.now(UTC):%Y-%m-%dT}" in str(caught.value) and "pin" not in str(caught.value)
    assert caught.value.next_step.startswith("compare this machine's date and time")
