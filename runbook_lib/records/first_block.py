"""The first block of every record: one sentence, and a table of the settings that changed.

Made from the record's data alone, by one function, for the notebook, the HTML, ``records show`` and the
JSON. Everything else of a record is detail below it. Whatever somebody made of the data, this raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..meaning import meaning
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED
from ..plan import CHANGING, Action, Effect, Value, field_of, value_text
from ..statement import CONFIRMED, SIGNED
from ..words import counted

#: Of an approval that nobody gave beforehand; see ``runbook.approved_by`` and ``approval``.
AUTOMATIC, EMERGENCY = "auto-approval", "emergency, not approved"
NOT_KNOWN = "not known"
#: How a changed setting read back.
AS_EXPECTED, DIFFERS, NOT_READABLE, NOT_READ = "as expected", "differs", "cannot be read", "not read back"
_MODES = {"plan": "planned", "verify": "checked"}
_CALLS = {
    Effect.INTERRUPTS_OUTBOUND: {"outbound"},
    Effect.INTERRUPTS_INBOUND: {"inbound"},
    Effect.INTERRUPTS_BOTH: {"outbound", "inbound"},
}


@dataclass(frozen=True)
class Changed:
    """One setting that a run changed, from before its first write to after its last.

    ``is_certain`` is false when the vendor's answer to a write never came, or was itself an error.
    ``result`` is one of ``AS_EXPECTED``, ``DIFFERS``, ``NOT_READABLE`` and ``NOT_READ``; ``read_back`` the
    value, where there is one.
    """

    section: str
    step: str
    setting: str
    before: Value
    after: Value
    effect: str
    result: str
    read_back: Value = None
    is_certain: bool = True

    def to_data(self) -> dict[str, Any]:
        """Return the row as plain data, under the names that the table shows."""
        return {
            "section": self.section,
            "step": self.step,
            "setting": self.setting,
            "from": self.before,
            "to": self.after,
            "effect": self.effect,
            "read_back": self.read_back,
            "result": self.result,
            "certain": self.is_certain,
        }

    @property
    def read_back_in_words(self) -> str:
        """What was read back, for the table."""
        certain = "" if self.is_certain else " (it is unknown whether the write arrived)"
        if self.result in (NOT_READABLE, NOT_READ):
            return self.result + certain
        mark = "✓" if self.result == AS_EXPECTED else "✗"
        return f"{mark} {value_text(self.read_back)}{certain}"


@dataclass(frozen=True)
class FirstBlock:
    """A record in one sentence, and the settings that changed."""

    sentence: str
    rows: tuple[Changed, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the block as plain data, as ``record.json`` and ``records show --json`` have it."""
        return {"sentence": self.sentence, "changed": [row.to_data() for row in self.rows]}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the table's columns."""
        return ("Step", "Setting", "From", "To", "Effect", "Read back")

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows as texts."""
        return [
            (
                row.step,
                row.setting,
                value_text(row.before),
                value_text(row.after),
                "none" if row.effect == Effect.NONE else row.effect,
                row.read_back_in_words,
            )
            for row in self.rows
        ]


def first_block(record: Mapping[str, Any]) -> FirstBlock:
    """Return the first block of a record, from what ``record.json`` holds (also of a run that is open)."""
    rows = tuple(changed_rows(record))
    return FirstBlock(_sentence(record, rows), rows)


def changed_rows(record: Mapping[str, Any]) -> Iterator[Changed]:
    """Yield the settings that the run's writes changed, each once, in the order of the writes."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for change in mappings(record, "changes"):
        if _is_refused(change):
            continue  # nothing changed
        status = change.get("status")
        is_certain = isinstance(status, int) and status < 400
        for row in mappings(change, "rows"):
            try:
                if Action(row["action"]) not in CHANGING:
                    continue
                key = (str(row["step"]), field_of(row) or meaning("name", str(row["setting"])))
                earlier = found.get(key)
                found[key] = {
                    **row,
                    "section": str(change.get("section")),
                    "current": earlier["current"] if earlier else row["current"],
                    "certain": is_certain and (earlier is None or earlier["certain"]),
                }
            except (KeyError, ValueError, TypeError):
                continue  # somebody made something else of it
    read = _Readings(record)
    for row in found.values():
        result, value = read.of(row)
        yield Changed(
            row["section"],
            str(row["step"]),
            str(row["setting"]),
            row["current"],
            row.get("desired"),
            str(row.get("effect") or Effect.NONE),
            result,
            value,
            row["certain"],
        )


