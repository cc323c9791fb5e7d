"""``runbook dial``: where dialled numbers go, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..dialling import judgement, tables
from ..dialling.evaluator import NOT_LOOKED_AT, Call, DialPlan, explain, ring
from ..dialling.sources import from_parameters
from ..errors import InputError
from ..notebook.display import visible
from ..parameters import Tenant, load, project_root
from ..screen import screen
from .options import SANDBOX_SITE, SiteFile, files_of_run

#: Columns that are shown only if one of the calls has a value in them.
_OPTIONAL = frozenset({"From", "Rules see", "Same priority", "Caller id"})


def dial(
    tenant: Annotated[Path, typer.Argument(help="Tenant file.")],
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NUMBER]...", help="Dialled numbers [default: each way of dialling]."),
    ] = None,
    site: SiteFile = SANDBOX_SITE,
    caller: Annotated[str | None, typer.Option("--from", help="The extension that dials.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Use all rules that the PBX has now instead of the parameters.")
    ] = False,
    called: Annotated[
        bool, typer.Option("--called", help="Treat the numbers as the tenant's own, called from outside.")
    ] = False,
) -> None:
    """Show where dialled numbers go and why; makes no call and changes nothing."""
    given, [owner] = files_of_run(site, [tenant])
    show_calls(given, owner, numbers or [], caller, screen, live=live, called=called)


def show_calls(
    site: Path,
    tenant: Path,
    given: Sequence[str],
    caller: str | None,
    screen: Console,
    *,
    live: bool,
    called: bool,
) -> None:
    """Show where numbers go, dialled by an extension or called from outside.

    ``live`` uses what the PBX has now; otherwise only the parameters, without any request.
    Raises ``InputError`` for a number that cannot be dialled.
    """
    dialled = [_dialled(number) for number in given]
    if caller is not None and not re.fullmatch(r"\d{1,20}", caller, re.ASCII):
        raise InputError(["--from: give the extension that dials, digits only"])
    owner = _loaded(site, tenant)
    plan = _read(site, tenant, owner) if live else from_parameters(owner)
    if called:
        numbers = dialled or list(plan.dids or ())
        for number in numbers:
            whole = number if number.startswith("+") else f"+{number}"
            screen.print(Text(visible(f"{whole}: {ring(plan, whole)}")), soft_wrap=True)
        return
    calls = [explain(plan, number, caller) for number in dialled]
    how = "by the rules in the PBX" if live else "by the rules in the parameters alone"
    _show_calls(tables.caption(how), calls or tables.sample_calls(plan), screen)
    for finding in judgement.cautions(plan):
        screen.print(Text(f"Caution: {visible(str(finding))}"), soft_wrap=True)
    screen.print(Text(NOT_LOOKED_AT), soft_wrap=True)


def _show_calls(caption: str, calls: Sequence[Call], screen: Console) -> None:
    """A table without its empty columns, and the verdicts below it."""
    from ..notebook.tables import Table

    rows = [dict(zip(tables.CALL_COLUMNS, tables.call_row(call), strict=True)) for call in calls]
    columns = [
        name
        for name in tables.CALL_COLUMNS[:-1]
        if name not in _OPTIONAL or any(row[name] not in (None, "", row["Dialled"]) for row in rows)
    ]
    table = Table(caption, tuple(columns), [[row[name] for name in columns] for row in rows])
    screen.print(Text(table.text()), soft_wrap=True)
    screen.print()
    for call in calls:
        screen.print(Text(visible(f"{call.dialled}: {call.verdict}")), soft_wrap=True)


def _dialled(number: str) -> str:
    digits = re.sub(r"[\s()./-]", "", number)
    if not re.fullmatch(r"\+?[0-9*#]{1,32}", digits, re.ASCII):
        raise InputError(["NUMBER: give what is dialled: digits, * and #, with or without a leading +"])
    return digits


def _loaded(site: Path, tenant: Path) -> Tenant:
    _, owner = load(str(site), str(tenant), project_root(), secrets=False)
    if not isinstance(owner, Tenant):
        raise InputError([f"{tenant}: a shared trunk on its own has no dial plan: give a tenant's file"])
    return owner


def _read(site: Path, tenant: Path, owner: Tenant) -> DialPlan:
    from ..resources.dial_plan import read_dial_plan
    from ..runbook import Runbook

    with Runbook.open(str(site), str(tenant)) as runbook:
        return read_dial_plan(runbook.context, owner, whole=True).standing(owner)
