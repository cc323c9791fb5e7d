"""Runs that only looked: plans and verifications that are in no chain are not kept for ever.

What is removed is certain to be no evidence: nothing was written, nothing was opened or approved, and the
chain has never heard of it. Anything else, and anything unknown among the files, stays.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..plain_files import read_mapping
from . import living
from .chain import Chain
from .run_folder import run_name
from .verify import READING

_RUN = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]+")
_FILES = re.compile(
    r"[0-9]{2}(_[a-z_]+\.(ipynb|html)|\.result\.json|\.plan-[0-9a-f]+\.json)"
    r"|(run|progress)\.json|index\.html|(site|tenant)\.yaml|\.run\.lock"
)


def remove_old_plans(owner: Path, days: int) -> list[Path]:
    """Remove the runs of one tenant (or trunk) that only looked, and are older than this many days.

    ``owner`` is its folder in the records. Returns the folders that are gone; one that cannot be removed
    stays.
    """
    limit = datetime.now(UTC) - timedelta(days=days)
    found = [folder for folder in _old(owner, limit) if _only_looked(folder, limit)]
    if not found:
        return []
    records = owner.parent.parent
    chained = {entry.run for entry in Chain(records).entries()}
    removed = []
    for folder in found:
        if run_name(records, folder) not in chained:
            with suppress(OSError):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def _old(owner: Path, limit: datetime) -> Iterator[Path]:
    with suppress(OSError):
        for entry in sorted(os.scandir(owner), key=lambda entry: entry.name):
            found = _RUN.fullmatch(entry.name)
            if found is None or not entry.is_dir(follow_symlinks=False):
                continue
            with suppress(ValueError):
                if datetime.strptime(f"{found[1]}+0000", "%Y%m%dT%H%M%S%z") < limit:
                    yield Path(entry.path)


def _only_looked(folder: Path, limit: datetime) -> bool:
    """Whether all of a run's files are those of a plan or verification that ended before a time."""
    try:
        if living.is_going_on(folder):
            return False
        modes = set()
        for entry in list(os.scandir(folder)):
            plain = entry.is_file(follow_symlinks=False) and _FILES.fullmatch(entry.name)
            if not plain or entry.stat(follow_symlinks=False).st_mtime > limit.timestamp():
                return False
            if entry.name == "run.json" or entry.name.endswith(".result.json"):
                told = read_mapping(Path(entry.path))
                modes.add(told.get("mode") if not told.get("writes") else "apply")
    except OSError:
        return False
    return bool(modes) and modes <= {*READING}
