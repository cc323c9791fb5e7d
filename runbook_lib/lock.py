"""One run at a time for a tenant or a shared trunk, with the name of who holds it."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import LockedError

WAIT_S = 30.0


@contextmanager
def held(folder: Path, what: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock of ``what`` (``"tenant acme"``) within ``folder`` during the ``with`` block.

    Waits ``wait_s`` seconds for another holder, then raises ``LockedError`` with the other's name
    and start time. The lock is the operating system's: a process that dies lets go of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{what.replace(' ', '-')}.lock"
    holder = path.with_suffix(".holder")
    lock = FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout:
        raise _refusal(what, holder) from None
    try:
        holder.write_text(
            json.dumps({"who": whoami(), "since": _now(), "process": os.getpid()}), encoding="utf-8"
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def user() -> str:
    """Return the operator's user name: that of the account that the process runs as.

    Not what ``USER`` and ``LOGNAME`` say, which anybody may set. An account without an entry in the
    password file, as containers have them, is ``uid 1000620000``.
    """
    account = own_account()
    return account.pw_name if account else f"uid {os.getuid()}"


def claimed_users() -> set[str]:
    """Return the user names that the environment claims: enough to refuse somebody, never to allow."""
    return {name for variable in ("LOGNAME", "USER") if (name := os.environ.get(variable))}


def own_account() -> pwd.struct_passwd | None:
    """Return the entry in the password file of the account that the process runs as, if it has one."""
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None


def whoami() -> str:
    """Return the operator as ``user@host``."""
    return f"{user()}@{socket.gethostname()}"


def _refusal(what: str, holder: Path) -> LockedError:
    try:
        other = json.loads(holder.read_text(encoding="utf-8"))
        by = f"{other['who']} since {other['since']} (process {other['process']})"
    except (OSError, ValueError, KeyError):
        by = "another run"
    return LockedError(
        f"{what} is being worked on by {by}",
        meaning="two runs at once could undo each other; nothing was written",
        next_step="wait until the other run has ended, then run this one again",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
