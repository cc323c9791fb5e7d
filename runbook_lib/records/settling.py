"""Records that no run closes: that of a run that died, one that the chain does not know, one never opened."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..guide import SECTIONS
from ..identity import plain_identities
from ..outcomes import UNKNOWN
from ..plain_files import read, read_mapping
from ..secret import scrub_data
from . import journal, living
from .chain import ADOPTED, CLOSED, Chain, Entry, Event, digest_of, unreadable
from .errors import RecordError
from .events import USED_FILE
from .formats import FORMAT
from .record import close_record, is_known, record_so_far, write_record
from .result import CHECKSUMS, now, write_json
from .run_folder import (
    APPROVED,
    CLOSING,
    OPENING,
    RUN,
    SIGNERS,
    STATEMENT,
    carry_clean,
    checksums,
    contents,
    refuse_links,
    run_name,
    signature_names,
    withheld_from,
)


@dataclass(frozen=True)
class Closing:
    """How to close the record of a run that died.

    Parameters
    ----------
    reason
        Why; needed for a run of another host.
    confirmed
        The run's id, typed; needed for a run of another host.
    look
        Returns the vendors' present state as plain data; called once the record may be closed.
    page
        Makes the run's page in its folder, before that is closed.
    """

    reason: str = ""
    confirmed: str = ""
    look: Callable[[], Mapping[str, Any] | None] = lambda: None
    page: Callable[[Path], object] = lambda _: None


def close_dead(records: Path, folder: Path, closing: Closing = Closing()) -> Entry:
    """Close the record of a run that died, with what it left behind and the outcome ``unknown``.

    The record says who closed it, when and why. Raises ``RecordError`` while the run's lock is held, when
    ``opening.json``, which says whose run it was, is not the one that was chained, and for a run of another
    host, whose locks cannot be seen from here, unless a reason and the run's id are given.
    """
    run, chain = run_name(records, folder), Chain(records)
    opened = chain.require_open(run)
    withheld = withheld_from(folder)
    if withheld is not None and not folder.exists():  # it died before the record was replaced
        folder.mkdir()
        carry_clean(withheld, folder)
    try:
        content = read(folder / OPENING)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise unreadable(error) from None
    if digest_of(content) != opened.content:
        raise RecordError(
            f"record {run}: {OPENING} has changed since the run opened",
            meaning="it no longer proves whose run this was; nothing was closed",
            next_step="list every problem with: runbook records verify",
        )
    opening = json.loads(content)
    if living.is_going_on(folder):
        raise RecordError(
            f"the run of record {run} has not ended (process {opening['process']['pid']})",
            meaning="it may still be writing, and closes its record itself",
            next_step="wait until it has ended",
        )
    host, here = opening["process"]["host"], socket.gethostname()
    if host != here and not (closing.reason.strip() and closing.confirmed == folder.name):
        raise RecordError(
            f"record {run} was opened on {host}; this machine is {here}",
            meaning="only that machine can show whether the run has ended",
            next_step=f"make sure that it has ended, then give a reason and the run ID:"
            f" runbook records close {folder.name} --reason TEXT --confirm {folder.name}",
        )
    if os.path.lexists(folder / CHECKSUMS):  # it died on the last step: only the chain's entry is missing
        return chain.append(Event(CLOSED, run, f"{run}/{CHECKSUMS}"))[0]
    standing = closing.look()
    told = {
        "format": FORMAT,
        "at": now(),
        "by": plain_identities(),
        "reason": closing.reason.strip() or None,
        "host": here,
        "locks": None if host == here else f"the locks of {host} cannot be seen from {here}",
        "at_the_vendors": standing,
    }
    try:
        write_json(folder / CLOSING, scrub_data(told))
        if not os.path.lexists(folder / RUN):
            write_json(folder / RUN, scrub_data(_end_of_the_dead(opening, record_so_far(folder), told)))
        write_record(folder)
    except (KeyError, TypeError, AttributeError):
        raise RecordError(
            f"record {run}: {RUN} or a result (*.result.json) has an unknown form",
            meaning="somebody changed it after the run died; the record stays open",
            next_step="move that file out of the folder, and close the record again",
        ) from None
    closing.page(folder)
    return close_record(records, folder)


def _end_of_the_dead(
    opening: Mapping[str, Any], record: Mapping[str, Any], told: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``run.json`` of a run that died before writing one."""
    why = f": {told['reason']}" if told["reason"] else ""
    return {
        **{key: opening[key] for key in ("run_id", "site", "tenant", "target", "mode", "started")},
        "ended": None,
        "outcome": UNKNOWN,
        "problem": f"The run died. Its record was closed by {told['by'][0]['name']} at {told['at']}{why}",
        "sections": [
            {
                "section": section["section"],
                "title": section["title"] or SECTIONS[section["section"]].title,
                "outcome": section["outcome"],
                "seconds": 0.0,
                "writes": sum(change["section"] == section["section"] for change in record["changes"]),
                "changes": 0,
                "notebook": None,
                "message": "",
            }
            for section in record["guide_sections"]
        ],
    }


