"""Choosing the record that is to be rolled back, and refusing one that cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..guide import RUN_ORDER
from . import journal
from .chain import Chain
from .errors import RecordError
from .record import OPENING
from .verify import check_record


@dataclass(frozen=True)
class RecordToUndo:
    """A record that is to be rolled back: its folder, and the sections of it (none: all)."""

    folder: Path
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The record's run id."""
        return self.folder.name

    @property
    def journal(self) -> Path:
        """The record's journal: every write with what was there before."""
        return self.folder / journal.FILE_NAME

    def covers(self, section: str) -> bool:
        """Whether what this section did is to be rolled back."""
        return not self.only or section in self.only


def record_to_undo(
    records: Path, tenant: Path, record: str | None, only: Sequence[str], target: Mapping[str, str]
) -> RecordToUndo:
    """Return the record of a tenant that is meant.

    Parameters
    ----------
    records, tenant
        The records folder, and the tenant's folder inside it.
    record
        The run id, or its beginning; ``None`` for the newest run that wrote something.
    only
        Numbers of the sections that are to be rolled back; none for all of them.
    target
        What the record must be for.

    Raises ``InputError`` when no such record can be rolled back, ``RecordError`` when it is not what
    it was when it was closed.
    """
    if record is not None and not re.fullmatch(r"[0-9A-Za-z-]+", record):
        raise InputError([f"record: {record!r} is not a run id: give it as runbook records list shows it"])
    unknown = [one for one in only if one not in RUN_ORDER]
    if unknown:
        raise InputError([f"only: {one!r} is not a section" for one in unknown])
    found = [one.parent for one in sorted(tenant.glob(f"{record or ''}*/{journal.FILE_NAME}"))]
    undoable = [one for one in found if any(_is_forward(write) for write in _writes(one))]
    if record is None:
        undoable = undoable[-1:]
    if len(undoable) != 1:
        what = record or "of this tenant"
        how_many = f"{len(undoable)} records" if undoable else "no record that wrote something by the guide"
        raise InputError(
            [f"record {what}: {how_many}"],
            next_step="runbook records list shows them; what a rollback or a retirement took away,"
            " applying the tenant's parameters makes again",
        )
    [folder] = undoable
    elsewhere = [one for one in _writes(folder) if one["target"] != dict(target)]
    if elsewhere:
        raise InputError([f"record {folder.name} is of another target (sandbox or live, account, PBX)"])
    _check(records, folder)
    return RecordToUndo(folder, tuple(only))


def files_of(records: Path, record: str) -> tuple[str, dict[str, str]]:
    """Return the run id and the parameter files (``site``, ``tenant``) of the record that is meant.

    ``record`` is a run id or its beginning, the record's whole name (``site/tenant/run id``) or its
    folder. Raises ``InputError`` when there is no such record, or more than one.
    """
    wanted = record.rstrip("/").rpartition("/")[2]
    if not re.fullmatch(r"[0-9A-Za-z-]+", wanted):
        raise InputError([f"record: {record!r} is not a run id"])
    found = sorted(records.glob(f"*/*/{wanted}*/{OPENING}"))
    if len(found) != 1:
        how_many = f"{len(found)} records" if found else "no record of the runbook command"
        raise InputError([f"record {record}: {how_many}"], next_step="runbook records list shows them")
    return found[0].parent.name, json.loads(found[0].read_text(encoding="utf-8"))["files"]


def _check(records: Path, folder: Path) -> None:
    """Raise when the record was changed after it was closed: its journal says what is taken away."""
    run = folder.relative_to(records).as_posix()
    if not any(one.run == run for one in Chain(records).entries()):
        return  # plain papermill or JupyterLab wrote it: nothing was promised
    if problems := check_record(records, run):
        raise RecordError(
            f"record {run}: " + "; ".join(f"{one.path}: {one.what}" for one in problems),
            meaning="what it says that was done may not be what was done; nothing was sent",
            next_step="find out who changed it; undo by hand what has to be undone",
        )


def _writes(folder: Path) -> list[dict[str, object]]:
    return journal.read(folder / journal.FILE_NAME)


def _is_forward(write: Mapping[str, object]) -> bool:
    return write["section"] in RUN_ORDER
