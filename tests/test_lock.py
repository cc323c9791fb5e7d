"""Who waits for a lock, and for how long."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbook_lib.errors import LockedError
from runbook_lib.lock import held

WAIT_S = 1.0


def _hold(folder: Path, begin: float, seconds: float) -> None:
    time.sleep(max(0.0, begin - time.time()))
    with held(folder, "trunk carrier", 60):
        time.sleep(seconds)


@contextmanager
def holding(folder: Path, *turns: float) -> Iterator[None]:
    """Processes that hold the lock one after the other, for so many seconds each."""
    start = time.time() + 0.5
    others = [
        multiprocessing.Process(target=_hold, args=(folder, start + number * 0.05, seconds))
        for number, seconds in enumerate(turns)
    ]
    for one in others:
        one.start()
    while not (folder / ".trunk-carrier.holder").exists():
        time.sleep(0.02)
    yield
    for one in others:
        one.kill()
        one.join()


def test_while_others_take_turns_one_waits_on(tmp_path: Path) -> None:
    begun = time.monotonic()
    with holding(tmp_path, 0.8, 0.8, 0.8), held(tmp_path, "trunk carrier", WAIT_S):
        assert time.monotonic() - begun > 0.5


def test_one_who_keeps_it_is_named(tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        holding(tmp_path, 60),
        pytest.raises(LockedError, match="process"),
        held(tmp_path, "trunk carrier", WAIT_S),
    ):
        pass
    assert WAIT_S < time.monotonic() - begun < 20
