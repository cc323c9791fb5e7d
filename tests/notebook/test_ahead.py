"""The process that is ready before the click: what it holds until then, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from runbook_lib.detached import Detached
from runbook_lib.records import living
from tests.conftest import CHECKOUT, TestSandbox

PATIENCE_S = 90.0
ACME = "parameters/sandbox/acme.yaml"


@pytest.fixture
def project(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> TestSandbox:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    sandbox.clear_log()
    return sandbox


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def family(pid: int) -> list[psutil.Process]:
    """A process that is ready, with its kernel."""
    until(lambda: psutil.Process(pid).children(recursive=True))
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def nothing_is_held(sandbox: TestSandbox) -> bool:
    requests = sandbox.control("GET", "requests").json()["requests"]
    return requests == [] and not list(sandbox.root.glob("records/**/*"))


def test_until_it_is_handed_something_it_holds_nothing_and_then_it_is_that_command(
    project: TestSandbox,
) -> None:
    ready = Detached(["runbook_lib.ahead"], project.root, listens=True)
    family(ready.pid)
    time.sleep(3)
    assert ready.running and nothing_is_held(project)
    assert ready.hand_over(json.dumps(["apply", ACME, "--section", "01"]))
    until(lambda: not ready.running)
    assert ready.status == 0, ready.printed()
    [opening] = project.root.glob("records/demo/acme/*/opening.json")
    assert json.loads(opening.read_text())["process"]["pid"] == ready.pid
    assert json.loads((opening.parent / "run.json").read_text())["outcome"] == "succeeded"
    ready.close()


def test_it_ends_with_its_starter(project: TestSandbox) -> None:
    starter = f"""
import pathlib, sys, time
from runbook_lib.detached import Detached
ready = Detached(["runbook_lib.ahead"], pathlib.Path({str(project.root)!r}), listens=True)
print(ready.pid, flush=True)
time.sleep(600)
"""
    kernel = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    processes = family(int(kernel.stdout.readline()))
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.wait()
    kernel.stdout.close()
    until(lambda: not any(process.is_running() for process in processes))
    assert nothing_is_held(project)


def test_what_a_run_is_doing_is_in_its_lock_and_in_no_file_of_the_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    living.enter(folder, living.Phase.READING)  # not a run that is going on
    assert list(folder.iterdir()) == [] and living.entered(folder) == {}
    living.begin(folder)
    assert living.entered(folder) == {}
    living.enter(folder, living.Phase.WRITING, total=6)
    assert living.entered(folder) == {"phase": "writing", "total": 6}
    living.enter(folder, living.Phase.READING)
    assert living.entered(folder) == {"phase": "reading"}
    assert list(living.going_on(tmp_path)) == [folder]
    living.end(folder)
    assert list(folder.iterdir()) == [] and list(living.going_on(tmp_path)) == []
