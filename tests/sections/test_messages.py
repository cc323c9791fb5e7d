"""No message decides anything: rendered in upper case, or as numbers, everything comes out the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from runbook_lib.guide import RETIRE, ROLL_BACK
from runbook_lib.plan import Action, Effect
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.rendering import Numbers, Render, render_messages, upper_case
from tests.sections.test_safety import acme
from tests.sections.test_tenant_level import ACME, SITE, run_all
from tests.sections.test_way_back import GLOBEX, recorded, state, way_back

HOW = pytest.mark.parametrize("how", ["upper case", "numbers"])
#: What a plan is without its messages.
Plain = list[tuple[str, str, Any, Any, Action, Effect, str]]


@pytest.fixture
def renderings(how: str) -> Iterator[Render]:
    """Another rendering at every turn: what one run wrote, the next one would write in other words."""
    return iter(upper_case if how == "upper case" else Numbers(first) for first in count(1000, 1000))


class Rendered:
    """The library's messages in the next rendering, for a ``with`` block."""

    def __init__(self, renderings: Iterator[Render]) -> None:
        self._renderings = renderings

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        render_messages(self._patch, next(self._renderings))

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def plain_plan(tenant: Any, **options: Any) -> Plain:
    """The plan as the program compares it."""
    with Runbook.open(SITE, tenant, **options) as runbook:
        plan = runbook.plan()
    return [
        (part.section, row.step, row.desired, row.current, row.action, row.effect, str(row.why))
        for part in plan.slices
        for row in part.rows
    ]


@HOW
@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_applied_and_rolled_back_in_other_words(
    sandbox: TestSandbox, renderings: Iterator[Render], tenant: str
) -> None:
    parameters = {"acme": ACME, "globex": GLOBEX}[tenant]
    before = state(sandbox)
    with recorded(sandbox, tenant):
        run_all(tenant=parameters)
    expected = state(sandbox)
    assert way_back(ROLL_BACK, tenant)["writes"] > 10
    assert state(sandbox) == before
    with Rendered(renderings), recorded(sandbox, tenant, 2):
        run_all(tenant=parameters)
    assert state(sandbox) == expected
    with Rendered(renderings):
        assert way_back(ROLL_BACK, tenant)["writes"] > 10
    assert state(sandbox) == before


@HOW
def test_what_we_made_is_ours_in_other_words(sandbox: TestSandbox, renderings: Iterator[Render]) -> None:
    with Rendered(renderings):
        run_all()
    # Other addresses, another region, another name in the PBX: what we made is found, corrected, removed.
    other = acme(
        termination={
            "ip_access_control_list": {"addresses": ["203.0.113.11"]},
            "credentials": {"username": "acme-pbx", "password": "file:.sandbox/secrets/sip_password_acme"},
        },
        origination={"uris": [{"region": "us1", "priority": 10}, {"region": "ie1", "priority": 20}]},
    )
    expected = plain_plan(other)
    assert [row for row in expected if row[4] is Action.REMOVE], "nothing of ours would be removed"
    assert not [row for row in expected if row[6] == "not ours"]
    with Rendered(renderings):
        assert plain_plan(other) == expected


@HOW
def test_retired_in_other_words(sandbox: TestSandbox, renderings: Iterator[Render]) -> None:
    run_all()
    expected = plain_plan(ACME, sections=(RETIRE,))
    with Rendered(renderings):
        assert plain_plan(ACME, sections=(RETIRE,)) == expected
        way_back(RETIRE)
    assert not [name for name in sandbox.vendors.trunk_sids() if name.startswith("acme")]


@HOW
def test_without_leave_a_plan_says_so_by_its_rows(sandbox: TestSandbox, renderings: Iterator[Render]) -> None:
    run_all()
    with Rendered(renderings):
        rows = plain_plan(ACME, sections=(RETIRE,))
    assert {row[6] for row in rows if row[4] is Action.CONFLICT} == {"no leave"}


def test_a_journal_has_the_keys_beside_the_words(sandbox: TestSandbox) -> None:
    with recorded(sandbox, "acme") as folder:
        run_all()
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    sent = [line for line in lines if line["event"] == "sending"]
    assert sent and all(line["key"]["kind"] and line["resource"] for line in sent)
    assert {
        "vendor": "Twilio",
        "kind": "user",
        "name": "acme-pbx",
        "parent": {
            "vendor": "Twilio",
            "kind": "credential_list",
            "name": "acme-pbx credentials",
            "parent": None,
        },
    } in [line["key"] for line in sent]
