"""What the journals show as made by us, with an index that is a cache and nothing else."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.keys import trunk
from runbook_lib.records import ownership
from runbook_lib.records.errors import RecordError
from runbook_lib.records.ownership import FEW, FORMAT, OWNERSHIP, Ownership
from runbook_lib.records.verify import verify_records
from tests.records.conftest import make

MANY = FEW + 4
TARGET = {"target": "sandbox"}


def journal(records: Path, run: str, vendor_id: str | None, resource: str = "trunk a") -> Path:
    """A run's journal with one write: answered with an id, or (``None``) without an answer."""
    common = {"at": "2026-11-23T00:00:00.000+00:00", "entry": "1"}
    sending = {"event": "sending", "target": TARGET, "section": "01", "resource": resource}
    sending |= {"vendor": "Twilio", "method": "POST", "path": "/", "body": {}, "before": None, "rows": []}
    events = [{**common, **sending}]
    if vendor_id is not None:
        answer = {"status": 201, "request_id": None, "seconds": 0, "result": vendor_id, "error": None}
        events.append({**common, "event": "answered", **answer})
    path = records / run / "journal.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    for number in range(MANY):
        journal(tmp_path, f"acme/run-{number:03}", f"TK{number}")
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs whose journal was opened."""
    names: list[str] = []

    def read(path: Path, whole=ownership.read_journal) -> list[dict[str, object]]:
        names.append(path.parent.name)
        return whole(path)

    monkeypatch.setattr(ownership, "read_journal", read)
    return names


def test_only_the_journals_that_speak_of_it_are_opened(records: Path, opened: list[str]) -> None:
    assert Ownership(records, TARGET).made(trunk("a"), "TK7")
    assert len(opened) == MANY + 1
    opened.clear()
    assert Ownership(records, TARGET).made(trunk("a"), "TK7") and opened == ["run-007"]
    opened.clear()
    fresh = Ownership(records, TARGET)
    assert not fresh.made(trunk("a"), "TK-of-somebody") and opened == []
    assert [one["answer"]["result"] for one in fresh.answered_writes("TK3")] == ["TK3"]
    assert opened == ["run-003"]


def test_the_resource_and_the_target_are_asked_of_the_journal(records: Path) -> None:
    own = Ownership(records, TARGET)
    assert not own.made(trunk("b"), "TK7")
    assert not Ownership(records, {"target": "live"}).made(trunk("a"), "TK7")
    assert list(Ownership(records, {"target": "live"}).answered_writes("TK7")) == []


def test_what_is_new_changed_or_gone_counts_as_it_lies_there_now(records: Path, opened: list[str]) -> None:
    own = Ownership(records, TARGET)
    assert own.made(trunk("a"), "TK7")
    journal(records, "acme/run-new", "TK-new")
    journal(records, "acme/run-003", "TK-other")
    (records / "acme/run-005/journal.jsonl").unlink()
    opened.clear()
    for each in (own, Ownership(records, TARGET)):
        assert each.made(trunk("a"), "TK-new") and each.made(trunk("a"), "TK-other")
        assert not each.made(trunk("a"), "TK3") and not each.made(trunk("a"), "TK5")
    assert set(opened) == {"run-new", "run-003"}


def test_a_lost_answer_counts_by_its_time(records: Path) -> None:
    journal(records, "acme/run-lost", None)
    assert Ownership(records, TARGET).made(trunk("a"), "TK-x", datetime(2026, 11, 23, 0, 1, tzinfo=UTC))
    for own in (Ownership(records, TARGET), Ownership(records, TARGET)):
        assert own.made(trunk("a"), "TK-x", datetime(2026, 11, 23, 0, 1, tzinfo=UTC))
        assert not own.made(trunk("a"), "TK-x", datetime(2026, 11, 23, 0, 3, tzinfo=UTC))
        assert not own.made(trunk("b"), "TK-x", datetime(2026, 11, 23, 0, 1, tzinfo=UTC))


def head(records: Path) -> dict[str, Any]:
    """The index without what the runs left."""
    return dict(json.loads((records / OWNERSHIP).read_bytes().splitlines()[0]))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 6, "places": [], "journals": {}}',
        f'{{"format": {FORMAT}}}',
        f'{{"format": {FORMAT}, "places": [], "journals": {{"acme/run-007": [1]}}}}',
        f'{{"format": {FORMAT}, "places": [], "journals": {{"acme/run-007": [[1, 2, 3], 4, null, 0]}}}}',
        f'{{"format": {FORMAT}, "places": [], "journals": {{"acme/run-007": [[1, 2, 3], [], [], "x"]}}}}',
    ],
)
def test_an_index_that_cannot_be_made_sense_of_is_made_again(records: Path, content: str) -> None:
    (records / OWNERSHIP).write_text(content)
    assert Ownership(records, TARGET).made(trunk("a"), "TK7")
    assert len(head(records)["journals"]) == MANY


@pytest.mark.parametrize("what", ["a folder", "a named pipe", "a link to itself"])
def test_something_else_in_its_place_is_no_obstacle(records: Path, what: str) -> None:
    place = records / OWNERSHIP
    {
        "a folder": place.mkdir,
        "a named pipe": lambda: os.mkfifo(place),
        "a link to itself": lambda: place.symlink_to(place),
    }[what]()
    assert Ownership(records, TARGET).made(trunk("a"), "TK7")


def test_what_the_index_says_is_not_believed(records: Path) -> None:
    assert Ownership(records, TARGET).made(trunk("a"), "TK7")
    index = head(records)
    for told in index["journals"].values():
        told[1] = ["TK-of-somebody"]
    (records / OWNERSHIP).write_text(json.dumps(index))
    assert not Ownership(records, TARGET).made(trunk("a"), "TK-of-somebody")


def test_a_journal_that_cannot_be_read_is_an_error_only_where_it_may_count(records: Path) -> None:
    path = records / "acme/run-004/journal.jsonl"
    path.unlink()
    path.mkdir()
    for own in (Ownership(records, TARGET), Ownership(records, TARGET)):
        assert own.made(trunk("a"), "TK7")
        with pytest.raises(RecordError, match="run-004"):
            own.made(trunk("a"), "TK4")


def test_an_account_that_may_only_read_does_without(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(records / OWNERSHIP))

    monkeypatch.setattr(ownership, "write_whole", refuse)
    assert Ownership(records, TARGET).made(trunk("a"), "TK7")
    assert not (records / OWNERSHIP).exists()


def _write_and_ask(records: Path, worker: int) -> None:
    for number in range(5):
        journal(records, f"acme/worker-{worker}-{number}", f"W{worker}-{number}")
        (records / OWNERSHIP).unlink(missing_ok=True)
        own = Ownership(records, TARGET)
        assert own.made(trunk("a"), f"W{worker}-{number}") and own.made(trunk("a"), "TK7")


def test_two_writers(records: Path) -> None:
    workers = [multiprocessing.Process(target=_write_and_ask, args=(records, one)) for one in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert [one.exitcode for one in workers] == [0] * 4
    own = Ownership(records, TARGET)
    assert all(own.made(trunk("a"), f"W{worker}-{number}") for worker in range(4) for number in range(5))


def test_the_register_passes_over_the_index(tmp_path: Path) -> None:
    for number in range(MANY):
        make(tmp_path, f"demo/acme/20261123T0000{number:02}Z-aaaaaa")
    for scope in ("demo", "demo/acme"):
        Ownership(tmp_path / scope, {}).made(trunk("PortSIP acme"), "TK1")
        assert (tmp_path / scope / OWNERSHIP).exists()
    report = verify_records(tmp_path)
    assert report.problems == () and report.strays == ()
