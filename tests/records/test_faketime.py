"""Whole runs under clocks that are wrong (libfaketime): what an operator would lose by one.

The vendors, and the machine of whoever looks later, have the right time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runbook_lib.guide import ROLL_BACK
from runbook_lib.records.chain import Chain
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox, sample
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_drift import trunk_path, twilio_post
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt-get install libfaketime")
CLOCKS = ("-3d", "-10m", "+10m", "+2h", "+3y")
#: What sets the clock of a process: of each one on the machine, also of the one that kernels are copied from.
SETTINGS = ("LD_PRELOAD", "NO_FAKE_STAT", "FAKETIME")
COMMAND = f"""
from runbook_lib.__main__ import main
from runbook_lib.batch import forking
forking.PASSED_ON += {SETTINGS}
main()
"""
#: What is made by a write whose answer is lost.
LOST = ("/Credentials.json$", "/IpAccessControlLists.json$", "/OriginationUrls$")
#: Whole runs take long: one of the clocks with every test run, all of them with ``make sweep``.
BY_CLOCK = pytest.mark.parametrize("clock", sample(CLOCKS, 1))


def environment(sandbox: TestSandbox, **clock: str) -> dict[str, str]:
    """A machine's clock: ``FAKETIME``, or a file that can be changed meanwhile."""
    wrong = {"LD_PRELOAD": str(LIBRARY), "NO_FAKE_STAT": "1", **clock}
    base = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"}
    return {**base, **wrong} if clock else base


def start(sandbox: TestSandbox, clock: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the ``runbook`` command on a machine whose clock is off by so much; by nothing if it is empty."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=sandbox.root,
        env=environment(sandbox, **({"FAKETIME": clock} if clock else {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def runbook(sandbox: TestSandbox, clock: str, *arguments: str) -> tuple[int, str]:
    with start(sandbox, clock, *arguments) as process:
        printed, complained = process.communicate(timeout=180)
    return process.returncode, printed + complained


def apply(sandbox: TestSandbox, clock: str, *arguments: str) -> tuple[int, str]:
    return runbook(sandbox, clock, "apply", "-s", SITE, ACME, *arguments)


def lose(sandbox: TestSandbox, path: str) -> None:
    fault = {"method": "POST", "path": path, "kind": "reset_after", "nth": 1, "count": 1}
    sandbox.control("POST", "faults", fault)


def check_complete(sandbox: TestSandbox) -> None:
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK


@BY_CLOCK
def test_what_lost_answers_made_is_ours_by_any_clock(sandbox: TestSandbox, clock: str) -> None:
    for path in LOST:
        lose(sandbox, path)
    status, said = apply(sandbox, clock)
    if clock == "+3y":
        # By then every certificate has expired: the first word is about the clock, and nothing was written.
        assert status == 1 and "compare this machine's date and time" in said and "pin" not in said
        assert sandbox.writes() == []
        return
    assert status == 0, said
    check_complete(sandbox)
    assert "this machine's clock is" in said
    [record] = (sandbox.root / "records/demo/acme").glob("*/record.json")
    ahead = json.loads(record.read_text())["clocks"]
    wanted = {"-3d": -259_200, "-10m": -600, "+10m": 600, "+2h": 7200}[clock]
    assert ahead.keys() == {"Twilio", "PortSIP"}
    assert all(abs(one - wanted) < 10 for one in ahead.values()), ahead


@BY_CLOCK
def test_the_record_that_is_offered_is_the_newest_by_any_clock(sandbox: TestSandbox, clock: str) -> None:
    assert apply(sandbox, clock, "--section", "01")[0] == 0
    twilio_post(sandbox, trunk_path(sandbox), FriendlyName="changed by hand")
    assert apply(sandbox, "", "--section", "01")[0] == 0
    records = sandbox.root / "records"
    first, second = (run.rpartition("/")[2] for run in dict.fromkeys(e.run for e in Chain(records).entries()))
    offered = Runbook.open(SITE, ACME, sections=(ROLL_BACK,)).context.to_undo
    assert offered is not None and offered.name == second
    page = (records / "index.html").read_text()
    assert re.findall(r'<tr data-run="demo/acme/([^"]*)">', page) == [second, first]
    for reader in ("", clock):
        for command in ("verify", "list"):
            status, said = runbook(sandbox, reader, "records", command)
            assert status == 0, said
            assert ("! entry 2" in said) == (clock[0] == "+"), said


@pytest.mark.parametrize("clock", sample(CLOCKS, 1))
def test_no_record_of_a_run_that_lives_is_closed_by_any_clock(sandbox: TestSandbox, clock: str) -> None:
    fault = {"method": "POST", "path": "/v1/Trunks$", "kind": "delay", "seconds": 15, "nth": 1, "count": 1}
    sandbox.control("POST", "faults", fault)
    with start(sandbox, clock, "apply", "-s", SITE, ACME, "--section", "01") as process:
        records = sandbox.root / "records"
        while not list(records.glob("demo/acme/*/journal.jsonl")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        [run] = (path.parent.name for path in records.glob("demo/acme/*/journal.jsonl"))
        tried = [runbook(sandbox, closer, "records", "close", run) for closer in ("", clock)]
        process.communicate(timeout=120)
    assert [status for status, _ in tried] == [1, 1], tried
    assert process.returncode == 0
    assert [one.event for one in Chain(records).entries() if one.event in ("opened", "closed")] == [
        "opened",
        "closed",
    ]


#: All sections, one after the other, in one process.
ALL = f"from tests.sections.test_tenant_level import run_all; run_all(tenant={ACME!r})"


def test_a_clock_that_is_set_again_and_again_while_a_run_goes_on(
    sandbox: TestSandbox, tmp_path: Path
) -> None:
    for path in LOST:
        lose(sandbox, path)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    steps = ("-10m", "+2h", "-3d", "+10m", "+0")
    with subprocess.Popen(
        [sys.executable, "-c", ALL],
        cwd=sandbox.root,
        env=environment(
            sandbox,
            FAKETIME_TIMESTAMP_FILE=str(clock),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        ),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        ended = threading.Event()

        def step() -> None:
            while not ended.wait(0.1):
                for offset in steps:
                    fresh = clock.with_suffix(".new")
                    fresh.write_text(offset)
                    fresh.replace(clock)
                    time.sleep(0.15)

        stepping = threading.Thread(target=step)
        stepping.start()
        try:
            _, complained = process.communicate(timeout=120)
        finally:
            ended.set()
            stepping.join()
    assert process.returncode == 0, complained
    check_complete(sandbox)
