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
    older_than: Annotated[
        str,
        typer.Option(
            help="How long ago the records were closed, at least, by the chain's time: 7y, 18m, 90d."
        ),
    ],
    reason: Reason = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without this option, they are only listed.")
    ] = False,
    records: Records = None,
) -> None:
    """Remove old records by rule; first shows which would go, and which have to stay and why."""
    with reported():
        folder = chosen_records(records)
        if not yes:
            found = old_records(folder, Chain(folder).entries(), older_than)
            gone = [old for old in found if not old.kept_by]
            stay = [old for old in found if old.kept_by]
        elif not reason.strip():
            raise InputError(["--reason: is missing: say why; the reason is recorded"])
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
    release: Annotated[
        bool, typer.Option("--release", help="Lift the hold: the record may be removed again.")
    ] = False,
    records: Records = None,
) -> None:
    """Put a record on hold, so that it is not removed; with --release, lift the hold."""
    with reported():
        folder = chosen_records(records)
        name = find_run(runs_of(Chain(folder).entries()), run)
        entry = hold_record(folder, name, reason, release=release)
        line(f"{'Released' if release else 'On hold'}: {name}, {entry.digest}")


@app.command()
def archive(
    year: Annotated[
        int, typer.Argument(help="The year in which the records were closed, by the chain's time.")
    ],
    out: Annotated[Path, typer.Argument(help="The zip file to write, which must not exist yet.")],
    records: Records = None,
) -> None:
    """Write one zip of a year's records, with the whole chain and what is needed to verify it."""
    with reported():
        folder = chosen_records(records)
        runs, missing = write_archive(folder, year, out, find_workspace().folder)
        for reference in missing:
            line(
                f"! the archive was not searched for this secret, which cannot be resolved here: {reference}",
                "yellow",
            )
        line(f"Written: {out}, with {len(runs)} records")
