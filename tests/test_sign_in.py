"""Signing in where the PBX asks for one-time codes: what is kept, for whom, and until when."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runbook_lib import connect
from runbook_lib import sign_in as signing_in
from runbook_lib.errors import RunbookError, SignInError, VendorError
from runbook_lib.parameters import load_site, project_root
from runbook_lib.runbook import Runbook
from runbook_lib.sign_in import clear, sign_in_each
from runbook_lib.vendors.sign_in import KeptSignIns
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all
from tests.test_cli import runbook, sign_ins

PBX_DOMAIN = "acme.pbx.example"


def two_factor(sandbox: TestSandbox, setting: str = "on") -> None:
    sandbox.control("POST", "switches", {"portsip.system_two_factor": setting})


def mailed(sandbox: TestSandbox) -> str:
    """The code that the PBX has mailed to the administrator last."""
    return sandbox.control("GET", "state").json()["portsip"]["one_time_codes"][-1]


def sign_in_with_codes(sandbox: TestSandbox, *domains: str) -> list[str]:
    root = project_root()
    return list(sign_in_each(load_site(SITE, root), root, domains, lambda: mailed(sandbox)))


def kept_files(sandbox: TestSandbox) -> list[Path]:
    state = Path(sandbox.environment["XDG_STATE_HOME"])
    return [one for one in state.rglob("*") if one.is_file()]


def test_a_run_cannot_answer_and_says_what_to_do(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    with Runbook.open(SITE, ACME) as run, pytest.raises(SignInError, match="one-time code") as caught:
        run.section("00").plan()
    assert "runbook sign-in" in caught.value.next_step
    assert kept_files(sandbox) == []
    # The password was right, so nothing keeps the next run from trying.
    two_factor(sandbox, "off")
    with Runbook.open(SITE, ACME) as run:
        run.section("00").plan()


def test_runs_use_the_sessions_that_are_kept(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    lines = sign_in_with_codes(sandbox, PBX_DOMAIN)
    assert sum("is kept" in line for line in lines) == 2
    sandbox.clear_log()
    run_all()
    run_all()
    assert sign_ins(sandbox) == 0
    assert sandbox.control("GET", "sessions").json() == {"alive": 2}
    root = project_root()
    assert "Signed out: 2 kept sessions." in list(clear(load_site(SITE, root), root))
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}
    assert kept_files(sandbox) == []
    two_factor(sandbox, "off")
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx(PBX_DOMAIN).trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK


def test_a_session_that_cannot_be_kept_is_ended(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_factor(sandbox)
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    with pytest.raises(SignInError) as caught:
        sign_in_with_codes(sandbox)
    assert caught.value.step == "0.2"
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}
    with Runbook.open(SITE, ACME) as run, pytest.raises(SignInError):  # and none is found there
        run.section("00").plan()


def test_kept_sessions_are_the_operators_alone(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    sign_in_with_codes(sandbox, PBX_DOMAIN)
    files = kept_files(sandbox)
    assert len(files) == 2
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in files)
    url = sandbox.urls["portsip_url"] + "/api"
    assert len(KeptSignIns(url, "admin").scopes()) == 2
    assert KeptSignIns(url, "another").scopes() == []
    assert KeptSignIns("https://pbx.another.example:8887/api", "admin").scopes() == []


def test_records_at_the_top_of_the_file_system(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, which has its volumes there; a session for a run of several sections is this one."""
    top = Path("/records-of-no-test")
    for module in (signing_in, connect):
        monkeypatch.setattr(module, "records_folder", lambda root: top)
    root = project_root()
    with signing_in.pbx_alone(load_site(SITE, root), root, PBX_DOMAIN) as pbx:
        assert pbx.tenants([]) == []
    assert not top.exists()


