"""A sample of the tests that take long: which ones, the seed decides.

A function is long if one of its cases takes ``LONG_S`` seconds, or all of them together ``MANY_S``; every
other one is short. ``--sample A:B`` runs every short test and, of the cases of the long ones in the seed's
order, those between A and B seconds of the whole (``--long-only``: no short ones). One case of each
function whose cases take less than ``LONG_S`` on average comes first in that order, so that no feature goes
without a test. How long a case takes on average, in seconds of a quiet processor, is in ``durations.json``,
by function; ``--durations-file`` writes it again after a full run. A function that is not in it counts as
short.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("durations.json")
#: Seconds from which on a case makes its function long.
LONG_S = 1.5
#: Seconds from which on the cases of a function do so together.
MANY_S = 3.0
#: What a test takes that is not in the file.
SHORT_S = 0.05
#: Sampled only if a case takes ``LONG_S``, and then always among the long ones: a secret that leaves, a call
#: that is cut off, a record that was changed.
ALWAYS = ("tests/secrets/test_no_secret", "tests/sections/test_safety", "tests/records/test_tampering")


def add_options(parser: pytest.Parser) -> None:
    """The command line's options."""
    group = parser.getgroup("samples")
    group.addoption("--sample", metavar="A:B", help="of the long tests only these seconds, by the seed")
    group.addoption("--long-only", action="store_true", help="no short tests")
    group.addoption("--durations-file", action="store_true", help="measure, and write tests/durations.json")


def choose(config: pytest.Config, items: list[pytest.Item], seed: int) -> None:
    """Leave the sample in ``items``, in their order."""
    if not config.option.sample:
        return
    first, last = map(float, config.option.sample.split(":"))
    seconds = json.loads(FILE.read_text(encoding="utf-8"))
    long = [item for item in items if _function(item.nodeid) in seconds]
    random.Random(seed).shuffle(long)
    one_case = {function: item for item in long if seconds[function := _function(item.nodeid)] < LONG_S}
    long.sort(key=lambda item: one_case.get(_function(item.nodeid)) is not item)
    kept, position = set[str](), 0.0
    for item in long:
        if first <= position < last:
            kept.add(item.nodeid)
        position += seconds[_function(item.nodeid)]
    if config.option.long_only:
        kept |= {item.nodeid for item in long if item.nodeid.startswith(ALWAYS)}
    else:
        kept |= {item.nodeid for item in items if _function(item.nodeid) not in seconds}
    left_out = [item for item in items if item.nodeid not in kept]
    items[:] = [item for item in items if item.nodeid in kept]
    config.hook.pytest_deselected(items=left_out)


def in_order(items: list[pytest.Item]) -> None:
    """Sort the items by file, those that take longest first: so no worker still has a long one at the end."""
    seconds = json.loads(FILE.read_text(encoding="utf-8"))
    of_file: dict[Path, float] = defaultdict(float)
    for item in items:
        of_file[item.path] += seconds.get(_function(item.nodeid), SHORT_S)
    items.sort(key=lambda item: (-of_file[item.path], item.path))


class Stopwatch:
    """Measures every test, and writes the file in the end; the tests have the machine for themselves."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[_function(report.nodeid)][report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        mean = {
            function: round(sum(cases.values()) / len(cases), 2)
            for function, cases in sorted(self._seconds.items())
            if max(cases.values()) >= LONG_S
            or (sum(cases.values()) >= MANY_S and not function.startswith(ALWAYS))
        }
        FILE.write_text(json.dumps(mean, indent=1) + "\n", encoding="utf-8")


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]
