"""What must be known of a notebook's parameters before the first byte of it is written.

Papermill writes the parameters into the notebook before the first cell runs. So whoever passes a
secret's value has to be stopped here, and the secrets behind the references have to be known here.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import InputError
from ..secret import SecretRef, find

NEXT_STEP = "give references only; change a secret that was passed here, it may be in a shell's history"
#: Keys under which a text is taken for a secret, in our parameters and in those that people invent.
_SECRET_KEY = re.compile(r"passw|pwd|secret|token|api_?key(?!_sid)|credential", re.IGNORECASE)
#: What no path of a parameter file holds, and the content of one does.
_CONTENT = re.compile(r"[{}\n]|: ")


def check_parameters(notebook: Any) -> None:
    """Make the filter know the secrets behind a notebook's parameters, and refuse values of secrets.

    Raises ``InputError`` naming the keys, never a value: for a secret's value among the parameters,
    and for any problem in a site or tenant that is passed as content, as what stands at the wrong
    key may be a secret. What is wrong with a file, the notebook itself tells.
    """
    given = notebook.metadata.get("papermill", {}).get("parameters") or {}
    problems = [
        f"{key}: give the path of a parameter file (to pass its content, use papermill's -f or -y)"
        for key in ("site", "tenant")
        if isinstance(given.get(key), str) and _is_content(given[key])
    ]
    problems += [
        f"{path}: give a reference (env:NAME, file:PATH, keyring:SERVICE/USER), not the value"
        for path, text in _texts(given, "")
        if _SECRET_KEY.search(path.rpartition(".")[2]) and not _is_reference(text)
    ]
    if not problems:
        problems = _problems_of_content({**_defaults(notebook), **given})
    known = find(json.dumps(given, default=str))
    problems += [f"the parameters hold the value of the secret at {name}: take it out" for name in known]
    if problems:
        raise InputError(problems, next_step=NEXT_STEP)


def _is_content(text: str) -> bool:
    """Whether a text that should be a file's path is a file's content."""
    from ..parameters import project_root

    return bool(_CONTENT.search(text)) and not os.path.isfile(project_root() / text)


def _problems_of_content(parameters: Mapping[str, Any]) -> list[str]:
    """Load a site and a tenant, which resolves their secrets; return problems of passed content."""
    site, tenant = parameters.get("site"), parameters.get("tenant")
    if not site or not tenant:
        return []
    from ..parameters import load, project_root  # costly, and papermill imports our engine always

    try:
        load(site, tenant, project_root())
    except InputError as error:
        return error.problems if isinstance(site, Mapping) or isinstance(tenant, Mapping) else []
    except Exception:
        return []  # a notebook of somebody else, whose parameters mean something else
    return []


def _defaults(notebook: Any) -> dict[str, Any]:
    """The plain values that the cell tagged ``parameters`` assigns."""
    found: dict[str, Any] = {}
    for cell in notebook.cells:
        if "parameters" not in cell.metadata.get("tags", []):
            continue
        with suppress(SyntaxError, ValueError):
            for line in ast.parse(cell.source).body:
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                    found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


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
