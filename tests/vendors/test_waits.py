"""What a run waits for is said while it waits, and never otherwise: each kind of wait, from one place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from runbook_lib.errors import VendorError
from runbook_lib.keys import trunk as trunk_key
from runbook_lib.lock import held
from runbook_lib.notebook.display import describe_wait
from runbook_lib.plan import Action, Row
from runbook_lib.records import living
from runbook_lib.records.living import LOCK, Process, reported_waits
from runbook_lib.records.waits import Wait, Waits
from runbook_lib.runbook import Runbook
from runbook_lib.vendors import transport
from runbook_lib.vendors.budget import Budget
from runbook_lib.vendors.pace import BURST, STEADY, Pace
from runbook_lib.vendors.sign_in import SignInGate
from tests.conftest import TestSandbox
from tests.sections.test_tenant_level import ACME, SITE

ROWS = (Row("1.1", "friendly name", "a", None, Action.CREATE),)
#: What the lock file of a run has at most.
ROOM = 1024


@pytest.fixture
def runbook(sandbox: TestSandbox) -> Iterator[Runbook]:
    """A run of acme's that is in progress."""
    with Runbook.open(SITE, ACME, mode="apply") as runbook:
        runbook.open_own_record("01")
        yield runbook


def read_twilio(runbook: Runbook) -> None:
    runbook.context.twilio.trunks.list()


def write_twilio(runbook: Runbook) -> None:
    with runbook.context.journal.writing("01", trunk_key("new"), ROWS):
        runbook.context.twilio.trunks.create(friendly_name="new", domain_name="new.pstn.twilio.com")


def read_pbx(runbook: Runbook) -> None:
    list(runbook.context.pbx.session.list("/inbound_rules"))


def seen_while(call: Callable[[], object], folder: Path) -> list[Wait]:
    """What those who follow a run are told while something is called, each once, in order."""
    seen: list[Wait] = []
    with ThreadPoolExecutor(1) as executor:
        calling = executor.submit(call)
        while not calling.done():
            seen += [wait for wait in reported_waits(folder) if wait not in seen]
            assert (folder / LOCK).stat().st_size <= ROOM
            time.sleep(0.005)
    calling.result()
    return seen


@contextmanager
def held_elsewhere(lock: AbstractContextManager[object], seconds: float) -> Iterator[None]:
    """Somebody else holds a lock for so long: another thread, as the locks of a process are by thread."""
    has_it = threading.Event()

    def hold() -> None:
        with lock:
            has_it.set()
            time.sleep(seconds)

    holding = threading.Thread(target=hold)
    holding.start()
    has_it.wait(10)
    yield
    holding.join()


@pytest.mark.parametrize(
    ("call", "vendor", "path", "status"),
    [
        (read_twilio, "Twilio", "/v1/Trunks$", 429),
        (read_twilio, "Twilio", "/v1/Trunks$", 503),
        (write_twilio, "Twilio", "/v1/Trunks$", 429),
        (read_pbx, "PortSIP", "/inbound_rules$", 502),
        (read_pbx, "PortSIP", "/auth/sign_in$", 429),
    ],
)
def test_a_pause_between_two_attempts_is_told_until_the_answer(
    sandbox: TestSandbox,
    runbook: Runbook,
    call: Callable[[Runbook], None],
    vendor: str,
    path: str,
    status: int,
) -> None:
    fault = {"vendor": vendor.lower(), "path": path, "kind": "status", "status": status, "retry_after": "2"}
    sandbox.control("POST", "faults", fault)
    began = time.time()
    first, *more = seen_while(lambda: call(runbook), runbook.folder)
    assert first.why.startswith(vendor) and str(status) in first.why
    assert first.until is not None and began + 2 <= first.until <= time.time()
    # After 429 only the time is limited.
    assert (first.attempt, first.attempts) == (2, 0 if status == 429 else transport.ATTEMPTS)
    # Who counts requests by the minute lets all of them wait.
    assert all(wait.attempt == 0 for wait in more) and (not more or vendor == "PortSIP")
    assert reported_waits(runbook.folder) == []


def test_a_vendor_that_is_away_is_told_with_each_attempt(sandbox: TestSandbox, runbook: Runbook) -> None:
    read_pbx(runbook)  # signed in, so what is refused is a read
    runbook.context.moment.begin()
    fault = {"vendor": "portsip", "path": "/inbound_rules$", "kind": "refused", "seconds": 2}
    sandbox.control("POST", "faults", fault)
    seen = seen_while(lambda: read_pbx(runbook), runbook.folder)
    assert [wait.attempt for wait in seen] == list(range(2, 2 + len(seen))) and len(seen) > 1
    assert {wait.attempts for wait in seen} == {transport.ATTEMPTS}
    assert all("PortSIP" in wait.why for wait in seen)
    assert reported_waits(runbook.folder) == []


