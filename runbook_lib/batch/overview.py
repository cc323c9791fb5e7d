"""The list of records: what was changed first, and what only looked folded away below it."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..notebook.display import Box, broken, escaped
from ..outcomes import FAILED, SUCCEEDED
from ..plain_files import LIMIT, read_mapping
from ..records.chain import Entry
from ..records.chain_reading import is_run, read_chain
from ..records.clocks import runs_in_order
from ..records.disposed import DISPOSED_FILE
from ..records.first_block import moment
from ..records.problems import only_newer
from ..records.register import RegisterRow, register
from ..records.reviews import describe_events, unreviewed
from ..records.run_folder import RUN
from ..records.verify import INDEX, run_folders
from .frame import SEARCH, mark, table, time_cell

_CHANGES = ("When (UTC)", "Tenant", "What changed", "Who", "Approved by", "Ticket", "Outcome")
_LOOKED = ("When (UTC)", "Tenant", "Mode", "Sections", "Outcome")
_SYMBOLS = {SUCCEEDED: "✓", FAILED: "✗"}
_CANNOT_BE_READ = "cannot be read: runbook records verify"


def overview(records: Path) -> tuple[str, str]:
    """Return the body of the page over all records, newest run first, and the target of its banner.

    Every run opened in the chain has a line, even if nothing else is left of it; unchained runs of plan or
    verify are shown from their folders.
    """
    entries, _ = read_chain(records)
    chained = {row.run: row for row in register(records, entries)}
    opened = {entry.run for entry in entries if is_run(entry.run)}
    names = list(reversed(runs_in_order(entries, sorted({*opened, *run_folders(records)}))))
    emergencies = {run: {"emergency": row.facts.emergency} for run, row in chained.items()}
    cell = cache(broken)  # many of them are the same
    changes: list[tuple[str, list[str]]] = []
    looked: list[tuple[str, list[str]]] = []
    targets: set[str] = set()
    for name in names:
        row = chained.get(name)
        if row is not None and (row.facts.mode == "apply" or row.facts.mode == ""):
            changes.append((name, _change(records, row, cell)))
            targets.add(row.facts.target)
        elif (found := _looked(records / name, name, row)) is not None:
            # Whatever it may have written belongs to the changes.
            target, mode, cells = found
            targets.add(target)
            if mode in ("plan", "verify"):
                looked.append((name, cells))
            else:
                changes.append((name, [*cells[:2], "", "", "", "", cells[-1]]))
    parts = ["<h1>Records</h1>", SEARCH, _to_look_at(records, entries, emergencies)]
    if changes:
        parts += [f"<h2>Changes ({len(changes)})</h2>", _table(_CHANGES, changes, "Changes, newest first")]
    else:
        parts.append("<p>Nothing has been changed yet.</p>")
    if looked:
        shown = _table(_LOOKED, looked, "Plans and checks, newest first")
        parts.append(
            "<details><summary>Plans and checks, which changed nothing "
            f"({len(looked)})</summary><p>They are kept for as long as the site's policy says "
            f"(policies.keep_plans).</p>{shown}</details>"
        )
    return "".join(parts), banner_of(targets)


def banner_of(targets: Collection[str]) -> str:
    """Return which banner a page over runs at these targets has: one that is live is never without it."""
    if "live" in targets:
        return "mixed" if "sandbox" in targets else "live"
    return "sandbox" if {*targets} == {"sandbox"} else ""


def _table(columns: Sequence[str], rows: Sequence[tuple[str, list[str]]], name: str) -> str:
    return table(columns, [cells for _, cells in rows], [run for run, _ in rows], name)


def _change(records: Path, row: RegisterRow, cell: Callable[[str], str]) -> list[str]:
    """The cells of a run that was to change something; ``cell`` makes HTML of a text."""
    facts, files = row.facts, _files(f"{records}/{row.run}")
    what = cell(facts.changed) if facts.changed else "nothing" if not facts.writes else "see its page"
    if facts.undoes:
        what = f"rolled back run {cell(facts.undoes)}: {what}"
    notes = [
        *([f"for {', '.join(facts.affected)}"] if facts.affected else []),
        *([facts.effect] if facts.writes and "interrupted" in facts.effect else []),
        *([f"{facts.in_flight} without an answer"] if facts.in_flight else []),
        *(f"rolled back by {run}" for run in row.rolled_back_by),
    ]
    outcome = "removed by rule" if files is not None and DISPOSED_FILE in files else row.outcome
    marks = mark(outcome or row.condition)
    if row.problems and only_newer(row.problems):
        marks = mark(row.condition)
    elif row.problems or not _is_readable(files, closed=bool(row.closed)):
        marks = mark(_CANNOT_BE_READ)
    approver = facts.approver or facts.approval
    return [
        _when(row.run, facts.started or row.opened, files),
        _tenant(row.run, facts.target, cell),
        what + "".join(f'<div class="dim">{cell(note)}</div>' for note in notes),
        cell(facts.operator),
        cell(", ".join(filter(None, (approver, facts.approval if facts.approver else "")))),
        cell(facts.ticket),
        marks,
    ]


#: What is in a run's folder, by name; ``None`` if it cannot be listed.
_Files = Mapping[str, "os.DirEntry[str]"] | None


def _files(folder: str) -> _Files:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError:
        return None


def _is_readable(files: _Files, *, closed: bool) -> bool:
    """Whether what a run left of its sections can be read.

    Of a closed one, whose record's own files the register looks at, that these are plain files of a sane
    size: reading each would cost more with every record. ``records verify`` reads them all.
    """
    if files is None:
        return False
    found = [entry for name, entry in files.items() if name == RUN or name.endswith(".result.json")]
    if not closed:
        return all(read_mapping(Path(entry.path)) for entry in found)
    try:
        stats = [entry.stat(follow_symlinks=False) for entry in found]
    except OSError:
        return False
    return all(stat.S_ISREG(status.st_mode) and 0 < status.st_size <= LIMIT for status in stats)


def _looked(folder: Path, name: str, row: RegisterRow | None) -> tuple[str, str, list[str]] | None:
    """Target, mode and cells of a run that is known from its folder; ``None`` if no run left anything."""
    mode = target = started = ""
    outcome, sections = _CANNOT_BE_READ, ""
    try:
        paths = sorted(folder.glob("*.result.json"))
        is_there = os.path.lexists(folder / RUN)
        if not paths and not is_there and row is None:
            return None
        run = read_mapping(folder / RUN)
        results = [result for path in paths if (result := read_mapping(path))]
        if len(results) == len(paths) and (run or not is_there):
            mode, target, started, outcome, sections = _told(run, results, row)
    except (OSError, ValueError):  # its files were changed by somebody: other runs keep their lines
        pass
    when = _when(name, started or (row.opened if row else ""), _files(str(folder)))
    cells = [when, _tenant(name, target), escaped(mode), sections, mark(outcome)]
    return target or "unknown", mode, cells


def _told(
    run: Mapping[str, Any], results: Sequence[Mapping[str, Any]], row: RegisterRow | None
) -> tuple[str, str, str, str, str]:
    """Mode, target, start, outcome and sections of a run; ``ValueError`` if no runbook wrote its files so."""
    first = results[0] if results else {}
    mode = run.get("mode") or first.get("mode") or (row.facts.mode if row else "")
    target = run.get("target") or first.get("target") or {}
    sections = run.get("sections", results)
    if not isinstance(target, dict) or not isinstance(sections, list):
        raise ValueError("a run has a target, and a list of sections")
    outcomes = {_text(result, "outcome") for result in results}
    outcome = _text(run, "outcome") if "outcome" in run else FAILED if FAILED in outcomes else SUCCEEDED
    if row is not None and not row.facts.outcome:
        outcome = row.outcome
    parts = " ".join(
        f"{escaped(_text(part, 'section'))}&nbsp;{_SYMBOLS.get(_text(part, 'outcome'), '·')}"
        for part in sections
    )
    started = str(run.get("started") or first.get("started") or "")
    return str(mode), str(target.get("target", "unknown")), started, outcome, parts


def _text(part: object, key: str) -> str:
    """A text of what a file has; ``ValueError`` if it has none."""
    text = part.get(key) if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise ValueError(f"no {key}")
    return text


def _when(name: str, started: str, files: _Files) -> str:
    """When a run began, as the link to its page; its id where there is no page."""
    run_id = name.rpartition("/")[2]
    shown = time_cell(moment(started).removesuffix(" UTC")[:16]) if started else ""
    file = (
        INDEX if INDEX in (files or ()) else min(fnmatch.filter(files or (), "[0-9][0-9]_*.html"), default="")
    )
    if not file:
        return f'{shown}<div class="dim">{broken(run_id)}</div>'
    return (
        f'<a href="{escaped(f"{name}/{file}")}" title="run {escaped(run_id)}">{shown or escaped(run_id)}</a>'
    )


def _tenant(name: str, target: str, cell: Callable[[str], str] = broken) -> str:
    site, tenant, _ = name.split("/")
    note = f'<div class="dim">{cell(target)}</div>' if target else ""
    return f"{cell(site)}/{cell(tenant)}{note}"


def _to_look_at(records: Path, entries: Sequence[Entry], runs: Mapping[str, Mapping[str, Any]]) -> str:
    """What another person should check: unreviewed emergency runs, changes of policy."""
    parts = []
    if waiting := unreviewed(entries, runs):
        how = "To review one, as another person: runbook records review RUN --remark TEXT"
        title = f"Emergency runs that nobody has reviewed: {len(waiting)}"
        parts.append(Box("caution", title, (*waiting, how)).html())
    if changes := describe_events(records, entries):
        parts.append(Box("caution", "Changes of policies and approvals", tuple(changes)).html())
    return "".join(parts)