def _is_refused(change: Mapping[str, Any]) -> bool:
    """Whether the vendor answered a write with a no."""
    status = change.get("status")
    return isinstance(status, int) and 400 <= status < 500


class _Readings:
    """What was read back after the writes, by section, step and setting."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._values = {
            (str(row.get("section")), str(row.get("step")), meaning("name", str(row.get("setting")))): row
            for row in mappings(record, "after")
        }
        self._verified = {
            str(part.get("section"))
            for part in mappings(record, "verification")
            if part.get("ok") is not None
        }

    def of(self, row: Mapping[str, Any]) -> tuple[str, Value]:
        """How a changed setting read back, and its value."""
        name = meaning("name", str(row["setting"]))
        found = self._values.get((row["section"], str(row["step"]), name))
        if found is None:
            if row["section"] not in self._verified:
                return NOT_READ, None
            # What was removed no longer has a row.
            return (AS_EXPECTED, None) if row.get("desired") is None else (NOT_READ, None)
        if found.get("action") == Action.UNREADABLE:
            return NOT_READABLE, None
        return (AS_EXPECTED if found.get("action") == Action.IN_PLACE else DIFFERS), found.get("value")


def _sentence(record: Mapping[str, Any], rows: Sequence[Changed]) -> str:
    mode = str(record.get("mode"))
    target = mapping(record.get("target"))
    whom = f"for {record.get('tenant')} (site {record.get('site')}, {target.get('target')})"
    affected = [str(tenant.get("name")) for tenant in mappings(record, "affected")]
    if affected:
        whom += f", whose trunk carries the calls of {', '.join(affected)}"
    who = str(record.get("operator") or "somebody")
    ticket = f"under ticket {record['ticket']}" if record.get("ticket") else "without a ticket"
    if mode in _MODES:
        return (
            f"{who} {_MODES[mode]} {whom}, {ticket}, on {moment(record.get('started'))}; nothing was written."
        )
    parts = [f"{who} {_what(record, rows)} {whom}, {ticket}, on {moment(record.get('started'))}"]
    parts += [_ending(record), _approval(record), _calls(record), _read_back(record, rows)]
    parts.append(_outside(record))
    return "; ".join(filter(None, parts)) + "."


def _what(record: Mapping[str, Any], rows: Sequence[Changed]) -> str:
    undoes = str(mapping(record.get("target")).get("undoes") or "").partition(" ")[0]
    back = f"rolled back run {undoes}, and " if undoes else ""
    if not rows:
        return f"{back}changed nothing"
    if len(rows) == 1:
        [row] = rows
        what = f"{row.setting} ({row.step}) from {value_text(row.before)} to {value_text(row.after)}"
        return f"{back}changed {what}"
    return f"{back}changed {len(rows)} settings, listed below,"


def _ending(record: Mapping[str, Any]) -> str:
    outcome = record.get("outcome")
    unknown = len(mappings(record, "in_flight"))
    lost = f"; of {counted(unknown, 'write')} nobody knows whether it arrived" if unknown else ""
    if outcome == SUCCEEDED:
        return lost.removeprefix("; ")
    told = {FAILED: "the run failed", INTERRUPTED: "the run was interrupted"}
    return told.get(str(outcome), f"how the run ended: {outcome}") + lost


def _approval(record: Mapping[str, Any]) -> str:
    approval = mapping(record.get("approver")) or mapping(record.get("approval"))
    by = mapping(approval.get("by"))
    how, who = by.get("how"), by.get("who")
    if how == EMERGENCY:
        return f"an emergency that nobody had approved: {by.get('reason')}"
    if how == AUTOMATIC or not who:
        return "nobody had approved a plan (automatic approval)"
    if how == CONFIRMED:
        return f"nobody else had approved the plan, which {who} confirmed"
    when = (
        f"at {moment(by['at'])} by the signer's clock" if by.get("at") else f"at a time that is {NOT_KNOWN}"
    )
    known = "with an SSH signature" if how == SIGNED else f"as typed by the operator ({how})"
    return f"approved by {who} {known}, {when}"


def interrupting_writes(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return which calls the plan said would be interrupted, and when such writes were sent, in order.

    A write that the vendor refused interrupted none.
    """
    calls, sent = set[str](), list[str]()
    for change in mappings(record, "changes"):
        if _is_refused(change):
            continue
        touched = set[str]()
        for row in mappings(change, "rows"):
            if row.get("action") in {*map(str, CHANGING)}:
                touched |= next(
                    (words for effect, words in _CALLS.items() if effect == row.get("effect")), set()
                )
        if touched:
            calls |= touched
            sent.append(str(change.get("sent")))
    return sorted(calls, reverse=True), sent


