"""Keeping the newest head elsewhere: by a command of the house's own, which can fail without harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.records import anchor, check_records
from runbook_lib.records.anchor import keep_head, kept_heads
from runbook_lib.records.chain import Chain
from runbook_lib.records.errors import RecordError
from runbook_lib.runbook import Runbook
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox
from tests.records.conftest import make
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE

RUN = "demo/acme/20261123T000000Z-aaaaaa"


def settings(records: Path, *command: str, mode: int = 0o644) -> Path:
    records.mkdir(parents=True, exist_ok=True)
    path = records / "settings.toml"
    path.write_text(f"anchor = {json.dumps(command)}\n")
    path.chmod(mode)
    return path


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


#: Writes down, each time, what it was given: its input and its environment.
NOTES = """
import json, os, sys
with open(sys.argv[1], "a") as file:
    print(json.dumps([sys.stdin.read(), dict(os.environ)]), file=file)
"""


def noted(path: Path) -> list[tuple[str, dict[str, str]]]:
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def verify(records: Path) -> Result:
    return CliRunner().invoke(app, ["verify", "--records", str(records)], env={"COLUMNS": "200"})


def test_the_head_goes_out_and_verify_tells_its_age(tmp_path: Path) -> None:
    records, notes = tmp_path / "records", tmp_path / "notes"
    make(records, RUN)
    assert keep_head(records) is None and not (records / "anchors.jsonl").exists()
    settings(records, *python(NOTES, str(notes)))
    assert "no head was kept elsewhere yet" in verify(records).stdout
    assert keep_head(records) == kept_heads(records)[-1]
    assert [head for head, _ in noted(notes)] == [f"{Chain(records).head}\n"]
    make(records, "demo/acme/20261123T000001Z-bbbbbb")
    told = verify(records)
    assert told.exit_code == 0 and "not in the chain" not in told.stdout
    assert "that of entry 1, just now" in told.stdout and "2 entries came after it" in told.stdout


def test_a_head_that_was_kept_and_is_not_there_any_more(tmp_path: Path) -> None:
    """A backup of before was put back: what names the later head stayed."""
    records = tmp_path / "records"
    make(records, RUN)
    settings(records, "true")
    kept = (records / "chain.jsonl").read_bytes()
    make(records, "demo/acme/20261123T000001Z-bbbbbb")
    keep_head(records)
    (records / "chain.jsonl").write_bytes(kept)
    told = verify(records)
    assert told.exit_code == 1 and "cut or recreated: the head kept elsewhere" in told.stdout


def test_the_command_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWILIO_AUTH_TOKEN", "RUNBOOK_TICKET", "RUNBOOK_ROOT", "PGPASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "planted")
    records, notes = tmp_path / "records", tmp_path / "notes"
    make(records, RUN)
    settings(records, *python(NOTES, str(notes)))
    keep_head(records)
    [(_, environment)] = noted(notes)
    assert "planted" not in environment.values() and environment["PATH"] == os.environ["PATH"]


#: Commands and settings by which nothing is kept, and what is said of them.
BROKEN = {
    "no such program": (["/no/such/program"], "cannot be started"),
    "a NUL": (["tr\0ue"], "cannot be started"),
    "its failure": (python("import sys; sys.exit('the remote is down')"), "the remote is down"),
    "its silence": (python("raise SystemExit(7)"), "status 7: no reason given"),
    "a secret in its words": (python("import sys; sys.exit('planted-canary-0816')"), "env:CANARY"),
    "killed": (python("import os; os.kill(os.getpid(), 9)"), "status -9"),
    "it reads nothing and waits": (python("import time; time.sleep(60)"), "did not end within"),
    "its child waits": (
        python("import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"),
        "did not end within",
    ),
    "others can write the settings": (["true"], "can be written by others"),
    "no list": ("true", "not a list of arguments"),
    "no words": ([1], "not a list of arguments"),
    "no TOML": ([], "cannot be used"),
    "another setting": ([], "anker: no such setting"),
    "a link": ("link", "a link"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_kept_is_said_and_harms_nothing(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor, "LIMIT_S", 1.0)
    remember("planted-canary-0816", "env:CANARY")
    records = tmp_path / "records"
    make(records, RUN)
    command, said = BROKEN[case]
    path = settings(records, mode=0o664 if case.startswith("others") else 0o644)
    if command == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        texts = {"no TOML": "anchor = [", "another setting": "anker = []\n"}
        path.write_text(texts.get(case) or f"anchor = {json.dumps(command)}\n")
    began = time.monotonic()
    with pytest.raises(RecordError, match=said) as caught:
        keep_head(records)
    assert time.monotonic() - began < 10 and "planted" not in str(caught.value)
    assert kept_heads(records) == []


def test_lines_of_the_kept_heads_that_are_none_of_ours(tmp_path: Path) -> None:
    make(tmp_path, RUN)
    settings(tmp_path, "true")
    keep_head(tmp_path)
    with (tmp_path / "anchors.jsonl").open("a") as file:
        file.write('{"format": 2, "seq": 9, "head": "sha512:", "at": 3}\n[1]\n{}\nnothing\n{"format": 1')
    assert len(kept_heads(tmp_path)) == 1 and verify(tmp_path).exit_code == 0


@pytest.mark.parametrize("what", ["a link", "a folder"])
def test_kept_heads_that_cannot_be_read_are_a_problem_for_product_and_verifier(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, RUN)
    path = tmp_path / "anchors.jsonl"
    path.mkdir() if what == "a folder" else path.symlink_to("chain.jsonl")
    told = CliRunner().invoke(app, ["verify", "--json", "--records", str(tmp_path)])
    capsys.readouterr()
    assert check_records.main([str(tmp_path), "--json"]) == told.exit_code == 1
    for output in (told.stdout, capsys.readouterr().out):
        found = [(problem["path"], problem["code"]) for problem in json.loads(output)["problems"]]
        assert found == [("anchors.jsonl", "not-plain")]


def runbook(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [command, "-s", "parameters/sandbox/site.yaml", *arguments, "--section", "01"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, "-m", "runbook_lib", *words], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("options", [(), ("--at-once", "2")], ids=["", "at once"])
@pytest.mark.parametrize("fails", [False, True], ids=["", "fails"])
def test_a_batch_keeps_its_last_head_once(
    sandbox: TestSandbox,
    tmp_path: Path,
    fails: bool,
    options: tuple[str, ...],
) -> None:
    records, notes = sandbox.root / "records", tmp_path / "notes"
    code = NOTES + ("sys.exit('the remote is down')" if fails else "")
    settings(records, *python(code, str(notes)))
    tenants = [f"parameters/sandbox/{name}.yaml" for name in ("acme", "globex")]
    done = runbook("apply", *tenants, *options)
    assert done.returncode == 0, done.stderr
    assert [head for head, _ in noted(notes)] == [f"{Chain(records).head}\n"]
    assert len(Chain(records).entries()) == 4
    assert ("the remote is down" in done.stderr) == fails
    # Plans close no record, so there is nothing to keep.
    runbook("plan", tenants[0])
    assert len(noted(notes)) == 1


#: Notes which locks of the project somebody holds while the head goes out.
LOCKS = """
import fcntl, pathlib, sys
held = []
for path in pathlib.Path(".").rglob(".*.lock"):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.append(str(path))
pathlib.Path(sys.argv[2]).write_text(repr(held))
"""


@pytest.mark.parametrize("fails", [False, True], ids=["", "fails"])
def test_an_apply_outside_of_the_runner_keeps_its_head_and_renews_the_page(
    sandbox: TestSandbox, tmp_path: Path, fails: bool
) -> None:
    records, notes, held = sandbox.root / "records", tmp_path / "notes", tmp_path / "held"
    code = NOTES + LOCKS + ("sys.exit('the remote is down')" if fails else "")
    settings(records, *python(code, str(notes), str(held)))
    if fails:
        (records / "index.html").mkdir()  # the page cannot be written either
    with Runbook.open(SITE, ACME, mode="apply") as book:
        section = book.section("01")
        section.apply()
        result = section.finish()
    assert result["outcome"] == "succeeded" and DOMAIN in sandbox.vendors.trunk_sids()
    assert [head for head, _ in noted(notes)] == [f"{Chain(records).head}\n"]
    assert held.read_text() == "[]"
    assert len(result["cautions"]) == (2 if fails else 0)
    assert json.loads((book.folder / "record.json").read_text())["outcome"] == "succeeded"
    assert fails or book.run_id in (records / "index.html").read_text()
    assert fails or verify(records).exit_code == 0
