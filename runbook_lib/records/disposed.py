"""``disposed.json``: what stays of a record that was removed by rule. It is read where journals are read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..keys import ResourceKey
from ..plan import field_of
from .chain import Entry
from .errors import RecordError
from .events import DISPOSED
from .footprint import touched_by
from .formats import FORMAT
from .journal import key_of

DISPOSED_FILE = "disposed.json"


def brief(
    run: str, files: Mapping[str, str], writes: Sequence[Mapping[str, Any]], used: Mapping[str, Any]
) -> bytes:
    """Return the content of ``disposed.json``.

    Parameters
    ----------
    run
        The run's name in the chain.
    files
        The digests of what is removed, by name.
    writes
        The writes of the run's journal.
    used
        What ``used.json`` says of the approval that the run used; empty without one.
    """
    told = {
        "format": FORMAT,
        "run": run,
        "writes": [_kept(write) for write in writes if write["target"] is not None],
        "used": {name: used[name] for name in ("approval", "plan") if name in used},
        "removed": dict(files),
    }
    return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()


def _kept(write: Mapping[str, Any]) -> dict[str, Any]:
    answer, found = write["answer"], write["found"]
    return {
        "target": write["target"],
        "section": write["section"],
        "key": key_of(write).to_data(),
        "vendor": write["vendor"],
        "what": touched_by(write)[1],
        "at": write["at"],
        **({"vendor_time": write["vendor_time"]} if "vendor_time" in write else {}),
        "passwords": sorted({field_of(row) for row in write["rows"]} - {""}),
        "answer": answer and _end(answer) | {name: answer.get(name) for name in ("status", "left")},
        "found": found and _end(found),
    }


def _end(end: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says that is known by: the vendor's id, and when it changed the resource last."""
    date = (end.get("fields") or {}).get("date_updated")
    return {"result": end["result"], "date_updated": date}


def writes_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the writes of a ``disposed.json`` as a journal's, without values.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` for a file that is not as the runbook writes it.
    """
    writes = []
    for number, kept in enumerate(content["writes"], start=1):
        ResourceKey.from_data(kept["key"])
        writes.append(
            {
                **{name: kept[name] for name in ("target", "section", "key", "vendor", "at")},
                **({"vendor_time": kept["vendor_time"]} if "vendor_time" in kept else {}),
                "event": "sending",
                "entry": f"disposed {number}",
                "resource": "",
                "method": "DELETE" if kept["what"] == "removed" else "POST",
                "path": "",
                "body": None,
                "before": None,
                "rows": [],
                "answer": kept["answer"] and _whole(kept["answer"]),
                "found": kept["found"] and _whole(kept["found"]),
            }
        )
    return writes


def _whole(end: Mapping[str, Any]) -> dict[str, Any]:
    date = end["date_updated"]
    return {"error": None, **end, "fields": {"date_updated": date} if date else {}}


def refuse_removed(entries: Sequence[Entry], run: str) -> None:
    """Raise ``RecordError`` for a record that was removed by rule: what it held is gone for good."""
    removed = next((entry for entry in entries if (entry.run, entry.event) == (run, DISPOSED)), None)
    if removed is not None:
        raise RecordError(
            f"record {run} was removed by rule on {removed.at}",
            meaning="only the names of what it created are left, not the values; nothing was done",
            next_step=f"to see who removed it and why: runbook records show {run}",
        )


def leftovers(folder: Path) -> list[str]:
    """Return what is in a folder beside ``disposed.json``, sorted; nothing where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if name != DISPOSED_FILE)
    except FileNotFoundError:
        return []
