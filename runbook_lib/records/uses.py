"""Which parts of an approval have been used in a records folder, according to the chain and its records.

A copy of the folder has its own chain from then on, and cannot know what was used elsewhere.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ApprovalError, InputError
from ..identity import plain_identities
from ..outcomes import SUCCEEDED
from ..plain_files import opened, read_mapping
from ..secret import scrub_data
from ..statement import Use
from . import living
from .chain import CLOSED, FILE_NAME, LIMIT, OPENED, Chain, Entry, digest_of, recorded
from .chain_reading import events_of
from .disposed import DISPOSED_FILE
from .events import DISPOSED, REVOKED, USED
from .journal import FILE_NAME as JOURNAL
from .result import now
from .run_folder import RECORD


@dataclass(frozen=True)
class Claim:
    """What a run may do under an approval: the sections that may write, and those already done."""

    sections: tuple[str, ...]
    done: tuple[str, ...]


def claim(records: Path, entries: Sequence[Entry], use: Use, order: Sequence[str]) -> Claim:
    """Return what a run may do under an approval; hold the chain's lock until the use is entered.

    A run that was killed no longer uses it, whether or not its record is closed. A section is done when it
    succeeded in a run that succeeded or wrote something: an attempt without a write uses nothing.

    Raises ``ApprovalError`` when the approval is revoked, used up, or in use by a run that is going on, or
    may be going on on another machine; ``RecordError`` when a record that has used it is not as it was
    closed.
    """
    refuse_revoked(records, entries, use.statement.id)
    done: dict[str, str] = {}
    removed = {entry.run for entry in entries if entry.event == DISPOSED}
    for entry in entries:
        if entry.event != USED:
            continue
        if entry.run in removed:
            # For which sections it was used is no longer known: it is used up.
            used = read_mapping(records / str(entry.run) / DISPOSED_FILE).get("used") or {}
            if (used.get("approval"), used.get("plan")) == (use.statement.id, use.line.plan):
                done |= {section: str(entry.run) for section in order if section not in done}
            continue
        used = _content(records, entry.file, entry.content)
        if (used.get("approval"), used.get("plan")) != (use.statement.id, use.line.plan):
            continue
        run = str(entry.run)
        own = events_of(entries, run)
        if CLOSED in own:
            succeeded = _succeeded(records, own[CLOSED])
        else:
            _require_dead(records, own[OPENED])
            succeeded = _succeeded_so_far(records / run, used.get("sections", ()))
        # What the run itself found done is in the chain: also what a run left behind whose record was open.
        for section in (*used.get("done", ()), *succeeded):
            if section in (*used.get("done", ()), *used.get("sections", ())):
                done.setdefault(section, run)
    left = tuple(section for section in order if section not in done)
    if not left:
        raise ApprovalError(
            f"the approval was used by run {done[order[-1]]}, which succeeded",
            meaning="an approval is valid for one success; nothing was sent",
            next_step="make a new plan and have it approved",
        )
    return Claim(left, tuple(section for section in order if section in done))


def refuse_revoked(records: Path, entries: Sequence[Entry], approval: str) -> None:
    """Raise ``ApprovalError`` when an approval has been revoked in this records folder."""
    for entry in entries:
        if entry.event == REVOKED:
            event = _content(records, entry.file, entry.content)
            if event.get("approval") == approval:
                raise ApprovalError(
                    f"the approval was revoked on {entry.at}: {event.get('reason')}",
                    meaning="nothing was written under it",
                    next_step="make a new plan and have it approved",
                )


def claimed_by(records: Path, run: str, approval: str) -> Claim | None:
    """Return what a run that has opened may do under an approval; ``None`` if it entered no use of it."""
    entries = Chain(records).entries()
    refuse_revoked(records, entries, approval)
    for entry in entries:
        if entry.event == USED and entry.run == run:
            used = _content(records, entry.file, entry.content)
            if used.get("approval") == approval:
                return Claim(tuple(used["sections"]), tuple(used["done"]))
    return None


def register_of(records: Path) -> str | None:
    """Return a records folder's identity: the digest of its chain's first entry, if it has one."""
    try:
        with opened(records / FILE_NAME, LIMIT) as file:
            line = file.readline()
            return digest_of(line) if line else None
    except OSError:
        return None


def enter_revocation(records: Path, approval: str, reason: str) -> Entry:
    """Enter that an approval must not be used any longer; ``InputError`` if it is already revoked."""
    chain = Chain(records)
    with chain.held():
        try:
            refuse_revoked(records, chain.entries(), approval)
        except ApprovalError as error:
            raise InputError([error.what]) from None
        told = {"format": 1, "at": now(), "by": plain_identities(), "approval": approval, "reason": reason}
        return chain.record(REVOKED, None, scrub_data(told))


def latest_time(entries: Sequence[Entry], vendor_time: datetime | None = None) -> datetime:
    """Return the time by which a window is judged: the latest of the clock, all entries and the vendors'."""
    times = [datetime.now(UTC), *(datetime.fromisoformat(entry.at) for entry in entries)]
    return max(times) if vendor_time is None else max(*times, vendor_time)


def _require_dead(records: Path, opening: Entry) -> None:
    """Raise ``ApprovalError`` unless the run of an open record is one that died, as seen from here."""
    run = str(opening.run)
    process = _content(records, opening.file, opening.content).get("process") or {}
    host, here = process.get("host"), socket.gethostname()
    if living.is_going_on(records / run):
        what, next_step = "which is still going on", "wait until that run has ended"
    elif host != here:
        what = f"which was opened on {host}; from {here} it cannot be seen whether it has ended"
        next_step = f"wait until that run has ended; if it died: runbook records close {run}"
    else:
        return
    raise ApprovalError(
        f"the approval is in use by run {run}, {what}",
        meaning="only one run at a time can use an approval; nothing was sent",
        next_step=next_step,
    )


def _succeeded(records: Path, closing: Entry) -> list[str]:
    """The sections that succeeded in a closed record; none if it failed before its first write."""
    listed = _content(records, closing.file, closing.content).get("files") or {}
    record = _content(records, f"{closing.run}/{RECORD}", listed.get(RECORD))
    if record.get("outcome") != SUCCEEDED and JOURNAL not in listed:
        return []
    sections = record.get("guide_sections") or []
    return [one["section"] for one in sections if one.get("outcome") == SUCCEEDED]


def _succeeded_so_far(folder: Path, sections: Sequence[str]) -> list[str]:
    """The sections that succeeded in a run that died, by their results; none if it had not written."""
    if not os.path.lexists(folder / JOURNAL):
        return []
    results = {one: read_mapping(folder / f"{one}.result.json") for one in sections}
    return [one for one, result in results.items() if result.get("outcome") == SUCCEEDED]


def _content(records: Path, name: str, digest: object) -> dict[str, Any]:
    """A file of the records; it counts for an approval only if it is unchanged."""
    meaning = "it is unknown which part of the approval was used; nothing was sent"
    found = json.loads(recorded(records, name, digest, meaning))
    return found if isinstance(found, dict) else {}
