"""``runbook records compare``: what a run left, what was expected then, and what is there today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from ...errors import InputError, RunbookError
from ...guide import RUN_ORDER, SECTIONS, STEPS, section_of
from ...meaning import meaning
from ...notebook.tables import Table
from ...outcomes import FAILED, SUCCEEDED, ExitStatus
from ...plan import STOPPING, Action, Row
from ...records.chain import Chain
from ...records.chain_reading import by_event
from ...records.disposed import refuse_removed
from ...records.errors import RecordError
from ...records.first_block import changed_rows, mapping, mappings
from ...records.formats import FORMAT
from ...records.record import close_record, open_record, write_record
from ...records.result import new_run_id, now, write_json
from ...records.run_folder import COMPARISON, RUN
from ...records.verify import read_record
from ...screen import screen
from ...secret import scrub_data
from .common import Records, app, chosen_records, find_run, line, renew_pages, reported, runs_of
from .common import Run as RunArgument

#: What is there today, beside what was left.
AS_LEFT, DIFFERS, NEW = "as left", "differs", "not in the record"


@app.command()
def compare(run: RunArgument, records: Records = None) -> None:
    """Compare what a run left and expected with what is there today; the comparison is recorded, too."""
    with reported():
        folder = chosen_records(records)
        entries = Chain(folder).entries()
        name = find_run(runs_of(entries), run)
        refuse_removed(entries, name)
        opening, record, problems = read_record(folder, name, by_event(entries).get(name, {}))
        if problems or not record:
            raise RecordError(
                f"record {name} is not closed, or has changed since it was closed",
                meaning="what it says about the state that the run left may be wrong; nothing was read",
                next_step="list every problem with: runbook records verify",
            )
        kept, rows, unread = _compared(folder, name, opening, record)
        renew_pages(folder)
        columns = ("Section", "Step", "Setting", "Left then", "Expected then", "Today", "Comparison")
        table = Table(f"{name}, compared {now()}", columns, [[*row.values()] for row in rows])
        screen.print(Text(table.text(screen.width if screen.is_terminal else 10_000)), soft_wrap=True)
        for part in unread:
            line(f"✗ section {part['section']} could not be read: {part['why']}", "red")
        different = sum(row["comparison"] == DIFFERS for row in rows)
        line(f"{different} of {len(rows)} settings differ from what the run left; kept as {kept}")
    if different or unread:
        raise typer.Exit(ExitStatus.FAILED)


def _compared(
    records: Path, name: str, opening: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[str, list[dict[str, Any]], list[dict[str, str]]]:
    # What lists records needs neither the parameters' model nor the vendors' clients.
    from ...parameters.loading import SHARED
    from ...runbook import Runbook

    parameters, files = mapping(opening.get("parameters")), mapping(opening.get("files"))
    trunk = str(files.get("tenant") or "")
    tenant: Any = trunk if trunk.startswith(SHARED) else {"tenant": parameters.get("tenant")}
    target = {key: value for key, value in mapping(opening.get("target")).items() if key != "undoes"}
    sections = _sections(opening, record)
    rows: list[dict[str, Any]] = []
    unread: list[dict[str, str]] = []
    with Runbook.open({"site": parameters.get("site")}, tenant) as runbook:
        if runbook.target != target:
            raise InputError([f"record {name} is of another target (sandbox or live, account, PBX)"])
        left = _left(record)
        for number, found in runbook.read_back(sections):
            if isinstance(found, RunbookError):
                unread.append({"section": number, "why": found.what})
            else:
                rows += [_row(number, row, left) for row in found.rows]
        kept = records / name.rpartition("/")[0] / new_run_id()
        began = now()
        open_record(
            records,
            kept,
            mode="verify",
            site=str(opening["site"]),
            tenant=str(opening["tenant"]),
            target=target,
            order=sections,
            parameters=parameters,
            files={str(key): str(value) for key, value in files.items()},
            notebook="none: a comparison with an earlier record",
            workspace=runbook.context.root,
        )
    told = {"format": FORMAT, "of": name, "at": began, "rows": rows, "unread": unread}
    write_json(kept / COMPARISON, scrub_data(told))
    _end(kept, opening, sections, began, unread)
    close_record(records, kept)
    return kept.relative_to(records).as_posix(), rows, unread


def _sections(opening: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, ...]:
    """The sections of the guide that a record is about; of a way back, those whose steps it touched."""
    order = [number for number in opening.get("order") or () if number in RUN_ORDER]
    touched = {section_of(row.step).number for row in changed_rows(record) if row.step in STEPS}
    return tuple(order or [number for number in RUN_ORDER if number in touched])


def _left(record: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """What a run left, by step and setting: as it was read back, or as it was written last."""
    written = {(row.step, _name(row.setting)): row.after for row in changed_rows(record)}
    read = {
        (str(row.get("step")), _name(str(row.get("setting")))): row.get("value")
        for row in mappings(record, "after")
    }
    return written | read


def _name(setting: str) -> str:
    return str(meaning("name", setting))


def _row(number: str, row: Row, left: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    key = (row.step, _name(row.setting))
    same = key in left and (left[key] == row.current or row.action is Action.UNREADABLE)
    comparison = AS_LEFT if same else DIFFERS if key in left or row.action in STOPPING else NEW
    return {
        "section": number,
        "step": row.step,
        "setting": row.setting,
        "left": left.get(key),
        "expected": row.desired,
        "today": row.current,
        "comparison": comparison,
    }


def _end(
    folder: Path,
    opening: Mapping[str, Any],
    sections: Sequence[str],
    began: str,
    unread: Sequence[Mapping[str, str]],
) -> None:
    """What the runner writes at a run's end."""
    from ...batch.pages import write_run_index

    why = {part["section"]: part["why"] for part in unread}
    run = {
        "run_id": folder.name,
        **{key: opening[key] for key in ("site", "tenant", "target")},
        "mode": "verify",
        "started": began,
        "ended": now(),
        "outcome": FAILED if unread else SUCCEEDED,
        "problem": "",
        "sections": [
            {
                "section": number,
                "title": SECTIONS[number].title,
                "outcome": FAILED if number in why else SUCCEEDED,
                "seconds": 0.0,
                "writes": 0,
                "changes": 0,
                "notebook": None,
                "message": why.get(number, ""),
            }
            for number in sections
        ],
    }
    write_json(folder / RUN, scrub_data(run))
    write_record(folder)
    write_run_index(folder)