def test_a_wrong_code(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    root = project_root()
    with pytest.raises(SignInError, match="refused the one-time code"):
        list(sign_in_each(load_site(SITE, root), root, [], lambda: "not a code"))
    assert kept_files(sandbox) == []
    assert sum("is kept" in line for line in sign_in_with_codes(sandbox)) == 1


@pytest.mark.parametrize("kind", ["not_json", "cut", "reset_after"])
@pytest.mark.parametrize("path", ["/auth/send_otp", "/auth/verify_otp"])
def test_an_answer_that_is_lost(sandbox: TestSandbox, path: str, kind: str) -> None:
    two_factor(sandbox)
    sandbox.control("POST", "faults", {"kind": kind, "path": f"/api{path}", "count": 1})
    with pytest.raises(RunbookError) as caught:
        sign_in_with_codes(sandbox)
    assert caught.value.next_step and caught.value.meaning
    assert kept_files(sandbox) == []
    assert sum("is kept" in line for line in sign_in_with_codes(sandbox)) == 1


def test_an_answer_without_tokens(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    fault = {"kind": "status", "status": 200, "path": "/api/auth/verify_otp", "count": 1}
    sandbox.control("POST", "faults", fault)
    with pytest.raises(VendorError, match="its answer has no tokens"):
        sign_in_with_codes(sandbox)
    assert kept_files(sandbox) == []


@pytest.mark.parametrize("single_use", ["yes", "no"])
def test_kept_tokens_are_refreshed_for_the_next_run(sandbox: TestSandbox, single_use: str) -> None:
    two_factor(sandbox)
    # After half of so short a time the refresh token is redeemed.
    sandbox.control(
        "POST",
        "switches",
        {"portsip.expires_in": 16, "portsip.refresh_token_single_use": single_use},
    )
    sign_in_with_codes(sandbox, PBX_DOMAIN)
    sandbox.clear_log()
    for pause_s in (9, 0):
        with Runbook.open(SITE, ACME) as one, Runbook.open(SITE, ACME) as other:
            one.section("05").plan()
            time.sleep(pause_s)
            other.section("05").plan()
            one.section("00").plan()
    assert sign_ins(sandbox) == 0
    log = sandbox.control("GET", "requests").json()["requests"]
    assert any(one["path"].endswith("/auth/refresh_token") for one in log)


def test_a_kept_session_that_the_pbx_has_ended(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    sign_in_with_codes(sandbox, PBX_DOMAIN)
    sandbox.control("POST", "clock", {"advance": 7200})
    for number in ("00", "05"):
        with Runbook.open(SITE, ACME) as run, pytest.raises(SignInError, match="one-time code"):
            run.section(number).plan()
    two_factor(sandbox, "off")
    run_all()  # as if nothing had ever been kept
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}


def test_an_expired_one_is_not_used(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    sandbox.control("POST", "switches", {"portsip.expires_in": 1})
    sign_in_with_codes(sandbox)
    time.sleep(1.1)
    sandbox.clear_log()
    with Runbook.open(SITE, ACME) as run, pytest.raises(SignInError, match="one-time code"):
        run.section("00").plan()
    assert sign_ins(sandbox) == 1
    assert kept_files(sandbox) == []


def test_the_command_asks_for_each_code(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    code = "import sys; from runbook_lib.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "sign-in", "-s", SITE, ACME],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        told = ""
        for asked in (1, 2):
            while told.count("One-time code") < asked:
                told += process.stdout.read(1)
            process.stdin.write(mailed(sandbox) + "\n")
            process.stdin.flush()
        told += process.stdout.read()
    assert process.returncode == 0, told
    assert told.count("is kept") == 2 and f"for the tenant {PBX_DOMAIN}" in told
    planned = runbook(sandbox, "plan", "-s", SITE, ACME)
    assert planned.returncode == 2, planned.stdout + planned.stderr
    assert "Signed out: 2 kept sessions." in runbook(sandbox, "sign-in", "-s", SITE, "--clear").stdout


def test_the_command_without_two_factor_keeps_nothing(sandbox: TestSandbox) -> None:
    ended = runbook(sandbox, "sign-in", "-s", SITE, ACME)
    assert ended.returncode == 0 and "no session is kept" in ended.stdout
    assert kept_files(sandbox) == []
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}
