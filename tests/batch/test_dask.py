"""A batch on the workers of a real Dask scheduler, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.conftest import CHECKOUT, TestSandbox
from tests.many import SITE, state_of, tenant_files

pytest.importorskip("distributed")


def surroundings(sandbox: TestSandbox) -> dict[str, Any]:
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "140"}
    return {"cwd": sandbox.root, "env": environment, "text": True}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runbook_lib", *arguments]


@contextmanager
def dask(sandbox: TestSandbox) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and two workers with two threads each, as processes; yields its address and the workers."""
    options: dict[str, Any] = {**surroundings(sandbox), "stderr": subprocess.PIPE}
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-m", *arguments, "--no-dashboard"], **options)
            )
            stack.callback(process.kill)
            return process

        scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        address = _told(scheduler, r"Scheduler at:\s+tcp://(\S+)")
        workers = [
            start(
                *("distributed.cli.dask_worker", f"tcp://{address}", "--no-nanny", "--nthreads", "2"),
                *("--host", "127.0.0.1", "--local-directory", str(sandbox.root / f"dask-{number}")),
            )
            for number in range(2)
        ]
        for worker in workers:
            _told(worker, r"Registered to:\s+(\S+)")
        yield address, workers


def _told(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError("it ended before it was ready")


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def batch(sandbox: TestSandbox) -> dict[str, Any]:
    path = max(sandbox.root.glob("records/_batches/*/batch.json"))
    return json.loads(path.read_text())


@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_touches_its_tenants_only(sandbox: TestSandbox) -> None:
    files = tenant_files(sandbox, 4)
    barrier = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks$", "waiters": 9, "timeout": 300}
    arguments = command("apply", "-s", SITE, *files, "--section", "1", "--at-once", "4")
    with dask(sandbox) as (address, (killed, _)):
        sandbox.control("POST", "barriers", barrier)
        with subprocess.Popen(
            [*arguments, "--runner", f"dask://{address}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **surroundings(sandbox),
        ) as running:
            until(lambda: _waiting(sandbox) == 4)
            os.kill(killed.pid, signal.SIGKILL)
            sandbox.control("DELETE", "barriers")
            told, _ = running.communicate(timeout=300)
        assert running.returncode == 1, told
        found = batch(sandbox)
        lost = [part for part in found["tenants"] if part["outcome"] == "failed"]
        assert [part["outcome"] for part in found["tenants"]].count("succeeded") == 4 - len(lost) >= 1
        assert lost and all(part["cause"] == ["LostWorkerError"] for part in lost), told
        resumed = subprocess.run(
            command("apply", "--resume", found["batch"], "--runner", f"dask://{address}"),
            capture_output=True,
            timeout=300,
            **surroundings(sandbox),
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert {part["outcome"] for part in batch(sandbox)["tenants"]} == {"succeeded"}
    names = [name for name, _ in state_of(sandbox)["trunks"]]
    assert [names.count(f"PortSIP many-{number}") for number in range(4)] == [1] * 4


def _waiting(sandbox: TestSandbox) -> int:
    [barrier] = sandbox.control("GET", "barriers").json()["barriers"]
    return barrier["waiting"]


def test_without_a_scheduler_nothing_is_sent(sandbox: TestSandbox) -> None:
    files = tenant_files(sandbox, 1)
    sandbox.clear_log()
    for address in ("127.0.0.1:1", "nowhere"):
        ended = subprocess.run(
            command("apply", "-s", SITE, *files, "--runner", f"dask://{address}"),
            capture_output=True,
            timeout=120,
            **surroundings(sandbox),
        )
        assert ended.returncode == 3, ended.stdout + ended.stderr
    assert sandbox.control("GET", "requests").json()["requests"] == []
