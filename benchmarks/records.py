"""What the register costs when there are many records: ``list``, ``show``, ``verify``, and a run among them.

The records are copies of a real one, each with digests and entries of its own, so that they verify. Each
command is a process of its own, as an operator starts it. ``list`` is measured twice: what the first one has
read, the second one remembers.

::

    make bench                                              5,000 records
    .venv/bin/python -m benchmarks.records --records 500
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from runbook_lib.records.chain import FILE_NAME, Entry, digest_of
from tests.conftest import CHECKOUT, TestSandbox, started

OLD = CHECKOUT / "tests" / "records" / "old" / "acme_and_globex.tar.xz"
TENANT = "demo/acme"
#: In seconds; the last one is how much longer a run with nothing to do may take than without records.
LIMITS = {"list": 1.0, "show": 0.5, "verify": 10.0, "verify --since": 2.0}
LONGER = 1.10


def many(records: Path, count: int, *tenants: str, source: Path | None = None) -> str:
    """Fill a records folder with copies of a record; return the head of the one before the last ten.

    The tenants take turns. Without ``source``, the folder of a record, it is one of the tests.

    Notebooks and pages are the same in each, as links to one file: they are hashed as any, and take no room.
    """
    with TemporaryDirectory() as unpacked:
        with tarfile.open(OLD) as archive:
            archive.extractall(unpacked, filter="data")
        [kept] = Path(unpacked).glob("records/demo/acme/2*")
        source = source or kept
        files = {path.name: path.read_bytes() for path in source.iterdir() if path.name != "checksums.json"}
    pages = {
        name: digest_of(content) for name, content in files.items() if name.endswith((".html", ".ipynb"))
    }
    old, lines, previous, since = f"demo/acme/{source.name}", list[bytes](), None, ""
    first: Path | None = None
    for number in range(count):
        run = f"{tenants[number % len(tenants)]}/20260101T{number:06}Z-{number:06x}"
        folder = records / run
        folder.mkdir(parents=True)
        own = {
            name: content if name in pages else content.replace(old.encode(), run.encode())
            for name, content in files.items()
        }
        listed = {name: pages.get(name) or digest_of(content) for name, content in sorted(own.items())}
        own["checksums.json"] = json.dumps({"format": 1, "run": run, "files": listed}).encode()
        for name, content in own.items():
            if first is not None and name in pages:
                os.link(first / name, folder / name)
            else:
                (folder / name).write_bytes(content)
        first = first or folder
        for event, name in (("opened", "opening.json"), ("closed", "checksums.json")):
            entry = Entry(
                len(lines),
                "2026-01-01T00:00:00+00:00",
                event,
                run,
                f"{run}/{name}",
                digest_of(own[name]),
                previous,
            )
            lines.append(entry.line)
            previous = entry.digest
        if number == count - 11:
            since = entry.digest
    (records / FILE_NAME).write_bytes(b"".join(lines))
    return since


def seconds(command: list[str], environment: dict[str, str], folder: Path) -> tuple[float, float]:
    """How long a command takes, on the clock and of the processors' time; it has to end well."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[3:])}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(records: Path, since: str, cache: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """Measure each command on its own."""
    runbook = [sys.executable, "-m", "runbook_lib", "records"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_CACHE_HOME": str(cache)}
    place = ["--records", str(records)]
    run = sorted((records / TENANT).iterdir())[-1].name
    with TemporaryDirectory() as empty:
        nothing = [*runbook, "list", "--records", empty]
        yield "list, without records", seconds(nothing, environment, CHECKOUT)
    for name, arguments in (
        ("list, for the first time", ["list"]),
        ("list", ["list"]),
        ("list --exceptions", ["list", "--exceptions"]),
        ("show", ["show", run]),
        ("verify", ["verify"]),
        ("verify --since", ["verify", "--since", since]),
    ):
        yield name, seconds([*runbook, *arguments, *place], environment, CHECKOUT)


def idle_run(sandbox: TestSandbox) -> tuple[float, float]:
    """How long a run takes that has nothing to do."""
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "runbook_lib", "apply", "-s", "parameters/sandbox/site.yaml"]
    return seconds([*command, "parameters/sandbox/acme.yaml"], environment, sandbox.root)


def main() -> None:
    """Measure, and print each figure beside what was promised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--commands-only", action="store_true")
    given = parser.parse_args()
    table = Table(title=f"{given.records} records")
    for column in ("what", "seconds", "of the processors", "promised"):
        table.add_column(column)

    def add(name: str, took: tuple[float, float], promised: object = "") -> None:
        table.add_row(name, *(f"{one:.2f}" for one in took), str(promised))

    with TemporaryDirectory() as place:
        folder = Path(place)
        records = folder / "records"
        since = many(records, given.records, TENANT)
        for name, took in commands(records, since, folder / "cache"):
            add(name, took, LIMITS.get(name, ""))
    if not given.commands_only:
        with TemporaryDirectory() as place, started(Path(place) / "project") as sandbox:
            idle_run(sandbox)  # makes what there is to make
            without = min(idle_run(sandbox) for _ in range(given.rounds))
            (sandbox.root / "records" / FILE_NAME).unlink()
            shutil.rmtree(sandbox.root / "records" / TENANT)
            many(sandbox.root / "records", given.records, "demo/other")
            idle_run(sandbox)
            idle = min(idle_run(sandbox) for _ in range(given.rounds))
            add("a run with nothing to do", idle, f"{without[0] * LONGER:.2f} ({without[1] * LONGER:.2f})")
            add("the same without records", without)
    Console().print(table)


if __name__ == "__main__":
    main()
