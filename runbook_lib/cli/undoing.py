"""``runbook rollback`` and ``runbook retire``: the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..guide import RETIRE, ROLL_BACK
from ..outcomes import worst
from ..parameters import project_root
from ..screen import screen
from ..workspace import find_workspace
from .ending import guarded
from .options import (
    SANDBOX_SITE,
    AcceptInterruption,
    ApprovalFile,
    ApprovedBy,
    ApprovedPlan,
    CarryOut,
    Emergency,
    PlanFile,
    PlanFolder,
    Reason,
    SiteFile,
    TenantFiles,
    Ticket,
    TrunkName,
    files_of_run,
    given_approval,
    given_file,
    owners_of,
)
from .running import announce, run_notebooks

if TYPE_CHECKING:
    from ..approval import GivenApproval


def rollback(
    record: Annotated[str, typer.Argument(help="Run ID of the record, from runbook records list.")],
    tenant: Annotated[
        Path | None, typer.Option("--tenant", "-t", help="Tenant file, if it has moved.")
    ] = None,
    site: Annotated[Path | None, typer.Option("--site", "-s", help="Site file, if it has moved.")] = None,
    section: Annotated[
        list[str] | None, typer.Option(help="Undo only what this section did; can be given several times.")
    ] = None,
    carry_out: CarryOut = False,
    accept_interruption: AcceptInterruption = False,
    out: PlanFolder = None,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
) -> int:
    """Show (with --apply: make) the changes that undo a record. Exit status 2 if the plan has changes."""
    from ..records.to_undo import parameter_files_of

    where: Path
    owner: Path | str
    if site and tenant:  # also for records outside the chain, which name no files
        run_id = record.rstrip("/").rpartition("/")[2]
        where, [owner] = files_of_run(site, [tenant])
    else:
        run_id, files = parameter_files_of(find_workspace().records, record)
        # Paths in a record start at the workspace, wherever this is called.
        where = given_file(site) if site else project_root() / files["site"]
        owner = given_file(tenant) if tenant else _recorded(files["tenant"])
    options = {"record": run_id, "only": list(section or []), "accept_interruption": accept_interruption}
    approval = given_approval(plan_file, approval_file, approved_plan, approved_by)
    return way_back(where, [owner], ROLL_BACK, options, carry_out, approval, out)


def retire(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    trunk: TrunkName = None,
    carry_out: CarryOut = False,
    accept_interruption: AcceptInterruption = False,
    out: PlanFolder = None,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
) -> int:
    """Show (with --apply: make) the changes that retire tenants. Exit status 2 if the plan has changes."""
    site, owners = owners_of(site, tenants, trunk)
    approval = given_approval(plan_file, approval_file, approved_plan, approved_by, owners)
    options = {"accept_interruption": accept_interruption}
    return way_back(site, owners, RETIRE, options, carry_out, approval, out)


def way_back(
    site: Path,
    owners: Sequence[Path | str],
    section: str,
    options: Mapping[str, object],
    carry_out: bool,
    approval: GivenApproval,
    out: Path | None,
) -> int:
    """Show the plan of a rollback or retirement for each tenant, or apply it."""
    from ..batch.plans import plan_tenant

    if carry_out:
        return run_notebooks(site, owners, "apply", approval, (section,), options)
    announce(site)
    statuses = [
        guarded(partial(plan_tenant, site, owner, out, screen, (section,), options)) for owner in owners
    ]
    return worst(statuses)


def _recorded(owner: str) -> Path | str:
    """A tenant's file, or a shared trunk, as a record names it."""
    return owner if owner.startswith("trunk:") else project_root() / owner
