"""One session at the PBX for a run and scope: who signs in, refreshes, signs out, and where the token is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook_lib.batch import Observer, RunResult, SectionResult, run_tenants
from runbook_lib.batch.sessions import Sessions
from runbook_lib.parameters import project_root
from runbook_lib.runbook import Runbook
from runbook_lib.secret import LATEST_TOKENS, known, remember_token, scrub
from runbook_lib.vendors.portsip import Session
from runbook_lib.vendors.sign_in import SYSTEM
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.test_endings import until
from tests.processes import kernels_of
from tests.test_sign_in import PBX_DOMAIN, kept_files, sign_in_with_codes, two_factor

SITE = Path("parameters/sandbox/site.yaml")
ACME, GLOBEX = (Path(f"parameters/sandbox/{name}.yaml") for name in ("acme", "globex"))
#: Both need the system's session, and 05 also the tenant's.
READING = ("00", "05")


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def run(
    *tenants: Path | str,
    mode: str = "plan",
    sections: tuple[str, ...] = READING,
    observer: Observer | None = None,
) -> RunResult:
    result = run_tenants(SITE, tenants, mode, {}, observer or Observer(), sections)
    assert result.remarks == ()  # also of an observer whose check failed, or of a sign-out
    return result


def sessions_of(sandbox: TestSandbox) -> dict[str, int]:
    """How often each request about sessions came, and how many sessions are alive."""
    log = sandbox.control("GET", "requests").json()["requests"]
    names = ("sign_in", "switch", "refresh_token", "sign_out")
    counts = Counter(one["path"].rpartition("/")[2] for one in log if one["vendor"] == "portsip")
    alive = sandbox.control("GET", "sessions").json()["alive"]
    return {name: counts[name] for name in names if counts[name]} | {"alive": alive}


def once(*, tenants: int) -> dict[str, int]:
    """What a run of so many tenants sends: a session for the system, and one for each tenant."""
    each = {"sign_in": 1 + tenants, "sign_out": 1 + tenants, "alive": 0}
    return each | ({"switch": tenants} if tenants else {})


@pytest.mark.parametrize("mode", ["plan", "apply", "verify"])
def test_one_session_for_a_run_and_scope(sandbox: TestSandbox, mode: str) -> None:
    """Apply with the look ahead over the tenant, and every section."""
    if mode == "verify":
        run(ACME, mode="apply", sections=())
    sandbox.clear_log()
    result = run(ACME, mode=mode, sections=() if mode == "apply" else READING)
    assert [one.message for one in result.tenants[0].sections if one.message] == []
    assert sessions_of(sandbox) == once(tenants=1)


def test_the_systems_session_serves_all_tenants_and_theirs_end_with_them(sandbox: TestSandbox) -> None:
    alive = []

    class Watching(Observer):
        def on_tenant_start(self, tenant: str) -> None:
            alive.append(sessions_of(sandbox)["alive"])

    assert run(ACME, GLOBEX, observer=Watching()).exit_status == 0
    assert alive == [0, 1]
    assert sessions_of(sandbox) == once(tenants=2)


def test_a_shared_trunk_on_its_own_needs_the_systems_session_only(sandbox: TestSandbox) -> None:
    result = run("trunk:carrier", mode="apply", sections=())
    assert result.exit_status == 0, result
    assert sessions_of(sandbox) == once(tenants=0)


@pytest.mark.parametrize("kind", ["expired_token", "revoked_token"])
def test_a_session_that_the_pbx_ends_is_opened_again_by_the_runner(sandbox: TestSandbox, kind: str) -> None:
    class Ending(Observer):
        def on_section_start(self, tenant: str, section: str) -> None:
            if section == "00":  # at a request that the system's session sends, and at one of the tenant's
                for path in ("/api/providers$", "/api/tenants$"):
                    sandbox.control("POST", "faults", {"kind": kind, "vendor": "portsip", "path": path})

    result = run(ACME, sections=("00", "05", "06"), observer=Ending())
    assert [one.message for one in result.tenants[0].sections] == [""] * 3
    faults = [one for one in sandbox.control("GET", "faults").json()["faults"] if one["applied"]]
    assert len(faults) == 2
    expected = {"sign_in": 4, "switch": 2, "sign_out": 2, "alive": 0}
    assert sessions_of(sandbox) == expected


@pytest.mark.parametrize("keeps_scope", ["yes", "no"])
def test_refresh_tokens_that_work_once(sandbox: TestSandbox, keeps_scope: str) -> None:
    """So short-lived that a run has to renew its sessions again and again."""
    switches = {
        "portsip.expires_in": 1,
        "portsip.refresh_token_single_use": "yes",
        "portsip.refresh_keeps_scope": keeps_scope,
    }
    sandbox.control("POST", "switches", switches)
    result = run(ACME, mode="apply", sections=())
    assert result.exit_status == 0, result
    found = sessions_of(sandbox)
    assert (found["sign_in"], found["sign_out"], found["alive"]) == (2, 2, 0)
    assert found["refresh_token"] > 2
    log = sandbox.control("GET", "requests").json()["requests"]
    assert {one["status"] for one in log if one["path"].endswith("/refresh_token")} == {200}


def test_sessions_that_are_kept_are_used_and_stay(sandbox: TestSandbox) -> None:
    two_factor(sandbox)
    sign_in_with_codes(sandbox, PBX_DOMAIN)
    sandbox.clear_log()
    for _ in range(2):
        assert run(ACME).exit_status == 0
    assert sessions_of(sandbox) == {"switch": 2, "alive": 2}
    # One that is revoked is forgotten, and the run says what to do, as without a runner.
    sandbox.control("DELETE", "sessions")
    result = run(ACME, sections=("00",))
    assert "runbook sign-in" in result.tenants[0].sections[0].message
    assert error_of(result, "00")["kind"] == "SignInError"
    assert len(kept_files(sandbox)) == 1  # the tenant's, for which nobody has asked


def error_of(result: RunResult, section: str) -> dict[str, str]:
    return json.loads((result.tenants[0].folder / f"{section}.result.json").read_text())["error"]


def test_an_error_of_the_runner_is_the_notebooks_own(sandbox: TestSandbox) -> None:
    sandbox.control("POST", "credentials", {"portsip_admin_password": "Another-Passw0rd-of-the-PBX"})
    first, second = (run(ACME, sections=("00",)) for _ in range(2))
    assert sessions_of(sandbox) == {"sign_in": 1, "alive": 0}
    for result, what in ((first, "refused to sign in admin"), (second, "not tried again")):
        error = error_of(result, "00")
        assert (error["kind"], error["step"]) == ("SignInError", "0.2")
        assert what in error["what"] and "runbook sign-in --clear" in error["next_step"] and error["meaning"]


def test_a_pbx_that_does_not_answer_fails_the_notebook_as_ever(sandbox: TestSandbox) -> None:
    fault = {"kind": "reset_before", "path": "/auth/sign_in$", "count": 0}
    sandbox.control("POST", "faults", fault)
    error = error_of(run(ACME, sections=("00",)), "00")
    assert error["kind"] == "UnreachableError" and error["meaning"] and error["next_step"]
    assert sessions_of(sandbox)["alive"] == 0


def tokens() -> list[str]:
    return [value.reveal() for value, name in known().items() if name.endswith("token of the PBX")]


def test_the_token_is_in_no_argument_variable_or_file(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(tokens())
    looked_at: list[str] = []

    def look(*folders: Path) -> None:
        mine = [token.encode() for token in tokens() if token not in before]
        assert len(mine) >= 2
        processes = [Path(f"/proc/{pid}/{name}") for pid in kernels_of() for name in ("cmdline", "environ")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        for path in (*processes, *files):
            looked_at.append(path.name)
            assert not any(token in path.read_bytes() for token in mine), path

    class Looking(Observer):
        def on_section_end(self, tenant: str, result: SectionResult) -> None:
            look(sandbox.root, tmp_path)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run(ACME, mode="apply", observer=Looking(), sections=("00", "01"))
    assert result.exit_status == 0, result
    look(sandbox.root)
    assert {"cmdline", "environ", "journal.jsonl", "00_before_you_begin.ipynb"} <= set(looked_at)


def test_what_a_notebook_shows_of_the_token_is_taken_out(sandbox: TestSandbox) -> None:
    """Also late in a batch: the filter knows the latest tokens only, and the system's is an old one."""
    root = project_root()
    sessions = Sessions(root / SITE, root)
    with Runbook.open(SITE, ACME) as borrower:
        borrower.context.lender = sessions.lend
        token = borrower.context.pbx.system.token()
        assert token.lent and not token.refresh
        for tenant in range(4):  # of a long batch, each with sessions of its own
            again = sessions.lend(url_of(sandbox), "admin", SYSTEM, None)
            assert again is not None and again.access == token.access
            for number in range(LATEST_TOKENS * 2 // 3):
                remember_token(f"token-of-another-tenant-{tenant}-{number}", "access token of the PBX")
        assert token.access not in scrub(f"shown: {token.access}")
    assert sandbox.control("GET", "sessions").json() == {"alive": 1}  # the borrower ended nothing
    sessions.end()
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}


