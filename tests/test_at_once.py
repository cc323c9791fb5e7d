"""Several tenants at the same time (``--at-once``): the same end, one table, one refused sign-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runbook_lib.guide import RUN_ORDER
from tests.conftest import CHECKOUT, TestSandbox
from tests.many import tenant_files
from tests.sections.test_system_level import check_final_state
from tests.test_cli import SITE, runbook, sign_ins

ALL = [f"parameters/sandbox/{name}.yaml" for name in ("acme", "globex", "initech")]
#: As many as the issue asks for with ``make sweep``.
SWEEP = bool(os.environ.get("RUNBOOK_SWEEP"))
MANY = 100 if SWEEP else 12


def runs(sandbox: TestSandbox) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sandbox.root.glob("records/demo/*/*/run.json")]


@pytest.mark.skipif(not SWEEP, reason="takes long: make sweep")
def test_tenants_at_once_end_as_one_after_the_other(sandbox: TestSandbox) -> None:
    ended = runbook(sandbox, "apply", "-s", SITE, *ALL, "--at-once", "3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("7 of 7") == 3
    check_final_state(sandbox.vendors)
    assert sorted(one["outcome"] for one in runs(sandbox)) == ["succeeded"] * 3
    verified = runbook(sandbox, "records", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    sandbox.clear_log()
    planned = runbook(sandbox, "plan", "-s", SITE, *ALL, "--at-once", "3")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert planned.stdout.count("0 to carry out") == 3
    assert sandbox.writes() == []


@pytest.mark.timeout(900)
def test_a_wrong_password_is_tried_once_by_all_tenants(sandbox: TestSandbox) -> None:
    """One refused sign-in, however many tenants run: five of them would lock this address out."""
    files = tenant_files(sandbox, MANY)
    sandbox.control("POST", "credentials", {"portsip_admin_password": "Another-Passw0rd-of-the-PBX"})
    ended = subprocess.run(
        command("apply", "-s", SITE, *files, "--at-once", "8"),
        **surroundings(sandbox),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert sign_ins(sandbox) == 1
    assert sandbox.writes() == []
    # What stops one stops all: when three in a row have failed for it, no further one begins.
    found = runs(sandbox)
    assert 3 <= len(found) < MANY and {one["outcome"] for one in found} == {"failed"}
    assert all("runbook sign-in --clear" in one["sections"][0]["message"] for one in found)
    (path,) = sandbox.root.glob("records/_batches/*/batch.json")
    batch = json.loads(path.read_text())
    assert batch["stopped"] == "SAME_CAUSE"
    assert sum(part["outcome"] is None for part in batch["tenants"]) == MANY - len(found)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from runbook_lib.cli import main; main()", *arguments]


def surroundings(sandbox: TestSandbox) -> dict[str, object]:
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "140"}
    return {"cwd": sandbox.root, "env": environment}


def pid_of(sandbox: TestSandbox, tenant: str) -> int:
    """The process that works on a tenant, once it has opened its record."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in sandbox.root.glob(f"records/demo/{tenant}/*/opening.json"):
            return json.loads(path.read_text())["process"]["pid"]
        time.sleep(0.05)
    raise AssertionError(f"no run of {tenant} began")


def begun(sandbox: TestSandbox) -> subprocess.Popen[str]:
    arguments = command("apply", "-s", SITE, *ALL[:2], "--at-once", "2")
    return subprocess.Popen(
        arguments, **surroundings(sandbox), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_process_that_dies_is_a_failed_tenant(sandbox: TestSandbox) -> None:
    with begun(sandbox) as batch:
        os.kill(pid_of(sandbox, "acme"), signal.SIGKILL)
        told, _ = batch.communicate(timeout=120)
    assert batch.returncode == 1, told
    assert "was killed by SIGKILL unexpectedly" in told
    outcomes = {one["tenant"]: one["outcome"] for one in runs(sandbox)}
    assert outcomes == {"globex": "succeeded"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] if SWEEP else [signal.SIGTERM])
def test_an_interruption_reaches_every_tenant_and_waits_for_its_record(
    sandbox: TestSandbox, number: signal.Signals
) -> None:
    with begun(sandbox) as batch:
        pids = [pid_of(sandbox, name) for name in ("acme", "globex")]
        batch.send_signal(number)
        told, _ = batch.communicate(timeout=60)
    assert batch.returncode == 1, told
    assert [one["outcome"] for one in runs(sandbox)] == ["interrupted"] * 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_wrong_password_is_tried_once_by_seven_notebooks(sandbox: TestSandbox, tmp_path: Path) -> None:
    """Each notebook run by papermill on its own, as from a shell."""
    from runbook_lib.guide import SECTIONS

    sandbox.control("POST", "credentials", {"portsip_admin_password": "Another-Passw0rd-of-the-PBX"})
    for number in RUN_ORDER:
        name = SECTIONS[number].notebook
        ended = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "papermill",
                    f"notebooks/{name}.ipynb",
                    str(tmp_path / f"{name}.ipynb"),
                ),
                *("-f", SITE, "-f", ALL[0], "-p", "mode", "apply", "--no-progress-bar"),
            ],
            **surroundings(sandbox),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert sign_ins(sandbox) <= 1, number
        told = (tmp_path / f"{name}.ipynb").read_text() + ended.stderr
        # Sections 1 and 2 do their work at Twilio and may have nothing to ask of the PBX.
        assert "sign-in --clear" in told or number in ("01", "04"), number
    assert sign_ins(sandbox) == 1
