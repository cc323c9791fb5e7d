"""What the runbook created, as shown by the journals of its runs.

Opening every journal would cost more with each run. An index shows which journals contain a vendor's id, and
only these are opened: their content decides. The index is a cache beside the runs. A journal whose file
differs from the index (size, time, inode) is read; an index that is missing or unusable is rebuilt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..keys import ResourceKey
from ..meaning import FORMS, meaning
from ..plain_files import describe, read, write_whole
from ..plan import CHANGING, Action, Left, Row, Value, canonical, field_of
from .chain import FILE_NAME as CHAIN
from .chain import LIMIT
from .disposed import DISPOSED_FILE, writes_of
from .errors import RecordError
from .journal import CLOCKS, FILE_NAME, is_lost, key_of, read_journal, vendor_time

OWNERSHIP = ".ownership.json"
FORMAT = 7
#: This many journals are read at every look rather than writing the index again.
FEW = 16
#: Runs are two folders below a site's, withheld ones three.
DEPTH = 3


@dataclass
class _Journal:
    """What one journal speaks of: the vendor's ids, and the keys of what was written without an answer."""

    stamp: list[int]
    ids: list[str]
    lost: list[str]
    #: JSON: for each setting the number of its place, when it was written, the value, whether it is certain.
    entries: bytes
    places: Sequence[str]

    @cached_property
    def left(self) -> dict[str, tuple[str, Value, bool]]:
        """What the run left of each setting: when it was written, the value, whether it surely arrived.

        The key of a resource alone says that the run removed it. Most journals are never asked. Nothing,
        if somebody has changed the index.
        """
        try:
            entries = json.loads(self.entries)
            return {self.places[place]: (at, value, is_certain) for place, at, value, is_certain in entries}
        except (ValueError, TypeError, IndexError):
            return {}


