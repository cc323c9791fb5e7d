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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from ..guide import SECTIONS
from ..identity import plain_identities
from ..lock import whoami
from ..outcomes import UNKNOWN
from ..plain_files import NotPlainError, read, read_mapping, write_whole
from ..secret import find_secrets, scrub_data
from ..statement import Use
from ..workspace import work_tree_of
from . import journal, living
from .chain import (
    ADOPTED,
    CLOSED,
    OPENED,
    Chain,
    Entry,
    Event,
    digest_of,
    digest_of_file,
    sync_folder,
    unreadable,
)
from .errors import RecordError
from .formats import FORMAT
from .needs import keep_as_it_is, try_out
from .policy import LIVE, pin, pins_of
from .result import CHECKSUMS, now, write_json
from .summary import summarize
from .uses import USED, USED_FILE, claim
from .versions import runbook_version, tool_versions

OPENING, RECORD = "opening.json", "record.json"
RUN = "run.json"
#: Who closed the record of a run that died, when and why.
CLOSING = "closing.json"
#: What a comparison with an earlier record found.
COMPARISON = "comparison.json"
#: The approved plan and its signature, as copies in the record.
APPROVED = ("approved.plan.json", "approved.plan.json.sig")
#: The signed statement of the approval; its signatures have its name with ``.sig``, ``.2.sig``, ….
STATEMENT = "approval.json"
#: The lines of the site's allowed signers that had the keys of these signatures.
SIGNERS = "approval.signers"
SIGNATURES = 9
#: Beside the runs of a tenant: records that were withheld because a secret was found in them. Each account
#: has its own folder, which nobody else may enter.
WITHHELD = "withheld"
READ_ONLY = 0o444
#: The reason for a run, for its record; free text, never a secret.
TICKET, REASON = "RUNBOOK_TICKET", "RUNBOOK_REASON"
#: Why a run could not wait for an approval.
EMERGENCY = "RUNBOOK_EMERGENCY"
#: Set to ``all``, plans and verifications are chained as well.
CHAINED = "RUNBOOK_CHAIN"


