"""Choosing the record to roll back, and refusing one that cannot be rolled back."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..guide import RUN_ORDER
from ..plain_files import read_mapping
from ..sip_uri import termination_label
from . import journal
from .chain import ADOPTED, CLOSED, Chain, Entry, digest_of_file, unreadable
from .chain_reading import is_run
from .errors import RecordError
from .events import DISPOSED
from .formats import newer
from .problems import only_newer
from .result import CHECKSUMS
from .run_folder import OPENING, RECORD, run_name
from .verify import verify_record


@dataclass(frozen=True)
class RecordToUndo:
    """A record to roll back: its folder, and the sections of it (empty: all).

    ``vouched`` says whether the record is in the chain, which proves that its journal is what a run wrote.
    """

    folder: Path
    only: tuple[str, ...] = ()
    vouched: bool = True

    @property
    def name(self) -> str:
        """The record's run id."""
        return self.folder.name

    @property
    def journal(self) -> Path:
        """The record's journal: every write with the previous values."""
        return self.folder / journal.FILE_NAME

    @property
    def identity(self) -> str:
        """What an approval is for: this record with this journal and no other."""
        return f"{self.name} {digest_of_file(self.journal)}"

    def covers(self, section: str) -> bool:
        """Whether what this section did is to be rolled back."""
        return not self.only or section in self.only


def record_to_undo(
    records: Path,
    tenant: Path,
    record: str | None,
    only: Sequence[str],
    target: Mapping[str, str],
    parameters: Mapping[str, Any],
) -> RecordToUndo:
    """Return the requested record of a tenant.

    Parameters
    ----------
    records, tenant
        The records folder, and the tenant's folder inside it.
    record
        The run id, or its beginning; ``None`` for the newest run in the chain that wrote something. A
        folder outside the chain must be named.
    only
        Numbers of the sections that are to be rolled back; none for all of them.
    target
        What the record must be for.
    parameters
        The site and the tenant as they are now, as plain data.

    Raises ``InputError`` when no such record can be rolled back, ``RecordError`` when it is not what
    it was when it was closed.
    """
    if record is not None and not re.fullmatch(r"[0-9A-Za-z-]+", record):
        raise InputError([f"record: {record!r} is not a run ID: copy it from runbook records list"])
    unknown = [one for one in only if one not in RUN_ORDER]
    if unknown:
        raise InputError([f"only: {one!r} is not a section" for one in unknown])
    chain = Chain(records).entries()
    chained = [str(one.run) for one in chain if one.run]
    found = _folders(records, tenant, record, chained)
    removed = {str(one.run): one for one in chain if one.event == DISPOSED}
    if record is None:
        found = [folder for folder in found if run_name(records, folder) not in removed]
    for folder in found:
        _refuse_removed(removed.get(run_name(records, folder)))
    if record is None:
        undoable = list(islice((one for one in reversed(found) if _wrote(records, one, chain)), 1))
    else:
        undoable = [one for one in found if _wrote(records, one, chain)]
    if len(undoable) != 1:
        what = record or "of this tenant"
        names = ", ".join(one.name for one in undoable)
        how_many = f"several: {names}" if undoable else "no record that changed anything in sections 01 to 06"
        raise InputError(
            [f"record {what}: {how_many}"],
            next_step="runbook records list shows them; name a record outside the chain explicitly; to"
            " restore what a rollback or a retirement removed, apply the tenant's parameters",
        )
    [folder] = undoable
    _check(records, folder, chain)
    if later := next((what for one in _writes(folder) if (what := journal.newer_than_this(one))), ""):
        raise _newer(folder.name, f"{journal.FILE_NAME}: {later}")
    if not all(journal.is_readable(one) for one in _writes(folder)):
        raise RecordError(
            f"record {folder.name}: its journal has a line that cannot be read",
            meaning="it is not known what else the run did; nothing was sent",
            next_step="read the record (runbook records show), and undo its changes by hand",
        )
    elsewhere = [one for one in _writes(folder) if one["target"] != dict(target)]
    if elsewhere:
        raise InputError([f"record {folder.name} is for another target (sandbox or live, account, PBX)"])
    vouched = run_name(records, folder) in chained
    _refuse_other_places(folder, parameters)
    return RecordToUndo(folder, tuple(only), vouched)


def parameter_files_of(records: Path, record: str) -> tuple[str, dict[str, str]]:
    """Return the run id and the parameter files (``site``, ``tenant``) of the record that is meant.

    ``record`` is a run id or its beginning, the record's whole name (``site/tenant/run id``) or its
    folder. Raises ``InputError`` when there is no such record, or more than one.
    """
    wanted = record.rstrip("/").rpartition("/")[2]
    if not re.fullmatch(r"[0-9A-Za-z-]+", wanted):
        raise InputError([f"record: {record!r} is not a run ID"])
    chain = Chain(records).entries()
    chained = {one.run for one in chain if is_run(one.run) and one.run.rpartition("/")[2].startswith(wanted)}
    # Those that the chain does not have are found as well, to be refused with the reason.
    found = sorted(
        chained | {run_name(records, one.parent) for one in records.glob(f"*/*/{wanted}*/{OPENING}")}
    )
    if len(found) != 1:
        names = ", ".join(one.rpartition("/")[2] for one in found)
        how_many = f"several: {names}" if found else "no record of the runbook command"
        raise InputError([f"record {record}: {how_many}"], next_step="runbook records list shows them")
    folder = records / found[0]
    _check(records, folder, chain)
    return folder.name, read_mapping(folder / OPENING)["files"]


