"""Reads the chain as far as possible, and finds what has changed since it was written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from .chain import CLOSED, DIGEST, FILE_NAME, FILES, OPENED, Chain, Entry, NewerFormatError, digest_of
from .events import HELD, RELEASED, USED, USED_FILE
from .problems import LFS_POINTER, LINE_ENDS, POINTER, Code, Problem, unread_problem

#: Events whose file has this name in the run's folder.
OWN_FILES = {**FILES, USED: USED_FILE}


def open_runs(entries: Sequence[Entry]) -> list[str]:
    """Return the runs that opened and were not closed, in the order of the chain."""
    return [run for run, digests in by_event(entries).items() if CLOSED not in digests]


def by_event(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """Return the digests of each run's opening and closing from the chain."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.event in FILES:
            found.setdefault(str(entry.run), {})[entry.event] = entry.content
    return found


def events_of(entries: Sequence[Entry], run: str) -> dict[str, Entry]:
    """Return the latest entry of each event of one run."""
    return {entry.event: entry for entry in entries if entry.run == run}


def events_by_run(entries: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Return the same of every run, in the order in which the chain has them first."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        if is_run(entry.run):
            found.setdefault(entry.run, {})[entry.event] = entry
    return found


def is_on_hold(events: Mapping[str, Entry]) -> bool:
    """Whether a record must not be removed, by the latest entry of each of its events."""
    return HELD in events and (RELEASED not in events or events[RELEASED].seq < events[HELD].seq)


def read_chain(records: Path) -> tuple[list[Entry], list[Problem]]:
    """Return the entries that can be read, and every place where one does not follow from the one before.

    Unlike ``Chain.entries``, which raises for what is wrong.
    """
    try:
        lines = Chain(records).lines()
    except OSError as error:
        return [], [unread_problem(FILE_NAME, error)]
    if pointed := LFS_POINTER.match(b"".join(lines[:10])):
        return [], [Problem(FILE_NAME, f"{POINTER} ({pointed[1].decode()})", Code.POINTER)]
    if not any(line.endswith(b"\r\n") for line in lines):
        return _linked(lines)
    entries, problems = _linked([line.replace(b"\r\n", b"\n") for line in lines])
    return entries, [Problem(FILE_NAME, LINE_ENDS, Code.LINE_ENDS), *problems]


def _linked(lines: Sequence[bytes]) -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    before: Entry | None = None
    digest = None  # of the line of the entry before
    seen: set[int] = set()
    for number, line in enumerate(lines, start=1):
        place = f"line {number}"
        try:
            entry = Entry.parse(line)
        except NewerFormatError as error:
            problems.append(Problem(FILE_NAME, f"{place}: {error}", Code.NEWER))
            before = None
            continue
        except ValueError:
            what = "changed: not an entry" if line.endswith(b"\n") else "cut: its end is missing"
            problems.append(Problem(FILE_NAME, f"{place}: {what}", Code.BROKEN))
            before = None
            continue
        expected = before.seq + 1 if before else number - 1
        if entry.seq != expected:
            what = _out_of_order(entry.seq, expected, seen)
            problems.append(Problem(FILE_NAME, f"{place}: {what}", Code.BROKEN))
        elif entry.previous != (digest if before else None) and (before or number == 1):
            what = "this entry or the one before it was changed, inserted or removed"
            where = f"{place} ({entry.event} {entry.run})"
            problems.append(Problem(FILE_NAME, f"{where}: broken: {what}", Code.BROKEN))
        seen.add(entry.seq)
        entries.append(entry)
        before, digest = entry, digest_of(line)
    return entries, problems


def _out_of_order(seq: int, expected: int, seen: set[int]) -> str:
    if seq in seen:
        return f"inserted: entry {seq} appears twice"
    if seq < expected:
        return f"reordered: entry {seq} follows entry {expected - 1}"
    gap = f"entry {expected}" if seq == expected + 1 else f"entries {expected} to {seq - 1}"
    return f"cut or reordered: {gap} missing before entry {seq}"


def histories(entries: Sequence[Entry], going_on: Collection[str]) -> Iterator[Problem]:
    """Runs that did not open once and then close once; paths that no run has.

    ``going_on`` are the runs that need not have closed yet.
    """
    events: dict[str, list[str]] = {}
    for entry in entries:
        if entry.event in FILES:
            events.setdefault(str(entry.run), []).append(entry.event)
        own = OWN_FILES.get(entry.event)
        if own and entry.file != f"{entry.run}/{own}":
            what = f"changed: {entry.event} of {entry.run} names {entry.file}"
            yield Problem(FILE_NAME, what, Code.HISTORY)
    for run, found in events.items():
        if not is_run(run):
            yield Problem(FILE_NAME, f"inserted: {run} is not the path of a run", Code.HISTORY)
        elif found == [OPENED]:
            if run not in going_on:
                what = "begun, not ended: opened, never closed; to close it: runbook records close"
                yield Problem(run, what, Code.NOT_ENDED)
        elif found != [OPENED, CLOSED]:
            what = f"entries of {run}: {', '.join(found)}; expected: opened, closed"
            yield Problem(FILE_NAME, what, Code.HISTORY)


def is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def is_head(text: str) -> bool:
    """Whether a text is a digest as ``runbook records head`` prints it."""
    return DIGEST.fullmatch(text) is not None


def is_run(name: str | None) -> TypeGuard[str]:
    """Whether a text names a run's folder, and nothing outside the records folder."""
    if name is None or not is_inside(name):
        return False
    return sum(part not in ("", ".") for part in name.split("/")) == 3
