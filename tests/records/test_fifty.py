"""An auditor's sample of 25 from 50 records: every question answered by one command."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from runbook_lib.records import check_records
from runbook_lib.records.verify import verify_records
from tests.conftest import TestSandbox, sample
from tests.records.fifty import SAMPLE, answers, cli, make_year, tampered, tamperings, wrong


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_a_sample_of_25_from_50(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sandbox.root)
    year = make_year(sandbox)
    records = year.records
    everything = json.loads(cli(records, "list", "--json").stdout)["runs"]
    assert len(everything) >= 50 and len(answers(records)) == SAMPLE
    found = {row["run"].rpartition("/")[2]: row for row in everything}
    assert found.keys() == year.did.keys()
    # What one command answers of each is what was done.
    mistakes = {run: names for run, row in found.items() if (names := wrong(row, year.did[run]))}
    assert mistakes == {}, [(year.did[run], found[run]) for run in mistakes]
    approvals = [row["approval"] for row in everything]
    assert approvals.count("ssh signature") == 3 and all(approvals)
    assert sum(row["settings"] == 1 for row in everything) > 20
    in_csv = list(csv.DictReader(io.StringIO(cli(records, "list", "--csv").stdout)))
    assert [row["changed"] for row in in_csv] == [row["changed"] for row in everything]
    # What the product finds of all of it, the verifier that travels finds as well.
    assert verify_records(records).problems == ()
    capsys.readouterr()
    assert check_records.main([str(records), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == [] and sum("approved by al@corp" in note for note in found["notes"]) == 3
    # Also about each file that is changed, removed or added.
    tried = sample(tamperings(records), 30)
    assert [case for case in tried if not tampered(records, *case)] == []
    with capsys.disabled():
        print(f"\n{len(everything)} records, {len(tried)} changes to their files: both verdicts agree")
    exceptions = json.loads(cli(records, "list", "--exceptions", "--json").stdout)["runs"]
    reasons = {reason for row in exceptions for reason in row["exceptions"]}
    assert {"no ticket", "auto-approved", "emergency without review", "changed outside"} <= reasons