def signature_names(statement: Path) -> list[Path]:
    """Return the paths at which the signatures of a statement's file may be, in order."""
    suffixes = ["sig", *(f"{number}.sig" for number in range(2, SIGNATURES + 1))]
    return [statement.with_name(f"{statement.name}.{suffix}") for suffix in suffixes]


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
    approval: Mapping[str, Any] | None = None,
    affected: Sequence[Mapping[str, str]] | None = None,
    notebook: str | None = None,
    kept: Mapping[str, bytes] | None = None,
    use: Use | None = None,
    policy: Mapping[str, Any] | None = None,
    workspace: Path | None = None,
    batch: str | None = None,
) -> Entry:
    """Make the run's folder with ``opening.json`` and chain that; on disk when this returns.

    Call it before the first section. A run that cannot be added to the chain leaves no folder behind.
    From here on the run is going on until this process ends or closes the record.

    Parameters
    ----------
    records, folder
        The records folder, and the run's folder inside it.
    mode, site, tenant, target, order
        What the run is; ``order`` has the numbers of its sections.
    parameters
        The parameters as plain data, with references in place of secrets.
    files
        The parameter files of ``site`` and ``tenant``; relative paths start at the workspace.
    approval
        Who approved which plan (``plan``, ``by``), as every section's result says it.
    affected
        The tenants whose calls run through a shared trunk (``name``, ``pbx_domain``); ``None``: not a run
        for a shared trunk.
    notebook
        Where the executed notebook is, if not in the folder.
    kept
        What was approved, by file names in the folder (``Approval.files``), so that a reader of the
        record can check it again.
    use
        The signed approval that the run uses. Its use is an entry of its own, made together with the
        opening; ``used.json`` says which sections may write.
    policy
        The site's policy (``policy_of``), which must not be weaker than the one that was pinned.
    workspace
        The workspace's folder, if the records do not lie in it.
    batch
        The id of the batch that the run belongs to.

    Ticket and reason come from the environment (``RUNBOOK_TICKET``, ``RUNBOOK_REASON``), as an emergency's
    does (``RUNBOOK_EMERGENCY``); the ticket of a signed approval is that of
    the approval. Raises ``RecordError`` or ``LockedError`` when the run cannot be recorded (also when the
    file system lacks what a record needs, and when the tenant's folder has a closed record that the chain
    does not know), ``ApprovalError`` when the approval cannot be used (any longer), or the policy is weaker
    than before.
    """
    run = run_name(records, folder)
    if os.path.lexists(folder / OPENING):
        raise _twice(run, "opened")
    notes = try_out(records)
    if target.get("target") == LIVE and (tree := work_tree_of(records)):
        notes.append(
            f"{records} is inside the git work tree {tree}, where git clean deletes it: move it out of there,"
            " and set its new path in runbook.toml (records)"
        )
    opening = {
        "format": FORMAT,
        "run": run,
        "run_id": folder.name,
        "mode": mode,
        "site": site,
        "tenant": tenant,
        "target": dict(target),
        "operator": whoami(),
        "by": plain_identities(),
        "ticket": use.statement.ticket if use else os.environ.get(TICKET) or None,
        "reason": os.environ.get(REASON) or None,
        "emergency": os.environ.get(EMERGENCY) or None,
        "batch": batch,
        "order": list(order),
        "workspace": str(workspace or records.resolve().parent),
        "records": str(records.resolve()),
        "parameters": dict(parameters),
        "files": dict(files),
        "started": now(),
        "runbook": runbook_version(),
        "tools": tool_versions(),
        "process": {"host": socket.gethostname(), "pid": os.getpid()},
        "approval": dict(approval or {}),
        "affected": None if affected is None else [dict(tenant) for tenant in affected],
        "notebook": notebook,
        "notes": notes,
    }
    chain = Chain(records)
    # All of it under the chain's lock: whoever holds it sees either an opened run or none.
    with chain.held():
        keep_as_it_is(records)
        refuse_links(records, run)
        _refuse_unknown(chain, folder.parent)
        if policy is not None:
            opening |= pin(records, chain.entries(), target, policy)
        else:  # a plan or verification that is chained must not make the next apply look further back
            opening |= pins_of(records, chain.entries(), live=False).kept
        folder.mkdir(parents=True)
        try:
            living.begin(folder)
            for name, content in (kept or {}).items():
                write_whole(folder / name, content)
            path = write_json(folder / OPENING, scrub_data(opening))
            events = [Event(OPENED, run, f"{run}/{path.name}")]
            if use is not None:
                claimed = claim(records, chain.entries(), use, order)
                told = {"format": FORMAT, "at": now(), "by": plain_identities(), **use.described()}
                used = write_json(folder / USED_FILE, {**told, **asdict(claimed)})
                events.append(Event(USED, run, f"{run}/{used.name}"))
            return chain.append(*events)[0]
        except BaseException:  # also an interruption, perhaps when the entry was there
            if not _may_be_chained(chain, run):
                living.end(folder)
                shutil.rmtree(folder, ignore_errors=True)  # what the chain does not know has not opened
            raise


def _refuse_unknown(chain: Chain, tenant: Path) -> None:
    """Raise when a tenant's (or a trunk's) folder has a closed record that the chain does not know.

    An older copy of the records has replaced them: continuing would start a second history.
    """
    known = {entry.run for entry in chain.entries()}
    with suppress(FileNotFoundError):
        runs = [run_name(chain.records, tenant / name) for name in sorted(os.listdir(tenant))]
        unknown = [
            run for run in runs if run not in known and os.path.lexists(chain.records / run / CHECKSUMS)
        ]
        if unknown:
            raise RecordError(
                f"the chain has no entry for {', '.join(unknown)}",
                meaning="an older copy has replaced the records, or somebody else's record was put beside"
                " them; nothing was written",
                next_step="restore the newer chain, or enter each such record:"
                f" runbook records adopt {unknown[0]}",
            )


