"""Runs that are ended from outside: what the records and the exit status say of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from runbook_lib.guide import RUN_ORDER
from runbook_lib.records.journal import read_journal
from tests.conftest import CHECKOUT, TestSandbox
from tests.processes import kernels_of

ACME = "parameters/sandbox/acme.yaml"
#: Carried out at once and answered late: nothing of it happens after the test.
FIRST_WRITE = {
    "vendor": "twilio",
    "method": "POST",
    "path": "/v1/Trunks$",
    "kind": "delay",
    "seconds": 40,
    "effect": "first",
}


@pytest.fixture
def apply(sandbox: TestSandbox) -> Iterator[subprocess.Popen[str]]:
    """``runbook apply`` of the demo's tenant, held in its first write."""
    sandbox.control("POST", "faults", FIRST_WRITE)
    process = subprocess.Popen(
        [sys.executable, "-c", "from runbook_lib.cli import main; main()", "apply", ACME],
        cwd=sandbox.root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: list(sandbox.root.glob("records/*/*/*/journal.jsonl")))
    time.sleep(0.5)
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def until(true: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def check(sandbox: TestSandbox, outcome: str) -> dict[str, object]:
    """Check what every part of the record says; return the section's result."""
    (folder,) = sandbox.root.glob("records/demo/acme/2*")
    run = json.loads((folder / "run.json").read_text())
    assert run["outcome"] == outcome
    outcomes = [one["outcome"] for one in run["sections"]]
    assert outcomes == ["succeeded", outcome] + ["not run"] * (len(RUN_ORDER) - 2)
    result = json.loads((folder / "01.result.json").read_text())
    assert (result["outcome"], result["writes"]) == (outcome, 1)
    notebook = nbformat.read(folder / "01_create_sip_trunk.ipynb", as_version=4)
    assert notebook.metadata.runbook.status == outcome
    assert len(read_journal(folder / "journal.jsonl")) == 1
    assert f"This section {'was ' if outcome == 'interrupted' else ''}{outcome}" in (
        folder / "01_create_sip_trunk.html"
    ).read_text(encoding="utf-8")
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_the_run(
    sandbox: TestSandbox, apply: subprocess.Popen[str], number: signal.Signals
) -> None:
    alive = kernels_of(apply.pid)
    apply.send_signal(number)
    shown, _ = apply.communicate(timeout=60)
    assert apply.returncode == 1, shown
    assert alive and not [one for one in alive if Path(f"/proc/{one}").exists()]
    error = check(sandbox, "interrupted")["error"]
    assert "interrupted" in error["what"] and "run it again" in error["next_step"]
    assert "interrupted" in shown


def test_a_kernel_that_is_interrupted_interrupts_the_run(
    sandbox: TestSandbox, apply: subprocess.Popen[str]
) -> None:
    for one in kernels_of(apply.pid):
        os.kill(one, signal.SIGINT)
    shown, _ = apply.communicate(timeout=60)
    assert apply.returncode == 1, shown
    assert check(sandbox, "interrupted")["error"]["kind"] == "KeyboardInterrupt"


def test_a_killed_kernel_fails_the_section(sandbox: TestSandbox, apply: subprocess.Popen[str]) -> None:
    for one in kernels_of(apply.pid):
        os.kill(one, signal.SIGKILL)
    shown, _ = apply.communicate(timeout=60)
    assert apply.returncode == 1
    error = check(sandbox, "failed")["error"]
    assert "Kernel died" in error["what"]
    assert "1 of 1 writes were sent and no answer was seen" in error["meaning"]
    assert "DeadKernelError" in shown


def test_a_full_disk_fails_the_run(sandbox: TestSandbox) -> None:
    records = sandbox.root / "records"
    records.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", records]).returncode:
        pytest.skip("mounting needs root")
    try:
        ended = subprocess.run(
            [sys.executable, "-c", "from runbook_lib.cli import main; main()", "apply", ACME],
            cwd=sandbox.root,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert ended.returncode == 1
        assert "No space left" in ended.stdout and "Traceback" not in ended.stdout, ended.stdout
        for path in records.glob("*/*/*/run.json"):
            assert json.loads(path.read_text())["outcome"] == "failed"
        results = [json.loads(path.read_text()) for path in records.glob("*/*/*/*.result.json")]
        notebooks = [nbformat.read(path, as_version=4) for path in records.glob("*/*/*/*.ipynb")]
        whole = sum(one.metadata.runbook.status == "succeeded" for one in notebooks)
        assert whole < len(RUN_ORDER) and len(results) <= len(RUN_ORDER)
    finally:
        subprocess.run(["umount", "-l", records], check=True)
        records.rmdir()