def _calls(record: Mapping[str, Any]) -> str:
    if not mappings(record, "changes"):
        return ""
    calls, sent = interrupting_writes(record)
    if not calls:
        return "the plan said that no calls would be interrupted (calls were not measured)"
    times = f"at {moment(sent[0])}" if len(sent) == 1 else f"from {moment(sent[0])} to {moment(sent[-1])}"
    return (
        f"the plan said that {' and '.join(calls)} calls would be interrupted, by"
        f" {counted(len(sent), 'write')} {times} (calls were not measured)"
    )


def read_back_at(record: Mapping[str, Any]) -> str | None:
    """Return when the last section that was verified was read back; ``None`` if none was."""
    verified = [part for part in mappings(record, "verification") if part.get("ok") is not None]
    ended = {part.get("section"): part.get("ended") for part in mappings(record, "guide_sections")}
    times = [str(time) for part in verified if (time := part.get("at") or ended.get(part.get("section")))]
    return max(times, default=None)


def _read_back(record: Mapping[str, Any], rows: Sequence[Changed]) -> str:
    at = read_back_at(record)
    if at is None:
        return "nothing was read back" if rows else ""
    wrong = sum(row.result == DIFFERS for row in rows)
    missing = sum(row.result == NOT_READ for row in rows)
    parts = [f"{counted(wrong, 'setting')} not as expected"] if wrong else []
    parts += [f"{counted(missing, 'setting')} not read back"] if missing else []
    differences = sum(part.get("ok") is False for part in mappings(record, "verification"))
    if not parts:
        parts = [f"{counted(differences, 'section')} not as expected" if differences else "as expected"]
    return f"read back at {moment(at)}: {', '.join(parts)}"


def _outside(record: Mapping[str, Any]) -> str:
    found = mappings(record, "changed_outside")
    if len(found) != 1:
        return f"{len(found)} settings had been changed outside before it" if found else ""
    [row] = found
    return (
        f"{row.get('setting')} had been changed outside before it (found"
        f" {value_text(row.get('found'))}; run {row.get('run')} left {value_text(row.get('value'))})"
    )


def moment(time: object) -> str:
    """Return a time as people read it, in UTC to the second."""
    try:
        at = datetime.fromisoformat(str(time)).astimezone(UTC)
    except (ValueError, OverflowError):
        return NOT_KNOWN
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def mapping(value: object) -> dict[str, Any]:
    """Return a value that should be a mapping; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def mappings(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of mappings of a record, whatever somebody made of it."""
    found = record.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
