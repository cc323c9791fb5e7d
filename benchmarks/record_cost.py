"""What the record costs: each section through ``runbook`` beside the same notebook through bare papermill.

Bare is papermill's own engine with a new kernel for each notebook and no run of ours around it: no
chain, no record, no HTML, no kernel started in advance. Both apply the same tenant to the same
sandbox, which is reset before each run. They take turns, and the one that begins changes with each
round, so that the machine's other work falls on both. Times are medians.

::

    make bench                      five rounds with the demo's first tenant
    make bench BENCH='--rounds 1'   fewer
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import papermill
from rich.console import Console
from rich.table import Table

from runbook_lib.batch import Observer, SectionResult, run_tenants
from runbook_lib.batch.kernels import KERNEL
from runbook_lib.guide import RUN_ORDER, SECTIONS
from tests.conftest import TestSandbox, started

SITE = "parameters/sandbox/site.yaml"
#: The rows of the table that are no section.
AROUND, WHOLE = "around", "whole run"

#: By section: seconds, bytes of the executed notebook, bytes of its other files.
Costs = dict[str, tuple[float, int, int]]


class Stopwatch(Observer):
    """The wall-clock seconds of each section, as somebody who waits for it sees them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = 0.0

    def on_section_start(self, tenant: str, section: str) -> None:
        self._began = time.perf_counter()

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self.seconds[result.section] = time.perf_counter() - self._began


def bare(sandbox: TestSandbox, tenant: str) -> Costs:
    """Run every section's notebook with papermill alone."""
    costs: Costs = {}
    with TemporaryDirectory() as folder:
        for section in RUN_ORDER:
            name = f"{SECTIONS[section].notebook}.ipynb"
            before = _size(sandbox.root / "records")
            began = time.perf_counter()
            papermill.execute_notebook(
                str(sandbox.root / "notebooks" / name),
                f"{folder}/{name}",
                parameters={"site": SITE, "tenant": tenant, "mode": "apply"},
                engine_name="nbclient",
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(sandbox.root),
            )
            seconds = time.perf_counter() - began
            # The library keeps a journal and the section's result whoever runs the notebook.
            other = _size(sandbox.root / "records") - before
            costs[section] = (seconds, Path(folder, name).stat().st_size, other)
    costs[AROUND] = (0.0, 0, 0)
    return _with_whole(costs)


def ours(sandbox: TestSandbox, tenant: str) -> Costs:
    """Run the same as ``runbook apply``, record and all."""
    watch, began = Stopwatch(), time.perf_counter()
    (result,) = run_tenants(Path(SITE), [Path(tenant)], "apply", {}, watch).tenants
    total = time.perf_counter() - began
    if result.outcome != "succeeded":
        raise SystemExit(f"the run {result.outcome}: {result.sections}")
    costs: Costs = {}
    for section in RUN_ORDER:
        stem = result.folder / SECTIONS[section].notebook
        other = [stem.with_suffix(".html"), result.folder / f"{section}.result.json"]
        size = stem.with_suffix(".ipynb").stat().st_size
        costs[section] = (watch.seconds[section], size, sum(path.stat().st_size for path in other))
    kept = sum(ipynb + other for _, ipynb, other in costs.values())
    rest = _size(sandbox.root / "records") - kept
    costs[AROUND] = (total - sum(watch.seconds.values()), 0, rest)
    return _with_whole(costs)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="What the record costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tenant", default="parameters/sandbox/acme.yaml")
    options = parser.parse_args()
    screen, kinds = Console(highlight=False, width=100), {"bare": bare, "ours": ours}
    measured: dict[str, list[Costs]] = defaultdict(list)
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        os.environ |= sandbox.environment
        for number in range(options.rounds):
            for kind in list(kinds)[:: -1 if number % 2 else 1]:
                sandbox.control("POST", "reset")
                _empty(sandbox.root / "records")
                measured[kind].append(kinds[kind](sandbox, options.tenant))
            times = ", ".join(f"{kind} {found[-1][WHOLE][0]:.1f} s" for kind, found in measured.items())
            screen.print(f"round {number + 1} of {options.rounds}: {times}; load {_load()}")
    screen.print(_table(measured))
    screen.print(
        "Seconds are medians. Other files: of bare papermill the journal and the result that the library "
        "keeps anyway; of runbook the section's HTML and result.\n"
        f"{AROUND.capitalize()}: what a run does before, between and after its sections (planning the whole "
        "tenant, chain, record, indexes), and its own files, the journal among them."
    )


def _table(measured: dict[str, list[Costs]]) -> Table:
    load = f"load average {_load()} on {os.cpu_count()} processors"
    table = Table(title=f"What the record costs ({len(measured['ours'])} rounds, {load})")
    table.add_column("Section")
    for name in ("bare s", "runbook s", "ratio", "ipynb bare", "ipynb ours", "other bare", "other ours"):
        table.add_column(name, justify="right")
    for section in (*RUN_ORDER, AROUND, WHOLE):
        seconds, sizes, others = (
            [median(one[section][index] for one in measured[kind]) for kind in ("bare", "ours")]
            for index in range(3)
        )
        table.add_row(
            section,
            *(f"{one:.2f}" for one in seconds),
            f"{seconds[1] / seconds[0]:.2f}" if seconds[0] else "",
            *(f"{one:,.0f}" for one in (*sizes, *others)),
        )
    return table


def _with_whole(costs: Costs) -> Costs:
    seconds, sizes, others = (sum(column) for column in zip(*costs.values(), strict=True))
    return costs | {WHOLE: (seconds, sizes, others)}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _load() -> str:
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


if __name__ == "__main__":
    main()