@dataclass(frozen=True)
class Remains:
    """What the runs left behind at one target, as one look found it; the newest run first."""

    _target: dict[str, str]
    _runs: tuple[tuple[str, _Journal], ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is no journal here, so that nothing can be missing of it."""
        return not self._runs

    @cached_property
    def _places(self) -> frozenset[str]:
        """All that any of the runs left, or removed; most of them share one list."""
        lists = {id(journal.places): journal.places for _, journal in self._runs}
        return frozenset(place for places in lists.values() for place in places)

    def of(self, resource: ResourceKey, row: Row) -> Left | None:
        """Return what the newest run left of a setting, by the chain's order; ``None`` for nothing.

        Of a resource that a later run removed nothing was left.
        """
        wanted = _place(self._target, resource, row.step, row.field or row.setting)
        removed = {_place(self._target, part) for part in _with_parents(resource)}
        if wanted not in self._places:
            return None
        for run, journal in self._runs:
            if wanted in journal.left:
                at, value, is_certain = journal.left[wanted]
                return Left(run, value, at) if is_certain else None
            if not removed.isdisjoint(journal.left):
                return None
        return None


class Ownership:
    """What was created at one target, according to the journals below one folder.

    Parameters
    ----------
    records
        The records of a tenant, or of a site for a shared trunk.
    target
        What the writes were for (sandbox or live, account, PBX): a journal of one target does not
        apply to another.
    """

    def __init__(self, records: Path, target: dict[str, str]) -> None:
        self._records = records
        self._order: dict[str, int] = {}
        self._target = target
        self._known: dict[str, _Journal] | None = None

    def made(self, resource: ResourceKey, vendor_id: str, created: datetime | None = None) -> bool:
        """Return whether a journal shows that the runbook created this resource.

        True when a write for the resource of this key at this target was answered with this vendor id,
        or, with ``created`` (the vendor's creation time), when such a write was sent at that time and
        had no answer. This is how a run recognizes what an interrupted run created.

        Raises ``RecordError`` when no journal shows it and one of them cannot be read: otherwise the
        runbook's own resource would count as somebody else's.
        """
        journals, unreadable = self._look()
        lost = canonical(resource.identity)
        for name, journal in journals.items():
            if vendor_id not in journal.ids and (created is None or lost not in journal.lost):
                continue
            try:
                if any(self._shows(write, resource, vendor_id, created) for write in self._read(name)):
                    return True
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                unreadable.append(self._problem(name, error))
        if unreadable:
            raise RecordError(
                f"it is unknown whether the runbook created {resource}: " + "; ".join(unreadable),
                meaning="the journals show what the runbook created, and one of them cannot be read; nothing"
                " was written for this resource",
                next_step="make the file readable for this account or restore it from a copy, then run again",
            )
        return False

    def answered_writes(self, vendor_id: str) -> Iterator[dict[str, Any]]:
        """Yield the writes on the resource with this vendor id that the vendor answered.

        Sorted by run names, and within one journal with the last write first. The names do not show
        which of two runs came first: compare the vendor's dates. Raises ``OSError`` for a journal that
        cannot be read.
        """
        journals, _ = self._look()
        for name, journal in journals.items():
            if vendor_id in journal.ids:
                for write in reversed(self._read(name)):
                    if write["target"] == self._target and vendor_id in _ids(write):
                        yield write

    def remains(self) -> Remains:
        """Look at what these runs left behind.

        Goes by the index and opens no journal that is in it: what it reports stops nothing.
        """
        journals, _ = self._look()
        runs = {name: name.rpartition("/")[2] for name in journals}
        if not self._order.keys() >= set(runs.values()):
            self._order = self._chain_order()
        newest_first = sorted(
            journals, key=lambda name: (self._order.get(runs[name], -1), name), reverse=True
        )
        return Remains(self._target, tuple((runs[name], journals[name]) for name in newest_first))

    def _chain_order(self) -> dict[str, int]:
        """Where the chain has each run for the first time."""
        for folder in (self._records, *self._records.parents[:2]):
            with suppress(OSError):
                lines = read(folder / CHAIN, LIMIT).decode(errors="replace").split('"run": "')[1:]
                found = [line.partition('"')[0].rpartition("/")[2] for line in lines]
                # The first one stays, hence from the end.
                return {run: number for number, run in reversed(list(enumerate(found)))}
        return {}

    def _shows(
        self, write: dict[str, Any], resource: ResourceKey, vendor_id: str, created: datetime | None
    ) -> bool:
        if write["target"] != self._target or key_of(write) != resource:
            return False
        if (write["answer"] or {}).get("result") == vendor_id:
            return True
        return is_lost(write) and created is not None and abs(created - vendor_time(write)) < CLOCKS

    def _read(self, name: str) -> list[dict[str, Any]]:
        """The writes of a run: of its journal, or of what stays of one that was removed by rule."""
        try:
            return read_journal(self._records / name / FILE_NAME)
        except FileNotFoundError:
            return writes_of(json.loads(read(self._records / name / DISPOSED_FILE)))

    def _look(self) -> tuple[dict[str, _Journal], list[str]]:
        """The journals that exist now, newest name first, and why any of them cannot be read."""
        unreadable: list[str] = []
        stamps = dict(_journals(self._records, unreadable))
        if self._known is None:
            self._known = _of_index(self._records / OWNERSHIP)
        known, journals, new = self._known, dict[str, _Journal](), 0
        for name in sorted(stamps, reverse=True):
            journal = known.get(name)
            if journal is None or journal.stamp != stamps[name]:
                new += 1
                try:
                    writes = self._read(name)
                    ids = sorted({one for write in writes for one in _ids(write)})
                    lost = sorted({canonical(key_of(write).identity) for write in writes if is_lost(write)})
                    left = _left(writes)
                    entries = json.dumps([(number, *found) for number, found in enumerate(left.values())])
                    journal = _Journal(stamps[name], ids, lost, entries.encode(), list(left))
                except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                    unreadable.append(self._problem(name, error))
                    continue
            journals[name] = journal
        self._known = journals
        if new > FEW:
            with suppress(OSError):  # an account that may only read does without
                write_whole(self._records / OWNERSHIP, _to_index(journals))
        return journals, unreadable

    def _problem(self, name: str, error: Exception) -> str:
        if isinstance(error, OSError):
            return describe(error)
        return f"{self._records / name / FILE_NAME}: changed: the runbook did not write it like this"


def _journals(
    records: Path, unreadable: list[str], depth: int = DEPTH, name: str = ""
) -> Iterator[tuple[str, list[int]]]:
    """Yield the folder and the stamp of every journal below a folder."""
    try:
        with os.scandir(records / name) as entries:
            folders = [one for one in entries if one.is_dir(follow_symlinks=False)]
    except FileNotFoundError:  # before the first run there is no folder
        return
    except OSError as error:
        unreadable.append(describe(error))
        return
    for folder in folders:
        inside = f"{name}/{folder.name}" if name else folder.name
        try:
            try:
                status = os.lstat(f"{folder.path}/{FILE_NAME}")
            except FileNotFoundError:
                status = os.lstat(f"{folder.path}/{DISPOSED_FILE}")
        except FileNotFoundError:
            if depth > 1:
                yield from _journals(records, unreadable, depth - 1, inside)
        except OSError as error:
            unreadable.append(describe(error))
        else:
            yield inside, [status.st_size, status.st_mtime_ns, status.st_ino]


def _ids(write: dict[str, Any]) -> list[str]:
    """The vendor's ids that a write was answered with, or that were read of what it made."""
    return [end["result"] for end in (write["answer"], write["found"]) if end and end["result"]]


def _of_index(path: Path) -> dict[str, _Journal]:
    """The content of an index; empty if the runbook did not write it like this."""
    try:
        head, _, entries = read(path).partition(b"\n")
        index = json.loads(head)
        if index["format"] != FORMAT:
            return {}
        places, journals, start = index["places"], dict[str, _Journal](), 0
        for name, (stamp, ids, lost, length) in index["journals"].items():
            journals[name] = _Journal(stamp, ids, lost, entries[start : start + length], places)
            start += length
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    is_ours = all(isinstance(one, list) for each in journals.values() for one in (each.ids, each.lost))
    return journals if is_ours else {}


def _to_index(journals: dict[str, _Journal]) -> bytes:
    """The index: a line that is read whole, then what each run left, which is hardly ever read.

    A tenant's runs write the same settings, so each place stands in it once.
    """
    places: dict[str, int] = {}
    listed, entries = dict[str, tuple[list[int], list[str], list[str], int]](), []
    for name, journal in journals.items():
        left = [(places.setdefault(place, len(places)), *left) for place, left in journal.left.items()]
        entries.append(json.dumps(left).encode())
        listed[name] = journal.stamp, journal.ids, journal.lost, len(entries[-1])
    head = json.dumps({"format": FORMAT, "places": list(places), "journals": listed}).encode()
    return b"\n".join([head, b"".join(entries)])


def _left(writes: list[dict[str, Any]]) -> dict[str, tuple[str, Value, bool]]:
    """What the writes of a journal left of each setting, the last one of each."""
    found: dict[str, tuple[str, Value, bool]] = {}
    for write in writes:
        status = (write["answer"] or {}).get("status")
        if write["target"] is None or (isinstance(status, int) and 400 <= status < 500):
            continue
        resource, certain = key_of(write), isinstance(status, int) and status < 400
        if write["method"] == "DELETE" or write["path"].endswith("/destroy"):
            found = {
                key: left for key, left in found.items() if not key.endswith(canonical(resource.identity))
            }
            found[_place(write["target"], resource)] = (write["at"], None, certain)
            continue
        found.pop(_place(write["target"], resource), None)  # it exists again
        for row in write["rows"]:
            if row["action"] in {*map(str, CHANGING), str(Action.IN_PLACE)}:
                key = _place(write["target"], resource, row["step"], field_of(row) or row["setting"])
                found[key] = (write["at"], row["desired"], certain)
    return found


def _place(target: dict[str, str], resource: ResourceKey, *setting: str) -> str:
    """The key of a resource at a target, or of a setting of it."""
    named = [setting[0], meaning("name", setting[1])] if setting else []
    return canonical([sorted(target.items()), *named]) + canonical(resource.identity)


def _with_parents(resource: ResourceKey) -> Iterator[ResourceKey]:
    yield resource
    if resource.parent is not None:
        yield from _with_parents(resource.parent)


def is_as_left(row: Row, left: Left) -> bool:
    """Whether a row's current value is what a run left, however the vendor spells it."""
    if row.action is Action.IN_PLACE and row.desired == left.value:
        return True
    if row.current == left.value:
        return True
    return any(meaning(name, row.current) == meaning(name, left.value) for name in FORMS if name != "status")
