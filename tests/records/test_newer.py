"""What the next version writes: named as newer, with that version where it is known, and never as damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runbook_lib.cli import app
from runbook_lib.errors import RunbookError
from runbook_lib.plan import FORMAT, Plan
from runbook_lib.records import chain, journal, record, run_folder, summary
from runbook_lib.records.chain import Chain
from runbook_lib.records.errors import RecordError
from runbook_lib.records.problems import CONSISTENT, DAMAGED, NEWER, Anchor
from runbook_lib.records.record import close_record
from runbook_lib.records.to_undo import parameter_files_of, record_to_undo
from runbook_lib.records.verify import verify_records
from runbook_lib.statement import Statement
from tests.records.conftest import start, work

OLD, NEW = "demo/acme/20261126T000000Z-aaaaaa", "demo/acme/20261126T000001Z-bbbbbb"
NEXT = {"version": "9.9.9", "source": "sha256:0"}


@contextmanager
def the_next_version(*modules: object) -> Iterator[None]:
    """Write with the next format of some modules' files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "runbook_version", lambda: NEXT)
        for module in modules:
            patch.setattr(module, "FORMAT", 2)
        if record in modules:  # the opening and the checksums
            patch.setattr(run_folder, "FORMAT", 2)
        yield


def made(records: Path, *modules: object) -> Path:
    """A record of this version and then one of the next."""
    for run in (OLD, NEW):
        with the_next_version(*(modules if run == NEW else ())):
            folder = start(records, run)
            work(folder)
            if journal in modules and run == NEW:
                path = folder / journal.FILE_NAME
                lines = [
                    json.loads(line) | {"format": 2, "shape": "new"} for line in path.read_text().splitlines()
                ]
                path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            close_record(records, folder)
    return records / NEW


def command(records: Path, *arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(
        app, ["records", *arguments, "--records", str(records)], env={"COLUMNS": "300"}
    )
    return ended.exit_code, ended.output


@pytest.mark.parametrize("module", [record, summary], ids=["opening and checksums", "record"])
def test_a_record_of_the_next_version_is_listed_and_shown_as_newer(tmp_path: Path, module: object) -> None:
    made(tmp_path, module)
    for arguments in (("list",), ("show", NEW)):
        status, told = command(tmp_path, *arguments)
        assert status == 1 and "newer runbook (version 9.9.9, format 2" in told, told
        assert "CHANGED" not in told
    status, told = command(tmp_path, "show", OLD)
    assert status == 0 and "newer" not in told


@pytest.mark.parametrize(
    ("module", "status"),
    [(summary, CONSISTENT), (journal, CONSISTENT), (record, NEWER)],
    ids=["record", "journal", "checksums"],
)
def test_verify_says_only_of_what_was_changed_that_it_was(
    tmp_path: Path, module: object, status: str
) -> None:
    folder = made(tmp_path, module)
    assert verify_records(tmp_path).status == status
    code, told = command(tmp_path, "verify")
    assert (code, "changed" in told) == (0 if status == CONSISTENT else 1, False), told
    (folder / "opening.json").chmod(0o644)
    (folder / "opening.json").write_text("{}")
    assert verify_records(tmp_path).status == DAMAGED


@pytest.mark.parametrize("module", [record, summary, journal], ids=["opening", "record", "journal"])
def test_a_rollback_refuses_it_by_name_and_takes_back_what_is_older(tmp_path: Path, module: object) -> None:
    made(tmp_path, module)

    def undo(run: str | None) -> None:
        name = run and run.rpartition("/")[2]
        if name:
            parameter_files_of(tmp_path, name)
        record_to_undo(tmp_path, tmp_path / "demo/acme", name, (), {}, {"site": {}, "tenant": {}})

    for wanted in (NEW, None):  # without a name the newest is meant, and no older one
        with pytest.raises(RunbookError, match="newer runbook") as caught:
            undo(wanted)
        assert "upgrade" in str(caught.value)
    undo(OLD)


def test_a_chain_that_the_next_version_has_continued(tmp_path: Path) -> None:
    start(tmp_path, OLD)
    line = Chain(tmp_path).entries()[-1].line.replace(b'"format": 2', b'"format": 3')
    (tmp_path / chain.FILE_NAME).write_bytes(line)
    report = verify_records(tmp_path)
    assert report.status == NEWER and "newer runbook" in report.problems[0].what
    with pytest.raises(RunbookError, match="newer runbook"):
        start(tmp_path, NEW)


def test_what_the_next_version_added_to_a_chain_is_not_called_damage(tmp_path: Path) -> None:
    made(tmp_path)
    head = Chain(tmp_path).entries()[1]  # the older record's end: what somebody has kept
    path = tmp_path / chain.FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    later = [line.replace(b'"format": 2', b'"format": 3') for line in lines[2:]]
    path.write_bytes(b"".join([*lines[:2], *later]))
    assert verify_records(tmp_path).status == NEWER
    report = verify_records(tmp_path, [Anchor(head.digest, "head")])
    assert report.status == NEWER and report.anchored == head
    assert verify_records(tmp_path, [Anchor("sha256:" + "0" * 64, "head")]).status == NEWER
    (tmp_path / OLD / "opening.json").chmod(0o644)
    (tmp_path / OLD / "opening.json").write_text("{}")
    assert verify_records(tmp_path).status == DAMAGED


@pytest.mark.parametrize("name", ["opening.json", "record.json", "checksums.json", "journal.jsonl"])
def test_a_file_that_was_changed_to_look_newer_was_changed(tmp_path: Path, name: str) -> None:
    made(tmp_path)
    path = tmp_path / NEW / name
    path.chmod(0o644)
    if name == "journal.jsonl":
        path.write_text(path.read_text() + '{"format": 2}\n')
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(RecordError) as caught:
        record_to_undo(
            tmp_path, tmp_path / "demo/acme", NEW.rpartition("/")[2], (), {}, {"site": {}, "tenant": {}}
        )
    assert "upgrade" not in caught.value.next_step


def test_a_plan_and_an_approval_of_the_next_version() -> None:
    document = Plan({}, "acme", {}, (), runbook="0.2.0").to_document()
    assert Plan.from_document(document).runbook == "0.2.0"
    with pytest.raises(ValueError, match=r"by runbook 9\.9\.9") as caught:
        Plan.from_document(document | {"format": FORMAT + 1, "runbook": "9.9.9", "slices": "new"})
    assert "edited" not in str(caught.value)
    without = {key: value for key, value in document.items() if key != "runbook"}
    assert Plan.from_document(without).digest == document["digest"]  # of the last version
    with pytest.raises(ValueError, match="format 2"):
        Statement.parse(b'{"format": 2}')
