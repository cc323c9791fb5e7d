"""Batches: ``runbook apply --at-once 8`` beside what one would write instead, in seconds a tenant.

The others run the notebooks of this checkout by plain papermill, in a shell's loop or four at a time, or
send the same requests: as an Ansible playbook, or from a script without notebooks and records (the floor).
The script has as many requests in flight as the batch; an impolite one has as many for each tenant, and a
third one sends each read only once. All contenders start from the same state. Results are kept in a file, so
an interrupted run can be continued.

Contenders of few tenants are measured once at each latency, and so is everything at 0 ms; the batch and the
scripts are measured three times at the longest latency.

::

    make bench-batches BENCH='--rounds 1 --few 1 --many 4 --sizes 2 4'      less
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
from datetime import datetime
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

from .bare import Script, made_by, make_slots
from .memory import Peak
from .playbook import ensure_ansible, play

AT_ONCE, POOL = 8, 4
#: How many times as fast as each contender the batch is to be; for the script, how much slower at most.
WANTED = {
    "loop": "15 or more",
    "pool": "3 or more",
    "playbook": "3 or more",
    "script": "1.5 at most",
    "again": "0.5 at most",
}
#: What the batch is divided by; the others are divided by the batch.
FLOORS = ("script", "impolite", "distinct")


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


def batch(place: Place, files: Sequence[str], at_once: int = AT_ONCE) -> None:
    """Run our command."""
    command = [sys.executable, "-m", "runbook_lib", "apply", "-s", SITE, *files, "--at-once", str(at_once)]
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


def recorded(place: Place, files: Sequence[str], kept: Path) -> list[tuple[Script, str]]:
    """Run the tenants one after the other; return each one's requests as a script, and its id in the PBX.

    They are kept in a file together with the state that they begin with, because ids are other ones in each
    sandbox.
    """
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["files"] == [*files]:
            place.state = known["state"]
            return [(Script(log, made), tenant_id) for log, made, tenant_id in known["scripts"]]
    place.begin(0)
    ids = {tenant["domain"]: key for key, tenant in place.state["portsip"]["tenants"].items()}
    log: list[dict[str, Any]] = []
    began: list[tuple[float, Path]] = []
    for start in range(0, len(files), 10):  # the sandbox's log has an end
        place.sandbox.clear_log()
        batch(place, files[start : start + 10], at_once=1)
        log += place.sandbox.control("GET", "requests").json()["requests"]
    for file in files:
        (opening,) = (place.sandbox.root / "records").glob(f"demo/{Path(file).stem}/*/opening.json")
        began.append((opening.stat().st_mtime, opening.with_name("journal.jsonl")))
    times = [datetime.fromisoformat(entry["at"].replace("Z", "+00:00")).timestamp() for entry in log]
    ends = [*(since for since, _ in began[1:]), float("inf")]
    scripts = []
    for file, (since, journal), end in zip(files, began, ends, strict=True):
        own = [entry for entry, at in zip(log, times, strict=True) if since <= at < end]
        text = (place.sandbox.root / file).read_text()
        domain = next(line.split()[1] for line in text.splitlines() if "pbx_domain:" in line)
        scripts.append((own, made_by(journal), ids[domain]))
    kept.write_text(json.dumps({"files": [*files], "state": place.state, "scripts": scripts}))
    return [(Script(own, made), tenant_id) for own, made, tenant_id in scripts]


def script(place: Place, scripts: Sequence[tuple[Script, str]], *, polite: bool = True) -> None:
    """Send the same requests, eight tenants at a time.

    With as many requests in flight as the batch; without being polite, with as many for each tenant.
    """
    slots = make_slots() if polite else None
    with ThreadPoolExecutor(AT_ONCE) as executor:
        list(executor.map(lambda one: one[0].send(place.sandbox, one[1], slots), scripts))


def playbook(place: Place, scripts: Sequence[tuple[Script, str]], commands: Path) -> None:
    """Send the same requests by Ansible, eight tenants at a time."""
    with TemporaryDirectory() as folder:
        play(place.sandbox, scripts, commands, Path(folder))


class Results:
    """What has been measured, in a file."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path = path
        self.place = place
        self.found: dict[str, list[dict[str, float]]] = json.loads(path.read_text()) if path.exists() else {}

    def measure(self, name: str, number: int, tenants: int, work: Callable[[], object]) -> None:
        """Measure a contender, unless this round has been measured already."""
        measured = self.found.setdefault(name, [])
        if len(measured) > number:
            return
        before, sandbox = self._requests(), self.place.sandbox
        with Peak(frozenset({int(sandbox.urls["pid"])})) as peak:
            began = time.perf_counter()
            work()
            seconds = time.perf_counter() - began
        measured.append(
            {
                "tenants": tenants,
                "seconds": round(seconds, 2),
                "requests": self._requests() - before - 1,  # the one that asks for the number
                "peak_mib": round(peak.mib),
            }
        )
        self._path.write_text(json.dumps(self.found, indent=1))

    def has(self, name: str) -> bool:
        """Whether it has been measured."""
        return bool(self.found.get(name))

    def of(self, name: str) -> dict[str, float]:
        """Return the medians of a contender, and its seconds a tenant (``each``)."""
        rounds = self.found[name]
        medians = {key: median(entry[key] for entry in rounds) for key in rounds[0]}
        return {**medians, "each": medians["seconds"] / medians["tenants"], "rounds": len(rounds)}

    def _requests(self) -> int:
        """The number of the next request."""
        sandbox = self.place.sandbox
        sandbox.vendors.pbx_http.get("/info")  # a log that was cleared has no last entry
        return sandbox.control("GET", "requests").json()["requests"][-1]["seq"]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="Batches and what one would write instead.")
    parser.add_argument("--rounds", type=int, default=3, help="of the batch and the scripts, at most latency")
    parser.add_argument("--few", type=int, default=10, help="tenants of the loop, the pool and the playbook")
    parser.add_argument("--many", type=int, default=98, help="tenants of the others, 98 at most")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 30, 100, 300], help="of growing batches")
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 150], help="milliseconds")
    parser.add_argument("--results", type=Path, default=Path("benchmarks.json"))
    chosen = parser.parse_args()
    screen = Console(highlight=False, width=110)
    commands = ensure_ansible(chosen.results.with_suffix(".ansible").absolute())
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        # An account holds 100 trunks, two of which are the demo's.
        files = tenant_files(sandbox, min(chosen.many, 98))
        place = Place(sandbox, files, _state(sandbox))
        results = Results(chosen.results, place)
        scripts = recorded(place, files, chosen.results.with_suffix(".scripts.json"))
        for latency in chosen.latency:
            _few(place, scripts, results, latency, chosen.few, commands)
            for number in range(chosen.rounds if latency == max(chosen.latency) else 1):
                _many(place, scripts, results, number, latency)
                screen.print(f"{latency} ms, round {number + 1}")
    if chosen.sizes:
        with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
            _sizes(sandbox, results, sorted(chosen.sizes), max(chosen.latency))
    for latency in chosen.latency:
        screen.print(_table(results, latency))
    screen.print(_growth(results, chosen.sizes, max(chosen.latency)))


