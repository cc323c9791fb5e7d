"""``runbook records export``: copies that leave."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..parameters import project_root
from ..records.chain import Chain
from ..records.export import export_record
from .common import Records, Run, app, find, line, records_folder, reported, runs_of


@app.command()
def export(
    run: Run, out: Annotated[Path, typer.Argument(help="The zip; must not exist.")], records: Records = None
) -> None:
    """Write one zip of a record, to attach to a ticket; refused if one of the record's secrets is in it."""
    with reported():
        folder = records_folder(records)
        name = find(runs_of(Chain(folder).entries()), run)
        for reference in export_record(folder, name, out, project_root()):
            line(f"! not looked for in it, as it cannot be resolved here: {reference}", "yellow")
        line(f"Written: {out}")
