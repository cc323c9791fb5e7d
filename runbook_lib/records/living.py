"""Which runs are going on: a run holds a lock file in its folder from its opening to its end.

It is a lock of the operating system, so a process that dies releases it: neither a clock nor a process id
decides. The locks of another machine may be invisible here.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

LOCK = ".run.lock"
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
    """Let go of a run's lock, and take its file away."""
    with suppress(FileNotFoundError):
        (folder / LOCK).unlink()
    file = _own.pop(folder.absolute(), None)
    if file is not None:
        os.close(file)


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
