"""Whatever door a write leaves by, the register has its run as open before, and its record after."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from runbook_lib.batch import Observer, run_tenants
from runbook_lib.batch.pages import write_index
from runbook_lib.cli.records import app
from runbook_lib.errors import ConflictError, VendorError
from runbook_lib.keys import trunk
from runbook_lib.plan import Action, Row
from runbook_lib.records import living
from runbook_lib.records.chain import ADOPTED, CLOSED, CLOSED_WHILE_RUNNING, FILE_NAME, OPENED, Chain
from runbook_lib.records.errors import RecordError
from runbook_lib.records.journal import Journal, read_journal
from runbook_lib.records.problems import CONSISTENT, DAMAGED, LINE_ENDS, POINTER
from runbook_lib.records.settling import adopt, close_dead
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import KEPT_ELSEWHERE, Runbook
from runbook_lib.secret import scrub_data
from runbook_lib.statement import CONFIRMED
from tests.conftest import CHECKOUT, TestSandbox, sample
from tests.records.conftest import make, start, work

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
RUN = "demo/acme/20261123T000000Z-aaaaaa"
ROW = Row("1.1", "friendly name", "PortSIP acme", None, Action.CREATE)
NOTEBOOK = "01_create_sip_trunk"


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "240"})


def write(journal: Journal) -> str:
    with journal.writing("01", trunk("PortSIP acme"), (ROW,)):
        return journal.sending("Twilio", "POST", "/v1/Trunks", {})


def answer(journal: Journal, entry: str) -> None:
    journal.answered(entry, status=201, request_id="RQ1", seconds=0.1, result="TK1", error=None)


def journal_of(folder: Path) -> Journal:
    return Journal(folder / "journal.jsonl", scrub_data, {"target": "sandbox"})


# The seam.


@pytest.mark.parametrize("state", ["never opened", "closed", "chain removed", "a folder by hand"])
def test_no_write_without_an_open_entry(tmp_path: Path, state: str) -> None:
    folder = tmp_path / RUN
    if state == "closed":
        make(tmp_path, RUN)
    elif state == "chain removed":
        start(tmp_path, RUN)
        (tmp_path / FILE_NAME).unlink()
    elif state == "a folder by hand":
        make(tmp_path, "demo/acme/other")
        folder.mkdir(parents=True)
        (folder / "opening.json").write_text("{}")
    before = read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else None
    with pytest.raises(RecordError, match="is already closed" if state == "closed" else "was never opened"):
        write(journal_of(folder))
    assert (read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else None) == before


def test_a_run_that_is_closed_under_way_sends_nothing_more_and_is_never_changed(tmp_path: Path) -> None:
    folder = start(tmp_path, RUN)
    journal = journal_of(folder)
    entry = write(journal)
    living.end(folder)  # its lock cannot be seen: another machine
    close_dead(tmp_path, folder)
    with pytest.raises(RecordError, match="is already closed"):
        write(journal)
    answer(journal, entry)
    journal.found(entry, "TK1", {"friendly_name": "PortSIP acme"})
    events = [one.event for one in Chain(tmp_path).entries()]
    assert events == [OPENED, CLOSED, CLOSED_WHILE_RUNNING, CLOSED_WHILE_RUNNING]
    told = json.loads((tmp_path / Chain(tmp_path).entries()[2].file).read_text())
    assert (told["run"], told["write"]["entry"], told["write"]["status"]) == (RUN, entry, 201)
    assert verify_records(tmp_path).status == CONSISTENT
    assert len(json.loads((folder / "record.json").read_text())["in_flight"]) == 1


# Doors.


def by_script(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "from runbook_lib.runbook import Runbook\n"
        f"with Runbook.open({SITE!r}, {ACME!r}, mode='apply') as book:\n"
        "    book.section('01').apply()"
    )
    return run(sandbox, folder, sys.executable, "-c", code)


def by_papermill(
    sandbox: TestSandbox, folder: Path, *engine: str, source: Path | None = None
) -> subprocess.CompletedProcess[str]:
    committed, out = notebook(sandbox, folder)
    command = [sys.executable, "-m", "papermill", str(source or committed), out, "--cwd", str(sandbox.root)]
    files = ["-f", str(sandbox.root / SITE), "-f", str(sandbox.root / ACME), "-p", "mode", "apply"]
    return run(sandbox, folder, *command, *files, *engine)


def by_engine(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    hook, hooked = folder / "hook" / "sitecustomize.py", None
    if hook.exists():  # the kernel is a copy of a process that has started already
        content = nbformat.read(notebook(sandbox, folder)[0], as_version=4)
        content.cells.insert(0, nbformat.v4.new_code_cell(hook.read_text()))
        hooked = folder / "hooked.ipynb"
        nbformat.write(content, hooked)
    return by_papermill(sandbox, folder, "--engine", "runbook", source=hooked)


def by_execute_notebook(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys, papermill; papermill.execute_notebook(sys.argv[1], sys.argv[2],"
        f" dict(site={SITE!r}, tenant={ACME!r}, mode='apply'), cwd={str(sandbox.root)!r})"
    )
    return run(sandbox, folder, sys.executable, "-c", code, *notebook(sandbox, folder))


def by_nbconvert(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    source, _ = notebook(sandbox, folder)
    content = nbformat.read(source, as_version=4)
    [own] = [
        number for number, cell in enumerate(content.cells) if "parameters" in cell.metadata.get("tags", ())
    ]
    passed = f"# Parameters\nsite = {SITE!r}\ntenant = {ACME!r}\nmode = 'apply'"
    content.cells.insert(own + 1, nbformat.v4.new_code_cell(passed))
    path = sandbox.root / "notebooks" / "applied.ipynb"
    nbformat.write(content, path)
    command = ["-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(folder)]
    return run(sandbox, folder, sys.executable, *command, str(path))


def by_runbook(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["-m", "runbook_lib", "apply", "-s", SITE, ACME, "--section", "01"]
    return run(sandbox, folder, sys.executable, *command)


def by_button(sandbox: TestSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    """The notebook's own page and widgets: what a person types and presses in JupyterLab."""
    code = (
        "from runbook_lib.notebook.section_page import SectionPage\n"
        "approval = dict.fromkeys(('plan_file', 'approved_plan', 'approved_by'))\n"
        f"page = SectionPage('01', {SITE!r}, {ACME!r}, 'apply', approval, {{}}, watched=True)\n"
        "page.plan()\n"
        "asked = page.form.panel.view['form']\n"
        "told = dict(do='apply', name=asked['name'], offer=asked['offer'])\n"
        "page.form.answered(told)\n"
        "page.form.wait(90)\n"
        "raise SystemExit('succeeded' not in page.form.status.text())"
    )
    return run(sandbox, folder, sys.executable, "-c", code)


