"""An auditor's sample of 25 from 50 records: every question answered by one command."""

from __future__ import annotations

import json
import shutil

import pytest

from runbook_lib.records import check_records
from runbook_lib.records.verify import verify_records
from tests.conftest import TestSandbox
from tests.records.fifty import SAMPLE, answered, answers, cli, make_year


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_a_sample_of_25_from_50(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sandbox.root)
    records = make_year(sandbox)
    everything = json.loads(cli(records, "list", "--json").stdout)["runs"]
    assert len(everything) >= 50
    counts = answered(answers(records))
    for question in (
        "who, and how that is known",
        "when (opened by the chain)",
        "when closed",
        "under which ticket, or named as without",
        "approved by whom, or by nobody",
    ):
        assert counts[question] == SAMPLE, (question, counts)
    assert counts["approved when, of those that were signed"] == counts["signed"]
    assert counts["from what to what, of those that changed something"] == counts["changed something"]
    whole = answered(everything)
    assert whole["signed"] == 3 and whole["rolled back"] >= 1 and whole["changed outside before"] >= 1
    # What the product finds of all of it, the verifier that travels finds as well.
    assert verify_records(records).problems == ()
    capsys.readouterr()
    assert check_records.main([str(records), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == [] and sum("approved by al@corp" in note for note in found["notes"]) == 3
    exceptions = json.loads(cli(records, "list", "--exceptions", "--json").stdout)["runs"]
    reasons = {reason for row in exceptions for reason in row["exceptions"]}
    assert {"no ticket", "auto-approved", "emergency without review", "changed outside"} <= reasons
