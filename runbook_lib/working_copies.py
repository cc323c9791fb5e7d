"""Working copies of the notebooks with their parameters set, a folder per tenant: ``work/SITE/TENANT/``.

An operator chooses a tenant and keeps notes in these; the product's own notebooks stay unchanged, and Apply
always runs those. A copy contains the version that made it and a digest of its cells, so that another version
can renew a copy that nobody has changed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paths import near
from .plain_files import parse_mapping, read, write_whole
from .plan import canonical
from .product import NOTEBOOKS
from .version import VERSION

FOLDER = "work"
#: Key of a copy's metadata.
OWN = "runbook_copy"
#: The home page: a workspace has one copy of it, a tenant has none.
HOME = "index.ipynb"
DISCOVER = "discover.ipynb"
#: Notebooks about a whole site: one copy of each for the workspace.
OF_THE_SITE = (HOME, DISCOVER)
#: The parameter form: see ``make_form`` for those of wrong files and of new tenants.
PARAMETERS = "parameters.ipynb"
#: The notebook of a tenant that is opened first, without its suffix.
FIRST = "tenant"


@dataclass(frozen=True)
class Copy:
    """One working copy: its file, what made it, and whether its cells are still as they were made.

    ``parameters`` are the values that its parameter cell has now, of those with which it was made.
    """

    path: Path
    version: str
    parameters: dict[str, str]
    is_unchanged: bool

    @classmethod
    def at(cls, path: Path) -> Copy | None:
        """Return the copy in a file; ``None`` if it is not a working copy.

        Raises ``OSError`` for a file that cannot be read.
        """
        notebook = parse_mapping(read(path))
        metadata = notebook.get("metadata")
        told = metadata.get(OWN) if isinstance(metadata, dict) else None
        if not isinstance(told, dict) or not isinstance(told.get("parameters"), dict):
            return None
        is_unchanged = told.get("cells") == _digest(notebook)
        now = _assigned(notebook)
        parameters = {name: now.get(name, "") for name in told["parameters"]}
        return cls(path, str(told.get("version")), parameters, is_unchanged)

    @property
    def is_of_this_version(self) -> bool:
        """Whether this version would make the same copy."""
        source = NOTEBOOKS / self.path.name
        return source.is_file() and _made(source, self.parameters) == cells_of(parse_mapping(read(self.path)))

    def renew(self) -> None:
        """Make it again from this version's notebook; its outputs are lost."""
        _write(self.path, self.parameters)


def make(folder: Path, parameters: dict[str, str]) -> list[Copy]:
    """Create the missing copies in a folder; return existing ones that somebody has changed.

    Copies that nobody has changed are renewed if they were made for other parameters.
    """
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    return _make(folder, [name for name in names if name not in OF_THE_SITE], parameters)


def make_for(
    workspace: Path, site_file: Path, site: str, owner_file: Path | str, owner: str
) -> tuple[Path, list[Copy]]:
    """Create the missing copies for a tenant, or for a shared trunk (``"trunk:NAME"``).

    Return their folder, and the existing ones that somebody has changed and that are for other parameters.
    """
    parameters = {
        "site": near(site_file, workspace),
        "tenant": owner_file if isinstance(owner_file, str) else near(owner_file, workspace),
    }
    folder = workspace / FOLDER / site / owner
    return folder, [copy for copy in make(folder, parameters) if copy.parameters != parameters]


def of_another(copy: Copy, workspace: Path) -> str:
    """Explain why a copy that somebody has changed for other parameters is not opened, and what to do."""
    now = ", ".join(f"{name} {value or '(none)'}" for name, value in copy.parameters.items())
    return (
        f"{near(copy.path, workspace)} was edited and is for other parameters now ({now}): it was not opened."
        " Write the parameters that it was made for into its first cell, or rename the file to keep it, then"
        " choose again: a new copy is made."
    )


def make_form(workspace: Path, site_file: Path, tenant_file: Path | None = None) -> tuple[Path, list[Copy]]:
    """Create the form for a tenant's file, or for a new tenant of a site, without reading either file.

    Each has a separate copy: an open page is never for another tenant than the one that was chosen.
    Return its path, and the copy if somebody has changed it so that it is for other files.
    """
    files = {"site": near(site_file, workspace)}
    if tenant_file is not None:
        files["tenant"] = near(tenant_file, workspace)
    place = [f"forms-{_as_folder(files['site'])}", _as_folder(files["tenant"]) if tenant_file else "+new"]
    folder = workspace / FOLDER / place[0] / place[1]
    changed = _make(folder, [PARAMETERS], files)
    return folder / PARAMETERS, [copy for copy in changed if copy.parameters != files]