def test_too_many_is_repeated_for_its_minutes_and_no_longer(
    sandbox: TestSandbox, runbook: Runbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("TOO_MANY_FOR_S", 2.0), ("LONGEST_WAIT_S", 0.5), ("JITTER_S", 0.0)):
        monkeypatch.setattr(transport, name, seconds)
    fault = {"vendor": "twilio", "path": "/v1/Trunks$", "kind": "status", "status": 429, "count": 0}
    sandbox.control("POST", "faults", fault)
    began = time.time()

    def call() -> None:
        with pytest.raises(VendorError) as caught:
            read_twilio(runbook)
        assert caught.value.status == 429

    seen = seen_while(call, runbook.folder)
    assert 2 <= time.time() - began < 5
    assert [wait.attempt for wait in seen] == list(range(2, 2 + len(seen)))
    # It says from the beginning when it gives up.
    lasts = [wait.last for wait in seen]
    assert all(last is not None and abs(last - began - 2) < 1 for last in lasts)
    assert reported_waits(runbook.folder) == []


def test_nothing_is_written_for_a_request_that_is_answered(sandbox: TestSandbox, runbook: Runbook) -> None:
    lock = runbook.folder / LOCK
    living.enter(runbook.folder, living.Phase.READING)
    before = lock.stat().st_mtime_ns
    sandbox.clear_log()
    read_twilio(runbook)
    read_pbx(runbook)
    assert len(sandbox.control("GET", "requests").json()["requests"]) > 5
    assert lock.stat().st_mtime_ns == before


def test_a_slot_that_somebody_else_has_and_a_turn_are_waits(tmp_path: Path) -> None:
    told: list[float | None] = []
    budget = Budget(tmp_path, "vendor", slots=1)
    with (
        held_elsewhere(budget.slot(first=True), 1.5),
        Budget(tmp_path, "vendor", slots=1).slot(first=True, waiting=told.append),
    ):
        assert told == [None]
    a_minute = 60 / STEADY  # one each second
    pace = Pace(tmp_path / "pace", a_minute)
    for _ in range(int(BURST * a_minute) + 1):
        pace.wait(told.append)
    pace.refused(time.time(), 2)
    told.clear()
    pace.wait(told.append)
    [left] = told
    assert left is not None and 1 < left < 4


def test_a_lock_and_a_sign_in_of_others_are_waits(sandbox: TestSandbox, runbook: Runbook) -> None:
    records = runbook.context.records
    section = runbook.section("01")

    def look() -> None:
        section.current()
        section.finish()

    with held_elsewhere(held(records / "acme", "tenant acme"), 1.0):
        [lock] = seen_while(look, runbook.folder)
    assert "tenant acme" in lock.why and "process" in lock.why and lock.until is None
    with held_elsewhere(SignInGate(records), 2.0):
        [gate] = seen_while(lambda: read_pbx(runbook), runbook.folder)
    assert gate.until is None and "sign" in gate.why
    assert reported_waits(runbook.folder) == []


def test_the_latest_wait_of_several_threads_is_told_and_the_last_one_ends_it() -> None:
    told: list[str | None] = []
    waits = Waits(lambda wait: told.append(wait and wait.why))
    with waits.one() as first, waits.one():
        first(Wait("a"))
        with waits.one() as second:
            second(Wait("b"))
            first(Wait("c"))
        with waits.one() as third:
            third(Wait("d"))
            waits.forget()
    assert told == ["a", "b", "c", "c", "d", None]


def test_both_processes_of_a_run_can_wait_and_what_else_is_in_the_file_is_ignored(tmp_path: Path) -> None:
    living.begin(tmp_path)
    waits = {process: Wait(f"{process} " + "é'\"" * 200, 1.0, 2.0, 3, 4, 5.0) for process in Process}
    for process, wait in waits.items():
        living.report_wait(tmp_path, process, wait)
        living.enter(tmp_path, living.Phase.WRITING, section="01", total=6)
    assert [wait.why[:6] for wait in reported_waits(tmp_path)] == ["runner", "sectio"]
    assert all((wait.since, wait.last) == (1.0, 5.0) for wait in reported_waits(tmp_path))
    living.report_wait(tmp_path, Process.RUNNER, None)
    assert [wait.why[:7] for wait in reported_waits(tmp_path)] == ["section"]
    assert living.entered(tmp_path) == {"phase": "writing", "section": "01", "total": 6}
    lock = tmp_path / LOCK
    for wrong in ({"why": 1}, {"why": "x", "since": "y"}, {"why": "x", "since": 1e300}, {"else": 1}, {}):
        lock.write_bytes(b" " * 640 + json.dumps(wrong).encode())
        assert reported_waits(tmp_path) == []
    living.end(tmp_path)
    living.report_wait(tmp_path, Process.SECTION, waits[Process.SECTION])
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_a_wait_is_true_whenever_it_is_read() -> None:
    now = time.time()
    coming = describe_wait(Wait("Twilio answered 429", now, now + 5, 2, 5))
    assert coming.startswith("waiting 5 s, until ") and coming.endswith("attempt 2 of 5")
    # It was sent again, and has no answer yet.
    assert not describe_wait(Wait("Twilio answered 429", now - 9, now - 4, 2, 5)).startswith("waiting")
    for wait in (Wait("x"), Wait("x", now, now + 5), Wait("x", now, now - 5)):
        assert " UTC" in describe_wait(wait)
