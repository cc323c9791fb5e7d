"""``runbook records close``, ``adopt``, ``policy`` and ``review``: what people enter by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import InputError
from ...plain_files import read_mapping
from ...records.anchor import head_cautions
from ...records.chain import Chain
from ...records.chain_reading import is_run
from ...records.first_block import mapping
from ...records.policy import OldSigner, change_policy
from ...records.result import now
from ...records.reviews import review_run
from ...records.run_folder import OPENING, run_name
from ...records.settling import Closing, adopt, close_dead, remove_unopened
from ...records.verify import unopened
from ...screen import complain
from ...workspace import find_workspace
from .common import (
    Reason,
    Records,
    Run,
    app,
    chosen_records,
    find_run,
    given,
    line,
    renew_pages,
    reported,
    runs_of,
)


@app.command()
def close(
    run: Run,
    reason: Reason = "",
    confirm: Annotated[
        str, typer.Option(help="The full run ID, to close a run of another host; needs --reason as well.")
    ] = "",
    records: Records = None,
) -> None:
    """Close the record of a run that died, with what it left behind; remove one that never opened.

    Who closed it, when and why is kept in it, with what stands at the vendors now, if that can be read.
    """
    from ...batch.pages import write_run_index

    with reported():
        folder = chosen_records(records)
        chained = runs_of(Chain(folder).entries())
        name = find_run([*chained, *unopened(folder, chained)], run)
        if name in chained:
            closing = Closing(
                reason,
                confirm or (_typed(name) if reason.strip() else ""),
                lambda: _at_the_vendors(folder / name),
                write_run_index,
            )
            line(f"Closed: {name}, {close_dead(folder, folder / name, closing).digest}")
            renew_pages(folder)
            for caution in head_cautions(folder):
                complain(f"Caution: {caution}")
        else:
            remove_unopened(folder, folder / name)
            line(f"Removed: {name}. Its run died before its record was opened, so it wrote nothing.")


@app.command("adopt")
def adopt_record(
    run: Annotated[str, typer.Argument(help="SITE/TENANT/RUN, or the run's folder.")],
    reason: Reason = "",
    records: Records = None,
) -> None:
    """Add to the chain the folder of a run that it does not know: an old one, or one from a backup."""
    with reported():
        folder = chosen_records(records)
        path = folder / run if is_run(run) else Path(run).absolute()
        if not path.is_dir() or not path.is_relative_to(folder) or not is_run(run_name(folder, path)):
            raise InputError([f"{run}: there is no folder of this run in {folder}"])
        entry = adopt(folder, path, reason)
        renew_pages(folder)
        line(f"Adopted: {entry.run}, {entry.digest}")


@app.command()
def policy(
    site: Annotated[Path, typer.Option("--site", "-s", help="The site file with the new policies.")],
    reason: Annotated[str, typer.Option(help="The reason, in words.")],
    key: Annotated[Path | None, typer.Option(help="SSH key of a previous allowed signer.")] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="The allowed signers as they were before.")
    ] = None,
    records: Records = None,
) -> None:
    """Record that a site's policies have changed, so that live runs accept weaker ones."""
    from ...parameters import load_site

    with reported():
        if (key is None) != (allowed_signers is None):
            raise InputError(["--key and --allowed-signers: give both or neither"])
        root = find_workspace().folder
        old = None
        if key is not None and allowed_signers is not None:
            old = OldSigner(given(key) or key, given(allowed_signers) or allowed_signers)
        the_site = load_site(given(site) or site, root)
        for entry in change_policy(chosen_records(records), the_site, root, reason, old):
            line(f"Entered: {entry.file}, {entry.digest}")
        renew_pages(chosen_records(records))


@app.command()
def review(
    run: Run,
    remark: Annotated[str, typer.Option(help="What you found, in words.")],
    records: Records = None,
) -> None:
    """Record that you have reviewed an emergency run; this must not be the person who ran it."""
    with reported():
        folder = chosen_records(records)
        name = find_run(runs_of(Chain(folder).entries()), run)
        line(f"Reviewed: {name}, {review_run(folder, name, remark).digest}")
        renew_pages(folder)


def _typed(name: str) -> str:
    """What a person types when asked for a run's id; empty where nobody can be asked."""
    if not sys.stdin.isatty():
        return ""
    return str(
        typer.prompt(f"Type the run ID to close {name} (needed if it ran on another host)", default="")
    )


def _at_the_vendors(run: Path) -> dict[str, Any]:
    """What the tenant's plan is now, after a run that died: as far as it can be read, and never an error."""
    from ...runbook import Runbook

    opening = read_mapping(run / OPENING)
    files = mapping(opening.get("files"))
    if opening.get("mode") != "apply":
        return {"read": None, "why_not": "the run wrote nothing"}
    try:
        with Runbook.open(files["site"], files["tenant"]) as runbook:
            if runbook.context.journal.target != opening.get("target"):
                return {"read": None, "why_not": "the parameter files are for another target by now"}
            rows = [
                {"section": part.section, **row.covered()}
                for part in runbook.plan().slices
                for row in (*part.changing, *part.stopping)
            ]
    except Exception as error:  # whatever keeps it from being read: the record is closed all the same
        return {"read": None, "why_not": f"{type(error).__name__}: {error}"}
    return {"read": now(), "not_as_the_parameters_ask": rows}