def _as_folder(path: str) -> str:
    """A file's path as the name of one folder."""
    return path.replace("-", "--").replace("/", "-")


def make_home(workspace: Path, site_file: Path | None) -> Path:
    """Create the copies that are about a whole site, if they are missing; return the home page's path."""
    parameters = {} if site_file is None else {"site": near(site_file, workspace)}
    _make(workspace / FOLDER, OF_THE_SITE, parameters)
    return workspace / FOLDER / HOME


def _make(folder: Path, names: Iterable[str], parameters: dict[str, str]) -> list[Copy]:
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name in names:
        path = folder / name
        copy = Copy.at(path) if path.exists() else None
        if not path.exists() or (copy and copy.is_unchanged and copy.parameters != parameters):
            _write(path, parameters)
        elif copy is not None and not copy.is_unchanged:
            changed.append(copy)
    return changed


def copies(workspace: Path) -> Iterator[Copy]:
    """Yield all working copies of a workspace that are in use, in the order of their paths."""
    left = {*_left_over(workspace)}
    for path in _notebooks(workspace):
        if path not in left and (copy := Copy.at(path)) is not None:
            yield copy


def left_over(workspace: Path) -> Iterator[tuple[Path, Copy | None]]:
    """Yield what nothing uses any longer, each with the copy that it is; ``None`` for somebody's own file."""
    for path in _left_over(workspace):
        yield path, Copy.at(path)


def _left_over(workspace: Path) -> Iterator[Path]:
    """Copies where an earlier version kept them, and copies of notebooks that this version does not have."""
    for path in _notebooks(workspace):
        if (NOTEBOOKS / path.name).is_file():
            is_left = (path.parent == workspace / FOLDER) != (path.name in OF_THE_SITE)
        else:
            is_left = Copy.at(path) is not None
        if is_left:
            yield path


def _notebooks(workspace: Path) -> list[Path]:
    folder = workspace / FOLDER
    return [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("*/*/*.ipynb"))]


def _write(path: Path, parameters: dict[str, str]) -> None:
    notebook = json.loads((NOTEBOOKS / path.name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] = _with(_source(cell), parameters).splitlines(keepends=True)
    notebook["metadata"][OWN] = {"version": VERSION, "parameters": parameters, "cells": _digest(notebook)}
    write_whole(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())
    _trust(path)


def _trust(path: Path) -> None:
    """Sign a notebook that was just made, so that JupyterLab trusts it: it has what the product ships."""
    from jupyter_core.paths import jupyter_data_dir  # only who makes copies pays for it
    from nbformat import read as read_notebook
    from nbformat.sign import NotebookNotary

    folder = Path(jupyter_data_dir())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # an account that never started Jupyter has none
    NotebookNotary(data_dir=str(folder)).sign(read_notebook(path, as_version=4))


def _with(source: str, parameters: dict[str, str]) -> str:
    """A parameter cell with other values in the lines that assign these parameters."""
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, last = statement.targets[0].id, statement.end_lineno or statement.lineno
            if name in parameters:
                lines[statement.lineno - 1 : last] = [f"{name} = {json.dumps(parameters[name])}\n"]
    return "".join(lines)


def _assigned(notebook: Mapping[str, Any]) -> dict[str, str]:
    """The texts that the parameter cell assigns; empty if it cannot be read."""
    found: dict[str, str] = {}
    for _, source, name in cells_of(notebook):
        if name != "parameters":
            continue
        try:
            statements = ast.parse(source).body
        except (SyntaxError, ValueError):
            return {}
        for statement in statements:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                found |= {
                    target.id: str(statement.value.value)
                    for target in statement.targets
                    if isinstance(target, ast.Name)
                }
    return found


def _made(source: Path, parameters: dict[str, str]) -> list[list[str]]:
    cells = cells_of(json.loads(source.read_text(encoding="utf-8")))
    return [[kind, _with(text, parameters) if id == "parameters" else text, id] for kind, text, id in cells]


def _digest(notebook: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(canonical(cells_of(notebook)).encode()).hexdigest()


def cells_of(notebook: Mapping[str, Any]) -> list[list[str]]:
    """What a person writes in a notebook: kind, text and id of each cell. Outputs do not count."""
    cells = notebook.get("cells")
    return [
        [str(cell.get("cell_type")), _source(cell), str(cell.get("id"))]
        for cell in (cells if isinstance(cells, list) else [])
        if isinstance(cell, dict)
    ]


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)
