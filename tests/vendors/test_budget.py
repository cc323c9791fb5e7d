"""Requests in flight at one account: processes, threads, killed and suspended ones, 429, who goes first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.keys import trunk as trunk_key
from runbook_lib.plan import Action, Row
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from runbook_lib.vendors import budget as budget_module
from runbook_lib.vendors.budget import SLOTS, Budget, machine_folder, pbx_budget, twilio_budget
from runbook_lib.vendors.pace import BURST, STEADY, Pace
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_tenant_level import ACME, SITE, run_section
from tests.vendor_state import ACCOUNT

ROWS = (Row("1.1", "friendly name", "a", None, Action.CREATE),)
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def whole_budget(sandbox: TestSandbox) -> None:
    """What an earlier test learned from 429 is forgotten: the whole budget is back after a minute only."""
    accounts_budget(sandbox)._state.unlink(missing_ok=True)


class Reader:
    """A process that reads in several threads when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.expect("ready")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line


@contextmanager
def readers(count: int, threads: int = SLOTS, **environment: str) -> Iterator[list[Reader]]:
    command = [sys.executable, "-m", "tests.vendors.child", str(threads)]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=CHECKOUT,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, **environment},
                )
            )
            for _ in range(count)
        ]
        try:
            yield [Reader(child) for child in children]
        finally:
            for child in children:
                child.kill()


def hold(sandbox: TestSandbox, seconds: float, method: str = "GET") -> None:
    """Let the sandbox hold what comes to Twilio's trunk list, for so long or until it is let go."""
    barrier = {"vendor": "twilio", "method": method, "path": "/v1/Trunks$", "waiters": 99, "timeout": seconds}
    sandbox.control("POST", "barriers", barrier)


def held(sandbox: TestSandbox) -> int:
    [barrier] = sandbox.control("GET", "barriers").json()["barriers"]
    return barrier["waiting"]


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def accounts_budget(sandbox: TestSandbox) -> Budget:
    return twilio_budget(ACCOUNT, sandbox.urls["twilio_api_url"], sandbox.root / "records")


def in_flight(sandbox: TestSandbox, children: list[Reader]) -> int:
    """How many reads of these processes are in flight at a time, at most."""
    hold(sandbox, 3)
    for child in children:
        child.go()
    for child in children:
        child.expect("done")
    return held(sandbox)


def test_processes_and_threads_share_one_budget(sandbox: TestSandbox) -> None:
    with readers(3) as children:
        # One slot is left for those who go first.
        assert in_flight(sandbox, children) == SLOTS - 1
    assert len(sandbox.control("GET", "requests").json()["requests"]) == 3 * SLOTS


def test_workspaces_and_temporary_folders_share_one_budget(sandbox: TestSandbox, tmp_path: Path) -> None:
    """Another checkout with records of its own, and a service with a temporary folder of its own."""
    other = tmp_path / "other"
    shutil.copytree(sandbox.root, other, ignore=shutil.ignore_patterns("records"))
    (tmp_path / "temporary").mkdir()
    elsewhere = {"RUNBOOK_ROOT": str(other), "TMPDIR": str(tmp_path / "temporary")}
    with readers(2) as here, readers(2, **elsewhere) as there:
        assert in_flight(sandbox, [*here, *there]) == SLOTS - 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_accounts_of_the_machine_share_one_budget(sandbox: TestSandbox, tmp_path: Path) -> None:
    """What one account has taken, another does not get; what one learns from 429, the other knows."""
    with ExitStack() as stack:
        for _ in range(SLOTS - 1):
            stack.enter_context(accounts_budget(sandbox).slot(first=True))
        accounts_budget(sandbox).refused(time.time())
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgid(65534)
                os.setuid(65534)
                budget = accounts_budget(sandbox)
                before = budget.size
                budget.refused(time.time())
                # Only its own files can be in its way; the state is one that all may write.
                status = 0 if (before, budget.size, budget._try(False)[0]) == (4, 2, None) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert accounts_budget(sandbox).size == 2


