"""A run's record: opened before the first write, complete at the end, never changed after that.

The folder of a run has ``opening.json`` (what was known before the first section), the files that the
sections write, ``record.json`` (the whole run as plain data) and, last, ``checksums.json`` over all
of them. The chain has an entry for the opening and one for the closing.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from ..lock import whoami
from ..plain_files import NotPlainError, read, read_mapping
from ..secret import find, scrub_data
from . import journal
from .chain import CLOSED, OPENED, Chain, Entry, digest_of, digest_of_file, sync_folder, unreadable
from .errors import RecordError
from .result import CHECKSUMS, now, write_json
from .summary import summarize
from .versions import runbook_version, tool_versions

OPENING, RECORD = "opening.json", "record.json"
RUN = "run.json"
#: The approved plan and its signature, as copies in the record.
APPROVED = ("approved.plan.json", "approved.plan.json.sig")
#: Beside the runs of a tenant: records that were taken out of them because a secret was found inside. Each
#: account has a folder of its own, as nobody else may enter it.
WITHHELD = "withheld"
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
    approved: Sequence[Path] = (),
) -> Entry:
    """Make the run's folder with ``opening.json`` and chain that; on disk when this returns.

    Call it before the first section. A run that the chain does not get to know leaves no folder behind.

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
    approved
        The approved plan's file and its signature's, to be kept in the folder: who reads the record can
        check them again.

    Ticket and reason come from the environment (``RUNBOOK_TICKET``, ``RUNBOOK_REASON``). Raises
    ``RecordError`` or ``LockedError`` when the run cannot be recorded.
    """
    run = run_name(records, folder)
    if os.path.lexists(folder / OPENING):
        raise _twice(run, "opened")
    opening = {
        "format": FORMAT,
        "run": run,
        "run_id": folder.name,
        "mode": mode,
        "site": site,
        "tenant": tenant,
        "target": dict(target),
        "operator": whoami(),
        "ticket": os.environ.get(TICKET) or None,
        "reason": os.environ.get(REASON) or None,
        "order": list(order),
        "project": str(records.resolve().parent),
        "parameters": dict(parameters),
        "files": dict(files),
        "started": now(),
        "runbook": runbook_version(),
        "tools": tool_versions(),
        "process": {"host": socket.gethostname(), "pid": os.getpid()},
    }
    chain = Chain(records)
    # All of it under the chain's lock: whoever holds that sees a run that has opened, or none.
    with chain.held():
        refuse_links(records, run)
        folder.mkdir(parents=True)
        try:
            for source, name in zip(approved, APPROVED, strict=False):
                shutil.copyfile(source, folder / name)
            path = write_json(folder / OPENING, scrub_data(opening))
            return chain.append(OPENED, run, digest_of_file(path))
        except BaseException:  # also an interruption, perhaps when the entry was there
            if not _may_be_chained(chain, run):
                shutil.rmtree(folder, ignore_errors=True)  # what the chain does not know has not opened
            raise


def is_open(folder: Path) -> bool:
    """Whether a run's record was opened and is not closed."""
    return os.path.lexists(folder / OPENING) and not os.path.lexists(folder / CHECKSUMS)


def carry_opening(withheld: Path, folder: Path) -> None:
    """Give the folder in a withheld record's place the opening that the chain names, if that is clean."""
    opening = withheld / OPENING
    if opening.exists() and not find(read(opening)):
        shutil.copyfile(opening, folder / OPENING)


def is_withheld(name: str) -> bool:
    """Whether a folder beside the runs of a tenant is one of what is withheld."""
    return name == WITHHELD or name.startswith(f"{WITHHELD}-")


def withheld_from(folder: Path) -> Path | None:
    """Return where what was withheld of a run lies; ``None`` when nothing was, or is somebody else's."""
    for beside in folder.parent.glob(f"{WITHHELD}*"):
        with suppress(OSError):
            if is_withheld(beside.name) and (beside / folder.name).is_dir():
                return beside / folder.name
    return None


def refuse_links(records: Path, run: str) -> None:
    """Raise ``NotPlainError`` when a folder on the way to a run's, or that itself, is a link."""
    for folder in accumulate((str(records), *PurePosixPath(run).parts), os.path.join):
        if folder != str(records) and os.path.islink(folder):
            raise NotPlainError(errno.ELOOP, "a link, which is not followed", folder)


