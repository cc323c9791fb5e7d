"""The journal: every write to a vendor, on disk before it is sent and again after it is answered.

No write is sent, whoever calls, unless the register (the chain of the records folder) has its run as open.
One JSON line per event, appended and flushed to the disk, so that the journal of a run that died shows
which writes were in flight: entries that were sent and have no answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import RunbookError
from ..identity import plain_identities
from ..keys import ResourceKey, key_of_phrase
from ..plain_files import descriptor, read
from ..plan import Row
from .chain import CLOSED_WHILE_RUNNING, Chain
from .clocks import VendorClocks
from .errors import RecordError
from .formats import FORMAT, newer
from .result import CHECKSUMS, now

FILE_NAME = "journal.jsonl"
SENDING, ANSWERED, FOUND, UNREADABLE = "sending", "answered", "found", "unreadable"
_KEYS = {
    SENDING: frozenset(
        (
            *("at", "event", "entry", "target", "section", "resource"),
            *("vendor", "method", "path", "body", "before", "rows"),
        )
    ),
    ANSWERED: frozenset(("at", "event", "entry", "status", "request_id", "seconds", "result", "error")),
    FOUND: frozenset(("at", "event", "entry", "result", "fields")),
}


class UnjournalledWriteError(RuntimeError):
    """The runbook's own code tried to write without naming the rows of a plan. Nothing was sent."""


@dataclass(frozen=True)
class Subject:
    """What a write is for: the rows that it carries out and the resource.

    ``before`` is what the vendor reported about the resource before; ``None`` for one that is created.
    """

    section: str
    resource: ResourceKey
    rows: tuple[Row, ...]
    before: Mapping[str, Any] | None


