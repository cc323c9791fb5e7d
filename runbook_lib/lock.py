"""One run at a time for a tenant or a shared trunk, with the name of the holder."""

from __future__ import annotations

import errno
import json
import os
import pwd
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import LockedError, RunbookError
from .plain_files import SMALL, NotPlainError, describe, read, require_plain, write_whole

WAIT_S = 30.0


@contextmanager
def held(
    folder: Path, what: str, wait_s: float = WAIT_S, *, waiting: Callable[[str], object] = lambda _: None
) -> Iterator[None]:
    """Hold the lock of ``what`` (``"tenant acme"``) within ``folder`` during the ``with`` block.

    Waits ``wait_s`` seconds for another holder, and for as long as the holders change (the tenants of a
    shared trunk take turns); then raises ``LockedError`` with the other's name and start time. The lock
    is the operating system's: a process that dies lets go of it. ``waiting`` is called with each holder that
    is waited for. Raises ``RunbookError`` when there is something else in the lock's place, or it may not be
    written.
    """
    path = folder / f".{what.replace(' ', '-')}.lock"
    holder = path.with_suffix(".holder")
    with ExitStack() as taken:
        try:
            if folder.is_symlink():
                raise NotPlainError(errno.ELOOP, "a link, which is not followed", str(folder))
            folder.mkdir(parents=True, exist_ok=True)
            seen, patience_s = None, 0.0
            while True:
                try:
                    taken.enter_context(file_lock(path, patience_s))
                    break
                except Timeout:
                    if seen == (seen := _holder(holder)):
                        raise
                    waiting(seen)
                    patience_s = wait_s
            name = {"who": whoami(), "since": _now(), "process": os.getpid()}
            write_whole(holder, json.dumps(name).encode())
        except Timeout:
            raise _refusal(what, holder) from None
        except OSError as error:
            raise RunbookError(
                f"{what} cannot be locked ({describe(error)})",
                meaning="without a lock, two runs could undo each other's changes; nothing was written",
                next_step="remove whatever has the lock's name, or make it writable for this account, "
                "and run again",
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                holder.unlink()


def file_lock(path: Path, wait_s: float) -> FileLock:
    """Return the lock of a file, which is created, if missing, with the mode that the umask allows.

    Raises ``OSError`` if there is something other than a plain file.
    """
    with suppress(FileNotFoundError):
        require_plain(path, SMALL)
    return FileLock(path, timeout=wait_s)


def user_name() -> str:
    """Return the operator's user name: that of the account that the process runs as.

    Not from ``USER`` and ``LOGNAME``, which anybody can set. An account without an entry in the
    password file, as in containers, is ``uid 1000620000``.
    """
    account = own_account()
    return account.pw_name if account else f"uid {os.getuid()}"


def own_account() -> pwd.struct_passwd | None:
    """Return the entry in the password file of the account that the process runs as, if it has one."""
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None


def whoami() -> str:
    """Return the operator as ``user@host``."""
    return f"{user_name()}@{socket.gethostname()}"


def _holder(holder: Path) -> str:
    """Who holds a lock, according to its file."""
    try:
        other = json.loads(read(holder, SMALL))
        return f"{other['who']} since {other['since']} (process {other['process']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def _refusal(what: str, holder: Path) -> LockedError:
    by = _holder(holder)
    return LockedError(
        f"{what} is being worked on by {by}",
        meaning="two runs at once could undo each other's changes; nothing was written",
        next_step="wait until the other run has ended, then run this one again",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
