"""The memory of everything that was started from here, sampled each second."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

EVERY_S = 1.0


class Peak:
    """The peak of the proportional set sizes of all processes below this one, except some.

    Parameters
    ----------
    without
        Process ids that do not count, nor do their children.
    """

    def __init__(self, without: frozenset[int]) -> None:
        self._without = without
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.mib = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(EVERY_S):
            found = sum(_proportional_kib(pid) for pid in _below(os.getpid(), self._without))
            self.mib = max(self.mib, found / 1024)


def _below(pid: int, without: frozenset[int]) -> Iterator[int]:
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                if child not in without:
                    yield child
                    yield from _below(child, without)


def _proportional_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
