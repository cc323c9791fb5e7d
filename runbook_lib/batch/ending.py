"""How a section ended if its own kernel could not report it: it died, timed out or was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..guide import SECTIONS
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, UNKNOWN
from ..plain_files import read_mapping
from ..records.first_block import mapping
from ..records.journal import writes_in
from ..records.result import now, write_result
from ..secret import scrub

AGAIN = "run it again: it reads the current state and completes what is missing"


def result_of(folder: Path, section: str) -> dict[str, Any]:
    """Return the result that the library wrote; empty if the kernel died before."""
    return read_mapping(folder / f"{section}.result.json")


def outcome_of(output: Path, result: Mapping[str, Any], failure: str, *, interrupted: bool) -> str:
    """Return a section's outcome: succeeded only if everything that is known about it says so."""
    status = _status(output)
    if interrupted or status == INTERRUPTED:
        return INTERRUPTED
    fine = not failure and result.get("outcome") == status == SUCCEEDED
    return SUCCEEDED if fine else FAILED


def settle(
    folder: Path, section: str, known: Mapping[str, Any], outcome: str, failure: str, *, cut_off: bool
) -> dict[str, Any]:
    """Return a section's result, and rewrite it if it does not show the outcome.

    Parameters
    ----------
    known
        What is known about the section without its kernel: run id, mode, target, tenant.
    failure
        What ended it.
    cut_off
        Whether it was ended from outside, so that its own last result does not count.

    Raises ``OSError`` if it cannot be written.
    """
    result = result_of(folder, section)
    if result.get("outcome") == outcome and not cut_off:
        return result
    sent = [one for one in writes_in(folder) if one["section"] == section]
    lost = sum(one["answer"] is None for one in sent)
    told = {
        "kind": outcome,
        "what": scrub(failure) or "the section did not finish",
        "step": None,
        "meaning": f"{lost} of {len(sent)} writes were sent and no answer was seen" if lost else None,
        "next_step": AGAIN,
    }
    result = {
        **known,
        "section": section,
        "title": SECTIONS[section].title,
        "plan": None,
        "applied": None,
        "verification": None,
        **result,
        "writes": max(len(sent), result.get("writes", 0)),
        "error": told if cut_off else result.get("error") or told,
        "ended": now(),
        "outcome": outcome,
    }
    write_result(folder, section, result)
    return result


def _status(output: Path) -> str:
    """The status in an executed notebook's metadata."""
    own = mapping(mapping(read_mapping(output).get("metadata")).get("runbook"))
    return str(own.get("status", UNKNOWN))