def adopt(records: Path, folder: Path, reason: str = "") -> Entry:
    """Enter a run's folder that the chain does not know, once, with the digests of all its files.

    For folders older than the register of all writes, and for records found after a restore. Raises
    ``RecordError`` for a run that the chain knows, and for a folder that contains nothing from a run.
    """
    run, chain = run_name(records, folder), Chain(records)
    with chain.held():
        refuse_links(records, run)
        if is_known(chain, run):
            raise RecordError(
                f"record {run} is already in the chain",
                meaning="nothing was changed",
                next_step=f"show it with: runbook records show {run}",
            )
        closed = os.path.lexists(folder / CHECKSUMS)
        if not closed and not os.path.lexists(folder / journal.FILE_NAME):
            raise RecordError(
                f"{run} has neither checksums nor a journal",
                meaning="it is not the record of a change; nothing was entered",
                next_step="list every problem with: runbook records verify",
            )
        if living.is_going_on(folder):
            raise RecordError(
                f"the run of {run} has not ended",
                meaning="it may still be writing; nothing was entered",
                next_step="wait until it has ended",
            )
        told = {
            **checksums(run, {name: folder / name for name in contents(folder)[0]}),
            "at": now(),
            "by": plain_identities(),
            "why": "found after a restore" if closed else "older than the register",
            "reason": reason.strip() or None,
        }
        return chain.record(ADOPTED, run, scrub_data(told))


def never_opened(records: Path, folder: Path) -> bool:
    """Whether a run's folder contains only what a run leaves that dies before it is in the chain.

    Such a run wrote nothing, neither at the vendors nor in the records.
    """
    beginning = {
        *APPROVED,
        OPENING,
        living.LOCK,
        USED_FILE,
        STATEMENT,
        SIGNERS,
        *(path.name for path in signature_names(Path(STATEMENT))),
    }
    begun = tuple(f".{name}." for name in beginning)  # of one that was being written
    if any(name not in beginning and not name.startswith(begun) for name in contents(folder)[0]):
        return False
    opened = folder / OPENING
    return not os.path.lexists(opened) or read_mapping(opened).get("run") == run_name(records, folder)


def remove_unopened(records: Path, folder: Path) -> None:
    """Remove the folder of a run that died before it was in the chain.

    Raises ``RecordError`` for any other.
    """
    chain, run = Chain(records), run_name(records, folder)
    with chain.held():  # a run that is just opening holds it
        if is_known(chain, run) or not never_opened(records, folder):
            raise RecordError(
                f"{run} contains more than a run leaves behind that never opened",
                meaning="nothing was removed",
                next_step="list every problem with: runbook records verify",
            )
        shutil.rmtree(folder)
