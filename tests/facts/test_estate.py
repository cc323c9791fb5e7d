"""One reading of a site that serves many tenants: the same rows and tables, at a fraction of the requests."""

from __future__ import annotations

import httpx
import pytest

from runbook_lib.errors import InputError
from runbook_lib.facts.estate import Estate
from runbook_lib.plan import Row
from runbook_lib.runbook import Runbook
from runbook_lib.section_run import ALL_SECTIONS
from runbook_lib.sections import View
from tests.conftest import TestSandbox
from tests.test_cli import SITE

TENANTS = [f"parameters/sandbox/{name}.yaml" for name in ("acme", "globex", "initech")]
Reading = dict[str, tuple[tuple[Row, ...], list[View], list[Row], list[str]]]


def read(tenant: str, estate: Estate | None) -> Reading:
    """What every section makes of its facts: rows, tables, expected results and cautions."""
    reading: Reading = {}
    with Runbook.open(SITE, tenant, estate=estate) as book:
        for number in book.order:
            section = ALL_SECTIONS[number](book.context)
            section.new_reading()
            reading[number] = (
                section.planned().rows,
                section.views(),
                section.expected(),
                section.cautions(),
            )
    return reading


@pytest.fixture
def drifted(sandbox: TestSandbox) -> TestSandbox:
    """All tenants set up but one, and something changed behind the runbook's back."""
    sandbox.set_up(SITE, *TENANTS[:2])
    vendors = sandbox.vendors
    sid = vendors.trunk_sids()["acme-pbx.pstn.twilio.com"]
    url = vendors.get(f"/v1/Trunks/{sid}/OriginationUrls")["origination_urls"][0]
    changed = vendors.twilio_http.post(
        f"/v1/Trunks/{sid}/OriginationUrls/{url['sid']}", data={"Priority": 999}
    )
    assert changed.is_success
    return sandbox


def requests(sandbox: TestSandbox) -> list[str]:
    log = sandbox.control("GET", "requests").json()["requests"]
    return [entry["path"] for entry in log if "/auth/" not in entry["path"]]


def test_facts_from_an_estate_are_those_of_a_reading_alone(drifted: TestSandbox) -> None:
    alone = {tenant: read(tenant, None) for tenant in TENANTS}
    drifted.clear_log()
    estate = Estate()
    assert {tenant: read(tenant, estate) for tenant in TENANTS} == alone
    paths = requests(drifted)
    for collection in ("/v1/Trunks", "IncomingPhoneNumbers.json", "CredentialLists.json", "/api/tenants"):
        of_the_account = [path for path in paths if path.endswith(collection) and "/Trunks/" not in path]
        assert len(of_the_account) == 1, collection


def test_a_further_tenant_costs_only_what_is_its_own(drifted: TestSandbox) -> None:
    estate = Estate()
    read(TENANTS[0], estate)
    drifted.clear_log()
    read(TENANTS[1], estate)
    shared = ("/v1/Trunks", ".json", "/api/info", "/api/tenants", "/api/transports", "/api/admin/settings")
    own = ("/Credentials.json", "/IpAddresses.json")
    assert [path for path in requests(drifted) if path.endswith(shared) and not path.endswith(own)] == []


def test_nothing_is_written_from_an_estate(sandbox: TestSandbox) -> None:
    with pytest.raises(InputError):
        Runbook.open(SITE, TENANTS[0], mode="apply", estate=Estate())


def test_an_estate_keeps_its_answers_whatever_a_run_has_read() -> None:
    estate = Estate()
    answer = estate.once("trunks", lambda: httpx.Response(200, text="the whole site's"))
    began = estate.began
    estate.join(5.0, {"trunks": httpx.Response(200, text="a run's"), "numbers": httpx.Response(200)})
    assert estate.began == began
    assert estate.once("trunks", lambda: httpx.Response(500)).text == answer.text
    assert estate.answers()[1].keys() == {"trunks"}
