"""What made a record: the runbook's version and source, and the tools that it depends on."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..product import PACKAGE
from ..version import VERSION

TOOLS = (
    "jupyterlab",
    "papermill",
    "nbclient",
    "nbconvert",
    "ipykernel",
    "ipywidgets",
    "pandas",
    "twilio",
    "httpx",
    "pydantic",
)


@cache
def runbook_version() -> dict[str, str]:
    """Return the runbook's version and the digest of its source."""
    return {"version": VERSION, "source": source_digest()}


@cache
def tool_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run depends on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in TOOLS}}


def source_digest(package: Path = PACKAGE) -> str:
    """Return ``sha256:…`` over the names and contents of a package's ``.py`` files.

    It is the SHA-256 of what ``sha256sum`` prints for them (path relative to the package, sorted).
    """
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(package).as_posix()}\n"
        for path in sorted(package.rglob("*.py"), key=lambda one: one.relative_to(package).as_posix())
    )
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def source_state(package: Path = PACKAGE) -> tuple[int, int]:
    """Return what every edit of the source changes: the number of files, their sizes and times summed up."""
    stats = [path.stat() for path in package.rglob("*.py")]
    return len(stats), sum(one.st_mtime_ns + one.st_size for one in stats)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
