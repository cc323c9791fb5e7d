"""What another person should review: emergency runs until they are reviewed, weaker policies.

Nobody approved an emergency run in advance; it is listed until another person has reviewed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..identity import persons, plain_identities
from ..plain_files import parse_mapping, read_mapping
from ..secret import scrub_data
from .chain import CLOSED, OPENED, Chain, Entry, recorded
from .chain_reading import events_of
from .disposed import refuse_removed
from .errors import RecordError
from .events import REVOKED
from .policy import POLICY
from .result import now

REVIEWED = "reviewed"


def unreviewed(entries: Sequence[Entry], openings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the emergency runs that nobody has reviewed yet, in the chain's order.

    ``openings`` are those that the caller has read, by run.
    """
    reviewed = {entry.run for entry in entries if entry.event == REVIEWED}
    opened = [str(entry.run) for entry in entries if entry.event == OPENED and entry.run not in reviewed]
    return [run for run in opened if openings.get(run, {}).get("emergency")]


def describe_events(records: Path, entries: Sequence[Entry]) -> list[str]:
    """Describe changes to policies and approvals, which no record of a run contains."""
    lines = []
    for entry in entries:
        if entry.event in (POLICY, REVOKED):
            told = read_mapping(records / entry.file)
            by, less = told.get("by"), told.get("weaker")
            who = by[0].get("name") if isinstance(by, list) and by and isinstance(by[0], dict) else "unknown"
            what = "approval revoked" if entry.event == REVOKED else "policy changed"
            weaker = f" (weaker: {'; '.join(map(str, less))})" if isinstance(less, list) and less else ""
            lines.append(f"{what} {entry.at} by {who}: {told.get('reason')}{weaker}")
    return lines


def review_run(records: Path, run: str, remark: str) -> Entry:
    """Enter that this process's operator has reviewed an emergency run.

    Raises ``InputError`` for a run that is not one, is open, or was reviewed already, ``RecordError`` when
    the operator, by any name, is the person who ran it.
    """
    chain = Chain(records)
    with chain.held():
        entries = chain.entries()
        events = events_of(entries, run)
        refuse_removed(entries, run)
        opened = events[OPENED]
        meaning = "it no longer shows who ran it; nothing was entered"
        opening = parse_mapping(recorded(records, opened.file, opened.content, meaning))
        if not opening.get("emergency"):
            raise InputError([f"{run} was not an emergency run"])
        if CLOSED not in events:
            raise InputError([f"{run} is not closed yet"])
        if REVIEWED in events:
            raise InputError([f"{run} has already been reviewed"])
        by = plain_identities()
        if same := persons(by) & persons(opening.get("by") or []):
            raise RecordError(
                f"{', '.join(sorted(same))} ran {run}",
                meaning="only another person can review it; nothing was entered",
                next_step="have another person review it, from their own account",
            )
        told = {"format": 1, "at": now(), "by": by, "run": run, "remark": remark}
        return chain.record(REVIEWED, run, scrub_data(told))
