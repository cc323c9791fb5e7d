"""The register as data: one row for each run of the chain, and which rows need a second look.

What a closed record says of itself never changes, so it is remembered from one look to the next: in the
cache of the account that looks, not beside the records, where whoever could change a record could change
that as well. A record whose files are not the ones that were read is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ..identity import person, persons
from ..plain_files import read, read_mapping, write_whole
from ..plan import value_text
from ..statement import CONFIRMED
from . import living
from .chain import ADOPTED, CLOSED, OPENED, Entry
from .chain_reading import events_by_run, is_on_hold
from .clocks import clock_cautions, set_back
from .events import DISPOSED
from .first_block import (
    AUTOMATIC,
    DIFFERS,
    EMERGENCY,
    Changed,
    changed_rows,
    interrupting_writes,
    mapping,
    mappings,
    read_back_at,
)
from .policy import Seen
from .problems import Problem, only_newer
from .result import CHECKSUMS
from .reviews import REVIEWED
from .run_folder import OPENING, RECORD, OfRun
from .summary import NOT_ENDED
from .verify import read_record

GOING_ON = "going on"
NO_EFFECT = "none, by the plan"
FORMAT = 3
#: How many of several settings a row names.
NAMED = 3
#: Fewer records than this are read at every look rather than remembered.
MANY = 200
#: This many are read at every look rather than writing everything that is remembered again.
FEW = 16
_SELF = "self-approved"
_STAMPED = (OPENING, RECORD, CHECKSUMS)


class Reason(StrEnum):
    """Why a run needs a second look."""

    NO_TICKET = "no ticket"
    AUTO_APPROVED = "auto-approved"
    UNREVIEWED = "emergency without review"
    WEAKER_POLICY = "weaker policy"
    APPROVER_IS_AUTHOR = "approver is author"
    CLOCK_OFF = "clock off"
    CHANGED_OUTSIDE = "changed outside"


@dataclass(frozen=True)
class RecordFacts:
    """What a record says of itself, in short.

    ``effect`` are the calls that the plan said would be interrupted; ``changed`` what changed, in words: of
    one setting with its old and its new value, of several some names; ``verified`` is ``None`` where nothing
    was read back.
    ``ran_by`` says who ran it and how each name is known; ``reasons`` are those that the record alone shows.
    """

    mode: str = ""
    outcome: str = ""
    sections: str = ""
    started: str = ""
    ended: str = ""
    operator: str = ""
    ran_by: str = ""
    ticket: str = ""
    emergency: str = ""
    approver: str = ""
    approval: str = ""
    approved_at: str = ""
    effect: str = ""
    changed: str = ""
    settings: int = 0
    writes: int = 0
    in_flight: int = 0
    verified: bool | None = None
    read_back_at: str = ""
    undoes: str = ""
    target: str = ""
    domain: str = ""
    affected: tuple[str, ...] = ()
    affected_domains: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegisterRow(OfRun):
    """One run of the register: what its record says, and what the chain says of it."""

    run: str
    opened: str
    state: str
    facts: RecordFacts
    closed: str = ""
    reviewed: str = ""
    rolled_back_by: tuple[str, ...] = ()
    on_hold: bool = False
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=(), repr=False)

    @property
    def outcome(self) -> str:
        """How the run ended; its state while it has not."""
        return self.facts.outcome or ("" if self.state == CLOSED else self.state)

    @property
    def condition(self) -> str:
        """The state, with what is wrong with the record's files."""
        if not self.problems:
            return self.state
        return f"{self.state}, {'by a newer runbook' if only_newer(self.problems) else 'NOT AS IT WAS'}"

    def to_data(self) -> dict[str, Any]:
        """Return the row as plain data, for JSON and CSV."""
        facts = asdict(self.facts)
        for name in ("reasons", "domain", "affected_domains", "outcome"):
            facts.pop(name)
        return {
            "run": self.run,
            "site": self.site,
            "tenant": self.tenant,
            "opened": self.opened,
            "closed": self.closed,
            "state": self.condition,
            "outcome": self.outcome,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()},
            "reviewed": self.reviewed,
            "rolled_back_by": list(self.rolled_back_by),
            "on_hold": self.on_hold,
            "exceptions": list(self.reasons),
        }


