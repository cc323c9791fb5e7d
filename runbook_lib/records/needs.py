"""What a record needs from the file system, tested in the records folder before the first write."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..plain_files import describe, write_whole
from .chain import sync_folder
from .errors import RecordError

#: Prevents git, and tools that follow its rules, from changing line endings and from storing LFS pointers.
ATTRIBUTES, AS_IT_IS = ".gitattributes", b"* -text -filter\n"


def try_out(records: Path) -> list[str]:
    """Test modes, folder synchronization and locks; return what is missing but not essential.

    Raises ``RecordError`` when a file cannot be made, or locks do not keep two processes apart.
    """
    notes = []
    try:
        records.mkdir(parents=True, exist_ok=True)
        # The name of a lock file: so a verification in the meantime, or after a crash here, ignores it.
        path = records / f".trial-{secrets.token_hex(4)}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _try_locks(path, file)
            os.fsync(file)
            try:
                path.chmod(0o444)
            except OSError as error:
                notes.append(f"files cannot be made read-only here ({os.strerror(error.errno or 0)})")
            if not _syncs(records):
                notes.append("the file system cannot flush a folder to disk on request")
        finally:
            os.close(file)
            with suppress(OSError):
                path.unlink()
    except OSError as error:
        raise RecordError(
            f"the record cannot be written ({describe(error)})",
            meaning="the runbook makes no change that it cannot record; nothing was written",
            next_step=f"make {records} writable for this account, with room on the disk, and run again",
        ) from None
    return notes


def keep_as_it_is(records: Path) -> None:
    """Leave a ``.gitattributes`` in the records folder, where there is none."""
    path = records / ATTRIBUTES
    if not os.path.lexists(path):
        write_whole(path, AS_IT_IS)


def _try_locks(path: Path, file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            what = "a file that one process has locked can be locked by another"
        except BlockingIOError:
            return
        finally:
            os.close(other)
    except OSError as error:
        what = os.strerror(error.errno or errno.ENOLCK)
    raise RecordError(
        f"the file system of {path.parent} has no locks ({what})",
        meaning="without locks, two runs could undo each other's changes, and a run in progress "
        "would go unnoticed; nothing was written",
        next_step="keep the records on a file system with locks (flock): a local disk, or NFS 4",
    )


def _syncs(folder: Path) -> bool:
    """Whether a folder can be synchronized; raises ``OSError`` for a disk that fails."""
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        os.fsync(file)
    except OSError:
        sync_folder(folder)  # raises for what the record could not do without
        return False
    finally:
        os.close(file)
    return True
