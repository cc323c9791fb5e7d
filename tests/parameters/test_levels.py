"""Shared trunks, call rules and two-person approval: what the checks say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.parameters import load
from tests.parameters.test_bad_input import changed, problems_of, read

SHARED = {
    "trunk": {"friendly_name": "PortSIP shared", "termination": "demo-shared"},
    "termination": {
        "credentials": {"username": "demo-shared", "password": "file:.sandbox/secrets/sip_password_shared"}
    },
    "pbx_trunk": {"name": "Twilio-Shared"},
}
SITE = changed(read("site.yaml"), "site.shared_trunks", {"shared": SHARED})
INITECH = {
    "tenant": {
        "name": "initech",
        "pbx_domain": "initech.pbx.example",
        "dids": "12025550105-12025550107",
        "shared_trunk": "shared",
        "concurrency": 20,
        "rules": {
            "outbound": [{"name": "Out", "number_length": "10;11", "caller_id": "+12025550105"}],
            "inbound": [
                {"name": "Desk", "dids": "12025550105", "extension": "1001"},
                {
                    "name": "Others",
                    "dids": "12025550106-12025550107",
                    "extension": "1002",
                    "holidays": "1003",
                },
            ],
        },
    }
}


def test_system_level(tmp_path: Path) -> None:
    site, tenant = load(SITE, INITECH, tmp_path)
    assert tenant.shared_trunk is not None
    assert tenant.trunk_of(site).account_name(site) == "main"
    assert tenant.trunk_of(site).trunk.uri.domain == "demo-shared.pstn.twilio.com"
    assert tenant.trunk_of(site).credential_list_name == "demo-shared credentials"


def _with(path: str, value: Any) -> dict[str, Any]:
    return changed(INITECH, path, value)


RULE = {"name": "X", "dids": "12025550105", "extension": "1"}


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        ("tenant.shared_trunk", "other", "tenant.shared_trunk"),
        ("tenant.concurrency", ..., "tenant.concurrency"),
        ("tenant.shared_trunk", 5, "tenant.shared_trunk"),
        ("tenant.shared_trunk", ..., "tenant.trunk"),
        ("tenant.shared_trunk", ..., "tenant.termination"),
        ("tenant.shared_trunk", ..., "tenant.concurrency"),
        ("tenant.trunk", SHARED["trunk"], "tenant.trunk"),
        ("tenant.termination", SHARED["termination"], "tenant.termination"),
        ("tenant.origination", {}, "tenant.origination"),
        ("tenant.pbx_trunk", {}, "tenant.pbx_trunk"),
        ("tenant.twilio_account", "main", "tenant.twilio_account"),
        ("tenant.concurrency", "20", "tenant.concurrency"),
        ("tenant.concurrency", -1, "tenant.concurrency"),
        ("tenant.concurrency", None, "tenant.concurrency"),
        ("tenant.rules", [], "tenant.rules"),
        ("tenant.rules.inbund", [], "tenant.rules.inbund"),
        ("tenant.rules.inbound", {}, "tenant.rules.inbound"),
        ("tenant.rules.inbound", [RULE | {"dids": "12025550109"}], "tenant.rules.inbound.0.dids"),
        ("tenant.rules.inbound", [RULE | {"dids": "12025550105;12025550106"}], "tenant.rules.inbound.0.dids"),
        ("tenant.rules.inbound", [RULE | {"dids": 12025550105}], "tenant.rules.inbound.0.dids"),
        ("tenant.rules.inbound", [RULE, RULE | {"name": "Y"}], "tenant.rules.inbound.1.dids"),
        ("tenant.rules.inbound", [RULE, RULE | {"dids": "12025550106"}], "tenant.rules.inbound.1.name"),
        ("tenant.rules.inbound", [RULE | {"extension": 1001}], "tenant.rules.inbound.0.extension"),
        ("tenant.rules.inbound", [RULE | {"extension": "desk"}], "tenant.rules.inbound.0.extension"),
        ("tenant.rules.inbound", [{"name": "X"}], "tenant.rules.inbound.0.dids"),
        ("tenant.rules.outbound", [{"name": "X"}], "tenant.rules.outbound.0"),
        (
            "tenant.rules.outbound",
            [{"name": "X", "number_prefix": "a"}],
            "tenant.rules.outbound.0.number_prefix",
        ),
        ("tenant.rules.outbound", [{"name": "X", "number_prefix": "1" * 65}], "outbound.0.number_prefix"),
        (
            "tenant.rules.outbound",
            [{"name": "X", "number_length": 10}],
            "tenant.rules.outbound.0.number_length",
        ),
        (
            "tenant.rules.outbound",
            [{"name": "X", "extensions": "100;"}],
            "tenant.rules.outbound.0.extensions",
        ),
        (
            "tenant.rules.outbound",
            [{"name": "X", "number_prefix": "1", "strip_digits": 10}],
            "0.strip_digits",
        ),
        ("tenant.rules.outbound", [{"name": "X", "number_prefix": "1", "prepend": "00x"}], "0.prepend"),
        ("tenant.rules.outbound", [{"name": "X", "number_prefix": "1", "prepend": 1}], "0.prepend"),
        ("tenant.rules.outbound", [{"name": "X", "number_prefix": "1", "priority": "1"}], "0.priority"),
        (
            "tenant.rules.outbound",
            [{"name": "X", "number_prefix": "1", "caller_id": "12025550105"}],
            "0.caller_id",
        ),
        (
            "tenant.rules.outbound",
            [{"name": "X", "number_prefix": "1", "caller_id": "+12025550199"}],
            "0.caller_id",
        ),
    ],
)
def test_bad_tenant_at_system_level(tmp_path: Path, path: str, value: Any, at: str) -> None:
    problems = problems_of(tmp_path, SITE, _with(path, value))
    assert any(f"{at}: " in one for one in problems), problems


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        ("site.shared_trunks", [], "site.shared_trunks"),
        ("site.shared_trunks.Upper", SHARED, "site.shared_trunks.Upper"),
        ("site.shared_trunks.shared.dids", "12025550105", "site.shared_trunks.shared.dids"),
        ("site.shared_trunks.shared.trunk", ..., "site.shared_trunks.shared.trunk"),
        ("site.shared_trunks.shared.twilio_account", "other", "site.shared_trunks.shared.twilio_account"),
        ("site.shared_trunks.shared.termination.credentials", "none", "shared.termination.credentials"),
        (
            "site.shared_trunks.shared.termination.credentials.password",
            "env:RUNBOOK_TEST_NOT_SET",
            "site.shared_trunks.shared.termination.credentials.password",
        ),
        (
            "site.shared_trunks.shared.origination",
            {"uris": [{"region": "us1", "priority": 1}] * 2},
            "site.shared_trunks.shared.origination.uris.1.region",
        ),
        ("site.policies.approval", "two-person", "site.policies.allowed_signers"),
        ("site.policies.allowed_signers", "not/there", "site.policies.allowed_signers"),
    ],
)
def test_bad_shared_trunk(tmp_path: Path, path: str, value: Any, at: str) -> None:
    problems = problems_of(tmp_path, changed(SITE, path, value), INITECH)
    assert any(f"{at}: " in one for one in problems), problems
