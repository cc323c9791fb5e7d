"""What the records of a workspace say now: runs that have not closed their record, and the latest changes.

All of it starts from the chain, which is read again only when it has changed: what a look costs does not grow
with the number of records, and no run can be missed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..guide import SECTIONS
from ..plain_files import parse_mapping, read, read_mapping
from ..records import living
from ..records.chain import OPENED, Chain, Entry, digest_of
from ..records.chain_reading import by_event, is_run, open_runs, read_chain
from ..records.first_block import mapping
from ..records.register import RegisterRow, register
from ..records.run_folder import OPENING, OfRun
from ..records.verify import READING
from .run_shown import doing
from .runs import RUNNING, RecordedRun

#: How many of the latest runs are shown.
LATEST = 10


@dataclass(frozen=True)
class UnclosedRun(OfRun):
    """A run that opened its record and has not closed it: whose, since when, by whom, where.

    ``doing`` says what it is doing, and is empty unless it is going on as far as this machine can see.
    """

    run: str
    target: str
    sections: str
    since: str
    operator: str
    host: str
    doing: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it belongs to another machine, so that this one cannot see whether it still runs."""
        return not self.doing and self.host != socket.gethostname()

    @property
    def was_killed(self) -> bool:
        """Whether its process, one of this machine, has ended."""
        return not self.doing and not self.is_elsewhere


class WorkspaceRuns:
    """The runs of one records folder; several threads can look at the same time.

    Parameters
    ----------
    records
        The records folder; it need not exist.
    """

    def __init__(self, records: Path) -> None:
        self._records = records
        self._chain = Chain(records)
        self._stamp: object = None
        self._turn = threading.RLock()
        self._opened: dict[str, list[Entry]] = {}
        self._open: list[str] = []
        #: Runs that were seen going on: they are looked at until they end, even if somebody else has
        #: closed their record in the meantime.
        self._seen: set[str] = set()
        self._looked_only: dict[str, bool] = {}
        self._openings: dict[str, Mapping[str, Any]] = {}

    def renew(self) -> object:
        """Read the chain if it has changed since the last time; return a value that changes with it."""
        with self._turn:
            stamp = self._chain.stamp()
            if stamp == self._stamp:
                return stamp
            entries = read_chain(self._records)[0]
            opened = {entry.run for entry in entries if entry.event == OPENED and is_run(entry.run)}
            self._opened = {}
            for entry in entries:
                if is_run(entry.run) and entry.run in opened:
                    self._opened.setdefault(entry.run, []).append(entry)
            self._open = [run for run in open_runs(entries) if run in opened]
            self._openings = {run: found for run, found in self._openings.items() if run in self._opened}
            # Only now: a reading that failed is tried again.
            self._stamp = stamp
            return stamp

    def unclosed(self) -> list[UnclosedRun]:
        """Return the runs that have not closed their record, and those still going on, oldest first."""
        with self._turn:
            self.renew()
            found = [self._unclosed(run) for run in dict.fromkeys((*self._open, *sorted(self._seen)))]
            self._seen = {run.run for run in found if run.doing}
            return [run for run in found if run.doing or run.run in self._open]

    def latest(self) -> list[RegisterRow]:
        """Return the latest runs that were to change something, newest first."""
        with self._turn:
            self.renew()
            changes: list[str] = []
            for run in reversed(self._opened):
                if len(changes) == LATEST:
                    break
                if not self._is_looking(run):
                    changes.append(run)
            return register(self._records, [entry for run in changes for entry in self._opened[run]])

    def _unclosed(self, run: str) -> UnclosedRun:
        recorded = RecordedRun(self._records / run)
        opening = self._openings.get(run)
        if opening is None:
            opening = read_mapping(recorded.folder / OPENING)
            if opening:
                self._openings[run] = opening
        order, process = opening.get("order"), mapping(opening.get("process"))
        sections = [number for number in SECTIONS if number in order] if isinstance(order, list) else []
        return UnclosedRun(
            run,
            str(mapping(opening.get("target")).get("target") or "unknown"),
            " ".join(sections),
            str(opening.get("started") or self._opened[run][0].at),
            str(opening.get("operator") or "somebody"),
            str(process.get("host") or ""),
            _doing(recorded) if living.is_going_on(recorded.folder) else "",
        )

    def _is_looking(self, run: str) -> bool:
        """Whether a run was not to change anything, by the opening that the chain has."""
        if run not in self._looked_only:
            digest = by_event(self._opened[run]).get(run, {}).get(OPENED)
            try:
                content = read(self._records / run / OPENING)
            except OSError:
                return False
            # One that was changed afterwards is shown, with what is wrong with it.
            if digest_of(content) != digest:
                return False
            self._looked_only[run] = parse_mapping(content).get("mode") in READING
        return self._looked_only[run]


def killed(runs: Sequence[UnclosedRun], site: str) -> list[UnclosedRun]:
    """Return which of these runs of a site ended on this machine without closing their record."""
    return [run for run in runs if run.site == site and run.was_killed]


def _doing(recorded: RecordedRun) -> str:
    """What a run is doing that was going on just now; empty if it has ended in the meantime."""
    try:
        status = recorded.status()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its record cannot be read ({type(error).__name__})"
    return doing(status) if status.state == RUNNING else ""
