"""The whole sweep: ``python -m tests.faults``, or one case: ``python -m tests.faults --case NAME``.

With ``--results FOLDER`` it can be ended and goes on later: cases that survived are not tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.conftest import started
from tests.faults.cases import KINDS, Case, Request, all_cases
from tests.faults.lab import AGAIN, WELL, Lab
from tests.faults.running import COURSES, hurry


@contextmanager
def a_lab(*, to_the_end: bool) -> Iterator[Lab]:
    """A lab with a sandbox of its own, its clean run done."""
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Path(folder) / "project") as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        hurry(patch)
        lab = Lab(sandbox, Path(folder), to_the_end=to_the_end)
        try:
            lab.clean_run()
            yield lab
        finally:
            lab.close()


def main() -> int:
    choices = _arguments()
    if choices.part is not None:
        return _work(choices)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results_folder = choices.results or Path(folder)
        command = [sys.executable, "-m", "tests.faults", *sys.argv[1:], "--results", str(results_folder)]
        workers = [subprocess.Popen([*command, "--part", f"{part}"]) for part in range(choices.workers)]
        try:
            codes = [worker.wait() for worker in workers]
        except KeyboardInterrupt:
            codes = [worker.wait() for worker in workers]
        results = list({line["name"]: line for line in _lines(results_folder)}.values())
        requests = _requests(results_folder)
    _report(requests, results, time.monotonic() - began)
    survived = all(one["how"] in (WELL, AGAIN) for one in results)
    return 0 if results and survived and not any(codes) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--case", help="cases whose names begin so: acme/03/12/reset_after")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="the order of the cases")
    parser.add_argument("--to-the-end", action="store_true", help="go on to the end with every case")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="of this state of the code; to go on")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _lines(folder: Path) -> list[dict[str, Any]]:
    """What the workers have written, the oldest first; a line that was cut off is left out."""
    texts = [part.read_text() for part in sorted(folder.glob("*.jsonl"))]
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _requests(folder: Path, own: Sequence[Request] = ()) -> list[Request]:
    """The requests that make the cases, of whichever worker was the first.

    Reads go out side by side, so each clean run has them in another order: workers that each went by their
    own would share out different cases, and leave some to nobody.
    """
    shared = folder / "requests.json"
    with tempfile.NamedTemporaryFile("w", dir=folder) as file, suppress(FileExistsError):
        json.dump([vars(one) for one in own], file)
        file.flush()
        os.link(file.name, shared)
    return [Request(**one) for one in json.loads(shared.read_text())]


def _work(choices: argparse.Namespace) -> int:
    """Try one worker's share of the cases, a line of JSON for each."""
    deadline = time.monotonic() + choices.minutes * 60
    choices.results.mkdir(parents=True, exist_ok=True)
    survived = {one["name"] for one in _lines(choices.results) if one["how"] in (WELL, AGAIN)}
    path = choices.results / f"{time.time_ns()}-{choices.part}.jsonl"
    with a_lab(to_the_end=choices.to_the_end) as lab, path.open("w") as out:
        cases = _chosen(_requests(choices.results, lab.requests), choices)
        left = [case for case in cases if case.name not in survived]
        for case in left[choices.part :: choices.workers]:
            if time.monotonic() > deadline:
                break
            result = lab.try_case(case)
            print(json.dumps(vars(result)), file=out, flush=True)
            if not result.survived:
                print(f"{case.name} ({case.request.plain}): {result.how}", flush=True)
    return 0


def _chosen(requests: list[Request], choices: argparse.Namespace) -> list[Case]:
    cases = [
        one
        for one in all_cases(requests)
        if (not choices.case or one.name.startswith(choices.case))
        and (not choices.kind or one.kind in choices.kind)
    ]
    random.Random(choices.seed).shuffle(cases)
    # What may do harm comes first, for who has less time than that: writes, then signing in and out.
    return sorted(cases, key=lambda one: (not one.request.is_write, not one.request.is_session))


def _report(requests: list[Request], results: list[dict[str, Any]], seconds: float) -> None:
    columns = [(name, number) for name, course in COURSES.items() for number in course.sections]
    tried: Counter[tuple[str, ...]] = Counter()
    survived: Counter[tuple[str, ...]] = Counter()
    for one in results:
        name, section, _, kind = one["name"].split("/")
        tried[kind, name, section] += 1
        survived[kind, name, section] += one["how"] in (WELL, AGAIN)
    table = Table(title="Survived of cases, by course and section")
    table.add_column("Fault")
    for name, number in columns:
        table.add_column(f"{name}\n{number}", justify="right")
    for kind in KINDS:
        cells = [
            f"{survived[kind, *one]}/{tried[kind, *one]}" if tried[kind, *one] else "" for one in columns
        ]
        table.add_row(kind, *cells)
    Console(width=240).print(table)
    for name in COURSES:
        own = [one for one in requests if one.course == name]
        print(
            f"{name}: {len(own)} requests in a full run, {sum(one.is_write for one in own)} of them writes,"
            f" {len(all_cases(own))} cases"
        )
    stopped = Counter(one["error"] for one in results if one["how"] == AGAIN)
    print(f"stopped, and finished when run again: {sum(stopped.values())} {dict(stopped)}")
    well = sum(one["how"] in (WELL, AGAIN) for one in results)
    print(f"{len(results)} of {len(all_cases(requests))} cases swept, {well} survived, {seconds:.0f} s")
    for one in results:
        if one["how"] not in (WELL, AGAIN):
            print(f"{one['name']}: {one['how']}")


if __name__ == "__main__":
    sys.exit(main())
