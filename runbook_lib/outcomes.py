"""How a run, or a section of one, ends: in records, and as the command's exit status."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

#: ``RUNNING`` and ``UNKNOWN`` are what is not over, and what was killed before it could say how it ended.
RUNNING, UNKNOWN, SUCCEEDED, FAILED, INTERRUPTED = "running", "unknown", "succeeded", "failed", "interrupted"


class ExitStatus(IntEnum):
    """What a command ends with."""

    FINE = 0
    FAILED = 1
    CHANGES = 2  # ``plan`` and ``drift`` only: there are some
    WRONG_INPUT = 3
    INTERRUPTED = 130  # typer's, for a command that Ctrl-C ended; it becomes ``FAILED``


_GROWING = (ExitStatus.FINE, ExitStatus.CHANGES, ExitStatus.FAILED, ExitStatus.WRONG_INPUT)


def worst(statuses: Iterable[int]) -> int:
    """Return the status of a command that did several things: wrong input, else failed, else changes."""
    return max(statuses, key=lambda status: _GROWING.index(ExitStatus(status)), default=ExitStatus.FINE)
