"""Losing the screen costs nothing: the command goes on or is interrupted, and its record is closed."""

from __future__ import annotations

import itertools
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runbook_lib.records.chain import CLOSED, OPENED, Chain
from runbook_lib.records.problems import CONSISTENT
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, SEED, TestSandbox, sample
from tests.test_cli import ACME, SITE, runbook

GLOBEX = "parameters/sandbox/globex.yaml"
RUNBOOK = f"{sys.executable} -m runbook_lib"
ONE = f"-s {SITE} --section 01 {ACME} {GLOBEX}"
#: A command and its exit status after ``set_up``; those that open records, with how many.
COMMANDS = {
    f"apply {ONE}": (0, 2),
    f"apply {ONE} --at-once 2": (0, 2),
    f"verify {ONE}": (0, 0),
    f"plan {ONE}": (0, 0),
    f"plan {ONE} --at-once 2": (0, 0),
    f"retire -s {SITE} {ACME} --accept-interruption": (2, 0),
    f"retire -s {SITE} {ACME} --accept-interruption --apply": (0, 1),
    "rollback RECORD --accept-interruption": (2, 0),
    "rollback RECORD --accept-interruption --apply": (0, 1),
    "records verify": (0, 0),
    "records show RECORD": (0, 0),
    f"validate -s {SITE} {ACME}": (0, 0),
}
#: How the screen is lost: what stands around the command, in a shell.
LOSSES = {
    "ascii": "PYTHONIOENCODING=ascii {}",
    "latin-1": "PYTHONIOENCODING=latin-1 {}",
    "C locale": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}",
    "reader gone": "{{ {}; echo $? >status; }} | head -1",
    "both readers gone": "{{ {} 2>&1; echo $? >status; }} | head -1",
    "no reader": "{{ sleep 0.5; {}; echo $? >status; }} | true",
    "output closed": "{} >&-",
    "both closed": "{} <&- >&- 2>&-",
    "full": "{} >/dev/full",
    "errors full": "{} 2>/dev/full",
}
NOT_THE_OUTPUT = ("errors full", "ascii", "latin-1", "C locale")


def environment(sandbox: TestSandbox) -> dict[str, str]:
    return {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "140"}


def shell(sandbox: TestSandbox, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=sandbox.root,
        env=environment(sandbox),
        capture_output=True,
        text=True,
        encoding="latin-1",
        timeout=180,
    )


def records_of(sandbox: TestSandbox) -> list[str]:
    """The runs of the chain; every one of them is closed."""
    records = sandbox.root / "records"
    entries = Chain(records).entries()
    opened = [entry.run for entry in entries if entry.event == OPENED]
    assert sorted(opened) == sorted(entry.run for entry in entries if entry.event == CLOSED)
    assert verify_records(records).status == CONSISTENT
    return opened


def set_up(sandbox: TestSandbox) -> str:
    """Two tenants with a trunk each; return the first one's record."""
    ended = runbook(sandbox, "apply", "-s", SITE, "--section", "01", ACME, GLOBEX)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return records_of(sandbox)[0]


