"""Batches that do not end well: what stops them, who is touched, and what resuming completes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.batch.batch_file import Batch
from runbook_lib.errors import InputError
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox
from tests.many import SITE, state_of, tenant_files
from tests.processes import FORK_SERVER, children_of, runs

SWEEP = bool(os.environ.get("RUNBOOK_SWEEP"))
MANY = 30 if SWEEP else 5
#: How many have ended when something happens in the middle.
MIDDLE = 10 if SWEEP else 1


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runbook_lib", *arguments]


def surroundings(sandbox: TestSandbox) -> dict[str, Any]:
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "140"}
    return {"cwd": sandbox.root, "env": environment, "text": True}


def runbook(sandbox: TestSandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, timeout=600, **surroundings(sandbox))


def begun(sandbox: TestSandbox, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **surroundings(sandbox)
    )


def batch(sandbox: TestSandbox) -> dict[str, Any]:
    """The only batch's file."""
    (path,) = sandbox.root.glob("records/_batches/*/batch.json")
    return json.loads(path.read_text())


def outcomes(sandbox: TestSandbox) -> dict[str, str | None]:
    return {part["tenant"]: part["outcome"] for part in batch(sandbox)["tenants"]}


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def in_the_way_of(sandbox: TestSandbox, *numbers: int) -> list[str]:
    """Give somebody else's trunks the names of these tenants' trunks: a conflict for each."""
    made = []
    for number in numbers:
        answer = sandbox.vendors.twilio_http.post(
            "/v1/Trunks",
            data={"FriendlyName": f"PortSIP many-{number}", "DomainName": f"other-{number}.pstn.twilio.com"},
        )
        made.append(answer.json()["sid"])
    return made


