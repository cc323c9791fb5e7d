"""What is imported is declared, what is declared is imported, and every Python has its pins."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
#: Declared for another reason than an import of ours.
USED_OTHERWISE = {
    "distributed": "started as modules by the tests",
    "import-linter": "called by make test",
    "jupyterlab": "started as a module by runbook lab",
    "jsonschema": "bounded only: newer ones make every start slow",
    "mypy": "called by make test",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "called by make test",
    "setuptools": "builds the package, so the pins and a wheelhouse need it",
}
PACKAGES = ("runbook_lib", "runbook_sandbox")
OWN = {*PACKAGES, "tests", "benchmarks"}


def declared(extra: str | None) -> set[str]:
    project = PROJECT["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(*folders: str) -> set[str]:
    """The distributions that the code below folders imports."""
    files = [path for folder in folders for path in (CHECKOUT / folder).rglob("*.py")]
    names = {name for path in files for name in _imports(path)} - OWN - sys.stdlib_module_names
    known = packages_distributions()
    return {canonicalize_name(known[name][0]) for name in names}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def test_the_library_declares_what_it_imports_and_nothing_else() -> None:
    known = declared(None) | declared("dask")
    assert imported(*PACKAGES) ^ known <= set(USED_OTHERWISE)
    assert imported(*PACKAGES) <= known
    # An extra is imported only where it is asked for.
    assert declared("dask") <= declared("test")


def test_the_tests_declare_what_they_import_and_nothing_else() -> None:
    needed = imported("tests", "benchmarks") - declared(None)
    assert needed <= declared("test")
    assert declared("test") - needed <= set(USED_OTHERWISE)


@pytest.mark.parametrize("place", ["https://", "http://", "index-url", "file:"])
def test_the_pins_name_no_place(place: str) -> None:
    assert place not in (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")


def test_every_declared_package_is_pinned_for_every_python() -> None:
    pins = _pins()
    assert declared(None) | declared("test") <= set(pins)
    # One that holds for some Pythons only has another for the rest.
    for name in declared(None) | declared("test"):
        assert len(pins[name]) > 1 or pins[name][0].marker is None, name


def _pins() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not re.match(r"\s*#", line):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins
