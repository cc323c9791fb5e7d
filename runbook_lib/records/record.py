"""A run's record: opened before the first write, complete at the end, never changed after that.

The folder of a run has ``opening.json`` (what was known before the first section), the files that the
sections write, ``record.json`` (the whole run as plain data) and, last, ``checksums.json`` over all
of them. The chain has an entry for the opening and one for the closing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from ..errors import RunbookError
from ..lock import whoami
from ..secret import find, scrub_data
from . import journal
from .chain import CLOSED, OPENED, Chain, Entry, digest_of, digest_of_file, sync_folder
from .errors import RecordError
from .result import CHECKSUMS, now, write_json
from .summary import summarize
from .versions import runbook_version, tool_versions

OPENING, RECORD = "opening.json", "record.json"
RUN = "run.json"
FORMAT = 1
READ_ONLY = 0o444
#: Why a run is made, for its record; free text, never a secret.
TICKET, REASON = "RUNBOOK_TICKET", "RUNBOOK_REASON"
#: Set to ``all``, plans and verifications are chained as well.
CHAINED = "RUNBOOK_CHAIN"


def run_name(records: Path, folder: Path) -> str:
    """Return how the chain names a run's folder: ``site/tenant/run id``."""
    return folder.relative_to(records).as_posix()


def is_chained(mode: str) -> bool:
    """Whether runs of a mode make a record in the chain: ``apply`` always, the others on request."""
    return mode == "apply" or os.environ.get(CHAINED) == "all"


def open_record(
    records: Path,
    folder: Path,
    *,
    mode: str,
    site: str,
    tenant: str,
    target: Mapping[str, str],
    order: Sequence[str],
    parameters: Mapping[str, Any],
    files: Mapping[str, str],
) -> Entry:
    """Write ``opening.json`` and chain it; on disk when this returns. Call it before the first section.

    Parameters
    ----------
    records, folder
        The records folder, and the run's folder inside it.
    mode, site, tenant, target, order
        What the run is; ``order`` has the numbers of its sections.
    parameters
        The parameters as plain data, with references in place of secrets.
    files
        The parameter files of ``site`` and ``tenant``; relative paths start at the project's folder.

    Ticket and reason come from the environment (``RUNBOOK_TICKET``, ``RUNBOOK_REASON``). Raises
    ``RecordError`` or ``LockedError`` when the run cannot be recorded.
    """
    if (folder / OPENING).exists():
        raise _twice(run_name(records, folder), "opened")
    opening = {
        "format": FORMAT,
        "run": run_name(records, folder),
        "run_id": folder.name,
        "mode": mode,
        "site": site,
        "tenant": tenant,
        "target": dict(target),
        "operator": whoami(),
        "ticket": os.environ.get(TICKET) or None,
        "reason": os.environ.get(REASON) or None,
        "order": list(order),
        "parameters": dict(parameters),
        "files": dict(files),
        "started": now(),
        "runbook": runbook_version(),
        "tools": tool_versions(),
        "process": {"host": socket.gethostname(), "pid": os.getpid()},
    }
    path = write_json(folder / OPENING, scrub_data(opening))
    try:
        return Chain(records).append(OPENED, opening["run"], digest_of_file(path))
    except RunbookError:
        path.unlink()  # what the chain does not know has not opened
        raise


def is_open(folder: Path) -> bool:
    """Whether a run's record was opened and is not closed."""
    return (folder / OPENING).exists() and not (folder / CHECKSUMS).exists()


def carry_opening(withheld: Path, folder: Path) -> None:
    """Give the folder in a withheld record's place the opening that the chain names, if that is clean."""
    opening = withheld / OPENING
    if opening.exists() and not find(opening.read_bytes()):
        shutil.copyfile(opening, folder / OPENING)