def facts_of(opening: Mapping[str, Any], record: Mapping[str, Any]) -> RecordFacts:
    """Return what a record says of itself; whatever somebody made of its files, this raises nothing."""
    whole = {**opening, **record}
    approval = mapping(record.get("approver")) or mapping(opening.get("approval"))
    by, target = mapping(approval.get("by")), mapping(whole.get("target"))
    rows = list(changed_rows(whole))
    calls, _ = interrupting_writes(whole)
    verified = [part.get("ok") for part in mappings(whole, "verification") if part.get("ok") is not None]
    affected = mappings(whole, "affected")
    parameters = mapping(whole.get("parameters"))
    names = mappings(whole, "by")
    emergency = str(whole.get("emergency") or "")
    how = str(by.get("how") or "")
    return RecordFacts(
        mode=str(whole.get("mode") or ""),
        outcome=str(record.get("outcome") or ""),
        sections=" ".join(map(str, whole.get("order") or ())) if isinstance(whole.get("order"), list) else "",
        started=str(whole.get("started") or ""),
        ended=str(whole.get("ended") or ""),
        operator=str(whole.get("operator") or ""),
        ran_by=", ".join(f"{one.get('name')} ({one.get('kind')}, {one.get('known')})" for one in names),
        ticket=str(whole.get("ticket") or ""),
        emergency=emergency,
        approver=str(by.get("who") or "") if how != EMERGENCY else "",
        approval=how,
        approved_at=str(by.get("at") or ""),
        effect=f"{' and '.join(calls)} calls interrupted, as planned" if calls else NO_EFFECT,
        changed=_changed(rows),
        settings=len(rows),
        writes=len(mappings(whole, "changes")),
        in_flight=len(mappings(whole, "in_flight")),
        verified=None if not verified else all(verified) and not any(row.result == DIFFERS for row in rows),
        read_back_at=read_back_at(whole) or "",
        undoes=str(target.get("undoes") or "").partition(" ")[0],
        target=str(target.get("target") or ""),
        domain=str(mapping(parameters.get("tenant")).get("pbx_domain") or ""),
        affected=tuple(str(tenant.get("name")) for tenant in affected),
        affected_domains=tuple(str(tenant.get("pbx_domain")) for tenant in affected),
        cautions=tuple(clock_cautions(whole.get("clocks"), "was")),
        reasons=tuple(_own_reasons(whole, approval, how)),
    )


def _changed(rows: Sequence[Changed]) -> str:
    if len(rows) == 1:
        [row] = rows
        return f"{row.setting}: {value_text(row.before)} → {value_text(row.after)}{_doubt(rows)}"
    if not rows:
        return ""
    names = list(dict.fromkeys(row.setting for row in rows))
    more = ", …" if len(names) > NAMED else ""
    return f"{len(rows)} settings: {', '.join(names[:NAMED])}{more}{_doubt(rows)}"


def _doubt(rows: Sequence[Changed]) -> str:
    """What is not certain about changes: a vendor's answer never came, or was itself an error."""
    unsure = sum(not row.is_certain for row in rows)
    of_them = f"for {unsure} of them, " if len(rows) > 1 else ""
    what = "it" if unsure == 1 else "they"
    return f" ({of_them}it is unknown whether {what} arrived)" if unsure else ""


def _own_reasons(record: Mapping[str, Any], approval: Mapping[str, Any], how: str) -> Iterable[str]:
    if record.get("mode") != "apply":
        return
    if not record.get("ticket"):
        yield Reason.NO_TICKET
    if how in ("", AUTOMATIC, CONFIRMED):
        yield Reason.AUTO_APPROVED
    if record.get("policy_compared") == Seen.WEAKER:
        yield Reason.WEAKER_POLICY
    by, authors = mapping(approval.get("by")), mappings(approval, "author")
    who = {person(name) for name in str(by.get("who") or "").split(", ")} - {""}
    if how.startswith(_SELF) or who & persons(authors):
        yield Reason.APPROVER_IS_AUTHOR
    if clock_cautions(record.get("clocks")):
        yield Reason.CLOCK_OFF
    if record.get("changed_outside"):
        yield Reason.CHANGED_OUTSIDE


def register(records: Path, entries: Sequence[Entry]) -> list[RegisterRow]:
    """Return a row for each run that the chain has, in the order in which they opened."""
    by_run = events_by_run(entries)
    cache = _Cache(records, len(by_run))
    backwards = {after.run for before, after, _ in set_back(entries) if after.run}
    rows = []
    for run, events in by_run.items():
        held = is_on_hold(events)
        if OPENED not in events:
            if ADOPTED in events:
                told = read_mapping(records / events[ADOPTED].file)
                state = DISPOSED if DISPOSED in events else f"adopted: {told.get('why')}"
                rows.append(RegisterRow(run, events[ADOPTED].at, state, RecordFacts(), on_hold=held))
            continue
        digests = {event: entry.content for event, entry in events.items() if event in (OPENED, CLOSED)}
        disposed = DISPOSED in events
        facts, problems = (RecordFacts(), ()) if disposed else cache.facts(run, digests)
        state = DISPOSED if disposed else CLOSED
        if CLOSED not in events:
            state = GOING_ON if living.is_going_on(records / run) else NOT_ENDED
        reasons = list(facts.reasons)
        if facts.emergency and REVIEWED not in events:
            reasons.append(Reason.UNREVIEWED)
        if run in backwards and Reason.CLOCK_OFF not in reasons:
            reasons.append(Reason.CLOCK_OFF)
        rows.append(
            RegisterRow(
                run,
                events[OPENED].at,
                state,
                facts,
                closed=events[CLOSED].at if CLOSED in events else "",
                reviewed=events[REVIEWED].at if REVIEWED in events else "",
                on_hold=held,
                reasons=tuple(map(str, reasons)),
                problems=problems,
            )
        )
    cache.keep()
    return _with_rollbacks(rows)