DOORS = {
    "a Python script": by_script,
    "papermill": by_papermill,
    "papermill with our engine": by_engine,
    "execute_notebook": by_execute_notebook,
    "nbconvert --execute": by_nbconvert,
    "runbook": by_runbook,
    "JupyterLab's button": by_button,
}


def notebook(sandbox: TestSandbox, folder: Path) -> list[str]:
    return [str(sandbox.root / "notebooks" / f"{NOTEBOOK}.ipynb"), str(folder / "out.ipynb")]


def run(sandbox: TestSandbox, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    hook = folder / "hook"
    paths = os.pathsep.join([str(hook), str(CHECKOUT)]) if hook.exists() else str(CHECKOUT)
    environment = {**os.environ, "PYTHONPATH": paths, "RUNBOOK_ROOT": str(sandbox.root)}
    return subprocess.run(
        command, cwd=sandbox.root, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("door", DOORS)
def test_every_door_writes_to_the_register(sandbox: TestSandbox, tmp_path: Path, door: str) -> None:
    sandbox.clear_log()
    ended = DOORS[door](sandbox, tmp_path)
    assert ended.returncode == 0, ended.stderr
    records = sandbox.root / "records"
    assert [one.event for one in Chain(records).entries()] == [OPENED, CLOSED]
    [name] = {one.run for one in Chain(records).entries()}
    told = json.loads((records / name / "record.json").read_text())
    assert len(told["changes"]) == len(sandbox.writes()) > 0
    by_runner = door in ("runbook", "JupyterLab's button")
    how = CONFIRMED if door == "JupyterLab's button" else "auto-approval"
    assert told["outcome"] == "succeeded" and how in told["approver"]["by"]["how"]
    assert told["verification"][0]["ok"] and told["after"]
    assert told["notebook"] == (None if by_runner else KEPT_ELSEWHERE)
    assert by_runner or json.loads((records / name / "01.result.json").read_text())["tables"]
    report = verify_records(records)
    assert (report.status, report.older, report.strays) == (CONSISTENT, (), ())
    # The page of the button has planned in a run of its own, which wrote nothing.
    assert len(report.unchained) == (door == "JupyterLab's button")
    assert name.split("/")[2] in cli(records, "list").stdout


HOOK = '''
"""Kills this process at a request, and looks at each write on its way out: has its run opened?"""
import json, os, pathlib, signal, httpx
records, told = pathlib.Path(os.environ["DOORS_RECORDS"]), pathlib.Path(os.environ["DOORS_TOLD"])
nth, send = int(os.environ["DOORS_NTH"]), httpx.HTTPTransport.handle_request

def counted(wire, request):
    with (told / "count").open("a") as file:
        file.write(".")
        file.flush()
        count = file.tell()
    path = request.url.path
    if request.method != "GET" and "/auth/" not in path and "/tenants/switch" not in path:
        chain = records / "chain.jsonl"
        entries = [json.loads(line) for line in chain.read_text().splitlines()] if chain.exists() else []
        closed = {one["run"] for one in entries if one["event"] == "closed"}
        journals = [
            (records / one["run"] / "journal.jsonl")
            for one in entries
            if one["event"] == "opened" and one["run"] not in closed
        ]
        lines = [json.loads(path.read_text().splitlines()[-1]) for path in journals if path.exists()]
        if not any(one["event"] == "sending" and one["method"] == request.method for one in lines):
            (told / "without").open("a").write(f"{request.method} {path}\\n")
    if count == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    answer = send(wire, request)
    if count == -nth:
        answer.read()
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

httpx.HTTPTransport.handle_request = counted
'''
#: Requests of section 01 alone through the door that sends most; killed before (+) and after (-) each. The
#: button's page plans before, in a process of its own.
REQUESTS = {door: 22 if door == "JupyterLab's button" else 15 for door in DOORS}
CASES = [(door, sign * nth) for door in DOORS for nth in range(1, REQUESTS[door] + 1) for sign in (1, -1)]


@pytest.mark.parametrize(("door", "nth"), sample(CASES, 4))
def test_killed_at_a_request_no_write_has_left_without_an_entry(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, nth: int
) -> None:
    records = sandbox.root / "records"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    for name, value in {"RECORDS": records, "TOLD": tmp_path, "NTH": nth}.items():
        monkeypatch.setenv(f"DOORS_{name}", str(value))
    sandbox.clear_log()
    ended = DOORS[door](sandbox, tmp_path)
    count = (tmp_path / "count").stat().st_size
    assert count >= 1
    # A door that sends fewer requests than that was not killed.
    assert (ended.returncode != 0) == (count >= abs(nth)), ended.stderr
    assert not (tmp_path / "without").exists(), (tmp_path / "without").read_text()
    entries = Chain(records).entries()
    journalled = [one for entry in entries if entry.event == OPENED for one in _writes(records / entry.run)]
    assert len(sandbox.writes()) <= len(journalled)
    # What a killed run leaves is named, listed, on the page, and can be closed.
    report, index = verify_records(records), write_index(records).read_text()
    for entry in entries:
        if entry.event == OPENED:
            assert Path(entry.run).name in index
    for problem in report.problems:
        assert cli(records, "close", problem.path, "--reason", "killed by a test").exit_code == 0
        assert (records / problem.path / "index.html").exists()
    assert verify_records(records).problems == ()


def _writes(folder: Path) -> list[dict[str, Any]]:
    return read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else []


def test_an_apply_that_raises_is_a_closed_record_too(sandbox: TestSandbox) -> None:
    from tests.sections.test_safety import acme

    with Runbook.open(SITE, acme(dids="12025559999"), mode="apply") as book, pytest.raises(ConflictError):
        book.section("04").apply()
    records = sandbox.root / "records"
    assert [one.event for one in Chain(records).entries()] == [OPENED, CLOSED]
    told = json.loads((book.folder / "record.json").read_text())
    assert (told["outcome"], told["guide_sections"][0]["error"]["kind"]) == ("failed", "ConflictError")


def test_an_apply_whose_reading_breaks_off_is_a_closed_record(sandbox: TestSandbox) -> None:
    """Half of what a rollback looks at was read: the error that counts is the vendor's."""
    with Runbook.open(SITE, ACME, mode="apply") as book:
        for number in ("00", "01", "02", "03"):
            book.section(number).apply()
            newest = book.run_id
    choices = {"sections": ("90",), "record": newest, "accept_interruption": True}
    with Runbook.open(SITE, ACME, mode="apply", **choices) as book:
        section = book.section("90")
        section.plan()
        fault = {"vendor": "twilio", "method": "GET", "path": "/OriginationUrls/", "kind": "status"}
        sandbox.control("POST", "faults", {**fault, "status": 403, "nth": 2, "count": 100})
        with pytest.raises(VendorError):
            section.apply()
    sandbox.control("DELETE", "faults")
    told = json.loads((book.folder / "record.json").read_text())
    assert told["outcome"] == "failed" and verify_records(sandbox.root / "records").status == CONSISTENT


def test_each_apply_of_a_script_is_a_record_and_what_comes_later_keeps_nothing(sandbox: TestSandbox) -> None:
    records = sandbox.root / "records"
    with Runbook.open(SITE, ACME, mode="apply") as book:
        for number in ("00", "01"):
            section = book.section(number)
            section.apply()
            kept = {path: path.read_bytes() for path in book.folder.iterdir()}
            section.verify()
            section.finish()
            assert {path: path.read_bytes() for path in book.folder.iterdir()} == kept
        again = book.section("01")
        again.apply()
    # The simplest rule: every apply is a record, also one with nothing to write.
    assert [one.event for one in Chain(records).entries()] == [OPENED, CLOSED] * 3
    assert verify_records(records).status == CONSISTENT


def test_a_folder_of_a_run_that_died_is_not_written_into(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leaves RUNBOOK_RUN_DIR set does not add to another run's record."""
    records = sandbox.root / "records"
    dead = start(records, RUN)
    living.end(dead)
    monkeypatch.setenv("RUNBOOK_RUN_DIR", str(dead))
    with Runbook.open(SITE, ACME, mode="apply") as book:
        book.section("01").apply()
    assert book.folder != dead and not (dead / "journal.jsonl").exists()


def test_a_change_of_a_shared_trunk_names_whose_calls_it_is_about(sandbox: TestSandbox) -> None:
    for tenant in ("globex", "initech"):
        run_tenants(Path(SITE), [Path(f"parameters/sandbox/{tenant}.yaml")], "apply", {}, Observer())
    (trunk,) = run_tenants(Path(SITE), ["trunk:carrier"], "apply", {}, Observer()).tenants
    records = sandbox.root / "records"
    for name in ("opening.json", "record.json"):
        affected = json.loads((trunk.folder / name).read_text())["affected"]
        assert {one["pbx_domain"] for one in affected} == {"globex.pbx.example", "initech.pbx.example"}
    for tenant in ("globex", "initech"):
        assert trunk.folder.name in cli(records, "list", "--tenant", tenant).stdout
    assert trunk.folder.name not in cli(records, "list", "--tenant", "acme").stdout


# Closing by hand.


def dead_run(records: Path) -> Path:
    folder = start(records, RUN)
    work(folder, answered=False)
    (folder / "01.result.json").unlink()
    living.end(folder)
    return folder


def test_a_killed_run_is_listed_shown_and_closed_with_who_and_why(tmp_path: Path) -> None:
    folder = dead_run(tmp_path)
    assert "begun, not ended" in write_index(tmp_path).read_text()
    assert "begun, not ended" in cli(tmp_path, "list").stdout
    assert "begun, not ended" in cli(tmp_path, "show", folder.name).stdout
    assert cli(tmp_path, "close", folder.name, "--reason", "out of memory").exit_code == 0
    told = json.loads((folder / "closing.json").read_text())
    assert told["reason"] == "out of memory" and told["by"][0]["name"] and told["at"]
    # The parameter files of this made-up run are not there, which keeps nothing from being closed.
    assert told["at_the_vendors"]["read"] is None and told["at_the_vendors"]["why_not"]
    record = json.loads((folder / "record.json").read_text())
    assert record["guide_sections"][0]["outcome"] == "begun, not ended"
    assert (folder / "index.html").exists() and folder.name in (tmp_path / "index.html").read_text()
    assert verify_records(tmp_path).status == CONSISTENT
    shutil.rmtree(folder)  # what opened is listed, whatever becomes of its folder
    assert folder.name in write_index(tmp_path).read_text()


def test_a_run_of_another_host_is_closed_with_a_reason_and_its_id_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dead_run(tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "job-7c9f4")
    for arguments in (
        (),
        ("--reason", "gone"),
        ("--confirm", folder.name),
        ("--reason", "gone", "--confirm", "x"),
    ):
        assert cli(tmp_path, "close", folder.name, *arguments).exit_code == 1
    assert cli(tmp_path, "close", folder.name, "--reason", "gone", "--confirm", folder.name).exit_code == 0
    assert "cannot be seen" in json.loads((folder / "closing.json").read_text())["locks"]


def test_a_run_that_lives_is_not_closed_whatever_is_typed(tmp_path: Path) -> None:
    folder = start(tmp_path, RUN)
    refused = cli(tmp_path, "close", folder.name, "--reason", "it hangs", "--confirm", folder.name)
    assert refused.exit_code == 1 and not (folder / "closing.json").exists()
    going_on = cli(tmp_path, "verify")
    assert going_on.exit_code == 0 and "1 run is going on" in going_on.stdout


# From before, and after a restore.


def test_a_folder_from_before_is_named_and_entered_once(tmp_path: Path) -> None:
    make(tmp_path, "demo/acme/one")
    old = tmp_path / "demo/acme/20250101T000000Z-aaaaaa"
    old.mkdir()
    work(old)
    assert verify_records(tmp_path).older == ("demo/acme/20250101T000000Z-aaaaaa",)
    before = cli(tmp_path, "verify")
    assert before.exit_code == 0 and "older than the register" in before.stdout
    assert cli(tmp_path, "adopt", "demo/acme/20250101T000000Z-aaaaaa").exit_code == 0
    assert cli(tmp_path, "adopt", "demo/acme/20250101T000000Z-aaaaaa").exit_code == 1
    assert Chain(tmp_path).entries()[-1].event == ADOPTED
    assert (verify_records(tmp_path).status, verify_records(tmp_path).older) == (CONSISTENT, ())
    assert "adopted" in cli(tmp_path, "list").stdout
    (old / "journal.jsonl").write_text("{}\n")
    (old / "more.txt").write_text("")
    assert {one.path.rpartition("/")[2] for one in verify_records(tmp_path).problems} == {
        "journal.jsonl",
        "more.txt",
    }


def test_after_a_restore_a_run_stops_until_what_the_chain_lacks_is_adopted(tmp_path: Path) -> None:
    records, backup = tmp_path / "records", tmp_path / "backup"
    make(records, "demo/acme/one")
    shutil.copytree(records, backup)
    make(records, "demo/acme/two")
    make(records, "demo/globex/three")
    shutil.copytree(backup, records, dirs_exist_ok=True)
    chain = (records / FILE_NAME).read_bytes()
    with pytest.raises(RecordError, match="demo/acme/two"):
        start(records, "demo/acme/four")
    assert (records / FILE_NAME).read_bytes() == chain and not (records / "demo/acme/four").exists()
    make(records, "demo/initech/five")  # of another tenant: verify names it
    assert verify_records(records).status == DAMAGED
    for lost in ("demo/acme/two", "demo/globex/three"):
        told = json.loads((records / adopt(records, records / lost).file).read_text())
        assert told["why"] == "found after a restore"
    make(records, "demo/acme/four")
    assert verify_records(records).status == CONSISTENT


# Transport.


def test_line_ends_and_pointers_are_named(tmp_path: Path) -> None:
    folder = make(tmp_path, RUN)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.json*")}
    assert (tmp_path / ".gitattributes").read_bytes() == b"* -text -filter\n"
    for path, content in whole.items():
        path.chmod(0o644)
        path.write_bytes(content.replace(b"\n", b"\r\n"))
    assert {one.what for one in verify_records(tmp_path).problems} == {LINE_ENDS}
    told = cli(tmp_path, "verify")
    assert told.exit_code == 1 and told.stdout.count("line endings") == 1
    for path, content in whole.items():
        path.write_bytes(content)
    assert verify_records(tmp_path).status == CONSISTENT
    path = folder / "record.json"
    digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 9\n")
    assert [one.what for one in verify_records(tmp_path).problems] == [POINTER]
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    assert [one.what for one in verify_records(tmp_path).problems] == ["changed"]


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int kept(int file) {
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    return size > 0 && strstr(path, "/records") != NULL;
}
int chmod(const char *path, mode_t mode) {
    if (strstr(path, "/records")) { errno = EPERM; return -1; }
    return ((int (*)(const char *, mode_t)) dlsym(RTLD_NEXT, "chmod"))(path, mode);
}
int fsync(int file) {
    struct stat found;
    if (kept(file) && fstat(file, &found) == 0 && S_ISDIR(found.st_mode)) { errno = EINVAL; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(file);
}
#ifdef NO_LOCKS
int flock(int file, int how) {
    if (kept(file)) { errno = ENOLCK; return -1; }
    return ((int (*)(int, int)) dlsym(RTLD_NEXT, "flock"))(file, how);
}
#endif
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("locks", [True, False], ids=["no modes, no folder fsync", "no locks"])
def test_what_the_file_system_lacks_is_known_before_the_first_write(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    (tmp_path / "shim.c").write_text(SHIM)
    options = [] if locks else ["-DNO_LOCKS"]
    shim = str(tmp_path / "shim.so")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", *options, "-o", shim, str(tmp_path / "shim.c"), "-ldl"], check=True
    )
    sandbox.clear_log()
    records = sandbox.root / "records"
    monkeypatch.setenv("LD_PRELOAD", shim)
    ended = by_script(sandbox, tmp_path)
    monkeypatch.delenv("LD_PRELOAD")
    if locks:
        assert ended.returncode == 0, ended.stderr
        assert [one.event for one in Chain(records).entries()] == [OPENED, CLOSED]
        opening = json.loads((records / Chain(records).entries()[0].file).read_text())
        assert len(opening["notes"]) == 2
        assert verify_records(records).status == CONSISTENT
    else:
        assert ended.returncode != 0 and "no locks" in ended.stderr
        assert sandbox.writes() == [] and not (records / FILE_NAME).exists()
