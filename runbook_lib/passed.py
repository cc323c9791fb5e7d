"""The parameters passed to a notebook: whether it has these names, and whether they are enough.

Papermill only warns about a name that a notebook does not have, and runs it with its defaults: a
misspelt ``tenant`` would change the wrong tenant.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

#: What papermill itself adds with ``--inject-paths``.
OF_PAPERMILL = frozenset({"PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"})
#: What our notebooks call to open a page, each of them once.
OPENINGS = ("open_section(", "open_tenant(", "open_home(", "open_parameters(")
NEXT_STEP = "correct the parameters passed to the notebook; nothing was read or sent"


def unknown(names: Iterable[str], declared: Collection[str]) -> list[str]:
    """Return a problem for each name that the notebook does not declare."""
    return [
        f"{_shown(name)}: the notebook has no such parameter; {_hint(name, declared)}"
        for name in names
        if name not in declared and name not in OF_PAPERMILL
    ]


def not_passed(names: Collection[str], mode: object) -> list[str]:
    """Return a problem for each of site and tenant that an unattended run leaves at its default.

    Only in mode ``apply``: in any other mode nothing is written.
    """
    if mode != "apply":
        return []
    return [
        f"{name}: was not passed: an unattended apply needs both site and tenant (papermill … -p "
        "site PATH -p tenant PATH)"
        for name in ("site", "tenant")
        if name not in names
    ]


def assigned(source: str) -> list[str]:
    """Return the names that a cell's own lines assign; none for a cell that is not Python."""
    found: list[str] = []
    with suppress(SyntaxError, ValueError):
        for line in ast.parse(source).body:
            if isinstance(line, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = line.targets if isinstance(line, ast.Assign) else [line.target]
                nodes = [node for target in targets for node in ast.walk(target)]
                found += [node.id for node in nodes if isinstance(node, ast.Name)]
    return found


def literals(source: str) -> Iterator[tuple[str, Any]]:
    """Yield the names that a cell's lines assign plain values, with these."""
    with suppress(SyntaxError, ValueError):
        for line in ast.parse(source).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                yield line.targets[0].id, ast.literal_eval(line.value)


def _hint(name: str, declared: Collection[str]) -> str:
    known = sorted(declared)
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"


def _shown(name: str) -> str:
    """A name for display; text that does not look like a name could be anything and is not shown."""
    return name if re.fullmatch(r"[\w.-]{1,63}", name) else "(not a name)"
