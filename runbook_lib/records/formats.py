"""Formats of files that last: older ones are understood, newer ones are called newer and never damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Of the JSON files of a record, of the files of the chain's events, and of a journal's lines.
FORMAT = 1


def newer(content: Mapping[str, Any], known: int = FORMAT) -> str:
    """Return that a newer runbook wrote a file, with its version if known; empty if none did."""
    found, runbook = content.get("format"), content.get("runbook")
    if type(found) is not int or found <= known:
        return ""
    version = runbook.get("version") if isinstance(runbook, Mapping) else runbook
    named = f"version {version}, " if isinstance(version, str) else ""
    return f"written by a newer runbook ({named}format {found}; this one reads {known}): upgrade this one"
