"""What several commands accept: their options, and the parameter files that they mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..guide import RUN_ORDER, TRUNK_ORDER
from ..parameters import project_root
from ..parameters.tenants import tenant_files
from ..paths import current_folder, locate
from ..records.record import EMERGENCY, REASON, TICKET
from ..screen import complain

if TYPE_CHECKING:
    from ..approval import GivenApproval

SANDBOX_SITE = Path("parameters/sandbox/site.yaml")
SiteFile = Annotated[Path, typer.Option("--site", "-s", help="Site file.")]
TenantFiles = Annotated[list[Path] | None, typer.Argument(help="Tenant files.")]
PlanFolder = Annotated[Path | None, typer.Option(help="Folder for the plan files (TENANT.plan.json).")]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="Apply exactly this plan (one tenant).")]
ApprovalFile = Annotated[
    Path | None, typer.Option("--approval", help="The signed approval [default: the one beside the plan].")
]
ApprovedPlan = Annotated[str | None, typer.Option(help="The digest that was approved.")]
ApprovedBy = Annotated[str | None, typer.Option(help="Who approved the plan.")]


def _for_the_record(name: str) -> Callable[[str | None], str | None]:
    """Pass an option on to a run's processes, in the environment variable that the record is made from."""

    def keep(value: str | None) -> str | None:
        if value:
            os.environ[name] = value
        return value

    return keep


Ticket = Annotated[
    str | None,
    typer.Option(envvar=TICKET, callback=_for_the_record(TICKET), help="Ticket number for the record."),
]
Reason = Annotated[
    str | None,
    typer.Option(
        envvar=REASON, callback=_for_the_record(REASON), help="Reason for the change, for the record."
    ),
]
Emergency = Annotated[
    str | None,
    typer.Option(
        envvar=EMERGENCY,
        callback=_for_the_record(EMERGENCY),
        help="Apply without approval, if the site allows it, giving the reason why it cannot wait; "
        "another person reviews it later.",
    ),
]
CarryOut = Annotated[bool, typer.Option("--apply", help="Apply the plan, and record the change.")]
AcceptInterruption = Annotated[
    bool, typer.Option("--accept-interruption", help="Allow rows that interrupt calls.")
]
AllTenants = Annotated[
    bool, typer.Option("--all", help="All tenants of the site: the files beside it, and below parameters/.")
]
TrunkName = Annotated[str | None, typer.Option(help="Instead of tenants: a shared trunk of the site.")]
AtOnce = Annotated[int, typer.Option(min=1, help="How many tenants to run at the same time.")]
PlansFolder = Annotated[
    Path | None,
    typer.Option(
        "--plans",
        help="Apply exactly the plans in this folder (runbook plan --out), one for each tenant, under one"
        " approval.",
    ),
]
MaxFailures = Annotated[
    int | None, typer.Option(min=1, help="Start no more tenants once this many have failed.")
]
Resume = Annotated[
    str | None,
    typer.Option(
        help="Instead of tenants: the ID of a batch, to run those of its tenants that have not succeeded."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print events as JSON, one per line.")]
RunnerAddress = Annotated[
    str | None,
    typer.Option("--runner", help="Run tenants on the workers of a Dask scheduler: dask://HOST:PORT."),
]
SectionNumber = Annotated[str | None, typer.Option(help="Only this section of the guide, such as 03.")]


def owners_of(
    site: Path, tenants: list[Path] | None, trunk: str | None, every: bool | None = None
) -> tuple[Path, list[Path | str]]:
    """The site's file, and in the tenants' place: files, those of all, or the shared trunk.

    ``every`` is None for a command that has no ``--all``.
    """
    if [bool(tenants), trunk is not None, bool(every)].count(True) != 1:
        all_of_them = "" if every is None else "--all, or "
        raise typer.BadParameter(f"give tenant files, or {all_of_them}--trunk NAME")
    path, owners = files_of_run(site, tenants or [])
    if every:
        owners = tenant_files(path, project_root())
    return path, [*owners] if owners else [f"trunk:{trunk}"]


def files_of_run(site: Path, tenants: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The full paths of a run's files; prints a note if relative ones come from two folders."""
    found = {typed: given_file(typed) for typed in (site, *tenants)}
    here = current_folder()
    relative = [(typed, path) for typed, path in found.items() if path.is_absolute() and path != typed]
    if len({here is not None and path == here / typed for typed, path in relative}) > 1:
        names = ", ".join(str(path) for _, path in relative)
        complain(f"Note: these files come from two folders, the current one and the workspace: {names}")
    return found[site], [found[typed] for typed in tenants]


def given_file(path: Path) -> Path:
    """The full path of a file named on the command line; unchanged if there is no such file.

    Raises ``InputError`` if it could mean either of two files that differ.
    """
    return locate(path, current_folder(), project_root()) or path


def chosen_sections(section: str | None, trunk: str | None) -> tuple[str, ...]:
    """The sections to run: the requested one, or empty for all of them."""
    order = TRUNK_ORDER if trunk else RUN_ORDER
    if section is None:
        return ()
    section = section.zfill(2)  # the guide says section 3
    if section not in order:
        raise typer.BadParameter(f"--section: {section!r} is not one of {', '.join(sorted(order))}")
    return (section,)


def given_approval(
    plan_file: Path | None,
    approval_file: Path | None,
    approved_plan: str | None,
    approved_by: str | None,
    owners: Sequence[Path | str] = ("",),
) -> GivenApproval:
    if plan_file is not None and len(owners) != 1:
        raise typer.BadParameter("a plan is for one tenant: give exactly one tenant file with --plan")
    return {
        "plan_file": str(given_file(plan_file)) if plan_file else None,
        "approved_plan": approved_plan,
        "approved_by": approved_by,
        "approval_file": str(given_file(approval_file)) if approval_file else None,
    }