def clean_end(sandbox: TestSandbox, files: list[str], *arguments: str) -> dict[str, Any]:
    """The vendors' state after a run without any trouble; then everything is as it was before."""
    before = sandbox.control("GET", "state").json()
    ended = runbook(sandbox, "apply", "-s", SITE, *files, "--at-once", "4", *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    end = state_of(sandbox)
    del before["version"]
    sandbox.control("POST", "reset", {"state": before})
    for path in (sandbox.root / "records").glob("*"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    return end


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_no_further_tenant_after_so_many_failures_and_the_rest_when_resumed(
    sandbox: TestSandbox, at_once: str
) -> None:
    files = tenant_files(sandbox, 4)
    made = in_the_way_of(sandbox, 0, 1)
    options = ("--section", "1", "--at-once", at_once)
    ended = runbook(sandbox, "apply", "-s", SITE, *files, *options, "--max-failures", "2")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    found = outcomes(sandbox)
    assert (found["many-0"], found["many-1"]) == ("failed", "failed")
    assert batch(sandbox)["stopped"] == "TOO_MANY"
    assert sum(outcome is None for outcome in found.values()) >= (2 if at_once == "1" else 1)
    for sid in made:
        sandbox.vendors.twilio_http.delete(f"/v1/Trunks/{sid}")
    sandbox.clear_log()
    again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"], "--at-once", at_once)
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(outcomes(sandbox).values()) == {"succeeded"}
    names = [name for name, _ in state_of(sandbox)["trunks"]]
    assert [names.count(f"PortSIP many-{number}") for number in range(4)] == [1] * 4
    # Only what was left ran again.
    done = [outcome for outcome in found.values() if outcome == "succeeded"]
    assert len(sandbox.writes()) == 4 - len(done)
    assert [len(part["runs"]) for part in batch(sandbox)["tenants"]][:2] == [2, 2]
    nothing = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"])
    assert nothing.returncode == 0
    report = verify_records(sandbox.root / "records")
    assert not report.problems and not report.strays


def test_what_is_wrong_with_each_tenant_itself_does_not_stop_the_others(sandbox: TestSandbox) -> None:
    files = tenant_files(sandbox, 5)
    in_the_way_of(sandbox, 0, 1, 2, 3)
    ended = runbook(sandbox, "apply", "-s", SITE, *files, "--section", "1")
    assert ended.returncode == 1
    assert [*outcomes(sandbox).values()] == ["failed"] * 4 + ["succeeded"]
    assert batch(sandbox)["stopped"] is None


def test_a_vendor_that_is_gone_stops_the_batch_and_resuming_completes_it(sandbox: TestSandbox) -> None:
    """The batch ends long before every tenant has met the same silence."""
    files = tenant_files(sandbox, MANY)
    end = clean_end(sandbox, files, "--section", "1")
    options = ("--section", "1", "--at-once", "1" if MANY < 9 else "4")
    with begun(sandbox, "apply", "-s", SITE, *files, *options) as running:
        until(lambda: len(ended_in(sandbox)) >= MIDDLE)
        untouched = ended_in(sandbox)
        sandbox.control("POST", "faults", {"kind": "refused", "now": True, "vendor": "twilio", "seconds": 60})
        told, _ = running.communicate(timeout=300)
    assert running.returncode == 1, told
    found = outcomes(sandbox)
    assert {found[tenant] for tenant in untouched} == {"succeeded"}
    failed = [part for part in batch(sandbox)["tenants"] if part["outcome"] == "failed"]
    assert 3 <= len(failed) < MANY and all("UnreachableError" in part["cause"] for part in failed)
    assert batch(sandbox)["stopped"] == "SAME_CAUSE"
    until(lambda: _answers(sandbox))
    again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"], "--at-once", "4")
    assert again.returncode == 0, again.stdout + again.stderr
    assert state_of(sandbox) == end


def ended_in(sandbox: TestSandbox) -> set[str]:
    """The tenants with a closed record."""
    return {path.parts[-3] for path in sandbox.root.glob("records/demo/many-*/*/checksums.json")}


def _answers(sandbox: TestSandbox) -> bool:
    try:
        return sandbox.vendors.twilio_http.get("/v1/Trunks").status_code == 200
    except Exception:
        return False


def test_a_killed_process_and_a_dead_kernel_touch_their_tenants_only(sandbox: TestSandbox) -> None:
    count, part = (MANY, ("--section", "1")) if SWEEP else (3, ())
    files = tenant_files(sandbox, count)
    end = clean_end(sandbox, files, *part)
    barrier = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks$", "nth": MIDDLE, "waiters": 9}
    sandbox.control("POST", "barriers", {**barrier, "timeout": 300})
    with begun(sandbox, "apply", "-s", SITE, *files, *part, "--at-once", "3") as running:
        until(lambda: sandbox.control("GET", "barriers").json()["barriers"][0]["waiting"] == 3)
        killed, dead, _ = sorted({Path(file).stem for file in files[: MIDDLE + 2]} - ended_in(sandbox))
        os.kill(_process_of(sandbox, killed), signal.SIGKILL)
        os.kill(_kernel_of(sandbox, dead), signal.SIGKILL)
        sandbox.control("DELETE", "barriers")
        told, _ = running.communicate(timeout=300)
    assert running.returncode == 1, told
    others = {Path(file).stem: "succeeded" for file in files}
    assert outcomes(sandbox) == others | {killed: "failed", dead: "failed"}
    again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"], "--at-once", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert state_of(sandbox) == end


def _process_of(sandbox: TestSandbox, tenant: str) -> int:
    (path,) = sandbox.root.glob(f"records/demo/{tenant}/*/opening.json")
    return json.loads(path.read_text())["process"]["pid"]


def _kernel_of(sandbox: TestSandbox, tenant: str) -> int:
    """The kernel that holds the tenant's lock, as its holder's file says."""
    (path,) = sandbox.root.glob(f"records/demo/{tenant}/.*.holder")
    return json.loads(path.read_text())["process"]


def test_a_batch_that_is_killed_is_resumed_and_its_tenants_finish(sandbox: TestSandbox) -> None:
    """Nobody is told when it is killed: those that run finish by themselves, the others are still to do."""
    files = tenant_files(sandbox, 3)
    barrier = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks$", "waiters": 9, "timeout": 300}
    sandbox.control("POST", "barriers", barrier)
    with begun(sandbox, "apply", "-s", SITE, *files, "--section", "1", "--at-once", "2") as running:
        until(lambda: sandbox.control("GET", "barriers").json()["barriers"][0]["waiting"] == 2)
        running.kill()
        sandbox.control("DELETE", "barriers")
    until(lambda: len(list(sandbox.root.glob("records/demo/many-*/*/checksums.json"))) == 2)
    ended = [json.loads(path.read_text()) for path in sandbox.root.glob("records/demo/many-*/*/run.json")]
    assert [run["outcome"] for run in ended] == ["succeeded"] * 2
    sandbox.clear_log()
    again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"])
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(outcomes(sandbox).values()) == {"succeeded"}
    assert len(sandbox.writes()) == 1, "that of the tenant that had not begun"


#: What the vendors limit, and for how many tenants it is shown; with a clean run's state in the long form.
LIMITS: dict[str, dict[str, Any]] = {
    "Twilio one at once": {"twilio.requests_at_once": 1},
    "PBX 1,000 a minute": {"portsip.requests_per_minute": 1_000},
    "PBX 1,000 a minute, Retry-After": {
        "portsip.requests_per_minute": 1_000,
        "portsip.retry_after": "seconds",
    },
    "both": {"twilio.requests_at_once": 1, "portsip.requests_per_minute": 1_000},
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("limit", LIMITS if SWEEP else [*LIMITS][:2])
def test_limits_of_the_vendors_fail_nothing(sandbox: TestSandbox, limit: str) -> None:
    """Eight tenants at once; of the PBX's requests of this minute, most have been sent already."""
    files = tenant_files(sandbox, 8 if SWEEP else 4)
    end = clean_end(sandbox, files) if SWEEP else None
    sandbox.control("POST", "switches", {**LIMITS[limit], "twilio.latency_ms": 20})
    if "portsip.requests_per_minute" in LIMITS[limit]:
        for _ in range(980):
            sandbox.vendors.pbx_http.get("/info")
    sandbox.clear_log()
    ended = runbook(sandbox, "apply", "-s", SITE, *files, "--at-once", "8")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(outcomes(sandbox).values()) == {"succeeded"}
    log = sandbox.control("GET", "requests").json()["requests"]
    assert any(entry["status"] == 429 for entry in log), "the limit was met"
    _check_records(sandbox, len(files))
    assert end is None or state_of(sandbox) == end


@pytest.mark.skipif(not SWEEP, reason="takes long: make sweep")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("retry_after", [None, "1"])
@pytest.mark.parametrize("vendor", ["twilio", "portsip"])
def test_too_many_requests_at_any_time_fail_nothing(
    sandbox: TestSandbox, vendor: str, retry_after: str | None
) -> None:
    """Answered 429 now and then, reads and writes, also several in a row."""
    files = tenant_files(sandbox, 8)
    end = clean_end(sandbox, files)
    for method in ("GET", "POST"):
        for nth in (2, 9, 30):
            fault = {"kind": "status", "status": 429, "retry_after": retry_after, "nth": nth, "count": 3}
            sandbox.control("POST", "faults", {**fault, "vendor": vendor, "method": method})
    ended = runbook(sandbox, "apply", "-s", SITE, *files, "--at-once", "8")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(fault["applied"] for fault in sandbox.control("GET", "faults").json()["faults"])
    _check_records(sandbox, len(files))
    assert state_of(sandbox) == end


def _check_records(sandbox: TestSandbox, count: int) -> None:
    """Each tenant's record is whole: no section failed, no write without its answer."""
    paths = list(sandbox.root.glob("records/demo/many-*/*/record.json"))
    assert len(paths) == count
    for record in (json.loads(path.read_text()) for path in paths):
        assert record["outcome"] == "succeeded" and record["in_flight"] == []
        assert not any(change["error"] for change in record["changes"])
        assert all(part["ok"] for part in record["verification"])
        assert record["twilio_at_once"] >= 1
    assert not verify_records(sandbox.root / "records").problems


def test_ctrl_c_ends_between_two_writes(sandbox: TestSandbox) -> None:
    """The write in flight is answered before the run ends, so no journal has one whose fate is unknown."""
    files = tenant_files(sandbox, 2)
    sandbox.control("POST", "switches", {"twilio.latency_ms": 700})
    with begun(sandbox, "apply", "-s", SITE, *files, "--at-once", "2") as running:
        until(lambda: sandbox.writes())
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=120)
    assert running.returncode == 1, told
    records = [json.loads(path.read_text()) for path in sandbox.root.glob("records/demo/*/*/record.json")]
    assert records and all(record["in_flight"] == [] for record in records)
    assert "interrupted" in {record["outcome"] for record in records}
    sandbox.control("POST", "switches", {"twilio.latency_ms": 0})
    again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"], "--at-once", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(outcomes(sandbox).values()) == {"succeeded"}


def test_a_full_disk_in_the_middle(sandbox: TestSandbox) -> None:
    """Records on a small disk of their own, which is filled up while a tenant runs."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    files = tenant_files(sandbox, MANY)
    end = clean_end(sandbox, files, "--section", "1")
    records = sandbox.root / "records"
    records.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(records)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount")
    try:
        at_once = "3" if SWEEP else "1"
        with begun(sandbox, "apply", "-s", SITE, *files, "--section", "1", "--at-once", at_once) as running:
            until(lambda: len(ended_in(sandbox)) >= MIDDLE)
            untouched = ended_in(sandbox)
            with suppress(OSError):
                (records / "filler").write_bytes(b"0" * (64 << 20))
            told, _ = running.communicate(timeout=300)
        assert running.returncode == 1, told
        (records / "filler").unlink()
        found = outcomes(sandbox)
        assert {found[tenant] for tenant in untouched} == {"succeeded"}, told
        assert sum(outcome is None for outcome in found.values()) > 0, "three in a row stop it"
        again = runbook(sandbox, "apply", "--resume", batch(sandbox)["batch"])
        assert again.returncode == 0, again.stdout + again.stderr
        assert state_of(sandbox) == end
    finally:
        subprocess.run(["umount", "-l", str(records)], check=True)


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_each_record_names_its_batch_and_the_batch_its_records(sandbox: TestSandbox, at_once: str) -> None:
    """Also those of a run that failed, and of the one that resumed it."""
    files = tenant_files(sandbox, 2)
    (made,) = in_the_way_of(sandbox, 0)
    options = ("--section", "1", "--at-once", at_once)
    assert runbook(sandbox, "apply", "-s", SITE, *files, *options).returncode == 1
    sandbox.vendors.twilio_http.delete(f"/v1/Trunks/{made}")
    (kept,) = sandbox.root.glob("records/_batches/*/batch.json")
    assert runbook(sandbox, "apply", "--resume", kept.parent.name, "--at-once", at_once).returncode == 0
    records = [path.parent for path in sandbox.root.glob("records/demo/many-*/*/record.json")]
    assert len(records) == 3
    page = (kept.parent / "index.html").read_text()
    for run in records:
        for name in ("opening.json", "record.json"):
            assert json.loads((run / name).read_text())["batch"] == kept.parent.name
        assert kept.parent.name in (run / "index.html").read_text()
        assert kept.parent.name in runbook(sandbox, "records", "show", run.name).stdout
        link = f"../../{run.relative_to(sandbox.root / 'records')}/index.html"
        assert f'href="{link}"' in page and (kept.parent / link).is_file()
    alone = runbook(sandbox, "apply", "-s", SITE, "parameters/sandbox/acme.yaml", "--section", "1")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    (opening,) = sandbox.root.glob("records/demo/acme/*/opening.json")
    assert json.loads(opening.read_text())["batch"] is None
    assert not verify_records(sandbox.root / "records").problems


@pytest.mark.parametrize("wrong", ["", "one", "all"])
def test_tenants_are_planned_at_once_as_one_after_the_other(sandbox: TestSandbox, wrong: str) -> None:
    """In copies of a process that has imported everything, with the same text and exit status."""
    files = tenant_files(sandbox, 3)
    in_the_way_of(sandbox, *{"": (), "one": (1,), "all": (0, 1, 2)}[wrong])
    sandbox.clear_log()
    options = ("plan", "-s", SITE, *files, "--section", "1")
    alone = runbook(sandbox, *options)
    barrier = {"vendor": "twilio", "method": "GET", "path": "/v1/Trunks", "waiters": 9, "timeout": 120}
    sandbox.control("POST", "barriers", barrier)
    with begun(sandbox, *options, "--at-once", "3", "--out", "plans") as running:
        until(lambda: sandbox.control("GET", "barriers").json()["barriers"][0]["waiting"] >= 3)
        (server,) = [pid for pid in children_of(running.pid) if runs(pid, FORK_SERVER)]
        assert len(list(children_of(running.pid))) == 1 and len(list(children_of(server))) == 3
        sandbox.control("DELETE", "barriers")
        told, _ = running.communicate(timeout=120)
    assert running.returncode == alone.returncode == (1 if wrong else 2), told
    # Each begins with the lines that say where it works.
    shown = {line for line in told.splitlines() if not line.startswith("Plan file")}
    assert shown == set(alone.stdout.splitlines())
    assert len(list((sandbox.root / "plans").glob("many-*.plan.json"))) == 3
    assert sandbox.writes() == []


def test_events_are_json_on_request(sandbox: TestSandbox) -> None:
    files = tenant_files(sandbox, 2)
    ended = runbook(sandbox, "apply", "-s", SITE, *files, "--section", "1", "--at-once", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["event"] for event in events].count("tenant") == 2
    assert events[-1]["event"] == "end" and events[-1]["exit_status"] == 0
    assert events[-1]["batch"] == batch(sandbox)["batch"]
    assert Path(events[-1]["page"]).is_file()


def test_one_approval_for_a_batch(sandbox: TestSandbox, tmp_path: Path) -> None:
    """One file names each tenant's plan, signed once; another plan in its place is refused."""
    files = tenant_files(sandbox, 2)
    site = sandbox.root / SITE
    key = tmp_path / "pat"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (site.parent / "signers").write_text(f"pat@example.com {key.with_suffix('.pub').read_text()}")
    policies = "policies:\n    approval: two-person\n    allowed_signers: signers\n"
    site.write_text(site.read_text().replace("policies:\n", policies))
    planned = runbook(sandbox, "plan", "-s", SITE, *files, "--section", "1", "--out", str(tmp_path / "plans"))
    assert planned.returncode == 2, planned.stdout + planned.stderr
    plans = sorted(map(str, (tmp_path / "plans").glob("*.plan.json")))
    options = ("-s", SITE, *files, "--section", "1", "--plans", str(tmp_path / "plans"))
    refused = runbook(sandbox, "apply", *options)
    assert refused.returncode in (1, 3) and sandbox.writes() == []
    signed = runbook(sandbox, "approve", *plans, "--ticket", "CHG-7", "--key", str(key), "--yes")
    assert signed.returncode == 0, signed.stdout + signed.stderr
    ended = runbook(sandbox, "apply", *options, "--at-once", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for path in sandbox.root.glob("records/demo/many-*/*/record.json"):
        by = json.loads(path.read_text())["approver"]["by"]
        assert (by["how"], by["ticket"]) == ("ssh signature", "CHG-7")


def test_a_newer_batch_is_called_newer_and_an_unknown_one_unknown(tmp_path: Path) -> None:
    made = Batch.new(tmp_path, target="sandbox", site="site.yaml", mode="apply")
    with made.held():
        made.write()
    content = json.loads((made.folder / "batch.json").read_text())
    assert Batch.find(tmp_path, made.id) == made
    (made.folder / "batch.json").write_text(json.dumps(content | {"format": 99, "more": 1}))
    with pytest.raises(InputError):
        Batch.find(tmp_path, made.id)
    with pytest.raises(InputError):
        Batch.find(tmp_path, "../elsewhere")