def _with_rollbacks(rows: Sequence[RegisterRow]) -> list[RegisterRow]:
    """The rows, each with the runs that rolled it back: those of its tenant that name it, and succeeded."""
    by: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.facts.undoes and row.facts.mode == "apply" and row.facts.writes:
            by.setdefault((row.site, row.tenant, row.facts.undoes), []).append(row.run_id)
    found = []
    for row in rows:
        undone = tuple(by.get((row.site, row.tenant, row.run_id), ()))
        found.append(replace(row, rolled_back_by=undone) if undone else row)
    return found


@dataclass(frozen=True)
class RegisterFilter:
    """Which rows of the register are wanted; what is ``None`` excludes none.

    ``since`` and ``until`` are UTC times, ISO 8601, compared with when the chain has a run as opened.
    """

    tenant: str | None = None
    since: str | None = None
    until: str | None = None
    ticket: str | None = None
    approver: str | None = None
    outcome: str | None = None
    exceptions: bool = False

    def of(self, rows: Sequence[RegisterRow]) -> list[RegisterRow]:
        """Return the rows that are wanted.

        A tenant's include the runs for a shared trunk that its calls ran through.
        """
        domains = {row.facts.domain for row in rows if row.tenant == self.tenant} - {""}
        return [row for row in rows if self._wants(row, domains)]

    def _wants(self, row: RegisterRow, domains: set[str]) -> bool:
        if self.tenant is not None and row.tenant != self.tenant:
            touched = {*row.facts.affected, *row.facts.affected_domains}
            if not touched & {self.tenant, *domains}:
                return False
        if self.since is not None and row.opened < self.since:
            return False
        if self.until is not None and row.opened >= self.until:
            return False
        wanted = (
            (self.ticket, row.facts.ticket),
            (self.approver, row.facts.approver),
            (self.outcome, row.outcome),
        )
        if any(text is not None and text.casefold() not in found.casefold() for text, found in wanted):
            return False
        return bool(row.reasons or row.problems) or not self.exceptions


class _Cache:
    """What closed records say of themselves, as this account read it last."""

    def __init__(self, records: Path, runs: int) -> None:
        self._records = records
        self._new = 0
        self._known: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        name = hashlib.sha256(os.fsencode(records.resolve())).hexdigest()[:32]
        self._path = (
            user_cache_path("portsip-runbook") / "registers" / f"{name}.json" if runs >= MANY else None
        )
        if self._path is not None:
            with suppress(OSError, ValueError):
                told = json.loads(read(self._path))
                if told["format"] == FORMAT and _is_own(self._path):
                    self._known = told["runs"]

    def facts(self, run: str, digests: Mapping[str, str]) -> tuple[RecordFacts, tuple[Problem, ...]]:
        """What a record says of itself, and what of it is not as it was recorded."""
        stamp = [_stamp(f"{self._records}/{run}/{name}") for name in _STAMPED]
        key = [digests.get(OPENED), digests.get(CLOSED), stamp]
        known = self._known.get(run)
        if known is not None and known[0] == key:
            self._found[run] = known
            told: dict[str, Any] = known[1]
            told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
            return RecordFacts(**told), ()
        opening, record, problems = read_record(self._records, run, digests)
        facts = facts_of(opening, record)
        if CLOSED in digests and not problems:
            self._found[run] = [key, asdict(facts)]
            self._new += 1
        return facts, tuple(problems)

    def keep(self) -> None:
        """Remember what was read; who may not write does without."""
        if self._path is not None and self._new > FEW:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_whole(self._path, json.dumps({"format": FORMAT, "runs": self._found}).encode())
                self._path.chmod(0o600)


def _stamp(path: str) -> list[int]:
    """What changes whenever a file does; its change time is nobody's to set."""
    try:
        status = os.lstat(path)
    except OSError:
        return []
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_own(path: Path) -> bool:
    status = os.lstat(path)
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
