"""``runbook records list`` and ``show``: what was changed, by whom, and how it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ...errors import InputError
from ...notebook.display import visible
from ...notebook.spreadsheets import csv_text
from ...notebook.styled import NO_TERMINAL
from ...notebook.tables import ABSENT, first_block_shown
from ...notebook.tables import Table as ColumnTable
from ...outcomes import ExitStatus
from ...plain_files import read_mapping
from ...plan import value_text
from ...records.chain import CLOSED, Entry
from ...records.chain_reading import by_event
from ...records.clocks import clock_cautions
from ...records.events import DISPOSED
from ...records.first_block import first_block, mapping, mappings, moment
from ...records.problems import Code
from ...records.record import record_so_far
from ...records.register import RecordFacts, RegisterFilter, RegisterRow, register
from ...records.reviews import describe_events, unreviewed
from ...records.run_folder import COMPARISON
from ...records.verify import read_record, verify_record
from ...screen import screen
from .common import (
    SECTION_COLUMNS,
    Records,
    Run,
    app,
    chosen_records,
    find_run,
    in_one_line,
    line,
    name_emergencies,
    name_events,
    names_of,
    print_json,
    print_text,
    printed,
    read_whole_chain,
    runs_of,
    shown_text,
    state_of,
    warn,
    warn_of_clocks,
)

_VERIFIED = {None: "not read back", True: "yes", False: "NO"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_COLUMNS = (
    ("Record", lambda row: row.run),
    ("Mode", lambda row: row.facts.mode),
    ("Sections", lambda row: row.facts.sections),
    ("Outcome", lambda row: row.outcome),
    ("Opened (UTC)", lambda row: row.opened[:16].replace("T", " ")),
    ("Operator", lambda row: row.facts.operator),
    ("Approved", lambda row: ", ".join(filter(None, (row.facts.approver, row.facts.approval)))),
    ("Ticket", lambda row: row.facts.ticket),
    ("Changed", lambda row: row.facts.changed),
    ("Effect", lambda row: row.facts.effect),
    ("Verified", lambda row: "" if row.state == DISPOSED else _VERIFIED[row.facts.verified]),
    ("Rolled back by", lambda row: ", ".join(row.rolled_back_by)),
    ("Writes", lambda row: str(row.facts.writes)),
    ("Look at", lambda row: ", ".join(row.reasons)),
    ("State", lambda row: row.condition + (", on hold" if row.on_hold else "")),
)


_COMPARED = ("section", "step", "setting", "left", "expected", "today", "comparison")


@app.command("list")
def list_records(
    tenant: Annotated[
        str | None,
        typer.Option(
            help="Only this tenant's records, including changes to shared trunks that carried its calls."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Opened on this day or later: YYYY-MM-DD, or a time (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Opened on this day or earlier; if you give a time, before that time.")
    ] = None,
    ticket: Annotated[str | None, typer.Option(help="The ticket, or part of it.")] = None,
    approver: Annotated[str | None, typer.Option(help="The name of the approver, or part of it.")] = None,
    outcome: Annotated[str | None, typer.Option(help="The outcome, such as succeeded or failed.")] = None,
    exceptions: Annotated[
        bool,
        typer.Option(
            "--exceptions",
            help="Only runs that need a second look: no ticket, automatic approval, an emergency that was "
            "not reviewed, a weaker policy, a plan approved by its author, a wrong clock, values "
            "changed outside.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print as CSV, for a spreadsheet.")] = False,
    records: Records = None,
) -> None:
    """List the records of the chain, oldest first."""
    with printed():
        if as_json and as_csv:
            raise InputError(["--json and --csv: give only one of them"])
        wanted = RegisterFilter(
            tenant,
            _time("--since", since),
            _time("--until", until, end=True),
            ticket,
            approver,
            outcome,
            exceptions,
        )
        folder = chosen_records(records)
        entries, problems = read_whole_chain(folder)
        rows = register(folder, entries)
        shown = wanted.of(rows)
        problems += [problem for row in shown for problem in row.problems]
        if as_json or as_csv:
            _print_data(folder, entries, shown, as_csv=as_csv)
        else:
            _print_list(folder, entries, rows, shown, wanted, problems)
    if problems:
        raise typer.Exit(ExitStatus.FAILED)


def _print_list(
    folder: Path,
    entries: Sequence[Entry],
    rows: Sequence[RegisterRow],
    shown: Sequence[RegisterRow],
    wanted: RegisterFilter,
    problems: Sequence[Any],
) -> None:
    if not shown and not problems:
        if wanted.exceptions:
            count = len(replace(wanted, exceptions=False).of(rows))
            line(f"No exceptions among {count} runs.")
        else:
            whose = f" of {wanted.tenant}" if wanted.tenant is not None else ""
            line(f"There is no record{whose} in the chain{' yet' if not rows else ' that matches'}.")
        return
    warn(problems)
    warn_of_clocks(entries)
    for row in shown:
        for caution in row.facts.cautions:
            line(f"! {row.run}: {caution}", "yellow")
    # A narrower terminal scrolls or wraps lines: run ids are to be copied, so nothing is folded.
    name_events(folder, entries)
    name_emergencies(unreviewed(entries, {row.run: {"emergency": row.facts.emergency} for row in rows}))
    if shown:
        cells = [[column(row) for _, column in _COLUMNS] for row in shown]
        # A column without any values is left out.
        kept = [place for place in range(len(_COLUMNS)) if any(line[place] for line in cells)]
        columns = [_COLUMNS[place][0] for place in kept]
        _print_rows("Records, oldest first", columns, [[line[place] for place in kept] for line in cells])


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without folding a cell; of thousands of rows, at once."""
    shown = {cell: visible(cell) or ABSENT for cell in {cell for row in rows for cell in row}}
    cells = [columns, *([shown[cell] for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    rule = "  ".join("-" * width for width in widths)
    print_text("\n".join(line.rstrip() for line in (title, lines[0], rule, *lines[1:])))


def _print_data(folder: Path, entries: Sequence[Entry], rows: Sequence[RegisterRow], *, as_csv: bool) -> None:
    found = [row.to_data() for row in rows]
    if as_csv:
        columns = list(found[0]) if found else list(RegisterRow("//", "", "", RecordFacts()).to_data())
        lines = [[_cell(row[name], is_known=row["state"] != DISPOSED) for name in columns] for row in found]
        print_text(csv_text([("", columns, lines)]).rstrip("\r\n").replace("\r\n", "\n"))
        return
    data = {
        "format": 1,
        "head": entries[-1].digest if entries else None,
        "runs": found,
        "events": describe_events(folder, entries),
    }
    print_json(data)


def _cell(value: object, *, is_known: bool) -> str:
    """A value for a spreadsheet; blank where a removed record no longer shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return ("none" if value == [] else _VERIFIED[None]) if is_known else ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _time(option: str, given: str | None, *, end: bool = False) -> str | None:
    """A day or a time that was given, as the chain writes times; of a day that ends something, its end."""
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise InputError([f"{option}: {given} is neither a day (YYYY-MM-DD) nor a time"]) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if end and _DAY.fullmatch(given):
        at += timedelta(days=1)
    return at.isoformat(timespec="seconds")


@app.command()
def show(
    run: Run,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON, beginning with the first block.")
    ] = False,
    records: Records = None,
) -> None:
    """Show one record: first one sentence and what changed, then everything else."""
    with printed():
        folder = chosen_records(records)
        entries, problems = read_whole_chain(folder)
        name = find_run(runs_of(entries), run, problems)
        own = [entry for entry in entries if entry.run == name]
        digests = by_event(own).get(name, {})
        disposed = any(entry.event == DISPOSED for entry in own)
        opening, closed, unread = ({}, {}, []) if disposed else read_record(folder, name, digests)
        problems += verify_record(folder, name, own)
        problems += [problem for problem in unread if problem.code is Code.NEWER and problem not in problems]
        is_open = bool(digests) and CLOSED not in digests
        # For a run that has not ended, only its opening is certain: whatever is in its folder is shown.
        record = closed or ({**_so_far(folder / name), **opening} if is_open else opening)
        if is_open:
            record["outcome"] = state_of(folder, name, digests)
        events = [_event(folder, entry) for entry in own]
        if as_json:
            first = first_block(record).to_data()
            record.pop("first", None)
            wrong = [f"{problem.path}: {problem.what}" for problem in problems]
            print_json({"run": name, "first": first, **record, "events": events, "problems": wrong})
        else:
            warn(problems)
            if record:
                block = first_block_shown(first_block(record))
                width = screen.width if screen.is_terminal else max(screen.width, NO_TERMINAL)
                for part in block.parts:
                    shown = part.text(width) if isinstance(part, ColumnTable) else part.text()
                    screen.print(Text(shown), soft_wrap=True)
                line("")
            _facts(name, record)
            _details(record)
            compared = read_mapping(folder / name / COMPARISON)
            _table(f"Compared with {compared.get('of')}", mappings(compared, "rows"), _COMPARED)
            for event in events:
                line(f"{event['event']} {event['at']}: {event['digest']}{event['told']}")
    if problems:
        raise typer.Exit(ExitStatus.FAILED)


def _event(folder: Path, entry: Entry) -> dict[str, Any]:
    """An entry of a run, and what its file says of who and why."""
    told = read_mapping(folder / entry.file) if entry.file.startswith("_events/") else {}
    why = next((str(told[key]) for key in ("why", "reason", "remark") if told.get(key)), "")
    what = ", ".join(filter(None, (why, str(told.get("audience") or ""), str(told.get("file") or ""))))
    by = names_of(told.get("by"))
    told_of = f" ({', '.join(filter(None, (what, f'by {by}' if by else '')))})" if what or by else ""
    return {"event": entry.event, "at": entry.at, "digest": entry.digest, "told": told_of}


def _details(record: dict[str, Any]) -> None:
    _table("Sections", mappings(record, "guide_sections"), SECTION_COLUMNS)
    changes = ("section", "vendor", "method", "resource", "status", "request_id")
    _table("Changes", mappings(record, "changes"), changes)
    _table("In flight: it is unknown whether these were carried out", mappings(record, "in_flight"), changes)
    standing = ("section", "step", "setting", "value", "action")
    _table("Before", mappings(record, "before"), standing)
    _table("After, read back", mappings(record, "after"), standing)


def _so_far(folder: Path) -> dict[str, Any]:
    """What an open record holds by now; nothing where somebody made something else of its files."""
    try:
        return record_so_far(folder)
    except (OSError, KeyError, TypeError, AttributeError):
        return {}


def _facts(name: str, record: dict[str, Any]) -> None:
    target = mapping(record.get("target"))
    approver = mapping(record.get("approver")) or mapping(record.get("approval"))
    by, runbook = mapping(approver.get("by")), mapping(record.get("runbook"))
    approved = [str(by[key]) for key in ("who", "how", "key") if by.get(key)]
    approved += [f"{moment(by['at'])} by the signer's clock"] if by.get("at") else []
    identities = [
        f"{one.get('name')} ({one.get('kind')}, {one.get('known')})" for one in mappings(record, "by")
    ]
    facts = (
        ("Record", name),
        ("Outcome", record.get("outcome")),
        ("Problem", " ".join(str(record.get("problem") or "").splitlines())),
        ("Mode", record.get("mode")),
        ("Batch", record.get("batch")),
        ("Target", ", ".join(str(value) for value in target.values())),
        ("Operator", record.get("operator")),
        ("Known as", ", ".join(identities)),
        ("Tenants affected", names_of(record.get("affected"))),
        ("Notebook", record.get("notebook")),
        ("Approved", ", ".join([*approved, *([str(approver["plan"])] if approver.get("plan") else [])])),
        ("Ticket", record.get("ticket")),
        ("Reason", record.get("reason")),
        ("Emergency", record.get("emergency")),
        ("Started (UTC)", record.get("started")),
        ("Ended (UTC)", record.get("ended")),
        ("Clock", "; ".join(clock_cautions(record.get("clocks"), "was"))),
        ("Runbook", f"{runbook.get('version')} {runbook.get('source')}"),
    )
    for label, value in facts:
        if value:
            screen.print(Text.assemble((f"{label:<16} ", "bold"), shown_text(value)), soft_wrap=True)


def _in_words(value: Any) -> str:
    """A value of a record: of a blank cell nobody knows what it means."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return ABSENT if value is None else value_text(value)


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name.replace("_", " ").capitalize(), overflow="fold")
    for row in rows:
        table.add_row(*(shown_text(_in_words(in_one_line(row, name))) for name in columns))
    screen.print(table)
