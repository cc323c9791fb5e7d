"""Requests made up from the vendors' own OpenAPI documents: the sandbox answers as they say, or refuses so.

Half of the requests fit the documents, half do not. Ids in paths, queries and bodies are mostly those of
what is there, because made-up ones reach nothing. ``make test`` runs a fixed sample, ``make sweep`` a long
run with other requests every time.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from runbook_sandbox import demo
from tests.documents import content, operations, require_documents

from .conftest import Running

SWEEP = bool(os.environ.get("RUNBOOK_SWEEP"))
#: Requests for each operation: those that fit its document, and those that do not (slower to make up).
EXAMPLES = {GenerationMode.POSITIVE: 50, GenerationMode.NEGATIVE: 20}
if not SWEEP:
    EXAMPLES = {GenerationMode.POSITIVE: 15, GenerationMode.NEGATIVE: 3}
#: Each from the demo data on: what was taken away is there again.
ROUNDS = range(12 if SWEEP else 1)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
#: Signing out and changing scope would end what the other requests need.
ENDS_THE_SESSION = {"/auth/sign_out", "/tenants/switch"}
#: Made-up ids that are no strings are sent as they are: with one of these in it, to another operation.
ELSEWHERE = set("/?#")

load_all_checks()


@pytest.fixture(autouse=True)
def documents() -> None:
    require_documents()


Known = dict[str, list[Any]]

#: What ``{Sid}`` and ``{id}`` stand for, by what comes before them in a path: the sandbox's table.
OF_PATH = {
    "/v1/Trunks/": "trunks",
    "OriginationUrls/": "origination_urls",
    "PhoneNumbers/": "numbers",
    "/SIP/CredentialLists/": "credential_lists",
    "/CredentialLists/": "credential_lists",
    "/SIP/IpAccessControlLists/": "ip_access_control_lists",
    "/IpAccessControlLists/": "ip_access_control_lists",
    "/Credentials/": "credentials",
    "/IpAddresses/": "ip_addresses",
    "/providers/": "providers",
    "/inbound_rules/": "inbound_rules",
    "/outbound_rules/": "outbound_rules",
    "/tenants/": "tenants",
}


def known_ids(sandbox: Running, path: str) -> Known:
    """Return, by the name of a parameter or a field, what is there now and fits a path."""
    state = sandbox.state()
    tables = state["twilio"] | state["portsip"]
    before = path.rpartition("{Sid}")[0] or path.partition("{id}")[0]
    of_path = [table for part, table in OF_PATH.items() if before.endswith(part)]
    known = {
        "AccountSid": [demo.ACCOUNT_SID],
        "TrunkSid": list(tables["trunks"]),
        "CredentialListSid": list(tables["credential_lists"]),
        "IpAccessControlListSid": list(tables["ip_access_control_lists"]),
        "PhoneNumberSid": list(tables["numbers"]),
        "Sid": list(tables[of_path[0]]) if of_path else [demo.ACCOUNT_SID],
        "CountryCode": ["US"],
        "id": list(tables[of_path[0]]) if of_path else [],
        "tenant_id": list(tables["tenants"]),
        "provider_id": list(tables["providers"]),
        "did_numbers": ["12025550100", "13125550100", "13125550140"],
        "holidays": [[], list(tables["holidays"])],
        "hostname": ["carrier.pstn.twilio.com", "sip.carrier.example"],
        "port": [5060],
        "concurrency": [5],
        "currency": ["EUR"],
        "region": ["DEU"],
        "SipUrl": ["sip:203.0.113.10;region=us1", "sips:pbx.example:5061"],
        "Password": ["Correct-Horse-42"],
        "PhoneNumber": ["+12025550190", "+12025550191", "+12025550100"],
    }
    if path != "/tenants":
        known["domain"] = [row["domain"] for row in tables["tenants"].values()]
    administrator = {"username": "admin", "password": sandbox.secrets["portsip_admin_password"]}
    if path == "/auth/sign_in":
        known |= {name: [value] for name, value in administrator.items()} | {"domain": [""]}
    if path == "/auth/refresh_token":
        tokens = [sandbox.pbx.post("/auth/sign_in", json=administrator).json() for _ in range(5)]
        known["refresh_token"] = [one["refresh_token"] for one in tokens]
    return {name: values for name, values in known.items() if values}


def with_known(value: Any, known: Known, draw: Callable[[Any], Any]) -> Any:
    """Return made-up plain data with the ids in it replaced by known ones."""
    if isinstance(value, list):
        return [with_known(item, known, draw) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: draw(st.sampled_from(known[name])) if name in known else with_known(inner, known, draw)
        for name, inner in value.items()
    }


def fuzz(sandbox: Running, name: str, base_url: str, authorization: str) -> None:
    """Send made-up requests to every operation of a document; fail with all that was wrong."""
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(
        content(name) | {"servers": [{"url": base_url}]},
        config=config,
    )
    found = [one.ok() for one in schema.get_all_operations()]
    assert len(found) == len(operations(name)), "an operation of the document cannot be read"
    # From the inside out, and what takes things away after the others, so that there is something to find.
    found.sort(
        key=lambda one: (-one.path.removesuffix("/destroy").count("/"), one.method == "delete", one.path)
    )
    broken: list[str] = []
    statuses: Counter[int] = Counter()
    for operation in found:
        if operation.path in ENDS_THE_SESSION:
            continue
        known = known_ids(sandbox, operation.path)
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            try:
                _send(
                    strategy,
                    EXAMPLES[mode],
                    known,
                    statuses,
                    base_url,
                    authorization,
                    sandbox.endpoints["ca_file"],
                )
            except Unsatisfiable:
                continue  # nothing in the operation can be wrong: it takes no input
            except FailureGroup as error:
                broken += [f"{operation.label} ({mode.value}): {one}" for one in error.exceptions]
    print(f"{name}: {statuses.total()} requests, answers by status {dict(sorted(statuses.items()))}")
    assert not broken, "\n\n".join(broken)
    assert statuses[200] and statuses[201] and statuses[204]


def _send(
    strategy: st.SearchStrategy[schemathesis.Case],
    examples: int,
    known: Known,
    statuses: Counter[int],
    base_url: str,
    authorization: str,
    ca_file: str,
) -> None:
    with requests.Session() as session:
        session.trust_env = False

        @settings(
            max_examples=examples,
            derandomize=not SWEEP,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, data=st.data())
        def send(case: schemathesis.Case, data: st.DataObject) -> None:
            if data.draw(st.integers(0, 3)):
                case.path_parameters = with_known(case.path_parameters, known, data.draw)
                case.query = with_known(case.query, known, data.draw)
                case.body = with_known(case.body, known, data.draw)
            assume(not ELSEWHERE & set(str(list((case.path_parameters or {}).values()))))
            answer = case.call_and_validate(
                base_url, session, headers={"Authorization": authorization}, checks=CHECKS, verify=ca_file
            )
            statuses[answer.status_code] += 1

        send()


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("name", ["trunking", "api"])
def test_twilio_answers_made_up_requests_as_its_documents_say(
    sandbox: Running, name: str, round_: int
) -> None:
    account = b64encode(":".join(sandbox.auth).encode()).decode()
    fuzz(sandbox, name, sandbox.endpoints["twilio_api_url"], f"Basic {account}")


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("scope", [None, "acme"], ids=["system", "tenant"])
def test_portsip_answers_made_up_requests_as_its_document_says(
    sandbox: Running, scope: str | None, round_: int
) -> None:
    # made-up passwords are wrong ones: without this, all that is seen of signing in is the lockout
    sandbox.patch(vendor="portsip", kind="settings", set={"web_failed_auth_amount": 10**6})
    with sandbox.sign_in(scope) as client:
        fuzz(sandbox, "portsip", sandbox.endpoints["portsip_url"] + "/api", client.headers["Authorization"])
