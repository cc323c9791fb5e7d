"""Which runs are in progress: a run holds a lock file in its folder from its opening to its end.

The lock is the operating system's, so a process that dies lets go of it: neither a clock nor a process id
decides. The locks of another machine can be invisible from here. What the run is doing, and what it waits
for, is written into the lock file, for whoever follows the run; nothing is decided by that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..plain_files import parse_mapping, read
from .clocks import steady
from .waits import Wait

LOCK = ".run.lock"
#: Nobody who only looks at a run holds its lock for longer.
LONGEST_LOOK_S = 2.0
#: The places in the file: where each begins, and its room. What belongs to one is written in one piece, so
#: nobody reads half of it; what each process waits for has a separate place.
_PHASE = (0, 256)
_ROOM = 1024
#: Bytes of a reason to wait that have room there.
_LONGEST_WHY = 200


class Process(StrEnum):
    """The processes of a run that may wait at the same time: its runner, and that of its present section."""

    RUNNER = "runner"
    SECTION = "section"


_WAITS = {Process.RUNNER: (256, 384), Process.SECTION: (640, 384)}
#: No time of a wait is later: the year 5138.
_FAR = 1e11


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
    """Hold the lock of a run until ``end``, or until this process ends; ``OSError`` if another has it."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    since = steady()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            # Whoever looks whether the run is in progress holds it for a moment.
            if error.errno not in _BUSY or steady() - since > LONGEST_LOOK_S:
                os.close(file)
                raise
            time.sleep(0.01)
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
    _put(folder, _PHASE, {"phase": phase, **details})


def entered(folder: Path) -> dict[str, Any]:
    """Return what a run is doing (``phase`` and its details); empty as long as it has reported nothing."""
    return _get(folder, _PHASE)


def report_wait(folder: Path, process: Process, wait: Wait | None) -> None:
    """Say what a process of a run waits for now; ``None`` when it goes on. As ``enter``."""
    if wait is not None:
        why = wait.why.encode(errors="replace")[:_LONGEST_WHY].decode(errors="ignore")
        wait = replace(wait, why=why)
    _put(folder, _WAITS[process], None if wait is None else asdict(wait))


def reported_waits(folder: Path) -> list[Wait]:
    """Return what the processes of a run wait for, as they say."""
    return [found for place in _WAITS.values() if (found := _wait_of(_get(folder, place))) is not None]


def _put(folder: Path, place: tuple[int, int], content: Mapping[str, Any] | None) -> None:
    begin, room = place
    data = b"" if content is None else json.dumps(content, ensure_ascii=False).encode(errors="replace")
    # Without O_CREAT: only a run in progress has such a file.
    with suppress(OSError):
        file = os.open(folder / LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.pwrite(file, (data if len(data) <= room else b"").ljust(room), begin)
        finally:
            os.close(file)


def _get(folder: Path, place: tuple[int, int]) -> dict[str, Any]:
    begin, room = place
    try:
        return parse_mapping(read(folder / LOCK, _ROOM)[begin : begin + room])
    except OSError:
        return {}


def _wait_of(content: Mapping[str, Any]) -> Wait | None:
    """A wait as the file has it; ``None`` for none, and for anything else that somebody wrote there."""
    try:
        found = Wait(**content)
        times = [time for time in (found.since, found.until, found.last) if time is not None]
        is_sound = isinstance(found.why, str) and all(0 <= time < _FAR for time in times)
        return found if is_sound and isinstance(found.attempt + found.attempts, int) else None
    except TypeError:
        return None


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
