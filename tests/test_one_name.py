"""One name for one thing: no class or public function of the product is defined twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from runbook_lib.cli.app import COMMANDS
from runbook_lib.cli.records import app as records
from tests.conftest import CHECKOUT

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

#: Handed out alone, for any Python: it repeats on purpose what it checks, and imports nothing of the product.
STANDS_ALONE = CHECKOUT / "runbook_lib" / "records" / "check_records.py"
#: Names that several modules may define, each with the reason why it is still one thing.
SAME_ROLE = {
    "main": "where a process of its own begins",
    "Facts": "what the section of that module reads: sections/sNN_name.py alone has one",
}


def _definitions(path: Path) -> Iterator[Definition]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _commands() -> set[tuple[str, str]]:
    """Module and name of each command: its function bears the name that people type."""
    paths = [path.split(".") for path in COMMANDS.values()]
    own = {(f"runbook_lib.cli.{module}", function) for module, function in paths}
    every = records.registered_commands
    return own | {(one.callback.__module__, one.callback.__name__) for one in every if one.callback}


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(one) == "overload" for one in node.decorator_list)


def _answers_requests(node: Definition, path: Path) -> bool:
    """A route of the sandbox is named for what it answers: listing, create, update …"""
    return isinstance(node, ast.AsyncFunctionDef) and "runbook_sandbox" in path.parts


def _defined_more_than_once() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    commands = _commands()
    for package in ("runbook_lib", "runbook_sandbox"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            if path == STANDS_ALONE:
                continue
            module = ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
            for node in _definitions(path):
                is_command = (module, node.name) in commands
                has_reason = is_command or _is_overload(node) or _answers_requests(node, path)
                if not node.name.startswith("_") and not has_reason:
                    found[node.name].append(f"{path.relative_to(CHECKOUT)}:{node.lineno}")
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_name_stands_for_two_things() -> None:
    found = {name: places for name, places in _defined_more_than_once().items() if name not in SAME_ROLE}
    assert not found, "\n".join(f"{name}: {', '.join(places)}" for name, places in found.items())


def test_each_exception_is_still_needed() -> None:
    found = _defined_more_than_once()
    assert set(SAME_ROLE) <= set(found)
    assert all(place.startswith("runbook_lib/sections/s") for place in found["Facts"])
