"""``runbook apply`` and ``runbook verify``: the guide carried out, and compared with what it expects."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.text import Text

from ..notebook.display import visible
from ..outcomes import ExitStatus
from ..screen import screen
from .options import (
    SANDBOX_SITE,
    AcceptInterruption,
    AllTenants,
    ApprovalFile,
    ApprovedBy,
    ApprovedPlan,
    AtOnce,
    Emergency,
    PlanFile,
    Reason,
    SectionNumber,
    SiteFile,
    TenantFiles,
    Ticket,
    TrunkName,
    chosen_sections,
    given_approval,
    owners_of,
)
from .running import guarded, run_notebooks


def apply(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    accept_interruption: AcceptInterruption = False,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
    at_once: AtOnce = 1,
) -> None:
    """Carry out the guide for tenants, section by section, and keep the executed notebooks."""
    site, owners = owners_of(site, tenants, trunk, every)
    if accept_interruption and len(owners) != 1:
        raise typer.BadParameter("--accept-interruption: give exactly one tenant file with it")
    sections = chosen_sections(section, trunk)
    approval = given_approval(plan_file, approval_file, approved_plan, approved_by, owners)
    if trunk is not None and (status := guarded(lambda: _name_affected(site, f"trunk:{trunk}"))):
        raise typer.Exit(status)
    options = {"accept_interruption": True} if accept_interruption else {}
    raise typer.Exit(run_notebooks(site, owners, "apply", approval, sections, options, at_once=at_once))


def _name_affected(site: Path, trunk: str) -> int:
    """Name the tenants on a shared trunk before it is changed."""
    from ..runbook import Runbook

    with Runbook.open(site, trunk) as runbook:
        names = [tenant["name"] for tenant in runbook.tenants_affected()]
    screen.print(Text(f"Tenants affected: {visible(', '.join(names)) or 'none'}"))
    return ExitStatus.FINE


def verify(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    at_once: AtOnce = 1,
) -> None:
    """Compare tenants with the guide's expected results; changes nothing."""
    sections = chosen_sections(section, trunk)
    site, owners = owners_of(site, tenants, trunk, every)
    raise typer.Exit(run_notebooks(site, owners, "verify", sections=sections, at_once=at_once))
