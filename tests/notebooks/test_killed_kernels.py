"""A kernel that is killed in the middle of a request, in each section: nothing says that it succeeded.

``RUNBOOK_SWEEP=1`` does all sections, otherwise two of them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from runbook_lib.guide import RUN_ORDER, SECTIONS
from runbook_lib.records.journal import read_journal
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.test_endings import until
from tests.processes import kernels_of
from tests.test_cli import runbook

#: A tenant whose run writes in every section that can write.
GLOBEX = "parameters/sandbox/globex.yaml"
#: The request of each section in which its kernel is killed; 00 only reads.
HELD = {
    "00": {},
    "01": {"method": "POST", "path": "/v1/Trunks$"},
    "02": {"method": "POST", "path": r"/Credentials\.json$"},
    "03": {"method": "POST", "path": "/OriginationUrls$", "nth": 2},
    "04": {"method": "POST", "path": "/IncomingPhoneNumbers/PN"},
    "05": {"method": "POST", "path": "/api/providers$"},
    "06": {"method": "POST", "path": "/api/inbound_rules$"},
}


KILLED_IN = tuple(HELD) if os.environ.get("RUNBOOK_SWEEP") else ("00", "02")


@pytest.mark.parametrize("number", KILLED_IN)
def test_a_kernel_killed_in_a_section_leaves_an_honest_record(sandbox: TestSandbox, number: str) -> None:
    arguments = ["apply", GLOBEX]
    if number == "00":
        # Without a plan the runner reads ahead, and 00 has nothing left to ask for.
        assert runbook(sandbox, "plan", GLOBEX, "--out", "plans").returncode == 2
        digest = json.loads((sandbox.root / "plans/globex.plan.json").read_text())["digest"]
        arguments += ["--plan", "plans/globex.plan.json", "--approved-by", "pat", "--approved-plan", digest]
    process = subprocess.Popen(
        [sys.executable, "-c", "from runbook_lib.cli import main; main()", *arguments],
        cwd=sandbox.root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        sandbox.control("POST", "faults", HELD[number] | {"kind": "delay", "seconds": 60})
        until(lambda: held(sandbox) or process.poll() is not None)
        os.kill(kernel_of(number, process), signal.SIGKILL)
        shown, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 1, shown
    check(sandbox.root / "records", number, str(held(sandbox)[0]["path"]))


def held(sandbox: TestSandbox) -> list[dict[str, object]]:
    log = sandbox.control("GET", "requests").json()["requests"]
    return [one for one in log if one["fault"] == "delay"]


def kernel_of(number: str, process: subprocess.Popen[str]) -> int:
    """The section's own kernel: the next section's is warming up beside it, started after it."""

    def turn(pid: int) -> int | None:
        """The number in the names of its sockets; ``None`` before it has any."""
        names = (one.laddr for one in psutil.Process(pid).net_connections("unix"))
        found = {int(match[1]) for name in names if (match := re.search(r"/(\d+)-ipc-", name))}
        return min(found, default=None)

    found = {nth: one for one in kernels_of(process.pid) if (nth := turn(one)) is not None}
    assert min(found) == RUN_ORDER.index(number) + 1
    return found[min(found)]


def check(records: Path, number: str, path: str) -> None:
    (folder,) = records.glob("demo/globex/2*")
    before = RUN_ORDER.index(number)
    outcomes = ["succeeded"] * before + ["failed"] + ["not run"] * (len(RUN_ORDER) - before - 1)
    run, record = (json.loads((folder / name).read_text()) for name in ("run.json", "record.json"))
    assert run["outcome"] == record["outcome"] == "failed"
    assert [one["outcome"] for one in run["sections"]] == outcomes
    assert [one["outcome"] for one in record["guide_sections"]] == outcomes

    name = SECTIONS[number].notebook
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    assert notebook.metadata.runbook.status == "failed"
    assert "DeadKernelError" in notebook.metadata.runbook.error
    assert "This section failed" in (folder / f"{name}.html").read_text(encoding="utf-8")

    result = json.loads((folder / f"{number}.result.json").read_text())
    assert result["outcome"] == "failed" and "Kernel died" in result["error"]["what"]
    writes = read_journal(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else []
    lost = [one for one in writes if one["answer"] is None]
    assert [one["path"] for one in record["in_flight"]] == [one["path"] for one in lost]
    if number == "00":
        assert writes == []
    else:
        assert [(one["section"], one["path"]) for one in lost] == [(number, path)]
        mine = sum(one["section"] == number for one in writes)
        assert f"1 of {mine} writes were sent and no answer was seen" in result["error"]["meaning"]
    report = verify_records(records)
    assert report.problems == () and len(report.records) == 1