def _few(
    place: Place,
    scripts: list[tuple[Script, str]],
    results: Results,
    latency: int,
    few: int,
    commands: Path | None,
) -> None:
    """Measure what is too slow for many tenants."""
    files = place.files[:few]
    works: dict[str, Callable[[], object]] = {
        "loop": partial(loop, place, files),
        "pool": partial(pool, place, files),
    }
    if commands is not None:
        works["playbook"] = partial(playbook, place, scripts[:few], commands)
    for name, work in works.items():
        place.begin(latency)
        results.measure(f"{name} {latency}", 0, len(files), work)


def _many(
    place: Place, scripts: list[tuple[Script, str]], results: Results, number: int, latency: int
) -> None:
    files = place.files
    if len(results.found.get(f"again {latency}", [])) <= number:
        # The second run needs what the first one made, also where that has been measured already.
        results.found.get(f"batch {latency}", [])[number:] = []
        place.begin(latency)
        results.measure(f"batch {latency}", number, len(files), lambda: batch(place, files))
        place.sandbox.clear_log()
        results.measure(f"again {latency}", number, len(files), lambda: batch(place, files))
        if writes := place.sandbox.writes():
            raise SystemExit(f"the second run wrote: {len(writes)} writes")
    place.begin(latency)
    results.measure(f"script {latency}", number, len(files), lambda: script(place, scripts))
    place.begin(latency)
    hasty = partial(script, place, scripts, polite=False)
    results.measure(f"impolite {latency}", number, len(files), hasty)
    distinct = [(one.distinct(), tenant_id) for one, tenant_id in scripts]
    place.begin(latency)
    results.measure(f"distinct {latency}", number, len(files), lambda: script(place, distinct))


def _sizes(sandbox: TestSandbox, results: Results, sizes: Sequence[int], latency: int) -> None:
    """Measure batches of more and more tenants; they share one trunk, since an account holds 100."""
    files = tenant_files(sandbox, max(sizes), shared_trunk="carrier")
    results.place = place = Place(sandbox, files, _state(sandbox))
    for size in sizes:
        place.begin(latency)
        made = [sys.executable, "-m", "runbook_lib", "apply", "-s", SITE, "--trunk", "carrier"]
        subprocess.run(made, check=True, **place.surroundings)
        results.measure(f"size {size} {latency}", 0, size, partial(batch, place, files[:size]))


def _state(sandbox: TestSandbox) -> dict[str, Any]:
    state = sandbox.control("GET", "state").json()
    return {vendor: state[vendor] for vendor in ("twilio", "portsip")}


def _table(results: Results, latency: int) -> Table:
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    table = Table(title=f"Seconds a tenant at {latency} ms, medians (load average {load})")
    columns = ("", "tenants", "rounds", "s", "ratio", "wanted at 150 ms", "requests", "peak MiB")
    for heading in columns:
        table.add_column(heading, justify="right" if heading not in ("", columns[5]) else "left")
    ours = results.of(f"batch {latency}")["each"]
    for name in ("batch", "again", "loop", "pool", "playbook", *FLOORS):
        if not results.has(f"{name} {latency}"):
            continue
        found = results.of(f"{name} {latency}")
        ratio = ours / found["each"] if name in FLOORS else found["each"] / ours
        table.add_row(
            *(name, f"{found['tenants']:.0f}", f"{found['rounds']:.0f}", f"{found['each']:.2f}"),
            *(f"{ratio:.2f}", WANTED.get(name, ""), f"{found['requests']:.0f}", f"{found['peak_mib']:.0f}"),
        )
    return table


def _growth(results: Results, sizes: Sequence[int], latency: int) -> Table:
    table = Table(title=f"Batches of tenants on one shared trunk at {latency} ms, one round")
    for heading in ("tenants", "s", "s a tenant", "requests", "requests a tenant", "peak MiB"):
        table.add_column(heading, justify="right")
    for size in sorted(sizes):
        found = results.of(f"size {size} {latency}")
        table.add_row(
            *(f"{size}", f"{found['seconds']:.0f}", f"{found['each']:.2f}", f"{found['requests']:.0f}"),
            *(f"{found['requests'] / size:.1f}", f"{found['peak_mib']:.0f}"),
        )
    return table


if __name__ == "__main__":
    main()
