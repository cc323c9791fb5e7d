"""A run's record: opened before the first write, complete at the end, never changed after that.

The folder of a run has ``opening.json`` (what was known before the first section), the files that the
sections write, ``record.json`` (the whole run as plain data) and, last, ``checksums.json`` over all
of them. The chain has an entry for the opening and one for the closing.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..identity import plain_identities
from ..lock import whoami
from ..plain_files import read_mapping, write_whole
from ..secret import scrub_data
from ..statement import Use
from ..workspace import work_tree_of
from . import journal, living
from .chain import CLOSED, OPENED, Chain, Entry, Event, digest_of, digest_of_file, sync_folder
from .errors import RecordError
from .events import USED, USED_FILE
from .formats import FORMAT
from .needs import keep_as_it_is, try_out
from .policy import LIVE, pin, pins_of
from .result import CHECKSUMS, now, require_open, write_json
from .run_folder import OPENING, READ_ONLY, RECORD, RUN, checksums, contents, files_of, refuse_links, run_name
from .summary import summarize
from .uses import claim
from .versions import runbook_version, tool_versions

#: The reason for a run, for its record; free text, never a secret.
TICKET, REASON = "RUNBOOK_TICKET", "RUNBOOK_REASON"
#: Why a run could not wait for an approval.
EMERGENCY = "RUNBOOK_EMERGENCY"
#: Set to ``all``, plans and verifications are chained as well.
CHAINED = "RUNBOOK_CHAIN"


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
    From then on the run is in progress until this process ends or closes the record.

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
        The signed approval that the run uses. Its use is a separate entry, made together with the
        opening; ``used.json`` says which sections may write.
    policy
        The site's policy (``policy_of``), which must not be weaker than the one that was pinned.
    workspace
        The workspace's folder, if the records are not in it.
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
        raise RecordError(
            f"record {run} is already opened",
            meaning="a record is written once; nothing was changed",
            next_step="run again: every run makes its own record",
        )
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


def write_record(folder: Path) -> Path:
    """Write ``record.json`` from the files of a run's folder, also of a run that died; return its path.

    Raises ``RecordError`` when the record is closed.
    """
    return write_json(folder / RECORD, scrub_data(record_so_far(folder)))


def record_so_far(folder: Path) -> dict[str, Any]:
    """Return what ``record.json`` holds, or would hold now, from the other files of a run's folder."""
    opening, run = read_mapping(folder / OPENING), read_mapping(folder / RUN)
    found = {path.name.split(".")[0]: read_mapping(path) for path in sorted(folder.glob("*.result.json"))}
    order = [*(opening.get("order") or []), *found]
    results = [found[number] for number in dict.fromkeys(order) if found.get(number)]
    path = folder / journal.FILE_NAME
    digest = digest_of_file(path) if os.path.lexists(path) else digest_of(b"")
    return summarize(opening, run, results, journal.writes_in(folder), digest)


def close_record(records: Path, folder: Path) -> Entry:
    """Write the checksums of a run's folder, make its files read-only, and chain the digest of the checksums.

    Nothing can be written afterwards. Raises ``RecordError`` when the record is already closed or was never
    opened.
    """
    run, chain = run_name(records, folder), Chain(records)
    # All of it under the chain's lock: each write of the run is in the journal before this, or is never sent.
    with chain.held():
        require_open(folder)
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


def _may_be_chained(chain: Chain, run: str) -> bool:
    """Whether the chain has a run that was just to be added; it adds nothing while it cannot be read."""
    try:
        return is_known(chain, run)
    except RecordError:
        return False


def is_known(chain: Chain, run: str) -> bool:
    """Whether the chain has an entry for a run."""
    return any(entry.run == run for entry in chain.entries())
