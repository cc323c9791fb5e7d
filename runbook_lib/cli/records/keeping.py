"""``runbook records dispose``, ``hold`` and ``archive``: records over the years."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InputError
from ...records.archive import write_archive
from ...records.chain import Chain
from ...records.retention import dispose_records, hold_record, old_records
from ...workspace import find_workspace
from .common import Reason, Records, Run, app, chosen_records, find_run, line, renew_pages, reported, runs_of


@app.command()
def dispose(
    older_than: Annotated[str, typer.Option(help="Closed so long ago, by the chain's time: 7y, 18m, 90d.")],
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it they are only shown.")] = False,
    records: Records = None,
) -> None:
    """Remove old records by rule; shows first which ones, and which have to stay and why."""
    with reported():
        folder = chosen_records(records)
        if not yes:
            found = old_records(folder, Chain(folder).entries(), older_than)
            gone = [old for old in found if not old.kept_by]
            stay = [old for old in found if old.kept_by]
        elif not reason.strip():
            raise InputError(["--reason: say why, for the entries"])
        else:
            gone, stay = dispose_records(folder, older_than, reason)
            renew_pages(folder)
        for old in gone:
            line(f"{'Removed' if yes else 'Would be removed'}: {old.run}, closed {old.closed}")
        for old in stay:
            line(f"Stays: {old.run}, closed {old.closed}: {old.kept_by}")
        if not yes and gone:
            line(f"Nothing was removed. To remove them ({len(gone)}), give --reason TEXT --yes.")
        if not gone:
            line("There is no record to remove.")


@app.command()
def hold(
    run: Run,
    reason: Reason = "",
    release: Annotated[bool, typer.Option("--release", help="It may be removed again.")] = False,
    records: Records = None,
) -> None:
    """Enter that a record must not be removed, or, with --release, that it may be again."""
    with reported():
        folder = chosen_records(records)
        name = find_run(runs_of(Chain(folder).entries()), run)
        entry = hold_record(folder, name, reason, release=release)
        line(f"{'Released' if release else 'On hold'}: {name}, {entry.digest}")


@app.command()
def archive(
    year: Annotated[int, typer.Argument(help="Records that closed in this year, by the chain's time.")],
    out: Annotated[Path, typer.Argument(help="The zip; must not exist.")],
    records: Records = None,
) -> None:
    """Write one zip of a year's records, with the whole chain and what is needed to verify it."""
    with reported():
        folder = chosen_records(records)
        runs, missing = write_archive(folder, year, out, find_workspace().folder)
        for reference in missing:
            line(f"! not looked for in it, as it cannot be resolved here: {reference}", "yellow")
        line(f"Written: {out}, with {len(runs)} records")
