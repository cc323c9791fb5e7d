"""``record.json``: what a run was, did and left behind, as plain data from the files in its folder.

Works on values only: the caller has read the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..outcomes import UNKNOWN
from .clocks import largest
from .first_block import first_block
from .journal import is_lost

FORMAT = 1
#: A section with writes in the journal and no recorded end.
NOT_ENDED = "begun, not ended"

#: Keys of the opening that are omitted or appear in another form.
_NOT_OF_THE_RECORD = frozenset({"format", "process", "approval"})


def summarize(
    opening: Mapping[str, Any],
    run: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    writes: Sequence[Mapping[str, Any]],
    journal: str,
) -> dict[str, Any]:
    """Return the content of ``record.json``.

    Parameters
    ----------
    opening
        What was known before the run's first section (``opening.json``).
    run
        The runner's ``run.json``; empty for a run that died.
    results
        The sections' ``NN.result.json``, in the order in which they ran.
    writes
        The journal's writes, as ``read_journal`` returns them.
    journal
        Digest of the journal's file.
    """
    record = {
        **{key: value for key, value in opening.items() if key not in _NOT_OF_THE_RECORD},
        "started": run.get("started") or opening.get("started"),
        "ended": run.get("ended"),
        "outcome": run.get("outcome", UNKNOWN),
        "problem": run.get("problem", ""),
        "approver": _approver(opening, results),
        "guide_sections": _sections(opening, run, results, writes),
        "before": [row for one in results for row in _standing(one, one.get("plan") or [])],
        "changes": [_change(write) for write in writes],
        "in_flight": [_change(write) for write in writes if is_lost(write)],
        "after": [
            row for one in results for row in _standing(one, (one.get("verification") or {}).get("rows", []))
        ],
        "verification": [_verification(one) for one in results],
        # Largest number of seconds by which this machine's clock was ahead of each vendor's.
        "clocks": largest(one.get("clocks") or {} for one in results),
        "journal": {"digest": journal, "writes": len(writes)},
    }
    if at_once := max((one.get("twilio_at_once") or 0 for one in results), default=0):
        # The most requests at once that Twilio reported for the account, this run's and all others'.
        record["twilio_at_once"] = at_once
    # What was there before this run, and is not what the records had left.
    if outside := [row for one in results for row in _outside(one)]:
        record["changed_outside"] = outside
    return {"format": FORMAT, "first": first_block(record).to_data(), **record}


def _approver(opening: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Who approved which plan: the same for all sections of a run; of one that died, said by its opening."""
    approval = opening.get("approval") or {}
    author = {"author": approval["author"]} if "author" in approval else {}  # of whom the plan is
    if results:
        return {"plan": results[0].get("approved_plan"), "by": results[0].get("approved_by"), **author}
    return {"plan": approval.get("plan"), "by": approval.get("by"), **author}


def _sections(
    opening: Mapping[str, Any],
    run: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    writes: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    begun = {write["section"] for write in writes}
    by_number = {one["section"]: one for one in results}
    ended = {one["section"]: one for one in run.get("sections", [])}
    sections = []
    for number in opening.get("order") or list(by_number):
        result, end = by_number.get(number, {}), ended.get(number, {})
        sections.append(
            {
                "section": number,
                "title": result.get("title") or end.get("title"),
                # A result contains what the section's own code saw; the runner also saw how its kernel ended.
                "outcome": end.get("outcome")
                or (UNKNOWN if result else NOT_ENDED if number in begun else "not run"),
                "started": result.get("started"),
                "ended": result.get("ended"),
                "message": end.get("message", ""),
                "error": result.get("error"),
            }
        )
    return sections


def _standing(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "section": result["section"],
            "step": row["step"],
            "setting": row["setting"],
            "value": row["current"],
            "action": row["action"],
            **({"why": row["why"]} if row.get("why") else {}),
        }
        for row in rows
    ]


def _outside(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "section": result["section"],
            "step": row["step"],
            "setting": row["setting"],
            "found": row["current"],
            **{name: row["outside"].get(name) for name in ("run", "value", "at")},
        }
        for row in result.get("plan") or []
        if row.get("outside")
    ]


def _change(write: Mapping[str, Any]) -> dict[str, Any]:
    answer = write["answer"] or {}
    return {
        "section": write["section"],
        "resource": write["resource"],
        **({"key": write["key"]} if "key" in write else {}),  # older journals have none
        "vendor": write["vendor"],
        "method": write["method"],
        "path": write["path"],
        "rows": write["rows"],
        "sent": write["at"],
        "status": answer.get("status"),
        "request_id": answer.get("request_id"),
        "seconds": answer.get("seconds"),
        "result": answer.get("result"),
        "error": answer.get("error"),
    }


def _verification(result: Mapping[str, Any]) -> dict[str, Any]:
    verification = result.get("verification")
    return {
        "section": result["section"],
        "ok": verification["ok"] if verification else None,
        "differences": verification["differences"] if verification else [],
        **({"at": verification["at"]} if verification and "at" in verification else {}),
    }