def write_record(folder: Path) -> Path:
    """Write ``record.json`` from the files of a run's folder, also of a run that died; return its path.

    Raises ``RecordError`` when the record is closed.
    """
    refuse_closed(folder)
    opening, run = _read(folder / OPENING), _read(folder / RUN)
    found = {path.name.split(".")[0]: _read(path) for path in sorted(folder.glob("*.result.json"))}
    order = [*(opening.get("order") or []), *found]
    results = [found[number] for number in dict.fromkeys(order) if found.get(number)]
    path = folder / journal.FILE_NAME
    writes = journal.read(path) if path.exists() else []
    digest = digest_of_file(path) if path.exists() else digest_of(b"")
    content = summarize(opening, run, results, writes, digest)
    return write_json(folder / RECORD, scrub_data(content))


def close_record(records: Path, folder: Path) -> Entry:
    """Write the checksums of a run's folder, make its files read-only, and chain the digest of the checksums.

    Nothing can be written after that: raises ``RecordError`` when the record is closed, or was never
    opened.
    """
    run = run_name(records, folder)
    refuse_closed(folder)
    Chain(records).require_open(run)
    if not (folder / RECORD).exists():
        write_record(folder)
    files = files_of(folder)
    path = write_json(
        folder / CHECKSUMS,
        {
            "format": FORMAT,
            "run": run,
            "files": {name: digest_of_file(file) for name, file in sorted(files.items())},
        },
    )
    for file in (*files.values(), path):
        file.chmod(READ_ONLY)
    sync_folder(folder)
    return Chain(records).append(CLOSED, run, digest_of_file(path))


def close_dead(records: Path, folder: Path) -> Entry:
    """Close the record of a run that died, with what it left behind and the outcome ``unknown``.

    Raises ``RecordError`` while the run's process lives on this machine, for a run of another one,
    and when ``opening.json``, which tells the two, is not the one that was chained.
    """
    run, chain = run_name(records, folder), Chain(records)
    opened = chain.require_open(run)
    content = (folder / OPENING).read_bytes() if (folder / OPENING).is_file() else b""
    if digest_of(content) != opened.content:
        raise RecordError(
            f"record {run}: {OPENING} is not the one that was opened",
            meaning="somebody changed it, so it does not tell whose run this was",
            next_step="look at all records with: runbook records verify",
        )
    opening = json.loads(content)
    process = opening["process"]
    if process["host"] != socket.gethostname():
        raise RecordError(
            f"record {run} was opened on {process['host']}",
            meaning="whether that run has ended can be told on its own machine only",
            next_step="close the record there",
        )
    if _alive(process["pid"], datetime.fromisoformat(opening["started"])):
        raise RecordError(
            f"the run of record {run} has not ended (process {process['pid']})",
            meaning="it still writes; it closes its record itself",
            next_step="wait until it has ended",
        )
    if (folder / CHECKSUMS).exists():  # it died on the last step: only the chain's entry is missing
        return chain.append(CLOSED, run, digest_of_file(folder / CHECKSUMS))
    write_record(folder)
    return close_record(records, folder)


def refuse_closed(folder: Path) -> None:
    """Raise ``RecordError`` when a run's folder is a closed record, in which nothing may be written."""
    if (folder / CHECKSUMS).exists():
        raise _twice(folder.name, "closed")


def files_of(folder: Path) -> dict[str, Path]:
    """Return everything below a run's folder that is not a folder, by its name in the checksums.

    Without the checksums themselves.
    """
    found = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    found.pop(CHECKSUMS, None)
    return found


def _twice(run: str, what: str) -> RecordError:
    return RecordError(
        f"record {run} is {what} already",
        meaning="a record is written once; nothing was changed",
        next_step="run again: every run makes a record of its own",
    )


def _alive(pid: int, opened: datetime) -> bool:
    """Whether the process that opened a record still runs: no zombie, nor another of the same number."""
    try:
        process = psutil.Process(pid)
        begun = datetime.fromtimestamp(process.create_time(), UTC)
        # Clocks of processes are coarse, and times of records have whole seconds.
        return process.status() != psutil.STATUS_ZOMBIE and begun <= opened + timedelta(seconds=2)
    except psutil.NoSuchProcess:
        return False


def _read(path: Path) -> dict[str, Any]:
    """A file of the run; empty when the run died before it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
