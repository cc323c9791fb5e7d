"""``runbook records export`` and ``confirm``: copies that leave, and whether a file is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import InputError
from ...notebook.display import Box, Shown, marked_down
from ...notebook.tables import Table, first_block_shown
from ...outcomes import ExitStatus
from ...plain_files import describe
from ...records.chain import CLOSED, Chain
from ...records.chain_reading import by_event
from ...records.customer import customers_copy, tenants_of
from ...records.errors import RecordError
from ...records.export import export_record, require_exportable
from ...records.first_block import first_block, mapping, mappings
from ...records.handing import enter_copy, handed_out, write_copy
from ...records.register import register
from ...records.verify import read_record
from ...workspace import find_workspace
from .common import (
    SECTION_COLUMNS,
    Records,
    Run,
    app,
    chosen_records,
    find_run,
    given,
    in_one_line,
    line,
    names_of,
    printed,
    renew_pages,
    reported,
    runs_of,
    warn,
)


class Audience(StrEnum):
    """Whom a copy is for."""

    AUDITOR = "auditor"
    CUSTOMER = "customer"


@app.command()
def export(
    run: Run,
    out: Annotated[
        Path,
        typer.Argument(
            help="The file to write, which must not exist yet: NAME.zip (for auditors), NAME.md or NAME.html."
        ),
    ],
    audience: Annotated[
        Audience,
        typer.Option(
            "--for",
            help="auditor: the whole record; customer: only the tenant's own rows, without names, logins, "
            "paths or free text.",
        ),
    ] = Audience.AUDITOR,
    tenant: Annotated[
        str | None,
        typer.Option(
            help="Which tenant the customer's copy is for, if the record is that of a shared trunk."
        ),
    ] = None,
    records: Records = None,
) -> None:
    """Make a copy of a record for an audience, and record that it was handed out."""
    with reported():
        kinds = (".md", ".html") if audience is Audience.CUSTOMER else (".zip", ".md", ".html")
        if out.suffix not in kinds:
            raise InputError(
                [f"{out.name}: the name of a copy for {audience} must end in {', '.join(kinds)}"]
            )
        if tenant is not None and audience is not Audience.CUSTOMER:
            raise InputError(["--tenant: can be given only with --for customer"])
        folder = chosen_records(records)
        entries = Chain(folder).entries()
        name = find_run(runs_of(entries), run)
        if out.suffix == ".zip":
            missing = export_record(folder, name, out, find_workspace().folder)
        else:
            missing = require_exportable(folder, name, find_workspace().folder)
            record = read_record(folder, name, by_event(entries)[name])[1]
            if audience is Audience.CUSTOMER:
                domains = {
                    row.facts.domain: row.tenant for row in register(folder, entries) if row.facts.domain
                }
                whose = _tenant(tenants_of(record, domains), tenant)
                closed = next(one for one in entries if one.run == name and one.event == CLOSED)
                title, parts = _for_customer(record, whose, closed.digest)
            else:
                title, parts = f"Change record {name}", _for_auditor(record)
            write_copy(out, _rendered(out.suffix, title, mapping(record.get("target")), parts))
        for reference in missing:
            line(
                f"! the copy was not searched for this secret, which cannot be resolved here: {reference}",
                "yellow",
            )
        entry = enter_copy(folder, name, out, str(audience))
        renew_pages(folder)
        line(f"Written: {out}; recorded as a copy for {audience}: {entry.digest}")


def _tenant(known: Sequence[str], wanted: str | None) -> str:
    wanted = known[0] if wanted is None and len(known) == 1 else wanted
    if wanted is None or wanted not in known:
        raise InputError([f"--tenant: give one of {', '.join(known)}"])
    return wanted


def _for_customer(record: Mapping[str, Any], tenant: str, digest: str) -> tuple[str, list[Shown]]:
    copy = customers_copy(record, tenant, digest)
    note = "Values that are not for this copy are shown as (set)."
    return copy.title, [
        Table("The change", ("What", "Value"), copy.facts),
        Table("What changed", copy.columns, copy.rows, empty="no setting of this service alone"),
        Box("info", "This copy was made from the record, using a fixed list of what may be shown.", (note,)),
    ]


def _for_auditor(record: dict[str, Any]) -> list[Shown]:
    standing = ("section", "step", "setting", "value", "action")
    changes = ("section", "vendor", "method", "resource", "status", "request_id", "sent")
    facts = [
        (name, str(record[name]))
        for name in (
            "run",
            "mode",
            "outcome",
            "operator",
            "ticket",
            "reason",
            "emergency",
            "started",
            "ended",
        )
        if record.get(name)
    ]
    by = [(str(one.get("kind")), f"{one.get('name')} ({one.get('known')})") for one in mappings(record, "by")]
    said = str(record.get("problem") or "").splitlines()
    return [
        first_block_shown(first_block(record)),
        *([Box("stop", said[0], tuple(said[1:]))] if said else []),
        Table("Facts", ("What", "Value"), [*facts, *by]),
        _table("Sections", record, "guide_sections", SECTION_COLUMNS),
        _table("Writes", record, "changes", changes),
        _table("In flight: it is unknown whether these were carried out", record, "in_flight", changes),
        _table("Before", record, "before", standing),
        _table("After, read back", record, "after", standing),
    ]


def _table(title: str, record: dict[str, Any], key: str, columns: tuple[str, ...]) -> Table:
    rows = [[in_one_line(row, column) for column in columns] for row in mappings(record, key)]
    return Table(title, [column.replace("_", " ") for column in columns], rows)


def _rendered(suffix: str, title: str, target: Mapping[str, Any], parts: Sequence[Shown]) -> bytes:
    from ...batch.pages import page_of

    if suffix == ".html":
        return page_of(title, str(target.get("target") or ""), parts)
    sandbox = "SANDBOX: both vendors are simulated\n\n" if target.get("target") == "sandbox" else ""
    body = "\n\n".join(part.markdown() for part in parts)
    return f"# {marked_down(title)}\n\n{sandbox}{body}\n".encode()


@app.command()
def confirm(
    file: Annotated[Path, typer.Argument(help="The file to check.")],
    records: Records = None,
) -> None:
    """Check whether a file is a copy that was handed out, and whether its record still matches."""
    with printed():
        folder = chosen_records(records)
        path = given(file) or file
        try:
            found = handed_out(folder, Chain(folder).entries(), path)
        except OSError as error:
            raise InputError([f"{describe(error)}"]) from None
        if not found:
            raise RecordError(
                f"{path.name} is not a copy from these records, or has been changed",
                meaning="no copy with exactly this content was handed out from these records",
                next_step="ask for the file as it was received; a copy that was opened and saved again "
                "is a different file",
            )
        for copy in found:
            state = (
                "whose files have since been removed by rule" if copy.disposed else "whose files still match"
            )
            if copy.problems:
                warn(copy.problems)
                state = "whose files no longer match"
            by = names_of(copy.told.get("by"))
            line(
                f"Handed out on {copy.entry.at} by {by}, for {copy.told.get('audience')}, from record"
                f" {copy.entry.run}, {state}."
            )
    if any(copy.problems for copy in found):
        raise typer.Exit(ExitStatus.FAILED)
