"""Handing a copy of a record out: an entry of when, by whom, for which audience, and of the copy's digest.

Whoever has such a copy can have it looked up later. What the entry proves is that this copy was handed out
and of which record; whether that record still fits is looked at again each time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..identity import plain_identities
from ..plain_files import parse_mapping, read
from ..secret import find_secrets, scrub_data
from .chain import Chain, Entry, digest_of, digest_of_file
from .errors import RecordError
from .events import DISPOSED, HANDED_OUT
from .formats import FORMAT
from .problems import Problem
from .result import now
from .verify import verify_record


def write_copy(out: Path, content: bytes) -> None:
    """Write a copy to a place that is not taken, on disk when this returns.

    Raises ``RecordError`` when the place is taken or cannot be written, and when a known secret is in it.
    """
    if names := find_secrets(content):
        raise RecordError(
            f"the copy holds secrets: {', '.join(names)}",
            meaning="nothing was written",
            next_step="change these secrets, and do not give the record to anybody in this state",
        )
    try:
        with out.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise RecordError(
            f"{out} already exists and is not overwritten", next_step="give another name"
        ) from None
    except OSError as error:
        raise RecordError(
            f"{out} cannot be written ({error.strerror})", next_step="give a path that can be written"
        ) from None


def enter_copy(records: Path, run: str, out: Path, audience: str) -> Entry:
    """Enter that a copy was handed out; a copy whose entry cannot be added is removed again."""
    told = {
        "format": FORMAT,
        "at": now(),
        "by": plain_identities(),
        "run": run,
        "audience": audience,
        "file": out.name,
        "digest": digest_of_file(out),
    }
    try:
        return Chain(records).record(HANDED_OUT, run, scrub_data(told))
    except BaseException:
        out.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Handed:
    """A copy that was handed out: its entry, what the entry's file says, and what is wrong with its record.

    ``disposed`` says that the record was removed by rule since.
    """

    entry: Entry
    told: dict[str, Any]
    problems: tuple[Problem, ...]
    disposed: bool = False


def handed_out(records: Path, entries: Sequence[Entry], copy: Path) -> list[Handed]:
    """Return the times at which a file was handed out; none for any other file, or for a changed one.

    Raises ``OSError`` for a file that cannot be read.
    """
    digest, found = digest_of_file(copy), []
    for entry in entries:
        if entry.event != HANDED_OUT:
            continue
        try:
            content = read(records / entry.file)
        except OSError:
            continue  # records verify names it
        told = parse_mapping(content)
        # An entry's file that was changed proves nothing.
        if digest_of(content) == entry.content and told.get("digest") == digest:
            own = [one for one in entries if one.run == entry.run]
            disposed = any(one.event == DISPOSED for one in own)
            found.append(Handed(entry, told, tuple(verify_record(records, str(entry.run), own)), disposed))
    return found