def is_open(folder: Path) -> bool:
    """Whether a run's record was opened and is not closed."""
    return os.path.lexists(folder / OPENING) and not os.path.lexists(folder / CHECKSUMS)


def carry_opening(withheld: Path, folder: Path) -> None:
    """Give the folder that replaces a withheld record the opening that the chain names, if that is clean."""
    opening = withheld / OPENING
    if opening.exists() and not find_secrets(read(opening)):
        shutil.copyfile(opening, folder / OPENING)


def is_withheld(name: str) -> bool:
    """Whether a folder beside the runs of a tenant is one for withheld records."""
    return name == WITHHELD or name.startswith(f"{WITHHELD}-")


def withheld_from(folder: Path) -> Path | None:
    """Return the folder with a run's withheld files; ``None`` if there is none or it is somebody else's."""
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
    return write_json(folder / RECORD, scrub_data(record_so_far(folder)))


def record_so_far(folder: Path) -> dict[str, Any]:
    """Return what ``record.json`` holds, or would hold now, from the other files of a run's folder."""
    opening, run = read_mapping(folder / OPENING), read_mapping(folder / RUN)
    found = {path.name.split(".")[0]: read_mapping(path) for path in sorted(folder.glob("*.result.json"))}
    order = [*(opening.get("order") or []), *found]
    results = [found[number] for number in dict.fromkeys(order) if found.get(number)]
    path = folder / journal.FILE_NAME
    there = os.path.lexists(path)
    writes = journal.read_journal(path) if there else []
    digest = digest_of_file(path) if there else digest_of(b"")
    return summarize(opening, run, results, writes, digest)


def close_record(records: Path, folder: Path) -> Entry:
    """Write the checksums of a run's folder, make its files read-only, and chain the digest of the checksums.

    Nothing can be written afterwards. Raises ``RecordError`` when the record is already closed or was never
    opened.
    """
    run, chain = run_name(records, folder), Chain(records)
    # All of it under the chain's lock: each write of the run is in the journal before this, or is never sent.
    with chain.held():
        refuse_closed(folder)
        chain.require_open(run)
        if not os.path.lexists(folder / RECORD):
            write_record(folder)
        living.end(folder)
        for empty in contents(folder)[1]:
            (folder / empty).rmdir()  # no checksum covers it
        files = files_of(folder)
        path = write_json(folder / CHECKSUMS, checksums(run, files))
        for file in (*files.values(), path):
            with suppress(OSError):  # a courtesy: another account's file, a file system without modes
                file.chmod(stat.S_IMODE(file.stat().st_mode) & READ_ONLY)
        sync_folder(folder)
        return chain.append(Event(CLOSED, run, f"{run}/{path.name}"))[0]


def checksums(run: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the digests of a run's files, as ``checksums.json`` has them."""
    return {
        "format": FORMAT,
        "run": run,
        "files": {name: digest_of_file(file) for name, file in sorted(files.items())},
    }


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
        carry_opening(withheld, folder)
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
        if _is_chained(chain, run):
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

    Raises ``OSError`` for a folder that cannot be read.
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
    """Whether a run's folder contains only what a run leaves that dies before it is in the chain.

    Such a run wrote nothing, neither at the vendors nor here.
    """
    beginning = {
        *APPROVED,
        OPENING,
        living.LOCK,
        USED_FILE,
        STATEMENT,
        SIGNERS,
        *(one.name for one in signature_names(Path(STATEMENT))),
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
        if _is_chained(chain, run) or not never_opened(records, folder):
            raise RecordError(
                f"{run} contains more than a run leaves that never opened",
                meaning="nothing was removed",
                next_step="list every problem with: runbook records verify",
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
        f"record {run} is already {what}",
        meaning="a record is written once; nothing was changed",
        next_step="run again: every run makes its own record",
    )
