"""``runbook drift``: what differs at the vendors from what the parameters say, and who changed it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..errors import RunbookError
from ..notebook.display import visible
from ..outcomes import ExitStatus
from ..parameters import load_all, project_root
from ..screen import complain, conclude, screen
from ..watch.report import COLUMNS, Drift, post_target, write_metrics
from ..watch.report import post as send
from ..words import requested
from .options import SANDBOX_SITE, AllTenants, SiteFile, TenantFiles, owners_of


def drift(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write metrics for node_exporter to this file (NAME.prom).")
    ] = None,
    post: Annotated[
        str | None,
        typer.Option(help="If something differs, post a summary to the URL at this reference (env:NAME)."),
    ] = None,
) -> int:
    """Show what differs from the parameters, and who changed it; changes nothing. Status 2: differences."""
    root = project_root()
    given, owners = owners_of(site, tenants, None, every)
    # What is wrong with the input is found before the first request.
    loaded = load_all(given, owners, root, secrets=False)
    url = post_target(post, root) if post else None
    found = Drift.of(loaded[0][0], [owner for _, owner in loaded], root)
    if as_json:
        screen.print(json.dumps(found.to_data(), indent=2), soft_wrap=True, markup=False)
    else:
        _show(found)
    for unread in found.unread:
        complain(f"{unread.owner.name} was not read: {unread.error}")
    conclude(found.sentence)
    if metrics is not None:
        write_metrics(found, metrics, time.time())
    status = (
        ExitStatus.FAILED if found.unread else ExitStatus.CHANGES if found.differences else ExitStatus.FINE
    )
    if url is not None and status != ExitStatus.FINE:
        try:
            send(found, url)
        except RunbookError as error:
            complain(str(error))
            return ExitStatus.FAILED
    return status


def _show(found: Drift) -> None:
    from ..notebook.tables import Table

    if found.differences:
        table = Table(f"What differs from the parameters of {found.site}", COLUMNS, found.table())
        screen.print(Text(table.text()), soft_wrap=True)
        screen.print()
    screen.print(
        Text(visible(f"{found.sentence}. {found.seconds:.0f} s, {requested(found.requests)}.")),
        soft_wrap=True,
    )
