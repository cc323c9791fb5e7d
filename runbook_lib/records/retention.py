"""The end of a record's life: removed by rule once it is old enough, unless it is on hold or still needed.

In the folder's place stays ``disposed.json``: which resources the run made, changed and removed, by their
keys and the vendors' ids, and the digests of what was removed; no values, people or notes. So it is still
known what the runbook made, and ``records verify`` knows what is missing. The entry of the chain says who
removed it, when, why and by which rule.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..identity import plain_identities
from ..plain_files import parse_mapping, read, read_mapping, write_whole
from ..plan import PASSWORD_AT_PBX, PASSWORD_AT_TWILIO, canonical, field_of
from ..secret import scrub_data
from . import journal
from .anchor import SETTINGS, read_settings
from .chain import CLOSED, OPENED, Chain, Entry, digest_of
from .chain_reading import events_by_run, events_of, is_on_hold, is_run
from .disposed import DISPOSED_FILE, brief, leftovers
from .errors import RecordError
from .events import DISPOSED, HELD, RELEASED, USED, USED_FILE
from .formats import FORMAT
from .policy import POLICY
from .result import CHECKSUMS, now
from .run_folder import withheld_from
from .verify import verify_record

_AGE = re.compile(r"([1-9]\d{0,3})([ymd])", re.ASCII)
_PASSWORDS = (PASSWORD_AT_TWILIO, PASSWORD_AT_PBX)


@dataclass(frozen=True)
class Old:
    """A record that is old enough by the rule that was given; ``kept_by`` says why it stays, if it does."""

    run: str
    closed: str
    kept_by: str = ""


def before(age: str, at: datetime) -> datetime:
    """Return the time that is an age (``7y``, ``18m``, ``90d``) earlier; ``InputError`` if it is not one."""
    found = _AGE.fullmatch(age)
    if found is None:
        raise InputError([f"{age}: is not an age; give years, months or days, such as 7y, 18m or 90d"])
    number, unit = int(found[1]), found[2]
    if unit == "d":
        return at - timedelta(days=number)
    months = at.year * 12 + at.month - 1 - number * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    if year < 1:
        raise InputError([f"{age}: is too long"])
    for day in range(at.day, 0, -1):  # a month may be shorter
        with suppress(ValueError):
            return at.replace(year=year, month=month + 1, day=day)
    raise AssertionError("every month has a first day")


def keep_rule(records: Path) -> str:
    """Return how long records are kept (``keep`` in ``settings.toml``).

    Raises ``RecordError`` where it says nothing: then nothing is old enough.
    """
    keep = read_settings(records).get("keep")
    if keep is None:
        raise RecordError(
            f"there is no rule for how long records are kept: records/{SETTINGS} has no keep",
            meaning="no record is removed without such a rule",
            next_step=f'write the rule into records/{SETTINGS}, such as keep = "7y"',
        )
    before(keep, datetime.now(UTC))
    return keep


def old_records(records: Path, entries: Sequence[Entry], older_than: str) -> list[Old]:
    """Return the records that are at least this old, by the chain's time, each with why it has to stay."""
    at = datetime.now(UTC)
    limit, keep = before(older_than, at), before(keep_rule(records), at)
    events = events_by_run(entries)
    latest, closed_at = datetime.min.replace(tzinfo=UTC), dict[str, datetime]()
    for entry in entries:
        # Times may run backwards where a clock was wrong: a record is as young as the chain was by then.
        latest = max(latest, datetime.fromisoformat(entry.at))
        if is_run(entry.run) and entry.event == CLOSED:
            closed_at[entry.run] = latest
    old = [run for run, time in closed_at.items() if time <= limit and DISPOSED not in events[run]]
    if not old:
        return []
    writers, policies = _last_writers(records, events), _policies(records, entries)
    found = []
    for run in old:
        own = events[run]
        why = ""
        if is_on_hold(own):
            why = "on hold"
        elif closed_at[run] > keep:
            why = f"it is younger than the retention rule says (keep = {keep_rule(records)})"
        elif run in writers:
            why = "it was the last to write a pair of passwords"
        elif run in policies:
            why = "it keeps the policy that is in force"
        elif withheld_from(records / run) is not None:
            why = "a secret was found in it, and nobody has looked at what was withheld"
        elif problems := [
            problem
            for problem in verify_record(records, run, [*own.values()])
            if problem.path != f"{run}/{DISPOSED_FILE}"  # of a removal that was cut off
        ]:
            why = f"it has changed since it was closed ({problems[0].path}: {problems[0].what})"
        found.append(Old(run, own[CLOSED].at, why))
    return found


