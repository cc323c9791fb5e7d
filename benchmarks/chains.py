"""The longest chain of requests that wait for each other, for one tenant.

Seen from outside: (time at 400 ms of latency less time at none) / 400 ms, as the median of pairs that take
turns; and from the sandbox's log. Beside it a bare script that sends the same requests, and one that sends
each read once only; see ``benchmarks.bare``.

::

    make bench BENCH='--rounds 1'          fewer than five pairs
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.conftest import TestSandbox, started

from .bare import Entry, Script, chain, made_by
from .commands import run

TENANT_ID = "810000000000000001"
LATENCY_S = 0.4
#: The figures in the order in which they are measured, with what is run.
COMMANDS = {"plan": "plan", "first apply": "apply", "nothing to do": "apply"}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="The longest chain of requests.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    seconds: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    counts: dict[str, tuple[int, int, int]] = {}
    screen = Console(highlight=False, width=110)
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        for number in range(rounds):
            for is_slow in (False, True):
                scripts = _ours(sandbox, is_slow, seconds, counts)
                _bare(sandbox, is_slow, scripts, seconds)
            screen.print(f"pair {number + 1} of {rounds}")
    table = Table(title=f"Chains of requests, acme, median of {rounds} pairs")
    headings = ("runbook", "by the log", "same requests", "each read once", "requests", "distinct")
    table.add_column("Command")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name in COMMANDS:
        by_log, requests, distinct = counts[name]
        chains = [_chain(seconds, name, kind) for kind in ("runbook", "same", "distinct")]
        table.add_row(name, chains[0], str(by_log), *chains[1:], str(requests), str(distinct))
    screen.print(table)


def _ours(
    sandbox: TestSandbox,
    is_slow: bool,
    seconds: dict[tuple[str, str, bool], list[float]],
    counts: dict[str, tuple[int, int, int]],
) -> dict[str, Script]:
    """Run the commands; return their requests as scripts."""
    _start_afresh(sandbox, is_slow)
    scripts = {}
    for name, command in COMMANDS.items():
        sandbox.clear_log()
        seconds[name, "runbook", is_slow].append(run(sandbox, command).wall_s)
        log: list[Entry] = sandbox.control("GET", "requests").json()["requests"]
        made = made_by(_newest_journal(sandbox)) if name == "first apply" else []
        scripts[name] = Script(log, made)
        if is_slow:
            counts[name] = chain(log, LATENCY_S), len(scripts[name]), len(scripts[name].distinct())
    return scripts


def _bare(
    sandbox: TestSandbox,
    is_slow: bool,
    scripts: dict[str, Script],
    seconds: dict[tuple[str, str, bool], list[float]],
) -> None:
    """Send the same requests to the same states."""
    for kind in ("same", "distinct"):
        _start_afresh(sandbox, is_slow)
        for name, script in scripts.items():
            sent = script if kind == "same" else script.distinct()
            seconds[name, kind, is_slow].append(_timed(partial(sent.send, sandbox, TENANT_ID)))


def _start_afresh(sandbox: TestSandbox, is_slow: bool) -> None:
    sandbox.control("POST", "reset")
    shutil.rmtree(sandbox.root / "records", ignore_errors=True)
    latency = LATENCY_S * 1000 if is_slow else 0
    sandbox.control("POST", "switches", {f"{vendor}.latency_ms": latency for vendor in ("twilio", "portsip")})


def _newest_journal(sandbox: TestSandbox) -> Path:
    return max((sandbox.root / "records").rglob("journal.jsonl"), key=lambda path: path.stat().st_mtime)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _chain(seconds: dict[tuple[str, str, bool], list[float]], name: str, kind: str) -> str:
    pairs = zip(seconds[name, kind, False], seconds[name, kind, True], strict=True)
    return f"{median((slow - fast) / LATENCY_S for fast, slow in pairs):.1f}"


if __name__ == "__main__":
    main()
