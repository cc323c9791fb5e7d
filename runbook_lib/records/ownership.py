"""What the runbook created, as shown by the journals of its runs.

Opening every journal would cost more with each run. An index shows which journals contain a vendor's id, and
only these are opened: their content decides. The index is a cache beside the runs. A journal whose file
differs from the index (size, time, inode) is read; an index that is missing or unusable is rebuilt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..keys import ResourceKey
from ..plain_files import describe, read_mapping, write_whole
from ..plan import canonical
from .errors import RecordError
from .journal import CLOCKS, FILE_NAME, is_lost, key_of, read, vendor_time

OWNERSHIP = ".ownership.json"
FORMAT = 3
#: Up to this many journals are read each time, which is cheaper than rewriting the index.
FEW = 16
#: Runs are two folders below a site's, withheld ones three.
DEPTH = 3


@dataclass(frozen=True)
class _Journal:
    """What one journal contains: the vendor's ids, and the keys of writes without an answer."""

    stamp: tuple[int, ...]
    ids: frozenset[str]
    lost: frozenset[str]


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

    def _shows(
        self, write: dict[str, Any], resource: ResourceKey, vendor_id: str, created: datetime | None
    ) -> bool:
        if write["target"] != self._target or key_of(write) != resource:
            return False
        if (write["answer"] or {}).get("result") == vendor_id:
            return True
        return is_lost(write) and created is not None and abs(created - vendor_time(write)) < CLOCKS

    def _read(self, name: str) -> list[dict[str, Any]]:
        return read(self._records / name / FILE_NAME)

    def _look(self) -> tuple[dict[str, _Journal], list[str]]:
        """The journals that exist now, newest name first, and why any of them cannot be read."""
        unreadable: list[str] = []
        stamps = dict(_journals(self._records, unreadable))
        if self._known is None:
            self._known = _of_index(read_mapping(self._records / OWNERSHIP))
        known, journals, new = self._known, dict[str, _Journal](), 0
        for name in sorted(stamps, reverse=True):
            journal = known.get(name)
            if journal is None or journal.stamp != stamps[name]:
                new += 1
                try:
                    writes = self._read(name)
                    ids = frozenset(one for write in writes for one in _ids(write))
                    lost = frozenset(canonical(key_of(write).identity) for write in writes if is_lost(write))
                    journal = _Journal(stamps[name], ids, lost)
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
) -> Iterator[tuple[str, tuple[int, ...]]]:
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
            status = os.lstat(f"{folder.path}/{FILE_NAME}")
        except FileNotFoundError:
            if depth > 1:
                yield from _journals(records, unreadable, depth - 1, inside)
        except OSError as error:
            unreadable.append(describe(error))
        else:
            yield inside, (status.st_size, status.st_mtime_ns, status.st_ino)


def _ids(write: dict[str, Any]) -> list[str]:
    """The vendor's ids that a write was answered with, or that were read of what it made."""
    return [end["result"] for end in (write["answer"], write["found"]) if end and end["result"]]


def _of_index(index: dict[str, Any]) -> dict[str, _Journal]:
    """The content of an index; empty if the runbook did not write it like this."""
    try:
        if index["format"] != FORMAT:
            return {}
        return {
            str(name): _Journal(tuple(stamp), frozenset(ids), frozenset(lost))
            for name, (stamp, ids, lost) in index["journals"].items()
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _to_index(journals: dict[str, _Journal]) -> bytes:
    told = {name: (one.stamp, sorted(one.ids), sorted(one.lost)) for name, one in journals.items()}
    return json.dumps({"format": FORMAT, "journals": told}).encode()
