"""A process's own folder in the temporary folder: short enough for sockets, and cleared by the next run.

What a killed process leaves behind is recognized by its lock, which the operating system
releases: process ids mean nothing across containers that share a temporary folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..errors import RunbookError

PREFIX = "runbook-"
LOCK = "lock"
#: What the path of a socket may have, in bytes (macOS; Linux: 107), and what follows the folder in it.
LONGEST_SOCKET = 103
LONGEST_NAME = len("/12345.json-ipc-5")
#: Used if the temporary folder's own path is too long.
SHORT = ("/tmp", "/var/tmp")  # noqa: S108 - each folder in it is made by mkdtemp


class Scratch:
    """A new folder that only this account may enter, held until ``close``.

    Making one also clears those of the same account whose process was killed.

    Raises ``RunbookError`` when no temporary folder can be used.
    """

    def __init__(self) -> None:
        parent = next(filter(_is_usable, _temporary_folders()), None)
        if parent is None:
            raise RunbookError(
                f"no temporary folder can be used: {', '.join(_temporary_folders())}",
                meaning="it must be writable and have a short path, because kernels have their "
                "sockets there; nothing was sent",
                next_step=f"set TMPDIR to a writable folder with a path of at most {_longest()} bytes",
            )
        _clear(Path(parent))
        self.path, self._lock = _made(parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def hand_over(self) -> None:
        """Keep the folder for the program that takes this process's place (``os.exec…``)."""
        os.set_inheritable(self._lock, True)


def _temporary_folders() -> tuple[str, ...]:
    try:
        return (tempfile.gettempdir(), *SHORT)
    except FileNotFoundError:  # none that Python could use, so TMPDIR is not among them
        return SHORT


def _longest() -> int:
    return LONGEST_SOCKET - LONGEST_NAME - len(f"/{PREFIX}12345678")


def _is_usable(folder: str) -> bool:
    return len(os.fsencode(folder)) <= _longest() and os.access(folder, os.W_OK | os.X_OK)


def _made(parent: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Another process that clears the temporary folder may be faster than the lock: then again.
        with suppress(FileNotFoundError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _holds(lock) and (folder / LOCK).exists():
                return folder, lock
            os.close(lock)


def _clear(parent: Path) -> None:
    for folder in _own(parent):
        with suppress(OSError):
            folder.rmdir()  # killed before it had a lock
            continue
        # One without a lock file is somebody else's, or from a version that had none.
        with suppress(OSError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _holds(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _own(parent: Path) -> Iterator[Path]:
    """The folders with our prefix that this account made itself."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        yield Path(entry.path)


def _holds(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
