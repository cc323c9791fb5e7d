"""Two operators, two processes, one project: one waits or is refused with the other's name and start time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from runbook_lib.lock import whoami
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_system_level import GLOBEX, INITECH, check_final_state
from tests.sections.test_tenant_level import DOMAIN, run_all

#: The sections one after the other under the command's rule: 0 fine, 1 failed, with the error's text.
RUN = """
import functools, sys
from runbook_lib import section_run
from runbook_lib.errors import RunbookError
section_run.held = functools.partial(section_run.held, wait_s=float(sys.argv[2]))
from tests.sections.test_tenant_level import run_all
try:
    run_all(tenant=f"parameters/sandbox/{sys.argv[1]}.yaml")
except RunbookError as error:
    print(f"{type(error).__name__} {error}", file=sys.stderr)
    sys.exit(1)
"""
PATIENCE_S = 60.0
HOLDER = re.compile(
    r"is being worked on by (?P<who>\S+@\S+) since (?P<since>\S+) \(process (?P<process>\d+)\)"
)


class Operators:
    """Starts operators of one project, each in a process of their own."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self._sandbox = sandbox
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, tenant: str, wait_s: float) -> subprocess.Popen[str]:
        environment = {**os.environ, **self._sandbox.environment}
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, tenant, str(wait_s)],
            cwd=CHECKOUT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process


@pytest.fixture
def operators(sandbox: TestSandbox) -> Iterator[Operators]:
    operators = Operators(sandbox)
    yield operators
    sandbox.control("DELETE", "barriers")
    for process in operators.processes:
        process.kill()
        process.communicate()


def hold_writes(sandbox: TestSandbox, path: str, *, after_effect: bool) -> None:
    """Hold the next write to a path at Twilio until the barriers are cleared."""
    sandbox.control(
        "POST",
        "barriers",
        {
            "vendor": "twilio",
            "method": "POST",
            "path": path,
            "waiters": 2,
            "timeout": PATIENCE_S,
            "after_effect": after_effect,
        },
    )


def wait_until_held(sandbox: TestSandbox) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not any(one["waiting"] for one in sandbox.control("GET", "barriers").json()["barriers"]):
        assert time.monotonic() < deadline, "the first operator never came to its write"
        time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def check_refusal(refused: tuple[int, str], what: str, process: int, started: datetime) -> None:
    status, text = refused
    assert status == 1 and text.startswith("LockedError ") and what in text, text
    holder = HOLDER.search(text)
    assert holder and holder["who"] == whoami() and int(holder["process"]) == process, text
    since = datetime.fromisoformat(holder["since"])
    assert started - timedelta(seconds=1) <= since <= datetime.now(UTC)
    assert "wait until the other run has ended" in text


@pytest.mark.parametrize(
    ("path", "after_effect"),
    [("/v1/Trunks$", False), ("/PhoneNumbers|/IncomingPhoneNumbers", True)],
    ids=["making the trunk", "after pointing a number at it"],
)
def test_the_second_is_refused_with_the_firsts_name_and_start_time(
    sandbox: TestSandbox, operators: Operators, path: str, after_effect: bool
) -> None:
    hold_writes(sandbox, path, after_effect=after_effect)
    started = datetime.now(UTC)
    first = operators.start("acme", 30)
    wait_until_held(sandbox)
    written = len(sandbox.writes())
    second = operators.start("acme", 0.1)
    check_refusal(ended(second), "tenant acme", first.pid, started)
    assert len(sandbox.writes()) == written
    sandbox.control("DELETE", "barriers")
    assert ended(first) == (0, "")
    check_acme(sandbox)
    sandbox.clear_log()
    run_all()
    assert sandbox.writes() == []
    check_acme(sandbox)


def test_the_second_waits_for_the_first_and_finds_its_work_done(
    sandbox: TestSandbox, operators: Operators
) -> None:
    hold_writes(sandbox, "/v1/Trunks$", after_effect=True)
    first = operators.start("acme", 30)
    wait_until_held(sandbox)
    before = requests(sandbox)
    second = operators.start("acme", 30)
    wait_until_quiet(sandbox, before)
    assert second.poll() is None
    sandbox.control("DELETE", "barriers")
    assert [ended(first), ended(second)] == [(0, ""), (0, "")]
    check_acme(sandbox)
    assert len([one for one in sandbox.writes() if str(one["path"]).endswith("/v1/Trunks")]) == 1
    sandbox.clear_log()
    run_all()
    assert sandbox.writes() == []


def test_two_tenants_of_one_shared_trunk_are_kept_apart(sandbox: TestSandbox, operators: Operators) -> None:
    hold_writes(sandbox, "/v1/Trunks$", after_effect=False)
    started = datetime.now(UTC)
    first = operators.start("globex", 30)
    wait_until_held(sandbox)
    second = operators.start("initech", 0.1)
    check_refusal(ended(second), "trunk carrier", first.pid, started)
    sandbox.control("DELETE", "barriers")
    assert ended(first) == (0, "")
    run_all(tenant=INITECH)
    check_final_state(sandbox.vendors)
    sandbox.clear_log()
    for one in (GLOBEX, INITECH):
        run_all(tenant=one)
    assert sandbox.writes() == []


def wait_until_quiet(sandbox: TestSandbox, after: int) -> None:
    """Return when more requests than these have come and no more do: whoever sent them waits."""
    deadline, before = time.monotonic() + PATIENCE_S, after
    while (now := requests(sandbox)) == after or now != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.5)


def requests(sandbox: TestSandbox) -> int:
    return len(sandbox.control("GET", "requests").json()["requests"])


def check_acme(sandbox: TestSandbox) -> None:
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
