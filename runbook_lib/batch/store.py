"""Where papermill writes an executed notebook: whole or not at all, and never over another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from papermill.iorw import LocalHandler, papermill_io

from ..errors import InputError


class AtomicHandler(LocalHandler):
    """Papermill's own writer, through a second file that then replaces the first."""

    def write(self, buf: str, path: str) -> None:
        """Write a notebook; an existing file stays if the disk is full."""
        target, content = _absolute(path), buf.encode()
        if target.exists() and target.stat().st_size == len(content) and target.read_bytes() == content:
            return  # papermill writes once more what the engine has written
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise


@contextmanager
def reserved(path: str | None) -> Iterator[Path | None]:
    """Reserve an output path for a new notebook; ``None`` if it is not a local file.

    A run that ends with an error before anything is written leaves no empty file behind.
    Raises ``InputError`` if the path exists.
    """
    handler = papermill_io.get_handler(path) if path else None
    if path is None or not isinstance(handler, LocalHandler):
        yield None
        return
    target = _absolute(path)
    try:
        target.open("x").close()
    except FileExistsError:
        raise InputError(
            [f"{path} already exists, and a record is never overwritten"],
            next_step="give another output path, or move the old file away",
        ) from None
    if not isinstance(handler, AtomicHandler):
        papermill_io.register(path, AtomicHandler())
    try:
        yield target
    except BaseException:
        if target.exists() and not target.stat().st_size:
            target.unlink()
        raise


def _absolute(path: str) -> Path:
    """A path as papermill means it: from where it was called, wherever the notebook runs."""
    local = papermill_io.get_handler("local")
    folder = local.cwd(None)  # it shows the folder only when another one is set
    local.cwd(folder)
    return Path(folder or "", path).absolute()
