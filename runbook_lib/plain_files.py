"""Files that others may have replaced: opened only if they are plain files of a reasonable size.

Anyone who can write to the records folder can put a FIFO there, a link to ``/dev/zero``, or a gigabyte.
So every file below it is opened here: nothing is opened before it is known to be a plain file, no link is
followed, and no more is read than a file of its kind can have. Problems are an ``OSError`` with the
file's name.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

MIB = 1 << 20
#: The most that a file of a record can have: notebooks and journals have some megabytes.
LIMIT = 64 * MIB
#: The most that a lock, the name of its holder, a head or a signature can have.
SMALL = 1 << 16


class NotPlainError(OSError):
    """It is not a plain file, or larger than a file of its kind can be."""


def require_plain(path: Path | str, limit: int = LIMIT) -> None:
    """Raise ``NotPlainError`` unless a path is a plain file of at most ``limit`` bytes; opens nothing.

    Raises ``OSError`` if it does not exist or cannot be examined.
    """
    _require(path, os.lstat(path), limit)


def descriptor(path: Path | str, flags: int, limit: int = LIMIT) -> int:
    """Open a plain file; with ``O_CREAT``, create a missing one with the mode that the umask allows.

    Raises ``NotPlainError`` or another ``OSError``.
    """
    try:
        require_plain(path, limit)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    # It may have been replaced in the meantime: the open file is checked too, and nothing blocks.
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _require(path, os.fstat(opened), limit)
    except OSError:
        os.close(opened)
        raise
    return opened


def shared_descriptor(path: Path) -> int:
    """Open a file for reading and writing that all accounts may use; made where there is none."""
    with suppress(FileNotFoundError):
        try:
            return descriptor(path, os.O_RDWR, SMALL)
        except PermissionError:
            return descriptor(path, os.O_RDONLY, SMALL)
    # Only here: for another account's file in a folder of all, the system refuses O_CREAT.
    made = descriptor(path, os.O_RDWR | os.O_CREAT, SMALL)
    with suppress(OSError):
        os.fchmod(made, 0o666)
    return made


@contextmanager
def opened(path: Path | str, limit: int = LIMIT) -> Iterator[BufferedReader]:
    """Open a plain file for reading; raises as ``descriptor``."""
    with open(descriptor(path, os.O_RDONLY, limit), "rb") as file:
        yield file


def read(path: Path | str, limit: int = LIMIT) -> bytes:
    """Return the content of a plain file; raises as ``descriptor``."""
    with opened(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty when there is none, or it cannot be read as one."""
    try:
        return parse_mapping(read(path))
    except OSError:
        return {}


def parse_mapping(content: bytes) -> dict[str, Any]:
    """Return a JSON object; empty for anything else."""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file, complete or not at all, on disk when this returns; replaces any existing one.

    With ``mode`` it has these permissions. Raises ``OSError``, also if a folder has its name.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = (
                str(path),
                None,
            )  # the temporary name means nothing to the reader
        raise


def describe(error: OSError) -> str:
    """Return what is wrong with which file, and its owner if that is the reason."""
    what = error.strerror or type(error).__name__
    if not isinstance(error.filename, str):
        return what
    if isinstance(error, PermissionError):
        what += _owner(Path(error.filename))
    return f"{error.filename}: {what}"


def _require(path: Path | str, status: os.stat_result, limit: int) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise NotPlainError(errno.ELOOP, "not a file: a link, which is not followed", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise NotPlainError(errno.EINVAL, "not a file", str(path))
    if status.st_size > limit:
        raise NotPlainError(errno.EFBIG, f"larger than {_size(limit)}", str(path))


def _size(limit: int) -> str:
    return f"{limit // MIB} MiB" if limit >= MIB else f"{limit >> 10} KiB"


def _owner(path: Path) -> str:
    """The owner and the mode of what cannot be opened: the file, or the nearest folder around it."""
    for place in (path, *path.parents):
        try:
            status = os.lstat(place)
        except OSError:
            continue
        try:
            owner = pwd.getpwuid(status.st_uid).pw_name
        except KeyError:
            owner = f"uid {status.st_uid}"
        of = "" if place == path else f" of {place}"
        return f"; owner{of} {owner}, mode {stat.S_IMODE(status.st_mode):04o}"
    return ""