def test_a_folder_of_the_machine_that_is_somebody_elses_link_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lure").mkdir()
    (tmp_path / budget_module.FOLDER).symlink_to(tmp_path / "lure")
    monkeypatch.setattr(budget_module, "MACHINE", (tmp_path,))
    assert machine_folder() is None
    with twilio_budget(ACCOUNT, "https://api.twilio.com", tmp_path / "records").slot(first=True):
        assert list((tmp_path / "records").iterdir()) and not list((tmp_path / "lure").iterdir())


def test_twilios_hosts_are_one_account_and_its_files_do_not_name_it(tmp_path: Path) -> None:
    one = twilio_budget(ACCOUNT, "https://api.twilio.com", tmp_path)
    other = twilio_budget(ACCOUNT, "https://api.dublin.ie1.twilio.com", tmp_path)
    assert one._slots == other._slots
    assert ACCOUNT not in str(one._slots[0])
    assert twilio_budget(ACCOUNT, "http://127.0.0.1:1", tmp_path)._slots != one._slots


def test_turns_are_shared_and_stay_below_the_limit(tmp_path: Path) -> None:
    """A limit of 600 a minute: some at once, then nine a second, of all processes together."""
    paces = [Pace(tmp_path / "pace", 600) for _ in range(2)]
    at_once, more = int(600 * BURST), 10
    began = time.monotonic()
    for number in range(at_once):
        paces[number % 2].wait()
    assert time.monotonic() - began < 0.5
    for number in range(more):
        paces[number % 2].wait()
    assert time.monotonic() - began >= (more - 1) * 60 / (600 * STEADY)


def test_after_429_everybody_waits_as_long_as_the_vendor_asked(tmp_path: Path) -> None:
    one, other = Pace(tmp_path / "pace", 5_000), Pace(tmp_path / "pace", 5_000)
    began = time.monotonic()
    one.refused(time.time(), 1.0)
    other.refused(time.time() - 0.5, 1.0)  # was in flight then
    other.wait()
    assert 1.0 <= time.monotonic() - began < 1.5
    # Without Retry-After: longer each time.
    pauses = []
    for _ in range(3):
        one.refused(time.time(), None)
        pauses.append(_paused_s(one))
    assert pauses == sorted(pauses) and pauses[0] < pauses[-1]


def _paused_s(pace: Pace) -> float:
    return pace._own.pause_s


@pytest.mark.parametrize("content", [b"", b"what", b"1 2 3", b"1e99 0 0 0", b"-1 0 0 0", b"nan 0 0 0"])
def test_whatever_is_in_the_file_of_turns_is_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pace").write_bytes(content)
    began = time.monotonic()
    Pace(tmp_path / "pace", 5_000).wait()
    assert time.monotonic() - began < 1


def test_the_slots_of_a_process_that_is_killed_are_free(sandbox: TestSandbox) -> None:
    with readers(2) as (killed, other):
        hold(sandbox, 600)
        killed.go()
        until(lambda: held(sandbox) == SLOTS - 1)
        other.go()
        time.sleep(1)
        assert held(sandbox) == SLOTS - 1
        killed.process.kill()
        killed.process.wait()
        until(lambda: held(sandbox) == 2 * (SLOTS - 1))
        sandbox.control("DELETE", "barriers")
        other.expect("done")


def test_a_write_gets_through_while_reads_wait(sandbox: TestSandbox) -> None:
    with readers(2) as children, Runbook.open(SITE, ACME, mode="apply") as runbook:
        runbook.open_own_record("01")
        context = runbook.context
        hold(sandbox, 600)
        for child in children:
            child.go()
        until(lambda: held(sandbox) == SLOTS - 1)
        with context.journal.writing("01", trunk_key("new"), ROWS):
            trunk = context.twilio.trunks.create(friendly_name="new", domain_name="new.pstn.twilio.com")
        assert trunk.sid in sandbox.control("GET", "state").json()["twilio"]["trunks"]
        # What confirms it goes first as well.
        assert context.twilio.read(f"/v1/Trunks/{trunk.sid}")
        assert held(sandbox) == SLOTS - 1
        sandbox.control("DELETE", "barriers")
        for child in children:
            child.expect("done")


