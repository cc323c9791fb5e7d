"""``runbook discover``: what was set up by hand, as parameter files, and a report of what does not fit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..discover.drafts import COLUMNS
from ..discover.files import Written, write_all
from ..discover.finding import Discovery, discover_site
from ..notebook.display import visible
from ..parameters import load_site, project_root
from ..screen import screen
from ..words import requested
from .options import SANDBOX_SITE, SiteFile, files_of_run


def discover(
    site: SiteFile = SANDBOX_SITE,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the files [default: that of the site's file].")
    ] = None,
) -> None:
    """Write parameter files for what was set up by hand; overwrites no file and changes no vendor."""
    root, began = project_root(), time.monotonic()
    given, _ = files_of_run(site, [])
    found = discover_site(load_site(given, root), root)
    _show(found, write_all(found.drafts, given, to or given.parent), time.monotonic() - began)


def _show(found: Discovery, written: list[Written], seconds: float) -> None:
    from ..notebook.tables import Table

    for one in written:
        words = "Written" if one.is_new else "Already there, with the same content"
        screen.print(Text(visible(f"{words}: {one.path}")), soft_wrap=True)
        for line in one.difference.splitlines():
            screen.print(Text(f"    {visible(line)}"), soft_wrap=True)
    table = Table("What does not fit", COLUMNS, found.drafts.odd_rows())
    screen.print(Text(table.text()), soft_wrap=True)
    screen.print()
    tenants, asked = len(found.drafts.tenants), requested(found.requests)
    line = f"{tenants} tenants, {len(found.in_place)} with everything in place; {seconds:.0f} s, {asked}."
    screen.print(Text(line), soft_wrap=True)
