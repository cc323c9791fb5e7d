"""Runs of an emergency, which nobody approved before: counted until another person has reviewed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..identity import persons, plain_identities
from ..plain_files import read, read_mapping
from ..secret import scrub_data
from .chain import CLOSED, OPENED, Chain, Entry, digest_of, unreadable
from .errors import RecordError
from .result import now

REVIEWED = "reviewed"


def unreviewed(records: Path, entries: Sequence[Entry]) -> list[str]:
    """Return the runs of an emergency that nobody has reviewed yet, in the chain's order."""
    reviewed = {entry.run for entry in entries if entry.event == REVIEWED}
    opened = [entry for entry in entries if entry.event == OPENED and entry.run not in reviewed]
    return [str(entry.run) for entry in opened if read_mapping(records / entry.file).get("emergency")]


def review(records: Path, run: str, remark: str) -> Entry:
    """Enter that this process's operator has reviewed a run of an emergency.

    Raises ``InputError`` for a run that is none, is open, or was reviewed before, ``RecordError`` when
    the operator is, by any name, who ran it.
    """
    chain = Chain(records)
    with chain.held():
        entries = chain.entries()
        events = {entry.event: entry for entry in entries if entry.run == run}
        opening = _opening(records, events[OPENED])
        if not opening.get("emergency"):
            raise InputError([f"{run} was no emergency"])
        if CLOSED not in events:
            raise InputError([f"{run} is not closed yet"])
        if REVIEWED in events:
            raise InputError([f"{run} is reviewed already"])
        by = plain_identities()
        if same := persons(by) & persons(opening.get("by") or []):
            raise RecordError(
                f"{', '.join(sorted(same))} ran {run}",
                meaning="a review is another person's; nothing was entered",
                next_step="have another person review it, on an account of their own",
            )
        told = {"format": 1, "at": now(), "by": by, "run": run, "remark": remark}
        return chain.record(REVIEWED, run, scrub_data(told))


def _opening(records: Path, entry: Entry) -> dict[str, Any]:
    try:
        content = read(records / entry.file)
    except OSError as error:
        raise unreadable(error) from None
    if digest_of(content) != entry.content:
        raise RecordError(
            f"{entry.file} is not as it was recorded",
            meaning="it does not show who ran it; nothing was entered",
            next_step="look at all records with: runbook records verify",
        )
    return read_mapping(records / entry.file)