def test_never_more_than_the_budget_with_writes(sandbox: TestSandbox, tmp_path: Path) -> None:
    """Of all kinds together: threads of one process, each request marked while it holds its slot."""
    lock, now, most, done = threading.Lock(), 0, 0, 0

    def exchange(number: int) -> None:
        nonlocal now, most, done
        for _ in range(5):
            with Budget(tmp_path, "vendor").slot(first=number % 2 == 0):
                with lock:
                    now += 1
                    most = max(most, now)
                time.sleep(0.01)
                with lock:
                    now -= 1
                    done += 1

    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(4 * SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert done == 20 * SLOTS
    assert most == SLOTS


def test_reads_take_no_slot_while_one_that_goes_first_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def wait_for(name: str, *, first: bool) -> threading.Thread:
        def work() -> None:
            with Budget(tmp_path, "vendor", 1).slot(first=first):
                order.append(name)
                time.sleep(0.1)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with Budget(tmp_path, "vendor", 1).slot(first=False):
        threads = [wait_for("read", first=False) for _ in range(3)]
        time.sleep(0.2)
        threads += [wait_for("write", first=True) for _ in range(2)]
        time.sleep(0.2)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["write", "write", "read", "read", "read"]


def test_429_halves_the_budget_of_every_process_and_it_recovers(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_many = {
        "vendor": "twilio",
        "path": "/v1/Trunks$",
        "kind": "status",
        "status": 429,
        "retry_after": "0",
    }
    with readers(2) as children:
        sandbox.control("POST", "faults", too_many | {"count": 3})
        children[0].go()
        children[0].expect("done")
        # Requests that were in flight together halve it once; what is sent again may meet it once more.
        size = accounts_budget(sandbox).size
        assert size in (SLOTS // 4, SLOTS // 2)
        assert in_flight(sandbox, children) == size - 1
    assert accounts_budget(sandbox).size < SLOTS
    later = time.time() + SLOTS * budget_module.RECOVERY_S
    monkeypatch.setattr(budget_module.time, "time", lambda: later)
    assert accounts_budget(sandbox).size == SLOTS


def test_the_budget_shrinks_once_a_round_and_grows_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1_000_000.0
    monkeypatch.setattr(budget_module.time, "time", lambda: clock)
    one, other = Budget(tmp_path, "vendor"), Budget(tmp_path, "vendor")
    assert one.size == other.size == SLOTS == 8
    clock += 1
    one.refused(clock - 0.5)
    other.refused(clock - 0.5)
    assert one.size == other.size == 4
    for left in (2, 1):
        clock += 1
        other.refused(clock - 0.5)
        assert one.size == other.size == left
    clock += 1
    other.refused(clock - 0.5)
    assert one.size == other.size == 1
    sizes = []
    for _ in range(SLOTS + 1):
        clock += budget_module.RECOVERY_S
        sizes.append((one.size, other.size))
    assert sizes == [(size, size) for size in (2, 3, 4, 5, 6, 7, 8, 8, 8)]
    one.refused(clock)
    clock -= 86400  # a clock that is set back leaves no budget small for a day
    assert one.size == SLOTS


NOT_OURS = [b"", b"what", b"nan nan", b"4 inf", b"4 -inf", b"-7 1", b"99 99", b"1 2 3", b"\xff" * 99]


@pytest.mark.parametrize("content", NOT_OURS)
def test_whatever_is_in_its_file_is_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".vendor.lock").write_bytes(content)
    budget = Budget(tmp_path, "vendor")
    with budget.slot(first=False):
        assert 1 <= budget.size <= SLOTS
    budget.refused(time.time())
    assert Budget(tmp_path, "vendor").size <= SLOTS // 2


@pytest.mark.parametrize("place", ["folder", "slots"])
def test_where_no_file_can_be_made_there_is_no_budget_and_no_error(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    records = sandbox.root / "records"
    if place == "folder":  # what lies there is no folder of ours, and stays as it is
        monkeypatch.setattr(Budget, "__init__", _elsewhere(Budget.__init__, records / "file"))
        records.mkdir()
        (records / "file").write_text("not a folder")
    else:
        monkeypatch.setattr(budget_module, "MACHINE", ())
        of_pbx = pbx_budget(sandbox.urls["portsip_url"], None, records / "demo")
        for budget in (accounts_budget(sandbox), of_pbx):
            for path in (*budget._slots, budget._state):
                path.mkdir(parents=True)
    with Runbook.open(SITE, ACME) as runbook:
        assert runbook.plan().slices
    assert sandbox.control("GET", "sessions").json() == {"alive": 0}


def _elsewhere(begin: Callable[..., None], folder: Path) -> Callable[..., None]:
    def changed(self: Budget, _: Path, name: str, **others: Any) -> None:
        begin(self, folder, name, **others)

    return changed


def test_suspended_holders_cost_the_budget_and_nothing_else(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z in the middle: whoever holds a slot then may hold it for hours."""
    monkeypatch.setattr(budget_module, "PATIENCE_S", 1.0)
    with readers(1) as [stopped], Runbook.open(SITE, ACME) as runbook:
        hold(sandbox, 600)
        stopped.go()
        until(lambda: held(sandbox) == SLOTS - 1)
        os.kill(stopped.process.pid, signal.SIGSTOP)
        sandbox.control("DELETE", "barriers")
        began = time.monotonic()
        assert runbook.context.twilio.all_numbers()
        assert runbook.context.twilio.trunks.list()
        assert 1 <= time.monotonic() - began < PATIENCE_S
        os.kill(stopped.process.pid, signal.SIGCONT)
        stopped.expect("done")


def test_a_back_off_holds_no_slot(sandbox: TestSandbox) -> None:
    """Three reads that Twilio asked to wait 5 s, and another one that need not."""
    later = {"vendor": "twilio", "path": "/v1/Trunks$", "kind": "status", "status": 503, "retry_after": "5"}
    with readers(1, threads=3) as [waiting], Runbook.open(SITE, ACME) as runbook:
        sandbox.control("POST", "faults", later | {"count": 3})
        waiting.go()
        until(lambda: len(sandbox.control("GET", "requests").json()["requests"]) == 3)
        assert runbook.context.twilio.all_numbers()
        log = sandbox.control("GET", "requests").json()["requests"]
        assert [one["path"].rpartition("/")[2] for one in log[3:]] == ["IncomingPhoneNumbers.json"]
        waiting.expect("done")


def test_the_files_of_slots_are_nothing_to_the_records(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine has no folder for them, they lie among the records."""
    monkeypatch.setattr(budget_module, "MACHINE", ())
    run_section("01")
    run_section("05", "plan")
    records = sandbox.root / "records"
    assert list(records.glob(".twilio-*-?.lock"))
    assert list(records.glob("demo/.portsip-*-?.lock"))
    assert list(records.glob("demo/.portsip-*-pace.lock"))
    report = verify_records(records)
    assert not report.strays
    assert not report.problems


def test_a_run_in_threads_stays_within_the_budget(sandbox: TestSandbox) -> None:
    with Runbook.open(SITE, ACME) as runbook, ThreadPoolExecutor(2 * SLOTS) as pool:
        twilio = runbook.context.twilio
        hold(sandbox, 600)
        reads = [pool.submit(twilio.read, f"/v1/Trunks?PageSize=1&Page={n}") for n in range(2 * SLOTS)]
        until(lambda: held(sandbox) == SLOTS - 1)
        time.sleep(0.5)
        assert held(sandbox) == SLOTS - 1
        sandbox.control("DELETE", "barriers")
        assert all(read.result() for read in reads)
