"""Batches: ``runbook apply --at-once 8`` beside what one would write instead, in seconds a tenant.

The others run the notebooks of this checkout by plain papermill, in a shell's loop or four at a time, or
send the same requests from a script without notebooks and records (the floor). Every contender begins with
the same state. What has been measured is kept in a file, so that a run that was ended goes on where it was.

::

    make bench-batches BENCH='--rounds 1 --few 2 --many 8'      less
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from runbook_lib.guide import RUN_ORDER, SECTIONS
from tests.conftest import CHECKOUT, TestSandbox, started
from tests.many import SITE, tenant_files

from .bare import Script

AT_ONCE, POOL = 8, 4
#: How many times as fast as each contender the batch is to be; for the script, how much slower at most.
WANTED = {"loop": "15 or more", "pool": "3 or more", "script": "1.5 at most"}


@dataclass
class Place:
    """A sandbox with tenants, which every contender begins with."""

    sandbox: TestSandbox
    files: list[str]
    state: dict[str, Any]

    def begin(self, latency_ms: int) -> None:
        """Put the state back, and forget all records."""
        self.sandbox.control("POST", "reset", {"state": self.state})
        self.set_latency(latency_ms)
        shutil.rmtree(self.sandbox.root / "records", ignore_errors=True)

    def set_latency(self, latency_ms: int) -> None:
        """Set how slow both vendors answer."""
        names = ("twilio.latency_ms", "portsip.latency_ms")
        self.sandbox.control("POST", "switches", dict.fromkeys(names, latency_ms))

    @property
    def surroundings(self) -> dict[str, Any]:
        """Where commands run, and with which variables."""
        environment = {**os.environ, **self.sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
        return {"cwd": self.sandbox.root, "env": environment, "stdout": subprocess.DEVNULL}


def batch(place: Place, files: Sequence[str]) -> None:
    """Run our command."""
    command = [sys.executable, "-m", "runbook_lib", "apply", "-s", SITE, *files, "--at-once", str(AT_ONCE)]
    subprocess.run(command, check=True, **place.surroundings)


def loop(place: Place, files: Sequence[str]) -> None:
    """Run papermill for each section of each tenant, one after the other."""
    for file in files:
        _papermill(place, file)


def pool(place: Place, files: Sequence[str]) -> None:
    """Run papermill for four tenants at a time."""
    with ThreadPoolExecutor(POOL) as executor:
        list(executor.map(lambda file: _papermill(place, file), files))


def _papermill(place: Place, file: str) -> None:
    with TemporaryDirectory() as folder:
        for number in RUN_ORDER:
            name = f"{SECTIONS[number].notebook}.ipynb"
            command = [sys.executable, "-m", "papermill", f"notebooks/{name}", str(Path(folder, name))]
            options = ["-f", SITE, "-f", file, "-p", "mode", "apply", "--no-progress-bar"]
            subprocess.run([*command, *options], check=True, stderr=subprocess.DEVNULL, **place.surroundings)


def recorded(place: Place, files: Sequence[str]) -> list[tuple[Script, str]]:
    """Run each tenant alone; return its requests as a script, and its id in the PBX."""
    place.begin(0)
    ids = {tenant["domain"]: key for key, tenant in place.state["portsip"]["tenants"].items()}
    scripts = []
    for file in files:
        place.sandbox.clear_log()
        batch(place, [file])
        log = place.sandbox.control("GET", "requests").json()["requests"]
        (journal,) = (place.sandbox.root / "records").glob(f"demo/{Path(file).stem}/*/journal.jsonl")
        text = (place.sandbox.root / file).read_text()
        domain = next(line.split()[1] for line in text.splitlines() if "pbx_domain:" in line)
        scripts.append((Script(log, journal), ids[domain]))
    return scripts


def script(place: Place, scripts: Sequence[tuple[Script, str]]) -> None:
    """Send the same requests, eight tenants at a time."""
    with ThreadPoolExecutor(AT_ONCE) as executor:
        list(executor.map(lambda one: one[0].send(place.sandbox, one[1]), scripts))


class Results:
    """What has been measured, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}

    def measure(self, name: str, number: int, tenants: int, work: Callable[[], object]) -> None:
        """Measure seconds a tenant, unless this round has been measured already."""
        measured = self.seconds.setdefault(name, [])
        if len(measured) > number:
            return
        began = time.perf_counter()
        work()
        measured.append((time.perf_counter() - began) / tenants)
        self._path.write_text(json.dumps(self.seconds, indent=1))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Batches and what one would write instead.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=10, help="tenants of the loop and the pool")
    parser.add_argument("--many", type=int, default=100, help="tenants of the others, 100 at most")
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 150], help="milliseconds")
    parser.add_argument("--results", type=Path, default=Path("benchmarks.json"))
    chosen = parser.parse_args()
    results, screen = Results(chosen.results), Console(highlight=False, width=110)
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        files = tenant_files(sandbox, min(chosen.many, 99))
        place = Place(sandbox, files, _state(sandbox))
        scripts = recorded(place, files)
        for number in range(chosen.rounds):
            for latency in chosen.latency:
                _round(place, scripts, results, number, latency, chosen.few)
                screen.print(f"round {number + 1}, {latency} ms")
    for latency in chosen.latency:
        screen.print(_table(results, latency))


def _round(
    place: Place, scripts: list[tuple[Script, str]], results: Results, number: int, latency: int, few: int
) -> None:
    files = place.files
    for name, contender in {"loop": loop, "pool": pool}.items():
        place.begin(latency)
        results.measure(f"{name} {latency}", number, few, partial(contender, place, files[:few]))
    place.begin(latency)
    results.measure(f"batch {latency}", number, len(files), lambda: batch(place, files))
    place.sandbox.clear_log()
    results.measure(f"again {latency}", number, len(files), lambda: batch(place, files))
    if writes := place.sandbox.writes():
        raise SystemExit(f"the second run wrote: {len(writes)} writes")
    place.begin(latency)
    results.measure(f"script {latency}", number, len(files), lambda: script(place, scripts))


def _state(sandbox: TestSandbox) -> dict[str, Any]:
    state = sandbox.control("GET", "state").json()
    return {vendor: state[vendor] for vendor in ("twilio", "portsip")}


def _table(results: Results, latency: int) -> Table:
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    table = Table(title=f"Seconds a tenant at {latency} ms, medians (load average {load})")
    for heading in ("", "s", "ratio", "wanted at 150 ms"):
        table.add_column(heading, justify="right" if heading else "left")
    ours = median(results.seconds[f"batch {latency}"])
    for name in ("batch", "again", "loop", "pool", "script"):
        seconds = median(results.seconds[f"{name} {latency}"])
        ratio = ours / seconds if name in ("script", "again") else seconds / ours
        table.add_row(name, f"{seconds:.2f}", f"{ratio:.1f}", WANTED.get(name, ""))
    return table


if __name__ == "__main__":
    main()
