"""Processor seconds of ``runbook`` for one tenant, its kernels included.

::

    make bench BENCH='--rounds 1'          fewer than five rounds
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.conftest import started

from .commands import Spent, run

#: The figures in the order in which they are measured: what is run, and the most seconds that it may take.
COMMANDS = {"plan": ("plan", 2), "first apply": ("apply", 12), "nothing to do": ("apply", 12)}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Processor seconds of plan and apply.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    spent: dict[str, list[Spent]] = defaultdict(list)
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        for _ in range(rounds):
            sandbox.control("POST", "reset")
            shutil.rmtree(sandbox.root / "records", ignore_errors=True)
            for name, (command, _) in COMMANDS.items():
                spent[name].append(run(sandbox, command))
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    table = Table(title=f"Processor seconds, acme, median of {rounds} rounds (load average {load})")
    table.add_column("Command")
    for heading in ("CPU s", "at most", "wall s"):
        table.add_column(heading, justify="right")
    for name, (_, most) in COMMANDS.items():
        cpu, wall = (median(getattr(one, kind) for one in spent[name]) for kind in ("cpu_s", "wall_s"))
        table.add_row(name, f"{cpu:.1f}", str(most), f"{wall:.1f}")
    Console(highlight=False, width=110).print(table)


if __name__ == "__main__":
    main()