def test_the_kernels_filter_knows_a_lent_token(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    lent = {"access_token": "a-token-that-only-the-runner-knew", "expires_in": 600.0}
    monkeypatch.setattr("runbook_lib.vendors.lending.ask_runner", lambda *_, **__: lent)
    with Runbook.open(SITE, ACME) as runbook:
        assert runbook.context.pbx.system.token().access == lent["access_token"]
    assert lent["access_token"] not in scrub(f"shown: {lent['access_token']}")
    assert sessions_of(sandbox) == {"alive": 0}


def url_of(sandbox: TestSandbox) -> str:
    return sandbox.urls["portsip_url"] + "/api"


def test_no_session_is_lent_for_another_pbx_or_administrator(sandbox: TestSandbox) -> None:
    """As after a change of the site's file in the middle of a batch."""
    root = project_root()
    sessions = Sessions(root / SITE, root)
    assert sessions.lend("https://pbx.another.example:8887/api", "admin", SYSTEM, None) is None
    assert sessions.lend(url_of(sandbox), "another", SYSTEM, None) is None
    assert sessions_of(sandbox) == {"alive": 0}


def test_a_session_that_was_not_switched_is_never_lent(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between sign-in and switch, it would act in the system's scope for a tenant."""
    with Runbook.open(SITE, ACME) as runbook:
        tenant = runbook.context.pbx.tenant_id
    root = project_root()
    sessions, switch = Sessions(root / SITE, root), Session._switch

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "_switch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sessions.lend(url_of(sandbox), "admin", tenant, None)
    monkeypatch.setattr(Session, "_switch", switch)
    lent = sessions.lend(url_of(sandbox), "admin", tenant, None)
    assert lent is not None
    headers = {"Authorization": f"Bearer {lent.access}"}
    assert sandbox.vendors.pbx_http.get("/tenant", headers=headers).json()["id"] == tenant
    sessions.end()
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}


#: A process that stands in a kernel's place, so that it outlives its runner: it works, and works on.
BORROWER = """
import sys
from runbook_lib.runbook import Runbook
def work():
    with Runbook.open(*sys.argv[1:]) as runbook:
        runbook.section("05").plan()
        print("done", flush=True)
work()
sys.stdin.readline()
work()
"""
RUNNER = """
import subprocess, sys, time
from functools import partial
from runbook_lib.asking import RUNNER
from runbook_lib.batch.channel import Channel
from runbook_lib.batch.sessions import Sessions
from runbook_lib.parameters import project_root
from runbook_lib.vendors.lending import TOKEN, answer_with
import os
root = project_root()
channel = Channel()
channel.register(TOKEN, partial(answer_with, Sessions(root / sys.argv[2], root).lend))
with channel.connect() as end:
    subprocess.Popen(
        [sys.executable, "-c", *sys.argv[1:]],
        env={**os.environ, RUNNER: str(end.fileno())},
        pass_fds=[end.fileno()],
    )
time.sleep(600)
"""


def test_when_the_runner_is_killed_its_kernel_signs_in_itself(sandbox: TestSandbox) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, BORROWER, str(SITE), str(ACME)],
        cwd=sandbox.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as runner:
        assert runner.stdout is not None and runner.stdin is not None
        assert runner.stdout.readline() == "done\n"
        assert sessions_of(sandbox) == {"sign_in": 2, "switch": 1, "alive": 2}
        runner.kill()
        runner.wait()
        sandbox.clear_log()
        runner.stdin.write("\n")
        runner.stdin.flush()
        assert runner.stdout.readline() == "done\n"
        assert runner.stdout.read() == ""  # the borrower has ended
    # Its own, which it ends; those of the runner are left to expire.
    assert sessions_of(sandbox) == {"sign_in": 2, "switch": 1, "sign_out": 2, "alive": 2}


