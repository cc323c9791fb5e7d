"""The journal: secrets leave its values and not its keys, and what cannot be read of it is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook_lib import secret
from runbook_lib.batch.interruption import Interruption
from runbook_lib.batch.jobs import Job
from runbook_lib.batch.observer import Aside, Observer
from runbook_lib.batch.recording import record_run
from runbook_lib.batch.results import TenantResult
from runbook_lib.batch.scan import scan
from runbook_lib.keys import trunk
from runbook_lib.plan import Action, Row
from runbook_lib.records import journal
from runbook_lib.records.errors import RecordError
from runbook_lib.records.journal import Journal, is_readable, read_journal
from runbook_lib.records.ownership import Ownership
from runbook_lib.records.record import close_record, write_record
from runbook_lib.records.to_undo import record_to_undo
from runbook_lib.secret import SecretFilter, remember, scrub_data
from tests.records.conftest import make, start, work

RUN = "demo/acme/20261123T000000Z-aaaaaa"
ROW = Row("1.1", "friendly name", "PortSIP acme", None, Action.CREATE)


@pytest.fixture
def own_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of this test's own."""
    monkeypatch.setattr(secret, "_secrets", SecretFilter())


def written(path: Path, body: object, name: str = "PortSIP acme") -> list[dict[str, object]]:
    kept = Journal(path, scrub_data, {"target": "sandbox"})
    with kept.writing("01", trunk(name), (ROW,)):
        entry = kept.sending("Twilio", "POST", "/v1/Trunks", body)
        kept.answered(entry, status=201, request_id="RQ1", seconds=0.1, result="TK1", error=None)
    return read_journal(path)


@pytest.mark.usefixtures("own_filter")
@pytest.mark.parametrize("word", ["resource", "section", "desired", "request_id", "target"])
def test_our_own_keys_stay(tmp_path: Path, word: str) -> None:
    remember(word, "env:X")
    (write,) = written(start(tmp_path, RUN) / "journal.jsonl", {"name": f"a {word}"})
    assert write["body"] == {"name": "a [env:X]"}
    assert write["resource"] == "trunk PortSIP acme" and write["rows"] == [ROW.covered()]
    assert write["target"] == {"target": "sandbox"}
    assert write["answer"]["request_id"] == "RQ1"


@pytest.mark.usefixtures("own_filter")
def test_a_number_is_taken_out_and_a_key_stays_to_be_found(tmp_path: Path) -> None:
    """Keys are never changed; a secret in one from outside is what the search of a closing record finds."""
    remember("87654321", "env:PIN")
    remember("Canary-in-a-key", "env:KEY")
    body = {"Canary-in-a-key": 1, "deep": [{"pin": 87654321, "on": True, "rate": 1.5}]}
    path = start(tmp_path, RUN) / "journal.jsonl"
    (write,) = written(path, body)
    assert write["body"] == {"Canary-in-a-key": 1, "deep": [{"pin": "[env:PIN]", "on": True, "rate": 1.5}]}
    assert scan([path]) == {path: ["env:KEY"]}


def test_line_ends_inside_of_a_text_end_no_line(tmp_path: Path) -> None:
    name = "\u2028 \x85 \u2029 acme"
    (write,) = written(start(tmp_path, RUN) / "journal.jsonl", {"FriendlyName": name}, name)
    assert journal.key_of(write) == trunk(name) and write["answer"]["result"] == "TK1"


def lines_of(folder: Path) -> list[str]:
    return (folder / journal.FILE_NAME).read_text(encoding="utf-8").splitlines()


def without(line: str, key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(line).items() if name != key})


@pytest.mark.parametrize("key", ["event", "entry", "resource", "rows", "before"])
def test_a_write_that_cannot_be_read_is_in_the_record(tmp_path: Path, key: str) -> None:
    folder = start(tmp_path, RUN)
    work(folder)
    sent, answered = lines_of(folder)
    (folder / journal.FILE_NAME).write_text(f"{without(sent, key)}\n{answered}\n", encoding="utf-8")
    write_record(folder)
    close_record(tmp_path, folder)
    told = json.loads((folder / "record.json").read_text())
    (lost,) = told["in_flight"]
    assert lost["resource"] == "line 1 of the journal cannot be read"
    assert told["changes"] == told["in_flight"]


@pytest.mark.parametrize("line", ["", "{", "[]", "7", "null", '{"event": [], "entry": "1"}', "\0" * 50])
def test_a_line_that_is_none_of_ours(tmp_path: Path, line: str) -> None:
    folder = start(tmp_path, RUN)
    work(folder)
    sent, answered = lines_of(folder)
    (folder / journal.FILE_NAME).write_text(f"{sent}\n{line}\n{answered}\n", encoding="utf-8")
    write, unreadable = read_journal(folder / journal.FILE_NAME)
    assert write["answer"]["status"] == 201 and is_readable(write)
    assert not is_readable(unreadable)


def test_an_answer_that_cannot_be_read_leaves_its_write_in_flight(tmp_path: Path) -> None:
    folder = start(tmp_path, RUN)
    work(folder)
    sent, answered = lines_of(folder)
    (folder / journal.FILE_NAME).write_text(f"{sent}\n{without(answered, 'status')}\n", encoding="utf-8")
    write_record(folder)
    told = json.loads((folder / "record.json").read_text())
    assert [one["section"] for one in told["in_flight"]] == ["01", ""]


def test_a_last_line_that_was_cut_off_never_left(tmp_path: Path) -> None:
    folder = start(tmp_path, RUN)
    work(folder)
    path = folder / journal.FILE_NAME
    path.write_text(path.read_text() + lines_of(folder)[0][:80], encoding="utf-8")
    assert len(read_journal(path)) == 1
    path.write_text("\n".join(lines_of(folder)[:2]), encoding="utf-8")
    assert read_journal(path)[0]["answer"]["status"] == 201


def test_nothing_is_rolled_back_by_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    folder = start(tmp_path, RUN)
    work(folder)
    path = folder / journal.FILE_NAME
    path.write_text("{}\n" + path.read_text(), encoding="utf-8")
    write_record(folder)
    close_record(tmp_path, folder)
    with pytest.raises(RecordError, match="cannot be read"):
        record_to_undo(tmp_path, folder.parent, None, (), {}, {})


def test_nothing_is_rolled_back_by_a_journal_that_was_changed(tmp_path: Path) -> None:
    folder = make(tmp_path, RUN)
    path = folder / journal.FILE_NAME
    path.chmod(0o600)
    path.write_text("{}\n" + path.read_text(), encoding="utf-8")
    with pytest.raises(RecordError, match=r"journal\.jsonl: changed"):
        record_to_undo(tmp_path, folder.parent, None, (), {}, {})


def test_before_the_first_run_nothing_was_made_by_us(tmp_path: Path) -> None:
    assert not Ownership(tmp_path / "none", {}).made(trunk("PortSIP acme"), "TK1")


def test_files_that_nobody_can_make_sense_of_are_a_problem_and_no_traceback(tmp_path: Path) -> None:
    folder = start(tmp_path / "records", RUN)
    (folder / "01.result.json").write_text('{"section": "01", "plan": [{}]}', encoding="utf-8")
    job = Job("demo", "acme", folder, {}, {"mode": "apply"}, {}, ("01",), ("01",), {}, tmp_path)
    aside = Aside(Observer(), Interruption())
    ran = TenantResult("demo", "acme", folder, ())
    result = record_run(job, ran, "2026-11-23T00:00:00+00:00", aside)
    assert result.problem.startswith("the record cannot be written (KeyError: ")
    assert result.outcome == "failed"
