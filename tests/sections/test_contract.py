"""Every request of the clients, and every answer to it, against the vendors' own OpenAPI documents.

Watched at the HTTP seam that both vendors' clients share, after everything that shapes a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from runbook_lib.guide import RUN_ORDER, TRUNK_ORDER
from runbook_lib.vendors.transport import Wire
from tests import test_sign_in
from tests.conftest import TestSandbox
from tests.documents import NOT_IN_THE_DOCUMENTS, Contract, require_documents
from tests.sections import test_connections, test_drift, test_system_level, test_way_back
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_system_level import GLOBEX, INITECH
from tests.sections.test_tenant_level import ACME, DOMAIN, run_all, run_section

CARRIER = "trunk:carrier"


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> Iterator[Contract]:
    require_documents()
    contract = Contract()
    send = Wire.handle_request

    def watched(self: Wire, request: httpx.Request) -> httpx.Response:
        response = send(self, request)
        contract.check(response)
        return response

    monkeypatch.setattr(Wire, "handle_request", watched)
    yield contract
    assert not contract.broken, "\n".join(contract.broken)
    assert contract.checked


def run(subject: Any, mode: str) -> None:
    for number in TRUNK_ORDER if subject == CARRIER else RUN_ORDER:
        run_section(number, mode, subject)


@pytest.mark.parametrize(
    "subjects", [[ACME], [GLOBEX, INITECH], [CARRIER]], ids=["tenant", "system", "trunk"]
)
def test_every_section_in_every_mode_speaks_as_the_documents_say(
    sandbox: TestSandbox, contract: Contract, subjects: list[Any]
) -> None:
    for mode in ("plan", "apply", "verify", "plan", "apply", "verify"):
        for subject in subjects:
            run(subject, mode)
    assert contract.undocumented <= set(NOT_IN_THE_DOCUMENTS)
    print(f"{contract.checked} requests, {len(contract.seen)} operations")


def test_each_correction_of_drift_speaks_as_the_documents_say(
    sandbox: TestSandbox, contract: Contract
) -> None:
    run_all()
    for number, _, change in test_drift.CASES:
        change(sandbox)
        run_section(number, "apply", test_drift.WITH_LEAVE)
    run_all(tenant=test_drift.WITH_LEAVE)
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    print(f"{contract.checked} requests, {len(contract.seen)} operations")


def expiring_tokens(sandbox: TestSandbox) -> None:
    test_connections.test_tokens_that_expire_in_the_middle(sandbox, 1)


SCENARIOS: list[Callable[[TestSandbox], None]] = [
    test_system_level.test_shared_settings_are_a_conflict_for_a_tenant_and_changed_for_the_trunk,
    test_system_level.test_taking_a_number_away,
    test_system_level.test_moving_a_number_between_tenants_takes_both_runs,
    test_system_level.test_moving_a_number_between_trunks_of_tenants,
    test_system_level.test_cutting_over_a_number_that_answers_today,
    test_system_level.test_rules_of_other_makers_stay_and_a_name_taken_is_a_conflict,
    test_connections.test_credentials_that_twilio_refuses,
    test_sign_in.test_a_run_cannot_answer_and_says_what_to_do,
    expiring_tokens,
    test_way_back.test_a_number_gets_back_what_answered_it,
    test_way_back.test_retiring_the_tenants_of_a_shared_trunk_and_then_the_trunk,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__.removeprefix("test_"))
def test_changes_speak_as_the_documents_say(
    sandbox: TestSandbox, scenario: Callable[[TestSandbox], None]
) -> None:
    scenario(sandbox)
