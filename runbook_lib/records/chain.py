"""The chain of a records folder: one line per event, with the digest of the small file that describes it.

``chain.jsonl`` grows at its end only. Every entry contains the digest of the one before, so the
digest of the last one, the head, covers all of them: a head that is kept somewhere else shows
later whether anything up to it was changed. A digest covers the line with its line ending, so that
``tail -n 1 chain.jsonl | sha256sum`` shows the head.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import LockedError
from ..lock import file_lock
from ..plain_files import MIB, describe, descriptor, read, write_whole
from .errors import RecordError
from .result import CHECKSUMS, now

FILE_NAME = "chain.jsonl"
LOCK_NAME = ".chain.lock"
LOCK_WAIT_S = 30.0
OPENED, CLOSED = "opened", "closed"
#: Adopted from outside the register; an answer that arrived after somebody else had closed the record.
ADOPTED, CLOSED_WHILE_RUNNING = "adopted", "closed-while-running"
#: Format 2 names the file. Older lines of format 1, which have runs only, stay unchanged in front of them.
FORMAT = 2
KEYS = {
    1: ("format", "seq", "at", "event", "run", "content", "previous"),
    2: ("format", "seq", "at", "event", "run", "file", "content", "previous"),
}
#: In format 1, the file in the run's folder.
FILES = {OPENED: "opening.json", CLOSED: CHECKSUMS}
#: Files of events that are in no run's folder; no site can have this name.
EVENTS = "_events"
#: Half a million entries.
LIMIT = 256 * MIB
#: Errors of file systems that cannot synchronize a folder on request; they do so by themselves.
NO_SYNC = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EISDIR}
)
#: A file system's clock moves in steps that are shorter than this.
SETTLED_NS = 100_000_000
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
#: A line of this format that has nothing in it which JSON could write in another way. Nearly all lines are
#: such, and there can be very many of them.
_PLAIN_FORMAT = 2
_TEXT, _DIGEST = r'"([ !#-\[\]-~]*)"', r'"(sha256:[0-9a-f]{64})"'
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?\+00:00"
TIME = re.compile(_TIME, re.ASCII)
_PLAIN = re.compile(
    (
        r'\{"format": FORMAT, "seq": (0|[1-9][0-9]{0,17}), "at": "(TIME)", "event": TEXT,'
        r' "run": (?:null|TEXT), "file": TEXT, "content": DIGEST, "previous": (?:null|DIGEST)\}\n'
    )
    .replace("TEXT", _TEXT)
    .replace("DIGEST", _DIGEST)
    .replace("TIME", _TIME)
    .replace("FORMAT", f"{_PLAIN_FORMAT}"),
    re.ASCII,
)


@dataclass(frozen=True)
class Entry:
    """One line of the chain. Readers skip events that they do not know.

    Parameters
    ----------
    seq
        0 for the first entry, then counting up.
    at
        UTC time, ISO 8601.
    event
        ``"opened"`` (before a run's first write), ``"closed"`` (its record is complete), or another word.
    run
        The folder of the run that it is about, relative to the records folder: ``site/tenant/run id``;
        ``None`` for an event of no run.
    file
        The JSON file that describes the event, relative to the records folder.
    content
        Digest of that file.
    previous
        Digest of the entry before; ``None`` for the first.
    format
        The line's format, 1 or 2.
    """

    seq: int
    at: str
    event: str
    run: str | None
    file: str
    content: str
    previous: str | None
    format: int = FORMAT

    @cached_property
    def line(self) -> bytes:
        """The entry as it is in the file, with its line ending."""
        return (json.dumps({key: getattr(self, key) for key in KEYS[self.format]}) + "\n").encode()

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` of the line."""
        return digest_of(self.line)

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        """Read a line with its line ending; ``ValueError`` unless it is exactly as the runbook writes it.

        ``NewerFormatError`` for a line that a newer runbook wrote.
        """
        # Every byte becomes a character; a line with others than ASCII's does not match.
        if plain := _PLAIN.fullmatch(line.decode("latin-1")):
            seq, at, event, run, file, content, previous = plain.groups()
            if run is not None or event not in FILES:
                datetime.fromisoformat(at)
                entry = cls(int(seq), at, event, run, file, content, previous, _PLAIN_FORMAT)
                entry.__dict__["line"] = line  # what it would be written as
                return entry
        try:
            data: Any = json.loads(line)
        except RecursionError:
            raise ValueError("not an entry of a chain") from None
        found = data.get("format") if isinstance(data, dict) else None
        if type(found) is not int or found < 1:
            raise ValueError("not an entry of a chain")
        if found > FORMAT:
            raise NewerFormatError(found)
        if tuple(data) != KEYS[found]:
            raise ValueError("not an entry of a chain")
        if found == 1:
            if data["event"] not in FILES:
                raise ValueError("not an entry of a chain")
            data["file"] = f"{data['run']}/{FILES[data['event']]}"
        entry = cls(**data)
        texts = (entry.at, entry.event, entry.file, entry.content, entry.previous or "", entry.run or "")
        runs = entry.event not in FILES or isinstance(entry.run, str)
        if type(entry.seq) is not int or not runs or not all(isinstance(text, str) for text in texts):
            raise ValueError("not as the runbook writes an entry")
        digests = [entry.content, *([] if entry.previous is None else [entry.previous])]
        if entry.seq < 0 or not TIME.fullmatch(entry.at) or not all(map(DIGEST.fullmatch, digests)):
            raise ValueError("not as the runbook writes an entry")
        datetime.fromisoformat(entry.at)
        if entry.line != line:
            raise ValueError("not as the runbook writes an entry")
        return entry


#: Chains as this process has read them, each with the stamp of its file.
_known: dict[Path, tuple[tuple[int, ...], tuple[Entry, ...]]] = {}


class NewerFormatError(ValueError):
    """A line of the chain that a newer runbook wrote: it is not damaged."""

    def __init__(self, found: int) -> None:
        super().__init__(f"written by a newer runbook (format {found}; this one reads {FORMAT})")


@dataclass(frozen=True)
class Event:
    """An event that is to be added to the chain: see ``Entry`` for ``event``, ``run`` and ``file``."""

    event: str
    run: str | None
    file: str


class Chain:
    """The chain of one records folder.

    Parameters
    ----------
    records
        The records folder; made with the first entry.
    """

    def __init__(self, records: Path) -> None:
        self.records = records
        self.path = records / FILE_NAME

    def lines(self) -> list[bytes]:
        """Return the lines unchanged, each with its line ending; the last one may be incomplete.

        Raises ``OSError`` if it is not a plain file or cannot be read.
        """
        try:
            return re.findall(rb"[^\n]*\n|[^\n]+", read(self.path, LIMIT))
        except FileNotFoundError:
            return []

    def entries(self) -> list[Entry]:
        """Return the entries in the order of the file; see ``verify`` for whether they can be trusted.

        Raises ``RecordError`` for a chain that cannot be read, for a line that is not an entry, and for
        closed records without any entry: their chain was removed.
        """
        stamp = self.stamp()
        if (known := _known.get(self.path)) is not None and known[0] == stamp:
            return [*known[1]]
        found = []
        try:
            lines = self._complete_lines()
        except OSError as error:
            raise unreadable(error) from None
        if not lines and any(self.records.glob(f"*/*/*/{CHECKSUMS}")):
            raise RecordError(
                f"{self.path} is missing or empty, but there are closed records",
                meaning="it cannot be determined which records belong here; nothing was changed",
                next_step=f"restore {FILE_NAME} from a copy; if there is none, move {self.records} aside",
            )
        for number, line in enumerate(lines, start=1):
            try:
                found.append(Entry.parse(line.removesuffix(b"\n") + b"\n"))
            except NewerFormatError as error:
                raise RecordError(
                    f"{FILE_NAME} line {number} was {error}",
                    meaning="this runbook cannot continue the chain; nothing was changed",
                    next_step="upgrade the runbook on this machine",
                ) from None
            except ValueError as error:
                raise RecordError(
                    f"{FILE_NAME} line {number} cannot be read ({error})",
                    meaning="the chain of the records was damaged or changed",
                    next_step="show what is wrong with: runbook records verify",
                ) from None
        # What was written just now could be written again within the same tick of the clock of files.
        if found and time.time_ns() - stamp[2] > SETTLED_NS and stamp == self.stamp():
            _known[self.path] = (stamp, (*found,))
        return found

    @property
    def head(self) -> str | None:
        """The digest of the last entry; ``None`` without one."""
        entries = self.entries()
        return entries[-1].digest if entries else None

    def require_open(self, run: str) -> Entry:
        """Return the opening of a run that is not closed; ``RecordError`` for any other."""
        entries = self.entries()
        _require(entries, run, OPENED)
        return next(one for one in entries if one.run == run and one.event == OPENED)

    def append(self, *events: Event) -> list[Entry]:
        """Add an entry for each event, all of them or none, on disk when this returns.

        Their files must be complete. Raises ``LockedError`` when another process holds the chain for
        too long, ``RecordError`` when the chain cannot be continued: a run was already opened or closed,
        was never opened, or a file is damaged or cannot be written.
        """
        with self.held():
            entries = self.entries()
            size = sum(len(one.line) for one in entries)
            for new in events:
                if new.event in FILES:
                    _require(entries, str(new.run), OPENED if new.event == CLOSED else None)
                last = entries[-1] if entries else None
                entries.append(
                    Entry(
                        last.seq + 1 if last else 0,
                        now(),
                        new.event,
                        new.run,
                        new.file,
                        digest_of_file(self.records / new.file),
                        last.digest if last else None,
                    )
                )
            added = entries[len(entries) - len(events) :]
            self._write(b"".join(entry.line for entry in added), size)
        return added

    def record(self, event: str, run: str | None, content: Mapping[str, Any]) -> Entry:
        """Write the file of an event that belongs to no run's folder, and add its entry.

        Raises as ``append``; a file whose entry cannot be added is removed again.
        """
        with self.held():
            folder = self.records / EVENTS
            folder.mkdir(exist_ok=True)
            path = folder / f"{len(self.entries()):06}-{event}.json"
            write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
            sync_folder(folder)
            try:
                return self.append(Event(event, run, f"{EVENTS}/{path.name}"))[0]
            except BaseException:
                path.unlink()
                raise

    def stamp(self) -> tuple[int, int, int, int]:
        """Return a value that changes whenever the chain's file does, which saves reading it again."""
        try:
            status = os.lstat(self.path)
        except OSError:  # reported when it is read
            return (0, 0, 0, 0)
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from adding to the chain during the ``with`` block; blocks of one chain can be nested.

        Raises ``LockedError`` when another process holds the chain for too long, ``RecordError`` when
        something in the block, or the lock itself, cannot be written.
        """
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            with self._lock:
                yield
        except Timeout:
            raise LockedError(
                f"the chain of {self.records} is being written by another process",
                meaning="the run cannot be recorded, so it sends no more writes to Twilio or the PBX",
                next_step="run it again",
            ) from None
        except OSError as error:
            raise RecordError(
                f"the record cannot be written ({describe(error)})",
                meaning="the runbook makes no change that it cannot record",
                next_step=f"make {self.records} writable for this account, with room on the disk, and run"
                " again",
            ) from None

    @cached_property
    def _lock(self) -> FileLock:
        return file_lock(self.records / LOCK_NAME, LOCK_WAIT_S)

    def _complete_lines(self) -> list[bytes]:
        """The lines without an incomplete last one: its run did not continue after it."""
        return [line for line in self.lines() if line.endswith(b"\n") or _is_entry(line + b"\n")]

    def _write(self, line: bytes, end: int) -> None:
        new = not self.path.exists()
        file = descriptor(self.path, os.O_RDWR | os.O_CREAT, LIMIT)
        try:
            # Anything after the last complete entry is left from an interrupted write; the last
            # entry itself may lack its line ending.
            start = min(end, os.fstat(file).st_size)
            data = b"\n" * (end - start) + line
            os.ftruncate(file, start)
            try:
                if os.pwrite(file, data, start) != len(data):
                    raise OSError(errno.ENOSPC, "the disk is full", str(self.path))
                os.fsync(file)
                if new:
                    sync_folder(self.records)
            except BaseException:  # also an interruption: the entry is written whole or not at all
                os.ftruncate(file, start)
                raise
        finally:
            os.close(file)


def _require(entries: list[Entry], run: str, state: str | None) -> None:
    """Every run opens once, and closes once after that."""
    events = [one.event for one in entries if one.run == run and one.event in FILES]
    if (events[-1] if events else None) != state:
        raise RecordError(
            f"record {run} {f'is already {events[-1]}' if events else 'was never opened'}",
            meaning="a record is written once; nothing was changed",
            next_step="run again: every run makes its own record",
        )


def unreadable(error: OSError) -> RecordError:
    """Return the error for a file of the records that cannot be read, from the operating system's error."""
    return RecordError(
        describe(error),
        meaning="the records cannot be read; nothing was changed",
        next_step="restore the file from a copy, or make it readable; to list every problem:"
        " runbook records verify",
    )


def recorded(records: Path, name: str, digest: object, meaning: str) -> bytes:
    """Return a file of the records that counts only as it was recorded; ``RecordError`` if it is not.

    ``meaning`` is what it means that it was changed.
    """
    try:
        content = read(records / name)
    except OSError as error:
        raise unreadable(error) from None
    if digest_of(content) != digest:
        raise RecordError(
            f"{name} has changed since it was recorded",
            meaning=meaning,
            next_step="list every problem with: runbook records verify",
        )
    return content


def _is_entry(line: bytes) -> bool:
    try:
        Entry.parse(line)
    except ValueError:
        return False
    return True


def digest_of(content: bytes) -> str:
    """Return ``sha256:…`` of some content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path | str) -> str:
    """Return ``sha256:…`` of a plain file's content; raises as ``plain_files.descriptor``."""
    digest, file = hashlib.sha256(), descriptor(path, os.O_RDONLY)
    try:
        while part := os.read(file, MIB):
            digest.update(part)
    finally:
        os.close(file)
    return "sha256:" + digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on disk, where the file system can be asked to."""
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
