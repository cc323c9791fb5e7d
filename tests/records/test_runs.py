"""A run for real: opened in the chain before its first section, closed after its last, verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook_lib.batch import Observer, SectionResult, run_tenants
from runbook_lib.records.chain import Chain
from runbook_lib.records.verify import CONSISTENT, VERIFIED, Anchor, verify
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox

SITE, ACME = Path("parameters/sandbox/site.yaml"), Path("parameters/sandbox/acme.yaml")


class Onlooker(Observer):
    """Notes, before each section, how the chain and the vendors stand."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self.sandbox = sandbox
        self.seen: list[tuple[list[str], int]] = []

    def on_section_start(self, tenant: str, section: str) -> None:
        entries = Chain(self.sandbox.root / "records").entries()
        self.seen.append(([one.event for one in entries], len(self.sandbox.writes())))


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def test_an_apply_is_a_record_in_the_chain(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-7")
    sandbox.clear_log()
    onlooker = Onlooker(sandbox)
    (tenant,) = run_tenants(SITE, [ACME], "apply", {}, onlooker).tenants
    assert tenant.outcome == "succeeded"
    assert onlooker.seen[0] == (["opened"], 0)
    assert all(events == ["opened"] for events, _ in onlooker.seen)

    records = sandbox.root / "records"
    assert [one.event for one in Chain(records).entries()] == ["opened", "closed"]
    head = Chain(records).head
    assert head is not None
    assert verify(records).status == CONSISTENT
    assert verify(records, [Anchor(head, "kept")]).status == VERIFIED
    assert {path.stat().st_mode & 0o777 for path in tenant.folder.iterdir()} == {0o444}

    told = json.loads((tenant.folder / "record.json").read_text())
    assert (told["outcome"], told["ticket"], told["in_flight"]) == ("succeeded", "CHG-7", [])
    assert len(told["changes"]) == tenant.writes
    assert all(one["request_id"] for one in told["changes"] if one["vendor"] == "Twilio")
    assert {one["outcome"] for one in told["guide_sections"]} == {"succeeded"}
    assert [one["section"] for one in told["guide_sections"]] == [one.section for one in tenant.sections]
    assert all(one["ok"] for one in told["verification"])
    credentials = told["parameters"]["tenant"]["termination"]["credentials"]
    assert credentials["password"] == "file:.sandbox/secrets/sip_password_acme"
    page = (tenant.folder / "index.html").read_text()
    assert "record.json" in page
    for path in (sandbox.root / ".sandbox" / "secrets").iterdir():
        for name in ("opening.json", "record.json"):
            assert path.read_text().strip() not in (tenant.folder / name).read_text()

    # Runs that write nothing are outside of the chain, unless somebody asks for it.
    (checked,) = run_tenants(SITE, [ACME], "verify", {}, Observer()).tenants
    report = verify(records, [Anchor(head, "kept")])
    assert report.status == VERIFIED
    assert report.unchained == (checked.folder.relative_to(records).as_posix(),)
    monkeypatch.setenv("RUNBOOK_CHAIN", "all")
    run_tenants(SITE, [ACME], "verify", {}, Observer())
    assert [one.event for one in Chain(records).entries()] == ["opened", "closed"] * 2


class Leak(Observer):
    """Plants a secret beside a section's notebook."""

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        if result.notebook is not None:
            (result.notebook.parent / "leak.txt").write_text("planted-canary-0815")


def test_a_withheld_record_is_closed_without_what_is_withheld(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_CHAIN", "all")
    remember("planted-canary-0815", "env:CANARY")
    (tenant,) = run_tenants(SITE, [ACME], "verify", {}, Leak()).tenants
    assert tenant.outcome == "failed"
    assert (tenant.folder.parent / "withheld" / tenant.folder.name / "leak.txt").exists()
    assert not (tenant.folder / "leak.txt").exists()
    assert verify(sandbox.root / "records").status == CONSISTENT
    told = json.loads((tenant.folder / "record.json").read_text())
    assert told["outcome"] == "failed" and "env:CANARY in leak.txt" in told["problem"]
    assert told["parameters"]["tenant"]["name"] == "acme"


def test_a_run_that_cannot_be_recorded_writes_nothing(sandbox: TestSandbox) -> None:
    chain = sandbox.root / "records" / "chain.jsonl"
    chain.parent.mkdir()
    chain.write_text("damaged\n")
    sandbox.clear_log()
    result = run_tenants(SITE, [ACME], "apply", {}, Observer())
    assert result.exit_status == 1
    first: SectionResult = result.tenants[0].sections[0]
    assert "chain.jsonl line 1 cannot be read" in first.message and "What to do next" in first.message
    assert sandbox.writes() == []
    assert chain.read_text() == "damaged\n"
