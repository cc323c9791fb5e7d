"""When a batch begins no further tenant, what a terminal shows, and when Ctrl-C takes effect."""

from __future__ import annotations

import io
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from runbook_lib.batch.brake import Brake
from runbook_lib.batch.progress import LiveTable
from runbook_lib.batch.results import SectionResult, Stop, TenantResult
from runbook_lib.records import living
from runbook_lib.records.waits import Wait
from runbook_lib.vendors import answered
from runbook_lib.vendors.answered import answered_first

GONE, REFUSED = ("UnreachableError", "Twilio"), ("SignInError", "PortSIP", "400")
CONFLICT = ("ConflictError",)


def tenant(outcome: str, cause: tuple[str, ...] = ()) -> TenantResult:
    section = SectionResult("01", outcome, message=f"in words {time.monotonic()}", cause=cause)
    return TenantResult("demo", "acme", Path("run"), (section,))


def stopped(results: list[TenantResult], max_failures: int | None = None) -> tuple[int, Stop | None]:
    """After how many tenants a batch stops, and why."""
    brake = Brake(max_failures)
    for count, result in enumerate(results, start=1):
        brake.saw(result)
        if brake.stopped:
            return count, brake.stopped
    return len(results), None


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([GONE] * 5, (3, Stop.SAME_CAUSE)),
        ([GONE, GONE, None, GONE, GONE], (5, None)),
        ([GONE, REFUSED] * 3, (6, None)),
        ([CONFLICT] * 6, (6, None)),
        ([GONE, CONFLICT, GONE, GONE, GONE], (5, Stop.SAME_CAUSE)),
        ([()] * 6, (6, None)),
    ],
    ids=["in a row", "with a success between", "in turn", "each its own", "begins again", "not known"],
)
def test_three_in_a_row_for_the_same_cause(
    causes: list[tuple[str, ...] | None], expected: tuple[int, Stop | None]
) -> None:
    """The causes are keys: the messages differ each time."""
    results = [tenant("succeeded") if cause is None else tenant("failed", cause) for cause in causes]
    assert stopped(results) == expected


def test_as_many_failures_as_are_allowed_of_any_cause() -> None:
    results = [tenant("failed", CONFLICT), tenant("succeeded"), tenant("failed"), tenant("failed", GONE)]
    assert stopped(results, 2) == (3, Stop.TOO_MANY)
    assert stopped(results, 9) == (4, None)
    # Who interrupts a batch has not found a fault in it.
    assert stopped([tenant("interrupted")] * 5, 1) == (5, None)


def test_a_terminal_shows_the_tenants_that_run(tmp_path: Path) -> None:
    output = io.StringIO()
    screen = Console(file=output, force_terminal=True, width=120)
    with LiveTable(screen, 2) as table:
        for name in ("acme", "globex"):
            table.on_begun(name, tmp_path / name)
        table.on_going("acme", "02", [SectionResult("01", "succeeded", writes=1, changes=2)])
        table.on_tenant_end(TenantResult("demo", "globex", Path("run"), ()))
        (tmp_path / "acme").mkdir()
        living.begin(tmp_path / "acme")
        wait = Wait("Twilio answered 429 (too many requests)", until=time.time() + 60, attempt=2)
        living.report_wait(tmp_path / "acme", living.Process.SECTION, wait)
        shown = io.StringIO()
        Console(file=shown, width=200).print(table._table())
        living.end(tmp_path / "acme")
        later = io.StringIO()
        Console(file=later, width=200).print(table._table())
    assert "Twilio answered 429" in shown.getvalue() and "429" not in later.getvalue()
    assert "acme" in shown.getvalue() and "02" in shown.getvalue() and "globex" not in shown.getvalue()
    assert "1 of 2" in shown.getvalue()


def test_ctrl_c_waits_for_the_answer() -> None:
    is_answered = False
    threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), answered_first():
        time.sleep(0.4)
        is_answered = True
    assert is_answered
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "PATIENCE_S", 0.2)
    threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), answered_first():
        time.sleep(30)
    assert time.monotonic() - began < 5
