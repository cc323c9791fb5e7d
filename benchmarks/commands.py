"""Running ``runbook`` for the benchmarks: the demo's first tenant, in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.conftest import CHECKOUT, TestSandbox

SITE, TENANT = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds of somebody who waits, and of the processors, its kernels included."""

    wall_s: float
    cpu_s: float


def run(sandbox: TestSandbox, command: str) -> Spent:
    """Run ``runbook COMMAND`` for the tenant; one that fails ends the benchmark."""
    began, before = time.perf_counter(), _cpu_s()
    ended = subprocess.run(
        [sys.executable, "-m", "runbook_lib", command, "-s", SITE, TENANT],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode not in ((0, 2) if command == "plan" else (0,)):
        raise SystemExit(f"runbook {command} ended with {ended.returncode}")
    return Spent(time.perf_counter() - began, _cpu_s() - before)


def _cpu_s() -> float:
    """The processor seconds of all processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
