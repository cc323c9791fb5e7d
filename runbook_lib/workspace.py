"""The workspace: the folder with what an operator owns (parameters, records and working copies).

It is a folder with ``runbook.toml``, or a checkout of the product. It is named (``--workspace``,
``RUNBOOK_WORKSPACE``), or found from the current folder upward, or it is the checkout that contains this
code. It is never where packages are installed: the next upgrade would delete whatever was written there.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import product
from .errors import InputError
from .paths import current_folder
from .plain_files import SMALL, describe, read

FILE = "runbook.toml"
FORMAT = 1
VARIABLE = "RUNBOOK_WORKSPACE"
#: The name from before there were workspaces. It may also name a folder without ``runbook.toml``.
OLD_VARIABLE = "RUNBOOK_ROOT"
RECORDS = "records"
MAKE_ONE = "create one: runbook init FOLDER; or name yours: runbook --workspace FOLDER …"


@dataclass(frozen=True)
class Workspace:
    """A workspace's folder, the place of its records, and the version that made it (``None``: a checkout)."""

    folder: Path
    records: Path
    made_with: str | None = None


def find_workspace() -> Workspace:
    """Return the workspace of this process.

    Once found from the current folder it stays the same, even if a cell changes the current folder.
    Raises ``InputError`` if there is none, or if it must not be used.
    """
    for variable in (VARIABLE, OLD_VARIABLE):
        if given := os.environ.get(variable):
            folder = full_path(given, variable).resolve()
            # Child processes have another current folder.
            os.environ[variable] = str(folder)
            return _named(folder, variable)
    return read_workspace(_found())


@cache
def read_workspace(folder: Path) -> Workspace:
    """Return the workspace at a folder, which may lack ``runbook.toml``; read once in a process.

    Raises ``InputError`` for a ``runbook.toml`` that cannot be used.
    """
    if product.is_installation(folder):
        raise InputError(
            [f"{folder} is where packages are installed: an upgrade deletes what is written there"],
            next_step=MAKE_ONE,
        )
    path = folder / FILE
    if not os.path.lexists(path):
        return Workspace(folder, folder / RECORDS)
    settings = _read_settings(path)
    records = (folder / full_path(settings.get("records", RECORDS), f"{path}: records")).absolute()
    if product.is_installation(records):
        raise InputError([f"{path}: records: {records} is where packages are installed"])
    return Workspace(folder, records, settings["made_with"])


def full_path(given: str | Path, what: str) -> Path:
    """Return a path with ``~`` expanded; ``what`` is its name for the ``InputError`` if that fails."""
    try:
        path = Path(given).expanduser()
    except RuntimeError:
        path = None
    if path is None or "\0" in str(path):
        raise InputError([f"{what}: {str(given)!r} is not a path"])
    return path


def records_folder(root: Path) -> Path:
    """Return the records folder of the workspace at ``root``."""
    return read_workspace(root).records


def settings_text(version: str, records: str) -> str:
    """Return the content of ``runbook.toml``."""
    return (
        "# A workspace of the runbook. Keep this file with your parameters.\n"
        f"format = {FORMAT}\n"
        f"made_with = {_quoted(version)}\n"
        "# The folder of change records and journals. A relative path starts at this file.\n"
        f"records = {_quoted(records)}\n"
    )


def with_version(settings: str, version: str) -> str:
    """Return the content of a ``runbook.toml`` with another version in it, otherwise unchanged."""
    line = f"made_with = {_quoted(version)}"
    changed, count = re.subn(r"^made_with *=.*$", lambda _: line, settings, count=1, flags=re.MULTILINE)
    return changed if count else f"{line}\n{settings}"


def work_tree_of(folder: Path) -> Path | None:
    """Return the git work tree that contains, or would contain, a folder; ``None`` if there is none."""
    folder = Path(os.path.realpath(folder))
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one / ".git")), None)


def _named(folder: Path, variable: str) -> Workspace:
    if not folder.is_dir():
        raise InputError([f"{variable}: there is no folder {folder}"], next_step=MAKE_ONE)
    if variable == VARIABLE and not _is_workspace(folder):
        raise InputError([f"{folder} is not a workspace: it has no {FILE}"], next_step=MAKE_ONE)
    return read_workspace(folder)


def workspace_around(folder: Path) -> Workspace | None:
    """Return the nearest workspace that a folder is, or is inside; ``None`` if there is none.

    Raises ``InputError`` if it must not be used.
    """
    for around in (folder, *folder.parents):
        if _is_workspace(around):
            if not os.path.lexists(around / FILE) and around != product.CHECKOUT:
                _require_owner(around)  # another checkout, which somebody else may have created
            return read_workspace(around)
    return None


@cache
def _found() -> Path:
    here = current_folder()
    workspace = workspace_around(here) if here is not None else None
    if workspace is not None:
        return workspace.folder
    if product.CHECKOUT is None:
        raise InputError([f"there is no workspace in {here} or above it"], next_step=MAKE_ONE)
    return product.CHECKOUT


def _is_workspace(folder: Path) -> bool:
    return os.path.lexists(folder / FILE) or product.is_checkout(folder)


def _require_owner(path: Path) -> None:
    """Raise ``InputError`` for a path that belongs neither to root nor to this account."""
    try:
        owner = path.stat().st_uid
    except OSError as error:
        raise InputError([f"{describe(error)}: the workspace cannot be used"]) from None
    if owner not in (0, os.geteuid()):
        raise InputError(
            [f"{path} belongs to another account (uid {owner}), which could lead your runs elsewhere"],
            next_step="let root own it (chown root), or create your own workspace: runbook init FOLDER",
        )


def _read_settings(path: Path) -> dict[str, str]:
    _require_owner(path)
    try:
        content = read(path, SMALL)
    except OSError as error:
        raise InputError([f"{describe(error)}: the workspace cannot be used"]) from None
    try:
        settings = tomllib.loads(content.decode())
    except ValueError as error:
        raise InputError([f"{path}: is not readable TOML ({error})"]) from None
    found, made_with = settings.pop("format", None), settings.get("made_with", "")
    if type(found) is int and found > FORMAT:
        raise InputError(
            [f"{path} was written by a newer runbook (format {found}, version {made_with or 'unknown'})"],
            next_step="upgrade the runbook that you run; nothing was sent",
        )
    problems = [] if type(found) is int and found >= 1 else [f"{path}: format: write {FORMAT} here"]
    unknown = sorted(settings.keys() - {"made_with", "records"})
    problems += [
        f"{path}: {name}: unknown key; the known keys are format, made_with, records" for name in unknown
    ]
    problems += [
        f"{path}: {name}: write text here, in quotes"
        for name in ("made_with", "records")
        if not isinstance(settings.get(name, "-"), str) or settings.get(name) == ""
    ]
    if problems:
        raise InputError(problems)
    return {"made_with": "", **settings}


def _quoted(text: str) -> str:
    """A text as TOML writes it, which is as JSON does."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
