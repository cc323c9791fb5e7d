"""What accompanies a batch (observers, pages, the index, signals) leaves no record open and no tenant out."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib.batch import Observer, RunResult, recording, run_tenants, runner, section
from runbook_lib.batch.at_once import run_at_once
from runbook_lib.records.chain import CLOSED, OPENED, Chain
from runbook_lib.records.problems import CONSISTENT
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox, sample

SITE = Path("parameters/sandbox/site.yaml")
ACME, GLOBEX = (Path(f"parameters/sandbox/{name}.yaml") for name in ("acme", "globex"))
CALLBACKS = ("on_tenant_start", "on_section_start", "on_section_end", "on_tenant_end")
ERRORS = (
    BrokenPipeError(32, "Broken pipe"),
    OSError(28, "No space left on device"),
    UnicodeEncodeError("ascii", "✓", 0, 1, "ordinal not in range(128)"),
    SystemExit(1),
    KeyError("a defect"),
)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def apply(*tenants: Path, observer: Observer | None = None) -> RunResult:
    return run_tenants(SITE, tenants, "apply", {}, observer or Observer(), ("01",))


def many(sandbox: TestSandbox, count: int) -> list[Path]:
    """Files of tenants of their own."""
    text = (CHECKOUT / ACME).read_text()
    folder = sandbox.root / "parameters" / "surrounded"
    folder.mkdir(exist_ok=True)
    for index in range(count):
        own = text.replace("12025550101-12025550104", f"1303{index:07}").replace("acme", f"many-{index}")
        own = own.replace(f"sip_password_many-{index}", "sip_password_acme")
        (folder / f"many-{index}.yaml").write_text(own)
    return [Path(f"parameters/surrounded/many-{index}.yaml") for index in range(count)]


def check_all_closed(sandbox: TestSandbox, count: int) -> None:
    """As many records were opened, and each of them is closed and whole."""
    records = sandbox.root / "records"
    entries = Chain(records).entries()
    opened = {entry.run for entry in entries if entry.event == OPENED}
    assert len(opened) == count
    assert opened == {entry.run for entry in entries if entry.event == CLOSED}
    assert verify_records(records).status == CONSISTENT


class Failing(Observer):
    """For each tenant, one callback that raises one error."""

    def __init__(self, faults: dict[str, tuple[str, BaseException]]) -> None:
        self.raised: list[str] = []
        for name in CALLBACKS:
            setattr(self, name, self._callback(name, faults))

    def _callback(self, name: str, faults: dict[str, tuple[str, BaseException]]) -> Callable[..., None]:
        def called(first: object, *_: object) -> None:
            tenant = first if isinstance(first, str) else first.tenant
            if faults[tenant][0] == name:
                self.raised.append(tenant)
                raise faults[tenant][1]

        return called


def test_whatever_an_observer_raises_every_tenant_is_carried_through(sandbox: TestSandbox) -> None:
    cases = sample(list(itertools.product(CALLBACKS, ERRORS)), 4)
    tenants = many(sandbox, len(cases))
    observer = Failing({f"many-{index}": case for index, case in enumerate(cases)})
    result = apply(*tenants, observer=observer)
    assert sorted(observer.raised) == sorted(f"many-{index}" for index in range(len(cases)))
    assert [tenant.outcome for tenant in result.tenants] == ["succeeded"] * len(cases)
    assert result.exit_status == 0 and result.not_begun == ()
    assert len(result.remarks) == len({type(error) for _, error in cases})
    check_all_closed(sandbox, len(cases))


def test_whatever_an_observer_of_several_at_once_raises_all_are_carried_through(sandbox: TestSandbox) -> None:
    cases = sample(list(itertools.product(("on_tenant_start", *CALLBACKS[2:]), ERRORS)), 2)
    tenants = many(sandbox, len(cases))
    observer = Failing({f"many-{index}": case for index, case in enumerate(cases)})
    result = run_at_once(SITE, tenants, "apply", {}, observer, ("01",), 2)
    assert len(observer.raised) == len(cases) and result.remarks
    assert [tenant.outcome for tenant in result.tenants] == ["succeeded"] * len(cases)
    assert result.exit_status == 0
    check_all_closed(sandbox, len(cases))


@pytest.mark.parametrize(
    ("callback", "number"), sample(list(itertools.product(CALLBACKS, (signal.SIGINT, signal.SIGTERM))), 3)
)
def test_a_signal_between_two_sections_leaves_no_record_open(
    sandbox: TestSandbox, callback: str, number: signal.Signals
) -> None:
    """While the screen is written to, the record is closed, the next tenant looked for."""
    observer = Observer()
    setattr(observer, callback, lambda *_: os.kill(os.getpid(), number))
    result = apply(ACME, GLOBEX, observer=observer)
    started = callback in CALLBACKS[:2]
    assert [tenant.outcome for tenant in result.tenants] == ["interrupted" if started else "succeeded"]
    assert result.not_begun == ("globex",) and result.exit_status == 1
    assert bool(sandbox.writes()) != started
    # What is interrupted before its record was opened has no record.
    check_all_closed(sandbox, 0 if callback == "on_tenant_start" else 1)


@pytest.mark.parametrize("error", [error for error in ERRORS if isinstance(error, Exception)])
def test_pages_that_cannot_be_written_are_remarks(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    tenants = [ACME, GLOBEX]
    for module, name in ((section, "write_page"), (recording, "write_run_index"), (runner, "write_index")):
        monkeypatch.setattr(module, name, fail)
    result = apply(*tenants)
    assert [tenant.outcome for tenant in result.tenants] == ["succeeded"] * 2
    assert result.exit_status == 0
    assert len(result.remarks) == 5  # two sections, two runs, one page over all records
    check_all_closed(sandbox, 2)


def test_a_record_that_nobody_can_read_costs_the_index_one_line(sandbox: TestSandbox) -> None:
    odd = sandbox.root / "records" / "demo" / "acme" / "20200101T000000Z-odd"
    odd.mkdir(parents=True)
    (odd / "run.json").write_text("[1]")
    result = apply(ACME)
    assert (result.exit_status, result.remarks) == (0, ())
    index = result.index.read_text()
    assert odd.name in index and result.tenants[0].folder.name in index


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("kernel", RuntimeError("the kernel did not start")),
        ("notebook", asyncio.CancelledError()),
        ("look ahead", KeyError("a defect")),
    ],
)
def test_an_unforeseen_error_fails_its_tenant_only(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    owner, name = {
        "kernel": (runner.KernelPool, "take"),
        "notebook": (section.papermill, "execute_notebook"),
        "look ahead": (runner._Batch, "_in_the_way"),
    }[where]
    real = getattr(owner, name)

    def failing(*arguments: object, **options: object) -> object:
        if "/acme/" in str(arguments) + str(getattr(arguments[0], "folder", "")):
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, failing)
    result = apply(ACME, GLOBEX)
    assert [tenant.outcome for tenant in result.tenants] == ["failed", "succeeded"]
    assert type(error).__name__ in result.tenants[0].sections[0].message
    check_all_closed(sandbox, 2)


def test_ctrl_c_while_a_string_is_executed_ends_with_the_status_of_the_command(tmp_path: Path) -> None:
    """As importing a dataclass does; Python would end a module that was started with ``-m`` by SIGINT."""
    (tmp_path / "interrupted.py").write_text(
        "from runbook_lib.batch.interruption import interrupted_once\n"
        "interruption = interrupted_once()\n"
        "try:\n"
        "    exec('raise KeyboardInterrupt')\n"
        "except KeyboardInterrupt:\n"
        "    interruption.ignore()\n"
        "raise SystemExit(7)\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{tmp_path}"}
    assert subprocess.run(command, env=environment, cwd=tmp_path).returncode == 7