def _folders(records: Path, tenant: Path, record: str | None, chained: Collection[str]) -> list[Path]:
    """The tenant's runs of which one may be meant; unnamed, those that the chain has, in its order."""
    name = run_name(records, tenant)
    of_chain = {records / run for run in chained if run.startswith(f"{name}/{record or ''}")}
    if record is None:
        return [folder for run in dict.fromkeys(chained) if (folder := records / run) in of_chain]
    return sorted({*of_chain, *(one.parent for one in tenant.glob(f"{record}*/{journal.FILE_NAME}"))})


def _wrote(records: Path, folder: Path, chain: Sequence[Entry]) -> bool:
    """Whether a run wrote something in the guide's sections, so that there is something to undo."""
    try:
        return any(_is_forward(write) or journal.newer_than_this(write) for write in _writes(folder))
    except OSError as error:
        run = run_name(records, folder)
        closed = any(one.run == run and one.event == CLOSED for one in chain)
        listed = read_mapping(folder / CHECKSUMS).get("files")
        kept = closed and not (isinstance(listed, dict) and journal.FILE_NAME not in listed)
        if isinstance(error, FileNotFoundError) and not kept:
            return False  # a run that wrote nothing has no journal
        _check(records, folder, chain)
        raise unreadable(error) from None


def _refuse_removed(entry: Entry | None) -> None:
    if entry is not None:
        raise RecordError(
            f"record {entry.run} was removed by rule on {entry.at}",
            meaning="how things were before it is no longer known; nothing was sent",
            next_step="set the values as they should be in the parameters, and apply them",
        )


def _check(records: Path, folder: Path, chain: Sequence[Entry]) -> None:
    """Raise when the record was changed after it was closed: its journal decides what is removed."""
    run = run_name(records, folder)
    _refuse_removed(next((one for one in chain if one.run == run and one.event == DISPOSED), None))
    if not any(one.run == run for one in chain):
        if not any(os.path.lexists(folder / name) for name in (OPENING, RECORD, CHECKSUMS)):
            return  # older than the register, or made by hand: it was named, and the plan warns about it
        raise RecordError(
            f"record {run}: the chain has no entry for this record",
            meaning="it is a copy, or the chain was cut, so it may not show what was really done; nothing"
            " was sent",
            next_step="give the original's run ID (runbook records list), or restore the chain",
        )
    if not any(one.run == run and one.event in (CLOSED, ADOPTED) for one in chain):
        raise RecordError(
            f"record {run} is not closed",
            meaning="its run is still going on, or it died; nothing was sent",
            next_step="wait until the run has ended; if it died: runbook records close RUN, then check"
            " what it left (runbook records show RUN)",
        )
    problems = verify_record(records, run, chain)
    if not only_newer(problems):  # whoever changed a file can write any format into it
        raise RecordError(
            f"record {run}: " + "; ".join(f"{problem.path}: {problem.what}" for problem in problems),
            meaning="it may not show what was really done; nothing was sent",
            next_step="find out who changed it, and undo by hand what needs undoing",
        )
    later = {name: newer(read_mapping(folder / name)) for name in (OPENING, RECORD, CHECKSUMS)}
    if found := [f"{name}: {what}" for name, what in later.items() if what]:
        raise _newer(run, "; ".join(found))


def _newer(run: str, what: str) -> RecordError:
    return RecordError(
        f"record {run}: {what}",
        meaning="it is not damaged, but this runbook does not understand all of it; nothing was sent",
        next_step="upgrade the runbook on this machine, and roll back with the new version",
    )


def _refuse_other_places(folder: Path, parameters: Mapping[str, Any]) -> None:
    """Raise when the parameters now point to other resources: what is not found there is not undone."""
    if not os.path.lexists(folder / OPENING):
        return
    then = _places(read_mapping(folder / OPENING)["parameters"])
    now = _places(parameters)
    moved = [f"{name} was {then[name]}, is {now.get(name)}" for name in then if then[name] != now.get(name)]
    if moved:
        raise InputError(
            [f"record {folder.name} was made with different parameters: {one}" for one in moved],
            next_step="give a tenant file (--tenant) and a site file (--site) with the values of the record",
        )


def _places(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Where the parameters look for a tenant's resources: its domain, its level, its termination URI."""
    site, tenant = parameters.get("site") or {}, parameters.get("tenant") or {}
    shared = tenant.get("shared_trunk")
    trunk = (site.get("shared_trunks") or {}).get(shared) if shared else tenant
    places = {"pbx_domain": tenant.get("pbx_domain"), "shared_trunk": shared}
    if trunk and trunk.get("trunk"):
        # With another edge it is the same trunk.
        places["trunk.termination"] = termination_label(trunk["trunk"].get("termination") or "")
    return places if tenant else {}


def _writes(folder: Path) -> list[dict[str, object]]:
    return journal.read_journal(folder / journal.FILE_NAME)


def _is_forward(write: Mapping[str, object]) -> bool:
    return write["section"] in RUN_ORDER