def check_loss(sandbox: TestSandbox, command: str, loss: str) -> None:
    record = set_up(sandbox)
    status, opened = COMMANDS[command]
    script = LOSSES[loss].format(f"{RUNBOOK} {command}".replace("RECORD", record.rpartition("/")[2]))
    (sandbox.root / "status").unlink(missing_ok=True)
    ended = shell(sandbox, script)
    reported = sandbox.root / "status"
    if command.startswith("records show") and loss in ("full", "output closed", "both closed"):
        status = 1  # what it prints is all that it does
    seen = int(reported.read_text()) if reported.exists() else ended.returncode
    assert seen == status, (ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert len(records_of(sandbox)) == 2 + opened
    if "readers" not in loss and loss not in (*NOT_THE_OUTPUT, "both closed") and command.startswith("apply"):
        # Where the output is lost, the error output says what was done to whom.
        assert all(f"{name}: succeeded" in ended.stderr for name in ("acme", "globex")), ended.stderr


@pytest.mark.parametrize(
    ("command", "loss"),
    [
        (f"apply {ONE}", "ascii"),
        (f"apply {ONE}", "reader gone"),
        *sample(list(itertools.product(COMMANDS, LOSSES)), 4),
    ],
)
def test_a_lost_screen_changes_nothing(sandbox: TestSandbox, command: str, loss: str) -> None:
    check_loss(sandbox, command, loss)


def test_the_whole_guide_for_all_demo_tenants_without_a_reader(sandbox: TestSandbox) -> None:
    reported = sandbox.root / "status"
    shell(sandbox, LOSSES["reader gone"].format(f"{RUNBOOK} demo"))
    assert reported.read_text().strip() == "0"
    assert len(records_of(sandbox)) == len(list((CHECKOUT / "parameters" / "sandbox").glob("*.yaml"))) - 1


def test_ctrl_c_reaches_the_pipe_as_well(sandbox: TestSandbox, tmp_path: Path) -> None:
    """The terminal sends it to the whole group: ``tee`` is gone before the run is."""
    errors = tmp_path / "errors"
    with subprocess.Popen(
        ["bash", "-c", f"{RUNBOOK} apply -s {SITE} {ACME} {GLOBEX} 2>{errors} | tee {tmp_path}/log"],
        cwd=sandbox.root,
        env=environment(sandbox),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    ) as group:
        wait_for(lambda: list(sandbox.root.glob("records/demo/acme/*/00.result.json")))
        for _ in range(3):
            os.killpg(group.pid, signal.SIGINT)
            time.sleep(0.05)
        group.wait(60)
        # The shell waits for its pipeline only as long as the signal lets it.
        wait_for(lambda: any(entry.event == CLOSED for entry in Chain(sandbox.root / "records").entries()))
    wait_for(lambda: "not started" in errors.read_text())
    said = errors.read_text()
    assert "acme: interrupted" in said and "globex: not started" in said and "Traceback" not in said
    assert "Interrupted: 1 tenant not started." in said
    assert len(records_of(sandbox)) == 1


@pytest.mark.parametrize("command", [f"apply {ONE}", f"plan -s {SITE} {ACME} {GLOBEX}"])
@pytest.mark.parametrize("part", sample(range(8), 2))
def test_ctrl_c_on_a_terminal_is_answered_with_one_sentence(
    sandbox: TestSandbox, command: str, part: int
) -> None:
    """At any time, also while the command is being loaded and while it ends, and more than once."""
    chance = random.Random(f"{SEED} {part}")
    # From the start of the program on: what comes before is Python's own.
    shown, status = on_a_terminal(
        sandbox, command.split(), [0.3 + part * 0.6 + chance.random() * 0.6 + n * 0.1 for n in range(4)]
    )
    for sign in ("Traceback", "Exception ignored", "Task ", 'File "', "KeyboardInterrupt"):
        assert sign not in shown, shown
    if "apply" in command:
        records_of(sandbox)
    assert status in (0, 1, 2), shown
    if status == 1:
        assert shown.lower().count("interrupted") >= 1, shown


def on_a_terminal(sandbox: TestSandbox, arguments: list[str], presses: list[float]) -> tuple[str, int]:
    """Run the command on a terminal of its own and press Ctrl-C at these times; what it shows, its status."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(sandbox.root)
        os.execve(sys.executable, [sys.executable, "-m", "runbook_lib", *arguments], environment(sandbox))
    shown, begun, waiting = b"", time.monotonic(), list(presses)
    while True:
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the terminal is closed when its last process has ended
                break
        if waiting and time.monotonic() - begun > waiting[0]:
            waiting.pop(0)
            os.write(terminal, b"\x03")
    _, ended = os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode(errors="replace"), os.waitstatus_to_exitcode(ended)


def wait_for(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


#: Everything that prints, each with a character that ASCII has not.
PRINTS = """
import logging, sys, warnings
from runbook_lib.screen import complain, conclude, finish, guard, screen
guard()
import click, typer
from rich.table import Table
for _ in range({times}):
    print("✓ café \\udc80", flush=True)
    sys.stdout.buffer.write(b"bytes"); sys.stdout.buffer.flush()
    screen.print("✓", Table("✗", title="→"))
    with screen.status("…"):
        pass
    click.echo("✓"); typer.echo("✓", err=True); typer.secho("✓", fg="red")
    logging.warning("✓"); warnings.warn("✓")
    complain("✗ caf\\u00e9"); conclude("done: é")
finish()
"""


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_that_prints_raises(sandbox: TestSandbox, loss: str) -> None:
    """Also with more than a pipe holds."""
    (sandbox.root / "status").unlink(missing_ok=True)
    (sandbox.root / "prints.py").write_text(PRINTS.format(times=200), encoding="utf-8")
    ended = shell(sandbox, LOSSES[loss].format(f"{sys.executable} prints.py"))
    reported = sandbox.root / "status"
    assert (int(reported.read_text()) if reported.exists() else ended.returncode) == 0, ended.stderr[-2000:]
    if loss in ("output closed", "full", "reader gone", "no reader"):
        assert "done: " in ended.stderr


def test_a_screen_that_is_slow_is_waited_for(sandbox: TestSandbox) -> None:
    """Another process made the pipe that we share non-blocking: a full pipe is no lost one."""
    (sandbox.root / "prints.py").write_text(PRINTS.format(times=200), encoding="utf-8")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(
        [sys.executable, "prints.py"],
        cwd=sandbox.root,
        env=environment(sandbox),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        time.sleep(3)
        with open(reading, "rb") as pipe:
            shown = pipe.read()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert shown.count(b"bytes") == 200 and b"done" not in said
