"""What the records of a workspace say now: the runs in flight, and the latest ones that opened a record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..records import living
from ..records.chain import FILE_NAME as CHAIN
from ..records.chain import OPENED, Entry
from ..records.register import RegisterRow, register
from ..records.summary import NOT_ENDED
from ..records.verify import is_run, read_chain
from .run_shown import doing
from .runs import RUNNING, RecordedRun

#: How many of the latest runs are shown.
LATEST = 10


@dataclass(frozen=True)
class RunInFlight:
    """A run in progress: its tenant, start and operator, and what it is doing."""

    site: str
    tenant: str
    sections: str
    since: str
    operator: str
    doing: str


def runs_in_flight(records: Path) -> list[RunInFlight]:
    """Return the runs in progress at all sites, as far as this machine can see."""
    found = []
    for lock in sorted(records.glob(f"*/*/*/{living.LOCK}")):
        run = RecordedRun(lock.parent)
        status = run.status()
        if status.state == RUNNING:
            site, tenant, _ = lock.parent.relative_to(records).parts
            sections = " ".join(run.sections)
            found.append(RunInFlight(site, tenant, sections, run.started, run.operator, doing(status)))
    return found


def latest_runs(records: Path) -> list[RegisterRow]:
    """Return the latest runs that opened a record, newest first; plans open none."""
    return register(records, _latest(read_chain(records)[0]))[::-1]


def killed_runs(runs: Sequence[RegisterRow], site: str) -> list[str]:
    """Return which of these runs of a site ended without closing their record."""
    return [row.run for row in runs if row.site == site and row.state == NOT_ENDED]


def stamp(records: Path) -> tuple[int, int] | None:
    """Return what changes whenever a run opens or closes its record; ``None`` while there is no record."""
    try:
        status = os.stat(records / CHAIN)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _latest(entries: Sequence[Entry]) -> list[Entry]:
    """The entries of the latest runs only: what this costs does not grow with the number of records."""
    opened = [entry.run for entry in entries if entry.event == OPENED and is_run(entry.run)]
    latest = {*opened[-LATEST:]}
    return [entry for entry in entries if entry.run in latest]
