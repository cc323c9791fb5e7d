"""What past records cost a plan: 2,000 of them, every second one this tenant's, each with writes.

The index of ownership is in place, but for the last line, where it is made anew.

::

    make bench BENCH='--rounds 1'          fewer than five rounds
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from runbook_lib.records.ownership import OWNERSHIP
from tests.conftest import started

from .commands import Spent, run
from .records import LONGER, TENANT, many

COUNT, OTHER, REBUILT_S = 2000, "demo/other", 5.0


def main() -> None:
    """Measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description="What past records cost a plan.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    spent: dict[str, list[Spent]] = {"without": [], "among": [], "made anew": []}
    with (
        TemporaryDirectory() as one,
        TemporaryDirectory() as other,
        started(Path(one)) as without,
        started(Path(other)) as among,
    ):
        for sandbox in (without, among):
            run(sandbox, "apply")
            (sandbox.root / "records").rename(sandbox.root / "first")
            (sandbox.root / "records").mkdir()
        [first] = (among.root / "first" / TENANT).glob("2*")
        many(among.root / "records", COUNT, TENANT, OTHER, source=first)
        for sandbox in (without, among):
            run(sandbox, "plan")
        for _ in range(rounds):
            spent["without"].append(run(without, "plan"))
            spent["among"].append(run(among, "plan"))
            assert list((among.root / "records").rglob(OWNERSHIP)), "no index was in place"
            for index in (among.root / "records").rglob(OWNERSHIP):
                index.unlink()
            spent["made anew"].append(run(among, "plan"))
    wall = {name: median(each.wall_s for each in several) for name, several in spent.items()}
    cpu = {name: median(each.cpu_s for each in several) for name, several in spent.items()}
    table = Table(title=f"runbook plan, acme, median of {rounds} rounds")
    for heading in ("Past records", "wall s", "CPU s", "at most"):
        table.add_column(heading, justify="left" if heading == "Past records" else "right")
    table.add_row("none", f"{wall['without']:.2f}", f"{cpu['without']:.2f}", "")
    most = f"{wall['without'] * LONGER:.2f} ({cpu['without'] * LONGER:.2f})"
    table.add_row(f"{COUNT:,}", f"{wall['among']:.2f}", f"{cpu['among']:.2f}", most)
    longer = wall["made anew"] - wall["among"]
    table.add_row("the index made anew, beside it", f"{longer:.2f}", "", f"{REBUILT_S:.2f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
