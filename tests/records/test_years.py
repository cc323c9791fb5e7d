"""Records over the years: removed by rule, on hold, archived, and verified from a head on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.guide import ROLL_BACK, RUN_ORDER
from runbook_lib.records import chain, check_records, retention
from runbook_lib.records.chain import Chain
from runbook_lib.records.errors import RecordError
from runbook_lib.records.problems import CONSISTENT
from runbook_lib.records.record import close_record
from runbook_lib.records.retention import before
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.records.conftest import finish, make, start, work
from tests.sections.test_tenant_level import ACME, SITE, run_all, run_section
from tests.sections.test_way_back import way_back

OLD, YOUNG, TODAY = "demo/acme/1", "demo/acme/2", "demo/acme/3"


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "200"})


def dispose(records: Path, age: str = "7y") -> Any:
    return cli(records, "dispose", "--older-than", age, "--reason", "the rule of the house", "--yes")


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records of ten years ago, of five, and of today; the rule is seven years."""
    records = tmp_path / "records"
    with pytest.MonkeyPatch.context() as patch:
        for run, ago in ((OLD, 10), (YOUNG, 5)):
            year = datetime.now(UTC).year - ago
            patch.setattr(chain, "now", lambda year=year: f"{year}-03-01T12:00:00+00:00")
            make(records, run)
    make(records, TODAY)
    (records / "settings.toml").write_text('keep = "7y"\n')
    return records


def left(records: Path, run: str) -> list[str]:
    return sorted(path.name for path in (records / run).iterdir())


def test_it_is_shown_before_it_is_removed(records: Path) -> None:
    before = left(records, OLD)
    output = cli(records, "dispose", "--older-than", "7y")
    assert output.exit_code == 0 and OLD in output.stdout and YOUNG not in output.stdout
    assert left(records, OLD) == before
    assert cli(records, "dispose", "--older-than", "7y", "--yes").exit_code == 3  # no reason
    assert left(records, OLD) == before


def test_removed_by_rule(records: Path) -> None:
    head = Chain(records).head
    path = records / OLD / "record.json"
    digest = chain.digest_of_file(path)
    assert dispose(records).exit_code == 0
    assert left(records, OLD) == ["disposed.json"]
    told = json.loads((records / OLD / "disposed.json").read_text())
    assert told["removed"]["record.json"] == digest
    [write] = told["writes"]
    assert (write["what"], write["answer"]["result"]) == ("made", "TK1")
    assert "PortSIP acme" not in json.dumps({**told, "writes": [{**write, "key": None}]})  # a value
    assert "pat@desk" not in json.dumps(told)
    entry = Chain(records).entries()[-1]
    event = json.loads((records / entry.file).read_text())
    assert (entry.event, entry.run, event["reason"]) == ("disposed", OLD, "the rule of the house")
    assert event["by"] and event["rule"] == {"older_than": "7y", "keep": "7y"}
    report = verify_records(records)
    assert (report.status, report.removed) == (CONSISTENT, (OLD,))
    assert cli(records, "verify", "--head", str(head)).exit_code == 0
    listed = json.loads(cli(records, "list", "--json").stdout)["runs"]
    assert [row["state"] for row in listed] == ["disposed", "closed", "closed"]
    assert cli(records, "show", OLD).exit_code == 0
    assert dispose(records).exit_code == 0 and len(Chain(records).entries()) == 7


def _on_hold(records: Path) -> None:
    assert cli(records, "hold", OLD, "--reason", "the case of 2031").exit_code == 0


def _tampered(records: Path) -> None:
    path = records / OLD / "record.json"
    path.chmod(0o644)
    path.write_text("{}")