def write_record(folder: Path) -> Path:
    """Write ``record.json`` from the files of a run's folder, also of a run that died; return its path.

    Raises ``RecordError`` when the record is closed.
    """
    refuse_closed(folder)
    opening, run = read_mapping(folder / OPENING), read_mapping(folder / RUN)
    found = {path.name.split(".")[0]: read_mapping(path) for path in sorted(folder.glob("*.result.json"))}
    order = [*(opening.get("order") or []), *found]
    results = [found[number] for number in dict.fromkeys(order) if found.get(number)]
    path = folder / journal.FILE_NAME
    there = os.path.lexists(path)
    writes = journal.read(path) if there else []
    digest = digest_of_file(path) if there else digest_of(b"")
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
    if not os.path.lexists(folder / RECORD):
        write_record(folder)
    for empty in contents(folder)[1]:
        (folder / empty).rmdir()  # no checksum could stand for it
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
        with suppress(PermissionError):  # another account of the group wrote it: it stays as that one left it
            file.chmod(stat.S_IMODE(file.stat().st_mode) & READ_ONLY)
    sync_folder(folder)
    return Chain(records).append(CLOSED, run, digest_of_file(path))


def close_dead(records: Path, folder: Path) -> Entry:
    """Close the record of a run that died, with what it left behind and the outcome ``unknown``.

    Raises ``RecordError`` while the run's process lives on this machine, for a run of another one,
    and when ``opening.json``, which tells the two, is not the one that was chained.
    """
    run, chain = run_name(records, folder), Chain(records)
    opened = chain.require_open(run)
    withheld = withheld_from(folder)
    if withheld is not None and not folder.exists():  # it died before something stood in the record's place
        folder.mkdir()
        carry_opening(withheld, folder)
    try:
        content = read(folder / OPENING)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise unreadable(error) from None
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
    if os.path.lexists(folder / CHECKSUMS):  # it died on the last step: only the chain's entry is missing
        return chain.append(CLOSED, run, digest_of_file(folder / CHECKSUMS))
    try:
        write_record(folder)
    except (KeyError, TypeError, AttributeError):
        raise RecordError(
            f"record {run}: {RUN} or a result (*.result.json) is not as the runbook writes it",
            meaning="somebody changed it after the run had died; the record stays open",
            next_step="take that file out of the folder, and close the record again",
        ) from None
    return close_record(records, folder)


def refuse_closed(folder: Path) -> None:
    """Raise ``RecordError`` when a run's folder is a closed record, in which nothing may be written."""
    if os.path.lexists(folder / CHECKSUMS):
        raise _twice(folder.name, "closed")


def files_of(folder: Path) -> dict[str, Path]:
    """Return everything below a run's folder that is not a folder, by its name in the checksums.

    Without the checksums themselves.
    """
    found = {name: folder / name for name in contents(folder)[0]}
    found.pop(CHECKSUMS, None)
    return found


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of everything below a folder that is not a folder, and of the folders with no such
    thing in them, the innermost first. Links are not followed.

    Raises ``OSError`` for a folder that may not be read.
    """
    files: list[str] = []
    folders: list[str] = []
    for path, below, names in os.walk(folder, onerror=_raise):
        inside = os.path.relpath(path, folder) + "/" if path != str(folder) else ""
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        files += [inside + name for name in (*links, *names)]
        folders += [inside + name for name in below if name not in links]
    empty = [one for one in reversed(folders) if not any(name.startswith(f"{one}/") for name in files)]
    return files, empty


def never_opened(records: Path, folder: Path) -> bool:
    """Whether a run's folder holds no more than what a run leaves that dies before the chain knows it.

    Nothing was written by such a run, at the vendors or here.
    """
    beginning = {*APPROVED, OPENING}
    names = contents(folder)[0]
    if any(name not in beginning and not name.startswith(f".{OPENING}.") for name in names):
        return False
    opened = folder / OPENING
    return not os.path.lexists(opened) or read_mapping(opened).get("run") == run_name(records, folder)


def remove_unopened(records: Path, folder: Path) -> None:
    """Remove the folder of a run that died before the chain knew it.

    Raises ``RecordError`` for any other.
    """
    chain, run = Chain(records), run_name(records, folder)
    with chain.held():  # a run that is just opening holds it
        if _is_chained(chain, run) or not never_opened(records, folder):
            raise RecordError(
                f"{run} is not what a run leaves that never opened",
                meaning="nothing was removed",
                next_step="look at all records with: runbook records verify",
            )
        shutil.rmtree(folder)


def _raise(error: OSError) -> None:
    raise error


def _may_be_chained(chain: Chain, run: str) -> bool:
    """Whether the chain has a run that was just to be added; it adds nothing while it cannot be read."""
    try:
        return _is_chained(chain, run)
    except RecordError:
        return False


def _is_chained(chain: Chain, run: str) -> bool:
    return any(one.run == run for one in chain.entries())


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
