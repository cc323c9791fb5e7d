"""Checks of a notebook's parameters before its first byte is written.

Papermill writes the parameters into the notebook before the first cell runs. So a secret's value among
them must be refused here, and the secrets behind the references must be registered here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, RunbookError
from ..passed import NEXT_STEP as PASS_THEM
from ..passed import OPENINGS, assigned, literals, not_passed, unknown
from ..secret import SecretRef, find_secrets

NEXT_STEP = (
    "pass only references; change any secret that was passed here, because the shell's history may contain it"
)
#: Keys whose text is treated as a secret, in our parameters and in names that people make up.
_SECRET_KEY = re.compile(r"passw|pwd|secret|token|api_?key(?!_sid)|credential", re.IGNORECASE)


def check_parameters(notebook: Any) -> Path | None:
    """Register the secrets behind a notebook's parameters with the filter, and refuse secrets' values.

    Returns the folder for this run's files; ``None`` for parameters that cannot be loaded, in which
    case there is none.

    Raises ``InputError`` naming the keys, never a value: for a name that the notebook does not have,
    for ``apply`` without site and tenant, for a secret's value among the parameters, and for any
    problem in a site or tenant that is passed as content, because a value at the wrong key may be a
    secret. Problems of a file are reported by the notebook itself.
    """
    from ..parameters import project_root  # costly, and papermill imports our engine always
    from ..parameters.document import AS_CONTENT, is_content

    given = notebook.metadata.get("papermill", {}).get("parameters") or {}
    defaults = _defaults(notebook)
    folder = None
    passing = _passing(notebook, given, defaults)
    problems = [
        f"{key}: {AS_CONTENT}"
        for key in ("site", "tenant")
        if isinstance(given.get(key), str) and is_content(given[key], project_root())
    ]
    problems += [
        f"{path}: give a reference (env:NAME, file:PATH, keyring:SERVICE/USER), not the value"
        for path, text in _texts(given, "")
        if _SECRET_KEY.search(path.rpartition(".")[2]) and not _is_reference(text)
    ]
    if not problems and not passing:
        problems, folder = _loaded({**defaults, **given})
    known = find_secrets(json.dumps(given, default=str))
    problems += [f"the parameters contain the value of the secret at {name}: remove it" for name in known]
    if problems or passing:
        raise InputError(passing + problems, next_step=NEXT_STEP if problems else PASS_THEM)
    return folder


def _passing(notebook: Any, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The problems with the names that were passed to one of our notebooks."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not any(opening in cell.source for cell in code for opening in OPENINGS):
        return []  # not a notebook of the runbook: its parameters mean something else
    declared = {name for cell in code if _is_declaration(cell) for name in assigned(cell.source)}
    empty = [f"{key}: is empty: give a file" for key in ("site", "tenant") if key in given and not given[key]]
    mode = {**defaults, **given}.get("mode")
    return [*unknown(given, declared), *empty, *not_passed(given, mode)]


def _loaded(parameters: Mapping[str, Any]) -> tuple[list[str], Path | None]:
    """Load a site and a tenant, which resolves their secrets; return problems of passed content, and the
    run's folder."""
    site, tenant = parameters.get("site"), parameters.get("tenant")
    if not site or not tenant:
        return [], None
    from ..parameters import load, project_root
    from ..records.result import run_folder

    root = project_root()
    try:
        the_site, the_tenant = load(site, tenant, root)
    except InputError as error:
        passed = isinstance(site, Mapping) or isinstance(tenant, Mapping)
        return (error.problems if passed else []), None
    except (RunbookError, OSError, ValueError):
        return [], None  # not a notebook of the runbook: its parameters mean something else
    return [], run_folder(root, the_site.name, the_tenant.name)


def _defaults(notebook: Any) -> dict[str, Any]:
    """The plain values that the cell tagged ``parameters`` assigns."""
    cells = [cell.source for cell in notebook.cells if _is_declaration(cell)]
    return {name: value for source in cells for name, value in literals(source)}


def _is_declaration(cell: Any) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def _texts(content: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text of plain data, with the keys that lead to it."""
    if isinstance(content, str):
        yield path, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            name = str(key) if re.fullmatch(r"\w{1,40}", str(key)) else "(not a key)"
            yield from _texts(value, f"{path}.{name}" if path else name)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value, path)


def _is_reference(text: str) -> bool:
    try:
        SecretRef.parse(text)
    except ValueError:
        return False
    return True