KEPT: dict[str, Callable[[Path], object]] = {
    "on hold": _on_hold,
    "not as it was closed": _tampered,
    "no rule": lambda records: (records / "settings.toml").unlink(),
    "a longer rule": lambda records: (records / "settings.toml").write_text('keep = "20y"\n'),
    "a rule that is none": lambda records: (records / "settings.toml").write_text('keep = "long"\n'),
    "a rule that others may write": lambda records: (records / "settings.toml").chmod(0o666),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_stays(records: Path, case: str) -> None:
    KEPT[case](records)
    before = left(records, OLD)
    dispose(records)
    assert left(records, OLD) == before
    assert "disposed" not in {entry.event for entry in Chain(records).entries()}


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", OLD, "out.zip"),
        ("export", OLD, "out.md", "--for", "customer"),
        ("export", OLD, "out.html"),
        ("compare", OLD),
        ("review", OLD, "--remark", "x"),
        ("hold", OLD, "--reason", "x"),
    ],
)
def test_what_is_asked_of_a_removed_record_is_refused_by_its_name(
    records: Path, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dispose(records)
    before = (records / "chain.jsonl").read_bytes()
    done = cli(records, *arguments)
    assert done.exit_code == (3 if arguments[0] == "hold" else 1) and "removed by rule" in done.output
    assert not [*tmp_path.glob("out.*")] and (records / "chain.jsonl").read_bytes() == before


def test_a_hold_placed_after_the_removal_was_shown(records: Path) -> None:
    assert f"Would be removed: {OLD}" in cli(records, "dispose", "--older-than", "7y").stdout
    _on_hold(records)
    done = dispose(records)
    assert done.exit_code == 0 and f"Stays: {OLD}" in done.stdout and "on hold" in done.stdout
    assert "record.json" in left(records, OLD) and verify_records(records).problems == ()


@pytest.mark.parametrize(
    "tenant", ["t" * 40, "two words", "Müller & Söhne", "電話", "o'brien", "-x", "ﬁ e\u0301"]
)
def test_whatever_the_tenant_is_called(
    records: Path, tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, kept = f"demo/{tenant}/1", f"demo/{tenant}/2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "now", lambda: "2012-03-01T12:00:00+00:00")
        for name in (run, kept):
            make(records, name)
    # The chain was of today already: by its time they are young, so the rule of a day is asked.
    records.joinpath("settings.toml").write_text('keep = "1d"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "before", lambda age, at: at)
        assert cli(records, "hold", kept, "--reason", "x").exit_code == 0
        done = dispose(records, "1d")
    assert done.exit_code == 0 and left(records, run) == ["disposed.json"]
    assert "record.json" in left(records, kept)
    assert cli(records, "export", kept, str(tmp_path / "a.zip")).exit_code == 0
    assert cli(records, "archive", "2012", str(tmp_path / "b.zip")).exit_code == 0
    assert cli(records, "show", run).exit_code == 0 and cli(records, "verify").exit_code == 0
    for archive in ("a.zip", "b.zip"):
        with zipfile.ZipFile(tmp_path / archive) as zipped:
            zipped.extractall(tmp_path / archive.removesuffix(".zip"))
        [folder] = (tmp_path / archive.removesuffix(".zip")).iterdir()
        assert check_records.main(["--copy", str(folder)]) == 0
    assert check_records.main([str(records)]) == 0


def test_a_hold_is_released(records: Path) -> None:
    assert cli(records, "hold", OLD, "--release", "--reason", "x").exit_code == 3
    assert cli(records, "hold", OLD).exit_code == 3
    _on_hold(records)
    assert cli(records, "hold", OLD, "--reason", "again").exit_code == 3
    assert "on hold" in cli(records, "list").stdout
    assert cli(records, "hold", OLD, "--release", "--reason", "the case is closed").exit_code == 0
    dispose(records)
    assert left(records, OLD) == ["disposed.json"]
    assert cli(records, "hold", OLD, "--reason", "too late").exit_code == 3
    assert verify_records(records).problems == ()


def test_open_runs_and_backdated_ones_stay(records: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "now", lambda: "2001-03-01T12:00:00+00:00")
        work(start(records, "demo/acme/open"))
        folder = start(records, "demo/acme/backdated")
        work(folder)
        finish(records, folder)
    dispose(records)
    # By its own time the last one is old; by the chain's it is of today.
    assert len(left(records, "demo/acme/open")) > 1 and len(left(records, "demo/acme/backdated")) > 1
    with pytest.raises(RecordError):
        close_record(records, records / OLD)


@pytest.mark.parametrize("step", ["the entry", "half of it"])
def test_a_removal_that_was_cut_off_is_finished(
    records: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        if step == "the entry":
            patch.setattr("runbook_lib.records.retention.Chain.record", die)
            with pytest.raises(Killed):
                dispose(records)
        else:
            patch.setattr("runbook_lib.records.retention.leftovers", lambda folder: ["record.json", "no"])
            assert dispose(records).exit_code == 1
    assert len(left(records, OLD)) > 1
    assert verify_records(records).problems
    assert dispose(records).exit_code == 0
    assert left(records, OLD) == ["disposed.json"] and verify_records(records).problems == ()


def test_what_stays_of_it_cannot_be_changed_unnoticed(records: Path) -> None:
    dispose(records)
    path = records / OLD / "disposed.json"
    path.write_text(path.read_text().replace("TK1", "TK2"))
    assert [problem.path for problem in verify_records(records).problems] == [f"{OLD}/disposed.json"]
    path.unlink()
    assert [problem.path for problem in verify_records(records).problems] == [f"{OLD}/disposed.json"]


@pytest.mark.parametrize(
    ("age", "day"),
    [
        ("7y", "2017-02-28"),
        ("18m", "2022-08-29"),
        ("90d", "2023-12-01"),
        ("12m", "2023-02-28"),
        ("1m", "2024-01-29"),
    ],
)
def test_ages(age: str, day: str) -> None:
    assert f"{before(age, datetime(2024, 2, 29, tzinfo=UTC)):%Y-%m-%d}" == day


@pytest.mark.parametrize("age", ["0y", "7", "y", "9999y", "-1y", "7 y", "7Y", "1.5y", ""])
def test_what_is_no_age(records: Path, age: str) -> None:
    assert cli(records, "dispose", f"--older-than={age}").exit_code == 3


def test_no_later_plan_differs_and_a_rollback_is_refused_by_name(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = sandbox.root / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "now", lambda: "2001-03-01T12:00:00+00:00")
        runs = [result["run_id"] for result in run_all()]
    run_section("01")  # a run of today, in which nothing is written
    (records / "settings.toml").write_text('keep = "7y"\n')

    def plans() -> list[Any]:
        renamed = sandbox.root / "renamed.yaml"
        text = (sandbox.root / ACME).read_text()
        renamed.write_text(text.replace("friendly_name: PortSIP acme", "friendly_name: PortSIP acme, new"))
        found = []
        for tenant in (ACME, str(renamed)):
            for number in RUN_ORDER:
                with Runbook.open(SITE, tenant) as runbook:
                    found.append([row.covered() for row in runbook.section(number).plan().rows])
        return found

    as_before = plans()
    output = dispose(records)
    assert output.exit_code == 0, output.output
    removed = [run for run in runs if left(records, f"demo/acme/{run}") == ["disposed.json"]]
    kept = [run for run in runs if run not in removed]
    assert removed and kept  # who wrote the passwords last stays
    assert all("password" in (records / "demo/acme" / run / "journal.jsonl").read_text() for run in kept)
    assert plans() == as_before
    for index in records.rglob(".ownership.json"):
        index.unlink()
    assert plans() == as_before
    assert verify_records(records).problems == ()
    with pytest.raises(RecordError, match=removed[-1]):
        way_back(ROLL_BACK, record=removed[-1])
    assert way_back(ROLL_BACK, record=kept[-1])["outcome"] == "succeeded"


def test_since_a_head(records: Path) -> None:
    head = str(Chain(records).head)
    make(records, "demo/acme/4")
    output = cli(records, "verify", "--since", head)
    assert output.exit_code == 0 and "3 records that were already closed" in output.stdout
    _tampered(records)  # before the head: not looked at, and said so
    assert cli(records, "verify", "--since", head).exit_code == 0
    path = records / "demo/acme/4/record.json"
    path.chmod(0o644)
    path.write_text("{}")
    assert cli(records, "verify", "--since", head).exit_code == 1
    assert cli(records, "verify", "--since", "sha256:" + "0" * 64).exit_code == 1
    assert cli(records, "verify", "--since", "yesterday").exit_code == 3


def test_an_archive_verifies_itself(records: Path, tmp_path: Path) -> None:
    year = datetime.now(UTC).year
    dispose(records)
    out = tmp_path / "archive.zip"
    assert cli(records, "archive", str(year), str(out)).exit_code == 0
    assert cli(records, "archive", str(year), str(out)).exit_code == 1  # nothing is overwritten
    assert cli(records, "archive", "1999", str(tmp_path / "none.zip")).exit_code == 1
    old = tmp_path / "old.zip"
    assert cli(records, "archive", str(year - 10), str(old)).exit_code == 0
    for archive, run in ((out, TODAY), (old, OLD)):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(tmp_path / archive.stem)
        [folder] = (tmp_path / archive.stem).iterdir()
        assert os.listdir(folder / run)
        command = [sys.executable, "-I", str(folder / "check_records.py"), "--copy", str(folder)]
        assert subprocess.run([*command, "--head", str(Chain(records).head)], check=False).returncode == 0
        victim = sorted((folder / run).iterdir())[0]
        victim.chmod(0o644)
        victim.write_text("changed")
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1