class Journal:
    """The journal of one run; several sections of the run append to the same file.

    Parameters
    ----------
    path
        The file, in the run's folder ``site/tenant/run id`` of a records folder; made by the first write.
    redact
        Called with every event, as plain data, before it is written; returns it without secrets.
    target
        What the writes are for (sandbox or live, account, PBX): a journal of one target does not
        apply to another.
    """

    def __init__(self, path: Path, redact: Callable[[Any], Any], target: dict[str, str]) -> None:
        self.target = target
        #: The vendors' clocks, as seen in their answers; kept by the transport.
        self.clocks = VendorClocks()
        #: The most requests at once that Twilio reported for the account, whoever sent them; kept as above.
        self.most_at_once = 0
        #: Called before a section's first write, when the vendors' clocks are known; raises to refuse it.
        self.before_first_write: Callable[[], None] | None = None
        self._redact = redact
        self.move_to(path)
        self._subject: Subject | None = None
        self._stopped_by: RunbookError | None = None
        #: The latest write as ``read`` returns it; ``None`` before the first.
        self.last: dict[str, Any] | None = None
        self._process = f"{os.getpid():x}-{time.time_ns():x}"

    def move_to(self, path: Path) -> None:
        """Write from now on to the folder of another run."""
        self.path = path
        self.writes = 0
        self._begun = set[str]()
        folder = path.absolute().parent
        self._chain, self._run = Chain(folder.parents[2]), "/".join(folder.parts[-3:])
        self._open_at: tuple[int, ...] | None = None

    @contextmanager
    def writing(
        self,
        section: str,
        resource: ResourceKey,
        rows: tuple[Row, ...],
        before: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Allow writes for this purpose until the end of the ``with`` block."""
        self._subject = Subject(section, resource, rows, before)
        try:
            yield
        finally:
            self._subject = None

    @property
    def is_writing(self) -> bool:
        """Whether this is within a ``with`` block of ``writing``."""
        return self._subject is not None

    def stop(self, error: RunbookError) -> None:
        """Stop all further writes of this run, to any vendor: each raises this error instead."""
        self._stopped_by = self._stopped_by or error

    def sending(self, vendor: str, method: str, path: str, body: Any) -> str:
        """Record that a write is about to be sent; return its id. On disk when this returns.

        Raises ``UnjournalledWriteError`` outside ``writing``, what stopped the run, if it was, what
        ``before_first_write`` raises, and ``RecordError`` when the run has no open entry in the chain: it
        never opened, or was closed in the meantime.
        """
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._subject is None:
            raise UnjournalledWriteError(f"{method} {path} is not part of a plan")
        if self.before_first_write is not None and self._subject.section not in self._begun:
            self.before_first_write()
            self._begun.add(self._subject.section)
        entry = f"{self._process}-{self.writes + 1}"
        vendor_time = self.clocks.known(vendor)
        # Nobody can close the record between this check and the line.
        with self._chain.held():
            self._require_entry()
            sending = self._append(
                {
                    "event": SENDING,
                    "entry": entry,
                    **(
                        {"vendor_time": vendor_time.isoformat(timespec="milliseconds")} if vendor_time else {}
                    ),
                    "target": self.target,
                    "section": self._subject.section,
                    "resource": str(self._subject.resource),
                    "key": self._subject.resource.to_data(),
                    "vendor": vendor,
                    "method": method,
                    "path": path,
                    "body": body,
                    "before": self._subject.before,
                    "rows": [row.to_journal() for row in self._subject.rows],
                }
            )
        self.writes += 1
        self.last = {**sending, "answer": None, "found": None}
        return entry

    def answered(
        self,
        entry: str,
        *,
        status: int | None,
        request_id: str | None,
        seconds: float,
        result: str | None,
        error: str | None,
        left: bool = True,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the result of a write: HTTP status, the vendor's request id, duration, id of the resource.

        ``status`` is ``None`` when no answer came; ``error`` then says how it failed, and ``left`` whether
        the write may have been sent: without a connection it was not. ``fields`` are
        what the vendor answered about a resource that the write created, and for one that it changed
        when that happened (``date_updated``).
        """
        answer = self._told(
            {
                "event": ANSWERED,
                "entry": entry,
                "status": status,
                "request_id": request_id,
                "seconds": round(seconds, 3),
                "result": result,
                "error": error,
                "left": left,
                **({"fields": fields} if fields else {}),
            }
        )
        if self.last is not None and self.last["entry"] == entry:
            self.last["answer"] = answer

    def found(self, entry: str, result: str, fields: Mapping[str, Any]) -> None:
        """Record what was read of a resource right after the write that created it: its id and its fields.

        For a write whose answer was lost or incomplete.
        """
        self._told({"event": FOUND, "entry": entry, "result": result, "fields": fields})

    def digest(self) -> str:
        """Return ``sha256:…`` of the journal as it is now; of no bytes when nothing was written."""
        content = read(self.path) if os.path.lexists(self.path) else b""
        return "sha256:" + hashlib.sha256(content).hexdigest()

    def _require_entry(self) -> None:
        """Raise ``RecordError`` unless the run is open in the chain, which is read only when it has grown."""
        if self._open_at == (stamp := self._chain.stamp()):
            return
        try:
            self._chain.require_open(self._run)
        except RecordError as error:
            raise RecordError(
                error.what,
                meaning="no write is sent without an open entry in the register of records; nothing was sent",
                next_step=error.next_step,
            ) from None
        self._open_at = stamp

    def _told(self, event: dict[str, Any]) -> dict[str, Any]:
        """Write the result of a write: as an entry beside the record, if somebody has since closed that.

        A closed record is never changed, and a vendor's answer is never lost.
        """
        event = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
        with self._chain.held():
            if not os.path.lexists(self.path.parent / CHECKSUMS):
                return self._append(event)
            told = {
                "format": FORMAT,
                "at": now(),
                "by": plain_identities(),
                "run": self._run,
                "write": self._redact(event),
            }
            self._chain.record(CLOSED_WHILE_RUNNING, self._run, told)
        return event

    def _append(self, event: dict[str, Any]) -> dict[str, Any]:
        """Write an event with its time, and return it so."""
        event = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event, "format": FORMAT}
        data = (json.dumps(self._redact(event), ensure_ascii=False) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = descriptor(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            # A nearly full disk accepts a part and reports that with the next write: all of it, or an error.
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
        return event


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return a journal's writes, each with its result under ``answer`` (``None``: in flight).

    ``found`` is what was read of the resource that it created, if recorded (``None`` otherwise).
    An incomplete last line (the run died while writing it) is omitted. Any other line that the
    runbook did not write like this is listed as a write that cannot be read.
    Raises ``OSError`` if it is not a plain file or cannot be read.
    """
    writes: dict[str, dict[str, Any]] = {}
    # Not splitlines: what JSON leaves as it is in a text holds line ends of other kinds.
    *lines, rest = read(path).decode(errors="replace").split("\n")
    for number, line in enumerate([*lines, rest] if _event(rest) else lines, start=1):
        event = _event(line)
        if event is None or newer(event):
            writes[f"line {number}"] = _unreadable(number, newer(event or {}))
        elif event["event"] == SENDING:
            writes[event["entry"]] = {**event, "answer": None, "found": None}
        elif event["entry"] in writes:
            writes[event["entry"]]["found" if event["event"] == FOUND else "answer"] = event
    return list(writes.values())


def writes_in(folder: Path) -> list[dict[str, Any]]:
    """Return the writes of a run, as ``read_journal`` does; none for a run without a journal."""
    path = folder / FILE_NAME
    return read_journal(path) if os.path.lexists(path) else []


def is_readable(write: Mapping[str, Any]) -> bool:
    """Whether a write of a journal could be read."""
    return write["event"] == SENDING


def newer_than_this(write: Mapping[str, Any]) -> str:
    """Return that a newer runbook wrote a line that cannot be read; empty for any other write."""
    return str(write.get("newer", ""))


def _event(line: str) -> dict[str, Any] | None:
    """A line's event; ``None`` for a line that the runbook did not write like this."""
    try:
        event: Any = json.loads(line)
        if newer(event):
            return event
        kept = isinstance(event["entry"], str) and event.keys() >= _KEYS[event["event"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return event if kept else None


def _unreadable(number: int, later: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(_KEYS[SENDING], ""),
        "event": UNREADABLE,
        "entry": f"line {number}",
        "resource": f"line {number} of the journal {f'was {later}' if later else 'cannot be read'}",
        "newer": later,
        "target": None,
        "body": None,
        "before": None,
        "rows": [],
        "answer": None,
        "found": None,
    }


def key_of(write: Mapping[str, Any]) -> ResourceKey:
    """Return the key of the resource that a write of a journal is for.

    Older journals have only a phrase; their phrases are read through one table.
    """
    if (data := write.get("key")) is not None:
        return ResourceKey.from_data(data)
    return key_of_phrase(write["resource"], write["path"])


def is_lost(write: Mapping[str, Any]) -> bool:
    """Whether a write may have been sent and had no answer."""
    answer = write["answer"]
    if answer is None:
        return True
    # Older journals show by the class of the error that there was no connection.
    left = answer.get("left", not (answer["error"] or "").startswith("Connect"))
    return answer["status"] is None and left


def sent_at(write: Mapping[str, Any]) -> datetime:
    """Return when a write of a journal was about to be sent (UTC), by the clock of the sending machine."""
    return datetime.fromisoformat(write["at"])


def vendor_time(write: Mapping[str, Any]) -> datetime:
    """Return when a write was about to be sent by the vendor's clock, to compare with the vendor's times.

    Older journals have only the sending machine's time.
    """
    return datetime.fromisoformat(write.get("vendor_time") or write["at"])


#: A resource created by a write whose answer was lost is as old as the write, within the travel time.
CLOCKS = timedelta(minutes=2)
