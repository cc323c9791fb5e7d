"""Which runs are in progress: a run holds a lock file in its folder from its opening to its end.

The lock is the operating system's, so a process that dies lets go of it: neither a clock nor a process id
decides. The locks of another machine can be invisible from here. What the run is doing is written into the
lock file, for whoever follows the run; nothing is decided by that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..plain_files import parse_mapping, read

LOCK = ".run.lock"
#: Room for what a run is doing: it is written in one piece, so nobody reads half of it.
_ROOM = 1024


class Phase(StrEnum):
    """What a run is doing, in this order."""

    STARTING = "starting"
    SIGNING_IN = "signing in"
    WAITING = "waiting"
    READING = "reading"
    WRITING = "writing"
    READING_BACK = "reading back"
    ENDING = "ending"


_BUSY = frozenset({errno.EAGAIN, errno.EACCES})
#: The descriptors of the runs that this process has open; closing one, or dying, lets go of its lock.
_own: dict[Path, int] = {}


def begin(folder: Path) -> None:
    """Hold the lock of a run until ``end``, or until this process ends."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    _own[folder.absolute()] = file


def end(folder: Path) -> None:
    """Release a run's lock, and delete its file."""
    with suppress(FileNotFoundError):
        (folder / LOCK).unlink()
    file = _own.pop(folder.absolute(), None)
    if file is not None:
        os.close(file)


def enter(folder: Path, phase: Phase, **details: Any) -> None:
    """Note what a run in progress is doing now; any of its processes may. No record depends on it."""
    content = json.dumps({"phase": phase, **details}).encode()
    # Without O_CREAT: only a run in progress has such a file.
    with suppress(OSError):
        file = os.open(folder / LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if len(content) <= _ROOM:
                os.pwrite(file, content.ljust(_ROOM), 0)
        finally:
            os.close(file)


def entered(folder: Path) -> dict[str, Any]:
    """Return what a run is doing (``phase`` and its details); empty as long as it has reported nothing."""
    try:
        return parse_mapping(read(folder / LOCK, _ROOM))
    except OSError:
        return {}


def going_on(runs: Path) -> Iterator[Path]:
    """Yield the folders of the runs in progress below a tenant's records folder."""
    for lock in sorted(runs.glob(f"*/{LOCK}")):
        if is_going_on(lock.parent):
            yield lock.parent


def is_going_on(folder: Path) -> bool:
    """Whether some process holds the lock of a run, as far as this machine can see."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _BUSY
    finally:
        os.close(file)
    return False