@pytest.fixture
def command(sandbox: TestSandbox) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts ``runbook apply`` for acme, and returns it when a request to a path is being held."""
    started: list[subprocess.Popen[str]] = []

    def start(path: str) -> subprocess.Popen[str]:
        sandbox.control("POST", "faults", {"kind": "delay", "seconds": 3, "path": path})
        process = subprocess.Popen(
            [sys.executable, "-c", "from runbook_lib.cli import main; main()", "apply", str(ACME)],
            cwd=sandbox.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        until(lambda: any(one["applied"] for one in sandbox.control("GET", "faults").json()["faults"]))
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("path", ["/v1/Trunks/[^/]*/OriginationUrls$", "/auth/sign_in$"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_interrupted_signs_out(
    sandbox: TestSandbox, command: Callable[[str], subprocess.Popen[str]], path: str, number: signal.Signals
) -> None:
    process = command(path)
    process.send_signal(number)
    shown, _ = process.communicate(timeout=90)
    assert process.returncode != 0, shown
    time.sleep(3)  # the request that was cut off may still have its effect
    found = sessions_of(sandbox)
    # A sign-in that is under way is waited for, if not for long: a session whose token nobody has expires.
    assert found["alive"] <= (1 if path.startswith("/auth") else 0)


def test_a_run_that_is_killed_leaves_its_sessions_to_expire(
    sandbox: TestSandbox, command: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = command("/v1/Trunks/[^/]*/OriginationUrls$")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert "sign_out" not in sessions_of(sandbox)
    assert sessions_of(sandbox)["alive"] == 2


def test_a_run_that_fails_signs_out(sandbox: TestSandbox) -> None:
    fault = {"kind": "status", "status": 500, "path": "/OriginationUrls$", "method": "POST", "count": 0}
    sandbox.control("POST", "faults", fault)
    result = run(ACME, mode="apply", sections=())
    assert error_of(result, "03")["kind"] == "OutcomeUnknownError"
    found = sessions_of(sandbox)
    assert found["sign_in"] == found["sign_out"] and found["alive"] == 0
