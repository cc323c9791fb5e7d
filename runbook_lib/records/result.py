"""Where a run keeps its files, and the result of one section as plain data."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..plain_files import write_whole
from ..workspace import records_folder
from .errors import RecordError

#: Closes a record: written last, and covers all its other files.
CHECKSUMS = "checksums.json"
#: Set by the runner for its kernels, so that all sections of a run share one folder.
RUN_FOLDER = "RUNBOOK_RUN_DIR"


def new_run_id() -> str:
    """Return a run id: UTC time, then a random part, so that runs sort by time and never collide."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def run_folder(root: Path, site: str, tenant: str) -> Path:
    """Return this run's folder, ``records/<site>/<tenant>/<run id>``; made with the first file in it.

    The runner sets it for its kernels; papermill alone and JupyterLab get their own.
    """
    given = os.environ.get(RUN_FOLDER)
    return Path(given) if given else records_folder(root) / site / tenant / new_run_id()


def write_result(folder: Path, section: str, result: dict[str, Any]) -> Path:
    """Write a section's result as ``NN.result.json``; complete or not at all."""
    return write_json(folder / f"{section}.result.json", result)


def require_open(folder: Path) -> None:
    """Raise ``RecordError`` when a run's folder is a closed record, which is never written again."""
    if os.path.lexists(folder / CHECKSUMS):  # also of a link that leads nowhere
        raise RecordError(
            f"record {folder.name} is already closed",
            meaning="a closed record is never changed; nothing was written",
            next_step="start a new run, without the environment variable RUNBOOK_RUN_DIR",
        )


def write_json(path: Path, content: Any) -> Path:
    """Write plain data as JSON; complete or not at all, on disk when this returns."""
    require_open(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