def dispose_records(records: Path, older_than: str, reason: str) -> tuple[list[Old], list[Old]]:
    """Remove the records that are old enough, each with an entry; return those removed and those that stay.

    A removal that was cut off is finished first. Raises ``RecordError`` where no rule says how long records
    are kept.
    """
    chain = Chain(records)
    with chain.held():
        entries = chain.entries()
        for entry in entries:
            if entry.event == DISPOSED and is_run(entry.run):
                _remove(records / entry.run)
        rule = keep_rule(records)
        found = old_records(records, entries, older_than)
        for old in found:
            if old.kept_by:
                continue
            folder = records / old.run
            content = brief(
                old.run,
                read_mapping(folder / CHECKSUMS).get("files") or {},
                journal.writes_in(folder),
                read_mapping(folder / USED_FILE) if USED in events_of(entries, old.run) else {},
            )
            write_whole(folder / DISPOSED_FILE, content)
            told = {
                "format": FORMAT,
                "at": now(),
                "by": plain_identities(),
                "reason": reason,
                "rule": {"older_than": older_than, "keep": rule},
                "run": old.run,
                "disposed": digest_of(content),
            }
            chain.record(DISPOSED, old.run, scrub_data(told))
            _remove(folder)
    return [old for old in found if not old.kept_by], [old for old in found if old.kept_by]


def hold_record(records: Path, run: str, reason: str, *, release: bool = False) -> Entry:
    """Put a record on hold, or lift the hold.

    Raises ``InputError`` when it is so already, or was removed before.
    """
    if not reason.strip():
        raise InputError(["--reason: say why"])
    chain = Chain(records)
    with chain.held():
        events = events_of(chain.entries(), run)
        if DISPOSED in events:
            raise InputError([f"{run} was removed by rule"])
        if is_on_hold(events) is not release:
            raise InputError([f"{run} is {'not' if release else 'already'} on hold"])
        told = {"format": FORMAT, "at": now(), "by": plain_identities(), "run": run, "reason": reason}
        return chain.record(RELEASED if release else HELD, run, scrub_data(told))


def _remove(folder: Path) -> None:
    """Remove what is left of a record whose removal is entered; what shows the removal comes last."""
    for name in leftovers(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _last_writers(records: Path, events: Mapping[str, Mapping[str, Entry]]) -> set[str]:
    """The runs that wrote a pair's password last: only their records show which one works today."""
    last: dict[str, str] = {}
    for run in events:  # in the order of the chain
        for write in _password_writes(records / run):
            place = canonical([write["target"], journal.key_of(write).identity])
            last[place] = run
    return {*last.values()}


def _password_writes(folder: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError):
        for write in journal.writes_in(folder):
            status = (write["answer"] or {}).get("status")
            refused = isinstance(status, int) and 400 <= status < 500
            if not refused and any(field_of(row) in _PASSWORDS for row in write["rows"]):
                yield write


def _policies(records: Path, entries: Sequence[Entry]) -> set[str]:
    """The runs whose openings are read for the policy that is in force; see ``policy.pins_of``."""
    found = set[str]()
    for entry in reversed(entries):
        if entry.event not in (OPENED, POLICY):
            continue
        if entry.run is not None:
            found.add(entry.run)
        with suppress(OSError):
            if isinstance(parse_mapping(read(records / entry.file)).get("pins"), list):
                break
    return found
